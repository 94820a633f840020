//! Recommendation: candidates in a person's order.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::predictions::Answered;
use crate::domain::{Input, TaskId};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller, Deadline, Maker};
use crate::http::object;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::wire::{BaseRef, InputDoc, NeighbourBody};
use crate::service::{Candidate, Rank, Ranked, RankedItem};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(rank))
}

/// What to put in order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RankBody {
    /// Items that may be recommended.
    #[serde(deserialize_with = "object::each")]
    #[schema(min_items = 1)]
    candidates: Vec<CandidateBody>,
    /// Most results; all by default.
    #[schema(minimum = 1)]
    top_n: Option<usize>,
    /// How many of the task's nearest signals to name with each result: what it is recommended for.
    #[schema(minimum = 1, maximum = 20)]
    nearest: Option<usize>,
    /// The adapter's version; the active one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
}

/// An item that may be recommended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CandidateBody {
    /// Your own name for it.
    #[schema(example = "film-17")]
    id: Option<String>,
    /// The item: a text, or one with a prior and numbers.
    #[schema(value_type = InputDoc)]
    input: Input,
}

impl From<CandidateBody> for Candidate {
    fn from(CandidateBody { id, input }: CandidateBody) -> Self {
        Self { id, input }
    }
}

/// Candidates in order.
#[derive(Debug, Serialize, ToSchema)]
struct RankedBody {
    /// The task.
    #[schema(value_type = String)]
    task: TaskId,
    /// The version that answered.
    version: u32,
    /// The base model that it stands on.
    base_model: BaseRef,
    /// The best first; of equals, in the order given.
    results: Vec<RankedItemBody>,
}

/// A candidate and its score.
#[derive(Debug, Serialize, ToSchema)]
struct RankedItemBody {
    /// Its place among the candidates, from 0.
    index: usize,
    /// Your own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The higher, the sooner it would be chosen. Differences between scores of one version are logarithms of odds; a
    /// score alone says nothing.
    relevance_score: f32,
    /// With `nearest`, the signals whose items are most like this one, the most like it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Vec<NeighbourBody>>,
}

impl From<RankedItem> for RankedItemBody {
    fn from(RankedItem { place, id, score, nearest }: RankedItem) -> Self {
        let nearest = nearest.map(|found| found.into_iter().map(NeighbourBody::from).collect());
        Self { index: place, id, relevance_score: score, nearest }
    }
}

/// Puts candidates in the order in which the person whose signals the task has would choose them.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/rank", tag = "predict",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("X-Request-Timeout-Ms" = Option<u32>, Header, minimum = 1, description = "After so long the answer is of no use: 504")
    ),
    request_body = RankBody,
    responses((status = 200, body = RankedBody, headers(
            ("X-Degraded" = Option<String>, description = "`database`: it is away, and the version is the one that was active when it was last asked")
        )), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn rank(
    Maker(service): Maker,
    Caller(tenant): Caller,
    Deadline(deadline): Deadline,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(RankBody { candidates, top_n, nearest, version }): ApiJson<RankBody>,
) -> Result<Answered<RankedBody>, Problem> {
    let candidates = candidates.into_iter().map(Candidate::from).collect();
    let request = Rank { candidates, top_n, nearest, version, deadline };
    let Ranked { version, base, results, is_remembered } = service.rank(tenant, task, request).await?;
    let results = results.into_iter().map(RankedItemBody::from).collect();
    let body = RankedBody { task, version, base_model: BaseRef::from(&base), results };
    Ok(Answered { body, is_remembered })
}
