//! Grey images as coloured ones, so that the same shapes come in ever new domains.
//!
//! Each episode to train on or to validate on has one [`Style`], drawn at random, or one for each image: an inner loop sees
//! a domain that it never saw, with the classes that it knows. The test split can be blended over photographs instead, as MNIST-M is
//! (Ganin et al. 2016, arXiv:1505.07818, §5.2.3): a domain that no style imitates on purpose.

use std::collections::BTreeMap;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ink::Canvas;
use super::paint::Style;
use super::photographs::Photographs;
use super::{EpisodeSpec, Split, TaskDistribution, TaskError};
use crate::domain::{InputSchema, Kind, Polarity, Rows};
use crate::meta::Episode;

/// Share of episodes whose images have nothing in common but their classes, as pictures from many places.
const MIXED: f64 = 0.25;

pub(super) struct Painted {
    of: Box<dyn TaskDistribution>,
    /// Pixels of a side, before and after.
    inner: usize,
    side: usize,
    photographs: Option<Photographs>,
    plain: bool,
    checksums: BTreeMap<String, String>,
}

impl Painted {
    /// # Errors
    /// [`TaskError::Config`] if `of` has no square grey images, or photographs are smaller than they.
    pub(super) fn open(
        of: Box<dyn TaskDistribution>,
        margin: usize,
        photographs: Option<&Path>,
        plain: bool,
    ) -> Result<Self, TaskError> {
        let inner = match of.input() {
            InputSchema::Image { channels: 1, height, width, .. } if height == width => height,
            other => return Err(TaskError::Config(format!("only square grey images can be painted, not {other:?}"))),
        };
        let side = inner + 2 * margin;
        let mut checksums = of.checksums();
        let photographs = photographs.map(|path| Photographs::open(path, side, &mut checksums)).transpose()?;
        Ok(Self { of, inner, side, photographs, plain, checksums })
    }

    /// Every row of an episode through `paint`, which is given the ink and that of two other rows.
    fn painted(
        &self,
        episode: Episode,
        mut paint: impl FnMut(&Canvas, [&Canvas; 2]) -> Vec<f32>,
        rng: &mut ChaCha8Rng,
    ) -> Episode {
        let parts = [&episode.support, &episode.query].into_iter().chain(&episode.unlabelled);
        let rows: Vec<&[f32]> = parts.flat_map(Rows::iter).collect();
        let canvases: Vec<Canvas> = rows.iter().map(|ink| Canvas::framed(ink, self.inner, self.side)).collect();
        let mut painted = canvases.iter().map(|ink| {
            let mut other = || &canvases[rng.random_range(0..canvases.len())];
            let others = [other(), other()];
            paint(ink, others)
        });
        let width = 3 * self.side * self.side;
        let mut take = |count: usize| {
            let values = painted.by_ref().take(count).flatten().collect();
            Rows::new(width, values).expect("painted values are finite")
        };
        let (support, query) = (take(episode.support.len()), take(episode.query.len()));
        let unlabelled = episode.unlabelled.as_ref().map(|rows| take(rows.len()));
        Episode { support, query, unlabelled, ..episode }
    }
}

impl TaskDistribution for Painted {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        self.of.check(split, spec)
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let episode = self.of.sample(split, spec, rng);
        // A generator of its own, so that the closure and the choice of rows do not share one.
        let mut own = ChaCha8Rng::seed_from_u64(rng.random());
        match (&self.photographs, split) {
            (Some(photographs), Split::Test) => self.painted(episode, |ink, _| photographs.blended(ink, &mut own), rng),
            _ if self.plain => self.painted(episode, |ink, _| ink.grey(), rng),
            _ => {
                let common = (!own.random_bool(MIXED)).then(|| Style::draw(&mut own));
                let paint = |ink: &Canvas, others: [&Canvas; 2]| match &common {
                    Some(style) => style.paint(ink, others, &mut own),
                    None => Style::draw(&mut own).paint(ink, others, &mut own),
                };
                self.painted(episode, paint, rng)
            }
        }
    }

    fn input(&self) -> InputSchema {
        InputSchema::Image { channels: 3, height: self.side, width: self.side, polarity: Polarity::AsIs }
    }

    fn kind(&self) -> Kind {
        self.of.kind()
    }

    fn describe(&self, split: Split) -> String {
        let how = match (&self.photographs, split) {
            (Some(_), Split::Test) => "blended over patches of photographs",
            _ if self.plain => "white on black",
            _ => "each episode in a style of its own",
        };
        format!("{}, {how}", self.of.describe(split))
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::domain::Targets;
    use crate::meta::task::{Augment, Sources, TaskConfig, open};

    fn sources(data: &Path) -> Sources<'_> {
        Sources { data, encoders: data, tuning: None, progress: &|_, _| {} }
    }

    /// Twelve 4×4 images of three classes, as IDX files; all ink of a class is at one place.
    fn idx(folder: &Path) -> TaskConfig {
        let write = |name: &str, header: [u32; 4], words: usize, body: Vec<u8>| {
            let header = header[..words].iter().flat_map(|word| word.to_be_bytes());
            std::fs::write(folder.join(name), header.chain(body).collect::<Vec<_>>()).unwrap();
        };
        let labels: Vec<u8> = (0..12).map(|image| image % 3).collect();
        let images = labels.iter().flat_map(|&label| (0..16).map(move |place| u8::from(place == label) * 255));
        write("images", [0x0803, 12, 4, 4], 4, images.collect());
        write("labels", [0x0801, 12, 0, 0], 2, labels);
        TaskConfig::Mnist {
            images: PathBuf::from("images"),
            labels: PathBuf::from("labels"),
            test_images: Some(PathBuf::from("images")),
            test_labels: Some(PathBuf::from("labels")),
            ordered: true,
            held_out: Vec::new(),
            augment: Augment::default(),
        }
    }

    const SPEC: EpisodeSpec = EpisodeSpec { way: 3..=3, shot: 1..=1, query: 1, unlabelled: 0 };

    #[test]
    fn a_plain_image_is_its_ink_in_three_channels_and_ordered_labels_are_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let of = Box::new(idx(folder.path()));
        let config = TaskConfig::Painted { of, margin: 1, photographs: None, plain: true };
        let tasks = open(&config, &sources(folder.path())).unwrap();

        tasks.check(Split::Train, &SPEC).unwrap();
        let episode = tasks.sample(Split::Train, &SPEC, &mut ChaCha8Rng::seed_from_u64(1));

        assert_eq!(episode.support_targets, Targets::Classes { labels: vec![0, 1, 2], way: 3 });
        for (class, row) in episode.support.iter().enumerate() {
            let ink: Vec<usize> = (0..108).filter(|&place| row[place] > 0.0).collect();
            assert_eq!(ink, [0, 36, 72].map(|channel| channel + 6 + 1 + class));
        }
    }

    #[test]
    fn a_style_is_of_the_episode_and_episodes_are_a_function_of_the_generator() {
        let folder = tempfile::tempdir().unwrap();
        let of = Box::new(idx(folder.path()));
        let config = TaskConfig::Painted { of, margin: 0, photographs: None, plain: false };
        let tasks = open(&config, &sources(folder.path())).unwrap();
        let sample = |seed| tasks.sample(Split::Test, &SPEC, &mut ChaCha8Rng::seed_from_u64(seed));

        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1).support, sample(2).support);
    }

    #[test]
    fn what_is_too_small_or_not_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spec = EpisodeSpec { way: 2..=2, ..SPEC };
        let ordered = open(&idx(folder.path()), &sources(folder.path())).unwrap();
        let curve = open(&TaskConfig::Line {}, &sources(folder.path())).unwrap();

        assert!(ordered.check(Split::Train, &spec).is_err());
        assert!(Painted::open(curve, 0, None, false).is_err());
        assert!(Painted::open(ordered, 0, Some(&folder.path().join("photographs.zip")), false).is_err());
    }
}
