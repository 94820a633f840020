//! `imprint eval --estimates`: whether what adapters say of themselves comes true.

use serde_json::{Value, json};

use super::{CliError, out};
use crate::meta::Model;
use crate::trainer::{EpisodeRange, Honesty, Measurement};

/// One setting's tasks.
pub struct Estimates {
    setting: EpisodeRange,
    tasks: Vec<Honesty>,
}

impl Estimates {
    /// Of many tasks of one setting.
    pub fn of(
        measurement: &Measurement<'_>,
        setting: EpisodeRange,
        model: &Model,
        threads: usize,
    ) -> Result<Self, CliError> {
        let tasks = measurement.honesty(model, threads, &|_| {}).map_err(crate::trainer::TrainError::from)?;
        if tasks.is_empty() {
            let reason = "no task of it has an estimate: a classification with two examples of some class, by a learner \
                          that has leave-one-out scores, would";
            return Err(CliError::Usage(format!("{}: {reason}", setting.name())));
        }
        Ok(Self { setting, tasks })
    }

    fn mean(&self, figure: impl Fn(&Honesty) -> f64) -> f64 {
        self.tasks.iter().map(figure).sum::<f64>() / self.tasks.len() as f64
    }

    fn coverage(&self) -> f64 {
        self.mean(|task| f64::from(u8::from(task.covers())))
    }

    /// Prints all, as a table or as one JSON document.
    pub fn print(all: &[Self], is_json: bool) {
        if is_json {
            let figures: Vec<Value> = all.iter().map(Self::document).collect();
            out::line(format!("{:#}", json!({"estimates": figures})));
            return;
        }
        out::line(format!(
            "{:<22} {:>6} {:>9} {:>9} {:>9} {:>7}",
            "setting", "tasks", "estimate", "accuracy", "covered", "width"
        ));
        for one in all {
            out::line(format!(
                "{:<22} {:>6} {:>8.2}% {:>8.2}% {:>8.1}% {:>6.1}%",
                one.setting.name(),
                one.tasks.len(),
                100.0 * one.mean(|task| task.estimate),
                100.0 * one.mean(|task| task.accuracy),
                100.0 * one.coverage(),
                100.0 * one.mean(|task| task.interval[1] - task.interval[0]),
            ));
        }
    }

    fn document(&self) -> Value {
        let task = |task: &Honesty| {
            json!({
                "n": task.n, "estimate": task.estimate, "interval": task.interval, "accuracy": task.accuracy,
                "queries": task.queries, "per_label": task.per_label,
            })
        };
        json!({
            "setting": self.setting.name(),
            "estimate": self.mean(|task| task.estimate),
            "accuracy": self.mean(|task| task.accuracy),
            "covered": self.coverage(),
            "width": self.mean(|task| task.interval[1] - task.interval[0]),
            "tasks": self.tasks.iter().map(task).collect::<Vec<_>>(),
        })
    }
}
