//! Examples: checked, stored, and put together into support sets.

use sha2::{Digest, Sha256};

use super::inputs::{Asked, check_count, check_name};
use super::targets::{target, weight};
use super::{Page, Result, Service, ServiceError};
use crate::domain::{
    Adaptation, BaseModel, Example, Fault, Input, InputSchema, Item, Kind, Manifest, Rows, Signal, Span, Support,
    SupportFilter, SupportId, SupportSet, Target, Targets, Task, TaskId, TenantId, Timestamp, hex, words,
};
use crate::engine::{Lane, Origin};
use crate::store::{Added, StoreError};

/// What a caller sends to adapt to.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Labelled inputs.
    pub examples: Vec<GivenExample>,
    /// Inputs that nobody has labelled.
    pub unlabelled: Vec<Input>,
}

/// A labelled input as a caller sends it.
#[derive(Clone, Debug)]
pub struct GivenExample {
    /// The input.
    pub input: Input,
    /// Its class, for classification.
    pub label: Option<String>,
    /// Its number, for regression; what was done with it, for ranking.
    pub value: Option<f32>,
    /// For how many examples or signals it counts.
    pub weight: Option<f32>,
    /// When the signal was, for ranking.
    pub time: Option<Timestamp>,
    /// Its spans, for tagging.
    pub spans: Option<Vec<Span>>,
    /// A tag for each of its words, in their place.
    pub tags: Option<Vec<String>>,
    /// The caller's own name for it.
    pub external_id: Option<String>,
}

impl GivenExample {
    /// An input of which nothing is said yet.
    pub const fn of(input: Input) -> Self {
        Self { input, label: None, value: None, weight: None, time: None, spans: None, tags: None, external_id: None }
    }
}

/// Changes to an example; `None` leaves a field as it is. An example is labelled or not: it cannot become unlabelled.
#[derive(Clone, Debug, Default)]
pub struct SupportPatch {
    /// Another class.
    pub label: Option<String>,
    /// Another number.
    pub value: Option<f32>,
    /// Another weight.
    pub weight: Option<f32>,
    /// Another time.
    pub time: Option<Timestamp>,
    /// Other spans.
    pub spans: Option<Vec<Span>>,
    /// Another name.
    pub external_id: Option<String>,
}

/// What adding examples did, and the task's labels afterwards.
#[derive(Clone, Debug)]
pub struct SupportAdded {
    /// Which are new and which were there.
    pub added: Added,
    /// How many examples the task has now.
    pub support_count: usize,
    /// The adaptation that follows, if the task adapts by itself.
    pub adaptation: Option<Adaptation>,
}

/// Examples that passed every check, with their rows.
pub(super) struct Checked {
    pub(super) examples: Vec<Example>,
    pub(super) rows: Vec<Vec<f32>>,
    /// Labels of these examples that the task does not list yet, in the order of their first mention.
    pub(super) new_labels: Vec<String>,
}

impl Service {
    /// Adds examples to a task: all of them, or none and the reasons.
    pub async fn add_support(&self, tenant: TenantId, task: TaskId, given: Given) -> Result<SupportAdded> {
        let task = self.found_task(tenant, task).await?;
        let base = self.named_base(&task.base_model, "/base_model")?;
        if given.examples.is_empty() && given.unlabelled.is_empty() {
            return Err(Fault::TooFew { what: "examples", given: 0, least: 1 }.at("/examples").into());
        }
        let asked = Asked { origin: Origin::interactive(tenant), pointer: "/examples" };
        let checked = self.check_examples(base, task.kind, &task.labels, task.open_labels, given, asked).await?;
        self.take_room_for(tenant, checked.examples.iter().map(|example| &example.input)).await?;
        let now = self.clock.now();
        let support = self.as_support(checked.examples);
        let max = base.manifest.limits.max_support;
        let added = self.store.add_support(tenant, task.id, &support, &checked.new_labels, max, now).await?;
        let added = added.ok_or(ServiceError::NotFound("task"))?;
        let has_changed = !added.added.is_empty();
        let adaptation = if has_changed { self.adapt_by_itself(tenant, &task).await? } else { None };
        Ok(SupportAdded { added, support_count: self.store.support_len(tenant, task.id).await?, adaptation })
    }

    /// Examples of a task, newest first.
    pub async fn list_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        filter: &SupportFilter,
        page: Page<SupportId>,
    ) -> Result<Vec<Support>> {
        self.found_task(tenant, task).await?;
        Ok(self.store.list_support(tenant, task, filter, page).await?)
    }

    /// One example.
    pub async fn find_support(&self, tenant: TenantId, task: TaskId, id: SupportId) -> Result<Support> {
        self.store.find_support(tenant, task, id).await?.ok_or(ServiceError::NotFound("example"))
    }

    /// Changes what an example is labelled with or called; if `tag` is given, only the one of that tag.
    pub async fn update_support(
        &self,
        tenant: TenantId,
        task: TaskId,
        id: SupportId,
        patch: SupportPatch,
        tag: Option<String>,
    ) -> Result<Support> {
        let task = self.found_task(tenant, task).await?;
        let before = self.find_support(tenant, task.id, id).await?;
        if tag.is_some_and(|tag| tag != before.tag()) {
            return Err(ServiceError::Changed);
        }
        let base = self.named_base(&task.base_model, "/base_model")?;
        let (label, value, spans) = match (patch.label, patch.value, patch.spans, &before.example.target) {
            (None, None, None, Some(Target::Label(label))) => (Some(label.clone()), None, None),
            (None, None, None, Some(Target::Value(value))) => (None, Some(*value), None),
            (None, None, None, Some(Target::Spans(spans))) => (None, None, Some(spans.clone())),
            (None, None, None, Some(Target::Signal(signal))) => (None, Some(signal.value), None),
            (label, value, spans, _) => (label, value, spans),
        };
        let external_id = patch.external_id.or_else(|| before.example.external_id.clone());
        let signal = if let Some(Target::Signal(signal)) = &before.example.target { Some(signal) } else { None };
        let weight = patch.weight.or(Some(signal.map_or(before.example.weight, |signal| signal.weight)));
        let weight = weight.filter(|_| task.kind != Kind::Tagging || patch.weight.is_some());
        let time = patch.time.or(signal.and_then(|signal| signal.time));
        let given = GivenExample::of(before.example.input.clone());
        let given = GivenExample { label, value, weight, time, spans, external_id, ..given };
        let given = Given { examples: vec![given], unlabelled: Vec::new() };
        let asked = Asked { origin: Origin::interactive(tenant), pointer: "" };
        let checked = self.check_examples(base, task.kind, &task.labels, task.open_labels, given, asked).await;
        let checked = checked.map_err(within_the_only_one)?;
        let next = checked.examples.into_iter().next().ok_or(ServiceError::NotFound("example"))?;
        let now = self.clock.now();
        match self.store.replace_support(tenant, task.id, &before, &next, &checked.new_labels, now).await {
            Ok(true) => {}
            Ok(false) => return Err(ServiceError::NotFound("task")),
            Err(StoreError::Exists(_)) => {
                let detail = "the task has an equal example, or one of this `external_id`".to_owned();
                return Err(ServiceError::Conflict { code: "duplicate", detail });
            }
            Err(error) => return Err(error.into()),
        }
        self.adapt_by_itself(tenant, &task).await?;
        Ok(Support { example: next, ..before })
    }

    /// Removes one example.
    pub async fn delete_support(&self, tenant: TenantId, task: TaskId, support: SupportId) -> Result<()> {
        if !self.store.delete_support(tenant, task, support, self.clock.now()).await? {
            return Err(ServiceError::NotFound("example"));
        }
        if let Some(task) = self.store.find_task(tenant, task).await? {
            self.adapt_by_itself(tenant, &task).await?;
        }
        Ok(())
    }

    /// Removes the example of that name.
    pub async fn delete_named_support(&self, tenant: TenantId, task: TaskId, external_id: String) -> Result<()> {
        check_name("external id", &external_id, "external_id")?;
        let filter = SupportFilter { label: None, external_id: Some(external_id) };
        let found = self.list_support(tenant, task, &filter, Page { after: None, limit: 1 }).await?;
        let support = found.first().ok_or(ServiceError::NotFound("example"))?;
        self.delete_support(tenant, task, support.id).await
    }

    pub(super) fn as_support(&self, examples: Vec<Example>) -> Vec<Support> {
        let created_at = self.clock.now();
        examples.into_iter().map(|example| Support { id: SupportId::fresh(&*self.ids), example, created_at }).collect()
    }

    /// Checks examples against a base model and a task's kind and labels.
    pub(super) async fn check_examples(
        &self,
        base: &BaseModel,
        kind: Kind,
        labels: &[String],
        open_labels: bool,
        given: Given,
        asked: Asked,
    ) -> Result<Checked> {
        let Asked { origin, pointer } = asked;
        let Given { examples: given, unlabelled } = given;
        if !unlabelled.is_empty() && !base.manifest.learner.takes_unlabelled(kind) {
            let base = base.manifest.name.clone();
            return Err(Fault::NoUnlabelled { base, kind: kind.name() }.at("/unlabelled").into());
        }
        check_count("examples", given.len() + unlabelled.len(), base.manifest.limits.max_support, pointer)?;
        let mut new_labels: Vec<String> = Vec::new();
        let mut targets = Vec::with_capacity(given.len());
        let mut inputs = Vec::with_capacity(given.len());
        for (index, example) in given.into_iter().enumerate() {
            let at = format!("{pointer}/{index}");
            let target = target(base, kind, &example, &at)?;
            for label in target.labels() {
                let is_known = labels.contains(label) || new_labels.contains(label);
                if !is_known && !open_labels {
                    return Err(Fault::UnknownLabel { label: label.clone() }
                        .at(format!("{at}/{}", target.field()))
                        .into());
                }
                if !is_known {
                    new_labels.push(label.clone());
                }
            }
            if let Some(name) = &example.external_id {
                check_name("external id", name, &format!("{at}/external_id"))?;
            }
            let weight = weight(kind, &example, &at)?;
            targets.push((Some(target), weight, example.external_id));
            inputs.push(example.input);
        }
        check_count("labels", labels.len() + new_labels.len(), base.manifest.limits.max_labels, pointer)?;
        let (mut inputs, mut rows) = match kind {
            // Sentences are read when they are adapted to.
            Kind::Tagging => (inputs, vec![Vec::new(); targets.len()]),
            _ => self.rows(base, inputs, asked, "/input", Lane::Adapt).await?,
        };
        if !unlabelled.is_empty() {
            let asked = Asked { origin, pointer: "/unlabelled" };
            let (unlabelled, more) = self.rows(base, unlabelled, asked, "", Lane::Adapt).await?;
            targets.extend(unlabelled.iter().map(|_| (None, 1.0, None)));
            inputs.extend(unlabelled);
            rows.extend(more);
        }
        let examples = inputs
            .into_iter()
            .zip(targets)
            .zip(&rows)
            .map(|((input, (target, weight, external_id)), row)| {
                let digest = digest(&input, row, target.as_ref());
                Example { input, target, weight, external_id, digest }
            })
            .collect();
        Ok(Checked { examples, rows, new_labels })
    }

    /// A task's examples as the engine takes them, and the labels in the order of its outputs.
    pub(super) async fn support_set(
        &self,
        origin: Origin,
        base: &BaseModel,
        task: &Task,
        support: Vec<Support>,
    ) -> Result<(SupportSet, Vec<String>)> {
        let said = |Support { example, .. }: Support| (example.input, (example.target, example.weight));
        let (inputs, targets): (Vec<_>, Vec<_>) = support.into_iter().map(said).unzip();
        let asked = Asked { origin, pointer: "/support" };
        let (_, rows) = self.rows(base, inputs, asked, "/input", Lane::Adapt).await?;
        let (set, labels) = assemble(base, task.kind, &task.labels, &rows, &targets, task.settings.half_life_days)
            .map_err(|fault| fault.at("/support"))?;
        Ok((self.with_names(origin, base, set, &labels).await?, labels))
    }

    /// The set with what its classes are called, for base models that learn from that.
    pub(super) async fn with_names(
        &self,
        origin: Origin,
        base: &BaseModel,
        set: SupportSet,
        labels: &[String],
    ) -> Result<SupportSet> {
        let Manifest { input, learner, name, .. } = &base.manifest;
        let names = match learner.known(labels) {
            Some(known) => Ok(known),
            None if matches!(input, InputSchema::Text { .. }) && learner.takes_names() => {
                let spoken = labels.iter().map(|label| words(label)).collect();
                let rows = self.engine.embed(origin, name, spoken, Lane::Adapt).await?;
                Rows::new(input.row_width(), rows.concat())
            }
            None => return Ok(set),
        };
        names.and_then(|rows| set.with_names(&rows)).map_err(|fault| fault.at("/support").into())
    }
}

/// Faults of a list of one, as faults of the one.
fn within_the_only_one(error: ServiceError) -> ServiceError {
    let ServiceError::Invalid(mut faults) = error else { return error };
    for fault in &mut faults {
        if let Some(rest) = fault.pointer.strip_prefix("/0") {
            fault.pointer = rest.to_owned();
        }
    }
    ServiceError::Invalid(faults)
}

/// Rows, and the targets and weights of each, as a support set: classes are the labels that have examples, in the order of `labels`.
pub(super) fn assemble(
    base: &BaseModel,
    kind: Kind,
    labels: &[String],
    rows: &[Vec<f32>],
    targets: &[(Option<Target>, f32)],
    half_life_days: Option<u32>,
) -> Result<(SupportSet, Vec<String>), Fault> {
    let width = base.manifest.input.row_width();
    let unlabelled =
        rows.iter().zip(targets).filter(|(_, (target, _))| target.is_none()).map(|(row, _)| row.as_slice());
    let unlabelled = Rows::new(width, unlabelled.collect::<Vec<_>>().concat())?;
    let said = rows.iter().zip(targets).filter(|(_, (target, _))| target.is_some());
    let (rows, said): (Vec<_>, Vec<_>) = said.unzip();
    let targets: Vec<&Target> = said.iter().filter_map(|(target, _)| target.as_ref()).collect();
    let weights: Vec<f32> = said.iter().map(|(_, weight)| *weight).collect();
    if rows.is_empty() {
        return Err(Fault::EmptySupport);
    }
    let used = |label: &&String| targets.iter().any(|target| matches!(target, Target::Label(own) if own == *label));
    let names: Vec<String> = labels.iter().filter(used).cloned().collect();
    let targets = match kind {
        Kind::Classification => {
            if names.len() < 2 {
                return Err(Fault::TooFewLabels { given: names.len() });
            }
            if let Some(way) = base.manifest.learner.fixed_way().filter(|&way| way != names.len()) {
                return Err(Fault::FixedWay { base: base.manifest.name.clone(), way, given: names.len() });
            }
            let class = |target: &Target| {
                names.iter().position(|name| matches!(target, Target::Label(own) if own == name)).unwrap_or(usize::MAX)
            };
            let labels = targets.iter().map(|target| u32::try_from(class(target)).unwrap_or(u32::MAX)).collect();
            Targets::Classes { labels, way: names.len() }
        }
        Kind::Regression | Kind::Tagging => Targets::Values(
            targets
                .iter()
                .map(|target| match target {
                    Target::Value(value) => *value,
                    Target::Label(_) | Target::Spans(_) | Target::Signal(_) => f32::NAN, // refused just below
                })
                .collect(),
        ),
        Kind::Ranking => {
            let signal = |target: &&Target| if let Target::Signal(signal) = target { Some(*signal) } else { None };
            let signals: Vec<Signal> = targets.iter().filter_map(signal).collect();
            let values = signals.iter().map(|signal| signal.value).collect();
            Targets::Signals { values, weights: Signal::weights(&signals, half_life_days) }
        }
    };
    let values = rows.into_iter().flatten().copied().collect();
    let set = SupportSet::weighted(&Rows::new(width, values)?, &targets, &weights)?;
    Ok((set.with_unlabelled(&unlabelled)?, names))
}

/// Two examples with one digest are duplicates: the same row with the same target, however the input was encoded. Of a
/// text it is the text that counts: processors differ in the last bits of its row.
fn digest(input: &Input, row: &[f32], target: Option<&Target>) -> String {
    let mut hash = Sha256::new();
    match input {
        Input::Text(text) => hash.update(text),
        Input::Item(Item { text, prior, features }) => {
            hash.update(text);
            prior.iter().chain(features).for_each(|value| hash.update(value.to_le_bytes()));
            hash.update([u8::from(prior.is_some())]);
        }
        Input::Tokens(tokens) => tokens.iter().for_each(|token| {
            hash.update(token);
            hash.update([0]);
        }),
        _ => row.iter().for_each(|value| hash.update(value.to_le_bytes())),
    }
    match target {
        Some(Target::Label(label)) => {
            hash.update([0]);
            hash.update(label.as_bytes());
        }
        Some(Target::Value(value)) => {
            hash.update([1]);
            hash.update(value.to_le_bytes());
        }
        None => hash.update([2]),
        Some(Target::Spans(spans)) => {
            hash.update([3]);
            for Span { start, end, label } in spans {
                hash.update((*start as u64).to_le_bytes());
                hash.update((*end as u64).to_le_bytes());
                hash.update(label);
                hash.update([0]);
            }
        }
        Some(Target::Signal(Signal { value, weight, time })) => {
            hash.update([4]);
            hash.update(value.to_le_bytes());
            hash.update(weight.to_le_bytes());
            hash.update(time.map_or(0, Timestamp::millis).to_le_bytes());
        }
    }
    hex(&hash.finalize())
}
