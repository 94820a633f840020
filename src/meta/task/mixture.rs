//! Several task distributions as one: each episode is from one of them, all equally likely.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{EpisodeSpec, Split, TaskDistribution, TaskError};
use crate::domain::{InputSchema, Kind};
use crate::meta::Episode;

pub(super) struct Mixture {
    parts: Vec<Box<dyn TaskDistribution>>,
}

impl Mixture {
    /// # Errors
    /// [`TaskError::Config`] if there is none, or if one model could not serve them all.
    pub(super) fn new(parts: Vec<Box<dyn TaskDistribution>>) -> Result<Self, TaskError> {
        let Some(first) = parts.first() else {
            return Err(TaskError::Config("a mixture of nothing: `of` is empty".to_owned()));
        };
        let fits = |part: &dyn TaskDistribution| part.input() == first.input() && part.kind() == first.kind();
        if let Some(other) = parts.iter().find(|part| !fits(part.as_ref())) {
            let (one, another) = (first.describe(Split::Train), other.describe(Split::Train));
            return Err(TaskError::Config(format!("`{one}` and `{another}` differ in their inputs or targets")));
        }
        Ok(Self { parts })
    }
}

impl TaskDistribution for Mixture {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        self.parts.iter().try_for_each(|part| part.check(split, spec))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let part = rng.random_range(0..self.parts.len());
        self.parts[part].sample(split, spec, rng)
    }

    fn input(&self) -> InputSchema {
        self.parts[0].input()
    }

    fn kind(&self) -> Kind {
        self.parts[0].kind()
    }

    fn describe(&self, split: Split) -> String {
        self.parts.iter().map(|part| part.describe(split)).collect::<Vec<_>>().join("; ")
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.parts.iter().flat_map(|part| part.checksums()).collect()
    }
}
