//! Tasks.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Kind, Promotion, Task, TaskId, TaskPatch, TaskSettings, Timestamp};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, IfMatch, Maker};
use crate::http::object;
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::wire::{self, ExampleBody};
use crate::service::{NewTask, Service, TaskState, TaskView};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create_task, list_tasks)).routes(routes!(find_task, update_task, delete_task))
}

/// A task to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTaskBody {
    /// A name for people.
    #[schema(example = "part marks")]
    name: String,
    /// The base model's name.
    #[schema(example = "omniglot")]
    base_model: String,
    /// What is asked; the base model's first kind by default.
    #[schema(value_type = Option<String>, example = "classification")]
    kind: Option<Kind>,
    /// The labels there will be. Without it, examples bring their own.
    labels: Option<Vec<String>>,
    /// Your own words about it.
    #[serde(default)]
    metadata: Map<String, Value>,
    /// What to answer for a label: `predict` says it with the label.
    #[serde(default)]
    answers: BTreeMap<String, String>,
    /// What it does by itself.
    #[serde(default, deserialize_with = "object::one")]
    settings: SettingsBody,
    /// First examples.
    #[serde(default, deserialize_with = "object::each")]
    support: Vec<ExampleBody>,
}

/// Changes to a task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateTaskBody {
    /// A new name.
    name: Option<String>,
    /// New metadata, whole.
    metadata: Option<Map<String, Value>>,
    /// Labels to add.
    #[serde(default)]
    add_labels: Vec<String>,
    /// Other answers, whole.
    answers: Option<BTreeMap<String, String>>,
    /// Other settings, whole.
    settings: Option<SettingsBody>,
}

/// What a task does by itself.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct SettingsBody {
    /// Whether it is adapted again when its examples change.
    auto_adapt: bool,
    /// Whether what an adaptation leaves is to answer, unless the adaptation says otherwise: `always`, `if_better` (at
    /// least as good as the active version, each by its own estimate) or `never`.
    #[schema(value_type = String, example = "if_better", pattern = "^(always|if_better|never)$")]
    auto_promote: Promotion,
    /// Of ranking: after how many days a signal with a `time` counts half as much as the latest one; signals do not age
    /// without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    half_life_days: Option<NonZeroU32>,
}

impl From<SettingsBody> for TaskSettings {
    fn from(SettingsBody { auto_adapt, auto_promote, half_life_days }: SettingsBody) -> Self {
        Self { auto_adapt, auto_promote, half_life_days: half_life_days.map(NonZeroU32::get) }
    }
}

impl From<TaskSettings> for SettingsBody {
    fn from(TaskSettings { auto_adapt, auto_promote, half_life_days }: TaskSettings) -> Self {
        Self { auto_adapt, auto_promote, half_life_days: half_life_days.and_then(NonZeroU32::new) }
    }
}

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskBody {
    /// Its id.
    #[schema(value_type = String, example = "task_0123456789abcdefghjkmnpqrs")]
    id: TaskId,
    /// `task`
    object: &'static str,
    /// Its name.
    name: String,
    /// What is asked.
    #[schema(value_type = String, example = "classification")]
    kind: Kind,
    /// The base model's name.
    base_model: String,
    /// Its labels, in the order of their first mention.
    labels: Vec<LabelBody>,
    /// `empty`, `unadapted` or `ready`; only of a single task.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    /// All its examples; only of a single task.
    #[serde(skip_serializing_if = "Option::is_none")]
    support_count: Option<usize>,
    /// The adapter version that answers.
    active_version: Option<u32>,
    /// The highest adapter version.
    latest_version: Option<u32>,
    /// Your own words about it.
    metadata: Map<String, Value>,
    /// What it answers for a label.
    answers: BTreeMap<String, String>,
    /// What it does by itself.
    settings: SettingsBody,
    /// What to send as `If-Match`.
    #[schema(example = "\"3\"")]
    etag: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A label.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabelBody {
    /// Its name.
    name: String,
    /// Its examples; only of a single task.
    #[serde(skip_serializing_if = "Option::is_none")]
    support_count: Option<usize>,
}

impl From<Task> for TaskBody {
    fn from(task: Task) -> Self {
        Self {
            id: task.id,
            object: "task",
            name: task.name,
            kind: task.kind,
            base_model: task.base_model,
            labels: task.labels.into_iter().map(|name| LabelBody { name, support_count: None }).collect(),
            state: None,
            support_count: None,
            active_version: task.active_version,
            latest_version: task.latest_version,
            metadata: task.metadata,
            answers: task.answers,
            settings: task.settings.into(),
            etag: format!("\"{}\"", task.revision),
            created_at: task.created_at,
            updated_at: task.updated_at,
        }
    }
}

impl From<TaskView> for TaskBody {
    fn from(view: TaskView) -> Self {
        let state = match view.state() {
            TaskState::Empty => "empty",
            TaskState::Unadapted => "unadapted",
            TaskState::Ready => "ready",
        };
        let labels = view.labels.into_iter();
        Self {
            labels: labels
                .map(|label| LabelBody { name: label.name, support_count: Some(label.support_count) })
                .collect(),
            state: Some(state),
            support_count: Some(view.support_count),
            ..Self::from(view.task)
        }
    }
}

/// A task with its `ETag`.
pub fn tagged(status: StatusCode, view: TaskView) -> Response {
    let body = TaskBody::from(view);
    let etag = HeaderValue::from_str(&body.etag).expect("a number in quotes");
    (status, [(header::ETAG, etag)], Json(body)).into_response()
}

/// Makes a task, with its first examples if there are any: all or nothing.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "tasks", request_body = CreateTaskBody,
    responses((status = 201, body = TaskBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn create_task(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiJson(body): ApiJson<CreateTaskBody>,
) -> Result<Response, Problem> {
    let CreateTaskBody { name, base_model, kind, labels, metadata, answers, settings, support } = body;
    let (settings, support) = (settings.into(), wire::given(support));
    let new = NewTask { name, base_model, kind, labels, metadata, answers, settings, support };
    let view = service.create_task(tenant, new).await?;
    let location = format!("/v1/tasks/{}", view.task.id);
    Ok(([(header::LOCATION, location)], tagged(StatusCode::CREATED, view)).into_response())
}

/// Which tasks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TaskParams {
    /// Those whose metadata has this, written `key=value`, only. A value that is not a text is written as JSON.
    #[param(example = "team=billing")]
    metadata: Option<String>,
    /// Most rows, 1 to 100.
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Tasks, newest first.
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks", params(TaskParams),
    responses((status = 200, body = List<TaskBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_tasks(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiQuery(TaskParams { metadata, limit, after }): ApiQuery<TaskParams>,
) -> Result<Json<List<TaskBody>>, Problem> {
    let page = PageParams::new(limit, after);
    let wanted = metadata.map(|text| wire::pair("metadata", &text)).transpose()?;
    let rows = service.list_tasks(tenant, wanted, page.page()?).await?;
    Ok(Json(List::new(rows, page.limit()?, |task| (task.created_at, task.id.to_string()), TaskBody::from)))
}

/// A task.
#[utoipa::path(
    get, path = "/v1/tasks/{task}", tag = "tasks",
    params(("task" = String, Path, description = "The task's id")),
    responses((status = 200, body = TaskBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_task(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
) -> Result<Response, Problem> {
    Ok(tagged(StatusCode::OK, service.find_task(tenant, task).await?))
}

/// Changes a task; with `If-Match`, only as it was read.
#[utoipa::path(
    patch, path = "/v1/tasks/{task}", tag = "tasks",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("If-Match" = Option<String>, Header, description = "The task's `etag`")
    ),
    request_body = UpdateTaskBody,
    responses((status = 200, body = TaskBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn update_task(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    IfMatch(revision): IfMatch<u64>,
    ApiJson(body): ApiJson<UpdateTaskBody>,
) -> Result<Response, Problem> {
    let UpdateTaskBody { name, metadata, add_labels, answers, settings } = body;
    let patch = TaskPatch { name, metadata, add_labels, answers, settings: settings.map(TaskSettings::from) };
    Ok(tagged(StatusCode::OK, service.update_task(tenant, task, patch, revision).await?))
}

/// Removes a task with its examples, adaptations and adapters.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}", tag = "tasks",
    params(("task" = String, Path, description = "The task's id")),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_task(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
) -> Result<StatusCode, Problem> {
    service.delete_task(tenant, task).await?;
    Ok(StatusCode::NO_CONTENT)
}
