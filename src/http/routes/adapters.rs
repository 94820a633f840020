//! Adapters.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tasks::{TaskBody, tagged};
use crate::domain::{AdapterId, Fault, Promotion, TaskId, Timestamp};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, Maker};
use crate::http::object;
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::quality::QualityBody;
use crate::http::wire::{BaseRef, PromoteBody, RecipeBody};
use crate::service::{AdapterView, ImportAdapter, Service, ServiceError, Verified};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_adapters))
        .routes(routes!(find_adapter))
        .routes(routes!(adapter_weights))
        .routes(routes!(promote_adapter))
        .routes(routes!(rollback))
        .routes(routes!(verify_adapter))
        .routes(routes!(import_adapter))
}

/// An adapter.
#[derive(Debug, Serialize, ToSchema)]
struct AdapterBody {
    /// Its version: 1, 2, 3 … within the task.
    version: u32,
    /// Its id.
    #[schema(value_type = String, example = "ada_0123456789abcdefghjkmnpqrs")]
    id: AdapterId,
    /// `adapter`
    object: &'static str,
    /// The base model that it stands on.
    base_model: BaseRef,
    /// Hash of the support set that it was adapted to.
    support_hash: String,
    /// Examples that it was adapted to.
    support_count: usize,
    /// How it was adapted.
    recipe: RecipeBody,
    /// Labels in the order of its outputs.
    labels: Vec<String>,
    /// SHA-256 of its weights.
    sha256: String,
    /// Length of its weights.
    bytes: usize,
    /// `active` if it answers where no version is named, else `archived`.
    #[schema(example = "active")]
    state: &'static str,
    /// Where its weights are: in this server's memory (`host`), or in the database until somebody asks (`database`).
    #[schema(example = "host")]
    residency: &'static str,
    /// Its estimate of itself.
    quality: Option<QualityBody>,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<AdapterView> for AdapterBody {
    fn from(AdapterView { adapter, is_active, is_at_hand }: AdapterView) -> Self {
        Self {
            state: if is_active { "active" } else { "archived" },
            residency: if is_at_hand { "host" } else { "database" },
            version: adapter.version,
            id: adapter.id,
            object: "adapter",
            base_model: BaseRef { name: adapter.base_model, sha256: adapter.base_sha256 },
            support_hash: adapter.support_hash,
            support_count: adapter.support_count,
            recipe: adapter.recipe.into(),
            labels: adapter.labels,
            sha256: adapter.sha256,
            bytes: adapter.size_bytes,
            quality: adapter.quality.map(QualityBody::from),
            created_at: adapter.created_at,
        }
    }
}

/// Versions of a task's adapter, newest first.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/adapters", tag = "adapters",
    params(("task" = String, Path, description = "The task's id"), PageParams),
    responses((status = 200, body = List<AdapterBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_adapters(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<AdapterBody>>, Problem> {
    let limit = page.limit()?;
    let rows = service.list_adapters(tenant, task, page.before()?, limit + 1).await?;
    Ok(Json(List::numbered(rows, limit, |view| view.adapter.version, AdapterBody::from)))
}

/// One version of a task's adapter.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/adapters/{version}", tag = "adapters",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, body = AdapterBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_adapter(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
) -> Result<Json<AdapterBody>, Problem> {
    Ok(Json(service.view_adapter(tenant, task, version).await?.into()))
}

/// The weights of one version, as a safetensors file.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/adapters/{version}/weights", tag = "adapters",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "The file; `ETag` is its sha256"),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn adapter_weights(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
) -> Result<Response, Problem> {
    let blob = service.adapter_weights(tenant, task, version).await?;
    let etag = HeaderValue::from_str(&format!("\"{}\"", blob.sha256())).expect("hexadecimal in quotes");
    let media_type = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, media_type), (header::ETAG, etag)], blob.bytes().to_vec()).into_response())
}

/// Makes a version the one that answers.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/adapters/{version}/promote", tag = "adapters",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, body = TaskBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn promote_adapter(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
) -> Result<Response, Problem> {
    Ok(tagged(StatusCode::OK, service.promote(tenant, task, version).await?))
}

/// Makes the version that answered before the one that answers.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/rollback", tag = "adapters",
    params(("task" = String, Path, description = "The task's id")),
    responses((status = 200, body = TaskBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn rollback(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
) -> Result<Response, Problem> {
    Ok(tagged(StatusCode::OK, service.rollback(tenant, task).await?))
}

/// What adapting again says about a version.
#[derive(Debug, Serialize, ToSchema)]
struct VerifiedBody {
    /// The version.
    version: u32,
    /// Whether the same adaptation leaves the same bytes now.
    matches: bool,
    /// SHA-256 of the version's weights.
    sha256: String,
    /// SHA-256 of what the same adaptation leaves now.
    derived_sha256: String,
}

/// Adapts again from a version's examples, base model, recipe and seed, and compares the weights bit for bit. Nothing is
/// stored. 409 if the task's examples are not those that the version was adapted to.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/adapters/{version}/verify", tag = "adapters",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, body = VerifiedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn verify_adapter(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
) -> Result<Json<VerifiedBody>, Problem> {
    let Verified { adapter, derived_sha256 } = service.verify_adapter(tenant, task, version).await?;
    let (version, sha256) = (adapter.version, adapter.sha256);
    Ok(Json(VerifiedBody { version, matches: sha256 == derived_sha256, sha256, derived_sha256 }))
}

/// An adapter that was made elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportAdapterBody {
    /// The safetensors file that `GET …/weights` gives, in base64.
    weights: String,
    /// Labels in the order of its outputs, all of them the task's; none for regression.
    #[serde(default)]
    labels: Vec<String>,
    /// How it was adapted.
    #[serde(default, deserialize_with = "object::one")]
    recipe: RecipeBody,
    /// Whether it is to answer; as the task's `settings` say by default.
    promote: Option<PromoteBody>,
}

/// Adds an adapter that was made elsewhere with the same base model, as the task's next version. Weights of another base
/// model, of other shapes or of another type than 32-bit floats are refused. Weights that the task has are not added.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/adapters/import", tag = "adapters",
    params(("task" = String, Path, description = "The task's id")),
    request_body = ImportAdapterBody,
    responses((status = 200, body = AdapterBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn import_adapter(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(ImportAdapterBody { weights, labels, recipe, promote }): ApiJson<ImportAdapterBody>,
) -> Result<Json<AdapterBody>, Problem> {
    let weights = STANDARD.decode(weights).map_err(|_| ServiceError::from(Fault::NotBase64.at("/weights")))?;
    let import = ImportAdapter { weights, labels, recipe: recipe.into(), promote: promote.map(Promotion::from) };
    Ok(Json(service.import_adapter(tenant, task, import).await?.into()))
}
