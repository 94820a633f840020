//! `POST /v1/classify`: Cohere's request and response, for clients that were written for it.
//!
//! `model` is a base model. `inputs` and `examples` are texts; for base models of images they are base64 files, for
//! those of vectors JSON arrays.

use std::collections::BTreeMap;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::PredictionId;
use crate::http::AppState;
use crate::http::extract::{ApiJson, Caller, Maker};
use crate::http::object;
use crate::http::problem::{Problem, ProblemBody};
use crate::service::{Answer, Classified, Classify, Prediction};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(classify))
}

/// Texts to classify, and labelled ones to learn from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassifyBody {
    /// What to classify.
    #[schema(min_items = 1)]
    inputs: Vec<String>,
    /// What to learn from.
    #[serde(default, deserialize_with = "object::each")]
    examples: Vec<ClassifyExampleBody>,
    /// A base model's name; the first that takes text by default.
    model: Option<String>,
    /// `NONE`, `START` or `END`. Accepted and not needed: a base model cuts what is too long for it.
    #[serde(rename = "truncate")]
    _truncate: Option<Truncate>,
}

/// Where a text that is too long is cut.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Truncate {
    None,
    Start,
    End,
}

/// A labelled text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClassifyExampleBody {
    /// The text.
    text: String,
    /// Its label.
    label: String,
}

/// One classification a text.
#[derive(Debug, Serialize, ToSchema)]
struct ClassifiedBody {
    /// Id of this answer.
    id: String,
    /// One a text, in order.
    classifications: Vec<ClassificationBody>,
    /// What it was.
    meta: MetaBody,
}

/// One classification.
#[derive(Debug, Serialize, ToSchema)]
struct ClassificationBody {
    /// Its id.
    id: String,
    /// The text.
    input: String,
    /// The most probable label.
    prediction: String,
    /// The same, in a list.
    predictions: Vec<String>,
    /// Its probability.
    confidence: f64,
    /// The same, in a list.
    confidences: Vec<f64>,
    /// Each label's probability.
    labels: BTreeMap<String, ConfidenceBody>,
    /// `single-label`
    classification_type: &'static str,
}

/// A label's probability.
#[derive(Debug, Serialize, ToSchema)]
struct ConfidenceBody {
    /// The probability.
    confidence: f64,
}

/// What an answer was.
#[derive(Debug, Serialize, ToSchema)]
struct MetaBody {
    /// The version of this shape.
    api_version: VersionBody,
    /// What was done.
    billed_units: UnitsBody,
}

/// The version of this shape.
#[derive(Debug, Serialize, ToSchema)]
struct VersionBody {
    /// `1`
    version: &'static str,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
struct UnitsBody {
    /// Texts that were classified.
    classifications: usize,
}

/// Classifies texts by labelled ones, with Cohere's request and response.
#[utoipa::path(
    post, path = "/v1/classify", tag = "compatibility",
    request_body(content = ClassifyBody, example = json!({
        "model": "NAME", "inputs": ["where is my money"],
        "examples": [
            {"text": "I was charged twice", "label": "refund"}, {"text": "money back please", "label": "refund"},
            {"text": "my parcel is late", "label": "shipping"}, {"text": "track my order", "label": "shipping"}
        ]
    })),
    responses((status = 200, body = ClassifiedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn classify(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiJson(ClassifyBody { inputs, examples, model, .. }): ApiJson<ClassifyBody>,
) -> Result<Json<ClassifiedBody>, Problem> {
    let examples = examples.into_iter().map(|ClassifyExampleBody { text, label }| (text, label)).collect();
    let request = Classify { model, examples, inputs: inputs.clone() };
    let Classified { id, predictions } = service.classify(tenant, request).await?;
    Ok(Json(ClassifiedBody::new(id, inputs, predictions)))
}

impl ClassifiedBody {
    fn new(id: PredictionId, inputs: Vec<String>, predictions: Vec<Prediction>) -> Self {
        let units = UnitsBody { classifications: inputs.len() };
        let answers = inputs.into_iter().zip(predictions);
        Self {
            id: id.to_string(),
            classifications: answers.map(|(input, prediction)| ClassificationBody::new(input, prediction)).collect(),
            meta: MetaBody { api_version: VersionBody { version: "1" }, billed_units: units },
        }
    }
}

impl ClassificationBody {
    fn new(input: String, Prediction { id, answer, .. }: Prediction) -> Self {
        let (prediction, confidence, scores) = match answer {
            Answer::Label { label, confidence, scores, .. } => (label, confidence, scores),
            // The service asks for classes.
            Answer::Value(_) | Answer::Spans { .. } => (String::new(), 0.0, Vec::new()),
        };
        let labels = scores.into_iter().map(|(label, confidence)| (label, ConfidenceBody { confidence })).collect();
        Self {
            id: id.to_string(),
            input,
            predictions: vec![prediction.clone()],
            prediction,
            confidence,
            confidences: vec![confidence],
            labels,
            classification_type: "single-label",
        }
    }
}
