//! How long a request may take: until its body is there, and until its answer is.
//!
//! An upload of examples has a time of its own, by whose end it is answered with what became of it so far (see
//! [`uploads`]); until then its body may take as long as something arrives.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tower_http::timeout::{DeadlineBody, TimeoutBody};

use super::problem::Problem;
use super::uploads;
use crate::config::HttpConfig;

/// Ends a request that takes too long.
pub async fn bound(State(config): State<Arc<HttpConfig>>, request: Request, next: Next) -> Response {
    let body = Duration::from_millis(config.body_timeout_ms);
    let mut whole = Duration::from_millis(config.request_timeout_ms);
    let request = if uploads::is_upload(&request) {
        whole = whole.saturating_add(Duration::from_millis(config.upload_timeout_ms));
        request.map(|bytes| Body::new(TimeoutBody::new(body, bytes)))
    } else {
        request.map(|bytes| Body::new(DeadlineBody::new(body, bytes)))
    };
    let late = |_| Problem::by_status(StatusCode::GATEWAY_TIMEOUT).into_response();
    timeout(whole, next.run(request)).await.unwrap_or_else(late)
}
