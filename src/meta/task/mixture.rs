//! Several task distributions as one: each episode is from one of them, all equally likely.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{EpisodeSpec, Split, TaskDistribution, TaskError};
use crate::domain::{InputSchema, Kind};
use crate::meta::Episode;

pub(super) struct Mixture {
    parts: Vec<Box<dyn TaskDistribution>>,
    /// Parts from here on are for training alone.
    train_only: usize,
}

impl Mixture {
    /// # Errors
    /// [`TaskError::Config`] if there is none, or if one model could not serve them all.
    pub(super) fn new(
        of: Vec<Box<dyn TaskDistribution>>,
        train_only: Vec<Box<dyn TaskDistribution>>,
    ) -> Result<Self, TaskError> {
        let everywhere = of.len();
        let parts: Vec<_> = of.into_iter().chain(train_only).collect();
        let Some(first) = parts.first().filter(|_| everywhere > 0) else {
            return Err(TaskError::Config("a mixture of nothing: `of` is empty".to_owned()));
        };
        let fits = |part: &dyn TaskDistribution| part.input() == first.input() && part.kind() == first.kind();
        if let Some(other) = parts.iter().find(|part| !fits(part.as_ref())) {
            let (one, another) = (first.describe(Split::Train), other.describe(Split::Train));
            return Err(TaskError::Config(format!("`{one}` and `{another}` differ in their inputs or targets")));
        }
        Ok(Self { parts, train_only: everywhere })
    }

    fn of(&self, split: Split) -> &[Box<dyn TaskDistribution>] {
        if split == Split::Train { &self.parts } else { &self.parts[..self.train_only] }
    }
}

impl TaskDistribution for Mixture {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        self.of(split).iter().try_for_each(|part| part.check(split, spec))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let parts = self.of(split);
        parts[rng.random_range(0..parts.len())].sample(split, spec, rng)
    }

    /// A single part may have episodes of its own.
    fn count(&self, split: Split, spec: &EpisodeSpec) -> Option<u64> {
        if let [only] = self.of(split) { only.count(split, spec) } else { None }
    }

    fn nth(&self, split: Split, spec: &EpisodeSpec, index: u64) -> Option<Episode> {
        if let [only] = self.of(split) { only.nth(split, spec, index) } else { None }
    }

    fn input(&self) -> InputSchema {
        self.parts[0].input()
    }

    fn kind(&self) -> Kind {
        self.parts[0].kind()
    }

    fn describe(&self, split: Split) -> String {
        self.of(split).iter().map(|part| part.describe(split)).collect::<Vec<_>>().join("; ")
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.parts.iter().flat_map(|part| part.checksums()).collect()
    }
}
