//! Extractors whose rejections are problems.

use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRef, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tower_http::timeout::TimeoutError;

use super::idempotency::Seed;
use super::object::Object;
use super::problem::Problem;
use super::weight;
use crate::domain::{Principal, TenantId};
use crate::service::{Service, ServiceError};

/// The tenant that sends the request, whom [`access`](super::access) let in.
pub struct Caller(pub TenantId);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Principal>();
        caller.map(|caller| Self(caller.tenant)).ok_or_else(|| ServiceError::Unauthenticated.into())
    }
}

/// What comes after `Bearer` in `Authorization`.
pub fn credential(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

/// The use cases, for a request that makes something: if it may be repeated, with the ids that are its own.
pub struct Maker(pub Service);

impl<S> FromRequestParts<S> for Maker
where
    S: Send + Sync,
    Service: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let service = Service::from_ref(state);
        Ok(Self(match parts.extensions.get::<Seed>() {
            Some(Seed(seed)) => service.with_ids_from(*seed),
            None => service,
        }))
    }
}

/// Largest body that is parsed on a thread of the runtime: it takes well below a millisecond.
const PARSED_AT_ONCE: usize = 64 << 10;

/// A JSON body, an object. An empty one is `{}`.
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        read(request, state, is_json).await.map(Self)
    }
}

/// A JSON body from a client that may not say that it is one, as those of the Open Inference Protocol do not.
pub struct PlainJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for PlainJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers();
        let is_json = is_json(headers) || !headers.contains_key(header::CONTENT_TYPE);
        read(request, state, is_json).await.map(Self)
    }
}

async fn read<S, T>(request: Request, state: &S, is_json: bool) -> Result<T, Problem>
where
    S: Send + Sync,
    T: DeserializeOwned + Send + 'static,
{
    let bytes = read_bytes(request, state).await?;
    if bytes.is_empty() {
        return parse(b"{}");
    }
    if !is_json {
        return Err(Problem::by_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    parsed(bytes, weighed).await?
}

/// A body that is parsed, if that takes no more memory than a body may.
pub fn weighed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.len() > PARSED_AT_ONCE {
        weight::check(bytes)?;
    }
    parse(bytes)
}

/// What `parse` makes of bytes, on a thread of its own if they are many.
pub async fn parsed<T: Send + 'static>(
    bytes: impl AsRef<[u8]> + Send + 'static,
    parse: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, Problem> {
    if bytes.as_ref().len() <= PARSED_AT_ONCE {
        return Ok(parse(bytes.as_ref()));
    }
    let parsed = tokio::task::spawn_blocking(move || parse(bytes.as_ref())).await;
    parsed.map_err(|_| Problem::by_status(StatusCode::INTERNAL_SERVER_ERROR))
}

/// A whole body.
pub async fn read_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let unread = |rejection: BytesRejection| {
        let is_late = is_timeout(&rejection);
        Problem::by_status(if is_late { StatusCode::REQUEST_TIMEOUT } else { rejection.status() })
    };
    Bytes::from_request(request, state).await.map_err(unread)
}

/// The status for a body that broke off while it was streamed.
pub fn unread_stream(error: &axum::Error) -> StatusCode {
    if is_timeout(error) { StatusCode::REQUEST_TIMEOUT } else { StatusCode::BAD_REQUEST }
}

fn is_timeout(error: &dyn std::error::Error) -> bool {
    std::iter::successors(error.source(), |cause| cause.source()).any(<dyn std::error::Error>::is::<TimeoutError>)
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer: String = error.path().iter().map(pointer_segment).collect();
        let inner = error.into_inner();
        if inner.is_data() {
            let detail = inner.to_string();
            Problem::wrong_form(pointer + &missing(&detail), detail)
        } else {
            Problem::malformed("malformed_json", &pointer, inner.to_string())
        }
    })?;
    deserializer.end().map_err(|error| Problem::malformed("malformed_json", "", error.to_string()))?;
    Ok(value)
}

/// The step to a field that is not there, by what serde says.
fn missing(detail: &str) -> String {
    let name = detail.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    name.map_or_else(String::new, |name| format!("/{name}"))
}

/// One step of a JSON pointer (RFC 6901).
fn pointer_segment(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    }
}

/// Parameters of the path.
pub struct ApiPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value))
            .map_err(|rejection| Problem::malformed("invalid_path", "path", rejection.body_text()))
    }
}

/// Parameters behind the question mark.
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|rejection| Problem::malformed("invalid_query", "query", rejection.body_text()))
    }
}

/// `Prefer: wait=N` (RFC 7240, §4.3): how long the client will wait for an answer. Other preferences are not ours.
pub struct Wait(pub Option<Duration>);

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let malformed = || {
            Problem::malformed(
                "invalid_header",
                "Prefer",
                "the preference is written `Prefer: wait=SECONDS`".to_owned(),
            )
        };
        let preferences = parts.headers.get_all("prefer").iter();
        for preferences in preferences {
            for preference in preferences.to_str().map_err(|_| malformed())?.split(',') {
                let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
                if name.trim().eq_ignore_ascii_case("wait") {
                    let seconds: u32 = value.trim().parse().map_err(|_| malformed())?;
                    return Ok(Self(Some(Duration::from_secs(seconds.into()))));
                }
            }
        }
        Ok(Self(None))
    }
}

/// How a client wants events.
pub struct Following {
    /// Whether `Accept` asks for `text/event-stream`.
    pub is_stream: bool,
    /// `Last-Event-ID`: the last event that it has; 0 without one.
    pub after: u32,
}

impl<S: Send + Sync> FromRequestParts<S> for Following {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_stream = accept
            .split(',')
            .any(|range| range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"));
        let read = |value: &axum::http::HeaderValue| value.to_str().ok()?.trim().parse().ok();
        let after = match parts.headers.get("last-event-id") {
            None => 0,
            Some(value) => read(value).ok_or_else(|| {
                let detail = "send the `id` of the last event that you have".to_owned();
                Problem::malformed("invalid_header", "Last-Event-ID", detail)
            })?,
        };
        Ok(Self { is_stream, after })
    }
}

/// Longest deadline, in milliseconds: what a signed 32-bit number holds.
const LONGEST_DEADLINE: u32 = 2_147_483_647;

/// `X-Request-Timeout-Ms`: how long the answer is of use, from now on.
pub struct Deadline(pub Option<Instant>);

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("x-request-timeout-ms") else { return Ok(Self(None)) };
        let read =
            |text: &str| text.trim().parse::<u32>().ok().filter(|millis| (1..=LONGEST_DEADLINE).contains(millis));
        let millis = value.to_str().ok().and_then(read).ok_or_else(|| {
            let detail = format!("send a whole number of milliseconds, 1 to {LONGEST_DEADLINE}");
            Problem::malformed("invalid_header", "X-Request-Timeout-Ms", detail)
        })?;
        Ok(Self(Some(Instant::now() + Duration::from_millis(millis.into()))))
    }
}

/// `If-Match`: what the client has read: a revision, or a tag.
pub struct IfMatch<T>(pub Option<T>);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for IfMatch<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        let malformed =
            || Problem::malformed("invalid_header", "If-Match", "send the `etag` as it was given, or `*`".to_owned());
        match value.to_str().map_err(|_| malformed())?.trim() {
            "*" => Ok(Self(None)),
            tag => {
                let revision = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                Ok(Self(Some(revision.and_then(|text| text.parse().ok()).ok_or_else(malformed)?)))
            }
        }
    }
}
