//! Learners: from θ and a support set to an adapter.
//!
//! | learner | adapter | adapts by |
//! |---|---|---|
//! | [`maml`] | every parameter θ′ | gradient steps |
//! | [`meta_sgd`] | every parameter | gradient steps, a learned rate for each number |
//! | [`maml_plus_plus`] | every parameter | gradient steps, a learned rate for each layer and step |
//! | [`reptile`] | every parameter | gradient steps; trained without differentiating through them |
//! | [`learned_optimizer`] | every parameter | steps that an LSTM says |
//! | [`anil`] | head only | gradient steps |
//! | [`cavia`] | one layer's offset or scale | gradient steps on a few context parameters |
//! | [`fine_tune`] | every parameter | gradient steps; trained without any |
//! | [`experts`] | what its learner's holds, and a number | choosing between several θ, then as its learner does |
//! | [`protonet`] | head only | class means |
//! | [`r2d2`] | head only | ridge regression |
//! | [`known_ridge`] | head only | ridge regression towards a learned head |
//! | [`logistic`] | head only | logistic regression, from class means and names on |
//! | [`prior_ridge`] | head only | ridge regression from a learned preference on; for ranking |
//!
//! # Adding a learner
//! 1. A file here with `impl Learner`.
//! 2. A variant in [`LearnerConfig`]; the `match` in [`build`] does not compile until it has an arm.
//! 3. A line in the conformance table, `tests/maths/conformance.rs`: shapes, determinism, θ unchanged, any way and uneven
//!    shots, stacked equals single.

mod anil;
mod cavia;
mod closed_form;
mod descent;
mod experts;
mod fine_tune;
mod inner;
mod known_ridge;
mod learned_optimizer;
mod logistic;
mod maml;
mod maml_plus_plus;
mod meta_sgd;
mod prior_ridge;
mod protonet;
mod r2d2;
mod reptile;

pub use descent::{Steps, descent};
pub(super) use experts::side_by_side;
pub(super) use logistic::Refits;
use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::backbone::Backbone;
use super::batch::{Query, Support};
use crate::domain::{Kind, LearnerConfig, Norm};
use crate::nn::norm::{Normalizer, Statistics};
use crate::nn::{Params, Result, ops};

/// Most folds of a closed form. Of a class with more examples those that are over are left out alone: one of so many is
/// no matter.
pub(in crate::meta) const MOST_FOLDS: usize = 32;

/// What the computation is for, which decides about graphs and about normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The outer loop: results stay connected to θ; shared normalisation takes the batch's statistics.
    Train,
    /// Inductive: no graph leaves, and no query row touches another one's answer.
    Serve,
    /// As many papers measure MAML: every batch, the query too, is normalised by its own statistics. Never served.
    Transductive,
}

/// A backbone and where its normalisation takes statistics from.
pub struct Net {
    /// From input to features.
    pub backbone: Box<dyn Backbone>,
    /// Of the normalisation layers, if there are any.
    pub norm: Norm,
}

impl Net {
    /// Features `[T, B, D]` and the statistics that were computed on the way, as `stats.<layer>.mean` and `.var`.
    pub fn features(&self, params: &Params, x: &Tensor, statistics: Statistics<'_>) -> Result<(Tensor, Params)> {
        let mut norm = Normalizer::new(statistics);
        let features = self.backbone.features(&params.scope("backbone"), x, &mut norm)?;
        let computed = norm.into_computed().into_iter().map(|(name, tensor)| (format!("stats.{name}"), tensor));
        Ok((features, computed.collect()))
    }

    /// Features of a support set: by running statistics where the backbone keeps them, else by the set's own.
    fn support_features(&self, theta: &Params, support: &Support, phase: Phase) -> Result<(Tensor, Params)> {
        let own = Statistics::PerTask { mask: support.padding(), keep: true };
        match (self.norm, phase) {
            (Norm::Support, _) | (Norm::Running, Phase::Transductive) => self.features(theta, &support.x, own),
            (Norm::Running, Phase::Train) => {
                self.features(theta, &support.x, Statistics::Batch { mask: support.padding() })
            }
            (Norm::Running, Phase::Serve) => {
                self.features(theta, &support.x, Statistics::Fixed(&theta.stripped("stats.")))
            }
        }
    }

    /// Features of rows that are not adapted on: by the statistics among `params`, but for the phases that say otherwise.
    fn query_features(
        &self,
        params: &Params,
        x: &Tensor,
        mask: Option<&Tensor>,
        phase: Phase,
    ) -> Result<(Tensor, Params)> {
        match (phase, self.norm) {
            (Phase::Transductive, _) => self.features(params, x, Statistics::PerTask { mask, keep: false }),
            (Phase::Train, Norm::Running) => self.features(params, x, Statistics::Batch { mask }),
            (Phase::Train, Norm::Support) | (Phase::Serve, _) => {
                self.features(params, x, Statistics::Fixed(&params.stripped("stats.")))
            }
        }
    }
}

/// What a learner leaves behind for T support sets: tensors with a leading T that take the place of θ's.
///
/// `head.weight` `[T, N, D]` and `head.bias` `[T, N]` from all learners but those whose tasks share a head; `stats.*` if
/// the support set's statistics are to be used; `expert` `[T]` if θ is several; every other parameter only from learners that adapt it. Padded classes
/// have a bias of −∞.
pub struct Adapted {
    /// By θ's names.
    pub tensors: Params,
    /// Statistics of the batch, for θ's running averages; nothing that an adapter keeps.
    pub batch_statistics: Params,
}

impl Adapted {
    /// A head and, where the support set normalises, its statistics.
    fn head_only(net: &Net, head: &Params, statistics: Params) -> Self {
        match net.norm {
            Norm::Support => Self { tensors: head.overlaid(&statistics), batch_statistics: Params::new() },
            Norm::Running => Self { tensors: head.shallow_clone(), batch_statistics: statistics },
        }
    }
}

/// What support rows are given without themselves.
pub struct HeldOut {
    /// `[T, S, N]`.
    pub outputs: Tensor,
    /// Most folds that there may have been: a class with more examples had several of them held out at a time.
    pub folds: usize,
}

/// What one outer step learns from.
pub struct Lesson {
    /// Mean query loss, a scalar.
    pub loss: Tensor,
    /// Outputs for the query rows after the inner loop, `[T, Q, N]`.
    pub outputs: Tensor,
    /// Statistics of the batches that were normalised by their own, in order, for θ's running averages.
    pub batch_statistics: Vec<Params>,
    /// The outer gradient, by the names of all that θ learns, where it is not that of `loss`.
    pub gradient: Option<Params>,
}

/// An algorithm that adapts. It keeps no state: everything is in the arguments and in the result.
pub trait Learner: Send + Sync {
    /// Fresh parameters besides those of the `backbone` (`backbone.…`), for tasks of `kind`: the head, `head.…`, and
    /// whatever else is learned with θ.
    fn init(&self, net: &Net, backbone: &Params, kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params>;

    /// Adapts to T support sets. Reads `theta`, returns new values.
    ///
    /// `steps`: inner steps, if the learner takes any; its own number by default.
    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted>;

    /// Outputs for support rows, each from an adaptation without it and without the rows that are held out with
    /// it (see [`folds`](crate::meta::folds)), where the learner has them in closed form. Gradient steps have none: that
    /// is one inner loop for each fold ([`Model::held_out`](crate::meta::Model::held_out)).
    fn held_out(&self, _net: &Net, _theta: &Params, _support: &Support) -> Result<Option<HeldOut>> {
        Ok(None)
    }

    /// What θ learns from T episodes: by default the query loss after the inner loop.
    ///
    /// `progress`: share of the outer steps that are taken, 0..1.
    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, _progress: f64) -> Result<Lesson> {
        let adapted = self.adapt(net, theta, support, None, Phase::Train)?;
        let (outputs, statistics) = predict(net, theta, &adapted.tensors, &query.x, query.padding(), Phase::Train)?;
        let loss = query.targets.loss(&outputs, &query.mask)?.f_mean(Dtype::Float)?;
        Ok(Lesson { loss, outputs, batch_statistics: vec![adapted.batch_statistics, statistics], gradient: None })
    }
}

/// Outputs `[T, Q, N]` for query rows `x` `[T, Q, …]`: one function for all learners.
///
/// `mask` `[T, Q]`, if any row is padding, matters to the phases that normalise by query rows: all but [`Phase::Serve`].
pub fn predict(
    net: &Net,
    theta: &Params,
    adapted: &Params,
    x: &Tensor,
    mask: Option<&Tensor>,
    phase: Phase,
) -> Result<(Tensor, Params)> {
    let params = experts::chosen(theta, adapted)?.overlaid(adapted);
    let (features, computed) = net.query_features(&params, x, mask, phase)?;
    Ok((ops::linear(&features, &params.scope("head"))?, computed))
}

/// Adds −∞ to the bias of classes that a task does not have.
fn pad_classes(bias: &Tensor, support: &Support) -> Result<Tensor> {
    Ok(match support.class_padding()? {
        Some(padding) => bias.f_add(&padding)?,
        None => bias.shallow_clone(),
    })
}

/// Adds −∞ to scores `[T, B, N]` of classes that a task does not have.
fn pad_scores(scores: &Tensor, support: &Support) -> Result<Tensor> {
    Ok(match support.class_padding()? {
        Some(padding) => scores.f_add(&padding.f_unsqueeze(1)?)?,
        None => scores.shallow_clone(),
    })
}

/// The one place where a learner's name becomes a learner; a reason, if it is none of rows.
pub fn build(config: &LearnerConfig) -> Result<Box<dyn Learner>, String> {
    Ok(match *config {
        LearnerConfig::Maml { inner_steps, inner_lr, order, head_init } => {
            Box::new(maml::Maml { inner_steps, inner_lr, order, head_init })
        }
        LearnerConfig::Anil { inner_steps, inner_lr, order, head_init } => {
            Box::new(anil::Anil { inner_steps, inner_lr, order, head_init })
        }
        LearnerConfig::MetaSgd { inner_steps, inner_lr, order, head_init } => {
            Box::new(meta_sgd::MetaSgd { inner_steps, inner_lr, order, head_init })
        }
        LearnerConfig::MamlPlusPlus { inner_steps, inner_lr, multi_step, first_order, head_init } => {
            Box::new(maml_plus_plus::MamlPlusPlus { inner_steps, inner_lr, multi_step, first_order, head_init })
        }
        LearnerConfig::Reptile { inner_steps, inner_lr, head_init } => {
            Box::new(reptile::Reptile { inner_steps, inner_lr, head_init })
        }
        LearnerConfig::Cavia { inner_steps, inner_lr, order, contexts, way } => {
            Box::new(cavia::Cavia { inner_steps, inner_lr, order, contexts, way })
        }
        LearnerConfig::LearnedOptimizer { inner_steps, hidden, head_init } => {
            Box::new(learned_optimizer::LearnedOptimizer { inner_steps, hidden, head_init })
        }
        LearnerConfig::FineTune { inner_steps, inner_lr, way } => {
            Box::new(fine_tune::FineTune::new(inner_steps, inner_lr, way))
        }
        LearnerConfig::Experts { experts, ref of } => Box::new(experts::Experts { experts, of: build(of)? }),
        LearnerConfig::Protonet {} => Box::new(protonet::Protonet),
        LearnerConfig::R2d2 {} => Box::new(r2d2::R2d2),
        LearnerConfig::KnownRidge { ref classes } => Box::new(known_ridge::KnownRidge { classes: classes.len() }),
        LearnerConfig::Logistic { steps } => Box::new(logistic::Logistic { steps }),
        LearnerConfig::PriorRidge {} => Box::new(prior_ridge::PriorRidge),
        LearnerConfig::Tagger { .. } => return Err("a tagger learns from sentences, not from rows".to_owned()),
    })
}
