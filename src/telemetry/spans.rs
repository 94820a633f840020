//! Spans for an OpenTelemetry collector, by OTLP over HTTP, and the traces of others that ours are part of.
//!
//! They are sent by a thread of their own: a collector that is slow or away costs nothing but spans.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::domain::{IdSource, TraceContext};

/// Below the collector's address, where spans are sent.
const TRACES: &str = "/v1/traces";
/// How long a collector may take.
const LONGEST: Duration = Duration::from_secs(10);

/// Sends what is left when it is dropped.
pub struct Exporting(SdkTracerProvider);

impl Drop for Exporting {
    fn drop(&mut self) {
        // What could not be sent by now is lost, and the log of a server that ends is no place to mourn it.
        let _ = self.0.shutdown_with_timeout(LONGEST);
    }
}

/// What spans are handed to, and who sends them on to the collector at `endpoint`.
///
/// The service is called `imprint`; `OTEL_RESOURCE_ATTRIBUTES` says more of it, or otherwise.
pub(super) fn exporting(endpoint: &str) -> Result<(SdkTracer, Exporting), String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Poster(ureq::Agent::config_builder().timeout_global(Some(LONGEST)).build().into()))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}{TRACES}", endpoint.trim_end_matches('/')))
        .with_timeout(LONGEST)
        .build()
        .map_err(|error| format!("--otlp-endpoint `{endpoint}`: {error}"))?;
    let resource = Resource::builder_empty()
        .with_service_name("imprint")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Ok((provider.tracer("imprint"), Exporting(provider)))
}

/// Makes a span that nobody has entered yet part of a trace: `given`, or one that begins here. What others are told who are
/// asked by it; without a collector that is `given` itself.
pub fn follow(span: &Span, given: Option<TraceContext>, ids: &dyn IdSource) -> TraceContext {
    if let Some(given) = given {
        let parent = SpanContext::new(
            TraceId::from_bytes(given.trace.to_be_bytes()),
            SpanId::from_bytes(given.span.to_be_bytes()),
            TraceFlags::new(given.flags),
            true,
            TraceState::default(),
        );
        // It fails where nobody listens.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    let own = span.context().span().span_context().clone();
    let own = own.is_valid().then(|| TraceContext {
        trace: u128::from_be_bytes(own.trace_id().to_bytes()),
        span: u64::from_be_bytes(own.span_id().to_bytes()),
        flags: own.trace_flags().to_u8(),
    });
    let trace = own.or(given).unwrap_or_else(|| TraceContext::fresh(ids));
    span.record("trace.id", trace.trace_id());
    trace
}

/// The client that is here anyway. It waits on the exporter's own thread.
#[derive(Debug)]
struct Poster(ureq::Agent);

#[async_trait]
impl HttpClient for Poster {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut answer = self.0.run(request.map(|body| body.to_vec()))?;
        let body = answer.body_mut().read_to_vec()?;
        let (parts, _) = answer.into_parts();
        Ok(Response::from_parts(parts, Bytes::from(body)))
    }
}
