//! Every route, and with it the OpenAPI document.
//!
//! # Adding an endpoint
//! 1. A handler with `#[utoipa::path(…)]` in the file of its noun, and its name in that file's `router()`.
//! 2. One function in `service`.
//! 3. `imprint openapi > openapi/openapi.json`: the test that compares them fails until it names the route.

mod account;
mod adaptations;
mod adapters;
mod base_models;
mod classify;
mod docs;
mod feedback;
mod health;
mod inference;
pub mod keys;
pub mod ledger;
mod monitors;
mod predictions;
mod problems;
mod support;
mod tasks;
mod webhooks;

use axum::Router;
use axum::http::StatusCode;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr};
use utoipa_axum::router::OpenApiRouter;

use super::AppState;
use super::problem::Problem;
use crate::domain::{AdaptationId, KeyId, MessageId, MonitorId, SupportId, TaskId, WebhookId};

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
        .merge(feedback::router())
        .merge(monitors::router())
        .merge(tasks::router())
        .merge(support::router())
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
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A key of `imprint keys create`. Not needed where the server runs with `--auth open`."));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(bearer.build()));
    for (path, item) in &mut document.paths.paths {
        if let Some(operation) = item.post.as_mut().filter(|_| !path.starts_with("/v1/keys")) {
            operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
        }
        let methods = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        methods.into_iter().flatten().for_each(complete);
    }
    (router, document)
}

/// What is said once for all operations: how ids are written, and that problems are problems.
fn complete(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let prefix = match parameter.name.as_str() {
            "task" => TaskId::PREFIX,
            "support" => SupportId::PREFIX,
            "adaptation" => AdaptationId::PREFIX,
            "key" => KeyId::PREFIX,
            "monitor" => MonitorId::PREFIX,
            "webhook" => WebhookId::PREFIX,
            "message" => MessageId::PREFIX,
            _ => continue,
        };
        if parameter.parameter_in == ParameterIn::Path {
            let pattern = format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$");
            let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build();
            parameter.schema = Some(text.into());
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.ends_with("XX")
            && let Some(body) = response.content.shift_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), body);
        }
    }
}

/// The header that every POST takes.
fn idempotency_key() -> Parameter {
    let description = "Sent twice, the request acts once and is answered alike: 409 while the first is under way, 422 \
                       if it says something else.";
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build()
}
