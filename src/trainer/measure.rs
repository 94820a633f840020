//! A base model measured over many episodes, on several threads, to the same bits as on one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::domain::Recipe;
use crate::meta::eval::{self, Estimate, EvalError};
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Model, Phase};
use crate::nn::checkpoint;

/// What is measured.
pub struct Measurement<'a> {
    /// Where episodes come from.
    pub tasks: &'a dyn TaskDistribution,
    /// Which part of it.
    pub split: Split,
    /// How large they are.
    pub spec: EpisodeSpec,
    /// Which stream of them.
    pub seed: u64,
    /// How many.
    pub episodes: u64,
    /// How to adapt.
    pub recipe: Recipe,
    /// Inductive, or with the query batch's statistics.
    pub phase: Phase,
}

impl Measurement<'_> {
    /// The mean over the episodes.
    ///
    /// Each thread has its own copy of the model and one thread of libtorch, as a worker of the engine has; figures are
    /// put into the order of the episodes, so that the number of threads changes nothing but the time.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn run(&self, model: &Model, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<Estimate, EvalError> {
        let next = AtomicU64::new(0);
        let (architecture, device, theta) = (&model.architecture, model.device, model.theta_bytes()?);
        let (next, theta) = (&next, &theta);
        let work = move || -> Result<Vec<(u64, f64)>, EvalError> {
            tch::set_num_threads(1);
            let theta = checkpoint::from_bytes(theta, device)?;
            let model =
                Model::with_theta(architecture.clone(), theta, device).expect("a copy of a model that was built");
            let mut figures = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.episodes {
                    return Ok(figures);
                }
                let episode = eval::episode(self.tasks, self.split, &self.spec, self.seed, index);
                figures.push((index, eval::judge(&model, &episode, &self.recipe, self.phase)?));
                progress(index + 1);
            }
        };
        let mut figures = thread::scope(|scope| {
            let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let ended = running.into_iter().map(|thread| thread.join().expect("no panic while measuring"));
            ended.collect::<Result<Vec<_>, _>>().map(|parts| parts.concat())
        })?;
        figures.sort_by_key(|(index, _)| *index);
        Ok(Estimate::of(&figures.into_iter().map(|(_, figure)| figure).collect::<Vec<_>>()))
    }
}
