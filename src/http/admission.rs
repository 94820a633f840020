//! Admission: so many requests at a time, each with its body in memory, and no more. One more is turned away at once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::faults::{self, Site};
use crate::service::ServiceError;

/// When to come back: most requests are answered within this.
const RETRY: Duration = Duration::from_secs(1);

/// Lets a request in if there is a place. Whoever asks for the server's health is always let in: a server that is busy
/// is well.
pub async fn admit(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/livez" | "/readyz") {
        return next.run(request).await;
    }
    match places.try_acquire() {
        Ok(_place) => {
            let response = next.run(request).await;
            faults::pass(Site::Reply).await.map_or_else(|planned| Problem::from(planned).into_response(), |()| response)
        }
        Err(_) => Problem::from(ServiceError::Overloaded { retry_after: RETRY }).into_response(),
    }
}
