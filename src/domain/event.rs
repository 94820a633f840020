//! What happens to an adaptation, step by step.

use serde::{Deserialize, Serialize};

use super::{Adaptation, AdaptationStatus, Failure, Timestamp};

/// Where a running adaptation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdaptationPhase {
    /// Its examples are read and decoded.
    Load,
    /// The engine has it: it waits for a worker thread, or is in the inner loop and its estimate of itself.
    InnerLoop,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum News {
    /// It waits, or a worker took it.
    Status {
        /// `queued` or `running`.
        status: AdaptationStatus,
        /// How often a worker took it so far.
        attempt: u32,
    },
    /// A worker came to another phase.
    Phase {
        /// Which.
        phase: AdaptationPhase,
        /// Of which attempt.
        attempt: u32,
    },
    /// A worker came further; only of adaptations that take long.
    Progress {
        /// Inner steps that are done.
        done: u64,
        /// Inner steps that there are.
        of: u64,
        /// Of which attempt.
        attempt: u32,
    },
    /// It ended. Nothing comes after this.
    Done {
        /// `succeeded`, `failed` or `cancelled`.
        status: AdaptationStatus,
        /// Version of the adapter that it left.
        version: Option<u32>,
        /// Why it failed.
        error: Option<Failure>,
    },
}

/// One thing that happened, its place and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptationEvent {
    /// 1, 2, 3 … within the adaptation.
    pub number: u32,
    /// What.
    pub news: News,
    /// When.
    pub created_at: Timestamp,
}

impl AdaptationEvent {
    /// All that happened to an adaptation: what its row says about its two ends, around what was noted `between` them.
    /// So an adaptation that has ended has a last event, whoever ended it and however.
    pub fn history(adaptation: &Adaptation, between: Vec<Self>) -> Vec<Self> {
        let submitted = News::Status { status: AdaptationStatus::Queued, attempt: 0 };
        let mut events = vec![Self { number: 1, news: submitted, created_at: adaptation.created_at }];
        events.extend(between);
        if adaptation.status.is_final() {
            let number = events.last().map_or(1, |event| event.number) + 1;
            let news = News::Done {
                status: adaptation.status,
                version: adaptation.version,
                error: adaptation.failure.clone(),
            };
            events.push(Self { number, news, created_at: adaptation.finished_at.unwrap_or(adaptation.created_at) });
        }
        events
    }

    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(self.news, News::Done { .. })
    }
}
