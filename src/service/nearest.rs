//! What is near to an input: examples by their features, and for texts a task's answers, too.
//!
//! Near is the cosine of features, which is the same for all tasks of a base model, whatever an adapter makes of it.
//! Examples never change, so the features of a stored one are computed once and remembered; a restart computes them again.

use std::sync::Arc;

use moka::future::Cache;

use super::examples::Checked;
use super::inputs::{Asked, check_count};
use super::prepared::Query;
use super::{Result, Service};
use crate::domain::{BaseModel, Fault, Input, Invalid, Rows, Support, SupportId, Target, Task, TaskId, TenantId};
use crate::engine::{Lane, Origin};

/// Memory for features of examples, in bytes.
const MEMORY: u64 = 64 << 20;

/// Most neighbours of one input, and most hits of a search.
const MOST: usize = 20;

/// Examples whose features are computed at a time.
const CHUNK: usize = 64;

/// Features of length 1.
pub(super) type Direction = Arc<[f32]>;

/// Whose examples, as which base model sees them.
type Key = (Arc<str>, SupportId);

/// Features of stored examples.
#[derive(Clone)]
pub(super) struct Features(Cache<Key, Direction>);

impl Features {
    pub(super) fn new() -> Self {
        let weigher = |_: &Key, row: &Direction| u32::try_from(size_of_val(&**row) + 64).unwrap_or(u32::MAX);
        Self(Cache::builder().weigher(weigher).max_capacity(MEMORY).build())
    }
}

/// An example that is near.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Its place among the examples that were looked through.
    pub place: usize,
    /// Its id, if it is stored.
    pub id: Option<SupportId>,
    /// The caller's own name for it.
    pub external_id: Option<String>,
    /// Its text, if it is one that is stored.
    pub text: Option<String>,
    /// What it is labelled with.
    pub target: Option<Target>,
    /// The cosine.
    pub similarity: f64,
}

/// What to look for among a task's examples and answers.
#[derive(Clone, Debug)]
pub struct Search {
    /// What they should be like.
    pub query: Input,
    /// Only of this label.
    pub label: Option<String>,
    /// Most hits.
    pub limit: usize,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub found: Found,
    /// The cosine between its features and the query's.
    pub similarity: f64,
}

/// One thing that a search found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// An example.
    Example(Box<Support>),
    /// What the task answers for a label.
    Answer {
        /// The label.
        label: String,
        /// The answer.
        answer: String,
    },
}

impl Service {
    /// The nearest of a task's examples to each row of a query.
    pub(super) async fn nearest_of_task(
        &self,
        origin: Origin,
        task: &Task,
        base: &BaseModel,
        query: &Query,
        count: usize,
    ) -> Result<Vec<Vec<Neighbour>>> {
        let query = rows_of(base, query, "/nearest")?;
        let (support, directions) = self.directions_of_task(origin, task, base).await?;
        let queries = self.directions(origin, base, query.clone()).await?;
        let neighbour = |place: usize, similarity: f64| {
            let Support { id, example, .. } = &support[place];
            let text = example.input.text().map(str::to_owned);
            let (external_id, target) = (example.external_id.clone(), example.target.clone());
            Neighbour { place, id: Some(*id), external_id, text, target, similarity }
        };
        Ok(nearest(&queries, &directions, count, neighbour))
    }

    /// The same among examples that a request brings.
    pub(super) async fn nearest_given(
        &self,
        origin: Origin,
        base: &BaseModel,
        checked: &Checked,
        query: &Query,
        count: usize,
    ) -> Result<Vec<Vec<Neighbour>>> {
        let query = rows_of(base, query, "/nearest")?;
        let width = base.manifest.input.row_width();
        let mut directions = Vec::with_capacity(checked.rows.len());
        for chunk in checked.rows.chunks(CHUNK) {
            let chunk = Rows::new(width, chunk.concat()).map_err(|fault| fault.at("/support"))?;
            directions.extend(self.directions(origin, base, chunk).await?);
        }
        let queries = self.directions(origin, base, query.clone()).await?;
        let neighbour = |place: usize, similarity: f64| {
            let target = checked.examples[place].target.clone();
            Neighbour { place, id: None, external_id: None, text: None, target, similarity }
        };
        Ok(nearest(&queries, &directions, count, neighbour))
    }

    /// What of a task's examples and answers is like a query, the most like it first.
    pub async fn search(&self, tenant: TenantId, task: TaskId, search: Search) -> Result<Vec<Hit>> {
        let task = self.found_task(tenant, task).await?;
        let base = self.named_base(&task.base_model, "/base_model")?;
        check_nearest(search.limit, "/limit")?;
        let origin = Origin::interactive(tenant);
        let query = self.query(origin, base, vec![search.query], ("/query", "")).await?;
        let query = self.directions(origin, base, rows_of(base, &query, "/query")?.clone()).await?;
        let (support, mut directions) = self.directions_of_task(origin, &task, base).await?;
        let mut found: Vec<Found> = support.into_iter().map(|support| Found::Example(Box::new(support))).collect();
        let answers: Vec<(&String, &String)> =
            if base.manifest.input.takes_text() { task.answers.iter().collect() } else { Vec::new() };
        for chunk in answers.chunks(CHUNK) {
            let texts = chunk.iter().map(|(_, answer)| Input::Text((*answer).clone())).collect();
            let (_, rows) = self.rows(base, texts, Asked { origin, pointer: "/answers" }, "", Lane::Predict).await?;
            let rows =
                Rows::new(base.manifest.input.row_width(), rows.concat()).map_err(|fault| fault.at("/answers"))?;
            directions.extend(self.directions(origin, base, rows).await?);
        }
        found.extend(
            answers.into_iter().map(|(label, answer)| Found::Answer { label: label.clone(), answer: answer.clone() }),
        );
        let is_wanted = |found: &Found| search.label.as_deref().is_none_or(|label| found.label() == Some(label));
        let (found, directions): (Vec<Found>, Vec<Direction>) =
            found.into_iter().zip(directions).filter(|(found, _)| is_wanted(found)).unzip();
        let hit = |place: usize, similarity: f64| Hit { found: found[place].clone(), similarity };
        Ok(nearest(&query, &directions, search.limit, hit).pop().unwrap_or_default())
    }

    /// A task's examples and their features.
    pub(super) async fn directions_of_task(
        &self,
        origin: Origin,
        task: &Task,
        base: &BaseModel,
    ) -> Result<(Vec<Support>, Vec<Direction>)> {
        let support = self.store.load_support(origin.tenant, task.id).await?;
        let sha256: Arc<str> = base.sha256.as_str().into();
        let mut known: Vec<Option<Direction>> = Vec::with_capacity(support.len());
        for support in &support {
            known.push(self.features.0.get(&(Arc::clone(&sha256), support.id)).await);
        }
        let missing: Vec<usize> = (0..known.len()).filter(|&place| known[place].is_none()).collect();
        for chunk in missing.chunks(CHUNK) {
            let inputs = chunk.iter().map(|&place| support[place].example.input.clone()).collect();
            let asked = Asked { origin, pointer: "/support" };
            let (_, rows) = self.rows(base, inputs, asked, "/input", Lane::Predict).await?;
            let rows =
                Rows::new(base.manifest.input.row_width(), rows.concat()).map_err(|fault| fault.at("/support"))?;
            for (&place, row) in chunk.iter().zip(self.directions(origin, base, rows).await?) {
                self.features.0.insert((Arc::clone(&sha256), support[place].id), Arc::clone(&row)).await;
                known[place] = Some(row);
            }
        }
        // Every place has been filled: there is one row for each example that was missing.
        Ok((support, known.into_iter().flatten().collect()))
    }

    /// Features of rows, each of length 1.
    pub(super) async fn directions(&self, origin: Origin, base: &BaseModel, rows: Rows) -> Result<Vec<Direction>> {
        let features = self.engine.features(origin, &base.manifest.name, base.manifest.input.about(rows)).await?;
        Ok(features.into_iter().map(|row| direction(&row)).collect())
    }
}

impl Found {
    fn label(&self) -> Option<&str> {
        match self {
            Self::Answer { label, .. } => Some(label),
            Self::Example(support) => match &support.example.target {
                Some(Target::Label(label)) => Some(label),
                _ => None,
            },
        }
    }
}

fn direction(row: &[f32]) -> Direction {
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    row.iter().map(|value| value / length).collect()
}

/// For each query the `count` nearest of `all`, the nearest first; of equals the first.
fn nearest<T>(queries: &[Direction], all: &[Direction], count: usize, of: impl Fn(usize, f64) -> T) -> Vec<Vec<T>> {
    let cosine =
        |one: &[f32], other: &[f32]| f64::from(one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>());
    let around = |query: &Direction| {
        let mut found: Vec<(usize, f64)> = all.iter().map(|row| cosine(query, row)).enumerate().collect();
        found.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        found.into_iter().take(count).map(|(place, similarity)| of(place, similarity)).collect()
    };
    queries.iter().map(around).collect()
}

/// Rows of a query, if they are near to each other or not, whatever the task.
pub(super) fn rows_of<'a>(base: &BaseModel, query: &'a Query, pointer: &str) -> Result<&'a Rows, Invalid> {
    match query {
        Query::Rows(rows) if base.manifest.has_features() => Ok(rows),
        _ => Err(Fault::NoFeatures { base: base.manifest.name.clone() }.at(pointer)),
    }
}

/// 1 to [`MOST`].
pub(super) fn check_nearest(count: usize, pointer: &str) -> Result<(), Invalid> {
    if count == 0 {
        return Err(Fault::TooFew { what: "nearest", given: 0, least: 1 }.at(pointer));
    }
    check_count("nearest", count, MOST, pointer)
}
