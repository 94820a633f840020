//! Which rows of a support set are held out together, so that what is measured without them is what will be had with them.
//!
//! Without one row its class has an example less than it will have, and the others have not: of two examples half of what is
//! known of a class is gone, and all that is known of the others stays to be mistaken for it. So one row of each class is
//! held out at a time. With k examples of each class there are k folds, and each row is judged by k − 1 examples of every
//! class. A class with fewer examples than others goes round; one with a single example stays, since without it the class
//! would be gone. Where folds are to be few, each holds out several rows of a class.

use tch::{Device, Tensor};

use crate::nn::{Result, bridge};

/// Folds of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// The rows that each holds out.
    out: Vec<Vec<usize>>,
    /// For each row the fold that judges it; none for the only row of a class.
    judge: Vec<Option<usize>>,
}

/// Folds as tensors: F folds of at most M rows.
pub struct Places {
    /// Rows that are held out, `[F, M]`, padded with row 0.
    pub rows: Tensor,
    /// `[F, M]`: 1 for rows and 0 for padding; `None` without padding.
    pub mask: Option<Tensor>,
    /// Rows that are judged, and where among F · M each of them is: `[J]` both.
    pub judged: (Tensor, Tensor),
}

impl Folds {
    /// For rows of these classes, no more folds than `most`; `None` if no class has two rows.
    pub fn of(labels: &[i64], most: usize) -> Option<Self> {
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&row| labels[row]);
        let classes = || order.chunk_by(|&one, &other| labels[one] == labels[other]).filter(|rows| rows.len() > 1);
        let count = classes().map(<[usize]>::len).max()?.min(most.max(2));
        let (mut out, mut judge) = (vec![Vec::new(); count], vec![None; labels.len()]);
        for rows in classes() {
            let own = rows.len().min(count);
            for (place, &row) in rows.iter().enumerate() {
                judge[row] = Some(place % own);
                (place % own..count).step_by(own).for_each(|fold| out[fold].push(row));
            }
        }
        Some(Self { out, judge })
    }

    /// Number of folds F.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Never true: there are at least two.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The rows that `fold` judges.
    pub fn judged_by(&self, fold: usize) -> impl Iterator<Item = usize> {
        self.judge.iter().enumerate().filter(move |(_, own)| **own == Some(fold)).map(|(row, _)| row)
    }

    /// `[F, S]`: 1 for rows that are kept and 0 for those that are held out, in `folds`.
    pub fn kept(&self, folds: std::ops::Range<usize>, device: Device) -> Result<Tensor> {
        let (count, size) = (folds.len(), self.judge.len());
        let mut kept = vec![1.0; count * size];
        for (place, fold) in folds.enumerate() {
            self.out[fold].iter().for_each(|row| kept[place * size + row] = 0.0);
        }
        bridge::tensor(&kept, &[count as i64, size as i64], device)
    }

    /// `[F, S]`: 1 for rows that the fold judges, in `folds`.
    pub fn judged(&self, folds: std::ops::Range<usize>, device: Device) -> Result<Tensor> {
        let of_fold = |fold| self.judge.iter().map(move |own| f32::from(u8::from(*own == Some(fold))));
        let shape = [folds.len() as i64, self.judge.len() as i64];
        bridge::tensor(&folds.flat_map(of_fold).collect::<Vec<f32>>(), &shape, device)
    }

    /// All of it.
    pub fn places(&self, device: Device) -> Result<Places> {
        let widest = self.out.iter().map(Vec::len).max().unwrap_or(0);
        let shape = [self.len() as i64, widest as i64];
        let padded = |rows: &Vec<usize>| {
            let padding = widest - rows.len();
            rows.iter().map(|&row| row as i64).chain(std::iter::repeat_n(0, padding)).collect::<Vec<i64>>()
        };
        let rows = bridge::index_tensor(&self.out.iter().flat_map(padded).collect::<Vec<_>>(), &shape, device)?;
        let is_padded = self.out.iter().any(|rows| rows.len() < widest);
        let counts = |rows: &Vec<usize>| {
            let own = rows.len();
            (0..widest).map(move |place| f32::from(u8::from(place < own))).collect::<Vec<f32>>()
        };
        let mask =
            is_padded.then(|| bridge::tensor(&self.out.iter().flat_map(counts).collect::<Vec<_>>(), &shape, device));
        let (mut judged, mut at) = (Vec::new(), Vec::new());
        for (fold, rows) in self.out.iter().enumerate() {
            for (place, &row) in rows.iter().enumerate().filter(|(_, row)| self.judge[**row] == Some(fold)) {
                judged.push(row as i64);
                at.push((fold * widest + place) as i64);
            }
        }
        let count = [judged.len() as i64];
        let index = |values: &[i64]| bridge::index_tensor(values, &count, device);
        Ok(Places { rows, mask: mask.transpose()?, judged: (index(&judged)?, index(&at)?) })
    }
}

impl Places {
    /// `outputs` `[S, O]` with those of the rows that are judged, `held_out` `[F, M, O]`, in their places.
    pub fn put(&self, outputs: &Tensor, held_out: &Tensor) -> Result<Tensor> {
        let (rows, places) = &self.judged;
        let judged = held_out.f_flatten(0, 1)?.f_index_select(0, places)?;
        Ok(outputs.f_index_copy(0, rows, &judged)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_fold_holds_out_a_like_share_of_each_class_and_judges_each_row_once(
            labels in prop::collection::vec(0i64..6, 1..60), most in 2usize..40,
        ) {
            let support = |class: i64| labels.iter().filter(|&&label| label == class).count();
            let Some(folds) = Folds::of(&labels, most) else {
                prop_assert!(labels.iter().all(|&label| support(label) == 1));
                return Ok(());
            };
            prop_assert_eq!(folds.len(), (0..6).map(support).max().unwrap().min(most));
            for (row, &label) in labels.iter().enumerate() {
                let judges = (0..folds.len()).filter(|&fold| folds.judged_by(fold).any(|own| own == row));
                let judges: Vec<usize> = judges.collect();
                prop_assert_eq!(judges.len(), usize::from(support(label) > 1));
                prop_assert!(judges.iter().all(|&fold| folds.out[fold].contains(&row)));
            }
            for out in &folds.out {
                for class in 0..6 {
                    let (own, count) = (support(class), out.iter().filter(|&&row| labels[row] == class).count());
                    let groups = own.min(folds.len());
                    let expected = if own < 2 { 0..=0 } else { own / groups..=own.div_ceil(groups) };
                    prop_assert!(expected.contains(&count), "{count} of {own} in {} folds", folds.len());
                }
            }
        }
    }

    #[test]
    fn two_examples_of_each_class_are_two_folds_with_one_of_each() {
        let folds = Folds::of(&[0, 1, 1, 0, 2], 32).expect("two classes have two rows");

        assert_eq!(folds.out, [[0, 1], [3, 2]]); // the only row of class 2 stays
        assert_eq!(folds.judge, [Some(0), Some(0), Some(1), Some(1), None]);
    }
}
