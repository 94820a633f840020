//! `imprint serve`: the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::{CliError, out};
use crate::config::{EngineConfig, HttpConfig, LogConfig, ServiceConfig, StoreConfig};
use crate::domain::{IdSource, SystemClock, SystemIds};
use crate::engine::Engine;
use crate::service::{Runners, Service};
use crate::{http, store, telemetry};

/// Serves the HTTP API.
///
/// SIGTERM or SIGINT stops taking requests, answers those under way, ends the adaptations that are running and exits; a
/// second one exits at once.
#[derive(clap::Args, Debug)]
pub struct Serve {
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

impl Serve {
    /// Serves until a signal.
    pub fn run(self) -> Result<(), CliError> {
        telemetry::start(&self.log).map_err(CliError::Usage)?;
        // Before any thread that could use libtorch: it may open the CUDA library.
        let engine = Engine::start(&self.engine)?;
        super::runtime()?.block_on(self.serve(engine))
    }

    async fn serve(self, engine: Engine) -> Result<(), CliError> {
        let store = store::open(&self.store).await?;
        let ids: Arc<dyn IdSource> = Arc::new(SystemIds);
        let service = Service::new(store, engine, Arc::new(SystemClock), Arc::clone(&ids), self.service);
        let listener =
            TcpListener::bind(self.http.listen).await.map_err(|error| CliError::Listen(self.http.listen, error))?;
        let address = listener.local_addr().map_err(|error| CliError::Listen(self.http.listen, error))?;
        let runners = Runners::start(&service);
        let bases: Vec<&str> = service.base_models().iter().map(|base| base.manifest.name.as_str()).collect();
        info!(base_models = bases.join(","), store = self.store.shown_url(), "ready");
        out::note(format!("imprint serves on http://{address}"));

        let drain = Duration::from_secs(self.http.drain_s);
        let app = http::app(service.clone(), self.http, ids);
        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = http::serve(listener, app, async {
            // An error is a sender that is gone: stop, too.
            let _ = stopped.await;
        });
        let mut serving = tokio::spawn(serving);
        tokio::select! {
            served = &mut serving => return ended(served),
            () = stop_signal() => info!("stopping: no more requests are taken"),
        }
        tokio::spawn(async {
            stop_signal().await;
            warn!("a second signal: exiting at once");
            std::process::exit(1);
        });
        let _ = stopping.send(());
        service.stop_streams();
        if let Ok(served) = tokio::time::timeout(drain, &mut serving).await {
            ended(served)?;
        } else {
            warn!("requests were still under way after {} s", drain.as_secs());
        }
        runners.stop().await;
        service.drain().await;
        info!("stopped");
        Ok(())
    }
}

fn ended(served: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), CliError> {
    served.map_err(std::io::Error::other).flatten().map_err(CliError::Serve)
}

/// Waits for SIGTERM or SIGINT.
async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
