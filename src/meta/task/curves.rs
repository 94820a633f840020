//! Curves through the plane: regression on one number, the field's smallest task distributions.
//!
//! Tasks are drawn from a continuum, so that no test task was trained on; splits differ in the generator alone.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{EpisodeSpec, Split, TaskDistribution, TaskError};
use crate::domain::{InputSchema, Kind, Rows, Targets};
use crate::meta::Episode;

/// A family of curves; x is in −5..5.
#[derive(Clone, Copy)]
pub(super) enum Curves {
    /// `A sin(x + φ)`, A in 0.1..5 and φ in 0..π (Finn et al. 2017, arXiv:1703.03400, §5.1).
    Sinusoids,
    /// `a x + b`, both in −3..3 (Yao et al. 2019, arXiv:1905.05301, §5.1).
    Lines,
    /// `a x² + b x + c`, a in −0.2..0.2, b in −2..2, c in −3..3 (the same).
    Quadratics,
}

impl Curves {
    /// A curve of the family.
    fn draw(self, rng: &mut ChaCha8Rng) -> Box<dyn Fn(f64) -> f64> {
        match self {
            Self::Sinusoids => {
                let (amplitude, phase) = (rng.random_range(0.1..=5.0f64), rng.random_range(0.0..=PI));
                Box::new(move |x| amplitude * (x + phase).sin())
            }
            Self::Lines => {
                let (slope, offset) = (rng.random_range(-3.0..=3.0f64), rng.random_range(-3.0..=3.0f64));
                Box::new(move |x| slope * x + offset)
            }
            Self::Quadratics => {
                let (a, b, c) =
                    (rng.random_range(-0.2..=0.2f64), rng.random_range(-2.0..=2.0f64), rng.random_range(-3.0..=3.0f64));
                Box::new(move |x| (a * x + b) * x + c)
            }
        }
    }
}

impl TaskDistribution for Curves {
    fn check(&self, _split: Split, _spec: &EpisodeSpec) -> Result<(), TaskError> {
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "inputs and targets are 32-bit")]
    fn sample(&self, _split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let curve = self.draw(rng);
        let shot = rng.random_range(spec.shot.clone());
        let mut draw = |count: usize| {
            let xs: Vec<f64> = (0..count).map(|_| rng.random_range(-5.0..=5.0)).collect();
            let ys = xs.iter().map(|&x| curve(x) as f32).collect();
            let rows = Rows::new(1, xs.iter().map(|&x| x as f32).collect()).expect("finite by construction");
            (rows, Targets::Values(ys))
        };
        let (support, support_targets) = draw(shot);
        let (query, query_targets) = draw(spec.query);
        let unlabelled = (spec.unlabelled > 0).then(|| draw(spec.unlabelled).0);
        Episode { support, support_targets, query, query_targets, unlabelled, names: None }
    }

    fn input(&self) -> InputSchema {
        InputSchema::Vector { width: 1 }
    }

    fn kind(&self) -> Kind {
        Kind::Regression
    }

    fn describe(&self, _split: Split) -> String {
        match self {
            Self::Sinusoids => "sinusoids of amplitude 0.1 to 5 and phase 0 to π, x in −5 to 5",
            Self::Lines => "lines of slope and offset −3 to 3, x in −5 to 5",
            Self::Quadratics => "parabolas a x² + b x + c, a in −0.2 to 0.2, b in −2 to 2, c in −3 to 3, x in −5 to 5",
        }
        .to_owned()
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}
