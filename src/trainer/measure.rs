//! A base model measured over many episodes, on several threads, to the same bits as on one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::domain::{Outputs, Recipe, Targets};
use crate::meta::eval::{self, Estimate, EvalError};
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Episode, Model, Phase};
use crate::nn::{TensorError, checkpoint};

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
    /// How many, if there are so many.
    pub episodes: u64,
    /// How to adapt.
    pub recipe: Recipe,
    /// Inductive, or with the query batch's statistics.
    pub phase: Phase,
    /// Whether the unlabelled rows of an episode are adapted on, too; they are left out else.
    pub self_training: bool,
}

impl Measurement<'_> {
    /// The mean over the episodes.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn run(&self, model: &Model, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<Estimate, EvalError> {
        Ok(Estimate::of(&self.figures(model, threads, progress)?))
    }

    /// One figure an episode, in order, as [`Measurement::run`] averages them.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn figures(
        &self,
        model: &Model,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<f64>, EvalError> {
        self.judged(model, threads, progress, eval::score)
    }

    /// What `judge` says of the answers to each episode, in order.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn judged<R: Send>(
        &self,
        model: &Model,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
        judge: impl Fn(&Outputs, &Targets) -> R + Sync,
    ) -> Result<Vec<R>, EvalError> {
        self.each(model, threads, progress, |model, index| {
            let episode = self.episode(index);
            let outputs = eval::answers(model, &episode, &self.recipe, self.phase)?;
            Ok(judge(&outputs, &episode.query_targets))
        })
    }

    /// What `work` makes of each episode with a copy of the model, in order.
    ///
    /// # Panics
    /// If a thread panics.
    pub(super) fn each<R: Send>(
        &self,
        model: &Model,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
        work: impl Fn(&Model, u64) -> Result<R, EvalError> + Sync,
    ) -> Result<Vec<R>, EvalError> {
        let copy = copies(model)?;
        let open = || Ok(copy()?);
        in_order(self.count(), threads, progress, open, |model, index| work(model, index))
    }

    /// How many episodes there are: no more than the data have, where each is one of theirs.
    pub fn count(&self) -> u64 {
        self.tasks.count(self.split, &self.spec).map_or(self.episodes, |count| count.min(self.episodes))
    }

    /// Episode `index` of those that are measured.
    pub fn episode(&self, index: u64) -> Episode {
        let mut episode = eval::episode(self.tasks, self.split, &self.spec, self.seed, index);
        if !self.self_training {
            episode.unlabelled = None;
        }
        episode
    }
}

/// Copies of `model`, for threads that have one thread of libtorch each, as a worker of the engine has.
pub(super) fn copies(model: &Model) -> Result<impl Fn() -> Result<Model, TensorError> + Sync + use<>, TensorError> {
    let (architecture, device, theta) = (model.architecture.clone(), model.device, model.theta_bytes()?);
    Ok(move || {
        tch::set_num_threads(1);
        let theta = checkpoint::from_bytes(&theta, device)?;
        Ok(Model::with_theta(architecture.clone(), theta, device).expect("a copy of a model that was built"))
    })
}

/// `work(0), work(1), …` on several threads, its results in order: the number of threads changes nothing but the time.
///
/// * `open` makes what each thread keeps from one piece of work to the next.
/// * `progress` is told how many are done or under way.
///
/// # Panics
/// If a thread panics.
pub fn in_order<K, R: Send, E: Send>(
    count: u64,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    open: impl Fn() -> Result<K, E> + Sync,
    work: impl Fn(&mut K, u64) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicU64::new(0);
    let worker = || -> Result<Vec<(u64, R)>, E> {
        let mut kept = open()?;
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(results);
            }
            results.push((index, work(&mut kept, index)?));
            progress(index + 1);
        }
    };
    let mut results = Vec::new();
    thread::scope(|scope| -> Result<(), E> {
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
        for thread in running {
            results.extend(thread.join().expect("no panic while measuring")?);
        }
        Ok(())
    })?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whichever_thread_is_done_first() {
        let slow_first = |(): &mut (), index: u64| {
            sleep(Duration::from_millis(if index.is_multiple_of(5) { 5 } else { 0 }));
            Ok::<_, ()>(index)
        };

        let results = in_order(40, 4, &|_| (), || Ok(()), slow_first).unwrap();

        assert_eq!(results, (0..40).collect::<Vec<_>>());
    }
}
