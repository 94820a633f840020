//! Bulk predictions: many inputs of one task, answered when there is nothing else to do.

use serde::{Deserialize, Serialize};

use super::{BulkId, Failure, Input, Invalid, TaskId, Timestamp};

/// Where a bulk prediction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkStatus {
    /// Its inputs are arriving.
    Receiving,
    /// Waiting for a worker: its first, or its next turn.
    Queued,
    /// A worker answers its inputs.
    Running,
    /// Every input has its line in the output.
    Succeeded,
    /// It ended before that; `failure` says why, and what was answered stays.
    Failed,
    /// It was called off; what was answered stays.
    Cancelled,
}

impl BulkStatus {
    const ALL: [Self; 6] =
        [Self::Receiving, Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word in bodies and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for BulkStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|status| status.name() == text);
        found.ok_or_else(|| format!("`{text}` is no status of a bulk prediction"))
    }
}

/// Many inputs and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// Its id.
    pub id: BulkId,
    /// Whose adapter answers.
    pub task: TaskId,
    /// Which version of it, from the first input to the last.
    pub version: u32,
    /// Most scores of each answer.
    pub top_k: usize,
    /// Whether to abstain from answers that are not sure enough.
    pub abstain: bool,
    /// Where it is.
    pub status: BulkStatus,
    /// Inputs.
    pub lines: u64,
    /// Inputs that were answered.
    pub answered: u64,
    /// Inputs that were refused: their lines in the output say why.
    pub refused: u64,
    /// Bytes of it that are stored: inputs that wait, and answers.
    pub bytes: u64,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When its inputs began to arrive.
    pub created_at: Timestamp,
    /// When a worker took it first.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it goes, answers included.
    pub expires_at: Option<Timestamp>,
}

/// Inputs that are stored together, or their answers: the unit of work and of its loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkPiece {
    /// 0, 1, 2 …
    pub number: u64,
    /// Index of its first line among all.
    pub first: u64,
    /// How many lines it has.
    pub lines: u64,
    /// The lines, written down.
    pub text: String,
}

/// One input as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BulkItem {
    /// The caller's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// It, or what is wrong with its form.
    pub input: Result<Input, Vec<Refusal>>,
}

/// One thing that is wrong with an input, in words that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// JSON pointer into the line.
    pub pointer: String,
    /// The word by which a program tells it from others.
    pub code: String,
    /// What to do about it.
    pub detail: String,
}

impl From<Invalid> for Refusal {
    fn from(Invalid { pointer, fault }: Invalid) -> Self {
        Self { pointer, code: fault.code().to_owned(), detail: fault.to_string() }
    }
}
