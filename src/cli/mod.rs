//! The command line: builds everything, decides nothing.
//!
//! Deliberately absent: business rules. A command reads its flags, puts the layers together and runs them.

mod bench;
mod curve;
mod data;
mod doctor;
mod estimates;
mod eval;
mod gains;
mod health;
mod jobs;
mod keys;
mod migrate;
mod models;
pub mod out;
mod plot;
mod progress;
mod said;
mod search;
mod serve;
mod served;
mod settings;
mod sources;
mod tagging;
mod tensorboard;
mod train;

use std::net::SocketAddr;

use clap::Parser;

/// Few-shot adaptation as a service: examples in, predictions out.
#[derive(Parser, Debug)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Serve(serve::Serve),
    Keys(keys::Keys),
    Jobs(jobs::Jobs),
    Migrate(migrate::Migrate),
    Models(models::Models),
    Data(data::Data),
    Health(health::Health),
    Doctor(doctor::Doctor),
    Train(train::Train),
    Eval(eval::Eval),
    Search(search::Search),
    Bench(bench::Bench),
    /// Prints the OpenAPI document.
    Openapi,
}

/// Why a command failed, in a line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A flag's value is wrong.
    #[error("{0}")]
    Usage(String),
    /// The address cannot be had.
    #[error("cannot listen on {0}: {1}; name another with --listen")]
    Listen(SocketAddr, std::io::Error),
    /// The listener failed.
    #[error("serving: {0}")]
    Serve(std::io::Error),
    /// Nothing can be computed any more.
    #[error("every worker thread hangs; a fresh process takes up what this one held")]
    Hangs,
    /// No runtime.
    #[error("start the runtime: {0}")]
    Runtime(std::io::Error),
    /// Metrics cannot be counted.
    #[error("metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] crate::engine::StartError),
    /// Nothing can be sent out.
    #[error(transparent)]
    Courier(#[from] crate::courier::CourierError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A use case failed.
    #[error(transparent)]
    Service(#[from] crate::service::ServiceError),
    /// The server is not ready.
    #[error(transparent)]
    NotReady(#[from] health::NotReady),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] crate::trainer::TrainError),
    /// Evaluation failed.
    #[error(transparent)]
    Eval(#[from] crate::meta::eval::EvalError),
}

/// Runs the command that the arguments name.
pub fn run() -> Result<(), CliError> {
    let (cli, origins) = settings::read()?;
    match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Keys(keys) => keys.run(),
        Command::Jobs(jobs) => jobs.run(),
        Command::Migrate(migrate) => migrate.run(),
        Command::Models(models) => models.run(),
        Command::Data(data) => data.run(),
        Command::Health(health) => Ok(health.run()?),
        Command::Doctor(doctor) => doctor.run(&origins),
        Command::Train(train) => train.run(),
        Command::Eval(eval) => eval.run(),
        Command::Search(search) => search.run(),
        Command::Bench(bench) => bench.run(),
        Command::Openapi => {
            let document = crate::http::openapi().to_pretty_json();
            out::line(document.map_err(|error| CliError::Usage(error.to_string()))?);
            Ok(())
        }
    }
}

/// The async side's threads.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)
}

/// Threads to use where a setting says 0: one for each core.
fn threads(setting: usize) -> usize {
    if setting == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { setting }
}
