//! What travels from the async side to a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::Span;

use super::plan::Shape;
use super::tagging::{Tagged, Tagging};
use super::{Adapted, EngineError};
use crate::domain::{AdapterBlob, Outputs, Recipe, Rows, Size, SupportSet, TenantId};
use crate::meta::encoder::Tokens;

/// For whom work is done, how soon, and until when it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose turn it takes.
    pub tenant: TenantId,
    /// Whether somebody waits for it.
    pub urgency: Urgency,
    /// After this it is not computed any more.
    pub deadline: Option<Instant>,
}

/// Whether somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody does.
    Interactive,
    /// When there is nothing else to do.
    Bulk,
}

impl Origin {
    /// Work that somebody waits for, for as long as it takes.
    pub const fn interactive(tenant: TenantId) -> Self {
        Self { tenant, urgency: Urgency::Interactive, deadline: None }
    }
}

/// Work, and by whom it is waited for.
pub(super) struct Command {
    pub(super) origin: Origin,
    pub(super) work: Work,
    /// What the planner has to know of it.
    pub(super) shape: Shape,
    /// Multiply-adds that it takes.
    pub(super) cost: u64,
    pub(super) reply: oneshot::Sender<Result<Answer, EngineError>>,
    /// Set when nobody waits for the answer any more.
    pub(super) is_abandoned: Arc<AtomicBool>,
    /// The request's span: what a worker logs belongs to it.
    pub(super) span: Span,
    pub(super) queued_at: Instant,
}

/// One computation.
pub(super) enum Work {
    /// An inner loop, and predictions with what it leaves if there is a query.
    Adapt {
        support: SupportSet,
        recipe: Recipe,
        query: Option<Rows>,
        /// Inner loops for the estimate, where it takes any.
        folds: usize,
    },
    Predict {
        adapter: AdapterBlob,
        query: Rows,
    },
    /// Features of rows, where no task changes them.
    Features {
        rows: Rows,
    },
    /// Embeddings of texts, by the encoder of that number, in the lane of what they are for.
    Embed {
        encoder: usize,
        tokens: Vec<Tokens>,
        lane: Lane,
    },
    /// Whatever has to do with words.
    Tagging(Tagging),
}

/// What work leaves: an adapter from [`Work::Adapt`], outputs wherever there is a query, embeddings from
/// [`Work::Embed`], what [`Tagged`] says from [`Work::Tagging`].
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) adapted: Option<Adapted>,
    pub(super) outputs: Option<Outputs>,
    pub(super) embeddings: Option<Vec<Vec<f32>>>,
    pub(super) tagged: Option<Tagged>,
    pub(super) features: Option<Vec<f32>>,
}

/// Which commands go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Somebody waits for an answer.
    Predict,
    /// Somebody waits for an adapter.
    Adapt,
    /// Nobody waits.
    Bulk,
}

impl Lane {
    pub(super) const ALL: [Self; 3] = [Self::Predict, Self::Adapt, Self::Bulk];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Adapt => "adapt",
            Self::Bulk => "bulk",
        }
    }
}

impl Command {
    pub(super) fn lane(&self) -> Lane {
        match (self.origin.urgency, &self.work) {
            (Urgency::Bulk, _) => Lane::Bulk,
            (Urgency::Interactive, Work::Predict { .. } | Work::Features { .. }) => Lane::Predict,
            (Urgency::Interactive, Work::Adapt { .. }) => Lane::Adapt,
            (Urgency::Interactive, Work::Embed { lane, .. }) => *lane,
            (Urgency::Interactive, Work::Tagging(tagging)) => tagging.lane(),
        }
    }

    /// Whether somebody still waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        !self.is_abandoned.load(Ordering::Relaxed)
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.origin.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// A failed send is a client that left while its answer was made.
    pub(super) fn answer(self, answer: Result<Answer, EngineError>) {
        let _ = self.reply.send(answer);
    }
}

impl Work {
    /// How large it is.
    pub(super) fn size(&self) -> Size {
        match self {
            Self::Adapt { support, recipe, query, folds } => Size {
                support: support.len(),
                unlabelled: support.unlabelled().map_or(0, Rows::len),
                query: query.as_ref().map_or(0, Rows::len),
                outputs: support.targets().outputs(),
                inner_steps: recipe.inner_steps,
                folds: *folds,
            },
            Self::Predict { query, .. } => Size { query: query.len(), outputs: 1, ..Size::default() },
            Self::Features { rows } => Size { query: rows.len(), outputs: 1, ..Size::default() },
            Self::Embed { .. } => Size::default(),
            Self::Tagging(tagging) => tagging.size(),
        }
    }

    /// Rows that the backbone sees.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Adapt { support, query, .. } => {
                support.len() + support.unlabelled().map_or(0, Rows::len) + query.as_ref().map_or(0, Rows::len)
            }
            Self::Predict { query, .. } => query.len(),
            Self::Features { rows } => rows.len(),
            Self::Embed { tokens, .. } => tokens.len(),
            Self::Tagging(tagging) => tagging.words(),
        }
    }
}
