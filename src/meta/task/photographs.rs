//! Digits over photographs, as MNIST-M is made (Ganin et al. 2016, arXiv:1505.07818, §5.2.3): the absolute difference of
//! a digit and a patch of a photograph, in each colour.

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::ink::Canvas;
use super::{TaskError, zipped};
use crate::domain::{Input, InputSchema, PixelLimits, Polarity};

/// Pixels of a side that every photograph is resized to.
const SIDE: usize = 64;

const INPUT: InputSchema = InputSchema::Image { channels: 3, height: SIDE, width: SIDE, polarity: Polarity::AsIs };

pub(super) struct Photographs {
    /// `[3, SIDE, SIDE]` bytes each.
    photographs: Vec<Vec<u8>>,
}

impl Photographs {
    /// Every JPEG and PNG in a zip.
    ///
    /// # Errors
    /// [`TaskError::Config`] if patches of `side` would be larger than a photograph.
    pub(super) fn open(path: &Path, side: usize, checksums: &mut BTreeMap<String, String>) -> Result<Self, TaskError> {
        if side > SIDE {
            return Err(TaskError::Config(format!("photographs have a side of {SIDE} pixels, and {side} are wanted")));
        }
        let members = zipped::members(path, &["jpg", "jpeg", "png"], checksums)?;
        let decode = |(member, bytes): (String, Vec<u8>)| {
            let row = INPUT.row(&Input::Encoded(bytes), PixelLimits::default());
            let row =
                row.map_err(|fault| TaskError::Format { path: path.to_owned(), reason: format!("{member}: {fault}") })?;
            Ok(row.into_iter().map(byte).collect())
        };
        Ok(Self { photographs: members.into_iter().map(decode).collect::<Result<_, TaskError>>()? })
    }

    /// `|ink − patch|`, of a patch that is drawn at random.
    pub(super) fn blended(&self, ink: &Canvas, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let photograph = &self.photographs[rng.random_range(0..self.photographs.len())];
        let side = ink.side();
        let (top, left) = (rng.random_range(0..=SIDE - side), rng.random_range(0..=SIDE - side));
        ink.per_channel(|channel, row, column, ink| {
            let patch = photograph[(channel * SIDE + top + row) * SIDE + left + column];
            (f32::from(patch) / 255.0 - ink).abs()
        })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 255, rounded")]
fn byte(value: f32) -> u8 {
    (value * 255.0).round() as u8
}
