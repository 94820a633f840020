//! Numbers in and numbers out: the values that cross into the engine and come back from it.

use sha2::{Digest, Sha256};

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

    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }
}

/// What the support rows are labelled with.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class of each row, `0..way`; every class occurs.
    Classes {
        /// One class a row.
        labels: Vec<u32>,
        /// Number of classes N, at least 2.
        way: usize,
    },
    /// A number of each row.
    Values(Vec<f32>),
}

impl Targets {
    /// How many rows are labelled.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Outputs that a head for these targets has: N classes, or one number.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes { way, .. } => *way,
            Self::Values(_) => 1,
        }
    }
}

/// A support set as the engine takes it: in canonical order, so that one set has one adapter however it was collected.
#[derive(Clone, Debug, PartialEq)]
pub struct SupportSet {
    inputs: Rows,
    targets: Targets,
    /// For each row, its place in the order that it was given in.
    order: Vec<usize>,
    hash: String,
}

impl SupportSet {
    /// Checks rows against targets and puts them into canonical order.
    ///
    /// # Errors
    /// [`Fault::EmptySupport`], [`Fault::TooFewLabels`] for fewer than two classes or a class without a row,
    /// [`Fault::OutOfRange`] for a class outside `0..way`, [`Fault::NotFinite`] for a value that is not.
    pub fn new(inputs: &Rows, targets: &Targets) -> Result<Self, Fault> {
        if inputs.is_empty() {
            return Err(Fault::EmptySupport);
        }
        if inputs.len() != targets.len() {
            return Err(Fault::TooFew { what: "targets", given: targets.len(), least: inputs.len() });
        }
        match targets {
            Targets::Classes { labels, way } => check_classes(labels, *way)?,
            Targets::Values(values) => finite(values)?,
        }
        let digests: Vec<[u8; 32]> =
            (0..inputs.len()).map(|index| row_digest(inputs.row(index), targets, index)).collect();
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&index| digests[index]);
        let mut whole = Sha256::new();
        whole.update((targets.outputs() as u64).to_le_bytes());
        for &index in &order {
            whole.update(digests[index]);
        }
        let values = order.iter().flat_map(|&index| inputs.row(index).iter().copied()).collect();
        let targets = match targets {
            Targets::Classes { labels, way } => {
                Targets::Classes { labels: order.iter().map(|&index| labels[index]).collect(), way: *way }
            }
            Targets::Values(values) => Targets::Values(order.iter().map(|&index| values[index]).collect()),
        };
        let hash = format!("sha256:{}", hex(&whole.finalize()));
        Ok(Self { inputs: Rows { width: inputs.width, values }, targets, order, hash })
    }

    /// Rows in canonical order.
    pub fn inputs(&self) -> &Rows {
        &self.inputs
    }

    /// Targets in canonical order.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Number of rows S.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Never true: a support set has at least one row.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// `order()[i]` is the place in which canonical row `i` was given.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// `sha256:<hex>` of the set: rows, targets and number of outputs, whatever the order they came in.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

fn check_classes(labels: &[u32], way: usize) -> Result<(), Fault> {
    let mut seen = vec![false; way];
    for &label in labels {
        let most = i64::try_from(way).unwrap_or(i64::MAX) - 1;
        *seen.get_mut(label as usize).ok_or(Fault::OutOfRange { given: i64::from(label), least: 0, most })? = true;
    }
    let given = seen.iter().filter(|&&seen| seen).count();
    if way < 2 || given < way {
        return Err(Fault::TooFewLabels { given });
    }
    Ok(())
}

fn row_digest(row: &[f32], targets: &Targets, index: usize) -> [u8; 32] {
    let mut digest = Sha256::new();
    for value in row {
        digest.update(value.to_le_bytes());
    }
    match targets {
        Targets::Classes { labels, .. } => digest.update(labels[index].to_le_bytes()),
        Targets::Values(values) => digest.update(values[index].to_le_bytes()),
    }
    digest.finalize().into()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[f32]) -> Rows {
        Rows::new(2, values.to_vec()).expect("finite")
    }

    fn classes(labels: &[u32]) -> Targets {
        Targets::Classes { labels: labels.to_vec(), way: 2 }
    }

    #[test]
    fn the_same_set_in_another_order_is_the_same_support() {
        let one = SupportSet::new(&rows(&[1., 2., 3., 4., 5., 6.]), &classes(&[0, 1, 0])).expect("valid");
        let other = SupportSet::new(&rows(&[5., 6., 3., 4., 1., 2.]), &classes(&[0, 1, 0])).expect("valid");

        assert_eq!((one.inputs(), one.targets(), one.hash()), (other.inputs(), other.targets(), other.hash()));
    }

    #[test]
    fn another_label_is_another_support() {
        let one = SupportSet::new(&rows(&[1., 2., 3., 4., 5., 6.]), &classes(&[0, 1, 0])).expect("valid");
        let other = SupportSet::new(&rows(&[1., 2., 3., 4., 5., 6.]), &classes(&[0, 1, 1])).expect("valid");

        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn a_support_set_with_a_missing_class_is_refused() {
        let support = SupportSet::new(&rows(&[1., 2., 3., 4.]), &classes(&[1, 1]));

        assert_eq!(support, Err(Fault::TooFewLabels { given: 1 }));
    }

    #[test]
    fn a_label_outside_the_classes_is_refused() {
        let support = SupportSet::new(&rows(&[1., 2., 3., 4.]), &classes(&[0, 2]));

        assert_eq!(support, Err(Fault::OutOfRange { given: 2, least: 0, most: 1 }));
    }

    #[test]
    fn rows_with_nan_are_refused() {
        assert!(matches!(Rows::new(1, vec![0.0, f32::NAN]), Err(Fault::NotFinite { index: 1, .. })));
    }
}
