//! `imprint eval --gains`: whether an example of the label that adapters name is worth more than one of any label.

use serde_json::{Map, Value, json};

use super::said::Said;
use crate::meta::Model;
use crate::meta::eval::{Estimate, EvalError};
use crate::trainer::{Gains, Measurement};

impl Said for Gains {
    const NAME: &'static str = "gains";
    const HEAD: &'static str = "one more example of the label named, of any label, and between them";

    fn measured(measurement: &Measurement<'_>, model: &Model, threads: usize) -> Result<Vec<Self>, EvalError> {
        measurement.gains(model, threads)
    }

    fn lines(tasks: &[Self]) -> Vec<String> {
        let shown = |estimate: Estimate| format!("{:+.3} ± {:.3}", 100.0 * estimate.mean, 100.0 * estimate.ci95);
        let line = |of: fn(&Self) -> &Vec<f64>| compared(tasks, of).map(shown).join(", ");
        vec![format!("{} points", line(|task| &task.came)), format!("{} was expected", line(|task| &task.expected))]
    }

    fn document(tasks: &[Self]) -> Map<String, Value> {
        let shown = |of: fn(&Self) -> &Vec<f64>| {
            let [named, any, between] =
                compared(tasks, of).map(|estimate| json!({"mean": estimate.mean, "ci95": estimate.ci95}));
            json!({"named": named, "any": any, "between": between})
        };
        let figures = [
            ("came", shown(|task| &task.came)),
            ("expected", shown(|task| &task.expected)),
            ("tasks", json!(tasks.len())),
        ];
        figures.map(|(name, figure)| (name.to_owned(), figure)).into_iter().collect()
    }
}

/// Of the label that is named, of any label, and the difference.
fn compared(tasks: &[Gains], of: fn(&Gains) -> &Vec<f64>) -> [Estimate; 3] {
    let figure = |figure: &dyn Fn(&Gains) -> f64| Estimate::of(&tasks.iter().map(figure).collect::<Vec<f64>>());
    let named = |task: &Gains| of(task)[task.named()];
    let any = |task: &Gains| of(task).iter().sum::<f64>() / of(task).len().max(1) as f64;
    [figure(&named), figure(&any), figure(&|task| named(task) - any(task))]
}
