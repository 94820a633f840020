//! `imprint doctor`: whether a server would run well here, and what to do if not.
//!
//! It takes the flags and the environment of `imprint serve` and looks at what that would use, piece by piece. It
//! changes nothing: no migration is run, no file is made.

mod machine;
mod parts;

use serde::Serialize;

use super::settings::Origin;
use super::{CliError, out};
use crate::config::{EngineConfig, HttpConfig, ServiceConfig, StoreConfig};

/// Checks what a server would stand on: libtorch, device, base models, database, clocks, limits.
///
/// Takes what `imprint serve` takes. Exit status 1 if a server would not start.
#[derive(clap::Args, Debug)]
pub struct Doctor {
    /// Prints one JSON object for each finding.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    http: HttpConfig,
    #[command(flatten)]
    service: ServiceConfig,
    #[command(flatten)]
    engine: EngineConfig,
    #[command(flatten)]
    store: StoreConfig,
}

/// How it is with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Well.
    Ok,
    /// A server would start, and there is something to know.
    Warning,
    /// A server would not start.
    Failed,
}

/// What was found about one thing.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    state: State,
    /// What was looked at.
    subject: String,
    /// How it is.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { state: State::Ok, subject: subject.into(), found: found.into(), advice: None }
    }

    fn warning(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warning, advice: Some(advice.into()), ..Self::ok(subject, found) }
    }

    fn failed(subject: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Failed, advice: Some(advice.into()), ..Self::ok(subject, found) }
    }

    /// A line for people, and one with what to do.
    fn text(&self) -> String {
        let mark = match self.state {
            State::Ok => "ok",
            State::Warning => "note",
            State::Failed => "FAIL",
        };
        let advice = self.advice.as_ref().map_or_else(String::new, |advice| format!("\n{:20}→ {advice}", ""));
        format!("{mark:5}{:15}{}{advice}", self.subject, self.found)
    }
}

/// What is not as it would be by itself, and who says so.
fn setting(Origin { name, value, source }: &Origin) -> Finding {
    let value = value.as_deref().unwrap_or("(not shown)");
    Finding::ok("setting", format!("{name} = {value}, by {source}"))
}

impl Doctor {
    /// Looks at everything.
    pub fn run(self, origins: &[Origin]) -> Result<(), CliError> {
        let mut findings: Vec<Finding> = origins.iter().map(setting).collect();
        findings.extend(parts::engine(&self.engine));
        let runtime = super::runtime()?;
        findings.extend(runtime.block_on(parts::computations(&self.engine)));
        findings.extend(runtime.block_on(parts::store(&self.store)));
        findings.extend(parts::listener(&self.http));
        findings.extend(parts::courier(&self.service));
        findings.extend(machine::limits(&self.http, &self.service, &self.engine));
        for finding in &findings {
            let json = || serde_json::to_string(finding).map_err(|error| CliError::Usage(error.to_string()));
            out::line(if self.json { json()? } else { finding.text() });
        }
        let failed = findings.iter().filter(|finding| finding.state == State::Failed).count();
        if failed == 0 {
            Ok(())
        } else {
            Err(CliError::Usage(format!("doctor: {failed} of {} failed", findings.len())))
        }
    }
}
