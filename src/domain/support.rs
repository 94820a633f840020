//! Support sets: what the engine adapts to.

use sha2::{Digest, Sha256};

use super::{Fault, Rows, Signal, check_weight, finite};

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
    /// What somebody did with each row's item.
    Signals {
        /// One value a row, −1 to 1.
        values: Vec<f32>,
        /// For how many signals each counts, above 0.
        weights: Vec<f32>,
    },
}

impl Targets {
    /// How many rows are labelled.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values(values) | Self::Signals { values, .. } => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how many each row counts, where the targets say so.
    pub fn weights(&self) -> Option<&[f32]> {
        match self {
            Self::Classes { .. } | Self::Values(_) => None,
            Self::Signals { weights, .. } => Some(weights),
        }
    }

    /// Outputs that a head for these targets has: N classes, or one number.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes { way, .. } => *way,
            Self::Values(_) | Self::Signals { .. } => 1,
        }
    }
}

/// A support set as the engine takes it: in canonical order, so that one set has one adapter however it was collected.
#[derive(Clone, Debug, PartialEq)]
pub struct SupportSet {
    inputs: Rows,
    targets: Targets,
    /// For how many examples each row counts; none if each counts once, or the targets say it.
    weights: Option<Vec<f32>>,
    /// Rows without targets.
    unlabelled: Option<Rows>,
    /// A row for what each class is called.
    names: Option<Rows>,
    /// For each row, its place in the order that it was given in.
    order: Vec<usize>,
    hash: String,
}

impl SupportSet {
    /// Checks rows against targets and puts them into canonical order.
    ///
    /// # Errors
    /// [`Fault::EmptySupport`], [`Fault::TooFewLabels`] for fewer than two classes or a class without a row,
    /// [`Fault::OutOfRange`] for a class outside `0..way`, [`Fault::NotFinite`] for a value that is not,
    /// [`Fault::NoSignal`] and [`Fault::NoWeight`] for signals that are none.
    pub fn new(inputs: &Rows, targets: &Targets) -> Result<Self, Fault> {
        Self::counted(inputs, targets, None)
    }

    /// The same for rows that count for more or less than one example each. Where all count once it is the same set.
    ///
    /// # Errors
    /// As [`SupportSet::new`], and [`Fault::NoWeight`] for a weight that is none, or beside those of signals.
    pub fn weighted(inputs: &Rows, targets: &Targets, weights: &[f32]) -> Result<Self, Fault> {
        if weights.len() != targets.len() {
            return Err(Fault::TooFew { what: "weights", given: weights.len(), least: targets.len() });
        }
        weights.iter().try_for_each(|&weight| check_weight(weight))?;
        Self::counted(inputs, targets, Some(weights).filter(|weights| weights.iter().any(|weight| *weight != 1.0)))
    }

    fn counted(inputs: &Rows, targets: &Targets, weights: Option<&[f32]>) -> Result<Self, Fault> {
        if inputs.is_empty() {
            return Err(Fault::EmptySupport);
        }
        if inputs.len() != targets.len() {
            return Err(Fault::TooFew { what: "targets", given: targets.len(), least: inputs.len() });
        }
        match targets {
            Targets::Classes { labels, way } => check_classes(labels, *way)?,
            Targets::Values(values) => finite(values)?,
            Targets::Signals { values, weights } => check_signals(values, weights)?,
        }
        let (order, digests) = canonical((0..inputs.len()).map(|index| {
            let mut digest = row_digest(inputs.row(index), targets, index);
            if let Some(weights) = weights {
                digest.update(weights[index].to_le_bytes());
            }
            digest.finalize().into()
        }));
        let mut whole = Sha256::new();
        whole.update((targets.outputs() as u64).to_le_bytes());
        digests.for_each(|digest| whole.update(digest));
        let targets = match targets {
            Targets::Classes { labels, way } => {
                Targets::Classes { labels: order.iter().map(|&index| labels[index]).collect(), way: *way }
            }
            Targets::Values(values) => Targets::Values(picked(values, &order)),
            Targets::Signals { values, weights } => {
                Targets::Signals { values: picked(values, &order), weights: picked(weights, &order) }
            }
        };
        let hash = format!("sha256:{}", hex(&whole.finalize()));
        let weights = weights.map(|weights| picked(weights, &order));
        Ok(Self { inputs: inputs.picked(&order), targets, weights, unlabelled: None, names: None, order, hash })
    }

    /// The same set with rows that nobody has labelled: the classes are to be found among them, too. No rows change
    /// nothing.
    ///
    /// # Errors
    /// [`Fault::WrongWidth`] if they are not as wide as the others.
    pub fn with_unlabelled(self, rows: &Rows) -> Result<Self, Fault> {
        if rows.is_empty() {
            return Ok(self);
        }
        if rows.width() != self.inputs.width() {
            return Err(Fault::WrongWidth { expected: self.inputs.width(), given: rows.width() });
        }
        let (order, digests) = canonical(rows.iter().map(|row| digest(row).finalize().into()));
        let mut whole = Sha256::new();
        whole.update(&self.hash);
        digests.for_each(|digest| whole.update(digest));
        let hash = format!("sha256:{}", hex(&whole.finalize()));
        Ok(Self { unlabelled: Some(rows.picked(&order)), hash, ..self })
    }

    /// The same set, row by row in its order, seen as other numbers: features in the place of inputs.
    ///
    /// # Panics
    /// If there are not as many rows as the set has.
    #[must_use]
    pub fn with_rows(&self, inputs: Rows, unlabelled: Option<Rows>) -> Self {
        assert_eq!(inputs.len(), self.inputs.len(), "one row of features for each row");
        Self { inputs, unlabelled, ..self.clone() }
    }

    /// The same set with a row for what each class is called, in the order of the classes.
    ///
    /// # Errors
    /// [`Fault::TooFew`] if they are not as many as the classes.
    pub fn with_names(self, rows: &Rows) -> Result<Self, Fault> {
        if rows.len() != self.targets.outputs() {
            return Err(Fault::TooFew { what: "names of classes", given: rows.len(), least: self.targets.outputs() });
        }
        let mut whole = Sha256::new();
        whole.update(&self.hash);
        whole.update(b"names");
        rows.iter().for_each(|row| whole.update(digest(row).finalize()));
        let hash = format!("sha256:{}", hex(&whole.finalize()));
        Ok(Self { names: Some(rows.clone()), hash, ..self })
    }

    /// Rows in canonical order.
    pub fn inputs(&self) -> &Rows {
        &self.inputs
    }

    /// Targets in canonical order.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// For how many examples each row counts, in canonical order; none if each counts once.
    pub fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref().or_else(|| self.targets.weights())
    }

    /// Rows without targets, in canonical order.
    pub fn unlabelled(&self) -> Option<&Rows> {
        self.unlabelled.as_ref()
    }

    /// A row for what each class is called, if that is known.
    pub fn names(&self) -> Option<&Rows> {
        self.names.as_ref()
    }

    /// Number of labelled rows S.
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

    /// `sha256:<hex>` of the set: rows, targets, number of outputs, unlabelled rows, and weights that are not all 1, whatever the order they came in.
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

fn check_signals(values: &[f32], weights: &[f32]) -> Result<(), Fault> {
    if weights.len() != values.len() {
        return Err(Fault::TooFew { what: "weights", given: weights.len(), least: values.len() });
    }
    let check = |(value, weight): (&f32, &f32)| Signal::new(*value)?.weighing(*weight);
    values.iter().zip(weights).try_for_each(|pair| check(pair).map(drop))
}

fn picked(numbers: &[f32], order: &[usize]) -> Vec<f32> {
    order.iter().map(|&index| numbers[index]).collect()
}

/// Places in the order of their digests, and the digests in that order.
fn canonical(digests: impl Iterator<Item = [u8; 32]>) -> (Vec<usize>, impl Iterator<Item = [u8; 32]>) {
    let mut sorted: Vec<([u8; 32], usize)> = digests.zip(0..).collect();
    sorted.sort_unstable();
    (sorted.iter().map(|&(_, place)| place).collect(), sorted.into_iter().map(|(digest, _)| digest))
}

fn digest(row: &[f32]) -> Sha256 {
    let mut digest = Sha256::new();
    for value in row {
        digest.update(value.to_le_bytes());
    }
    digest
}

fn row_digest(row: &[f32], targets: &Targets, index: usize) -> Sha256 {
    let mut digest = digest(row);
    match targets {
        Targets::Classes { labels, .. } => digest.update(labels[index].to_le_bytes()),
        Targets::Values(values) => digest.update(values[index].to_le_bytes()),
        Targets::Signals { values, weights } => {
            digest.update(values[index].to_le_bytes());
            digest.update(weights[index].to_le_bytes());
        }
    }
    digest
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
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
    fn weights_make_another_support_unless_all_are_one() {
        let plain = || SupportSet::new(&rows(&[1., 2., 3., 4.]), &classes(&[0, 1])).expect("valid");
        let with = |values: &[f32], labels: &[u32], weights: &[f32]| {
            SupportSet::weighted(&rows(values), &classes(labels), weights)
        };

        assert_eq!(with(&[1., 2., 3., 4.], &[0, 1], &[1., 1.]).expect("valid"), plain());
        let one = with(&[1., 2., 3., 4.], &[0, 1], &[1., 2.]).expect("valid");
        let other = with(&[3., 4., 1., 2.], &[1, 0], &[2., 1.]).expect("valid");
        assert_eq!((one.hash(), one.weights()), (other.hash(), other.weights()));
        assert_ne!(one.hash(), plain().hash());
        // Equal rows of unequal weight have an order of their own.
        let twins = |weights: &[f32]| with(&[1., 2., 1., 2., 5., 6.], &[0, 0, 1], weights).expect("valid");
        assert_eq!(twins(&[1., 2., 1.]).hash(), twins(&[2., 1., 1.]).hash());
        for wrong in [0.0, -1.0, f32::NAN, 1e4] {
            assert!(matches!(with(&[1., 2., 3., 4.], &[0, 1], &[1., wrong]), Err(Fault::NoWeight { .. })), "{wrong}");
        }
        assert!(with(&[1., 2., 3., 4.], &[0, 1], &[1.]).is_err());
    }

    #[test]
    fn unlabelled_rows_make_another_support_whatever_their_order() {
        let set = || SupportSet::new(&rows(&[1., 2., 3., 4.]), &classes(&[0, 1])).expect("valid");
        let with = |values: &[f32]| set().with_unlabelled(&rows(values)).expect("as wide");

        assert_eq!(with(&[]), set());
        assert_eq!(with(&[5., 6., 7., 8.]), with(&[7., 8., 5., 6.]));
        assert_ne!(with(&[5., 6.]).hash(), set().hash());
        assert_ne!(with(&[5., 6.]).hash(), with(&[5., 7.]).hash());
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
}
