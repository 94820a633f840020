//! Sinusoid regression (Finn et al. 2017, arXiv:1703.03400, §5.1): the field's smallest task distribution.
//!
//! Tasks are drawn from a continuum, so that no test task was trained on; splits differ in the generator alone.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{EpisodeSpec, Split, TaskDistribution, TaskError};
use crate::domain::{InputSchema, Kind, Rows, Targets};
use crate::meta::Episode;

pub(super) struct Sinusoid;

impl TaskDistribution for Sinusoid {
    fn check(&self, _split: Split, _spec: &EpisodeSpec) -> Result<(), TaskError> {
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "inputs and targets are 32-bit")]
    fn sample(&self, _split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let (amplitude, phase) = (rng.random_range(0.1..=5.0f64), rng.random_range(0.0..=PI));
        let shot = rng.random_range(spec.shot.clone());
        let mut draw = |count: usize| {
            let xs: Vec<f64> = (0..count).map(|_| rng.random_range(-5.0..=5.0)).collect();
            let ys = xs.iter().map(|x| (amplitude * (x + phase).sin()) as f32).collect();
            let rows = Rows::new(1, xs.iter().map(|&x| x as f32).collect()).expect("finite by construction");
            (rows, Targets::Values(ys))
        };
        let (support, support_targets) = draw(shot);
        let (query, query_targets) = draw(spec.query);
        Episode { support, support_targets, query, query_targets }
    }

    fn input(&self) -> InputSchema {
        InputSchema::Vector { width: 1 }
    }

    fn kind(&self) -> Kind {
        Kind::Regression
    }

    fn describe(&self, _split: Split) -> String {
        "sinusoids of amplitude 0.1 to 5 and phase 0 to π, x in −5 to 5".to_owned()
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}
