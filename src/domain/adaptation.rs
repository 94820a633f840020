//! Adaptations: runs of the inner loop, as jobs with a status.

use serde::{Deserialize, Serialize};

use super::{AdaptationId, TaskId, Timestamp, TraceContext};

/// Where an adaptation is. The words are those of `OpenAI`'s jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdaptationStatus {
    /// Waiting for a worker.
    Queued,
    /// In the inner loop.
    Running,
    /// Its adapter is stored.
    Succeeded,
    /// It ended without an adapter; `failure` says why.
    Failed,
    /// It was called off.
    Cancelled,
}

impl AdaptationStatus {
    /// The word in bodies and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will change any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

impl std::str::FromStr for AdaptationStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("`{text}` is no status of an adaptation"))
    }
}

/// Whether a new adapter is to answer in the place of the active one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// As soon as it is there.
    #[default]
    Always,
    /// If it is at least as good as the active one, each by its own estimate; or if none is active.
    IfBetter,
    /// Not before somebody says so.
    Never,
}

impl Promotion {
    /// The word in bodies and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::IfBetter => "if_better",
            Self::Never => "never",
        }
    }
}

impl std::str::FromStr for Promotion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Always, Self::IfBetter, Self::Never]
            .into_iter()
            .find(|promotion| promotion.name() == text)
            .ok_or_else(|| format!("`{text}` is none of `always`, `if_better`, `never`"))
    }
}

/// How to adapt: with base model and support set, all that an adapter is a function of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Inner steps, for gradient learners; the base model's own number by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_steps: Option<u32>,
    /// Seed of whatever an inner loop draws.
    #[serde(default)]
    pub seed: u64,
}

/// Why an adaptation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The word by which a program tells it from others.
    pub code: String,
    /// A sentence that says what to do.
    pub detail: String,
}

/// One run of the inner loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptation {
    /// Its id.
    pub id: AdaptationId,
    /// What it adapts to.
    pub task: TaskId,
    /// How; with a budget, at most so many inner steps.
    pub recipe: Recipe,
    /// How long it may take from `created_at` to its adapter, in milliseconds: where all inner steps would take longer,
    /// fewer are taken, and the adapter's own recipe says how many.
    pub latency_budget_ms: Option<u32>,
    /// Whether its adapter is to answer once it is there.
    pub promote: Promotion,
    /// Where it is.
    pub status: AdaptationStatus,
    /// How often a worker took it.
    pub attempt: u32,
    /// Version of the adapter that it left.
    pub version: Option<u32>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When a worker took it, last.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The trace in which it was asked for.
    pub trace: Option<TraceContext>,
}
