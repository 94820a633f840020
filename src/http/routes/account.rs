//! The caller, and what the server allows.

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Principal, Scope, TenantId};
use crate::http::AppState;
use crate::http::extract::Caller;
use crate::http::problem::{Problem, ProblemBody};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(whoami)).routes(routes!(limits))
}

/// The tenant that a key belongs to.
#[derive(Debug, Serialize, ToSchema)]
struct WhoamiBody {
    /// Its id.
    #[schema(value_type = String, example = "ten_0123456789abcdefghjkmnpqrs")]
    tenant: TenantId,
    /// What its key may do: `predict`, `adapt` or `admin`.
    #[schema(value_type = String)]
    scope: Scope,
}

/// What the server allows. Base models have limits of their own.
#[derive(Debug, Serialize, ToSchema)]
struct LimitsBody {
    /// Largest request body, in bytes.
    max_body_bytes: usize,
    /// Most bytes of one upload of examples.
    max_upload_bytes: usize,
    /// Longest time from a request's first byte to its answer, in milliseconds.
    request_timeout_ms: u64,
    /// Longest time that `Prefer: wait=N` is granted, in seconds.
    max_wait_s: u64,
    /// Requests of one tenant at a time; 0 is no limit.
    tenant_requests: u32,
    /// Requests of one tenant a second, in the long run; 0 is no limit.
    tenant_requests_per_s: u32,
    /// Adaptations of one tenant that may wait.
    tenant_queued_adaptations: usize,
    /// Requests of one tenant that may wait for the engine.
    engine_queue_per_tenant: usize,
    /// Memory that one request may take in the engine, in MiB.
    max_command_mib: u64,
    /// Work that one request may take, in thousand millions of multiply-adds.
    max_command_giga_multiply_adds: u64,
    /// Most webhooks of one tenant.
    max_webhooks: usize,
    /// How long an `Idempotency-Key` is remembered, in hours.
    idempotency_hours: u64,
    /// Most predictions that a task keeps for feedback.
    max_stored_predictions: usize,
    /// Bulk predictions of one tenant that may be under way.
    tenant_bulks: usize,
    /// What one tenant may have stored, in MiB; 0 is no limit.
    tenant_stored_mib: u64,
    /// Time that adaptations of one tenant may take in a day of UTC, in seconds; 0 is no limit.
    tenant_compute_s_per_day: u64,
    /// Bytes of one tenant's bulk predictions that are kept, in MiB.
    tenant_bulk_mib: u64,
    /// How long the answers of a bulk prediction are kept after its end, in hours.
    bulk_hours: u64,
    /// Most tasks of one tenant.
    max_tasks: usize,
    /// Most inner steps that a recipe may ask for.
    max_inner_steps: u32,
    /// Longest side of an image, in pixels.
    max_image_side: u32,
}

/// Whose key this is.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "server",
    responses((status = 200, body = WhoamiBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn whoami(Extension(Principal { tenant, scope, .. }): Extension<Principal>) -> Json<WhoamiBody> {
    Json(WhoamiBody { tenant, scope })
}

/// What this server allows.
#[utoipa::path(
    get, path = "/v1/limits", tag = "server",
    responses((status = 200, body = LimitsBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn limits(
    State(AppState { service, config, .. }): State<AppState>,
    _caller: Caller,
) -> Result<Json<LimitsBody>, Problem> {
    let limits = service.limits();
    let (most, engine_queue_per_tenant) = service.engine_limits();
    Ok(Json(LimitsBody {
        max_body_bytes: config.max_body_bytes,
        max_upload_bytes: config.max_upload_bytes,
        request_timeout_ms: config.request_timeout_ms,
        max_wait_s: config.max_wait_s,
        tenant_requests: limits.tenant_requests,
        tenant_requests_per_s: limits.tenant_requests_per_s,
        tenant_queued_adaptations: limits.tenant_queued_adaptations,
        engine_queue_per_tenant,
        max_command_mib: most.bytes >> 20,
        max_command_giga_multiply_adds: most.multiply_adds / 1_000_000_000,
        max_webhooks: limits.webhooks.max_webhooks,
        idempotency_hours: limits.idempotency_hours,
        max_stored_predictions: limits.max_stored_predictions,
        tenant_bulks: limits.tenant_bulks,
        tenant_stored_mib: limits.tenant_stored_mib,
        tenant_compute_s_per_day: limits.tenant_compute_s_per_day,
        tenant_bulk_mib: limits.tenant_bulk_mib,
        bulk_hours: limits.bulk_hours,
        max_tasks: limits.max_tasks,
        max_inner_steps: limits.max_inner_steps,
        max_image_side: limits.max_image_side,
    }))
}
