//! The command line.

pub mod eval;
pub mod out;
pub mod train;

use clap::Parser;

/// Imprint.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Meta-trains a base model.
    Train(train::Train),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Training.
    #[error(transparent)]
    Train(#[from] crate::trainer::TrainError),
    /// Evaluation.
    #[error(transparent)]
    Eval(#[from] crate::meta::eval::EvalError),
}

/// Threads to use where a setting says 0.
pub fn threads(setting: usize) -> i32 {
    let count = if setting == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { setting };
    i32::try_from(count).unwrap_or(1)
}

/// Runs the command that the arguments name.
pub fn run() -> Result<(), CliError> {
    match Cli::parse().command {
        Command::Train(train) => train.run(),
    }
}
