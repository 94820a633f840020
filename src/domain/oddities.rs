//! Examples that are worth a look beside those that are probably labelled wrong: unlike all others, there twice, alone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};

use super::{SupportId, SupportSet, Targets};

/// An example that looks like none of the labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlier {
    /// Its place in the support set as it was given.
    pub place: usize,
    /// Its id, if it is stored.
    #[serde(default)]
    pub id: Option<SupportId>,
    /// Its label.
    pub label: String,
}

/// Two examples that come to the same numbers: one counts twice, or is labelled in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// Places in the support set as it was given, the first one first.
    pub places: [usize; 2],
    /// Their ids, if they are stored.
    #[serde(default)]
    pub ids: Option<[SupportId; 2]>,
    /// Their labels.
    pub labels: [String; 2],
}

/// Most outliers and duplicates that an estimate lists.
const LONGEST_LIST: usize = 20;

/// Fewest held-out examples among which one can stand out.
const FEWEST: usize = 12;

/// Interquartile ranges below the lower quartile (Tukey 1977, "far out" is 3). Chosen on validation characters of Omniglot with
/// every twentieth example drawn from a character that is none of the labels: see `tests/it/quality.rs`.
const FAR_OUT: f64 = 2.0;

/// How much held-out scores say that an input is of any class at all: the logarithm of the sum of their exponentials, its free
/// energy turned around (Liu et al. 2020, arXiv:2010.03759, eq. 4).
fn familiarity(logits: &[f32], temperature: f64) -> f64 {
    let scaled = || logits.iter().map(|&logit| f64::from(logit) / temperature);
    let most = scaled().fold(f64::NEG_INFINITY, f64::max);
    temperature * (most + scaled().map(|logit| (logit - most).exp()).sum::<f64>().ln())
}

/// Which of the held-out examples are far less familiar than the others, the least familiar first.
pub(super) fn outliers<'a>(held_out: impl Iterator<Item = &'a [f32]>, temperature: f64) -> Vec<usize> {
    let scores: Vec<f64> = held_out.map(|logits| familiarity(logits, temperature)).collect();
    if scores.len() < FEWEST {
        return Vec::new();
    }
    let mut sorted = scores.clone();
    sorted.sort_by(f64::total_cmp);
    let quartile = |quarter: usize| sorted[(scores.len() - 1) * quarter / 4];
    let fence = quartile(1) - FAR_OUT * (quartile(3) - quartile(1));
    let mut far: Vec<usize> = (0..scores.len()).filter(|&row| scores[row] < fence).collect();
    far.sort_by(|&one, &other| scores[one].total_cmp(&scores[other]));
    far.truncate(LONGEST_LIST);
    far
}

/// Examples of classes that come to the same row, however they were written; `names` are the classes'.
pub fn duplicates(set: &SupportSet, names: &[String]) -> Vec<Duplicate> {
    let Targets::Classes { labels, .. } = set.targets() else { return Vec::new() };
    let state = RandomState::new();
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut found = Vec::new();
    for (row, values) in set.inputs().iter().enumerate() {
        let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        let alike = seen.entry(state.hash_one(&bits)).or_default();
        if let Some(&before) = alike.iter().find(|&&before| set.inputs().row(before) == values) {
            let mut pair = [before, row].map(|row| (set.order()[row], names[labels[row] as usize].clone()));
            pair.sort();
            let [(first, own), (second, other)] = pair;
            found.push(Duplicate { places: [first, second], ids: None, labels: [own, other] });
        } else {
            alike.push(row);
        }
    }
    found.sort_by_key(|duplicate| duplicate.places);
    found.truncate(LONGEST_LIST);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Rows;

    #[test]
    fn rows_that_are_equal_are_named_with_their_labels_in_the_order_given() {
        let rows = Rows::new(2, vec![1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 5.0, 6.0]).expect("rows");
        let targets = Targets::Classes { labels: vec![0, 1, 1, 0], way: 2 };
        let set = SupportSet::new(&rows, &targets).expect("a set");

        let found = duplicates(&set, &["a".to_owned(), "b".to_owned()]);

        let labels = ["a", "b"].map(str::to_owned);
        assert_eq!(found, [Duplicate { places: [0, 2], ids: None, labels }]);
    }

    #[test]
    fn what_is_far_from_every_class_stands_out_and_what_is_merely_unsure_does_not() {
        let mut rows: Vec<[f32; 2]> = (0..20).map(|row| [-1.0 - 0.01 * row as f32, -9.0]).collect();
        rows.push([-1.6, -1.7]);
        rows.push([-30.0, -31.0]);

        assert_eq!(outliers(rows.iter().map(<[f32; 2]>::as_slice), 1.0), [21]);
        assert_eq!(outliers(rows[12..].iter().map(<[f32; 2]>::as_slice), 1.0), [0; 0], "too few to say");
    }
}
