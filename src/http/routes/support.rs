//! Support sets.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Adaptation, AdaptationId, AdaptationStatus, Input, Support, SupportId, Target, TaskId, Timestamp};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, Maker};
use crate::http::object;
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::wire::{self, ExampleBody, InputDoc};
use crate::service::{Given, Service, SupportAdded};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(add_support, list_support)).routes(routes!(delete_support))
}

/// Examples to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddSupportBody {
    /// Labelled inputs. All of them are added, or none.
    #[serde(default, deserialize_with = "object::each")]
    examples: Vec<ExampleBody>,
    /// Inputs that nobody has labelled, for base models that learn from such, too (`takes_unlabelled`).
    #[schema(value_type = Vec<InputDoc>)]
    #[serde(default)]
    unlabelled: Vec<Input>,
}

/// What adding did.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddedBody {
    /// How many are new.
    added: usize,
    /// Their ids, in the order given, `unlabelled` after `examples`.
    #[schema(value_type = Vec<String>)]
    ids: Vec<SupportId>,
    /// Those that were there already: the same input with the same target, or the same `external_id`.
    duplicates: Vec<DuplicateBody>,
    /// How many examples the task has now, labelled or not.
    support_count: usize,
    /// The adaptation that follows, if the task adapts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    adaptation: Option<AdaptationRef>,
}

impl From<SupportAdded> for AddedBody {
    fn from(SupportAdded { added, support_count, adaptation }: SupportAdded) -> Self {
        let duplicates = added.duplicates.into_iter().map(|(index, id)| DuplicateBody { index, id }).collect();
        let adaptation = adaptation.map(|Adaptation { id, status, .. }| AdaptationRef { id, status });
        Self { added: added.added.len(), ids: added.added, duplicates, support_count, adaptation }
    }
}

/// An adaptation that follows by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptationRef {
    /// Its id.
    #[schema(value_type = String)]
    id: AdaptationId,
    /// `queued`, most probably.
    #[schema(value_type = String)]
    status: AdaptationStatus,
}

/// An example that was there already.
#[derive(Debug, Serialize, ToSchema)]
pub struct DuplicateBody {
    /// Its place in the request; `unlabelled` counts on where `examples` ends.
    index: usize,
    /// The example that it equals.
    #[schema(value_type = String)]
    id: SupportId,
}

/// An example of a task.
#[derive(Debug, Serialize, ToSchema)]
struct SupportBody {
    /// Its id.
    #[schema(value_type = String, example = "sup_0123456789abcdefghjkmnpqrs")]
    id: SupportId,
    /// `support`
    object: &'static str,
    /// The input, as it was sent.
    #[schema(value_type = InputDoc)]
    input: Input,
    /// Its class. Neither this nor `value` if nobody has labelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
    /// Your own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Support> for SupportBody {
    fn from(Support { id, example, created_at }: Support) -> Self {
        let (label, value) = match example.target {
            Some(Target::Label(label)) => (Some(label), None),
            Some(Target::Value(value)) => (None, Some(value)),
            None => (None, None),
        };
        let (input, external_id) = (example.input, example.external_id);
        Self { id, object: "support", input, label, value, external_id, created_at }
    }
}

/// Adds examples to a task: all of them, or none and the reasons.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/support", tag = "support",
    params(("task" = String, Path, description = "The task's id")),
    request_body = AddSupportBody,
    responses((status = 200, body = AddedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn add_support(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(body): ApiJson<AddSupportBody>,
) -> Result<Json<AddedBody>, Problem> {
    let AddSupportBody { examples, unlabelled } = body;
    let given = Given { examples: wire::given(examples), unlabelled };
    Ok(Json(service.add_support(tenant, task, given).await?.into()))
}

/// Examples of a task, newest first.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/support", tag = "support",
    params(("task" = String, Path, description = "The task's id"), PageParams),
    responses((status = 200, body = List<SupportBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<SupportBody>>, Problem> {
    let rows = service.list_support(tenant, task, page.page()?).await?;
    Ok(Json(List::new(rows, page.limit()?, |row| (row.created_at, row.id.to_string()), SupportBody::from)))
}

/// Removes an example. Adapters that were made with it stay until the task is adapted again.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}/support/{support}", tag = "support",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("support" = String, Path, description = "The example's id")
    ),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, support)): ApiPath<(TaskId, SupportId)>,
) -> Result<StatusCode, Problem> {
    service.delete_support(tenant, task, support).await?;
    Ok(StatusCode::NO_CONTENT)
}
