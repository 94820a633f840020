//! Every route, and with it the OpenAPI document.
//!
//! # Adding an endpoint
//! 1. A handler with `#[utoipa::path(…)]` in the file of its noun, and its name in that file's `router()`.
//! 2. One function in `service`.
//! 3. A step in `scripts/examples.py`, which records the examples of all operations from a running server.
//! 4. `imprint openapi > openapi/openapi.json`: the test that compares them fails until it names the route.

mod account;
mod adaptations;
mod adapters;
mod base_models;
mod bulk;
mod classify;
mod docs;
mod document;
mod feedback;
#[cfg(test)]
mod fuzz;
mod health;
mod inference;
pub mod keys;
pub mod ledger;
mod monitors;
mod predictions;
mod problems;
mod ranking;
mod search;
mod suggestions;
mod support;
mod tags;
mod tasks;
mod webhooks;

use axum::Router;
use axum::http::StatusCode;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::AppState;
use super::problem::Problem;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Imprint",
        description = "Few-shot adaptation as a service: POST a support set, get an adapter, query predictions.\n\n\
            Every answer that is not a success is `application/problem+json` (RFC 9457)."
    ),
    security(("key" = [])),
    tags(
        (name = "predict", description = "Answers, with a stored adapter or with one made for the request"),
        (name = "tasks", description = "One problem of one tenant: a base model, labels, a support set"),
        (name = "support", description = "Labelled examples to adapt on"),
        (name = "adaptations", description = "Runs of the inner loop"),
        (name = "adapters", description = "What adaptations leave: immutable, versioned, small"),
        (name = "bulk predictions", description = "Answers to any number of inputs, when there is nothing else to do"),
        (name = "monitors", description = "What looks at a task's predictions, and tells when a label's share changes"),
        (name = "base models", description = "What tasks adapt"),
        (name = "compatibility", description = "For clients that were written for others"),
        (name = "webhooks", description = "Being told, by signed messages"),
        (name = "account", description = "What you had, what was done, what is erased"),
        (name = "server", description = "This server")
    )
)]
struct Document;

fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(predictions::router())
        .merge(bulk::router())
        .merge(ranking::router())
        .merge(tags::router())
        .merge(feedback::router())
        .merge(monitors::router())
        .merge(search::router())
        .merge(tasks::router())
        .merge(support::router())
        .merge(suggestions::router())
        .merge(adaptations::router())
        .merge(adapters::router())
        .merge(webhooks::router())
        .merge(base_models::router())
        .merge(ledger::router())
        .merge(account::router())
        .merge(keys::router())
        .merge(classify::router())
        .merge(inference::router())
        .merge(docs::router())
        .merge(health::router())
        .merge(problems::router())
}

/// Every route.
pub fn router() -> Router<AppState> {
    let (router, document) = described();
    let json = serde_json::to_string_pretty(&document).expect("the document is plain data");
    let serve_document =
        move || async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], json.clone()) };
    router
        .route("/openapi.json", axum::routing::get(serve_document))
        .fallback(|| async { Problem::by_status(StatusCode::NOT_FOUND) })
}

/// The routes of a process that has no others.
pub fn health_router() -> Router<AppState> {
    let (router, _) = OpenApiRouter::new().merge(health::router()).split_for_parts();
    router.fallback(|| async { Problem::by_status(StatusCode::NOT_FOUND) })
}

/// The contract.
pub fn openapi() -> OpenApi {
    described().1
}

fn described() -> (Router<AppState>, OpenApi) {
    let (router, mut document) = routes().split_for_parts();
    document::complete(&mut document);
    (router, document)
}
