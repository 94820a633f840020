//! Tasks.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::examples::Checked;
use super::inputs::{Asked, check_count, check_name};
use super::{Given, GivenExample, Page, Result, Service, ServiceError};
use crate::domain::{BaseModel, Fault, Invalid, Kind, LabelCount, Task, TaskId, TaskPatch, TaskSettings, TenantId};
use crate::engine::Origin;
use crate::store::Hint;

/// Longest answer, in characters.
const ANSWER_LIMIT: usize = 4_000;

/// Longest metadata, in bytes of JSON.
const METADATA_LIMIT: usize = 16 << 10;

/// Tasks that are looked through at a time for those with some metadata.
const LOOKED_THROUGH: usize = 500;

/// Whether a value of metadata is the one that is written as `text`.
fn is_value(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own == text,
        other => format!("{other}") == text,
    }
}

/// A task as a caller asks for it.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// A name for people.
    pub name: String,
    /// The base model.
    pub base_model: String,
    /// What is asked; the base model's first kind by default.
    pub kind: Option<Kind>,
    /// The labels there will be; whatever the examples bring, without it.
    pub labels: Option<Vec<String>>,
    /// The caller's own words about it.
    pub metadata: Map<String, Value>,
    /// What to answer for a label.
    pub answers: BTreeMap<String, String>,
    /// What it does by itself.
    pub settings: TaskSettings,
    /// First examples.
    pub support: Vec<GivenExample>,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It has no example.
    Empty,
    /// It has examples and no adapter.
    Unadapted,
    /// An adapter answers.
    Ready,
}

/// A task and what is counted about it.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// The task.
    pub task: Task,
    /// Its labels and their examples.
    pub labels: Vec<LabelCount>,
    /// All its examples.
    pub support_count: usize,
}

impl TaskView {
    /// Where it is.
    pub fn state(&self) -> TaskState {
        match (self.task.active_version, self.support_count) {
            (Some(_), _) => TaskState::Ready,
            (None, 0) => TaskState::Empty,
            (None, _) => TaskState::Unadapted,
        }
    }
}

impl Service {
    /// Makes a task, with its first examples if there are any: all or nothing.
    pub async fn create_task(&self, tenant: TenantId, new: NewTask) -> Result<TaskView> {
        let base = self.named_base(&new.base_model, "/base_model")?;
        let kind = check_kind(base, new.kind)?;
        check_name("name", &new.name, "/name")?;
        check_metadata(&new.metadata)?;
        check_labels(base, kind, new.labels.as_deref().unwrap_or_default(), "/labels")?;
        let open_labels = new.labels.is_none() && kind.has_labels();
        let mut labels = new.labels.unwrap_or_default();
        let given = Given { examples: new.support, unlabelled: Vec::new() };
        let asked = Asked { origin: Origin::interactive(tenant), pointer: "/support" };
        let Checked { examples, new_labels, .. } =
            self.check_examples(base, kind, &labels, open_labels, given, asked).await?;
        labels.extend(new_labels);
        check_answers(&new.answers, &labels)?;
        self.take_room_for(tenant, examples.iter().map(|example| &example.input)).await?;
        let has_examples = !examples.is_empty();
        let now = self.clock.now();
        let task = Task {
            id: TaskId::fresh(&*self.ids),
            name: new.name,
            kind,
            base_model: new.base_model,
            labels,
            open_labels,
            metadata: new.metadata,
            settings: new.settings,
            answers: new.answers,
            is_monitored: false,
            active_version: None,
            latest_version: None,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        self.store.create_task(tenant, &task, &self.as_support(examples), self.config.max_tasks).await?;
        if has_examples {
            self.adapt_by_itself(tenant, &task).await?;
        }
        self.find_task(tenant, task.id).await
    }

    /// A task.
    pub async fn find_task(&self, tenant: TenantId, task: TaskId) -> Result<TaskView> {
        let task = self.found_task(tenant, task).await?;
        self.view(tenant, task).await
    }

    /// Tasks, newest first; if `wanted` is given, those whose metadata has this value under this key.
    ///
    /// Metadata are texts to the databases, whose JSON cannot hold all that ours can: they are looked through here.
    pub async fn list_tasks(
        &self,
        tenant: TenantId,
        wanted: Option<(String, String)>,
        page: Page<TaskId>,
    ) -> Result<Vec<Task>> {
        let Some((key, value)) = wanted else { return Ok(self.store.list_tasks(tenant, page).await?) };
        let mut found = Vec::new();
        let mut after = page.after;
        loop {
            let rows = self.store.list_tasks(tenant, Page { after, limit: LOOKED_THROUGH }).await?;
            after = rows.last().map(|task| (task.created_at, task.id));
            let is_last = rows.len() < LOOKED_THROUGH;
            found.extend(
                rows.into_iter().filter(|task| task.metadata.get(&key).is_some_and(|own| is_value(own, &value))),
            );
            if is_last || found.len() >= page.limit {
                found.truncate(page.limit);
                return Ok(found);
            }
        }
    }

    /// Changes a task; if `revision` is given, only that one.
    pub async fn update_task(
        &self,
        tenant: TenantId,
        task: TaskId,
        patch: TaskPatch,
        revision: Option<u64>,
    ) -> Result<TaskView> {
        let task = self.found_task(tenant, task).await?;
        let base = self.named_base(&task.base_model, "/base_model")?;
        if let Some(name) = &patch.name {
            check_name("name", name, "/name")?;
        }
        if let Some(metadata) = &patch.metadata {
            check_metadata(metadata)?;
        }
        check_labels(base, task.kind, &patch.add_labels, "/add_labels")?;
        let fresh = patch.add_labels.iter().filter(|label| !task.labels.contains(label)).count();
        check_count("labels", task.labels.len() + fresh, base.manifest.limits.max_labels, "/add_labels")?;
        if let Some(answers) = &patch.answers {
            check_answers(answers, &[task.labels.clone(), patch.add_labels.clone()].concat())?;
        }
        let updated = self.store.update_task(tenant, task.id, &patch, revision, self.clock.now()).await?;
        self.view(tenant, updated.ok_or(ServiceError::NotFound("task"))?).await
    }

    /// Removes a task and all that belongs to it.
    pub async fn delete_task(&self, tenant: TenantId, task: TaskId) -> Result<()> {
        if !self.store.delete_task(tenant, task).await? {
            return Err(ServiceError::NotFound("task"));
        }
        self.forget_task(task).await;
        self.tell(Hint::Task(task));
        Ok(())
    }

    pub(super) async fn found_task(&self, tenant: TenantId, task: TaskId) -> Result<Task> {
        self.store.find_task(tenant, task).await?.ok_or(ServiceError::NotFound("task"))
    }

    pub(super) async fn view(&self, tenant: TenantId, task: Task) -> Result<TaskView> {
        let labels = self.store.count_support(tenant, task.id).await?;
        let support_count = self.store.support_len(tenant, task.id).await?;
        Ok(TaskView { task, labels, support_count })
    }
}

/// The kind that was asked for, if the base model serves it.
pub(super) fn check_kind(base: &BaseModel, kind: Option<Kind>) -> Result<Kind, Invalid> {
    let kinds = &base.manifest.kinds;
    let kind = kind.or(kinds.first().copied());
    kind.filter(|kind| kinds.contains(kind)).ok_or_else(|| {
        let kind = kind.map_or("no", Kind::name).to_owned();
        Fault::UnsupportedKind { base: base.manifest.name.clone(), kind }.at("/kind")
    })
}

fn check_labels(base: &BaseModel, kind: Kind, labels: &[String], pointer: &str) -> Result<(), Invalid> {
    if !kind.has_labels() && !labels.is_empty() {
        return Err(Fault::Inapplicable { because: "a task of this kind has no labels" }.at(pointer));
    }
    check_count("labels", labels.len(), base.manifest.limits.max_labels, pointer)?;
    for (index, label) in labels.iter().enumerate() {
        check_name("label", label, &format!("{pointer}/{index}"))?;
        if labels[..index].contains(label) {
            return Err(Fault::DuplicateLabel { label: label.clone() }.at(format!("{pointer}/{index}")));
        }
    }
    Ok(())
}

/// Each for a label that there is.
fn check_answers(answers: &BTreeMap<String, String>, labels: &[String]) -> Result<(), Invalid> {
    for (label, answer) in answers {
        let at = format!("/answers/{}", label.replace('~', "~0").replace('/', "~1"));
        if !labels.contains(label) {
            return Err(Fault::UnknownLabel { label: label.clone() }.at(at));
        }
        check_count("characters of an answer", answer.chars().count(), ANSWER_LIMIT, &at)?;
    }
    Ok(())
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<(), Invalid> {
    let length = serde_json::to_string(metadata).map_or(usize::MAX, |text| text.len());
    check_count("bytes of metadata", length, METADATA_LIMIT, "/metadata")
}
