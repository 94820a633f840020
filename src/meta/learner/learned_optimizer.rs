//! A learned optimizer (Andrychowicz et al. 2016, arXiv:1606.04474): a small LSTM that is given each coordinate's
//! gradient and says its step.
//!
//! `θ_{k+1} = θ_k + 0.1 g_k`, `[g_k, h_{k+1}] = m(∇_k, h_k)` (eq. 3) with the same m and a state of its own for each
//! coordinate (§2.1). Gradients are given as logarithm and sign (appendix A), and are constants to the outer loop (§2).
//! The outer loss is the mean of the query losses after all steps, as the paper's is over the trajectory.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::inner::{Inner, init_head};
use super::{Adapted, Learner, Lesson, Net, Phase, predict};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::{Query, Support};
use crate::nn::{Params, Result, init};

/// Layers of the LSTM.
const LAYERS: usize = 2;
/// What its output is multiplied with.
const STEP: f64 = 0.1;
/// Gradients below e⁻ᵖ are given as they are, times eᵖ.
const P: f64 = 10.0;

pub(super) struct LearnedOptimizer {
    pub(super) inner_steps: u32,
    pub(super) hidden: usize,
    pub(super) head_init: HeadInit,
}

/// Hidden and cell state of each layer, `[M, hidden]` for M coordinates.
type State = Vec<(Tensor, Tensor)>;

impl LearnedOptimizer {
    /// Steps from θ; `after` sees the fast weights after each.
    fn descend(&self, inner: Inner<'_>, steps: u32, mut after: impl FnMut(&Params) -> Result<()>) -> Result<Params> {
        let mut fast = inner.spread(self.head_init)?;
        let coordinates: i64 = fast.tensors().map(|tensor| tensor.numel() as i64).sum();
        let zeros = || Tensor::f_zeros([coordinates, self.hidden as i64], (Dtype::Float, inner.support.mask.device()));
        let mut state: State = (0..LAYERS).map(|_| Ok((zeros()?, zeros()?))).collect::<Result<_, tch::TchError>>()?;
        for _ in 0..steps {
            let gradient = inner.gradient(&fast)?;
            let flat: Vec<Tensor> =
                gradient.tensors().map(|tensor| tensor.f_detach()?.f_reshape([-1])).collect::<Result<_, _>>()?;
            let quiet = (inner.phase != Phase::Train).then(tch::no_grad_guard);
            let (update, next) = Self::say(inner.theta, &Tensor::f_cat(&flat, 0)?, &state)?; // [M]
            state = next;
            drop(quiet);
            let mut from = 0;
            let step = gradient.map(|_, tensor| {
                let count = tensor.numel() as i64;
                let part = update.f_narrow(0, from, count)?.f_reshape(tensor.size())?;
                from += count;
                Ok(part.f_mul_scalar(-STEP)?)
            })?;
            fast = inner.stepped(&fast, &step)?;
            after(&fast)?;
        }
        Ok(fast)
    }

    /// The output `[M]` for gradients `[M]`, and the next state.
    fn say(theta: &Params, gradient: &Tensor, state: &State) -> Result<(Tensor, State)> {
        let mut x = preprocessed(gradient)?; // [M, 2], then [M, hidden]
        let mut next = Vec::with_capacity(LAYERS);
        for (layer, (hidden, cell)) in state.iter().enumerate() {
            let part = |name: &str| theta.get(&format!("optimizer.lstm{layer}.{name}"));
            let gates = x
                .f_matmul(&part("weight_ih")?.f_transpose(0, 1)?)?
                .f_add(&hidden.f_matmul(&part("weight_hh")?.f_transpose(0, 1)?)?)?
                .f_add(part("bias")?)?
                .f_chunk(4, 1)?; // input, forget, cell, output: [M, hidden] each
            let cell = gates[1].f_sigmoid()?.f_mul(cell)?.f_add(&gates[0].f_sigmoid()?.f_mul(&gates[2].f_tanh()?)?)?;
            let hidden = gates[3].f_sigmoid()?.f_mul(&cell.f_tanh()?)?;
            x = hidden.shallow_clone();
            next.push((hidden, cell));
        }
        let out = x.f_matmul(&theta.get("optimizer.out.weight")?.f_transpose(0, 1)?)?.f_squeeze_dim(1)?;
        Ok((out, next))
    }
}

/// Logarithm and sign of each gradient (appendix A), `[M, 2]`.
fn preprocessed(gradient: &Tensor) -> Result<Tensor> {
    let size = gradient.f_abs()?;
    let is_large = size.f_ge((-P).exp())?;
    let log = size.f_clamp_min((-P).exp())?.f_log()?.f_div_scalar(P)?;
    let minus_one = Tensor::from(-1f32).f_to_device(gradient.device())?;
    let first = log.f_where_self(&is_large, &minus_one)?;
    let second = gradient.f_sign()?.f_where_self(&is_large, &gradient.f_mul_scalar(P.exp())?)?;
    Ok(Tensor::f_stack(&[first, second], 1)?)
}

impl Learner for LearnedOptimizer {
    fn init(&self, net: &Net, _backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut params = init_head(self.head_init, net.backbone.width(), rng)?;
        let hidden = self.hidden as i64;
        let bound = (self.hidden as f32).recip().sqrt();
        for layer in 0..LAYERS {
            let inputs = if layer == 0 { 2 } else { hidden };
            let mut insert = |name: &str, shape: &[i64]| -> Result<()> {
                params.insert(format!("optimizer.lstm{layer}.{name}"), init::uniform(rng, shape, bound)?);
                Ok(())
            };
            insert("weight_ih", &[4 * hidden, inputs])?;
            insert("weight_hh", &[4 * hidden, hidden])?;
            insert("bias", &[4 * hidden])?;
        }
        // Small, so that the first steps are.
        params.insert("optimizer.out.weight", init::uniform(rng, &[1, hidden], 0.1 * bound)?);
        Ok(params)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: GradOrder::First };
        inner.finish(&self.descend(inner, steps.unwrap_or(self.inner_steps), |_| Ok(()))?)
    }

    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, _progress: f64) -> Result<Lesson> {
        let inner = Inner { net, theta, support, phase: Phase::Train, order: GradOrder::First };
        let (mut losses, mut last) = (Vec::new(), None);
        self.descend(inner, self.inner_steps, |fast| {
            let adapted = inner.finish(fast)?;
            let (outputs, _) = predict(net, theta, &adapted.tensors, &query.x, query.padding(), Phase::Train)?;
            losses.push(query.targets.loss(&outputs, &query.mask)?.f_mean(Dtype::Float)?);
            last = Some(outputs);
            Ok(())
        })?;
        let outputs = last.expect("there is an inner step");
        Ok(Lesson {
            loss: Tensor::f_stack(&losses, 0)?.f_mean(Dtype::Float)?,
            outputs,
            batch_statistics: Vec::new(),
            gradient: None,
        })
    }
}
