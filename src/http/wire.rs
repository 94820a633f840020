//! Bodies that more than one route sends or takes. Field names are the contract; see `openapi/openapi.json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::domain::{Input, Promotion, Recipe, Signal, Span, SupportId, Target, Timestamp, narrow};
use crate::service::{Answer, AnswerSpan, GivenExample, Neighbour, Prediction};

/// One input, in a form that the base model takes.
#[derive(ToSchema)]
#[schema(as = Input)]
#[expect(dead_code, reason = "describes domain::Input in the OpenAPI document")]
#[serde(untagged)]
#[derive(Serialize)]
pub enum InputDoc {
    /// Numbers.
    #[schema(example = json!([0.5, -1.25]))]
    Vector(Vec<f32>),
    /// A PNG, JPEG or WebP file in base64, with or without a `data:` prefix.
    Image {
        /// Base64.
        image: String,
    },
    /// Numbers with a shape, row-major; for images channels, height, width, from 0 (black) to 1 (white).
    Array {
        /// The shape.
        shape: Vec<usize>,
        /// As many numbers as the shape says.
        values: Vec<f32>,
    },
    /// A string.
    Text(String),
    /// A text in words, for tagging.
    Words {
        /// The words, without white space.
        tokens: Vec<String>,
    },
    /// An item with more than a text, for ranking.
    Item {
        /// What it is: a title, a description.
        text: String,
        /// The natural logarithm of the share of people who choose it; leave it out if you do not know.
        #[schema(example = -3.2)]
        prior: Option<f32>,
        /// Numbers of your own, best between -1 and 1; as many as the base model has places for, or fewer.
        features: Option<Vec<f32>>,
    },
}

/// A labelled example.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExampleBody {
    /// The input.
    #[schema(value_type = InputDoc)]
    pub input: Input,
    /// Its class, for classification.
    #[schema(example = "refund")]
    pub label: Option<String>,
    /// Its number, for regression; for ranking what was done with the item, from -1 (disliked) to 1 (chosen, liked).
    pub value: Option<f64>,
    /// For how many examples it counts, of a ranking for how many signals: above 0, 1 by default; not for tagging.
    #[schema(example = 1.0)]
    pub weight: Option<f64>,
    /// When the signal was, for ranking.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// Its spans, for tagging: an empty list where there is nothing to find.
    pub spans: Option<Vec<SpanBody>>,
    /// In place of `spans`, a tag for each word, as IOB2 has them.
    #[schema(example = json!(["B-person", "I-person", "O"]))]
    pub tags: Option<Vec<String>>,
    /// Your own name for it; unique within the task.
    pub external_id: Option<String>,
}

impl From<ExampleBody> for GivenExample {
    fn from(ExampleBody { input, label, value, weight, time, spans, tags, external_id }: ExampleBody) -> Self {
        let spans = spans.map(|spans| spans.into_iter().map(Span::from).collect());
        Self { input, label, value: value.map(narrow), weight: weight.map(narrow), time, spans, tags, external_id }
    }
}

/// A stretch of a text, in characters.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanBody {
    /// Its first character.
    #[schema(example = 0)]
    start: usize,
    /// The character after its last.
    #[schema(example = 4)]
    end: usize,
    /// What it is.
    #[schema(example = "person")]
    label: String,
}

impl From<SpanBody> for Span {
    fn from(SpanBody { start, end, label }: SpanBody) -> Self {
        Self { start, end, label }
    }
}

/// Spans as they are sent.
pub fn spans(spans: Vec<Span>) -> Vec<SpanBody> {
    spans.into_iter().map(|Span { start, end, label }| SpanBody { start, end, label }).collect()
}

/// A stretch of a text that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundSpanBody {
    /// Its first character.
    start: usize,
    /// The character after its last.
    end: usize,
    /// What it is.
    label: String,
    /// Its text.
    text: String,
    /// The probability that exactly this is one.
    probability: f64,
}

impl From<AnswerSpan> for FoundSpanBody {
    fn from(AnswerSpan { span, text, probability }: AnswerSpan) -> Self {
        let Span { start, end, label } = span;
        Self { start, end, label, text, probability }
    }
}

/// Examples as the service takes them.
pub fn given(examples: Vec<ExampleBody>) -> Vec<GivenExample> {
    examples.into_iter().map(GivenExample::from).collect()
}

/// A parameter that is written `key=value`.
pub fn pair(parameter: &str, text: &str) -> Result<(String, String), Problem> {
    let malformed = || Problem::malformed("invalid_query", parameter, "it is written `key=value`".to_owned());
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(malformed)
}

/// How to adapt.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecipeBody {
    /// Inner steps, for base models that adapt by gradient steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner_steps: Option<u32>,
    /// Seed of whatever the inner loop draws.
    pub seed: u64,
}

impl From<RecipeBody> for Recipe {
    fn from(RecipeBody { inner_steps, seed }: RecipeBody) -> Self {
        Self { inner_steps, seed }
    }
}

impl From<Recipe> for RecipeBody {
    fn from(Recipe { inner_steps, seed }: Recipe) -> Self {
        Self { inner_steps, seed }
    }
}

/// Whether a new adapter is to answer: `always`, `if_better` (at least as good as the active one, each by its own
/// estimate), `never`; or `true` for `always` and `false` for `never`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PromoteBody {
    /// `always` or `never`.
    Flag(bool),
    /// `always`, `if_better` or `never`.
    #[schema(value_type = String)]
    Word(Promotion),
}

impl From<PromoteBody> for Promotion {
    fn from(promote: PromoteBody) -> Self {
        match promote {
            PromoteBody::Flag(true) => Self::Always,
            PromoteBody::Flag(false) => Self::Never,
            PromoteBody::Word(word) => word,
        }
    }
}

/// One answer: `label`, `confidence` and `scores` for classification, `value` for regression and ranking, `spans` for
/// tagging.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PredictionBody {
    /// Its id; none in the output of a bulk prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pred_0123456789abcdefghjkmnpqrs")]
    id: Option<String>,
    /// The most probable label.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Its probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
    /// With `abstain`, whether that is too little to answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    abstained: bool,
    /// Labels and probabilities, most probable first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scores: Vec<ScoreBody>,
    /// The number, or the item's score.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
    /// What was found, in order of place.
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<Vec<FoundSpanBody>>,
    /// A tag for each word, if the input came in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// What the task answers for the label, unless `abstained`.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// With `nearest`, the examples that are most like the input, the most like it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Vec<NeighbourBody>>,
}

/// An example that is like an input.
#[derive(Debug, Serialize, ToSchema)]
pub struct NeighbourBody {
    /// Its id, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    id: Option<SupportId>,
    /// Its place among the examples of the request, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Your own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// Its text, if it is one that is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
    /// The cosine between its features and the input's: 1 for the same.
    similarity: f64,
}

impl From<Neighbour> for NeighbourBody {
    fn from(Neighbour { place, id, external_id, text, target, similarity }: Neighbour) -> Self {
        let (label, value) = match target {
            Some(Target::Label(label)) => (Some(label), None),
            Some(Target::Value(value) | Target::Signal(Signal { value, .. })) => (None, Some(value)),
            Some(Target::Spans(_)) | None => (None, None),
        };
        Self { id, index: id.is_none().then_some(place), external_id, text, label, value, similarity }
    }
}

/// A label and its probability.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScoreBody {
    /// The label.
    label: String,
    /// Its probability.
    score: f64,
}

impl From<Prediction> for PredictionBody {
    fn from(Prediction { id, answer, reply, nearest }: Prediction) -> Self {
        let nearest = nearest.map(|found| found.into_iter().map(NeighbourBody::from).collect());
        Self { id: Some(id.to_string()), nearest, ..Self::unnamed(answer, reply) }
    }
}

impl PredictionBody {
    /// An answer that nothing is to be said about later.
    pub fn unnamed(answer: Answer, reply: Option<String>) -> Self {
        match answer {
            Answer::Label { label, confidence, abstained, scores } => Self {
                label: Some(label),
                confidence: Some(confidence),
                abstained,
                scores: scores.into_iter().map(|(label, score)| ScoreBody { label, score }).collect(),
                answer: reply,
                ..Self::default()
            },
            Answer::Value(value) => Self { value: Some(value), ..Self::default() },
            Answer::Spans { spans, tags } => {
                let spans = spans.into_iter().map(FoundSpanBody::from).collect();
                Self { spans: Some(spans), tags, ..Self::default() }
            }
        }
    }
}

/// Predictions as they are sent.
pub fn predictions(predictions: Vec<Prediction>) -> Vec<PredictionBody> {
    predictions.into_iter().map(PredictionBody::from).collect()
}

/// A base model as an answer names it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaseRef {
    /// Its name.
    #[schema(example = "omniglot")]
    pub name: String,
    /// Its identity: SHA-256 over all that predictions depend on.
    pub sha256: String,
}

impl From<&crate::domain::BaseModel> for BaseRef {
    fn from(base: &crate::domain::BaseModel) -> Self {
        Self { name: base.manifest.name.clone(), sha256: base.sha256.clone() }
    }
}
