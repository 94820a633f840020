//! The bridge between async and tensors: owner threads hold θ and adapters, bounded channels feed them.
//!
//! Deliberately absent from every public signature: tensors. Commands go down and results come up as plain values.

use std::time::Duration;

use crate::domain::{AdapterBlob, BaseModel, Outputs, Recipe, Rows, SupportSet};

/// Why the engine gave no answer. One variant for each thing that the caller can do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// No base model of that name is loaded.
    #[error("no base model `{0}` is loaded")]
    UnknownBase(String),
    /// The queue is full; come back after a while.
    #[error("the engine's queue is full")]
    Full {
        /// When a place will be free, by the present rate.
        retry_after: Duration,
    },
    /// The adapter was not made by this base model, or its tensors are not the ones it should have.
    #[error("the adapter does not fit the base model: {0}")]
    Mismatch(String),
    /// The inner loop or the prediction left the finite numbers.
    #[error("the adaptation does not converge: {0}")]
    NonFinite(&'static str),
    /// A worker thread panicked; the job is lost, the thread was replaced.
    #[error("the worker panicked")]
    Panicked,
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Torch(String),
    /// The engine is shutting down.
    #[error("the engine is stopping")]
    Stopping,
}

/// What one inner loop left.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    /// The adapter's tensors.
    pub blob: AdapterBlob,
    /// Leave-one-out scores, row by row of the support set in canonical order, where the learner has them in closed form.
    pub leave_one_out: Option<Outputs>,
}

/// The handle by which the async side speaks to the workers. Cheap to clone.
#[derive(Clone)]
pub struct Engine;

impl Engine {
    /// The base models that are loaded, by name in order.
    pub fn base_models(&self) -> &[BaseModel] {
        unimplemented!()
    }
    /// The base model of that name.
    pub fn base_model(&self, _name: &str) -> Option<&BaseModel> {
        unimplemented!()
    }
    /// Runs the inner loop.
    pub async fn adapt(&self, _base: &str, _support: SupportSet, _recipe: Recipe) -> Result<Adapted, EngineError> {
        unimplemented!()
    }
    /// Predicts with an adapter.
    pub async fn predict(&self, _base: &str, _adapter: AdapterBlob, _query: Rows) -> Result<Outputs, EngineError> {
        unimplemented!()
    }
    /// Both, and nothing is kept.
    pub async fn adapt_predict(&self, _base: &str, _support: SupportSet, _recipe: Recipe, _query: Rows) -> Result<(Adapted, Outputs), EngineError> {
        unimplemented!()
    }
}
