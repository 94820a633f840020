//! Plain training, then gradient steps on everything: what one would do without meta-learning, and what every learner here
//! has to beat (the *baseline* of Chen et al. 2019, arXiv:1904.04232, §3.2, with the whole network fine-tuned).
//!
//! The outer loop learns to classify: query loss of θ itself, no inner step. Classes must keep their numbers from episode
//! to episode. Serving takes MAML's inner loop from there.

use rand_chacha::ChaCha8Rng;
use tch::Kind as Dtype;

use super::maml::Maml;
use super::{Adapted, Learner, Lesson, Net, Phase, predict};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::{Query, Support};
use crate::nn::{Params, Result};

pub(super) struct FineTune(Maml);

impl FineTune {
    pub(super) fn new(inner_steps: u32, inner_lr: f64, way: usize) -> Self {
        Self(Maml { inner_steps, inner_lr, order: GradOrder::First, head_init: HeadInit::Learned { way } })
    }
}

impl Learner for FineTune {
    fn init(&self, net: &Net, backbone: &Params, kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        self.0.init(net, backbone, kind, rng)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        self.0.adapt(net, theta, support, steps, phase)
    }

    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, _progress: f64) -> Result<Lesson> {
        let unadapted = self.adapt(net, theta, support, Some(0), Phase::Train)?;
        let (outputs, _) = predict(net, theta, &unadapted.tensors, &query.x, query.padding(), Phase::Train)?;
        let loss = query.targets.loss(&outputs, &query.mask)?.f_mean(Dtype::Float)?;
        Ok(Lesson { loss, outputs, batch_statistics: Vec::new(), gradient: None })
    }
}
