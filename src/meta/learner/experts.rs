//! Several θ, each the base of one learner, and a choice between them for each support set.
//!
//! A task distribution with clusters is more than one θ can start from: an *expert* for each cluster is found by training
//! them all on all episodes, each episode's gradient going to the experts in proportion to how well they did on it. While
//! serving, the support set's own estimate chooses: the loss of held-out rows where the learner has it in closed form, else the
//! loss after adapting. So nothing has to be learned to choose, and one more example can change the choice.
//!
//! The aim is that of hierarchically structured and multimodal meta-learning (Yao et al. 2019, arXiv:1905.05301; Vuorio et
//! al. 2019, arXiv:1910.13616); there a network reads the support set and modulates one θ. The proportions are the
//! responsibilities of a mixture (Jacobs et al. 1991, eq. 1.3) of errors whose scale is each episode's own.
//!
//! θ holds the experts side by side, `experts.<name>` `[E, …]`. An adapter holds what the learner leaves, and `expert`, the
//! number of the θ that it belongs to.

use rand_chacha::ChaCha8Rng;
use tch::{Kind as Dtype, Tensor};

use super::{Adapted, HeldOut, Learner, Lesson, Net, Phase, predict};
use crate::domain::Kind;
use crate::meta::batch::{Query, Support};
use crate::nn::{Params, Result};

/// Where θ keeps them.
const PREFIX: &str = "experts.";

/// An expert's share of an episode falls with this power of its loss.
const SHARPNESS: f64 = 2.0;

pub(super) struct Experts {
    pub(super) experts: usize,
    pub(super) of: Box<dyn Learner>,
}

/// θ of all experts from the θ of each.
pub(in crate::meta) fn side_by_side(each: &[Params]) -> Result<Params> {
    let Some(first) = each.first() else { return Ok(Params::new()) };
    first
        .iter()
        .map(|(name, _)| {
            let tensors = each.iter().map(|theta| theta.get(name)).collect::<Result<Vec<_>>>()?;
            Ok((format!("{PREFIX}{name}"), Tensor::f_stack(&tensors, 0)?))
        })
        .collect()
}

/// θ as the tasks of `adapted` see it, `[T, …]` each: their experts'. θ itself where there are no experts.
pub(super) fn chosen(theta: &Params, adapted: &Params) -> Result<Params> {
    let experts = theta.stripped(PREFIX);
    if experts.is_empty() {
        return Ok(theta.shallow_clone());
    }
    let places = adapted.get("expert")?.f_to_kind(Dtype::Int64)?; // [T]
    experts.map(|_, tensor| Ok(tensor.f_index_select(0, &places)?))
}

impl Experts {
    fn theta(theta: &Params, expert: usize) -> Result<Params> {
        theta.stripped(PREFIX).map(|_, tensor| Ok(tensor.f_select(0, expert as i64)?))
    }

    /// What each expert makes of the support sets, and how badly each does on them, `[T, E]`.
    fn each(
        &self,
        net: &Net,
        theta: &Params,
        support: &Support,
        steps: Option<u32>,
        phase: Phase,
    ) -> Result<(Vec<Adapted>, Tensor)> {
        let (mut all, mut losses) = (Vec::with_capacity(self.experts), Vec::with_capacity(self.experts));
        for expert in 0..self.experts {
            let theta = Self::theta(theta, expert)?;
            let adapted = self.of.adapt(net, &theta, support, steps, phase)?;
            let outputs = match self.of.held_out(net, &theta, support)? {
                Some(HeldOut { outputs, .. }) => outputs,
                None => predict(net, &theta, &adapted.tensors, &support.x, support.padding(), phase)?.0,
            };
            losses.push(support.targets.loss(&outputs, support.counts())?.f_detach()?);
            all.push(adapted);
        }
        Ok((all, Tensor::f_stack(&losses, 1)?))
    }
}

impl Learner for Experts {
    fn init(&self, net: &Net, backbone: &Params, kind: Kind, rng: &mut ChaCha8Rng) -> Result<Params> {
        self.of.init(net, backbone, kind, rng)
    }

    fn adapt(&self, net: &Net, theta: &Params, support: &Support, steps: Option<u32>, phase: Phase) -> Result<Adapted> {
        let (all, losses) = self.each(net, theta, support, steps, phase)?;
        let places = losses.f_argmin(1, false)?; // [T]
        let mut tensors = of_each_task(all.iter().map(|adapted| &adapted.tensors), &places)?;
        tensors.insert("expert", places.f_to_kind(Dtype::Float)?);
        Ok(Adapted { tensors, batch_statistics: Params::new() })
    }

    fn held_out(&self, net: &Net, theta: &Params, support: &Support) -> Result<Option<HeldOut>> {
        let (mut all, mut losses, mut fewest) = (Vec::new(), Vec::new(), usize::MAX);
        for expert in 0..self.experts {
            let Some(HeldOut { outputs, folds }) = self.of.held_out(net, &Self::theta(theta, expert)?, support)? else {
                return Ok(None);
            };
            fewest = fewest.min(folds);
            losses.push(support.targets.loss(&outputs, support.counts())?);
            all.push([("outputs".to_owned(), outputs)].into_iter().collect::<Params>());
        }
        let places = Tensor::f_stack(&losses, 1)?.f_argmin(1, false)?;
        let outputs = of_each_task(all.iter(), &places)?.get("outputs")?.shallow_clone();
        Ok(Some(HeldOut { outputs, folds: fewest }))
    }

    fn lesson(&self, net: &Net, theta: &Params, support: &Support, query: &Query, progress: f64) -> Result<Lesson> {
        let mut losses = Vec::with_capacity(self.experts);
        let mut outputs = Vec::with_capacity(self.experts);
        let mut statistics: Vec<Vec<Params>> = Vec::with_capacity(self.experts);
        for expert in 0..self.experts {
            let lesson = self.of.lesson(net, &Self::theta(theta, expert)?, support, query, progress)?;
            losses.push(query.targets.loss(&lesson.outputs, &query.mask)?); // [T]
            outputs.push([("outputs".to_owned(), lesson.outputs)].into_iter().collect::<Params>());
            statistics.push(lesson.batch_statistics);
        }
        let losses = Tensor::f_stack(&losses, 1)?; // [T, E]
        let shares =
            losses.f_detach()?.f_clamp_min(1e-12)?.f_log()?.f_mul_scalar(-SHARPNESS)?.f_softmax(1, Dtype::Float)?;
        let loss = losses.f_mul(&shares)?.f_sum_dim_intlist([1i64].as_slice(), false, Dtype::Float)?;
        let best = losses.f_argmin(1, false)?;
        let batches = statistics.first().map_or(0, Vec::len);
        let batch_statistics = (0..batches)
            .map(|batch| side_by_side(&statistics.iter().map(|own| own[batch].shallow_clone()).collect::<Vec<_>>()))
            .collect::<Result<_>>()?;
        Ok(Lesson {
            loss: loss.f_mean(Dtype::Float)?,
            outputs: of_each_task(outputs.iter(), &best)?.get("outputs")?.shallow_clone(),
            batch_statistics,
            gradient: None,
        })
    }
}

/// Of E sets of `[T, …]`, for task t those of the set that `places` `[T]` names.
fn of_each_task<'a>(sets: impl Iterator<Item = &'a Params>, places: &Tensor) -> Result<Params> {
    let sets: Vec<&Params> = sets.collect();
    let tasks = places.size()[0];
    let every = Tensor::f_arange(tasks, (Dtype::Int64, places.device()))?;
    let Some(first) = sets.first() else { return Ok(Params::new()) };
    first
        .iter()
        .map(|(name, _)| {
            let tensors = sets.iter().map(|set| set.get(name)).collect::<Result<Vec<_>>>()?;
            let stacked = Tensor::f_stack(&tensors, 0)?; // [E, T, …]
            Ok((name.to_owned(), stacked.f_index(&[Some(places.shallow_clone()), Some(every.shallow_clone())])?))
        })
        .collect()
}
