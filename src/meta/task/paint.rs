//! Random styles: what a grey shape may look like in colour.
//!
//! Everything is made up: grounds of colours, clouds and edges, ink over them or blended with them, thick or thin, large or
//! small, with an edge of another colour, neighbours that are cut off, blur, faint contrast, noise. No photograph is imitated; the aim is that features which survive all of these survive
//! a domain that was never seen.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::ink::Canvas;

/// How an episode's images look. What is drawn per image, such as the ground, is drawn when it is painted.
pub(super) struct Style {
    /// Whether ink turns the ground's colours around, rather than covering them.
    blended: bool,
    /// Whether every image has colours of its own.
    motley: bool,
    ground: Ground,
    /// How far the ground departs from its mean colour.
    depth: f32,
    /// How much wider and higher than it is written.
    zoom: [f32; 2],
    /// How much thicker strokes are, see [`Canvas::weighed`].
    weight: f32,
    /// Whether ink has an edge of another colour.
    edged: bool,
    /// Share of images with a cut-off neighbour, on each side.
    neighbours: f64,
    /// How often 3×3 means are taken.
    blurs: usize,
    /// Darkest and lightest value.
    range: (f32, f32),
    /// Largest noise, each way.
    noise: f32,
    /// How far colours depart from greys, 0..1.
    tint: f32,
    colours: Colours,
}

#[derive(Clone, Copy)]
struct Colours {
    ground: [f32; 3],
    ink: [f32; 3],
    edge: [f32; 3],
}

#[derive(Clone, Copy)]
enum Ground {
    Flat,
    /// From one side to the other.
    Gradient,
    /// Smooth noise of so many cells a side.
    Clouds(usize),
    /// Areas with straight edges, of so many cuts.
    Cuts(usize),
    /// A bit of each, anew for every image.
    Any,
}

impl Colours {
    /// Colours of ground and ink that can be told apart.
    fn draw(tint: f32, rng: &mut ChaCha8Rng) -> Self {
        let mut colour = || {
            let grey = rng.random_range(0.0..=1.0f32);
            [0; 3].map(|_: i32| grey + tint * (rng.random_range(0.0..=1.0) - grey))
        };
        loop {
            let (ground, ink, edge) = (colour(), colour(), colour());
            let apart: f32 = ground.iter().zip(&ink).map(|(one, other)| (one - other).abs()).sum();
            if apart > 0.75 {
                return Self { ground, ink, edge };
            }
        }
    }
}

impl Ground {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..8) {
            0 => Self::Flat,
            1 => Self::Gradient,
            2 | 3 => Self::Clouds(rng.random_range(2..=12)),
            4 | 5 => Self::Cuts(rng.random_range(1..=4)),
            _ => Self::Any,
        }
    }

    /// How far each pixel of `[3, side, side]` departs from the ground's colour, −1..1.
    fn paint(self, side: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        match self {
            Self::Flat => vec![0.0; 3 * side * side],
            Self::Gradient => clouds(1, side, rng),
            Self::Clouds(cells) => clouds(cells, side, rng),
            Self::Cuts(cuts) => {
                let mut ground = vec![0.0; 3 * side * side];
                for _ in 0..cuts {
                    cut(&mut ground, side, rng);
                }
                ground
            }
            Self::Any => {
                let mut ground = clouds(rng.random_range(1..=3), side, rng);
                let fine = clouds(rng.random_range(5..=14), side, rng);
                let share = rng.random_range(0.0..=0.6);
                ground.iter_mut().zip(fine).for_each(|(ground, fine)| *ground += share * fine);
                for _ in 0..rng.random_range(0..=3) {
                    cut(&mut ground, side, rng);
                }
                ground
            }
        }
    }
}

impl Style {
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let dark = rng.random_range(0.0..=0.6);
        let light = dark + rng.random_range(0.25f32..=1.0) * (1.0 - dark);
        let tint = if rng.random_bool(0.5) { 0.15 } else { 1.0 };
        let as_written = rng.random_bool(0.3);
        Self {
            blended: rng.random_bool(0.5),
            motley: rng.random_bool(0.5),
            ground: Ground::draw(rng),
            depth: rng.random_range(0.1..=1.0),
            zoom: if as_written { [1.0; 2] } else { [rng.random_range(0.8..=1.4), rng.random_range(0.9..=1.45)] },
            weight: if as_written { 0.0 } else { rng.random_range(-0.4..=1.0) },
            edged: rng.random_bool(0.15),
            neighbours: if rng.random_bool(0.4) { rng.random_range(0.3..=0.8) } else { 0.0 },
            blurs: if rng.random_bool(0.5) { 0 } else { rng.random_range(1..=3) },
            range: if rng.random_bool(0.5) { (0.0, 1.0) } else { (dark, light) },
            noise: if rng.random_bool(0.5) { rng.random_range(0.0..=0.15) } else { 0.0 },
            tint,
            colours: Colours::draw(tint, rng),
        }
    }

    /// `[3, H, W]`, 0..1: `ink` in this style, with pieces of `others` at its sides if the style has neighbours.
    pub(super) fn paint(&self, ink: &Canvas, others: [&Canvas; 2], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let side = ink.side();
        let colours = if self.motley { Colours::draw(self.tint, rng) } else { self.colours };
        let ground = self.ground.paint(side, rng);
        let [across, down] = self.zoom.map(|zoom| zoom * rng.random_range(0.93..=1.07));
        let drawn = |ink: &Canvas| ink.zoomed(across, down).weighed(self.weight);
        let mut ink = drawn(ink);
        for (other, side) in others.into_iter().zip([-1.0, 1.0]) {
            if rng.random_bool(self.neighbours) {
                ink = ink.beside(&drawn(other), side * across.max(1.0) * rng.random_range(0.45..=0.7));
            }
        }
        let edge = self.edged.then(|| ink.weighed(1.0));
        let mut image = ink.per_channel(|channel, row, column, ink| {
            let place = row * side + column;
            let depth = self.depth * ground[channel * side * side + place];
            let ground = (colours.ground[channel] + depth).clamp(0.0, 1.0);
            if self.blended {
                return (ground - ink).abs();
            }
            let edge = edge.as_ref().map_or(0.0, |edge| edge.ink()[place]);
            let ground = ground + edge * (colours.edge[channel] - ground);
            ground + ink * (colours.ink[channel] - ground)
        });
        for _ in 0..self.blurs {
            image = image.chunks_exact(side * side).flat_map(|plane| means(plane, side)).collect();
        }
        let (dark, light) = self.range;
        for value in &mut image {
            let noise = if self.noise > 0.0 { rng.random_range(-self.noise..=self.noise) } else { 0.0 };
            *value = (dark + (light - dark) * *value + noise).clamp(0.0, 1.0);
        }
        image
    }
}

/// Noise on a grid of `cells` + 1 knots a side, bilinear between them, in three channels that have some of it in common.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers within the grid")]
fn clouds(cells: usize, side: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let knots = cells + 1;
    let mut grid = || -> Vec<f32> { (0..knots * knots).map(|_| rng.random_range(-1.0..=1.0)).collect() };
    let (common, own) = (grid(), [grid(), grid(), grid()]);
    let at = |place: usize| {
        let place = place as f32 * cells as f32 / side as f32;
        (place as usize, place.fract())
    };
    let mut out = Vec::with_capacity(3 * side * side);
    for own in own {
        let knot = |row: usize, column: usize| 0.6 * common[row * knots + column] + 0.4 * own[row * knots + column];
        for row in 0..side {
            let (top, below) = at(row);
            for column in 0..side {
                let (left, right) = at(column);
                let upper = knot(top, left) * (1.0 - right) + knot(top, left + 1) * right;
                let lower = knot(top + 1, left) * (1.0 - right) + knot(top + 1, left + 1) * right;
                out.push(upper * (1.0 - below) + lower * below);
            }
        }
    }
    out
}

/// Moves the colour of one side of a random line.
fn cut(ground: &mut [f32], side: usize, rng: &mut ChaCha8Rng) {
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let (sin, cos) = angle.sin_cos();
    let centre = side as f32 / 2.0;
    let offset = rng.random_range(-centre..=centre);
    let by = [0; 3].map(|_: i32| rng.random_range(-1.0..=1.0f32));
    for (place, value) in ground.iter_mut().enumerate() {
        let (channel, place) = (place / (side * side), place % (side * side));
        let (y, x) = ((place / side) as f32 - centre, (place % side) as f32 - centre);
        if x * cos + y * sin > offset {
            *value += by[channel];
        }
    }
}

/// Means of 3×3 pixels, of fewer at the border.
fn means(plane: &[f32], side: usize) -> Vec<f32> {
    let around = |place: usize| place.saturating_sub(1)..=(place + 1).min(side - 1);
    let mean = |row: usize, column: usize| {
        let near = || around(row).flat_map(|row| around(column).map(move |column| row * side + column));
        near().map(|place| plane[place]).sum::<f32>() / near().count() as f32
    };
    (0..side * side).map(|place| mean(place / side, place % side)).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn cross() -> Canvas {
        let ink: Vec<f32> = (0..64).map(|place| f32::from(u8::from(place / 8 == 4 || place % 8 == 4))).collect();
        Canvas::framed(&ink, 8, 12)
    }

    #[test]
    fn every_style_stays_in_range_and_is_a_function_of_the_generator() {
        for seed in 0..200 {
            let paint = || {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let style = Style::draw(&mut rng);
                style.paint(&cross(), [&cross(), &cross()], &mut rng)
            };
            let painted = paint();
            assert_eq!(painted.len(), 3 * 144);
            assert!(painted.iter().all(|value| (0.0..=1.0).contains(value)), "seed {seed}");
            assert_eq!(painted, paint());
        }
    }
}
