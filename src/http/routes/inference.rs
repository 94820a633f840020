//! The Open Inference Protocol, version 2: a task is a model, a version of its adapter a version of the model.
//!
//! One input tensor, `query`: `FP32 [n, d]` for vectors, `FP32 [n, c, h, w]` for images, `BYTES [n]` for texts (or
//! their embeddings as `FP32 [n, d]`) and for image files in base64. Outputs: `label` (`BYTES [n]`) and `scores` (`FP32 [n, labels]`), or `value` (`FP32 [n]`), or
//! `spans` (`BYTES [n]`, each a JSON list).
//! Problems of these paths carry the protocol's `error`, too.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Adapter, Fault, Input, InputSchema, Invalid, Kind, Span, Task, TaskId, narrow};
use crate::http::AppState;
use crate::http::extract::{ApiPath, Caller, Maker, PlainJson};
use crate::http::problem::{Problem, ProblemBody};
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
    Json(ServerBody { name: "imprint", version: env!("CARGO_PKG_VERSION"), extensions: vec!["classification"] })
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
    let versions = all.iter().map(|adapter| adapter.version.to_string()).collect();
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

/// Tensors in. What the protocol has and this server has no use for (`parameters`) is taken and left aside.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct InferBody {
    /// Comes back.
    id: Option<String>,
    /// One tensor, `query`.
    inputs: Vec<TensorBody>,
    /// Which outputs; all by default.
    #[serde(default)]
    outputs: Vec<RequestedBody>,
}

/// A tensor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct TensorBody {
    /// Its name.
    name: String,
    /// Its shape.
    shape: Vec<usize>,
    /// `FP32`, `FP64`, an integer type, or `BYTES`.
    datatype: String,
    /// Its values, row-major, nested or flat.
    data: Value,
}

/// An output that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
struct RequestedBody {
    /// `label`, `scores`, `value` or `spans`.
    name: String,
    /// `classification: k` asks for the k best labels as `score:index:label`.
    #[serde(default)]
    #[schema(value_type = Object)]
    parameters: serde_json::Map<String, Value>,
}

/// Tensors out.
#[derive(Debug, Serialize, ToSchema)]
struct InferredBody {
    /// The task's id.
    model_name: String,
    /// The version that answered.
    model_version: String,
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// One each, in the order asked for.
    outputs: Vec<TensorBody>,
}

/// Predicts with a task's active version.
#[utoipa::path(
    post, path = "/v2/models/{task}/infer", tag = "compatibility",
    params(("task" = String, Path, description = "The task's id")),
    request_body = InferBody,
    responses((status = 200, body = InferredBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn infer(
    Maker(service): Maker,
    caller: Caller,
    ApiPath(task): ApiPath<TaskId>,
    PlainJson(body): PlainJson<InferBody>,
) -> Result<Json<InferredBody>, Problem> {
    inferred(&service, caller, task, None, body).await
}

/// Predicts with one version of a task.
#[utoipa::path(
    post, path = "/v2/models/{task}/versions/{version}/infer", tag = "compatibility",
    params(("task" = String, Path, description = "The task's id"), ("version" = u32, Path, description = "The version")),
    request_body = InferBody,
    responses((status = 200, body = InferredBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn infer_version(
    Maker(service): Maker,
    caller: Caller,
    ApiPath((task, version)): ApiPath<(TaskId, u32)>,
    PlainJson(body): PlainJson<InferBody>,
) -> Result<Json<InferredBody>, Problem> {
    inferred(&service, caller, task, Some(version), body).await
}

async fn inferred(
    service: &Service,
    Caller(tenant): Caller,
    task: TaskId,
    version: Option<u32>,
    body: InferBody,
) -> Result<Json<InferredBody>, Problem> {
    let Answers { task: found, adapter, .. } = service.answering(tenant, task, version).await?;
    let schema = &service.base_model(&found.base_model)?.manifest.input;
    let [tensor] = <[TensorBody; 1]>::try_from(body.inputs)
        .map_err(|_| Problem::wrong_form("/inputs".to_owned(), "send exactly one input, named `query`".to_owned()))?;
    let query = query(tensor, schema).map_err(ServiceError::from)?;
    let request =
        Predict { query, version: Some(adapter.version), style: AnswerStyle::default(), store: false, deadline: None };
    let predicted = service.predict(tenant, task, request).await?;
    let asked = if body.outputs.is_empty() { all_of(found.kind) } else { body.outputs };
    let outputs = asked
        .iter()
        .enumerate()
        .map(|(index, asked)| output(asked, index, &predicted.predictions, &adapter.labels))
        .collect::<Result<Vec<TensorBody>, ServiceError>>()?;
    let (model_name, model_version) = (task.to_string(), adapter.version.to_string());
    Ok(Json(InferredBody { model_name, model_version, id: body.id, outputs }))
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
fn query(tensor: TensorBody, schema: &InputSchema) -> Result<Vec<Input>, Invalid> {
    let mut flat = Vec::new();
    flatten(tensor.data, &mut flat);
    let mismatch = |needs: String, given| Fault::ShapeMismatch { shape: tensor.shape.clone(), needs, given };
    let product = tensor.shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    if product != Some(flat.len()) {
        let needs = product.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string());
        return Err(mismatch(needs, flat.len()).at("/inputs/0/shape"));
    }
    let wrong = |index: usize| {
        Fault::WrongTarget { kind: "tensor", needs: "numbers, or strings if it is BYTES" }
            .at(format!("/inputs/0/data/{index}"))
    };
    if tensor.datatype == "BYTES" {
        let text = |(index, value): (usize, Value)| match value {
            Value::String(text) => schema.from_text(text).map_err(|fault| fault.at(format!("/inputs/0/data/{index}"))),
            _ => Err(wrong(index)),
        };
        return flat.into_iter().enumerate().map(text).collect();
    }
    let number = |(index, value): (usize, Value)| value.as_f64().map(narrow).ok_or_else(|| wrong(index));
    let values = flat.into_iter().enumerate().map(number).collect::<Result<Vec<f32>, _>>()?;
    let row_shape = tensor.shape.get(1..).unwrap_or_default().to_vec();
    let width = row_shape.iter().product::<usize>().max(1);
    Ok(values
        .chunks(width)
        .map(|row| match row_shape.len() {
            0 | 1 => Input::Vector(row.to_vec()),
            _ => Input::Raw { shape: row_shape.clone(), values: row.to_vec() },
        })
        .collect())
}

fn flatten(data: Value, flat: &mut Vec<Value>) {
    match data {
        Value::Array(items) => items.into_iter().for_each(|item| flatten(item, flat)),
        value => flat.push(value),
    }
}

fn output(
    asked: &RequestedBody,
    index: usize,
    predictions: &[Prediction],
    labels: &[String],
) -> Result<TensorBody, ServiceError> {
    let rows = predictions.len();
    let tensor = |shape: Vec<usize>, datatype: &str, data: Vec<Value>| TensorBody {
        name: asked.name.clone(),
        shape,
        datatype: datatype.to_owned(),
        data: Value::Array(data),
    };
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
