//! Problems (RFC 9457): the only body of an answer that is not a success, and the only table of statuses.
//!
//! A handler's error becomes a [`Problem`], which travels to [`render`] as an extension of the response; there the
//! request's id is added and the body written. Whatever failed without a problem (an unknown route, a method that is
//! not allowed, a timeout) gets one there, by its status.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

use super::REQUEST_ID;
use crate::domain::Invalid;
use crate::faults::Planned;
use crate::service::ServiceError;

/// Where problem types are described.
pub const TYPES: &str = "/problems/";

/// Most characters of a text in a problem.
const LONGEST_TEXT: usize = 500;

/// What went wrong, on its way to the client.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    errors: Vec<Fault>,
}

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
pub struct ProblemBody {
    /// Where this kind of problem is described.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid_values")]
    kind: String,
    /// The status in words.
    #[schema(example = "Unprocessable Entity")]
    title: &'static str,
    /// The status.
    #[schema(example = 422)]
    status: u16,
    /// The word by which a program tells it from others.
    #[schema(example = "invalid_values")]
    code: &'static str,
    /// What to do about it.
    detail: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// The request, as our log knows it.
    request_id: String,
    /// The places of the request that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// `detail` again, under the name that the Open Inference Protocol has for it; below `/v2` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One place of a request that is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body, or the name of a parameter or header.
    #[schema(example = "/support/3/label")]
    pub pointer: String,
    /// The word by which a program tells this fault from others.
    #[schema(example = "unknown_label")]
    pub code: String,
    /// What to do about it.
    pub detail: String,
}

impl Problem {
    /// A problem with the request's form: `400`.
    pub fn malformed(code: &'static str, pointer: &str, detail: String) -> Self {
        let errors = vec![Fault { pointer: pointer.to_owned(), code: code.to_owned(), detail: detail.clone() }];
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, code, detail) }
    }

    /// A body that is JSON of another form than the one that is taken: `422`.
    pub fn wrong_form(pointer: String, detail: String) -> Self {
        let errors = vec![Fault { pointer, code: "wrong_form".to_owned(), detail: detail.clone() }];
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_values", detail) }
    }

    /// A repeatable request that somebody is at: `409`.
    pub fn request_in_flight() -> Self {
        let detail = "a request with this Idempotency-Key is under way; repeat it for its answer".to_owned();
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::CONFLICT, "request_in_flight", detail) }
    }

    /// One `Idempotency-Key` for two requests: `422`.
    pub fn key_reused() -> Self {
        let detail = "this Idempotency-Key came with another request before; send a new key".to_owned();
        let pointer = "Idempotency-Key".to_owned();
        let errors = vec![Fault { pointer, code: "idempotency_key_reused".to_owned(), detail: detail.clone() }];
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail) }
    }

    /// Whether something may have been done for the request all the same.
    pub fn may_have_acted(&self) -> bool {
        self.status.is_server_error() || self.code == "adaptation_failed"
    }

    /// A problem that its status says all about.
    pub fn by_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => {
                ("not_found", "there is nothing at this path; GET /openapi.json lists the paths, and /docs shows them")
            }
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this path takes the methods in `Allow`"),
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("body_too_large", "the body is larger than this server takes; GET /v1/limits has the number")
            }
            StatusCode::REQUEST_TIMEOUT => {
                ("body_too_slow", "the body did not arrive in time; send less at a time, or over a faster connection")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "send `Content-Type: application/json`"),
            StatusCode::GATEWAY_TIMEOUT => {
                ("timeout", "the request took longer than this server allows; send less, or repeat it")
            }
            status if status.is_client_error() => ("bad_request", "the request cannot be understood"),
            _ => ("internal", "a fault of ours; our log has the reason under this request's id"),
        };
        Self::new(status, code, detail.to_owned())
    }

    /// The word by which a program tells it from others.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What to do about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        Self { status, code, detail, retry_after: None, errors: Vec::new() }
    }

    fn body(self, request_id: String, is_inference: bool) -> ProblemBody {
        let detail = shortened(self.detail);
        ProblemBody {
            error: is_inference.then(|| detail.clone()),
            kind: format!("{TYPES}{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Unknown"),
            status: self.status.as_u16(),
            code: self.code,
            detail,
            retryable: self.retry_after.is_some(),
            request_id,
            errors: self.errors.into_iter().map(Fault::shortened).collect(),
        }
    }
}

impl From<Planned> for Problem {
    fn from(_: Planned) -> Self {
        Self::by_status(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<ServiceError> for Problem {
    fn from(failed: ServiceError) -> Self {
        use ServiceError as E;
        let detail = failed.to_string();
        let retry = |seconds| Some(Duration::from_secs(seconds));
        match failed {
            E::Invalid(faults) => Self {
                errors: faults.into_iter().map(Fault::from).collect(),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_values", detail)
            },
            E::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            E::Conflict { code, .. } => Self::new(StatusCode::CONFLICT, code, detail),
            E::Changed => Self::new(StatusCode::PRECONDITION_FAILED, "changed", detail),
            E::Unauthenticated => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail),
            E::Forbidden { .. } => Self::new(StatusCode::FORBIDDEN, "insufficient_scope", detail),
            E::Limited { code, retry_after } => {
                Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail) }
            }
            E::Overloaded { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
            },
            E::Crowded { retry_after, .. } => Self {
                retry_after: Some(retry_after),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "tenant_queue", detail)
            },
            E::Late => Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline", detail),
            E::Failed(failure) => Self {
                errors: vec![Fault { pointer: String::new(), code: failure.code, detail: failure.detail }],
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "adaptation_failed", detail)
            },
            E::Lost | E::Stalled => {
                Self { retry_after: retry(1), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "lost", detail) }
            }
            E::Damaged(_) => {
                error!(error = detail, "an adapter is damaged");
                let detail = "the stored adapter is damaged; adapt the task again".to_owned();
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "adapter_corrupt", detail)
            }
            E::Away => Self {
                retry_after: retry(2),
                ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
            },
            E::OutOfRoom => {
                error!("the database has no room left");
                Self { retry_after: retry(30), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_full", detail) }
            }
            E::Store(_) => {
                error!(error = detail, "the store failed");
                let detail = "the database does not answer as it should; repeat the request".to_owned();
                Self {
                    retry_after: retry(2),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
                }
            }
            E::Internal(_) => {
                error!(error = detail, "a request failed");
                Self::by_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

impl Fault {
    fn shortened(self) -> Self {
        Self { pointer: shortened(self.pointer), code: self.code, detail: shortened(self.detail) }
    }
}

/// Messages quote the request, and the quoted part can be as long as the request.
fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl From<Invalid> for Fault {
    fn from(Invalid { pointer, fault }: Invalid) -> Self {
        Self { pointer, code: fault.code().to_owned(), detail: fault.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"imprint\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = self.retry_after {
            // Whole seconds, at least one.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of every answer that is not a success.
pub async fn render(request: Request, next: Next) -> Response {
    let id = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let is_inference = request.uri().path().starts_with("/v2");
    let mut response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::by_status(status));
    let body = serde_json::to_vec(&problem.body(id, is_inference)).expect("a problem's fields are text and numbers");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    *response.body_mut() = Body::from(body);
    response
}

/// Drops a request id that is too long or not plain: it goes into headers, bodies and logs.
pub async fn check_request_id(mut request: Request, next: Next) -> Response {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let fits = |value: &HeaderValue| (1..=64).contains(&value.len()) && value.as_bytes().iter().all(is_plain);
    if request.headers().get(&REQUEST_ID).is_some_and(|value| !fits(value)) {
        request.headers_mut().remove(&REQUEST_ID);
    }
    next.run(request).await
}

/// A panic in a handler.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = text.unwrap_or("without a message"), "a handler panicked");
    Problem::by_status(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}
