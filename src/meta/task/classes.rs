//! Episodes of classes: which classes, which of their images, and what each image is for.

use rand::RngExt;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::EpisodeSpec;
use crate::domain::{Rows, Targets};
use crate::meta::Episode;
use crate::meta::batch::Names;

/// Whether there are enough classes, given how many images each has, for such episodes; a reason if not.
pub(super) fn check(counts: impl Iterator<Item = usize> + Clone, spec: &EpisodeSpec) -> Result<(), String> {
    let (classes, way) = (counts.clone().count(), *spec.way.end());
    if classes < way {
        return Err(format!("it has {classes} classes, and {way}-way episodes need as many as that"));
    }
    let wanted = spec.shot.end() + spec.query + spec.unlabelled;
    match counts.min() {
        Some(fewest) if fewest < wanted => {
            Err(format!("a class has {fewest} images, and {wanted} are wanted for an episode"))
        }
        _ => Ok(()),
    }
}

/// One episode: classes without replacement, of each as many images as `spec` says without replacement.
///
/// * `counts`: how many images each class has.
/// * `names`: what each class is called, if that is told.
/// * `ordered`: whether label n is always the nth class that was chosen; else each episode numbers its classes anew.
/// * `row`: `width` pixels of a class and an image of it.
pub(super) fn episode(
    counts: &[usize],
    names: Option<&[&str]>,
    ordered: bool,
    width: usize,
    spec: &EpisodeSpec,
    rng: &mut ChaCha8Rng,
    row: impl Fn(usize, usize, &mut ChaCha8Rng) -> Vec<f32>,
) -> Episode {
    let way = rng.random_range(spec.way.clone());
    let shot = rng.random_range(spec.shot.clone());
    let (mut support, mut support_labels) = (Vec::new(), Vec::new());
    let (mut query, mut query_labels) = (Vec::new(), Vec::new());
    let mut unlabelled = Vec::new();
    let mut chosen = index::sample(rng, counts.len(), way).into_vec();
    if ordered {
        chosen.sort_unstable();
    }
    let called =
        names.map(|names| Names { labels: chosen.iter().map(|&class| names[class].to_owned()).collect(), rows: None });
    for (label, class) in chosen.into_iter().enumerate() {
        let label = u32::try_from(label).expect("far fewer classes than 2^32");
        let images = index::sample(rng, counts[class], shot + spec.query + spec.unlabelled);
        for (place, image) in images.into_iter().enumerate() {
            let pixels = row(class, image, rng);
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
    let rows = |values| Rows::new(width, values).expect("pixels are finite");
    Episode {
        support: rows(support),
        support_targets: Targets::Classes { labels: support_labels, way },
        query: rows(query),
        query_targets: Targets::Classes { labels: query_labels, way },
        unlabelled: (!unlabelled.is_empty()).then(|| rows(unlabelled)),
        names: called,
    }
}
