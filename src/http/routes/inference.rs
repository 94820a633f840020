//! The Open Inference Protocol, version 2: a task is a model, a version of its adapter a version of the model.
//!
//! One input tensor, `query`: `FP32 [n, d]` for vectors, `FP32 [n, c, h, w]` for images, `BYTES [n]` for texts (or
//! their embeddings as `FP32 [n, d]`) and for image files in base64. Outputs: `label` (`BYTES [n]`) and `scores` (`FP32 [n, labels]`), or `value` (`FP32 [n]`), or
//! `spans` (`BYTES [n]`, each a JSON list).
//! Problems of these paths carry the protocol's `error`, too.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Adapter, Fault, Input, InputSchema, Invalid, Kind, Span, Task, TaskId};
use crate::http::AppState;
use crate::http::extract::{ApiPath, Caller, Maker};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::tensors::{Asked, EXTENSION, InferBody, InferredBody, RequestedBody, TensorBody, Values};
use crate::service::{Answer, AnswerSpan, AnswerStyle, Answers, Predict, Prediction, Service, ServiceError};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(inference_server))
        .routes(routes!(inference_live))
        .routes(routes!(inference_ready))
        .routes(routes!(inference_model))
        .routes(routes!(inference_model_version))
        .routes(routes!(inference_model_ready))
        .routes(routes!(inference_model_version_ready))
        .routes(routes!(infer))
        .routes(routes!(infer_version))
}

/// The server, in the protocol's words.
#[derive(Debug, Serialize, ToSchema)]
struct ServerBody {
    /// `imprint`
    name: &'static str,
    /// The program's version.
    version: &'static str,
    /// Extensions of the protocol.
    extensions: Vec<&'static str>,
}

/// What this server is, in the words of the Open Inference Protocol.
#[utoipa::path(get, path = "/v2", tag = "compatibility", security(()), responses((status = 200, body = ServerBody)))]
async fn inference_server() -> Json<ServerBody> {
    Json(ServerBody {
        name: "imprint",
        version: env!("CARGO_PKG_VERSION"),
        extensions: vec!["classification", EXTENSION],
    })
}

/// Whether the process answers.
#[utoipa::path(get, path = "/v2/health/live", tag = "compatibility", security(()), responses((status = 200)))]
async fn inference_live() -> StatusCode {
    StatusCode::OK
}

/// Whether requests can be served.
#[utoipa::path(
    get, path = "/v2/health/ready", tag = "compatibility", security(()),
    responses((status = 200), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn inference_ready(State(service): State<Service>) -> Result<StatusCode, Problem> {
    service.ready().await?;
    Ok(StatusCode::OK)
}

/// A task as a model.
#[derive(Debug, Serialize, ToSchema)]
struct ModelBody {
    /// The task's id.
    name: String,
    /// Versions of its adapter.
    versions: Vec<String>,
    /// `imprint`
    platform: &'static str,
    /// What it takes.
    inputs: Vec<TensorDoc>,
    /// What it answers.
    outputs: Vec<TensorDoc>,
    /// Labels in the order of `scores`.
    labels: Vec<String>,
}

/// A tensor's form.
#[derive(Debug, Serialize, ToSchema)]
struct TensorDoc {
    /// Its name.
    name: &'static str,
    /// `FP32` or `BYTES`.
    datatype: &'static str,
    /// Its shape; -1 is any number.
    shape: Vec<i64>,
}

impl ModelBody {
    fn new(task: &Task, adapter: Adapter, schema: &InputSchema, versions: Vec<String>) -> Self {
        let any = |rest: &[usize]| std::iter::once(-1).chain(rest.iter().map(|&side| side as i64)).collect();
        let outputs = match task.kind {
            Kind::Regression | Kind::Ranking => vec![TensorDoc { name: "value", datatype: "FP32", shape: vec![-1] }],
            Kind::Tagging => vec![TensorDoc { name: "spans", datatype: "BYTES", shape: vec![-1] }],
            Kind::Classification => vec![
                TensorDoc { name: "label", datatype: "BYTES", shape: vec![-1] },
                TensorDoc { name: "scores", datatype: "FP32", shape: any(&[adapter.labels.len()]) },
            ],
        };
        let query = match schema {
            InputSchema::Text { .. } | InputSchema::Item { .. } => {
                TensorDoc { name: "query", datatype: "BYTES", shape: vec![-1] }
            }
            _ => TensorDoc { name: "query", datatype: "FP32", shape: any(&schema.row_shape()) },
        };
        let inputs = vec![query];
        Self { name: task.id.to_string(), versions, platform: "imprint", inputs, outputs, labels: adapter.labels }
    }
}

async fn model(
    service: &Service,
    caller: Caller,
    task: TaskId,
    version: Option<u32>,
) -> Result<Json<ModelBody>, Problem> {
    let Caller(tenant) = caller;
    let Answers { task, adapter, .. } = service.answering(tenant, task, version).await?;
    let all = service.list_adapters(tenant, task.id, None, usize::from(u8::MAX)).await?;
    let versions = all.iter().map(|view| view.adapter.version.to_string()).collect();
    let schema = &service.base_model(&task.base_model)?.manifest.input;
    Ok(Json(ModelBody::new(&task, adapter, schema, versions)))
}

/// A task as a model, with its active version.
#[utoipa::path(
    get, path = "/v2/models/{task}", tag = "compatibility",
    params(("task" = String, Path, description = "The task's id")),
    responses((status = 200, body = ModelBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn inference_model(
    State(service): State<Service>,
    caller: Caller,
    ApiPath(task): ApiPath<TaskId>,
) -> Result<Json<ModelBody>, Problem> {
    model(&service, caller, task, None).await
}

/// A task as a model, with one version.
#[utoipa::path(
    get, path = "/v2/models/{task}/versions/{version}", tag = "compatibility",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    responses((status = 200, body = ModelBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn inference_model_version(
    State(service): State<Service>,
    caller: Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
) -> Result<Json<ModelBody>, Problem> {
    model(&service, caller, task, Some(version)).await
}

/// Whether a task has an active version.
#[utoipa::path(
    get, path = "/v2/models/{task}/ready", tag = "compatibility",
    params(("task" = String, Path, description = "The task's id")),
    responses((status = 200), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn inference_model_ready(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
) -> Result<StatusCode, Problem> {
    service.answering(tenant, task, None).await?;
    Ok(StatusCode::OK)
}

/// Whether a task has this version.
#[utoipa::path(
    get, path = "/v2/models/{task}/versions/{version}/ready", tag = "compatibility",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    responses((status = 200), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn inference_model_version_ready(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
) -> Result<StatusCode, Problem> {
    service.answering(tenant, task, Some(version)).await?;
    Ok(StatusCode::OK)
}

/// Predicts with a task's active version.
#[utoipa::path(
    post, path = "/v2/models/{task}/infer", tag = "compatibility",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("Inference-Header-Content-Length" = Option<u32>, Header, description = "How many of the body's bytes are JSON, if a tensor's bytes are behind it")
    ),
    request_body(content((InferBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, content((InferredBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn infer(
    Maker(service): Maker,
    caller: Caller,
    ApiPath(task): ApiPath<TaskId>,
    asked: Asked,
) -> Result<Response, Problem> {
    inferred(&service, caller, task, None, asked).await
}

/// Predicts with one version of a task.
#[utoipa::path(
    post, path = "/v2/models/{task}/versions/{version}/infer", tag = "compatibility",
    params(
        ("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version"),
        ("Inference-Header-Content-Length" = Option<u32>, Header, description = "How many of the body's bytes are JSON, if a tensor's bytes are behind it")
    ),
    request_body(content((InferBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, content((InferredBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn infer_version(
    Maker(service): Maker,
    caller: Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
    asked: Asked,
) -> Result<Response, Problem> {
    inferred(&service, caller, task, Some(version), asked).await
}

async fn inferred(
    service: &Service,
    Caller(tenant): Caller,
    task: TaskId,
    version: Option<u32>,
    Asked { id, shape, values, outputs, is_binary }: Asked,
) -> Result<Response, Problem> {
    let Answers { task: found, adapter, .. } = service.answering(tenant, task, version).await?;
    let schema = &service.base_model(&found.base_model)?.manifest.input;
    let query = query(values, &shape, schema).map_err(ServiceError::from)?;
    let request = Predict {
        query,
        version: Some(adapter.version),
        style: AnswerStyle::default(),
        store: false,
        prototype: false,
        deadline: None,
    };
    let predicted = service.predict(tenant, task, request).await?;
    let asked = if outputs.is_empty() { all_of(found.kind) } else { outputs };
    let outputs = asked
        .iter()
        .enumerate()
        .map(|(index, asked)| output(asked, index, &predicted.predictions, &adapter.labels))
        .collect::<Result<Vec<TensorBody>, ServiceError>>()?;
    let is_binary: Vec<bool> = asked.iter().map(|output| output.is_binary(is_binary)).collect();
    let (model_name, model_version) = (task.to_string(), adapter.version.to_string());
    Ok(InferredBody { model_name, model_version, id, outputs }.answer(&is_binary))
}

fn all_of(kind: Kind) -> Vec<RequestedBody> {
    let names: &[&str] = match kind {
        Kind::Classification => &["label", "scores"],
        Kind::Regression | Kind::Ranking => &["value"],
        Kind::Tagging => &["spans"],
    };
    names.iter().map(|&name| RequestedBody { name: name.to_owned(), parameters: serde_json::Map::new() }).collect()
}

/// The rows of the one tensor.
fn query(values: Values, shape: &[usize], schema: &InputSchema) -> Result<Vec<Input>, Invalid> {
    let product = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    if product != Some(values.len()) {
        let needs = product.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string());
        return Err(Fault::ShapeMismatch { shape: shape.to_vec(), needs, given: values.len() }.at("/inputs/0/shape"));
    }
    let values = match values {
        Values::Numbers(values) => values,
        Values::Texts(texts) => {
            let read =
                |(index, text)| schema.from_text(text).map_err(|fault| fault.at(format!("/inputs/0/data/{index}")));
            return texts.into_iter().enumerate().map(read).collect();
        }
    };
    let row_shape = shape.get(1..).unwrap_or_default();
    let width = row_shape.iter().product::<usize>().max(1);
    Ok(values
        .chunks(width)
        .map(|row| match row_shape.len() {
            0 | 1 => Input::Vector(row.to_vec()),
            _ => Input::Raw { shape: row_shape.to_vec(), values: row.to_vec() },
        })
        .collect())
}

fn output(
    asked: &RequestedBody,
    index: usize,
    predictions: &[Prediction],
    labels: &[String],
) -> Result<TensorBody, ServiceError> {
    let rows = predictions.len();
    let tensor = |shape, datatype, data| TensorBody::new(&asked.name, datatype, shape, data);
    let best = asked
        .parameters
        .get("classification")
        .and_then(Value::as_u64)
        .map(|best| usize::try_from(best).unwrap_or(usize::MAX));
    match (asked.name.as_str(), best) {
        ("label" | "scores", Some(best)) => {
            let best = best.min(labels.len());
            let data = predictions.iter().flat_map(|prediction| best_of(prediction, best, labels)).collect();
            Ok(tensor(vec![rows, best], "BYTES", data))
        }
        ("label", None) => Ok(tensor(vec![rows], "BYTES", predictions.iter().map(label_of).collect())),
        ("scores", None) => {
            let data = predictions.iter().flat_map(|prediction| scores_of(prediction, labels)).collect();
            Ok(tensor(vec![rows, labels.len()], "FP32", data))
        }
        ("spans", None) => Ok(tensor(vec![rows], "BYTES", predictions.iter().map(spans_of).collect())),
        ("value", None) => Ok(tensor(vec![rows], "FP32", predictions.iter().map(value_of).collect())),
        _ => {
            let because = "outputs are `label` and `scores`, or `value` for regression, or `spans` for tagging";
            Err(Fault::Inapplicable { because }.at(format!("/outputs/{index}/name")).into())
        }
    }
}

fn label_of(prediction: &Prediction) -> Value {
    match &prediction.answer {
        Answer::Label { label, .. } => json!(label),
        Answer::Value(value) => json!(value.to_string()),
        Answer::Spans { .. } => spans_of(prediction),
    }
}

fn value_of(prediction: &Prediction) -> Value {
    match &prediction.answer {
        Answer::Value(value) => json!(value),
        Answer::Label { confidence, .. } => json!(confidence),
        Answer::Spans { spans, .. } => json!(spans.len()),
    }
}

/// The spans of a text, as a JSON list in a string.
fn spans_of(prediction: &Prediction) -> Value {
    let Answer::Spans { spans, .. } = &prediction.answer else { return json!("[]") };
    let span = |found: &AnswerSpan| {
        let Span { start, end, label } = &found.span;
        json!({"start": start, "end": end, "label": label, "text": found.text, "probability": found.probability})
    };
    json!(Value::Array(spans.iter().map(span).collect()).to_string())
}

/// Probabilities in the order of the labels.
fn scores_of(prediction: &Prediction, labels: &[String]) -> Vec<Value> {
    let Answer::Label { scores, .. } = &prediction.answer else { return Vec::new() };
    let of = |label: &String| scores.iter().find(|(name, _)| name == label).map_or(0.0, |(_, score)| *score);
    labels.iter().map(|label| json!(of(label))).collect()
}

/// `score:index:label` of the most probable labels.
fn best_of(prediction: &Prediction, best: usize, labels: &[String]) -> Vec<Value> {
    let Answer::Label { scores, .. } = &prediction.answer else { return Vec::new() };
    let written = |(label, score): &(String, f64)| {
        let index = labels.iter().position(|name| name == label).unwrap_or_default();
        json!(format!("{score:.6}:{index}:{label}"))
    };
    scores.iter().take(best).map(written).collect()
}
