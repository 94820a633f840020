//! Logs: to standard error, as lines for people or as JSON for machines. Metrics: counted everywhere, read in one place.
//! Spans: to a collector, if there is one ([`spans`]).

mod spans;

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogConfig, LogFormat};
pub use spans::{Exporting, follow};

/// Bounds of histograms of times, in seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Bounds of histograms of numbers of things.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Bounds of histograms of shares.
const SHARES: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0];

/// What happens seldom, and is counted from 0, so that the first time is seen as one.
const SELDOM: &[(&str, &str, &[&str])] = &[
    ("imprint_adapter_cache_evictions_total", "tier", &["host"]),
    ("imprint_adapter_cache_hits_total", "tier", &["host"]),
    ("imprint_adapter_cache_misses_total", "tier", &["host"]),
    ("imprint_adaptations_total", "status", &["succeeded", "failed"]),
    ("imprint_rejected_total", "reason", &["full", "tenant_full", "late", "abandoned"]),
];

/// Starts counting for the whole process; the handle writes what was counted in Prometheus' text format.
pub fn count() -> Result<PrometheusHandle, BuildError> {
    let things = |name: &str| Matcher::Prefix(format!("imprint_batch_{name}"));
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(things("rows"), COUNTS)?
        .set_buckets_for_metric(things("tenants"), COUNTS)?
        .set_buckets_for_metric(things("commands"), COUNTS)?
        .set_buckets_for_metric(Matcher::Full("imprint_adaptation_accuracy".to_owned()), SHARES)?
        .install_recorder()
        .inspect(|_| count_from_0())
}

fn count_from_0() {
    for (name, label, values) in SELDOM {
        for value in *values {
            metrics::counter!(*name, *label => *value).absolute(0);
        }
    }
    metrics::counter!("imprint_answers_remembered_total").absolute(0);
    metrics::counter!("imprint_task_panics_total").absolute(0);
    metrics::counter!("imprint_worker_panics_total").absolute(0);
    metrics::counter!("imprint_worker_hangs_total").absolute(0);
}

/// Starts logging for the whole process, and sending spans if somebody takes them, until what comes back is dropped. A
/// reason if a setting cannot be read.
pub fn start(config: &LogConfig) -> Result<Option<Exporting>, String> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| format!("--log `{}`: {error}", config.log))?;
    let is_seen = std::io::stderr().is_terminal(); // colours are for eyes, not for files
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_seen);
    let log = match config.log_format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let exporting = config.otlp_endpoint.as_deref().map(spans::exporting).transpose()?;
    let (tracer, exporting) = exporting.unzip();
    let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer));
    let started = tracing_subscriber::registry().with(spans).with(log).with(filter).try_init();
    started.map_err(|error| error.to_string())?;
    Ok(exporting)
}
