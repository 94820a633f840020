//! Admission: so many requests at a time, with so much of bodies in memory, and no more. One more is turned away at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::config::HttpConfig;
use crate::faults::{self, Site};
use crate::service::ServiceError;

/// When to come back: most requests are answered within this.
const RETRY: Duration = Duration::from_secs(1);

/// What there is for requests that are under way.
pub struct Admission {
    places: Semaphore,
    /// For bodies, in KiB.
    room: Semaphore,
    /// Most that one body takes of it: what is longer is refused, or read piece by piece.
    longest: u32,
}

impl Admission {
    pub fn new(config: &HttpConfig) -> Self {
        let longest = u32::try_from(config.max_body_bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = config.max_bodies_mib.saturating_mul(1024).clamp(longest as usize, Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(config.max_requests), room: Semaphore::new(room), longest }
    }

    /// Room that a request's body takes; who does not say how long it is gets room for the longest.
    fn wanted(&self, request: &Request) -> u32 {
        let kib = request.body().size_hint().upper().map_or(u64::MAX, |bytes| bytes.div_ceil(1024));
        u32::try_from(kib).unwrap_or(u32::MAX).min(self.longest)
    }
}

/// Lets a request in if there is a place, and room for its body. Whoever asks for the server's health is always let in: a
/// server that is busy is well.
pub async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/livez" | "/readyz" | "/startupz") {
        return next.run(request).await;
    }
    let room = admission.room.try_acquire_many(admission.wanted(&request));
    let (Ok(_place), Ok(_room)) = (admission.places.try_acquire(), room) else {
        return Problem::from(ServiceError::Overloaded { retry_after: RETRY }).into_response();
    };
    let response = next.run(request).await;
    faults::pass(Site::Reply).await.map_or_else(|planned| Problem::from(planned).into_response(), |()| response)
}
