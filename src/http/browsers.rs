//! Browsers: pages of which other origins may call the API. None by default; a page of the server's own is always one.
//!
//! Keys go in `Authorization`, and there are no cookies: nothing is done in the name of whoever happens to be logged in.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::{REQUEST_ID, access, idempotency, trace};
use crate::config::Origins;

/// How long a browser may remember what it was told: the longest that any of them does is two hours.
const REMEMBERED: Duration = Duration::from_hours(2);

/// Lets pages of these origins call (Fetch standard, "CORS protocol"); none if there are none.
pub fn let_in(origins: &Origins) -> Option<CorsLayer> {
    let allowed = match origins {
        Origins::None => return None,
        Origins::All => AllowOrigin::from(Any),
        // They were read as origins, which are plain.
        Origins::These(list) => AllowOrigin::list(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let asked = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        HeaderName::from_static("prefer"),
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static(idempotency::IDEMPOTENCY_KEY),
        trace::TRACEPARENT,
        REQUEST_ID,
    ];
    let answered = [
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("x-degraded"),
        access::LIMIT,
        access::POLICY,
        idempotency::REPLAYED,
        trace::TRACEPARENT,
        REQUEST_ID,
    ];
    let methods = [Method::GET, Method::POST, Method::PATCH, Method::DELETE];
    let layer = CorsLayer::new().allow_origin(allowed).allow_methods(methods).allow_headers(asked);
    Some(layer.expose_headers(answered).max_age(REMEMBERED))
}
