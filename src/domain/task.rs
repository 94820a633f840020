//! Tasks and their examples.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Input, PredictionId, Promotion, Signal, Span, SupportId, TaskId, Timestamp, hex};

/// What is asked of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One of N labels.
    Classification,
    /// One number.
    Regression,
    /// Spans of a text, each with one of N labels.
    Tagging,
    /// An order of items, for one person.
    Ranking,
}

impl Kind {
    /// The word in URLs, rows and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
            Self::Tagging => "tagging",
            Self::Ranking => "ranking",
        }
    }

    /// Whether its answers have labels.
    pub const fn has_labels(self) -> bool {
        matches!(self, Self::Classification | Self::Tagging)
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "classification" => Ok(Self::Classification),
            "regression" => Ok(Self::Regression),
            "tagging" => Ok(Self::Tagging),
            "ranking" => Ok(Self::Ranking),
            other => Err(format!("`{other}` is no kind of task")),
        }
    }
}

/// One problem of one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// A name for people.
    pub name: String,
    /// What is asked.
    pub kind: Kind,
    /// Name of the base model that it adapts.
    pub base_model: String,
    /// Labels that examples may carry, in the order of their first mention. Empty for regression and ranking.
    pub labels: Vec<String>,
    /// Whether an example may bring a label that is not yet listed. False if the labels were listed by the caller.
    pub open_labels: bool,
    /// The caller's own words about it.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// What to answer for a label, for those that have an answer.
    pub answers: BTreeMap<String, String>,
    /// What it does by itself.
    pub settings: TaskSettings,
    /// Whether monitors look at its predictions.
    pub is_monitored: bool,
    /// The adapter version that answers; none before the first adaptation.
    pub active_version: Option<u32>,
    /// The highest version ever made.
    pub latest_version: Option<u32>,
    /// Counts every change of this row, for `If-Match`.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What a task does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSettings {
    /// Whether it is adapted again when its examples change.
    pub auto_adapt: bool,
    /// Whether what an adaptation leaves is to answer, unless the adaptation says otherwise.
    pub auto_promote: Promotion,
    /// Of ranking: after how many days a signal counts half as much as the latest one; signals do not age without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<u32>,
}

/// A prediction that was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPrediction {
    /// Its id.
    pub id: PredictionId,
    /// The version that answered.
    pub version: u32,
    /// What was asked.
    pub input: Input,
    /// What was answered.
    pub answer: Target,
    /// When.
    pub created_at: Timestamp,
}

/// Changes to a task; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskPatch {
    /// A new name.
    pub name: Option<String>,
    /// New metadata, whole.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Labels to add.
    pub add_labels: Vec<String>,
    /// Other answers, whole.
    pub answers: Option<BTreeMap<String, String>>,
    /// Other settings, whole.
    pub settings: Option<TaskSettings>,
}

/// Which examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupportFilter {
    /// Of this label only.
    pub label: Option<String>,
    /// Of this name only: one, or none.
    pub external_id: Option<String>,
}

/// How many examples a label has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label.
    pub name: String,
    /// Its examples.
    pub support_count: usize,
}

/// What an example says about its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The class it belongs to.
    Label(String),
    /// The number that goes with it.
    Value(f32),
    /// Its spans, in order of place; none where there is nothing to find.
    Spans(Vec<Span>),
    /// What somebody did with it.
    Signal(Signal),
}

impl Target {
    /// The field of an example that says it.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Label(_) => "label",
            Self::Value(_) | Self::Signal(_) => "value",
            Self::Spans(_) => "spans",
        }
    }

    /// The labels in it.
    pub fn labels(&self) -> impl Iterator<Item = &String> {
        let (one, many): (_, &[Span]) = match self {
            Self::Label(label) => (Some(label), &[]),
            Self::Value(_) | Self::Signal(_) => (None, &[]),
            Self::Spans(spans) => (None, spans),
        };
        one.into_iter().chain(many.iter().map(|span| &span.label))
    }
}

/// An input that an adapter is made with.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The input, as the caller sent it.
    pub input: Input,
    /// What it is labelled with; none if nobody has labelled it.
    pub target: Option<Target>,
    /// For how many examples it counts; 1 for a signal, which says so itself.
    pub weight: f32,
    /// The caller's own name for it; unique within the task.
    pub external_id: Option<String>,
    /// SHA-256 of the input's row and the target, in hexadecimal: two examples with one digest are duplicates, whatever
    /// they weigh.
    pub digest: String,
}

/// An example as the store keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Support {
    /// Its id.
    pub id: SupportId,
    /// The example itself.
    pub example: Example,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Support {
    /// What changes when it does: for `If-Match`.
    pub fn tag(&self) -> String {
        let name = self.example.external_id.as_deref().unwrap_or_default();
        let weight = Some(self.example.weight).filter(|weight| *weight != 1.0).map(|weight| format!("{weight} "));
        hex(&Sha256::digest(format!("{}{} {name}", weight.unwrap_or_default(), self.example.digest))[..8])
    }
}
