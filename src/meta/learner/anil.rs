//! ANIL (Raghu et al. 2020, arXiv:1909.09157, §4): MAML's inner loop on the head alone.
//!
//! Features do not change in the inner loop, so they are computed once: adaptation costs one forward pass and a few
//! steps of a linear model, and the adapter is a head.

use rand_chacha::ChaCha8Rng;

use super::inner::{Inner, init_head};
use super::{Adapted, Learner, Net, Phase};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::Support;
use crate::nn::{Params, Result};

pub(super) struct Anil {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) order: GradOrder,
    pub(super) head_init: HeadInit,
}

impl Learner for Anil {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        init_head(self.head_init, net.backbone.width(), rng)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: self.order };
        let (features, statistics) = net.support_features(theta, support, phase)?; // [T, S, D]
        let mut head = inner.fresh(inner.head(self.head_init, Some(&features))?)?;
        for _ in 0..steps.unwrap_or(self.inner_steps) {
            let gradient = inner.gradient_of(&head, &inner.loss_of(&features, &head)?)?;
            head = inner.stepped(&head, &gradient.map(|_, g| Ok(g.f_mul_scalar(self.inner_lr)?))?)?;
        }
        let head = if phase == Phase::Train { head } else { head.detached()? };
        Ok(Adapted::head_only(net, &head, statistics))
    }
}
