//! Episodes sent through a running server, as a tenant would send them.

use serde_json::{Value, json};

use super::CliError;
use crate::domain::{InputSchema, Precision, Rows, Targets, ndcg};
use crate::meta::eval::Estimate;
use crate::trainer::{Measurement, in_order};

/// A server that is measured.
pub struct Server<'a> {
    agent: ureq::Agent,
    url: &'a str,
    key: Option<&'a str>,
    base_model: &'a str,
}

impl<'a> Server<'a> {
    /// The server at `url`, by its base model of that name.
    pub fn new(url: &'a str, key: Option<&'a str>, base_model: &'a str) -> Self {
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build();
        Self { agent: config.new_agent(), url: url.trim_end_matches('/'), key, base_model }
    }

    /// In which numbers it computes features.
    pub fn precision(&self) -> Result<Precision, CliError> {
        let url = format!("{}/v1/base-models/{}", self.url, self.base_model);
        let body = answer(&url, self.authorized(self.agent.get(&url)).call())?;
        serde_json::from_value(body["precision"].clone()).map_err(|error| failed(&url, error))
    }

    /// The mean over the same episodes, as many clients send them.
    pub fn measure(
        &self,
        measurement: &Measurement<'_>,
        clients: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Estimate, CliError> {
        let input = measurement.tasks.input();
        let client = || Ok::<_, CliError>(());
        let figures = in_order(measurement.count(), clients, progress, client, |&mut (), index| {
            let episode = measurement.episode(index);
            let names = episode.names.as_ref().map(|names| &names.labels[..]);
            let support: Vec<Value> = inputs(&episode.support, &input)
                .zip(targets(&episode.support_targets, names))
                .map(|(input, (name, target))| json!({"input": input, name: target}))
                .collect();
            let query: Vec<Value> = inputs(&episode.query, &input).collect();
            let recipe = json!(measurement.recipe);
            let answer = self.post(&json!({
                "base_model": self.base_model, "support": support, "query": query, "recipe": recipe, "top_k": 1
            }))?;
            Ok(judged(&answer, &episode.query_targets, names))
        })?;
        Ok(Estimate::of(&figures))
    }

    fn post(&self, body: &Value) -> Result<Value, CliError> {
        let url = format!("{}/v1/adapt-predict", self.url);
        let request = self.authorized(self.agent.post(&url)).header("content-type", "application/json");
        answer(&url, request.send(body.to_string()))
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }
}

fn answer(url: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, CliError> {
    let mut response = response.map_err(|error| failed(url, error))?;
    let text = response.body_mut().with_config().limit(1 << 28).read_to_string();
    let text = text.map_err(|error| failed(url, error))?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| failed(url, error))?;
    if response.status().is_success() { Ok(answer) } else { Err(failed(url, &answer["detail"])) }
}

fn failed(url: &str, reason: impl std::fmt::Display) -> CliError {
    CliError::Usage(format!("{url}: {reason}"))
}

fn inputs<'r>(rows: &'r Rows, schema: &InputSchema) -> impl Iterator<Item = Value> + use<'r> {
    let shape = schema.row_shape();
    let is_vector = shape.len() == 1;
    (0..rows.len()).map(move |index| {
        let values = rows.row(index);
        // As doubles, so that no digit is lost however a server reads decimals.
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        if is_vector { json!(values) } else { json!({"shape": shape, "values": values}) }
    })
}

fn targets<'t>(
    targets: &'t Targets,
    names: Option<&'t [String]>,
) -> Box<dyn Iterator<Item = (&'static str, Value)> + 't> {
    match targets {
        Targets::Classes { labels, .. } => {
            Box::new(labels.iter().map(move |label| ("label", json!(class_name(*label, names)))))
        }
        Targets::Values(values) | Targets::Signals { values, .. } => {
            Box::new(values.iter().map(|value| ("value", json!(f64::from(*value)))))
        }
    }
}

fn value(prediction: &Value) -> f32 {
    serde_json::from_value(prediction["value"].clone()).unwrap_or(f32::NAN)
}

/// Its own name, or a number.
fn class_name(label: u32, names: Option<&[String]>) -> String {
    names.map_or_else(|| format!("c{label:03}"), |names| names[label as usize].clone())
}

/// As [`score`](crate::meta::eval::score) judges what the engine says.
fn judged(answer: &Value, targets: &Targets, names: Option<&[String]>) -> f64 {
    let empty = Vec::new();
    let predictions = answer["predictions"].as_array().unwrap_or(&empty);
    match targets {
        Targets::Classes { labels, .. } => {
            let hits = predictions
                .iter()
                .zip(labels)
                .filter(|(prediction, label)| prediction["label"] == class_name(**label, names))
                .count();
            hits as f64 / labels.len() as f64
        }
        Targets::Signals { values, .. } => {
            let scores: Vec<f32> = predictions.iter().map(value).collect();
            if scores.len() == values.len() { ndcg(&scores, values).unwrap_or(0.0) } else { f64::NAN }
        }
        Targets::Values(values) => {
            let error = |(prediction, value): (&Value, &f32)| f64::from(self::value(prediction) - value).powi(2);
            predictions.iter().zip(values).map(error).sum::<f64>() / values.len() as f64
        }
    }
}
