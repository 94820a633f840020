//! People who like some classes of texts: a ranking distribution made of a classification, for training.
//!
//! Each person likes one to three of the classes of an episode, and in half of the episodes says what is not liked, too.
//! What is learned from that is to follow what texts are about, whatever the catalogue.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{EpisodeSpec, Split, TaskDistribution, TaskError};
use crate::domain::{Input, InputSchema, Kind, Rows, Targets};
use crate::meta::Episode;

/// Classes of an episode.
const CLASSES: std::ops::RangeInclusive<usize> = 6..=30;
/// Candidates of each class.
const CANDIDATES: usize = 5;
/// Most classes that one person likes.
const MOST_LIKED: usize = 3;

pub(super) struct Tastes {
    of: Box<dyn TaskDistribution>,
    input: InputSchema,
}

impl Tastes {
    /// # Errors
    /// [`TaskError::Config`] if these are no classes of texts.
    pub(super) fn new(of: Box<dyn TaskDistribution>, features: usize) -> Result<Self, TaskError> {
        match (of.input(), of.kind()) {
            (InputSchema::Text { encoder, width, max_chars }, Kind::Classification) => {
                Ok(Self { of, input: InputSchema::Item { encoder, width, max_chars, features } })
            }
            _ => Err(TaskError::Config("tastes are for classes of texts".to_owned())),
        }
    }

    fn spec(spec: &EpisodeSpec) -> EpisodeSpec {
        EpisodeSpec { way: CLASSES, query: CANDIDATES, ..spec.clone() }
    }

    fn rows(&self, rows: &Rows, places: &[usize]) -> Rows {
        let nothing = Input::Text(String::new());
        let values = places.iter().flat_map(|&place| self.input.completed(&nothing, rows.row(place))).collect();
        Rows::new(self.input.row_width(), values).expect("embeddings are finite")
    }
}

impl TaskDistribution for Tastes {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        self.of.check(split, &Self::spec(spec))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let episode = self.of.sample(split, &Self::spec(spec), rng);
        let (Targets::Classes { labels, way }, Targets::Classes { labels: of_query, .. }) =
            (&episode.support_targets, &episode.query_targets)
        else {
            unreachable!("a distribution of classes gives classes");
        };
        // Classes come in an order that was drawn: the first ones are as good as any.
        let liked = rng.random_range(1..=MOST_LIKED.min(way - 1));
        let is_liked = |label: u32| (label as usize) < liked;
        let shot = rng.random_range(spec.shot.clone());
        let drawn = |rng: &mut ChaCha8Rng, is_wanted: &dyn Fn(u32) -> bool| -> Vec<usize> {
            let all: Vec<usize> = (0..labels.len()).filter(|&row| is_wanted(labels[row])).collect();
            let chosen = rand::seq::index::sample(rng, all.len(), shot.min(all.len()));
            chosen.into_iter().map(|place| all[place]).collect()
        };
        let mut support = drawn(rng, &is_liked);
        if rng.random_bool(0.5) {
            support.extend(drawn(rng, &|label| !is_liked(label)));
        }
        let value = |label: u32, otherwise: f32| if is_liked(label) { 1.0 } else { otherwise };
        let signals = |values: Vec<f32>| Targets::Signals { weights: vec![1.0; values.len()], values };
        Episode {
            support: self.rows(&episode.support, &support),
            support_targets: signals(support.iter().map(|&row| value(labels[row], -1.0)).collect()),
            query: self.rows(&episode.query, &(0..of_query.len()).collect::<Vec<_>>()),
            query_targets: signals(of_query.iter().map(|&label| value(label, 0.0)).collect()),
            unlabelled: None,
            names: None,
        }
    }

    fn input(&self) -> InputSchema {
        self.input.clone()
    }

    fn kind(&self) -> Kind {
        Kind::Ranking
    }

    fn describe(&self, split: Split) -> String {
        format!("people who like some of {}", self.of.describe(split))
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.of.checksums()
    }
}
