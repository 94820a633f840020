//! `imprint health`: asks a running server whether it is ready, for container health checks and start scripts.
//!
//! Deliberately absent: TLS and keys. It asks the server beside it, and readiness is public.

use std::time::Duration;

/// Asks a running server whether it is ready: exit status 0 if it is.
#[derive(clap::Args, Debug)]
pub struct Health {
    /// Address of the server.
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
}

/// The server is absent, starting or draining.
#[derive(Debug, thiserror::Error)]
#[error("{url} is not ready: {source}")]
pub struct NotReady {
    url: String,
    source: ureq::Error,
}

impl Health {
    /// One request; waiting is the orchestrator's.
    pub fn run(self) -> Result<(), NotReady> {
        let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(Duration::from_secs(3))).build();
        match config.new_agent().get(format!("{}/readyz", self.url)).call() {
            Ok(_) => Ok(()),
            Err(source) => Err(NotReady { url: self.url, source }),
        }
    }
}
