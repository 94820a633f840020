//! `imprint serve`: the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::{CliError, out};
use crate::config::{EngineConfig, HttpConfig, LogConfig, ServiceConfig, StoreConfig};
use crate::courier::{Courier, SystemResolver};
use crate::domain::{IdSource, SystemClock, SystemIds};
use crate::engine::Engine;
use crate::nn::heap;
use crate::service::{Relay, Runners, Service, keys};
use crate::store::Store;
use crate::{http, store, telemetry};

/// How long a server that cannot go on waits for its workers.
const LAST_WORK: Duration = Duration::from_secs(5);

/// How often metrics are put in order.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// How often memory that is free goes back to the system.
const HEAP_UPKEEP: Duration = Duration::from_mins(1);

/// Serves the HTTP API.
///
/// SIGTERM or SIGINT makes the server not ready, stops taking requests, answers those under way, ends the adaptations that are running and exits; a
/// second one exits at once.
#[derive(clap::Args, Debug)]
pub struct Serve {
    /// What this process does: all of it, the API alone, or adaptations alone. A worker answers `/livez`, `/readyz` and
    /// `/startupz`.
    #[arg(long, env = "IMPRINT_ROLE", value_enum, default_value_t = Role::All)]
    role: Role,
    #[command(flatten)]
    http: HttpConfig,
    #[command(flatten)]
    service: ServiceConfig,
    #[command(flatten)]
    engine: EngineConfig,
    #[command(flatten)]
    store: StoreConfig,
    #[command(flatten)]
    log: LogConfig,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// The API and adaptations.
    All,
    /// The API; others adapt.
    Api,
    /// Adaptations; others take requests.
    Worker,
}

impl Serve {
    /// Serves until a signal.
    pub fn run(self) -> Result<(), CliError> {
        self.check_openness()?;
        let _exporting = telemetry::start(&self.log).map_err(CliError::Usage)?;
        let metrics = telemetry::count()?;
        // Before any thread that could use libtorch: it may open the CUDA library.
        let engine = Engine::start(&self.engine)?;
        let (runtime, workers) = (super::runtime()?, engine.clone());
        let served = runtime.block_on(self.serve(engine, metrics));
        if served.is_err() {
            // libtorch takes itself down when the process ends: not beside threads that compute. One that hangs is left.
            let _ = runtime.block_on(async { tokio::time::timeout(LAST_WORK, workers.drain()).await });
        }
        served
    }

    /// Whoever reaches a port without keys may do everything: that is for an address of this machine alone.
    fn check_openness(&self) -> Result<(), CliError> {
        if !self.service.no_auth || self.http.listen.ip().is_loopback() {
            return Ok(());
        }
        let address = self.http.listen;
        Err(CliError::Usage(format!(
            "--no-auth lets everybody in who reaches {address}; listen on 127.0.0.1, or leave it out and make keys with \
             `imprint keys create`"
        )))
    }

    async fn serve(mut self, engine: Engine, metrics: PrometheusHandle) -> Result<(), CliError> {
        if self.role == Role::Api {
            self.service.runners = 0;
        }
        let ids: Arc<dyn IdSource> = Arc::new(SystemIds);
        engine.check(&*ids).await?;
        let store = store::open(&self.store).await?;
        if self.store.is_embedded() && !self.service.no_auth {
            welcome(&*store).await?;
        }
        let courier = Courier::new(&self.service.webhooks, Arc::new(SystemResolver))?;
        let threads = engine.clone();
        let service = Service::new(store, engine, Arc::new(SystemClock), Arc::clone(&ids), self.service);
        let listener =
            TcpListener::bind(self.http.listen).await.map_err(|error| CliError::Listen(self.http.listen, error))?;
        let address = listener.local_addr().map_err(|error| CliError::Listen(self.http.listen, error))?;
        // Until here a signal ends the process as it ends any other: nothing is held yet.
        let mut signals = StopSignals::listen().map_err(CliError::Serve)?;
        let runners = Runners::start(&service);
        tokio::spawn(keep(metrics.clone()));
        tokio::spawn(give_back());
        let relay = (self.role != Role::Api).then(|| Relay::start(&service, courier));
        if let Some(address) = self.http.admin_listen {
            let listener = TcpListener::bind(address).await.map_err(|error| CliError::Listen(address, error))?;
            let token = self.http.admin_token_file.as_deref().map(read_token).transpose()?;
            let operator = http::Operator::new(token.as_deref(), address);
            let admin = http::admin(move || metrics.render(), operator, service.clone(), Arc::clone(&ids));
            // Until the very end: the last minutes are the ones that are asked about.
            let config = self.http.clone();
            tokio::spawn(async move { http::serve(listener, admin, &config, std::future::pending()).await });
        }
        let bases: Vec<&str> = service.base_models().iter().map(|base| base.manifest.name.as_str()).collect();
        info!(base_models = bases.join(","), store = self.store.shown_url(), "ready");
        out::note(format!("imprint serves on http://{address}"));

        let [delay, drain] = [self.http.drain_delay_s, self.http.drain_s].map(Duration::from_secs);
        let http = self.http.clone();
        let app = match self.role {
            Role::All | Role::Api => http::app(service.clone(), self.http, ids),
            Role::Worker => http::health(service.clone(), self.http, ids),
        };
        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut serving = tokio::spawn(async move {
            // An error is a sender that is gone: stop, too.
            let stopped = async { drop(stopped.await) };
            http::serve(listener, app, &http, stopped).await
        });
        tokio::select! {
            served = &mut serving => return ended(served),
            () = threads.hangs() => {
                service.leave();
                return Err(CliError::Hangs);
            }
            () = signals.next() => info!("stopping"),
        }
        tokio::spawn(async move {
            signals.next().await;
            warn!("a second signal: exiting at once");
            std::process::exit(1);
        });
        service.leave();
        tokio::time::sleep(delay).await;
        info!("no more requests are taken");
        let _ = stopping.send(());
        service.stop_streams();
        if let Ok(served) = tokio::time::timeout(drain, &mut serving).await {
            ended(served)?;
        } else {
            warn!("requests were still under way after {} s", drain.as_secs());
        }
        if !runners.stop(drain).await {
            warn!("adaptations were still under way; they are taken up elsewhere when their leases have run out");
        }
        if let Some(relay) = relay {
            relay.stop(drain).await;
        }
        service.drain().await;
        info!("stopped");
        Ok(())
    }
}

/// Whoever starts a server of their own for the first time has no key yet.
async fn welcome(store: &dyn Store) -> Result<(), CliError> {
    if let Some(made) = keys::create_first(store, &SystemClock, &SystemIds).await? {
        out::note(format!("your first key, shown only now (`imprint keys create` makes more): {}", made.key.reveal()));
    }
    Ok(())
}

/// Empties what histograms have collected since they were last read: nobody may ever read them.
async fn keep(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        metrics.run_upkeep();
    }
}

/// Keeps the process as small as what it holds, however much a burst took.
async fn give_back() {
    loop {
        tokio::time::sleep(HEAP_UPKEEP).await;
        let _done = tokio::task::spawn_blocking(heap::give_back).await;
    }
}

fn ended(served: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), CliError> {
    served.map_err(std::io::Error::other).flatten().map_err(CliError::Serve)
}

fn read_token(path: &Path) -> Result<String, CliError> {
    let failed = |reason: String| CliError::Usage(format!("--admin-token-file {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    if text.trim().len() < 16 { Err(failed("a token has at least 16 characters".to_owned())) } else { Ok(text) }
}

/// SIGTERM and SIGINT, heard from when this is made: one that comes while nobody waits for it is there for the next wait.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        // Neither stream ever ends.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_nobody_waits_for_yet_is_heard() {
        let mut signals = StopSignals::listen().expect("signals can be heard");
        for _ in 0..2 {
            let kill = format!("kill -TERM {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());

            tokio::time::timeout(Duration::from_secs(10), signals.next()).await.expect("it was sent");
        }
    }
}
