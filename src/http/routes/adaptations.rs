//! Adaptations.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::HttpConfig;
use crate::domain::{
    Adaptation, AdaptationId, AdaptationPhase, AdaptationStatus, Adapter, AdapterId, Failure, Promotion, TaskId,
    TenantId, Timestamp,
};
use crate::http::AppState;
use crate::http::events::{EventBody, Follower};
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, Following, Maker, Wait};
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::quality::QualityBody;
use crate::http::trace::Traced;
use crate::http::wire::{PromoteBody, RecipeBody};
use crate::service::{Headway, NewAdaptation, QueuePlace, Service, ServiceError};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_adaptation))
        .routes(routes!(list_adaptations))
        .routes(routes!(find_adaptation))
        .routes(routes!(cancel_adaptation))
        .routes(routes!(list_adaptation_events))
}

/// Longest time until a client should look again, in seconds.
const LONGEST_RETRY_AFTER: u64 = 60;

/// When to ask for a stream again if all places are taken.
const STREAM_RETRY: Duration = Duration::from_secs(10);

/// How to adapt, and what to do with the adapter.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CreateAdaptationBody {
    /// Inner steps, for base models that adapt by gradient steps.
    inner_steps: Option<u32>,
    /// Seed of whatever the inner loop draws.
    seed: u64,
    /// How long it may take from this request to its adapter, in milliseconds, for base models that adapt by gradient
    /// steps (taggers excepted): where all inner steps would take longer, fewer are taken, at least one, by what they took of late. The
    /// recipe of the result says how many.
    #[schema(minimum = 1)]
    latency_budget_ms: Option<u32>,
    /// Whether the adapter is to answer; as the task's `settings` say by default.
    promote: Option<PromoteBody>,
}

/// An adaptation.
#[derive(Debug, Serialize, ToSchema)]
struct AdaptationBody {
    /// Its id.
    #[schema(value_type = String, example = "adpt_0123456789abcdefghjkmnpqrs")]
    id: AdaptationId,
    /// `adaptation`
    object: &'static str,
    /// The task.
    #[schema(value_type = String)]
    task: TaskId,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    #[schema(value_type = String, example = "succeeded")]
    status: AdaptationStatus,
    /// How it adapts, as it was asked for.
    recipe: RecipeBody,
    /// How long it may take from `created_at` to its adapter, in milliseconds; null is as long as it takes.
    latency_budget_ms: Option<u32>,
    /// How often a worker took it.
    attempt: u32,
    /// Where it waits, while it does; only of a single adaptation.
    queue: Option<QueueBody>,
    /// Where it is, while it runs; only of a single adaptation.
    running: Option<RunningBody>,
    /// What it left.
    result: Option<ResultBody>,
    /// Why it failed.
    error: Option<FailureBody>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When a worker took it, last.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

/// Where a waiting adaptation is.
#[derive(Debug, Serialize, ToSchema)]
struct QueueBody {
    /// Your own adaptations that come first. Tenants take turns, so others' do not count.
    ahead: usize,
    /// When it is likely to end, in milliseconds from now, by how fast adaptations went of late.
    eta_ms: Option<u64>,
}

impl From<QueuePlace> for QueueBody {
    fn from(QueuePlace { ahead, eta }: QueuePlace) -> Self {
        Self { ahead, eta_ms: eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)) }
    }
}

/// Where a running adaptation is.
#[derive(Debug, Serialize, ToSchema)]
struct RunningBody {
    /// `load` while its examples are read, or `inner_loop`.
    #[schema(value_type = String, example = "inner_loop")]
    phase: AdaptationPhase,
    /// Inner steps that are done; null of what is over soon.
    done: Option<u64>,
    /// Inner steps that there are.
    of: Option<u64>,
}

impl From<Headway> for RunningBody {
    fn from(Headway { phase, progress }: Headway) -> Self {
        let (done, of) = progress.unzip();
        Self { phase, done, of }
    }
}

/// What an adaptation left.
#[derive(Debug, Serialize, ToSchema)]
struct ResultBody {
    /// The adapter's version.
    version: u32,
    /// The adapter's id, while it is there.
    #[schema(value_type = Option<String>)]
    adapter: Option<AdapterId>,
    /// How it was adapted: with fewer inner steps than asked for if the budget allowed no more.
    recipe: Option<RecipeBody>,
    /// The adapter's estimate of itself.
    quality: Option<QualityBody>,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureBody {
    /// The word by which a program tells it from others.
    code: String,
    /// What to do.
    detail: String,
}

impl From<Failure> for FailureBody {
    fn from(Failure { code, detail }: Failure) -> Self {
        Self { code, detail }
    }
}

impl AdaptationBody {
    fn new(adaptation: Adaptation, adapter: Option<Adapter>) -> Self {
        let made = adapter.map(|adapter| (adapter.id, adapter.recipe.into(), adapter.quality));
        let (id, recipe, quality) =
            made.map_or((None, None, None), |(id, recipe, quality)| (Some(id), Some(recipe), quality));
        Self {
            id: adaptation.id,
            object: "adaptation",
            task: adaptation.task,
            status: adaptation.status,
            recipe: adaptation.recipe.into(),
            latency_budget_ms: adaptation.latency_budget_ms,
            attempt: adaptation.attempt,
            queue: None,
            running: None,
            result: adaptation.version.map(|version| ResultBody {
                version,
                adapter: id,
                recipe,
                quality: quality.map(QualityBody::from),
            }),
            error: adaptation.failure.map(FailureBody::from),
            created_at: adaptation.created_at,
            started_at: adaptation.started_at,
            finished_at: adaptation.finished_at,
        }
    }
}

impl AdaptationBody {
    /// When to look again, in seconds.
    fn retry_after(&self) -> u64 {
        let eta_ms = self.queue.as_ref().and_then(|queue| queue.eta_ms).unwrap_or(0);
        eta_ms.div_ceil(1000).clamp(1, LONGEST_RETRY_AFTER)
    }
}

async fn body(service: &Service, tenant: TenantId, adaptation: Adaptation) -> Result<AdaptationBody, Problem> {
    let adapter = service.adapter_of(tenant, &adaptation).await?;
    let queue = service.queue_place(tenant, &adaptation).await?.map(QueueBody::from);
    let running = service.headway(tenant, &adaptation).await?.map(RunningBody::from);
    Ok(AdaptationBody { queue, running, ..AdaptationBody::new(adaptation, adapter) })
}

/// Adapts a task to its support set: 201 with the result if it is there within `Prefer: wait`, else 202.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/adaptations", tag = "adaptations",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: how long to wait for the result (RFC 7240)")
    ),
    request_body = CreateAdaptationBody,
    responses(
        (status = 201, body = AdaptationBody, description = "It succeeded"),
        (status = 202, body = AdaptationBody, description = "It is under way: see `Location`"),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn create_adaptation(
    Maker(service): Maker,
    State(config): State<Arc<HttpConfig>>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    Wait(wait): Wait,
    Traced(trace): Traced,
    ApiJson(CreateAdaptationBody { inner_steps, seed, latency_budget_ms, promote }): ApiJson<CreateAdaptationBody>,
) -> Result<Response, Problem> {
    let recipe = RecipeBody { inner_steps, seed }.into();
    let new = NewAdaptation { recipe, latency_budget_ms, promote: promote.map(Promotion::from), trace };
    let adaptation = service.create_adaptation(tenant, task, new).await?;
    let wait = wait.map(|wait| wait.min(Duration::from_secs(config.max_wait_s)));
    let adaptation = service.await_adaptation(tenant, adaptation.id, wait.unwrap_or_default()).await?;
    respond(&service, tenant, adaptation, wait).await
}

/// The answer to one who has waited, or has not.
async fn respond(
    service: &Service,
    tenant: TenantId,
    adaptation: Adaptation,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    if let Some(failure) = adaptation.failure.clone().filter(|_| adaptation.status == AdaptationStatus::Failed) {
        return Err(ServiceError::Failed(failure).into());
    }
    let status = if adaptation.status.is_final() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let location = format!("/v1/adaptations/{}", adaptation.id);
    let body = body(service, tenant, adaptation).await?;
    let retry_after = body.retry_after();
    let mut response = (status, [(header::LOCATION, location)], Json(body)).into_response();
    if status == StatusCode::ACCEPTED {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    }
    if let Some(wait) = wait {
        let applied = HeaderValue::from_str(&format!("wait={}", wait.as_secs())).expect("a word and a number");
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// Which adaptations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AdaptationParams {
    /// Of this task only.
    #[param(value_type = Option<String>)]
    task: Option<TaskId>,
    /// Of this status only.
    #[param(value_type = Option<String>)]
    status: Option<AdaptationStatus>,
    /// Most rows, 1 to 100.
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Adaptations, newest first.
#[utoipa::path(
    get, path = "/v1/adaptations", tag = "adaptations", params(AdaptationParams),
    responses((status = 200, body = List<AdaptationBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_adaptations(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiQuery(AdaptationParams { task, status, limit, after }): ApiQuery<AdaptationParams>,
) -> Result<Json<List<AdaptationBody>>, Problem> {
    let page = PageParams::new(limit, after);
    let rows = service.list_adaptations(tenant, task, status, page.page()?).await?;
    let key = |row: &Adaptation| (row.created_at, row.id.to_string());
    Ok(Json(List::new(rows, page.limit()?, key, |row| AdaptationBody::new(row, None))))
}

/// An adaptation.
#[utoipa::path(
    get, path = "/v1/adaptations/{adaptation}", tag = "adaptations",
    params(("adaptation" = String, Path, description = "The adaptation's id")),
    responses((status = 200, body = AdaptationBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_adaptation(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(id): ApiPath<AdaptationId>,
) -> Result<Json<AdaptationBody>, Problem> {
    let adaptation = service.find_adaptation(tenant, id).await?;
    Ok(Json(body(&service, tenant, adaptation).await?))
}

/// Calls an adaptation off. One that has ended stays as it is.
#[utoipa::path(
    post, path = "/v1/adaptations/{adaptation}/cancel", tag = "adaptations",
    params(("adaptation" = String, Path, description = "The adaptation's id")),
    responses((status = 200, body = AdaptationBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn cancel_adaptation(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(id): ApiPath<AdaptationId>,
) -> Result<Json<AdaptationBody>, Problem> {
    let adaptation = service.cancel_adaptation(tenant, id).await?;
    Ok(Json(body(&service, tenant, adaptation).await?))
}

/// What happened to an adaptation: a list, or with `Accept: text/event-stream` a stream that goes on to its end.
///
/// A stream ends with `done`, or with `interrupted` if the server stops: come back with `Last-Event-ID`. To one who has
/// the last event of an adaptation that has ended, the answer is 204, which ends a browser's reconnecting.
#[utoipa::path(
    get, path = "/v1/adaptations/{adaptation}/events", tag = "adaptations",
    params(
        ("adaptation" = String, Path, description = "The adaptation's id"),
        ("Last-Event-ID" = Option<u32>, Header, description = "The `id` of the last event that you have")
    ),
    responses(
        (status = 200, description = "Events in order", content(
            (List<EventBody> = "application/json"), (String = "text/event-stream")
        )),
        (status = 204, description = "A stream was asked for, and there is nothing more to come"),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn list_adaptation_events(
    State(AppState { service, streams, .. }): State<AppState>,
    Caller(tenant): Caller,
    ApiPath(adaptation): ApiPath<AdaptationId>,
    Following { is_stream, after }: Following,
) -> Result<Response, Problem> {
    // The status first: once it is final, the events are all there.
    let is_over = service.find_adaptation(tenant, adaptation).await?.status.is_final();
    let events = service.events(tenant, adaptation, after).await?;
    if !is_stream {
        return Ok(Json(List::whole(events.into_iter().map(EventBody::from).collect())).into_response());
    }
    if events.is_empty() && is_over {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = streams.try_acquire_owned().map_err(|_| ServiceError::Overloaded { retry_after: STREAM_RETRY })?;
    let follower = Follower { service, tenant, adaptation, after, pending: events.into(), _permit: permit };
    Ok(Sse::new(follower.stream()).keep_alive(KeepAlive::default()).into_response())
}
