//! Meta-SGD (Li et al. 2017, arXiv:1707.09835, algorithm 1): MAML whose step size is a vector, learned with θ.
//!
//! `θ_{k+1} = θ_k − α ∘ ∇L_S(θ_k)` with one α for each number of θ (eq. 3): direction and rate of adaptation are both
//! learned. The head of a task with other classes than θ's shares the rates of one class.

use rand_chacha::ChaCha8Rng;

use super::inner::{Inner, fast_shapes, init_head};
use super::{Adapted, Learner, Net, Phase};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::Support;
use crate::nn::{Params, Result, init};

pub(super) struct MetaSgd {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) order: GradOrder,
    pub(super) head_init: HeadInit,
}

impl Learner for MetaSgd {
    fn init(&self, net: &Net, backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let width = net.backbone.width();
        let mut params = init_head(self.head_init, width, rng)?;
        for (name, shape) in fast_shapes(backbone, &params, width) {
            #[expect(clippy::cast_possible_truncation, reason = "θ is 32-bit")]
            params.insert(format!("rate.{name}"), init::constant(&shape, self.inner_lr as f32)?);
        }
        Ok(params)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: self.order };
        let rates = theta.stripped("rate.");
        let mut fast = inner.spread(self.head_init)?;
        for _ in 0..steps.unwrap_or(self.inner_steps) {
            // A rate has the shape of its parameter and no T: it is each task's.
            fast = inner.stepped(&fast, &inner.gradient(&fast)?.zip_with(&rates, |g, rate| Ok(g.f_mul(rate)?))?)?;
        }
        inner.finish(&fast)
    }
}
