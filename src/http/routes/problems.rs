//! What a problem's `type` leads to.

use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::extract::ApiPath;
use crate::http::problem::{Problem, ProblemBody};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(describe_problem))
}

/// Each code and what it means to a caller.
const PROBLEMS: &[(&str, &str)] = &[
    ("adaptation_failed", "The adaptation ended without an adapter. `detail` says why; the same request fails again."),
    ("adapter_corrupt", "The stored adapter is damaged. Adapt the task again."),
    ("adapter_mismatch", "The adapter does not belong to the base model as it is now. Adapt the task again."),
    ("bad_request", "The request cannot be understood as HTTP."),
    ("base_model_changed", "The base model was replaced since the adapter was made. Adapt the task again."),
    ("body_too_large", "The body is larger than the server takes. GET /v1/limits has the number."),
    ("body_too_slow", "The body did not arrive in time. Send less at a time, or over a faster connection."),
    ("changed", "The thing changed since you read it. Read it again and repeat with its new `etag`."),
    ("deadline", "The time in `X-Request-Timeout-Ms` was over before the answer was computed."),
    ("duplicate", "The thing would become equal to another one. Remove one of the two."),
    ("idempotency_key_reused", "The `Idempotency-Key` came with another request before. Send a new key."),
    ("insufficient_scope", "The key may not do this. `detail` names the scope that may."),
    ("internal", "A fault of the server. Its log has the reason under the request's id."),
    ("invalid_cursor", "`after` is not a cursor that this list gave out."),
    ("invalid_header", "A header's value is malformed. `errors` names it."),
    ("invalid_path", "A part of the path is not an id or number of the right form."),
    ("invalid_query", "A parameter behind the question mark is unknown or malformed."),
    ("invalid_values", "The body is JSON, and some of its values are wrong. `errors` points at each."),
    ("lost", "The computation was lost to a fault of the server. Repeat the request."),
    ("malformed_json", "The body is not JSON."),
    ("malformed_upload", "The upload is not of the form that its `Content-Type` says."),
    ("method_not_allowed", "The path does not take this method. `Allow` lists those that it takes."),
    ("not_adapted", "The task has no adapter yet. POST its adaptations first."),
    ("not_found", "There is no such thing, or it belongs to another tenant."),
    ("nothing_before", "No other version of the adapter was active before this one."),
    ("overloaded", "The server is at its capacity. Repeat after the time in `Retry-After`."),
    ("request_in_flight", "A request with this `Idempotency-Key` is under way. Repeat it for its answer."),
    (
        "store_full",
        "The database has no room left, and nothing of the request was stored. Repeat it when the operator has given some.",
    ),
    ("store_unavailable", "The database does not answer as it should. Repeat after the time in `Retry-After`."),
    ("support_changed", "The task's examples are not those that the version was adapted to."),
    ("tenant_concurrency", "Too many of your requests are under way. Repeat after the time in `Retry-After`."),
    ("tenant_queue", "As many of your requests or adaptations wait as may. Repeat after the time in `Retry-After`."),
    ("tenant_rate", "You send requests too fast. Repeat after the time in `Retry-After`."),
    ("timeout", "The request took longer than the server allows."),
    ("unauthenticated", "No key was sent, or not a valid one: `Authorization: Bearer imprint_…`."),
    ("unsupported_media_type", "Send `Content-Type: application/json`."),
];

/// What a problem's code means.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "server", security(()),
    params(("code" = String, Path, description = "The problem's `code`")),
    responses((status = 200, body = String), (status = "4XX", body = ProblemBody))
)]
async fn describe_problem(ApiPath(code): ApiPath<String>) -> Result<String, Problem> {
    let known = PROBLEMS.iter().find(|(known, _)| *known == code);
    let (code, meaning) = known.ok_or_else(|| Problem::by_status(StatusCode::NOT_FOUND))?;
    Ok(format!("{code}\n\n{meaning}\n"))
}
