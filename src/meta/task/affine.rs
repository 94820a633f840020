//! Random distortions and right-angle rotations of square grey images.
//!
//! A distortion is an affine map and, on top of it, a warp: displacements drawn at the points of a coarse grid and
//! interpolated between them, as a hand's unsteadiness (Simard, Steinkraus & Platt 2003, §2).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How far a training image may be distorted. Zero everywhere leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Largest shift in pixels, each way.
    pub shift: f32,
    /// Largest turn in degrees, each way.
    pub turn: f32,
    /// Largest change of size, as a share.
    pub scale: f32,
    /// Largest shear, as a share.
    pub shear: f32,
    /// Largest displacement of a grid point in pixels, each way.
    pub warp: f32,
}

impl Augment {
    /// Whether it changes nothing.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// A distorted copy of a `side`×`side` image; what comes from outside is 0.
    pub(super) fn apply(self, image: &[f32], side: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut within = |bound: f32| if bound > 0.0 { rng.random_range(-bound..=bound) } else { 0.0 };
        let (shift_x, shift_y) = (within(self.shift), within(self.shift));
        let turn = within(self.turn).to_radians();
        let (scale_x, scale_y) = (1.0 + within(self.scale), 1.0 + within(self.scale));
        let shear = within(self.shear);
        let (sin, cos) = turn.sin_cos();
        let mut grid = || Grid(std::array::from_fn(|_| within(self.warp)));
        let (warp_x, warp_y) = (grid(), grid());
        let centre = (side as f32 - 1.0) / 2.0;
        let cell = (side as f32 - 1.0) / (GRID - 1) as f32;
        let mut out = Vec::with_capacity(side * side);
        for row in 0..side {
            for column in 0..side {
                let (x, y) = (column as f32 - centre, row as f32 - centre);
                let (x, y) = ((cos * x + sin * y) / scale_x + shear * y, (cos * y - sin * x) / scale_y);
                let (across, down) = (column as f32 / cell, row as f32 / cell);
                let x = x + centre + shift_x + warp_x.at(across, down);
                let y = y + centre + shift_y + warp_y.at(across, down);
                out.push(bilinear(image, side, x, y));
            }
        }
        out
    }
}

/// Points of the warp's grid, each way.
const GRID: usize = 4;

/// A number at each point of the grid, row by row.
struct Grid([f32; GRID * GRID]);

impl Grid {
    /// Between the points, `across` and `down` in 0..=GRID − 1.
    fn at(&self, across: f32, down: f32) -> f32 {
        bilinear(&self.0, GRID, across, down)
    }
}

/// The value at a place between pixels; 0 outside.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers within the image")]
pub(super) fn bilinear(image: &[f32], side: usize, x: f32, y: f32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy) = (x - left, y - top);
    let at = |column: f32, row: f32| {
        let inside = column >= 0.0 && row >= 0.0 && column < side as f32 && row < side as f32;
        if inside { image[row as usize * side + column as usize] } else { 0.0 }
    };
    (at(left, top) * (1.0 - dx) + at(left + 1.0, top) * dx) * (1.0 - dy)
        + (at(left, top + 1.0) * (1.0 - dx) + at(left + 1.0, top + 1.0) * dx) * dy
}

/// A copy turned by `quarters` times 90°, counter-clockwise.
pub(super) fn quarter_turns(image: &[f32], side: usize, quarters: usize) -> Vec<f32> {
    let last = side - 1;
    let source = |row: usize, column: usize| match quarters % 4 {
        0 => (row, column),
        1 => (column, last - row),
        2 => (last - row, last - column),
        _ => (last - column, row),
    };
    (0..side * side)
        .map(|place| {
            let (row, column) = source(place / side, place % side);
            image[row * side + column]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_quarter_turn_is_counter_clockwise_and_four_are_none() {
        let image = [1.0, 2.0, 3.0, 4.0];

        assert_eq!(quarter_turns(&image, 2, 1), [2.0, 4.0, 1.0, 3.0]);
        assert_eq!(quarter_turns(&image, 2, 2), [4.0, 3.0, 2.0, 1.0]);
        assert_eq!(quarter_turns(&quarter_turns(&image, 2, 3), 2, 1), image);
    }

    #[test]
    fn no_distortion_leaves_the_image_as_it_is() {
        let image: Vec<f32> = (0..25u8).map(f32::from).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(0);

        assert_eq!(Augment::default().apply(&image, 5, &mut rng), image);
    }

    #[test]
    fn a_warp_bends_what_is_drawn_and_leaves_no_holes_in_what_is_full() {
        let (side, warp) = (9, Augment { warp: 1.0, ..Augment::default() });
        let stroke: Vec<f32> = (0..side * side).map(|place| f32::from(u8::from(place % side == 4))).collect();
        let apply = |image: &[f32]| warp.apply(image, side, &mut ChaCha8Rng::seed_from_u64(3));

        let full = apply(&vec![1.0; side * side]);

        assert_ne!(apply(&stroke), stroke);
        assert_eq!(apply(&stroke), apply(&stroke));
        let inside = (1..side - 1).flat_map(|row| (1..side - 1).map(move |column| row * side + column));
        assert!(inside.map(|place| full[place]).all(|ink| (ink - 1.0).abs() < 1e-5), "{full:?}");
    }
}
