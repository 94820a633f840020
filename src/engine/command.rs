//! What travels from the async side to a worker.

use std::time::Instant;

use tokio::sync::oneshot;
use tracing::Span;

use super::{Adapted, EngineError};
use crate::domain::{AdapterBlob, Outputs, Recipe, Rows, SupportSet};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// Work, and by whom it is waited for.
pub(super) struct Command {
    pub(super) work: Work,
    /// The request's span: what a worker logs belongs to it.
    pub(super) span: Span,
    pub(super) queued_at: Instant,
}

/// One computation. `base` is the index of a loaded base model.
pub(super) enum Work {
    Adapt { base: usize, support: SupportSet, recipe: Recipe, reply: Reply<Adapted> },
    Predict { base: usize, adapter: AdapterBlob, query: Rows, reply: Reply<Outputs> },
    AdaptPredict { base: usize, support: SupportSet, recipe: Recipe, query: Rows, reply: Reply<(Adapted, Outputs)> },
}

/// Which commands go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Predict,
    Adapt,
}

impl Work {
    pub(super) fn lane(&self) -> Lane {
        match self {
            Self::Predict { .. } => Lane::Predict,
            Self::Adapt { .. } | Self::AdaptPredict { .. } => Lane::Adapt,
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Adapt { reply, .. } => reply.is_closed(),
            Self::Predict { reply, .. } => reply.is_closed(),
            Self::AdaptPredict { reply, .. } => reply.is_closed(),
        }
    }
}
