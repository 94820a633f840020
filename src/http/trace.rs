//! Each request's place in a trace: its caller's, if it says one (`traceparent`, W3C Trace Context), or a new one.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span, info, info_span};

use super::REQUEST_ID;
use super::problem::Problem;
use crate::domain::{IdSource, TraceContext};
use crate::telemetry;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Answers within a span, and says in which trace it is. What is no `traceparent` is passed over, as the specification
/// asks.
pub async fn follow(State(ids): State<Arc<dyn IdSource>>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(TRACEPARENT).and_then(|value| TraceContext::parse(value.to_str().ok()?));
    let span = span(&request);
    let trace = telemetry::follow(&span, given, &*ids);
    request.extensions_mut().insert(trace);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    // Why it failed was logged where it failed.
    let took_ms = started.elapsed().as_secs_f64() * 1e3;
    span.in_scope(|| info!(http.status = status, http.took_ms = took_ms, "answered"));
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        response.headers_mut().insert(TRACEPARENT, value);
    }
    response
}

/// One span a request: what was asked and of which route, never what was sent.
fn span(request: &Request<Body>) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", |path| path.as_str());
    let id = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).unwrap_or_default();
    info_span!(
        "request",
        http.method = %request.method(),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request.id = id,
        trace.id = tracing::field::Empty,
    )
}

/// The trace that a request is part of.
pub struct Traced(pub Option<TraceContext>);

impl<S: Send + Sync> FromRequestParts<S> for Traced {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parts.extensions.get::<TraceContext>().copied()))
    }
}
