//! Gradient steps on fast weights: what MAML and its relatives share.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::protonet::prototype_head;
use super::{Adapted, Net, Phase, pad_classes};
use crate::domain::{GradOrder, HeadInit};
use crate::meta::batch::Support;
use crate::nn::grad::{Graph, grad};
use crate::nn::norm::Statistics;
use crate::nn::{Params, Result, init, ops};

/// One inner loop over T support sets.
#[derive(Clone, Copy)]
pub(super) struct Inner<'a> {
    pub(super) net: &'a Net,
    pub(super) theta: &'a Params,
    pub(super) support: &'a Support,
    pub(super) phase: Phase,
    /// Whether gradients of the inner loop can be differentiated again. Nothing but training asks for it.
    pub(super) order: GradOrder,
}

/// θ's part of the head, for features of `width`.
pub(super) fn init_head(head_init: HeadInit, width: usize, rng: &mut ChaCha8Rng) -> Result<Params> {
    let outputs = match head_init {
        HeadInit::Learned { way } => way as i64,
        HeadInit::Shared {} => 1,
        HeadInit::Prototype {} => return Ok(Params::new()),
    };
    let mut head = Params::new();
    head.insert("head.weight", init::uniform(rng, &[outputs, width as i64], (width as f32).recip().sqrt())?);
    head.insert("head.bias", init::constant(&[outputs], 0.0)?);
    Ok(head)
}

/// Names of the fast weights of a whole network, and the shapes that a step size for each number of them has in θ: a
/// head that is not in θ has one for each feature.
pub(super) fn fast_shapes(backbone: &Params, head: &Params, width: usize) -> Vec<(String, Vec<i64>)> {
    let head_or = |name: &str, shape: Vec<i64>| (name.to_owned(), head.get(name).map_or(shape, Tensor::size));
    let backbone = backbone.iter().map(|(name, tensor)| (name.to_owned(), tensor.size()));
    backbone.chain([head_or("head.weight", vec![1, width as i64]), head_or("head.bias", vec![1])]).collect()
}

impl Inner<'_> {
    /// θ's backbone as T sets of fast weights, and the head's initial value for each task's classes.
    pub(super) fn spread(&self, head_init: HeadInit) -> Result<Params> {
        let backbone = self.theta.filtered(|name| name.starts_with("backbone."));
        let mut fast = backbone.map(|_, tensor| self.each(tensor))?;
        // From θ and not from its copies: the first inner gradient must see the head as a variable of its own, as later
        // ones do, while the outer gradient goes through it.
        let features = match head_init {
            HeadInit::Prototype {} => {
                Some(self.net.features(self.theta, &self.support.x, self.own_statistics(false))?.0)
            }
            HeadInit::Learned { .. } | HeadInit::Shared {} => None,
        };
        fast.extend(self.head(head_init, features.as_ref())?);
        self.fresh(fast)
    }

    /// The head's initial value for each task's classes, `[T, N, D]` and `[T, N]`; `features` `[T, S, D]` for prototypes.
    pub(super) fn head(&self, head_init: HeadInit, features: Option<&Tensor>) -> Result<Params> {
        let (theta, tasks, support) = (self.theta, self.support.tasks(), self.support);
        let (weight, bias) = match (head_init, features) {
            (HeadInit::Prototype {}, Some(features)) => {
                let shares = support.one_hot()?.f_mul(&support.counts().f_unsqueeze(-1)?)?;
                prototype_head(features, &shares)?
            }
            (HeadInit::Shared {}, _) => {
                let (weight, bias) = (theta.get("head.weight")?, theta.get("head.bias")?); // [1, D], [1]
                let width = weight.size()[1];
                (
                    weight.f_unsqueeze(0)?.f_expand([tasks, support.width(), width], false)?,
                    bias.f_unsqueeze(0)?.f_expand([tasks, support.width()], false)?,
                )
            }
            (HeadInit::Learned { .. } | HeadInit::Prototype {}, _) => {
                (self.each(theta.get("head.weight")?)?, self.each(theta.get("head.bias")?)?)
            }
        };
        let mut head = Params::new();
        head.insert("head.weight", weight);
        head.insert("head.bias", pad_classes(&bias, support)?);
        Ok(head)
    }

    /// A parameter of θ, once for each task.
    pub(super) fn each(&self, tensor: &Tensor) -> Result<Tensor> {
        let mut shape = tensor.size();
        shape.insert(0, self.support.tasks());
        Ok(tensor.f_unsqueeze(0)?.f_expand(&shape, false)?)
    }

    /// `∇L_S` at `fast`, whose names stand for θ's in the network. Pure: nothing is written.
    pub(super) fn gradient(&self, fast: &Params) -> Result<Params> {
        self.gradient_of(fast, &self.support_loss(fast)?)
    }

    /// `∇ loss` with respect to `fast`.
    pub(super) fn gradient_of(&self, fast: &Params, loss: &Tensor) -> Result<Params> {
        let through = self.phase == Phase::Train && self.order == GradOrder::Second;
        grad(loss, fast, if through { Graph::Create } else { Graph::Free })
    }

    /// `θ_{k+1} = θ_k − step`.
    pub(super) fn stepped(&self, fast: &Params, steps: &Params) -> Result<Params> {
        self.fresh(fast.zip_with(steps, |p, step| Ok(p.f_sub(step)?))?)
    }

    /// Gradient steps of one size on everything in `fast`.
    pub(super) fn descend(&self, mut fast: Params, steps: u32, inner_lr: f64) -> Result<Params> {
        for _ in 0..steps {
            let step = self.gradient(&fast)?.map(|_, g| Ok(g.f_mul_scalar(inner_lr)?))?;
            fast = self.stepped(&fast, &step)?;
        }
        Ok(fast)
    }

    /// Fast weights as an adapter, with the support set's statistics under them.
    pub(super) fn finish(&self, fast: &Params) -> Result<Adapted> {
        let statistics = if self.net.backbone.norm_layers().is_empty() || self.phase == Phase::Transductive {
            Params::new()
        } else {
            self.net.features(&self.theta.overlaid(fast), &self.support.x, self.own_statistics(true))?.1
        };
        let tensors = fast.overlaid(&statistics);
        let tensors = if self.phase == Phase::Train { tensors } else { tensors.detached()? };
        Ok(Adapted { tensors, batch_statistics: Params::new() })
    }

    /// Sum over tasks of the mean loss of each.
    pub(super) fn support_loss(&self, fast: &Params) -> Result<Tensor> {
        let params = self.theta.overlaid(fast);
        let (features, _) = self.net.features(&params, &self.support.x, self.own_statistics(false))?;
        self.loss_of(&features, &params)
    }

    /// The same, of features that are known.
    pub(super) fn loss_of(&self, features: &Tensor, params: &Params) -> Result<Tensor> {
        let outputs = ops::linear(features, &params.scope("head"))?;
        Ok(self.support.targets.loss(&outputs, self.support.counts())?.f_sum(Dtype::Float)?)
    }

    /// Connected to θ while training; leaves of a graph of their own when serving.
    pub(super) fn fresh(&self, fast: Params) -> Result<Params> {
        if self.phase == Phase::Train { Ok(fast) } else { fast.leaves() }
    }

    fn own_statistics(&self, keep: bool) -> Statistics<'_> {
        Statistics::PerTask { mask: self.support.padding(), keep }
    }
}
