//! Classes of small grey images in memory, and episodes drawn from them.

use std::iter;

use rand_chacha::ChaCha8Rng;

use super::affine::{Augment, quarter_turns};
use super::{EpisodeSpec, classes};
use crate::meta::Episode;

/// One class: its images, row-major, ink 1.
pub(super) struct Glyph {
    /// Where it is from: `Gurmukhi/character05`.
    pub(super) name: String,
    /// Its images.
    pub(super) images: Vec<Vec<f32>>,
}

/// How a split draws from its classes.
#[derive(Clone, Copy)]
pub(super) struct Drawing {
    /// Pixels of a side.
    pub(super) side: usize,
    /// 4 if each right-angle rotation of a class is a class of its own, else 1.
    pub(super) rotations: usize,
    /// Whether episodes tell what their classes are called.
    pub(super) named: bool,
    /// Whether label n is always the nth class; else each episode numbers its classes anew.
    pub(super) ordered: bool,
    /// Random distortions.
    pub(super) augment: Augment,
}

/// Whether there are enough classes, and images of each, for such episodes; a reason if not.
pub(super) fn check(glyphs: &[Glyph], rotations: usize, spec: &EpisodeSpec) -> Result<(), String> {
    classes::check(glyphs.iter().flat_map(|glyph| iter::repeat_n(glyph.images.len(), rotations)), spec)
}

/// One episode.
pub(super) fn episode(glyphs: &[&Glyph], drawing: Drawing, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
    let counts: Vec<usize> =
        glyphs.iter().flat_map(|glyph| iter::repeat_n(glyph.images.len(), drawing.rotations)).collect();
    let row = |class: usize, image: usize, rng: &mut ChaCha8Rng| {
        let (glyph, quarters) = (glyphs[class / drawing.rotations], class % drawing.rotations);
        let pixels = quarter_turns(&glyph.images[image], drawing.side, quarters);
        if drawing.augment.is_none() { pixels } else { drawing.augment.apply(&pixels, drawing.side, rng) }
    };
    let names: Vec<&str> =
        glyphs.iter().flat_map(|glyph| iter::repeat_n(glyph.name.as_str(), drawing.rotations)).collect();
    classes::episode(
        &counts,
        drawing.named.then_some(&names),
        drawing.ordered,
        drawing.side * drawing.side,
        spec,
        rng,
        row,
    )
}
