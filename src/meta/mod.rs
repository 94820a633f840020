//! Meta-learning: learners, backbones, task distributions, the inner loop.
//!
//! A **task** is drawn from a distribution as an **episode**: a support set S to adapt on and a query set Q to judge by.
//! A **learner** turns θ and S into an adapter; the outer loop (layer `trainer`) moves θ so that adapters answer Q well:
//!
//! ```text
//! inner loop   θ′ = adapt(θ, S)                 α
//! outer loop   θ ← θ − β ∇θ Σ_tasks L(θ′, Q)    β
//! ```
//!
//! An adapter is a value: named tensors that take the place of θ's (see [`Adapted`]). That is why prediction is one
//! function for all learners ([`learner::predict`]).
//!
//! Tasks are stacked: every tensor has a leading T (see [`crate::nn`]); ragged ways and shots are padded and masked
//! (see [`batch`]).
//!
//! Deliberately absent: async, threads, the clock, and any generator that is not passed in.

pub mod backbone;
pub mod batch;
pub mod bundle;
pub mod cost;
pub mod encoder;
pub mod eval;
pub mod folds;
pub mod learner;
pub mod model;
pub mod ridge;
pub mod split;
pub mod tagging;
pub mod task;

pub use batch::{Episode, Names, Query, Support};
pub use learner::{Adapted, Learner, Phase};
pub use model::Model;
pub use tagging::Tagger;
