//! MAML (Finn et al. 2017, arXiv:1703.03400, algorithm 1): gradient steps from θ on the support loss.
//!
//! `θ_{k+1} = θ_k − α ∇L_S(θ_k)`, for all T tasks at once: θ is spread into T sets of fast weights, and the gradient of
//! the sum of their losses is each task's own. α applies to the *mean* loss; the authors' code sums over classes, so
//! their α times N is ours.
//!
//! First order (§5.2, FOMAML): inner gradients are constants, and `∂θ_K/∂θ = I`. With the class means of the support set
//! as the head's initial value this is Proto-MAML (Triantafillou et al. 2020, arXiv:1903.03096, §3).

use rand_chacha::ChaCha8Rng;

use super::inner::{Inner, init_head};
use super::{Adapted, Learner, Net, Phase};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::Support;
use crate::nn::{Params, Result};

pub(super) struct Maml {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) order: GradOrder,
    pub(super) head_init: HeadInit,
}

impl Learner for Maml {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        init_head(self.head_init, net.backbone.width(), rng)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: self.order };
        let fast = inner.spread(self.head_init)?;
        inner.finish(&inner.descend(fast, steps.unwrap_or(self.inner_steps), self.inner_lr)?)
    }
}
