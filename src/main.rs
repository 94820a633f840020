//! The `imprint` binary.

use std::process::ExitCode;

use imprint::cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::out::note(format!("imprint: {error}"));
            ExitCode::FAILURE
        }
    }
}
