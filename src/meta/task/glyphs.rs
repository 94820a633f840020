//! Classes of small grey images in memory, and episodes drawn from them.

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::EpisodeSpec;
use super::affine::{Augment, quarter_turns};
use crate::domain::{Rows, Targets};
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
    /// Whether label n is always the nth class; else each episode numbers its classes anew.
    pub(super) ordered: bool,
    /// Random distortions.
    pub(super) augment: Augment,
}

/// Whether there are enough classes, and images of each, for such episodes; a reason if not.
pub(super) fn check(glyphs: &[Glyph], rotations: usize, spec: &EpisodeSpec) -> Result<(), String> {
    let (classes, way) = (glyphs.len() * rotations, *spec.way.end());
    if classes < way {
        return Err(format!("it has {classes} classes, and {way}-way episodes need as many as that"));
    }
    let (fewest, wanted) =
        (glyphs.iter().map(|glyph| glyph.images.len()).min(), spec.shot.end() + spec.query + spec.unlabelled);
    match fewest {
        Some(fewest) if fewest < wanted => {
            Err(format!("a class has {fewest} images, and {wanted} are wanted for an episode"))
        }
        _ => Ok(()),
    }
}

/// One episode: `way` classes without replacement, of each as many images as `spec` says without replacement.
pub(super) fn episode(glyphs: &[&Glyph], drawing: Drawing, spec: &EpisodeSpec, rng: &mut ChaCha8Rng) -> Episode {
    let classes = glyphs.len() * drawing.rotations;
    let way = rng.random_range(spec.way.clone());
    let shot = rng.random_range(spec.shot.clone());
    let (mut support, mut support_labels) = (Vec::new(), Vec::new());
    let (mut query, mut query_labels) = (Vec::new(), Vec::new());
    let mut unlabelled = Vec::new();
    let mut chosen = index::sample(rng, classes, way).into_vec();
    if drawing.ordered {
        chosen.sort_unstable();
    }
    for (label, class) in chosen.into_iter().enumerate() {
        let label = u32::try_from(label).expect("far fewer classes than 2^32");
        let (glyph, quarters) = (glyphs[class / drawing.rotations], class % drawing.rotations);
        let images = index::sample(rng, glyph.images.len(), shot + spec.query + spec.unlabelled);
        for (place, image) in images.into_iter().enumerate() {
            let mut pixels = quarter_turns(&glyph.images[image], drawing.side, quarters);
            if !drawing.augment.is_none() {
                pixels = drawing.augment.apply(&pixels, drawing.side, rng);
            }
            if place < shot {
                support.extend(pixels);
                support_labels.push(label);
            } else if place < shot + spec.query {
                query.extend(pixels);
                query_labels.push(label);
            } else {
                unlabelled.extend(pixels);
            }
        }
    }
    let width = drawing.side * drawing.side;
    let rows = |values| Rows::new(width, values).expect("pixels are finite");
    Episode {
        support: rows(support),
        support_targets: Targets::Classes { labels: support_labels, way },
        query: rows(query),
        query_targets: Targets::Classes { labels: query_labels, way },
        unlabelled: (!unlabelled.is_empty()).then(|| rows(unlabelled)),
    }
}
