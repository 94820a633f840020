//! Coloured images by class: photographs in folders, street numbers.

use std::collections::BTreeMap;
use std::path::Path;

use rand_chacha::ChaCha8Rng;

use super::{EpisodeSpec, Split, TaskDistribution, TaskError, classes, mat, note_checksum, zipped};
use crate::domain::{Input, InputSchema, Kind, PixelLimits, Polarity};
use crate::meta::Episode;

/// Pixels of a side of SVHN's cropped digits.
const SVHN_SIDE: usize = 32;

/// One class: its images, `[3, side, side]` bytes each.
struct Class {
    name: String,
    images: Vec<Vec<u8>>,
}

/// Classes of images in three splits.
pub(super) struct Coloured {
    name: String,
    side: usize,
    train: Vec<Class>,
    validation: Vec<Class>,
    test: Vec<Class>,
    checksums: BTreeMap<String, String>,
}

impl Coloured {
    /// A zip whose members' last folder is their class. `validation` and `test` name classes that are kept for these
    /// splits; the others are trained on.
    pub(super) fn folders(path: &Path, side: usize, validation: &[String], test: &[String]) -> Result<Self, TaskError> {
        let mut checksums = BTreeMap::new();
        let input = InputSchema::Image { channels: 3, height: side, width: side, polarity: Polarity::AsIs };
        let mut images: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for (member, bytes) in zipped::members(path, &["jpg", "jpeg", "png", "webp"], &mut checksums)? {
            let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
            let Some(class) = member.rsplit('/').nth(1) else {
                return Err(format(format!("member `{member}` is not in a folder that names its class")));
            };
            let row = input
                .row(&Input::Encoded(bytes), PixelLimits::default())
                .map_err(|fault| format(format!("{member}: {fault}")))?;
            images.entry(class.to_owned()).or_default().push(row.into_iter().map(as_byte).collect());
        }
        if let Some(missing) = validation.iter().chain(test).find(|name| !images.contains_key(*name)) {
            return Err(TaskError::Config(format!("{}: there is no class `{missing}`", path.display())));
        }
        let mut splits = [Vec::new(), Vec::new(), Vec::new()];
        for (name, images) in images {
            let place = if test.contains(&name) { 2 } else { usize::from(validation.contains(&name)) };
            splits[place].push(Class { name, images });
        }
        let [train, validation, test] = splits;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, side, train, validation, test, checksums })
    }

    /// SVHN (Netzer et al. 2011), format 2: `train_32x32.mat` and `test_32x32.mat`. Classes are the digits, in all splits;
    /// `validation` is the last sixth of the training file.
    pub(super) fn svhn(train: Option<&Path>, test: &Path) -> Result<Self, TaskError> {
        let mut checksums = BTreeMap::new();
        let test = svhn_digits(test, &mut checksums)?;
        let digits = train.map(|path| svhn_digits(path, &mut checksums)).transpose()?.unwrap_or_default();
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for Class { name, mut images } in digits {
            let kept = images.split_off(images.len() - images.len() / 6);
            validation.push(Class { name: name.clone(), images: kept });
            train.push(Class { name, images });
        }
        Ok(Self { name: "SVHN".to_owned(), side: SVHN_SIDE, train, validation, test, checksums })
    }

    fn classes(&self, split: Split) -> &[Class] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

impl TaskDistribution for Coloured {
    fn check(&self, split: Split, spec: &EpisodeSpec) -> Result<(), TaskError> {
        classes::check(self.classes(split).iter().map(|class| class.images.len()), spec)
            .map_err(|reason| TaskError::Config(format!("{} {}: {reason}", self.name, split.name())))
    }

    fn sample(&self, split: Split, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
        let classes = self.classes(split);
        let counts: Vec<usize> = classes.iter().map(|class| class.images.len()).collect();
        let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        classes::episode(&counts, Some(&names), false, 3 * self.side * self.side, spec, rng, |class, image, _| {
            classes[class].images[image].iter().map(|&byte| f32::from(byte) / 255.0).collect()
        })
    }

    fn input(&self) -> InputSchema {
        InputSchema::Image { channels: 3, height: self.side, width: self.side, polarity: Polarity::AsIs }
    }

    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn describe(&self, split: Split) -> String {
        let classes = self.classes(split);
        let images: usize = classes.iter().map(|class| class.images.len()).sum();
        format!("{} {}: {images} images of {} classes", self.name, split.name(), classes.len())
    }

    fn checksums(&self) -> BTreeMap<String, String> {
        self.checksums.clone()
    }
}

/// Digits 0 to 9 of one file: `X`, `[32, 32, 3, N]`, and `y`, `[N, 1]`, where 10 stands for the digit 0.
fn svhn_digits(path: &Path, checksums: &mut BTreeMap<String, String>) -> Result<Vec<Class>, TaskError> {
    let bytes = std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), source })?;
    note_checksum(checksums, path, &bytes);
    let arrays = mat::arrays(&bytes, path)?;
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let array = |name: &str| {
        let found = arrays.iter().find(|array| array.name == name);
        found.ok_or_else(|| format(format!("it has no array `{name}`: SVHN's cropped digits have X and y")))
    };
    let (images, labels) = (array("X")?, array("y")?);
    let [SVHN_SIDE, SVHN_SIDE, 3, count] = images.sizes[..] else {
        return Err(format(format!("X has sizes {:?}, and [32, 32, 3, N] is expected", images.sizes)));
    };
    if labels.bytes.len() != count {
        return Err(format(format!("{} labels for {count} images", labels.bytes.len())));
    }
    let mut digits: Vec<Class> =
        (0..10).map(|digit: u8| Class { name: digit.to_string(), images: Vec::new() }).collect();
    for (image, &label) in images.bytes.chunks_exact(3 * SVHN_SIDE * SVHN_SIDE).zip(&labels.bytes) {
        let Some(class) = digits.get_mut(usize::from(label % 10)).filter(|_| (1..=10).contains(&label)) else {
            return Err(format(format!("label {label}, and 1 to 10 are expected")));
        };
        class.images.push(rows_first(image));
    }
    Ok(digits)
}

/// `[rows, columns, 3]` with rows fastest, as MATLAB has it, as `[3, rows, columns]` with columns fastest.
fn rows_first(image: &[u8]) -> Vec<u8> {
    let side = SVHN_SIDE;
    (0..3 * side * side)
        .map(|place| {
            let (channel, row, column) = (place / (side * side), place / side % side, place % side);
            image[(channel * side + column) * side + row]
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 255, rounded")]
fn as_byte(value: f32) -> u8 {
    (value * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matlabs_order_becomes_rows_of_pixels() {
        // A pixel of channel 2, row 5, column 7.
        let mut image = vec![0; 3 * SVHN_SIDE * SVHN_SIDE];
        image[5 + SVHN_SIDE * 7 + SVHN_SIDE * SVHN_SIDE * 2] = 9;

        assert_eq!(rows_first(&image)[(2 * SVHN_SIDE + 5) * SVHN_SIDE + 7], 9);
    }
}
