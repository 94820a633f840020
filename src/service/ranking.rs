//! Candidates in the order in which one person would choose them.

use std::time::Instant;

use super::answering::Answers;
use super::inputs::check_count;
use super::nearest::check_nearest;
use super::predictions::numbers;
use super::prepared::Query;
use super::{AnswerStyle, Neighbour, Result, Service, ServiceError};
use crate::domain::{BaseModel, Fault, Input, Kind, Target, Task, TaskId, TenantId, best_first, ndcg, pairs_in_order};
use crate::engine::Origin;

/// Longest name of a candidate, in characters.
const NAME_LIMIT: usize = 128;

/// Candidates to put in order.
#[derive(Clone, Debug)]
pub struct Rank {
    /// At least one.
    pub candidates: Vec<Candidate>,
    /// Most results; all by default.
    pub top_n: Option<usize>,
    /// How many of the nearest signals to name with each result.
    pub nearest: Option<usize>,
    /// The adapter's version; the active one by default.
    pub version: Option<u32>,
    /// After this nobody waits for the answer.
    pub deadline: Option<Instant>,
}

/// An item that may be recommended.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The caller's own name for it.
    pub id: Option<String>,
    /// The item.
    pub input: Input,
}

/// Candidates in order.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The version that answered.
    pub version: u32,
    /// The base model that it stands on.
    pub base: BaseModel,
    /// The best first; of equals, in the order given.
    pub results: Vec<RankedItem>,
    /// Whether the store is away, and the version is the one that it named before.
    pub is_remembered: bool,
}

/// A candidate and its score.
#[derive(Clone, Debug)]
pub struct RankedItem {
    /// Its place among the candidates.
    pub place: usize,
    /// The caller's own name for it.
    pub id: Option<String>,
    /// The higher, the sooner it would be chosen. Only differences between scores of one version say anything.
    pub score: f32,
    /// The nearest signals, if they were asked for.
    pub nearest: Option<Vec<Neighbour>>,
}

/// What signals that were not learned from say about an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderJudged {
    /// How many.
    pub n: usize,
    /// NDCG of the first ten; none if nothing was liked.
    pub ndcg: Option<f64>,
    /// Share of the pairs of different value that are in the right order; none if all are alike.
    pub pairs_in_order: Option<f64>,
}

impl Service {
    /// Puts candidates in a person's order.
    #[tracing::instrument(skip_all, fields(task.id = %task))]
    pub async fn rank(&self, tenant: TenantId, task: TaskId, request: Rank) -> Result<Ranked> {
        check_request(&request)?;
        let Answers { task, adapter, is_remembered } = self.answering(tenant, task, request.version).await?;
        check_is(&task, Kind::Ranking)?;
        let base = self.base_of(&task, &adapter)?;
        let origin = Origin { deadline: request.deadline, ..Origin::interactive(tenant) };
        let (ids, inputs): (Vec<_>, Vec<_>) =
            request.candidates.into_iter().map(|candidate| (candidate.id, candidate.input)).unzip();
        let query = self.query(origin, base, inputs, ("/candidates", "/input")).await?;
        let Query::Rows(rows) = query else { return Err(ServiceError::Lost) };
        let (asked, style) = (Query::Rows(rows.clone()), AnswerStyle::default());
        let predictions = self.predict_rows(origin, &task, &adapter, asked, style).await?;
        let scores = numbers(&predictions);
        let mut order = best_first(&scores);
        order.truncate(request.top_n.unwrap_or(usize::MAX));
        let mut nearest = match request.nearest {
            Some(count) => {
                let chosen = Query::Rows(rows.picked(&order));
                self.nearest_of_task(origin, &task, base, &chosen, count).await?.into_iter().map(Some).collect()
            }
            None => vec![None; order.len()],
        }
        .into_iter();
        let result = |place: usize| RankedItem {
            place,
            id: ids[place].clone(),
            score: scores[place],
            nearest: nearest.next().flatten(),
        };
        let results = order.into_iter().map(result).collect();
        Ok(Ranked { version: adapter.version, base: base.clone(), results, is_remembered })
    }
}

fn check_request(request: &Rank) -> Result<()> {
    if request.top_n == Some(0) {
        return Err(Fault::OutOfRange { given: 0, least: 1, most: i64::from(u32::MAX) }.at("/top_n").into());
    }
    for (index, candidate) in request.candidates.iter().enumerate() {
        let length = candidate.id.as_ref().map_or(0, |id| id.chars().count());
        check_count("characters of an id", length, NAME_LIMIT, &format!("/candidates/{index}/id"))?;
    }
    request.nearest.map_or(Ok(()), |count| Ok(check_nearest(count, "/nearest")?))
}

/// Whether a task is of the kind that is asked for.
pub(super) fn check_is(task: &Task, kind: Kind) -> Result<()> {
    if task.kind == kind {
        return Ok(());
    }
    let (own, kind) = (task.kind.name(), kind.name());
    let detail = format!("this is a {own} task: POST its predict, or make a task of kind `{kind}`");
    Err(ServiceError::Conflict { code: "wrong_kind", detail })
}

/// How good the order of `scores` is for what was done with the items.
pub(super) fn judge_order(truths: &[Target], scores: &[f32]) -> OrderJudged {
    let value = |truth: &Target| if let Target::Signal(signal) = truth { signal.value } else { 0.0 };
    let gains: Vec<f32> = truths.iter().map(value).collect();
    OrderJudged { n: gains.len(), ndcg: ndcg(scores, &gains), pairs_in_order: pairs_in_order(scores, &gains) }
}
