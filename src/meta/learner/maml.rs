//! MAML (Finn et al. 2017, arXiv:1703.03400, algorithm 1): gradient steps from θ on the support loss.
//!
//! `θ_{k+1} = θ_k − α ∇L_S(θ_k)`, for all T tasks at once: θ is spread into T sets of fast weights, and the gradient of
//! the sum of their losses is each task's own. α applies to the *mean* loss; the authors' code sums over classes, so
//! their α times N is ours.
//!
//! First order (§5.2, FOMAML): inner gradients are constants, and `∂θ_K/∂θ = I`.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::protonet::prototype_head;
use super::{Adapted, Learner, Net, Phase, pad_classes};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::{StackedTargets, Support};
use crate::nn::grad::{Graph, grad};
use crate::nn::norm::Statistics;
use crate::nn::{Params, Result, init, loss, ops};

pub(super) struct Maml {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) order: GradOrder,
    pub(super) head_init: HeadInit,
}

impl Learner for Maml {
    fn init(&self, width: usize, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let outputs = match self.head_init {
            HeadInit::Learned { way } => way as i64,
            HeadInit::Shared {} => 1,
            HeadInit::Prototype {} => return Ok(Params::new()),
        };
        let mut head = Params::new();
        head.insert("head.weight", init::uniform(rng, &[outputs, width as i64], (width as f32).recip().sqrt())?);
        head.insert("head.bias", init::constant(&[outputs], 0.0)?);
        Ok(head)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let mut fast = self.spread(net, theta, support, phase)?;
        for _ in 0..steps.unwrap_or(self.inner_steps) {
            fast = self.inner_step(net, &fast, support, phase)?;
        }
        let statistics = if net.backbone.norm_layers().is_empty() || phase == Phase::Transductive {
            Params::new()
        } else {
            net.features(&fast, &support.x, own_statistics(support, true))?.1
        };
        let tensors = fast.overlaid(&statistics);
        let tensors = if phase == Phase::Train { tensors } else { tensors.detached()? };
        Ok(Adapted { tensors, batch_statistics: Params::new() })
    }

    fn leave_one_out(&self, _: &Net, _: &Params, _: &Support) -> Result<Option<Tensor>> {
        Ok(None) // one inner loop for each row: no closed form
    }
}

impl Maml {
    /// θ as T sets of fast weights, and the head's initial value for each task's classes.
    fn spread(&self, net: &Net, theta: &Params, support: &Support, phase: Phase) -> Result<Params> {
        let tasks = support.tasks();
        let each = |tensor: &Tensor| -> Result<Tensor> {
            let mut shape = tensor.size();
            shape.insert(0, tasks);
            Ok(tensor.f_unsqueeze(0)?.f_expand(&shape, false)?)
        };
        let backbone = theta.filtered(|name| name.starts_with("backbone.")).map(|_, tensor| each(tensor))?;
        let (weight, bias) = match self.head_init {
            HeadInit::Learned { .. } => (each(theta.get("head.weight")?)?, each(theta.get("head.bias")?)?),
            HeadInit::Shared {} => {
                let (weight, bias) = (theta.get("head.weight")?, theta.get("head.bias")?); // [1, D], [1]
                let width = weight.size()[1];
                (
                    weight.f_unsqueeze(0)?.f_expand([tasks, support.width(), width], false)?,
                    bias.f_unsqueeze(0)?.f_expand([tasks, support.width()], false)?,
                )
            }
            // From θ and not from its copies: the first inner gradient must see the head as a variable of its own, as
            // later ones do, while the outer gradient goes through it.
            HeadInit::Prototype {} => {
                prototype_head(&net.features(theta, &support.x, own_statistics(support, false))?.0, support)?
            }
        };
        let mut fast = backbone;
        fast.insert("head.weight", weight);
        fast.insert("head.bias", pad_classes(&bias, support)?);
        if phase == Phase::Train { Ok(fast) } else { fast.leaves() }
    }

    /// `θ_{k+1} = θ_k − α ∇L_S(θ_k)`. Pure: `fast` is read, never written.
    fn inner_step(&self, net: &Net, fast: &Params, support: &Support, phase: Phase) -> Result<Params> {
        let loss = support_loss(net, fast, support)?;
        let through = phase == Phase::Train && self.order == GradOrder::Second;
        let grads = grad(&loss, fast, if through { Graph::Create } else { Graph::Free })?;
        let stepped = fast.zip_with(&grads, |p, g| Ok(p.f_sub(&g.f_mul_scalar(self.inner_lr)?)?))?;
        if phase == Phase::Train { Ok(stepped) } else { stepped.leaves() }
    }
}

/// Sum over tasks of the mean loss of each.
fn support_loss(net: &Net, fast: &Params, support: &Support) -> Result<Tensor> {
    let (features, _) = net.features(fast, &support.x, own_statistics(support, false))?;
    let outputs = ops::linear(&features, &fast.scope("head"))?;
    let losses = match &support.targets {
        StackedTargets::Labels(labels) => loss::cross_entropy(&outputs, labels, &support.mask)?,
        StackedTargets::Values(values) => loss::squared_error(&outputs, values, &support.mask)?,
    };
    Ok(losses.f_sum(Dtype::Float)?)
}

fn own_statistics(support: &Support, keep: bool) -> Statistics<'_> {
    Statistics::PerTask { mask: support.padding(), keep }
}
