//! `imprint eval --curve`: the loss after each inner step, beside SGD and Adam from the same θ.

use std::path::Path;

use super::{CliError, out, plot};
use crate::domain::{LearnerConfig, Recipe};
use crate::meta::learner::Steps;
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Model, Phase};
use crate::trainer::{Descent, Measurement};

/// Validation episodes that step sizes are tuned on.
const TUNED_ON: u64 = 100;

/// What is measured.
pub struct Curve<'a> {
    pub tasks: &'a dyn TaskDistribution,
    pub split: Split,
    pub spec: EpisodeSpec,
    pub seed: u64,
    pub episodes: u64,
    pub steps: Option<u32>,
    pub threads: usize,
}

impl Curve<'_> {
    /// Measures, prints a table, draws a picture.
    ///
    /// # Errors
    /// If the base model adapts by nothing but gradient steps on all of its parameters, or the file cannot be written.
    pub fn run(&self, model: &Model, path: &Path) -> Result<(), CliError> {
        let learner = &model.architecture.learner;
        let known = matches!(
            learner,
            LearnerConfig::Maml { .. }
                | LearnerConfig::MetaSgd { .. }
                | LearnerConfig::MamlPlusPlus { .. }
                | LearnerConfig::Reptile { .. }
                | LearnerConfig::LearnedOptimizer { .. }
                | LearnerConfig::FineTune { .. }
        );
        let (Some(own_steps), true) = (learner.inner_steps(), known) else {
            let name = learner.name();
            return Err(CliError::Usage(format!(
                "--curve compares gradient steps on every parameter; {name} takes none"
            )));
        };
        let steps = self.steps.unwrap_or(own_steps);
        let (judged, tuned_on) =
            (self.measurement(self.split, self.episodes), self.measurement(Split::Validation, TUNED_ON));
        let mut descents = Vec::new();
        for optimizer in [None, Some(Steps::Sgd as fn(f64) -> Steps), Some(Steps::Adam)] {
            let by = match optimizer {
                None => Steps::Own,
                Some(optimizer) => Descent::tuned(&tuned_on, model, optimizer, steps, self.threads)?,
            };
            descents.push(Descent::measure(&judged, model, by, steps, self.threads)?);
        }
        let names: Vec<String> = descents.iter().map(|descent| name(descent.by, learner.name())).collect();
        self.table(&names, &descents, steps);
        let curves: Vec<_> = names
            .iter()
            .zip(&descents)
            .map(|(name, descent)| (name.clone(), (0..=steps as usize).map(|step| descent.after(step).mean).collect()))
            .collect();
        plot::losses(&curves, path)?;
        out::note(format!("the loss after each step is drawn in {}", path.display()));
        Ok(())
    }

    fn measurement(&self, split: Split, episodes: u64) -> Measurement<'_> {
        let (tasks, spec, seed, recipe) = (self.tasks, self.spec.clone(), self.seed, Recipe::default());
        Measurement { tasks, split, spec, seed, episodes, recipe, phase: Phase::Serve, self_training: false }
    }

    fn table(&self, names: &[String], descents: &[Descent], steps: u32) {
        let row = |first: &str, cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>24}")).collect();
            out::line(format!("{first:>5} {}", cells.join(" ")));
        };
        row("steps", names);
        let last = steps as usize;
        let mut shown: Vec<usize> = [0, 1, 2, 5, 10, 20, 50, 100].into_iter().filter(|step| *step < last).collect();
        shown.push(last);
        for step in shown {
            let figures = descents.iter().map(|descent| descent.after(step));
            let figures: Vec<String> =
                figures.map(|figure| format!("{:.4} ± {:.4}", figure.mean, figure.ci95)).collect();
            row(&step.to_string(), &figures);
        }
        for (name, descent) in names.iter().zip(descents).skip(1) {
            let ahead = descents[0].ahead_of(descent, last);
            let (mean, ci95, count) = (ahead.mean, ahead.ci95, self.episodes);
            out::line(format!("ahead of {name} after {last} steps by {mean:.4} ± {ci95:.4} ({count} episodes)"));
        }
    }
}

fn name(by: Steps, learner: &str) -> String {
    match by {
        Steps::Own => learner.to_owned(),
        Steps::Sgd(lr) => format!("SGD, {lr}"),
        Steps::Adam(lr) => format!("Adam, {lr}"),
    }
}
