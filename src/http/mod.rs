//! HTTP: extract → one service call → respond.
//!
//! Every answer that is not a success is `application/problem+json` (see [`problem`]). Routes and the OpenAPI document
//! are one thing (see [`routes`]).
//!
//! Deliberately absent: business rules, SQL, tensors.

mod access;
mod admin;
mod admission;
mod browsers;
mod bulk;
mod compression;
mod deadlines;
mod deed;
mod events;
mod export;
mod extract;
#[cfg(test)]
mod fuzz;
mod idempotency;
mod lines;
mod listen;
mod measure;
mod object;
mod page;
mod problem;
mod quality;
mod routes;
mod tag_report;
mod tensors;
mod trace;
mod uploads;
mod weight;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderName, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::config::HttpConfig;
use crate::domain::{IdSource, hex};
use crate::service::Service;

pub use admin::{Operator, admin};
pub use listen::serve;
pub use routes::openapi;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers share.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// The use cases.
    pub service: Service,
    /// The listener's settings.
    pub config: Arc<HttpConfig>,
    /// Places for streams of events.
    pub streams: Arc<Semaphore>,
}

/// The whole application: what tests call and servers serve.
pub fn app(service: Service, config: HttpConfig, ids: Arc<dyn IdSource>) -> Router {
    let max_body = config.max_body_bytes;
    let admission = Arc::new(admission::Admission::new(&config));
    let streams = Arc::new(Semaphore::new(config.max_streams));
    let state = AppState { service, config: Arc::new(config), streams };
    let bounds = Arc::clone(&state.config);
    let browsers = browsers::let_in(&state.config.cors_origins);
    // Each layer is inside the one below it.
    let answering = routes::router()
        .with_state(state.clone())
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(from_fn_with_state(state, access::check))
        .layer(DefaultBodyLimit::max(max_body))
        .layer(from_fn_with_state(bounds, deadlines::bound))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn_with_state(admission, admission::admit))
        .layer(from_fn(problem::render))
        .layer(compression::layer());
    let answering = match browsers {
        Some(browsers) => answering.layer(browsers),
        None => answering,
    };
    answering
        .layer(from_fn(measure::count))
        .layer(from_fn_with_state(Arc::clone(&ids), trace::follow))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, RequestIds(ids)))
        .layer(from_fn(problem::check_request_id))
        .layer(SetSensitiveRequestHeadersLayer::new([axum::http::header::AUTHORIZATION]))
}

/// What a process without the API answers: whether it lives and whether it is ready.
pub fn health(service: Service, config: HttpConfig, ids: Arc<dyn IdSource>) -> Router {
    let state = AppState { service, config: Arc::new(config), streams: Arc::new(Semaphore::new(0)) };
    routes::health_router()
        .with_state(state)
        .layer(from_fn(problem::render))
        .layer(SetRequestIdLayer::new(REQUEST_ID, RequestIds(ids)))
}

#[derive(Clone)]
struct RequestIds(Arc<dyn IdSource>);

impl tower_http::request_id::MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<tower_http::request_id::RequestId> {
        let text = format!("req_{}", hex(&self.0.bits()));
        text.parse().ok().map(tower_http::request_id::RequestId::new)
    }
}
