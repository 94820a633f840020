//! Reptile (Nichol et al. 2018, arXiv:1803.02999, algorithm 2): move θ towards where the inner loop ends.
//!
//! The outer gradient is `(θ − θ_K) / α`, averaged over tasks (§3); nothing is differentiated through. Successive inner
//! steps of training see different rows, as §5.1 asks for: support and query rows by turns. Serving is plain MAML.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::inner::{Inner, init_head};
use super::{Adapted, Learner, Lesson, Net, Phase, predict};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::{Query, Support};
use crate::nn::{Params, Result};

pub(super) struct Reptile {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) head_init: HeadInit,
}

impl Learner for Reptile {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        init_head(self.head_init, net.backbone.width(), rng)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: GradOrder::First };
        let fast = inner.spread(self.head_init)?;
        inner.finish(&inner.descend(fast, steps.unwrap_or(self.inner_steps), self.inner_lr)?)
    }

    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, _progress: f64) -> Result<Lesson> {
        // θ as constants: the direction is a difference, and a graph of it would be kept for nothing.
        let start = theta.detached()?;
        let on_query = query.as_support(support);
        let part = |rows| Inner { net, theta: &start, support: rows, phase: Phase::Serve, order: GradOrder::First };
        let mut fast = part(support).spread(self.head_init)?;
        for step in 0..self.inner_steps {
            let rows = if step % 2 == 0 { support } else { &on_query };
            fast = part(rows).descend(fast, 1, self.inner_lr)?;
        }
        let adapted = self.adapt(net, &start, support, None, Phase::Serve)?;
        let (outputs, _) = predict(net, &start, &adapted.tensors, &query.x, query.padding(), Phase::Serve)?;
        let loss = query.targets.loss(&outputs, &query.mask)?.f_mean(Dtype::Float)?;
        let gradient = start
            .filtered(|name| !name.starts_with("stats."))
            .map(|name, tensor| self.direction(name, tensor, fast.get(name)?, support))?;
        Ok(Lesson { loss, outputs, batch_statistics: Vec::new(), gradient: Some(gradient) })
    }
}

impl Reptile {
    /// `(θ − mean of θ_K) / α`, of one parameter. A vector that is copied to each class moves to the mean of its copies.
    fn direction(&self, name: &str, theta: &Tensor, fast: &Tensor, support: &Support) -> Result<Tensor> {
        let fast = fast.f_detach()?;
        let mean = if name.starts_with("head.") && matches!(self.head_init, HeadInit::Shared {}) {
            let classes = support.class_mask()?; // [T, N]
            let count = classes.f_sum(Dtype::Float)?;
            let classes = if fast.dim() == 3 { classes.f_unsqueeze(-1)? } else { classes };
            // A padded class has a bias of −∞ that no mask could multiply away.
            let counted = fast.f_where_self(&classes.f_gt(0.0)?, &Tensor::from(0f32).f_to_device(fast.device())?)?;
            counted.f_sum_dim_intlist([0i64, 1].as_slice(), false, Dtype::Float)?.f_div(&count)?.f_unsqueeze(0)?
        } else {
            fast.f_mean_dim([0i64].as_slice(), false, Dtype::Float)?
        };
        Ok(theta.f_sub(&mean)?.f_div_scalar(self.inner_lr)?)
    }
}
