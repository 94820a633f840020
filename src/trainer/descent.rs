//! A learner's inner loop beside SGD and Adam from the same θ, over many episodes.

use super::measure::{Measurement, copies, in_order};
use crate::meta::Model;
use crate::meta::eval::{Estimate, EvalError};
use crate::meta::learner::{Steps, descent};

/// Step sizes that a plain optimizer is tuned over.
const STEP_SIZES: [f64; 9] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0];

/// Query losses of the episodes of a measurement, after each inner step.
pub struct Descent {
    /// Who took the steps.
    pub by: Steps,
    /// One row an episode: after 0, 1, … steps.
    pub losses: Vec<Vec<f64>>,
}

impl Descent {
    /// Over the episodes of `measurement`.
    ///
    /// # Errors
    /// [`EvalError::Tensor`] if a tensor computation fails.
    ///
    /// # Panics
    /// If a thread panics.
    pub fn measure(
        measurement: &Measurement<'_>,
        model: &Model,
        by: Steps,
        steps: u32,
        threads: usize,
    ) -> Result<Self, EvalError> {
        let copy = copies(model)?;
        let open = || Ok(copy()?);
        let losses = in_order(measurement.episodes, threads, &|_| (), open, |model, index| {
            Ok::<_, EvalError>(descent(model, &measurement.episode(index), by, steps)?)
        })?;
        Ok(Self { by, losses })
    }

    /// The best of several step sizes of `optimizer`, by the loss after the last step; what diverges is never the best.
    ///
    /// # Errors
    /// As [`Descent::measure`].
    pub fn tuned(
        measurement: &Measurement<'_>,
        model: &Model,
        optimizer: fn(f64) -> Steps,
        steps: u32,
        threads: usize,
    ) -> Result<Steps, EvalError> {
        let mut best = (f64::INFINITY, optimizer(STEP_SIZES[0]));
        for lr in STEP_SIZES {
            let last = Self::measure(measurement, model, optimizer(lr), steps, threads)?.after(steps as usize).mean;
            if last < best.0 {
                best = (last, optimizer(lr));
            }
        }
        Ok(best.1)
    }

    /// The mean loss after `step` steps.
    pub fn after(&self, step: usize) -> Estimate {
        Estimate::of(&self.losses.iter().map(|losses| losses[step]).collect::<Vec<_>>())
    }

    /// By how much the loss after `step` steps is below that of `other`, episode by episode.
    pub fn ahead_of(&self, other: &Self, step: usize) -> Estimate {
        let pairs = self.losses.iter().zip(&other.losses);
        Estimate::of(&pairs.map(|(own, other)| other[step] - own[step]).collect::<Vec<_>>())
    }
}
