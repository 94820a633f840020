//! What is counted of each request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;

/// Counts a request and times it, by its route: never by what a caller may choose freely.
pub async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let started = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::counter!("imprint_http_requests_total", "route" => route.clone(), "status" => status).increment(1);
    metrics::histogram!("imprint_http_request_duration_seconds", "route" => route)
        .record(started.elapsed().as_secs_f64());
    response
}
