//! Headers, cursors and uploads as strangers write them. Bodies are in `routes/fuzz.rs`.

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use futures_util::FutureExt;

use super::extract::{Deadline, Following, IfMatch, Wait, credential};
use super::idempotency;
use super::page::PageParams;
use super::wire::pair;
use crate::domain::{MessageId, TaskId};
use crate::fuzz::hammer;

/// What an extractor makes of one header, if these bytes can be one.
fn extracted<T: FromRequestParts<()>>(name: &'static str, value: &HeaderValue) -> Option<T> {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers.insert(HeaderName::from_static(name), value.clone());
    let extracted = T::from_request_parts(&mut parts, &()).now_or_never();
    extracted.expect("a header is there already").ok()
}

#[test]
fn headers() {
    let samples: [&[u8]; 8] = [
        b"wait=20",
        b"respond-async, wait=5; foo=bar",
        b"text/event-stream;q=0.9, application/json",
        b"17",
        b"\"1a2b\"",
        b"*",
        b"Bearer imprint_0123_abc",
        b"\"a key, quoted\"",
    ];

    hammer("headers", &samples, |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        extracted::<Wait>("prefer", &value);
        extracted::<Following>("accept", &value);
        extracted::<Following>("last-event-id", &value);
        extracted::<Deadline>("x-request-timeout-ms", &value);
        extracted::<IfMatch<u64>>("if-match", &value);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value.clone());
        let _ = credential(&headers);
        headers.insert(idempotency::IDEMPOTENCY_KEY, value);
        if let Ok(Some(key)) = idempotency::key(&headers) {
            assert!((1..=255).contains(&key.len()) && key.is_ascii());
        }
    });
}

#[test]
fn cursors() {
    let samples: [&[u8]; 4] = [
        b"MTc5NTQ1OTI2MDAwMCB0YXNrXzAxMjM0NTY3ODlhYmNkZWZnaGprbW5wcXJz",
        b"MTc",
        b"LTkyMjMzNzIwMzY4NTQ3NzU4MDggdGFza18w",
        b"metadata.team=support",
    ];

    hammer("cursors", &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let _ = pair("metadata", &text);
        let page = PageParams::new(Some(1), Some(text));
        if let Ok(page) = page.page::<TaskId>() {
            assert_eq!(page.limit, 2);
        }
        let _ = page.page::<MessageId>();
        let _ = page.before();
    });
}
