//! The `imprint` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    match imprint::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            imprint::cli::out::note(format!("imprint: {error}"));
            ExitCode::FAILURE
        }
    }
}
