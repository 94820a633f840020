//! Doing what changes something, and noting it in the audit log: both or neither.
//!
//! A deed runs to its end in work of its own, whether or not the client waits for the answer: one who hangs up cannot
//! change something without a trace.

use std::panic::resume_unwind;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::REQUEST_ID;
use super::listen::Peer;
use super::problem::Problem;
use crate::domain::{AuditEntry, KeyId, TenantId};
use crate::service::Service;

/// Longest text of a header or a path that is noted, in characters.
const LONGEST_CLAIM: usize = 200;

/// What a request is about to do.
pub struct Deed {
    method: String,
    path: String,
    request_id: String,
    peer: Option<String>,
    forwarded_for: Option<String>,
}

impl Deed {
    pub fn of(request: &Request) -> Self {
        let noted = |text: &str| text.chars().take(LONGEST_CLAIM).collect::<String>();
        let header = |name: &str| request.headers().get(name)?.to_str().ok().map(noted);
        Self {
            method: request.method().to_string(),
            path: noted(request.uri().path()),
            request_id: header(REQUEST_ID.as_str()).unwrap_or_default(),
            peer: request.extensions().get::<Peer>().map(|Peer(address)| address.ip().to_string()),
            forwarded_for: header("x-forwarded-for"),
        }
    }

    /// The answer of `run`, noted among what was done to a tenant's things if something was, or was not allowed.
    pub async fn done(
        self,
        service: Service,
        by: (TenantId, Option<KeyId>),
        run: impl Future<Output = Response> + Send + 'static,
    ) -> Response {
        let done = async move {
            let response = run.await;
            if is_noted(&response) {
                self.note(&service, by, response.status()).await;
            }
            response
        };
        match tokio::spawn(done.in_current_span()).await {
            Ok(response) => response,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Problem::by_status(StatusCode::INTERNAL_SERVER_ERROR).into_response(), // the server stops
        }
    }

    async fn note(self, service: &Service, (tenant, key): (TenantId, Option<KeyId>), status: StatusCode) {
        let Self { method, path, request_id, peer, forwarded_for } = self;
        let status = status.as_u16();
        let entry =
            |id, created_at| AuditEntry { id, key, method, path, status, request_id, peer, forwarded_for, created_at };
        service.note_audit(tenant, entry).await;
    }
}

/// Whether something was done, may have been, or was not allowed.
fn is_noted(response: &Response) -> bool {
    let may_have_acted = || response.extensions().get::<Problem>().is_some_and(Problem::may_have_acted);
    response.status().is_success() || response.status() == StatusCode::FORBIDDEN || may_have_acted()
}
