//! MNIST (LeCun et al. 1998), and whatever else comes in its format: grey images with labels, in pairs of IDX files.
//!
//! All splits have the same classes, and share no image: what is new to a base model is not the digit but the hand, or,
//! under [`super::painted`], the whole appearance. `validation` is the last sixth of the training files. Where classes are
//! held out, the test split has these alone, and the others never see an image of them.

use std::collections::BTreeMap;
use std::path::Path;

use rand_chacha::ChaCha8Rng;

use super::affine::Augment;
use super::glyphs::{self, Drawing, Glyph};
use super::{EpisodeSpec, Split, TaskDistribution, TaskError, idx, note_checksum};
use crate::domain::{InputSchema, Kind, Polarity};
use crate::meta::Episode;

pub(super) struct Mnist {
    side: usize,
    train: Vec<Glyph>,
    validation: Vec<Glyph>,
    test: Vec<Glyph>,
    ordered: bool,
    augment: Augment,
    name: String,
    checksums: BTreeMap<String, String>,
}

/// Files of images and of their labels.
pub(super) struct Files<'a> {
    pub(super) images: &'a Path,
    pub(super) labels: &'a Path,
}

/// What a pair of files holds.
struct Labelled {
    side: usize,
    images: Vec<(u8, Vec<f32>)>,
}

impl Mnist {
    pub(super) fn open(
        train: &Files<'_>,
        test: Option<&Files<'_>>,
        held_out: &[u8],
        ordered: bool,
        augment: Augment,
    ) -> Result<Self, TaskError> {
        let mut checksums = BTreeMap::new();
        let Labelled { side, mut images } = read(train, &mut checksums)?;
        let mut kept = images.split_off(images.len() - images.len() / 6);
        let mut test_images = match test {
            Some(files) => {
                let read = read(files, &mut checksums)?;
                if read.side != side {
                    let reason = format!("images have a side of {}, and those to train on {side}", read.side);
                    return Err(TaskError::Format { path: files.images.to_owned(), reason });
                }
                read.images
            }
            None => Vec::new(),
        };
        let is_held_out = |(label, _): &(u8, Vec<f32>)| held_out.contains(label);
        if !held_out.is_empty() {
            // Without files of its own, the test split has the held-out classes of the others.
            let alone = test.is_none();
            let (new, old): (Vec<_>, Vec<_>) = images.into_iter().partition(is_held_out);
            let (new_kept, old_kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_held_out);
            (images, kept) = (old, old_kept);
            test_images.retain(is_held_out);
            test_images.extend(new.into_iter().chain(new_kept).filter(|_| alone));
        }
        let (train_glyphs, validation, test) = (classes(images), classes(kept), classes(test_images));
        // The folder tells MNIST from Fashion-MNIST, whose files have the same names.
        let name = train.images.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { side, train: train_glyphs, validation, test, ordered, augment, name, checksums })
    }

    fn glyphs(&self, split: Split) -> &[Glyph] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

impl TaskDistribution for Mnist {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        let glyphs = self.glyphs(split);
        if self.ordered && spec.way != (glyphs.len()..=glyphs.len()) {
            return Err(TaskError::Config(format!("{}: `ordered` classes are {} at once", self.name, glyphs.len())));
        }
        glyphs::check(glyphs, 1, spec)
            .map_err(|reason| TaskError::Config(format!("{} {}: {reason}", self.name, split.name())))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let augment = if split == Split::Train { self.augment } else { Augment::default() };
        let drawing = Drawing { side: self.side, rotations: 1, named: true, ordered: self.ordered, augment };
        let glyphs: Vec<&Glyph> = self.glyphs(split).iter().collect();
        glyphs::episode(&glyphs, drawing, spec, rng)
    }

    fn input(&self) -> InputSchema {
        InputSchema::Image { channels: 1, height: self.side, width: self.side, polarity: Polarity::Ink }
    }

    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn describe(&self, split: Split) -> String {
        let glyphs = self.glyphs(split);
        let images: usize = glyphs.iter().map(|glyph| glyph.images.len()).sum();
        format!("{} {}: {images} images of {} classes", self.name, split.name(), glyphs.len())
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

fn read(files: &Files<'_>, checksums: &mut BTreeMap<String, String>) -> Result<Labelled, TaskError> {
    let (packed, labels) = (idx::read(files.images)?, idx::read(files.labels)?);
    note_checksum(checksums, files.images, &packed);
    note_checksum(checksums, files.labels, &labels);
    let (images, labels) = (idx::images(&packed, files.images)?, idx::labels(&labels, files.labels)?);
    let format = |reason: String| TaskError::Format { path: files.images.to_owned(), reason };
    let side = images.height;
    if images.width != side || side == 0 {
        return Err(format(format!("images are {}×{}, and square ones are wanted", images.height, images.width)));
    }
    let images: Vec<_> = images.pixels.chunks_exact(side * side).collect();
    if images.len() != labels.len() {
        return Err(format(format!("{} images for {} labels", images.len(), labels.len())));
    }
    let grey = |pixels: &[u8]| pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let images = labels.iter().zip(images).map(|(&label, pixels)| (label, grey(pixels))).collect();
    Ok(Labelled { side, images })
}

/// Images by label, in the labels' order.
fn classes(images: Vec<(u8, Vec<f32>)>) -> Vec<Glyph> {
    let mut classes: BTreeMap<u8, Vec<Vec<f32>>> = BTreeMap::new();
    for (label, image) in images {
        classes.entry(label).or_default().push(image);
    }
    classes.into_iter().map(|(label, images)| Glyph { name: label.to_string(), images }).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Images of one pixel, of classes 0 to 3 in turn; the pixel says which image it is.
    fn idx(folder: &Path, count: u8) -> [std::path::PathBuf; 2] {
        let write = |name: &str, header: &[u32], body: Vec<u8>| {
            let path = folder.join(format!("{name}{count}"));
            let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).chain(body).collect();
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let images = write("images", &[0x0803, count.into(), 1, 1], (0..count).collect());
        [images, write("labels", &[0x0801, count.into()], (0..count).map(|image| image % 4).collect())]
    }

    #[test]
    fn classes_that_are_held_out_are_the_test_split_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [images, labels] = idx(folder.path(), 96);
        let [test_images, test_labels] = idx(folder.path(), 24);
        let (train, test) =
            (Files { images: &images, labels: &labels }, Files { images: &test_images, labels: &test_labels });
        let names = |tasks: &Mnist, split: Split| -> Vec<String> {
            tasks.glyphs(split).iter().map(|glyph| glyph.name.clone()).collect()
        };
        let count = |tasks: &Mnist| tasks.test.iter().map(|glyph| glyph.images.len()).sum::<usize>();

        let alone = Mnist::open(&train, None, &[2, 3], false, Augment::default()).unwrap();
        let with_files = Mnist::open(&train, Some(&test), &[2, 3], false, Augment::default()).unwrap();

        for tasks in [&alone, &with_files] {
            assert_eq!(names(tasks, Split::Train), ["0", "1"]);
            assert_eq!(names(tasks, Split::Validation), ["0", "1"]);
            assert_eq!(names(tasks, Split::Test), ["2", "3"]);
        }
        assert_eq!((count(&alone), count(&with_files)), (48, 12));
        let spec = EpisodeSpec { way: 2..=2, shot: 2..=2, query: 3, unlabelled: 0 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let is_new = |pixel: f32| (pixel * 255.0).round() % 4.0 >= 2.0;
        assert!(alone.sample(Split::Test, &spec, &mut rng).support.iter().all(|row| is_new(row[0])));
        assert!(alone.sample(Split::Train, &spec, &mut rng).support.iter().all(|row| !is_new(row[0])));
    }

    #[test]
    fn an_episode_says_what_its_classes_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let [images, labels] = idx(folder.path(), 96);
        let train = Files { images: &images, labels: &labels };
        let tasks = Mnist::open(&train, None, &[], false, Augment::default()).unwrap();
        let spec = EpisodeSpec { way: 3..=3, shot: 1..=1, query: 1, unlabelled: 0 };

        for seed in 0..20 {
            let episode = tasks.sample(Split::Train, &spec, &mut ChaCha8Rng::seed_from_u64(seed));
            let class = |row: &[f32]| ((row[0] * 255.0).round() % 4.0).to_string();
            assert_eq!(episode.names.unwrap().labels, episode.support.iter().map(class).collect::<Vec<_>>());
        }
    }
}
