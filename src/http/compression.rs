//! Compression of answers, for clients that say `Accept-Encoding: gzip`.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::compression::predicate::{And, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};

/// Bytes of an answer that is sent as it is: compressed, it would fit into one packet as well.
const SMALL: u64 = 1_024;

type IsWorthIt = And<SizeAbove, fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool>;

/// Compresses texts, the quick way: whoever waits for a prediction should not wait for this. Events go out one by one, and
/// weights would hardly become shorter.
pub fn layer() -> CompressionLayer<IsWorthIt> {
    let is_text: fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool = |_, _, headers, _| is_text(headers);
    let when = SizeAbove::new(SMALL).and(is_text);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(when)
}

fn is_text(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = named.split(';').next().unwrap_or_default().trim();
    matches!(
        essence,
        "application/json" | "application/problem+json" | "application/x-ndjson" | "text/html" | "text/plain"
    )
}
