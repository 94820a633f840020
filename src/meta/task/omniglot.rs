//! Omniglot (Lake, Salakhutdinov & Tenenbaum 2015, Science 350): 1,623 characters of 50 alphabets, 20 drawings each.
//!
//! Splits are by alphabet, so that no stroke style of a test character was trained on: `train` and `validation` are the
//! background set's alphabets, `test` is the evaluation set. Or they are by character, of all alphabets, as in the papers
//! since Vinyals et al. 2016 (arXiv:1606.04080, §4.1.1): easier, for a test character's alphabet has been seen. Read from the official zips of PNGs, or from IDX images
//! with a `…-labels.csv` beside them (columns `index,set,alphabet,character,drawer`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::affine::Augment;
use super::glyphs::{self, Drawing, Glyph};
use super::{EpisodeSpec, Split, TaskDistribution, TaskError, idx, note_checksum, zipped};
use crate::domain::{Input, InputSchema, Kind, PixelLimits, Polarity};
use crate::meta::Episode;

/// Pixels of a side, as in the field's benchmarks since Vinyals et al. 2016.
const SIDE: usize = 28;

/// What one drawing is to a base model, here and when it is served.
pub(super) const INPUT: InputSchema =
    InputSchema::Image { channels: 1, height: SIDE, width: SIDE, polarity: Polarity::Ink };

/// Splits by character, drawn from all alphabets; what is left is the test split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Characters {
    /// How many to train on.
    pub train: usize,
    /// How many to validate on.
    pub validation: usize,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
}

/// What splits are made of.
#[derive(Clone, Copy)]
pub(super) enum Parts<'a> {
    /// Whole alphabets; these are for validation.
    Alphabets(&'a [String]),
    /// Characters.
    Characters(Characters),
}

pub(super) struct Omniglot {
    train: Vec<Glyph>,
    validation: Vec<Glyph>,
    test: Vec<Glyph>,
    rotations: bool,
    /// Whether they are classes in validation and test, too.
    rotates_all: bool,
    augment: Augment,
    checksums: BTreeMap<String, String>,
}

/// A drawing's set, alphabet and character, and its pixels.
type Drawn = (String, Vec<f32>);

impl Omniglot {
    pub(super) fn open(
        background: &Path,
        evaluation: Option<&Path>,
        parts: Parts<'_>,
        rotations: bool,
        augment: Augment,
    ) -> Result<Self, TaskError> {
        let mut checksums = BTreeMap::new();
        let (background, mut test) = if background.extension().is_some_and(|extension| extension == "zip") {
            (classes(from_zip(background, &mut checksums)?), Vec::new())
        } else {
            let (background, evaluation): (Vec<Drawn>, Vec<Drawn>) = from_idx(background, &mut checksums)?
                .into_iter()
                .partition(|(name, _)| name.starts_with("background/"));
            let strip = |drawn: Vec<Drawn>| classes(drawn.into_iter().map(|(name, image)| (below_set(&name), image)));
            (strip(background), strip(evaluation))
        };
        if let Some(path) = evaluation {
            test = classes(from_zip(path, &mut checksums)?);
        }
        let (train, validation, test) = match parts {
            Parts::Alphabets(held_out) => by_alphabet(background, test, held_out)?,
            Parts::Characters(characters) => by_character(background, test, characters)?,
        };
        let rotates_all = rotations && matches!(parts, Parts::Characters(_));
        Ok(Self { train, validation, test, rotations, rotates_all, augment, checksums })
    }

    /// How many classes a character of `split` is.
    const fn classes_each(&self, split: Split) -> usize {
        match split {
            Split::Train if self.rotations => 4,
            _ if self.rotates_all => 4,
            _ => 1,
        }
    }

    fn glyphs(&self, split: Split) -> &[Glyph] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

impl TaskDistribution for Omniglot {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        glyphs::check(self.glyphs(split), self.classes_each(split), spec)
            .map_err(|reason| TaskError::Config(format!("Omniglot {}: {reason}", split.name())))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let augment = if split == Split::Train { self.augment } else { Augment::default() };
        let drawing =
            Drawing { side: SIDE, rotations: self.classes_each(split), named: false, ordered: false, augment };
        let glyphs: Vec<&Glyph> = self.glyphs(split).iter().collect();
        glyphs::episode(&glyphs, drawing, spec, rng)
    }

    fn input(&self) -> InputSchema {
        INPUT
    }

    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn describe(&self, split: Split) -> String {
        let glyphs = self.glyphs(split);
        let alphabets: BTreeSet<&str> = glyphs.iter().map(|glyph| alphabet(&glyph.name)).collect();
        let rotated = if self.classes_each(split) > 1 { ", each in four rotations" } else { "" };
        format!("Omniglot {}: {} characters of {} alphabets{rotated}", split.name(), glyphs.len(), alphabets.len())
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

/// Train, validation and test.
type Splits = (Vec<Glyph>, Vec<Glyph>, Vec<Glyph>);

fn by_alphabet(background: Vec<Glyph>, test: Vec<Glyph>, held_out: &[String]) -> Result<Splits, TaskError> {
    let known: BTreeSet<&str> = background.iter().map(|glyph| alphabet(&glyph.name)).collect();
    if let Some(missing) = held_out.iter().find(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(TaskError::Config(format!("there is no alphabet `{missing}`; there are {}", known.join(", "))));
    }
    let is_held_out = |glyph: &Glyph| held_out.iter().any(|name| name == alphabet(&glyph.name));
    let (validation, train) = background.into_iter().partition(is_held_out);
    Ok((train, validation, test))
}

fn by_character(background: Vec<Glyph>, test: Vec<Glyph>, sizes: Characters) -> Result<Splits, TaskError> {
    let mut train: Vec<Glyph> = background.into_iter().chain(test).collect();
    let (all, kept) = (train.len(), sizes.train.saturating_add(sizes.validation));
    if all <= kept {
        return Err(TaskError::Config(format!("Omniglot has {all} characters here, and {kept} leave none to test on")));
    }
    train.shuffle(&mut ChaCha8Rng::seed_from_u64(sizes.seed));
    let test = train.split_off(kept);
    let validation = train.split_off(sizes.train);
    Ok((train, validation, test))
}

fn alphabet(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

fn below_set(name: &str) -> String {
    name.split_once('/').map_or(name, |(_, rest)| rest).to_owned()
}

/// Drawings by character, in order of name.
fn classes(drawn: impl IntoIterator<Item = Drawn>) -> Vec<Glyph> {
    let mut classes: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
    for (name, image) in drawn {
        classes.entry(name).or_default().push(image);
    }
    classes.into_iter().map(|(name, images)| Glyph { name, images }).collect()
}

/// Drawings of a zip whose members end in `<alphabet>/<character>/<file>.png`.
fn from_zip(path: &Path, checksums: &mut BTreeMap<String, String>) -> Result<Vec<Drawn>, TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let members = zipped::members(path, &["png"], checksums)?;
    let mut drawn = Vec::with_capacity(members.len());
    for (member, png) in members {
        let mut parts = member.rsplit('/').skip(1);
        let (Some(character), Some(alphabet)) = (parts.next(), parts.next()) else {
            return Err(format(format!("member `{member}` is not in a folder <alphabet>/<character>")));
        };
        let row = INPUT
            .row(&Input::Encoded(png), PixelLimits::default())
            .map_err(|fault| format(format!("{member}: {fault}")))?;
        drawn.push((format!("{alphabet}/{character}"), row));
    }
    Ok(drawn)
}

#[derive(Deserialize)]
struct Label {
    set: String,
    alphabet: String,
    character: String,
}

/// Drawings of an IDX file, named by the label file beside it, `<set>/<alphabet>/<character>`.
fn from_idx(path: &Path, checksums: &mut BTreeMap<String, String>) -> Result<Vec<Drawn>, TaskError> {
    let labels_path = PathBuf::from(path.to_string_lossy().replace("-idx3-ubyte", "-labels.csv"));
    let format = |path: &Path, reason: String| TaskError::Format { path: path.to_owned(), reason };
    let (packed, labels) = (idx::read(path)?, idx::read(&labels_path)?);
    note_checksum(checksums, path, &packed);
    note_checksum(checksums, &labels_path, &labels);
    let images = idx::images(&packed, path)?;
    if (images.height, images.width) != (SIDE, SIDE) {
        return Err(format(path, format!("images are {}×{}, not 28×28", images.height, images.width)));
    }
    let labels: Vec<Label> = csv::Reader::from_reader(&labels[..])
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| format(&labels_path, error.to_string()))?;
    let images: Vec<&[u8]> = images.pixels.chunks_exact(SIDE * SIDE).collect();
    if labels.len() != images.len() {
        return Err(format(&labels_path, format!("{} labels for {} images", labels.len(), images.len())));
    }
    let drawn = labels.into_iter().zip(images).map(|(label, pixels)| {
        let image = pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        (format!("{}/{}/{}", label.set, label.alphabet, label.character), image)
    });
    Ok(drawn.collect())
}
