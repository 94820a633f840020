//! Health, for whoever restarts and balances.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::AppState;
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Service;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(startupz))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", tag = "server", security(()), responses((status = 200, body = String)))]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the start is over: the port opens once the base models are loaded, each has adapted and answered, and the
/// database is migrated. What becomes of the server later does not change it.
#[utoipa::path(get, path = "/startupz", tag = "server", security(()), responses((status = 200, body = String)))]
async fn startupz() -> &'static str {
    "started\n"
}

/// Whether requests can be served: the database answers.
#[utoipa::path(
    get, path = "/readyz", tag = "server", security(()),
    responses((status = 200, body = String), (status = 503, body = ProblemBody))
)]
async fn readyz(State(service): State<Service>) -> Result<&'static str, Problem> {
    service.ready().await?;
    Ok("ready\n")
}
