//! Numbers in and numbers out, row by row: what crosses into the engine and what comes back.

use super::{Fault, finite};

/// Rows of equal width, row-major; every number is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    /// From row-major values.
    ///
    /// # Errors
    /// [`Fault::WrongWidth`] if they are not whole rows, [`Fault::NotFinite`] if one is NaN, infinite or huge.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Self, Fault> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(Fault::WrongWidth { expected: width, given: values.len() });
        }
        finite(&values)?;
        Ok(Self { width, values })
    }

    /// No rows, `width` numbers wide.
    pub const fn none(width: usize) -> Self {
        Self { width, values: Vec::new() }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Row by row.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// The rows at these places, in their order.
    #[must_use]
    pub fn picked(&self, places: &[usize]) -> Self {
        Self { width: self.width, values: places.iter().flat_map(|&place| self.row(place).iter().copied()).collect() }
    }

    /// The same with zeros in each row from that place on.
    #[must_use]
    pub fn cleared_from(mut self, place: usize) -> Self {
        self.values.chunks_exact_mut(self.width).for_each(|row| row[place..].fill(0.0));
        self
    }

    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }
}

/// What the engine answers: a row of scores for each query row. Logits for classes, the value itself for regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Scores in a row: N, or 1.
    pub width: usize,
    /// Row-major scores, all finite.
    pub values: Vec<f32>,
}

impl Outputs {
    /// The rows in turn.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }
}

/// Inner loops of an estimate, where it takes any.
pub const ESTIMATE_FOLDS: usize = 5;

/// What support rows are given by adapters that were made without them.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// Row by row of the support set in canonical order.
    pub outputs: Outputs,
    /// Most folds that there may have been: of a class with more examples several were held out at a time. One row of each
    /// class is held out together; of a class's only row the outputs say nothing.
    pub folds: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_nan_are_refused() {
        assert!(matches!(Rows::new(1, vec![0.0, f32::NAN]), Err(Fault::NotFinite { index: 1, .. })));
    }
}
