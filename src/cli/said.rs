//! `imprint eval --estimates` and `--gains`: what adapters say of themselves, beside what comes of it.

use serde_json::{Map, Value, json};

use super::{CliError, out};
use crate::meta::Model;
use crate::meta::eval::EvalError;
use crate::trainer::{EpisodeRange, Measurement};

/// What one task's adapter says, and what came of it.
pub trait Said: Sized {
    /// What these are called, in a JSON document.
    const NAME: &'static str;
    /// What stands above the columns after setting and number of tasks.
    const HEAD: &'static str;

    /// One for each task that can be estimated.
    fn measured(measurement: &Measurement<'_>, model: &Model, threads: usize) -> Result<Vec<Self>, EvalError>;

    /// The columns of at least one task, in lines.
    fn lines(tasks: &[Self]) -> Vec<String>;

    /// The same as JSON.
    fn document(tasks: &[Self]) -> Map<String, Value>;
}

/// Measures settings and prints what was found, as a table or as one JSON document.
pub fn report<'t, T: Said>(
    settings: &[EpisodeRange],
    measurement: impl Fn(&EpisodeRange) -> Measurement<'t>,
    model: &Model,
    threads: usize,
    is_json: bool,
) -> Result<(), CliError> {
    let mut all = Vec::with_capacity(settings.len());
    for setting in settings {
        let tasks = T::measured(&measurement(setting), model, threads).map_err(crate::trainer::TrainError::from)?;
        if tasks.is_empty() {
            let reason = "no task of it has an estimate: a classification with two examples of some class would";
            return Err(CliError::Usage(format!("{}: {reason}", setting.name())));
        }
        all.push((setting.name(), tasks));
    }
    if is_json {
        let document = |(setting, tasks): &(String, Vec<T>)| {
            let mut document = T::document(tasks);
            document.insert("setting".to_owned(), json!(setting));
            Value::Object(document)
        };
        out::line(format!("{:#}", json!({T::NAME: all.iter().map(document).collect::<Vec<Value>>()})));
        return Ok(());
    }
    out::line(format!("{:<22} {:>6}  {}", "setting", "tasks", T::HEAD));
    for (setting, tasks) in &all {
        let (mut first, mut count) = (setting.as_str(), tasks.len().to_string());
        for line in T::lines(tasks) {
            out::line(format!("{first:<22} {count:>6}  {line}"));
            (first, count) = ("", String::new());
        }
    }
    Ok(())
}
