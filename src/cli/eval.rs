//! `imprint eval`: measures a base model on episodes.

use crate::domain::{Kind, Recipe};
use crate::meta::eval::{self, Estimate, EvalError};
use crate::meta::task::{EpisodeSpec, Split, TaskDistribution};
use crate::meta::{Model, Phase};

use super::CliError;

/// The mean over `episodes` episodes of a split, one after another.
pub fn measure(
    model: &Model,
    tasks: &dyn TaskDistribution,
    split: Split,
    spec: &EpisodeSpec,
    seed: u64,
    episodes: u64,
) -> Result<Estimate, CliError> {
    let figures = (0..episodes)
        .map(|index| {
            let episode = eval::episode(tasks, split, spec, seed, index);
            eval::judge(model, &episode, &Recipe::default(), Phase::Serve)
        })
        .collect::<Result<Vec<_>, EvalError>>()?;
    Ok(Estimate::of(&figures))
}

/// The name of what is measured.
pub const fn measure_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Classification => "accuracy",
        Kind::Regression => "mean_squared_error",
    }
}
