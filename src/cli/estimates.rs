//! `imprint eval --estimates`: whether what adapters expect of themselves comes true.

use serde_json::{Map, Value, json};

use super::said::Said;
use crate::meta::Model;
use crate::meta::eval::EvalError;
use crate::trainer::{Honesty, Measurement};

impl Said for Honesty {
    const NAME: &'static str = "estimates";
    const HEAD: &'static str = "estimate  accuracy  covered   width";

    fn measured(measurement: &Measurement<'_>, model: &Model, threads: usize) -> Result<Vec<Self>, EvalError> {
        measurement.honesty(model, threads)
    }

    fn lines(tasks: &[Self]) -> Vec<String> {
        let [estimate, accuracy, covered, width] = figures(tasks).map(|figure| 100.0 * figure);
        vec![format!("{estimate:>7.2}%  {accuracy:>7.2}%  {covered:>6.1}%  {width:>5.1}%")]
    }

    fn document(tasks: &[Self]) -> Map<String, Value> {
        let [estimate, accuracy, covered, width] = figures(tasks);
        let task = |task: &Self| {
            json!({
                "n": task.n, "estimate": task.estimate, "interval": task.interval, "accuracy": task.accuracy,
                "queries": task.queries, "per_label": task.per_label,
            })
        };
        let tasks: Vec<Value> = tasks.iter().map(task).collect();
        let figures = [
            ("estimate", json!(estimate)),
            ("accuracy", json!(accuracy)),
            ("covered", json!(covered)),
            ("width", json!(width)),
            ("tasks", json!(tasks)),
        ];
        figures.map(|(name, figure)| (name.to_owned(), figure)).into_iter().collect()
    }
}

/// Means over tasks: of the estimates, of the accuracy, of the intervals that hold it, and of how wide they are.
fn figures(tasks: &[Honesty]) -> [f64; 4] {
    let mean = |figure: &dyn Fn(&Honesty) -> f64| tasks.iter().map(figure).sum::<f64>() / tasks.len() as f64;
    [
        mean(&|task| task.estimate),
        mean(&|task| task.accuracy),
        mean(&|task| f64::from(u8::from(task.covers()))),
        mean(&|task| task.interval[1] - task.interval[0]),
    ]
}
