//! `imprint eval --gains`: whether an example of the label that adapters name is worth more than one of any label.

use serde_json::{Value, json};

use super::{CliError, out};
use crate::meta::Model;
use crate::meta::eval::Estimate;
use crate::trainer::{EpisodeRange, Gains, Measurement};

/// One setting's tasks.
pub struct ExpectedGains {
    setting: EpisodeRange,
    tasks: Vec<Gains>,
}

impl ExpectedGains {
    /// Of many tasks of one setting.
    pub fn of(
        measurement: &Measurement<'_>,
        setting: EpisodeRange,
        model: &Model,
        threads: usize,
    ) -> Result<Self, CliError> {
        let tasks = measurement.gains(model, threads, &|_| {}).map_err(crate::trainer::TrainError::from)?;
        if tasks.is_empty() {
            return Err(CliError::Usage(format!("{}: no task of it has an estimate", setting.name())));
        }
        Ok(Self { setting, tasks })
    }

    fn figure(&self, figure: impl Fn(&Gains) -> f64) -> Estimate {
        Estimate::of(&self.tasks.iter().map(figure).collect::<Vec<f64>>())
    }

    /// Of the label that is named, of any label, and the difference: what came.
    fn came(&self) -> [Estimate; 3] {
        let named = |task: &Gains| task.came[task.named()];
        let any = |task: &Gains| mean(&task.came);
        [self.figure(named), self.figure(any), self.figure(|task| named(task) - any(task))]
    }

    /// The same of the label that is named and of any: what was expected.
    fn expected(&self) -> [Estimate; 2] {
        [self.figure(|task| task.expected[task.named()]), self.figure(|task| mean(&task.expected))]
    }

    /// Prints all, as a table or as one JSON document.
    pub fn print(all: &[Self], is_json: bool) {
        if is_json {
            let figures: Vec<Value> = all.iter().map(Self::document).collect();
            out::line(format!("{:#}", json!({"gains": figures})));
            return;
        }
        out::line(format!(
            "{:<22} {:>6}  one more example of the label named, of any label, and between them",
            "setting", "tasks"
        ));
        for one in all {
            let shown = |estimate: Estimate| format!("{:+.3} ± {:.3}", 100.0 * estimate.mean, 100.0 * estimate.ci95);
            let [named, any, between] = one.came().map(shown);
            let [named_before, any_before] = one.expected().map(shown);
            out::line(format!("{:<22} {:>6}  {named}, {any}, {between} points", one.setting.name(), one.tasks.len()));
            out::line(format!("{:<22} {:>6}  {named_before}, {any_before} points", "", "was expected"));
        }
    }

    fn document(&self) -> Value {
        let shown = |estimate: Estimate| json!({"mean": estimate.mean, "ci95": estimate.ci95});
        let [named, any, between] = self.came().map(shown);
        let [expected_of_named, expected_of_any] = self.expected().map(shown);
        json!({
            "setting": self.setting.name(), "tasks": self.tasks.len(), "named": named, "any": any,
            "between": between, "expected_of_named": expected_of_named, "expected_of_any": expected_of_any,
        })
    }
}

fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len().max(1) as f64
}
