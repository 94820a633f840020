//! Bulk predictions.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::adaptations::FailureBody;
use crate::domain::{Bulk, BulkId, BulkStatus, TaskId, Timestamp};
use crate::http::AppState;
use crate::http::bulk::{self, BulkLineBody};
use crate::http::extract::{ApiPath, ApiQuery, Caller, Maker};
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::{BulkBegun, NewBulk, Service};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_bulk_prediction, list_bulk_predictions))
        .routes(routes!(find_bulk_prediction, delete_bulk_prediction))
        .routes(routes!(cancel_bulk_prediction))
        .routes(routes!(bulk_prediction_output))
}

/// A bulk prediction.
#[derive(Debug, Serialize, ToSchema)]
struct BulkBody {
    /// Its id.
    #[schema(value_type = String, example = "bulk_0123456789abcdefghjkmnpqrs")]
    id: BulkId,
    /// `bulk_prediction`
    object: &'static str,
    /// The task.
    #[schema(value_type = String)]
    task: TaskId,
    /// The version that answers, from the first input to the last.
    version: u32,
    /// Most scores of each answer.
    top_k: usize,
    /// Whether answers that are not sure enough are marked `abstained`.
    abstain: bool,
    /// `receiving`, `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    #[schema(value_type = String, example = "succeeded")]
    status: BulkStatus,
    /// Inputs.
    lines: u64,
    /// Inputs that were answered.
    answered: u64,
    /// Inputs that were refused: their lines in the output have `errors`.
    refused: u64,
    /// Bytes of it that are stored: inputs that wait, and answers.
    bytes: u64,
    /// Why it failed.
    error: Option<FailureBody>,
    /// When its inputs began to arrive.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the first of them was taken up.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// When it goes, with all that was answered.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl From<Bulk> for BulkBody {
    fn from(bulk: Bulk) -> Self {
        Self {
            id: bulk.id,
            object: "bulk_prediction",
            task: bulk.task,
            version: bulk.version,
            top_k: bulk.top_k,
            abstain: bulk.abstain,
            status: bulk.status,
            lines: bulk.lines,
            answered: bulk.answered,
            refused: bulk.refused,
            bytes: bulk.bytes,
            error: bulk.failure.map(FailureBody::from),
            created_at: bulk.created_at,
            started_at: bulk.started_at,
            finished_at: bulk.finished_at,
            expires_at: bulk.expires_at,
        }
    }
}

/// How to answer.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
struct BulkParams {
    /// The adapter's version; the one that is active now by default.
    #[param(minimum = 1)]
    version: Option<u32>,
    /// Most scores of each answer.
    #[param(default = 1, minimum = 1)]
    top_k: usize,
    /// Whether to mark answers that are not sure enough to be right in 95 % of cases, by the adapter's own estimate.
    abstain: bool,
}

impl Default for BulkParams {
    fn default() -> Self {
        Self { version: None, top_k: 1, abstain: false }
    }
}

/// Predicts for any number of inputs, when there is nothing else to do.
///
/// The body is JSON lines: an object with `input`, and `external_id` if you like, a line. All of them are taken before the
/// answer comes, or none; a line that is no input is answered in its place with what is wrong with it. One version answers
/// from the first to the last; monitors do not see it.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/bulk-predictions", tag = "bulk predictions",
    params(("task" = String, Path, description = "The task's id"), BulkParams),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 202, body = BulkBody, description = "All inputs are there: see `Location`"),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn create_bulk_prediction(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(BulkParams { version, top_k, abstain }): ApiQuery<BulkParams>,
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Problem> {
    let longest = Duration::from_millis(state.config.upload_timeout_ms);
    let lines = bulk::lines(request, &state)?;
    let bulk = match service.begin_bulk(tenant, task, NewBulk { version, top_k, abstain }, 2 * longest).await? {
        BulkBegun::Taking(intake) => bulk::receive(lines, *intake, longest).await?,
        BulkBegun::Taken(bulk) => bulk,
    };
    let location = [(header::LOCATION, format!("/v1/bulk-predictions/{}", bulk.id))];
    Ok((StatusCode::ACCEPTED, location, Json(BulkBody::from(bulk))).into_response())
}

/// Bulk predictions of a task, newest first.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/bulk-predictions", tag = "bulk predictions",
    params(("task" = String, Path, description = "The task's id"), PageParams),
    responses((status = 200, body = List<BulkBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_bulk_predictions(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<BulkBody>>, Problem> {
    let rows = service.list_bulks(tenant, task, page.page()?).await?;
    Ok(Json(List::new(rows, page.limit()?, |row| (row.created_at, row.id.to_string()), BulkBody::from)))
}

/// A bulk prediction: where it is, and how far it came.
#[utoipa::path(
    get, path = "/v1/bulk-predictions/{bulk}", tag = "bulk predictions",
    params(("bulk" = String, Path, description = "The bulk prediction's id")),
    responses((status = 200, body = BulkBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_bulk_prediction(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(bulk): ApiPath<BulkId>,
) -> Result<Json<BulkBody>, Problem> {
    Ok(Json(service.find_bulk(tenant, bulk).await?.into()))
}

/// Calls a bulk prediction off; what was answered stays. One that has ended stays as it is.
#[utoipa::path(
    post, path = "/v1/bulk-predictions/{bulk}/cancel", tag = "bulk predictions",
    params(("bulk" = String, Path, description = "The bulk prediction's id")),
    responses((status = 200, body = BulkBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn cancel_bulk_prediction(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(bulk): ApiPath<BulkId>,
) -> Result<Json<BulkBody>, Problem> {
    Ok(Json(service.cancel_bulk(tenant, bulk).await?.into()))
}

/// Removes a bulk prediction and all that was answered.
#[utoipa::path(
    delete, path = "/v1/bulk-predictions/{bulk}", tag = "bulk predictions",
    params(("bulk" = String, Path, description = "The bulk prediction's id")),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_bulk_prediction(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(bulk): ApiPath<BulkId>,
) -> Result<StatusCode, Problem> {
    service.delete_bulk(tenant, bulk).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which lines.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
struct OutputParams {
    /// The first line, by its `index`: to go on, one more than the last that you have.
    #[param(default = 0)]
    from: u64,
}

/// What was answered so far, a line for each input in their order.
///
/// While the bulk prediction is not over there may be fewer lines than inputs: come back with `from`.
#[utoipa::path(
    get, path = "/v1/bulk-predictions/{bulk}/output", tag = "bulk predictions",
    params(("bulk" = String, Path, description = "The bulk prediction's id"), OutputParams),
    responses(
        (status = 200, body = BulkLineBody, content_type = "application/x-ndjson", description = "JSON lines, each like this"),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn bulk_prediction_output(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(bulk): ApiPath<BulkId>,
    ApiQuery(OutputParams { from }): ApiQuery<OutputParams>,
) -> Result<Response, Problem> {
    service.find_bulk(tenant, bulk).await?;
    let body = Body::from_stream(bulk::output(service, tenant, bulk, from));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
