//! What is measured: a server that is running, or one in this process.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cli::{CliError, runtime};
use crate::config::{EngineConfig, HttpConfig, ServiceConfig, StoreConfig};
use crate::domain::{IdSource, InputSchema, Scope, SystemClock, SystemIds};
use crate::engine::Engine;
use crate::service::{Runners, Service, keys};
use crate::{http, store, telemetry};

/// A server to send to.
pub(super) struct Target {
    url: String,
    keys: Vec<String>,
    own: Option<Own>,
}

/// The one in this process.
struct Own {
    runtime: Runtime,
    runners: Runners,
    metrics: PrometheusHandle,
    folder: std::path::PathBuf,
}

/// Sums over the batches of a server so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Batches {
    count: f64,
    /// Commands, tenants, rows, seconds.
    sums: [f64; 4],
}

impl Target {
    pub(super) fn running(url: &str, keys: &[String]) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), keys: keys.to_vec(), own: None }
    }

    /// Starts a server with so many tenants.
    pub(super) fn start(engine: &EngineConfig, tenants: usize) -> Result<Self, CliError> {
        let metrics = telemetry::count()?;
        let engine = Engine::start(engine)?;
        let runtime = runtime()?;
        let folder = std::env::temp_dir().join(format!("imprint-bench-{}", std::process::id()));
        let (address, keys, runners) = runtime.block_on(serve(engine, &folder, tenants))?;
        let own = Own { runtime, runners, metrics, folder };
        Ok(Self { url: format!("http://{address}"), keys, own: Some(own) })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The key of a tenant; of a running server with fewer keys, tenants share.
    pub(super) fn key(&self, tenant: usize) -> Option<String> {
        (!self.keys.is_empty()).then(|| self.keys[tenant % self.keys.len()].clone())
    }

    /// What one input of a base model is.
    pub(super) fn input(&self, base_model: &str) -> Result<InputSchema, CliError> {
        let mut request = agent().get(format!("{}/v1/base-models/{base_model}", self.url));
        if let Some(key) = self.key(0) {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let failed = |reason: String| CliError::Usage(format!("base model `{base_model}`: {reason}"));
        let mut answer = request.call().map_err(|error| failed(error.to_string()))?;
        let body: Value = answer
            .body_mut()
            .read_to_vec()
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| failed("the server's answer is not JSON".to_owned()))?;
        serde_json::from_value(body["input"].clone()).map_err(|_| failed(body["detail"].to_string()))
    }

    /// Makes a task and adapts it; where it is.
    pub(super) fn adapted(&self, key: Option<&str>, task: &str) -> Result<String, CliError> {
        let post = |path: &str, body: &str| {
            let mut request = agent().post(format!("{}{path}", self.url)).header("content-type", "application/json");
            if let Some(key) = key {
                request = request.header("authorization", format!("Bearer {key}"));
            }
            let answer = request.header("prefer", "wait=30").send(body.as_bytes());
            let answer = answer.map_err(|error| CliError::Usage(format!("{path}: {error}")))?;
            if answer.status().as_u16() == 201 {
                Ok(answer)
            } else {
                Err(CliError::Usage(format!("{path}: status {}", answer.status())))
            }
        };
        let created = post("/v1/tasks", task)?;
        let place = created.headers().get("location").and_then(|place| place.to_str().ok()).unwrap_or_default();
        post(&format!("{place}/adaptations"), "{}")?;
        Ok(place.to_owned())
    }

    /// Batches so far; none of a server elsewhere.
    pub(super) fn batches(&self) -> Batches {
        let Some(own) = &self.own else { return Batches::default() };
        let text = own.metrics.render();
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let sums = ["commands", "tenants", "rows", "seconds"].map(|of| sum(&format!("imprint_batch_{of}_sum")));
        Batches { count: sum("imprint_batch_commands_count"), sums }
    }

    /// Ends the server in this process.
    pub(super) fn stop(self) -> Result<(), CliError> {
        if let Some(Own { runtime, runners, folder, .. }) = self.own {
            runtime.block_on(runners.stop(Duration::from_secs(5)));
            runtime.shutdown_timeout(Duration::from_secs(5));
            std::fs::remove_dir_all(&folder)
                .map_err(|error| CliError::Usage(format!("{}: {error}", folder.display())))?;
        }
        Ok(())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent()
}

async fn serve(
    engine: Engine,
    folder: &std::path::Path,
    tenants: usize,
) -> Result<(std::net::SocketAddr, Vec<String>, Runners), CliError> {
    let database_url = format!("sqlite:{}", folder.join("bench.db").display());
    let store = store::open(&StoreConfig { database_url, ..StoreConfig::default() }).await?;
    let (ids, clock): (Arc<dyn IdSource>, _) = (Arc::new(SystemIds), Arc::new(SystemClock));
    let mut made = Vec::with_capacity(tenants);
    for tenant in 0..tenants {
        let name = format!("tenant-{tenant}");
        let key = keys::create(&*store, &*clock, &*ids, &name, keys::NewKey::of(Scope::Adapt)).await?.key;
        made.push(key.reveal().to_owned());
    }
    let service = Service::new(store, engine, clock, Arc::clone(&ids), ServiceConfig::default());
    let runners = Runners::start(&service);
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(listen).await.map_err(|error| CliError::Listen(listen, error))?;
    let address = listener.local_addr().map_err(|error| CliError::Listen(listen, error))?;
    let app = http::app(service, HttpConfig::default(), ids);
    tokio::spawn(async move { http::serve(listener, app, &HttpConfig::default(), std::future::pending()).await });
    Ok((address, made, runners))
}

impl Batches {
    pub(super) fn since(self, before: Self) -> Self {
        let sums = std::array::from_fn(|index| self.sums[index] - before.sums[index]);
        Self { count: self.count - before.count, sums }
    }

    /// Mean commands, tenants, rows and milliseconds.
    pub(super) fn means(self) -> Option<[f64; 4]> {
        let [commands, tenants, rows, seconds] = self.sums.map(|sum| sum / self.count);
        (self.count > 0.0).then_some([commands, tenants, rows, 1e3 * seconds])
    }
}
