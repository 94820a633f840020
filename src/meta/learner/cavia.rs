//! CAVIA (Zintgraf et al. 2019, arXiv:1810.03642): a few context parameters φ are adapted, and nothing else.
//!
//! φ starts at 0 (§3.1) and takes gradient steps on the support loss; θ is shared by all tasks. It modulates one place of
//! the backbone: an offset in a layer of an `mlp` (§3.2, the same as concatenating φ to its input), scale and shift of a
//! channel in `conv4` (§3.3, `FiLM`). The adapter is that place's own value for the task, a hundred numbers or so.

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::inner::Inner;
use super::{Adapted, Learner, Net, Phase};
use crate::domain::{GradOrder, HeadInit, Kind};
use crate::meta::batch::Support;
use crate::nn::{Params, Result, init};

pub(super) struct Cavia {
    pub(super) inner_steps: u32,
    pub(super) inner_lr: f64,
    pub(super) order: GradOrder,
    pub(super) contexts: usize,
    pub(super) way: usize,
}

impl Learner for Cavia {
    fn init(&self, net: &Net, backbone: &Params, _kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        let mut params = super::inner::init_head(HeadInit::Learned { way: self.way }, net.backbone.width(), rng)?;
        for name in net.backbone.modulated() {
            let outputs = backbone.get(&format!("backbone.{name}"))?.size()[0];
            let bound = (self.contexts as f32).recip().sqrt();
            params.insert(format!("context.{name}"), init::uniform(rng, &[outputs, self.contexts as i64], bound)?);
        }
        Ok(params)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let inner = Inner { net, theta, support, phase, order: self.order };
        let mut context = Params::new();
        let zeros =
            Tensor::f_zeros([support.tasks(), self.contexts as i64], (tch::Kind::Float, support.mask.device()))?;
        context.insert("context", zeros.f_set_requires_grad(true)?);
        for _ in 0..steps.unwrap_or(self.inner_steps) {
            let loss = inner.support_loss(&modulation(theta, &context)?)?;
            let gradient = inner.gradient_of(&context, &loss)?;
            context = inner.stepped(&context, &gradient.map(|_, g| Ok(g.f_mul_scalar(self.inner_lr)?))?)?;
        }
        inner.finish(&modulation(theta, &context)?)
    }
}

/// What takes the place of θ's: `w + C φ` for each modulated parameter w `[O]`, `[T, O]`.
fn modulation(theta: &Params, context: &Params) -> Result<Params> {
    let phi = context.get("context")?; // [T, contexts]
    theta
        .stripped("context.")
        .into_iter()
        .map(|(name, map)| {
            let name = format!("backbone.{name}");
            let value = phi.f_matmul(&map.f_transpose(0, 1)?)?.f_add(theta.get(&name)?)?; // [T, O]
            Ok((name, value))
        })
        .collect()
}
