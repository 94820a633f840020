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

/// Which sinusoids.
#[derive(Clone, Copy)]
pub struct Waves {
    amplitude: [f64; 2],
    /// In units of π.
    phase: [f64; 2],
}

impl Waves {
    /// The field's amplitudes.
    pub const fn amplitude() -> [f64; 2] {
        [0.1, 5.0]
    }

    /// The field's phases, in units of π.
    pub const fn phase() -> [f64; 2] {
        [0.0, 1.0]
    }
}

/// A family of curves; x is in −5..5.
#[derive(Clone, Copy)]
pub(super) enum Curves {
    /// `A sin(x + φ)`, A in 0.1..5 and φ in 0..π unless told otherwise (Finn et al. 2017, arXiv:1703.03400, §5.1).
    Sinusoids(Waves),
    /// `a x + b`, both in −3..3 (Yao et al. 2019, arXiv:1905.05301, §5.1).
    Lines,
    /// `a x² + b x + c`, a in −0.2..0.2, b in −2..2, c in −3..3 (the same).
    Quadratics,
}

impl Curves {
    /// # Errors
    /// [`TaskError::Config`] if a range is none.
    pub(super) fn sinusoids(amplitude: [f64; 2], phase: [f64; 2]) -> Result<Self, TaskError> {
        let is_range = |[least, most]: [f64; 2]| least.is_finite() && most.is_finite() && least <= most;
        if is_range(amplitude) && is_range(phase) {
            Ok(Self::Sinusoids(Waves { amplitude, phase }))
        } else {
            Err(TaskError::Config("sinusoids: amplitude and phase are [least, greatest]".to_owned()))
        }
    }

    /// A curve of the family.
    fn draw(self, rng: &mut ChaCha8Rng) -> Box<dyn Fn(f64) -> f64> {
        match self {
            Self::Sinusoids(waves) => {
                let [least, most] = waves.amplitude;
                let amplitude = rng.random_range(least..=most);
                let phase = rng.random_range(waves.phase[0] * PI..=waves.phase[1] * PI);
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
            Self::Sinusoids(Waves { amplitude: [weakest, strongest], phase }) => {
                let [least, most] = phase.map(in_pi);
                return format!(
                    "sinusoids of amplitude {weakest} to {strongest} and phase {least} to {most}, x in −5 to 5"
                );
            }
            Self::Lines => "lines of slope and offset −3 to 3, x in −5 to 5",
            Self::Quadratics => "parabolas a x² + b x + c, a in −0.2 to 0.2, b in −2 to 2, c in −3 to 3, x in −5 to 5",
        }
        .to_owned()
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// A number of πs, for people.
fn in_pi(count: f64) -> String {
    match count {
        0.0 => "0".to_owned(),
        1.0 => "π".to_owned(),
        _ => format!("{count} π"),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn sinusoids_stay_within_their_amplitudes_and_phases() {
        let spec = EpisodeSpec { way: 1..=1, shot: 50..=50, query: 1, unlabelled: 0 };
        let curves = Curves::sinusoids([2.0, 2.0], [0.5, 0.5]).unwrap(); // 2 cos x

        let drawn = curves.sample(Split::Train, &spec, &mut ChaCha8Rng::seed_from_u64(1));

        let Targets::Values(values) = &drawn.support_targets else { panic!() };
        assert!(drawn.support.iter().zip(values).all(|(row, y)| (2.0 * row[0].cos() - y).abs() < 1e-5));
        assert_eq!(
            curves.describe(Split::Test),
            "sinusoids of amplitude 2 to 2 and phase 0.5 π to 0.5 π, x in −5 to 5"
        );
        assert!(Curves::sinusoids([3.0, 1.0], [0.0, 1.0]).is_err());
        assert!(Curves::sinusoids([0.0, 1.0], [0.0, f64::NAN]).is_err());
    }
}
