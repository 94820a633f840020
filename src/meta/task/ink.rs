//! Ink on a canvas: the shape alone, before it has colours. How thick and how large it is are part of a style, too.

use super::affine::bilinear;

/// A square of ink, 0..1, with a margin.
pub(super) struct Canvas {
    side: usize,
    ink: Vec<f32>,
}

impl Canvas {
    /// `ink` of `inner`×`inner` in the middle of `side`×`side`.
    pub(super) fn framed(ink: &[f32], inner: usize, side: usize) -> Self {
        let margin = (side - inner) / 2;
        let mut framed = vec![0.0; side * side];
        for (row, pixels) in ink.chunks_exact(inner).enumerate() {
            let start = (row + margin) * side + margin;
            framed[start..start + inner].copy_from_slice(pixels);
        }
        Self { side, ink: framed }
    }

    /// Pixels of a side.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// `[3, H, W]`, of what `pixel` says for channel, row, column and ink.
    pub(super) fn per_channel(&self, pixel: impl Fn(usize, usize, usize, f32) -> f32) -> Vec<f32> {
        let side = self.side;
        let each = |channel| {
            let pixel = &pixel;
            self.ink.iter().enumerate().map(move |(at, &ink)| pixel(channel, at / side, at % side, ink))
        };
        (0..3).flat_map(each).collect()
    }

    /// The ink itself, in all three channels.
    pub(super) fn grey(&self) -> Vec<f32> {
        self.per_channel(|_, _, _, ink| ink)
    }

    /// The same ink, `across` times as wide and `down` times as high, around the middle. What leaves the canvas is cut off.
    pub(super) fn zoomed(&self, across: f32, down: f32) -> Self {
        let centre = (self.side as f32 - 1.0) / 2.0;
        let from = |place: usize, zoom: f32| (place as f32 - centre) / zoom + centre;
        self.of_each(|row, column| bilinear(&self.ink, self.side, from(column, across), from(row, down)))
    }

    /// The same ink with strokes that are up to a pixel wider on each side (`weight` 1), or narrower (−1).
    pub(super) fn weighed(&self, weight: f32) -> Self {
        let around = |place: usize| (place.cast_signed() - 1)..=(place.cast_signed() + 1);
        self.of_each(|row, column| {
            let near = around(row).flat_map(|row| around(column).map(move |column| self.at(row, column)));
            let furthest = if weight < 0.0 { near.fold(1.0, f32::min) } else { near.fold(0.0, f32::max) };
            let own = self.ink[row * self.side + column];
            own + weight.abs() * (furthest - own)
        })
    }

    /// The same ink with that of another canvas, moved to the side by a share of the canvas, behind it.
    pub(super) fn beside(&self, other: &Self, share: f32) -> Self {
        let away = share * self.side as f32;
        self.of_each(|row, column| {
            let behind = bilinear(&other.ink, self.side, column as f32 - away, row as f32);
            self.ink[row * self.side + column].max(behind)
        })
    }

    /// Row by row.
    pub(super) fn ink(&self) -> &[f32] {
        &self.ink
    }

    fn of_each(&self, ink: impl Fn(usize, usize) -> f32) -> Self {
        let side = self.side;
        Self { side, ink: (0..side * side).map(|place| ink(place / side, place % side)).collect() }
    }

    /// Ink at a place that may be outside.
    fn at(&self, row: isize, column: isize) -> f32 {
        match (usize::try_from(row), usize::try_from(column)) {
            (Ok(row), Ok(column)) if row < self.side && column < self.side => self.ink[row * self.side + column],
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cross() -> Canvas {
        let ink: Vec<f32> = (0..64).map(|place| f32::from(u8::from(place / 8 == 4 || place % 8 == 4))).collect();
        Canvas::framed(&ink, 8, 12)
    }

    #[test]
    fn a_margin_frames_the_ink() {
        let canvas = cross();

        assert_eq!(canvas.side(), 12);
        assert_eq!(canvas.at(6, 2), 1.0);
        assert_eq!((canvas.at(6, 1), canvas.at(-1, 6), canvas.at(6, 12)), (0.0, 0.0, 0.0));
        assert_eq!(canvas.grey().iter().sum::<f32>(), 3.0 * 15.0);
    }

    #[test]
    fn ink_is_zoomed_around_the_middle_and_strokes_grow_and_shrink_on_both_sides() {
        let dot = Canvas::framed(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], 3, 7);
        let sum = |canvas: &Canvas| canvas.grey().iter().sum::<f32>() / 3.0;

        let wide = dot.zoomed(2.0, 1.0);
        assert_eq!((wide.at(3, 3), wide.at(3, 2), wide.at(3, 1), wide.at(2, 3)), (1.0, 0.5, 0.0, 0.0));
        assert_eq!(sum(&dot.weighed(1.0)), 9.0);
        assert_eq!(sum(&dot.weighed(0.5)), 5.0);
        assert_eq!(sum(&dot.weighed(1.0).weighed(-1.0)), 1.0);
        assert_eq!(sum(&dot.weighed(0.0)), 1.0);
    }
}
