//! `Idempotency-Key` on every POST: sent twice, it acts once and is answered alike.
//!
//! The first request is carried out and its answer kept; a repeated one gets that answer (`Idempotent-Replayed: true`),
//! 409 while the first is under way, 422 if it says something else. Answers that are not successes are not kept: what
//! was refused had no effect and may be mended under the same key, and what broke off is taken up again with the same
//! ids, so that a part of it which is done is not done twice.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::problem::Problem;
use super::{AppState, REQUEST_ID};
use crate::domain::{Principal, RequestKey, Reservation, SavedResponse, TenantId, hex};
use crate::faults::{self, Site};
use crate::service::{REQUEST_LEASE, Service};

/// The header's name.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in characters.
const LONGEST_KEY: usize = 255;
/// Longest answer that is kept, in bytes. Only predictions are longer, and have no effect to repeat.
const LONGEST_ANSWER: usize = 1 << 20;
/// Headers that belong to the answer and not to its transport.
const KEPT: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::RETRY_AFTER, super::tensors::JSON_LENGTH];

/// What the ids of a repeatable request are drawn from, among its extensions.
#[derive(Clone)]
pub struct Seed(pub [u8; 32]);

/// Marks an answer that is not kept, since it shows a secret or breaks off in the middle: a repeated request is carried out
/// again, with the same ids, and finds what is there.
#[derive(Clone, Copy)]
pub struct Unkept;

/// Carries a request out once.
pub async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let key = match key(request.headers()) {
        Ok(Some(key)) if request.method() == Method::POST => key,
        Ok(_) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    // Keys are shown once, and nobody is let in here who is not known.
    let Some(caller) = request.extensions().get::<Principal>().copied() else { return next.run(request).await };
    if request.uri().path().starts_with("/v1/keys") {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, state.config.max_body_bytes).await else {
        return Problem::by_status(StatusCode::PAYLOAD_TOO_LARGE).into_response();
    };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = fingerprint(target, parts.headers.get(header::CONTENT_TYPE), &body);
    let path = parts.uri.path().to_owned();
    let once = Once { service: state.service, tenant: caller.tenant, request: RequestKey { path, key, fingerprint } };
    once.answer(Request::from_parts(parts, Body::from(body)), next).await
}

/// A request that acts once.
struct Once {
    service: Service,
    tenant: TenantId,
    request: RequestKey,
}

impl Once {
    async fn answer(self, mut request: Request, next: Next) -> Response {
        let (seed, attempt) = match self.service.reserve(self.tenant, &self.request).await {
            Ok(Reservation::Taken { seed, attempt }) => (seed, attempt),
            Ok(Reservation::Answered(saved)) => return replayed(saved),
            Ok(Reservation::Busy) => return Problem::request_in_flight().into_response(),
            Ok(Reservation::Other) => return Problem::key_reused().into_response(),
            Err(error) => return Problem::from(error).into_response(),
        };
        request.extensions_mut().insert(Seed(seed));
        let run = next.run(request);
        tokio::pin!(run);
        let mut beat = interval(REQUEST_LEASE / 3);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await; // the first is at once
        let response = loop {
            tokio::select! {
                response = &mut run => break response,
                _ = beat.tick() => self.noted(self.service.keep_reserved(self.tenant, &self.request, attempt).await),
            }
        };
        if let Err(planned) = faults::pass(Site::Acted).await {
            return Problem::from(planned).into_response();
        }
        let kept = self.kept(response, attempt).await;
        faults::pass(Site::Kept).await.map_or_else(|planned| Problem::from(planned).into_response(), |()| kept)
    }

    /// The response, kept if it is a success.
    async fn kept(&self, response: Response, attempt: u32) -> Response {
        if !response.status().is_success() {
            let may_have_acted = response.extensions().get::<Problem>().is_none_or(Problem::may_have_acted);
            if may_have_acted {
                self.noted(self.service.unlock(self.tenant, &self.request, attempt).await);
            } else {
                self.noted(self.service.release(self.tenant, &self.request, attempt).await);
            }
            return response;
        }
        if response.extensions().get::<Unkept>().is_some() {
            self.noted(self.service.unlock(self.tenant, &self.request, attempt).await);
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, usize::MAX).await else {
            return Problem::by_status(StatusCode::INTERNAL_SERVER_ERROR).into_response();
        };
        if body.len() > LONGEST_ANSWER {
            self.noted(self.service.unlock(self.tenant, &self.request, attempt).await);
        } else {
            let saved = saved(parts.status, &parts.headers, &body);
            self.noted(self.service.save_response(self.tenant, &self.request, attempt, &saved).await);
        }
        Response::from_parts(parts, Body::from(body))
    }

    /// What cannot be written here costs a later request its replay, not this one its answer.
    fn noted<T>(&self, written: crate::service::Result<T>) {
        if let Err(error) = written {
            warn!(%error, path = self.request.path, "the state of a repeatable request could not be written");
        }
    }
}

/// The key: a structured field string (quoted), or the bare text.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let malformed = || {
        let detail = format!("a key has 1 to {LONGEST_KEY} printable ASCII characters");
        Problem::malformed("invalid_header", "Idempotency-Key", detail)
    };
    let text = value.to_str().map_err(|_| malformed())?.trim();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_plain = bare.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if bare.is_empty() || bare.len() > LONGEST_KEY || !is_plain { Err(malformed()) } else { Ok(Some(bare.to_owned())) }
}

fn fingerprint(target: &str, content_type: Option<&HeaderValue>, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    for part in [target.as_bytes(), content_type.map_or(&[][..], HeaderValue::as_bytes), body] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn saved(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> SavedResponse {
    let text = |name: &HeaderName| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned()));
    SavedResponse { status: status.as_u16(), headers: KEPT.iter().filter_map(text).collect(), body: body.to_vec() }
}

fn replayed(saved: SavedResponse) -> Response {
    let status = StatusCode::from_u16(saved.status).unwrap_or(StatusCode::OK);
    let mut response = (status, saved.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in &saved.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().remove(&REQUEST_ID); // this request has its own
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
