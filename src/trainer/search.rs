//! Search over training files: random draws from a space, and successive halving (Jamieson & Talwalkar 2016,
//! arXiv:1502.07943) over outer steps.
//!
//! A trial is a training file with some values in place of its own. Trials are a function of the seed; which go on to the
//! next rung is a function of the scores.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TrainConfig;

/// What a setting is drawn from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Choice {
    /// One of these, all equally likely.
    Of(Vec<Value>),
    /// Uniform between the bounds; whole numbers if both are.
    Uniform([Value; 2]),
    /// Uniform in the logarithm between the bounds.
    Log([f64; 2]),
}

/// What is searched: settings of the training file by dotted path, `outer.lr` for example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(BTreeMap<String, Choice>);

/// Values of one trial, by dotted path.
pub type Draw = BTreeMap<String, Value>;

impl Space {
    /// The paths, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether every setting has something to be drawn from; a reason if not.
    pub fn check(&self) -> Result<(), String> {
        if self.0.is_empty() {
            return Err("the space is empty: name a setting and what it is drawn from".to_owned());
        }
        for (path, choice) in &self.0 {
            let fault = match choice {
                Choice::Of(values) if values.is_empty() => "`of` has no values",
                Choice::Uniform([least, most])
                    if !least.as_f64().zip(most.as_f64()).is_some_and(|(least, most)| least < most) =>
                {
                    "`uniform` takes [least, most], two numbers in this order"
                }
                Choice::Log([least, most]) if !(*least > 0.0 && least < most) => {
                    "`log` takes [least, most], two positive numbers in this order"
                }
                _ => continue,
            };
            return Err(format!("`{path}`: {fault}"));
        }
        Ok(())
    }

    /// Values of trial `index` of the search that `seed` names.
    pub fn draw(&self, seed: u64, index: u64) -> Draw {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        self.0.iter().map(|(path, choice)| (path.clone(), choice.draw(&mut rng))).collect()
    }
}

impl Choice {
    fn draw(&self, rng: &mut ChaCha8Rng) -> Value {
        match self {
            Self::Of(values) => values.choose(rng).cloned().unwrap_or_default(),
            Self::Uniform([least, most]) => {
                if let (Some(least), Some(most)) = (least.as_i64(), most.as_i64()) {
                    return rng.random_range(least..=most).into();
                }
                let (least, most) = (least.as_f64().unwrap_or_default(), most.as_f64().unwrap_or_default());
                rng.random_range(least..=most).into()
            }
            Self::Log([least, most]) => rng.random_range(least.ln()..=most.ln()).exp().into(),
        }
    }
}

/// The training file with a trial's values in place of its own.
///
/// # Errors
/// A reason: there is no such setting, or it cannot have that value.
pub fn with_values(config: &TrainConfig, draw: &Draw) -> Result<TrainConfig, String> {
    let mut document = serde_json::to_value(config).map_err(|error| error.to_string())?;
    for (path, value) in draw {
        let place = format!("/{}", path.replace('.', "/"));
        let setting = document.pointer_mut(&place);
        *setting.ok_or_else(|| format!("the training file has no setting `{path}`"))? = value.clone();
    }
    let config: TrainConfig = serde_path_to_error::deserialize(&document)
        .map_err(|error| format!("`{}`: {}", error.path(), error.inner()))?;
    config.check()?;
    Ok(config)
}

/// How many trials a rung has, and how many outer steps each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Trials.
    pub trials: usize,
    /// Outer steps of each.
    pub steps: u64,
}

/// Rungs of successive halving: each has `1 / eta` of the trials of the one before, and `eta` times the outer steps.
pub fn rungs(trials: usize, steps: u64, count: u32, eta: u64) -> Vec<Rung> {
    let of_rung = |rung: u32| {
        let factor = eta.saturating_pow(rung);
        let kept = trials.div_ceil(usize::try_from(factor).unwrap_or(usize::MAX));
        Rung { trials: kept.max(1), steps: steps.saturating_mul(factor) }
    };
    (0..count.max(1)).map(of_rung).collect()
}

/// A rung's trials, best first, without those that diverged. Ties go to the earlier trial.
pub fn ranked(scores: &[(u64, Option<f64>)]) -> Vec<u64> {
    let mut order: Vec<_> = scores.iter().filter_map(|&(trial, score)| Some((trial, score?))).collect();
    order.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    order.into_iter().map(|(trial, _)| trial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> Space {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn draws_stay_in_their_bounds_and_are_a_function_of_seed_and_index() {
        let space = space(
            "a = { log = [1e-4, 1e-1] }\nb = { uniform = [2, 5] }\nc = { of = [[8], [8, 8]] }\nd = { uniform = [0.0, 1.0] }",
        );
        assert_eq!(space.check(), Ok(()));
        for index in 0..100 {
            let draw = space.draw(3, index);
            let (a, b) = (draw["a"].as_f64().unwrap(), draw["b"].as_i64().unwrap());
            assert!((1e-4..=1e-1).contains(&a) && (2..=5).contains(&b) && draw["c"].is_array());
            assert_eq!(draw, space.draw(3, index));
        }
        assert_ne!(space.draw(3, 0), space.draw(3, 1));
        assert_ne!(space.draw(3, 0), space.draw(4, 0));
    }

    #[test]
    fn a_space_that_nothing_can_be_drawn_from_is_refused() {
        for (text, reason) in [
            ("", "empty"),
            ("a = { of = [] }", "`a`: `of`"),
            ("a = { log = [0.0, 1.0] }", "`a`: `log`"),
            ("a = { uniform = [2, 1] }", "`a`: `uniform`"),
            ("a = { uniform = [\"x\", 1] }", "`a`: `uniform`"),
        ] {
            assert!(space(text).check().unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn halving_keeps_a_share_of_the_trials_and_gives_them_more_steps() {
        let expected = [(9, 100), (3, 300), (1, 900)].map(|(trials, steps)| Rung { trials, steps });
        assert_eq!(rungs(9, 100, 3, 3), expected);
        assert_eq!(rungs(4, 10, 1, 3), [Rung { trials: 4, steps: 10 }]);
    }

    #[test]
    fn the_best_go_on_and_what_diverged_does_not() {
        assert_eq!(ranked(&[(0, Some(-2.0)), (1, None), (2, Some(-1.0)), (3, Some(-1.0))]), [2, 3, 0]);
    }
}
