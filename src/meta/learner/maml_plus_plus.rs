//! MAML++ (Antoniou et al. 2019, arXiv:1810.09502): what makes MAML train well.
//!
//! * a learned step size for each parameter tensor and step (§4, LSLR);
//! * the query loss after every step, its weight moving to the last one's (§4, MSL, eq. 4);
//! * constant inner gradients at first, second order after that (§4, DA).
//!
//! Its cosine schedule is the outer loop's own (`final_lr`). Statistics by step (§4, BNRS) need nothing here: each step
//! normalises by its own. Biases of the normalisation by step (BNWB) are left out, since an adapter serves any number of
//! steps.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::inner::{Inner, fast_shapes, init_head};
use super::{Adapted, Learner, Lesson, Net, Phase, predict};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::{Query, Support};
use crate::nn::{Params, Result, init};

pub(super) struct MamlPlusPlus {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) multi_step: f64,
    pub(super) first_order: f64,
    pub(super) head_init: HeadInit,
}

impl MamlPlusPlus {
    /// Steps from θ; `after` sees the fast weights after each, counted from 0.
    fn descend(
        &self,
        inner: Inner<'_>,
        steps: u32,
        mut after: impl FnMut(u32, &Params) -> Result<()>,
    ) -> Result<Params> {
        let rates = inner.theta.stripped("rate.");
        let mut fast = inner.spread(self.head_init)?;
        for step in 0..steps {
            // Steps that were not trained go on with the last one's rate.
            let known = i64::from(step.min(self.inner_steps.saturating_sub(1)));
            let scaled = |g: &Tensor, rate: &Tensor| Ok(g.f_mul(&rate.f_select(0, known)?)?);
            fast = inner.stepped(&fast, &inner.gradient(&fast)?.zip_with(&rates, scaled)?)?;
            after(step, &fast)?;
        }
        Ok(fast)
    }

    /// Weight of the loss after `step`, at `progress` 0..1 through meta-training: equal at first, the last one's alone
    /// in the end. They sum to 1.
    fn weight(&self, step: u32, progress: f64) -> f64 {
        let share = (1.0 - progress / self.multi_step.max(f64::EPSILON)).clamp(0.0, 1.0);
        let equal = share / f64::from(self.inner_steps);
        if step + 1 == self.inner_steps { 1.0 - equal * f64::from(self.inner_steps - 1) } else { equal }
    }
}

impl Learner for MamlPlusPlus {
    fn init(&self, net: &Net, backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let width = net.backbone.width();
        let mut params = init_head(self.head_init, width, rng)?;
        for (name, _) in fast_shapes(backbone, &params, width) {
            #[expect(clippy::cast_possible_truncation, reason = "θ is 32-bit")]
            params
                .insert(format!("rate.{name}"), init::constant(&[i64::from(self.inner_steps)], self.inner_lr as f32)?);
        }
        Ok(params)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: GradOrder::Second };
        inner.finish(&self.descend(inner, steps.unwrap_or(self.inner_steps), |_, _| Ok(()))?)
    }

    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, progress: f64) -> Result<Lesson> {
        let order = if progress < self.first_order { GradOrder::First } else { GradOrder::Second };
        let inner = Inner { net, theta, support, phase: Phase::Train, order };
        let (mut weighted, mut last) = (Tensor::from(0f32).f_to_device(support.mask.device())?, None);
        self.descend(inner, self.inner_steps, |step, fast| {
            let weight = self.weight(step, progress);
            if weight > 0.0 {
                let adapted = inner.finish(fast)?;
                let (outputs, _) = predict(net, theta, &adapted.tensors, &query.x, query.padding(), Phase::Train)?;
                let loss = query.targets.loss(&outputs, &query.mask)?.f_mean(Dtype::Float)?;
                weighted = weighted.f_add(&loss.f_mul_scalar(weight)?)?;
                last = Some(outputs);
            }
            Ok(())
        })?;
        let outputs = last.expect("the last step's loss always counts, and there is a step");
        Ok(Lesson { loss: weighted, outputs, batch_statistics: Vec::new(), gradient: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_the_steps_losses_sum_to_one_and_move_to_the_last_step() {
        let learner = MamlPlusPlus {
            inner_steps: 5,
            inner_lr: 0.1,
            multi_step: 0.2,
            first_order: 0.0,
            head_init: HeadInit::Shared {},
        };
        for progress in [0.0, 0.1, 0.2, 1.0] {
            let weights: Vec<f64> = (0..5).map(|step| learner.weight(step, progress)).collect();
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{weights:?}");
        }
        assert!((learner.weight(0, 0.0) - 0.2).abs() < 1e-12);
        assert_eq!((learner.weight(0, 0.2), learner.weight(4, 0.2)), (0.0, 1.0));
    }
}
