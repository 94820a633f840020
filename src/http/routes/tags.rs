//! Spans of texts, as clients of token classification know them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::predictions::Answered;
use crate::domain::TaskId;
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller, Deadline, Maker};
use crate::http::object;
use crate::http::problem::{Problem, ProblemBody};
use crate::service::{AnswerSpan, ServiceError, TagTexts, Tagged};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(tag))
}

/// A text, or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum TextsBody {
    /// One: it is answered with a list of its entities.
    One(String),
    /// Several: they are answered with a list of such lists.
    Many(Vec<String>),
}

/// What to tag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TagBody {
    /// A text, or several.
    inputs: TextsBody,
    /// How to put words together.
    #[serde(default, deserialize_with = "object::one")]
    #[expect(dead_code, reason = "whichever it is, spans are whole")]
    parameters: TagParametersBody,
    /// The adapter's version; the active one by default.
    #[schema(minimum = 1)]
    version: Option<u32>,
}

/// How to put words together.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct TagParametersBody {
    /// `simple`, `first`, `average` or `max`: they come to the same here, since spans are found whole.
    aggregation_strategy: Option<AggregationBody>,
}

/// Words become spans.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AggregationBody {
    /// As the model says.
    Simple,
    /// As each word's first piece says.
    First,
    /// As each word's pieces say on the average.
    Average,
    /// As each word's surest piece says.
    Max,
}

/// A span that was found.
#[derive(Debug, Serialize, ToSchema)]
struct EntityBody {
    /// What it is.
    #[schema(example = "city")]
    entity_group: String,
    /// The probability that exactly this is one.
    score: f64,
    /// Its text.
    #[schema(example = "New York")]
    word: String,
    /// Its first character.
    start: usize,
    /// The character after its last.
    end: usize,
}

/// Entities of a text, or of each of several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum EntitiesBody {
    /// Of one text.
    One(Vec<EntityBody>),
    /// Of each text, in their order.
    Many(Vec<Vec<EntityBody>>),
}

/// Finds spans, in the shape of token classification at Hugging Face; `predict` says more of the same.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/tag", tag = "compatibility",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("X-Request-Timeout-Ms" = Option<u32>, Header, minimum = 1, description = "After so long the answer is of no use: 504")
    ),
    request_body = TagBody,
    responses((status = 200, body = EntitiesBody, headers(
            ("X-Degraded" = Option<String>, description = "`database`: it is away, and the version is the one that was active when it was last asked")
        )), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn tag(
    Maker(service): Maker,
    Caller(tenant): Caller,
    Deadline(deadline): Deadline,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(TagBody { inputs, version, .. }): ApiJson<TagBody>,
) -> Result<Answered<EntitiesBody>, Problem> {
    let (texts, is_one) = match inputs {
        TextsBody::One(text) => (vec![text], true),
        TextsBody::Many(texts) => (texts, false),
    };
    let tagged = service.tag_texts(tenant, task, TagTexts { texts, version, deadline }).await;
    let Tagged { found, is_remembered } = if is_one { tagged.map_err(of_the_only_one)? } else { tagged? };
    let mut found = found.into_iter().map(|spans| spans.into_iter().map(EntityBody::from).collect());
    let body =
        if is_one { EntitiesBody::One(found.next().unwrap_or_default()) } else { EntitiesBody::Many(found.collect()) };
    Ok(Answered { body, is_remembered })
}

impl From<AnswerSpan> for EntityBody {
    fn from(AnswerSpan { span, text, probability }: AnswerSpan) -> Self {
        Self { entity_group: span.label, score: probability, word: text, start: span.start, end: span.end }
    }
}

/// Faults of a list of one, as faults of the text that came without a list.
fn of_the_only_one(error: ServiceError) -> ServiceError {
    let ServiceError::Invalid(mut faults) = error else { return error };
    for fault in &mut faults {
        if let Some(rest) = fault.pointer.strip_prefix("/inputs/0") {
            fault.pointer = format!("/inputs{rest}");
        }
    }
    ServiceError::Invalid(faults)
}
