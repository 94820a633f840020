//! How good an adaptation is by its own estimate, before anyone asks it a question.
//!
//! Everything here comes from held-out scores: row `i` was predicted by the adapter that others leave, without it and one
//! example of each other class (see [`HeldOut`]). How sure an adapter may be of itself comes from the same scores (see
//! [`Calibration`]), and so does what more examples would be worth (see [`learning_curve`]).

use serde::{Deserialize, Serialize};

use super::interval::likeliest_shares;
use super::learning_curve::{self, examples_left, share_left};
use super::oddities::outliers;
use super::{Calibration, Duplicate, HeldOut, Outlier, Outputs, SupportId, Targets};

/// An estimate made from the support set alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// How it was made: by `leave_one_out`, or by `k_fold`, where one example of each class is left out at a time.
    pub method: String,
    /// Examples that it rests on. Classes with a single example are left out: without it, the class is gone.
    pub n: usize,
    /// Share of answers that it expects to be right, each label asked about as often: of held-out examples that were predicted
    /// right, the misses counted for less because they were predicted from fewer examples than there are; classification
    /// only.
    pub accuracy: Option<f64>,
    /// 95 % interval of `accuracy`: the likeliest ones (see [`interval`](super::interval)).
    pub accuracy_ci95: Option<[f64; 2]>,
    /// Mean squared error over held-out examples; regression only.
    pub mean_squared_error: Option<f64>,
    /// Share of the pairs of held-out signals of different value that are put in the right order; ranking only.
    #[serde(default)]
    pub pairs_in_order: Option<f64>,
    /// The same by label, in the order of the task's labels.
    pub per_label: Vec<LabelQuality>,
    /// How sure the adapter may be of itself; classification only.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// Labels that were taken for others, the most frequent first.
    #[serde(default)]
    pub confusions: Vec<Confusion>,
    /// Examples that are probably labelled wrong, the most probable first.
    #[serde(default)]
    pub suspects: Vec<Suspect>,
    /// Examples that look like none of the labels, the least like any first.
    #[serde(default)]
    pub outliers: Vec<Outlier>,
    /// Examples that are there twice.
    #[serde(default)]
    pub duplicates: Vec<Duplicate>,
    /// Labels with so few examples that nothing can be said of them.
    #[serde(default)]
    pub too_few: Vec<String>,
}

/// The estimate for one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelQuality {
    /// The label.
    pub label: String,
    /// Its examples.
    pub support: usize,
    /// Share of them that is found when held out; none for a single example.
    pub recall: Option<f64>,
    /// What one more example of it is expected to add to the accuracy over all labels.
    #[serde(default)]
    pub expected_gain: Option<f64>,
}

/// A label that was taken for another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// The label of the held-out examples.
    pub label: String,
    /// What they were taken for.
    pub predicted: String,
    /// How many of them.
    pub count: usize,
}

/// An example that is probably labelled wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its place in the support set as it was given.
    pub place: usize,
    /// Its id, if it is stored.
    #[serde(default)]
    pub id: Option<SupportId>,
    /// Its label.
    pub label: String,
    /// What the other examples say it is.
    pub predicted: String,
    /// How sure they are of that.
    pub confidence: f64,
}

/// Each example by itself.
const LEAVE_ONE_OUT: &str = "leave_one_out";
/// Several together: of classes, one of each.
const K_FOLD: &str = "k_fold";

/// Most confusions and suspects that an estimate lists.
const LONGEST_LIST: usize = 20;

/// How much further held-out rows stray than rows that have nothing to do with each other: an example that is unlike its class
/// is missed itself, and has its class taken for others where it is learned from. Chosen, with the exponent of
/// [`learning_curve`], on validation classes of `omniglot`, `digits` and `text`, where 93 to 97 % of intervals hold the truth.
const DISPERSION: f64 = 1.1;

/// An example is suspect if the others are this many times as sure of another label as of its own. Chosen on Omniglot
/// with every tenth label wrong: see `tests/it/quality.rs`.
const SUSPECT_ODDS: f64 = 4.0;

impl Quality {
    /// From held-out scores; `order[i]` is the place in which row `i` was given, `names` are the classes'. `None` if no row
    /// can be judged.
    pub fn of(held_out: &HeldOut, targets: &Targets, names: &[String], order: &[usize]) -> Option<Self> {
        match targets {
            Targets::Values(values) => Some(of_values(held_out, values)),
            Targets::Signals { values, .. } => of_signals(&held_out.outputs, values),
            Targets::Classes { labels, way } => of_classes(held_out, labels, *way, names, order),
        }
    }

    /// Whether this is at least as good as `other`, each by its own estimate. One that has no estimate is not.
    pub fn is_at_least(&self, other: &Self) -> bool {
        match (self.accuracy, other.accuracy, self.mean_squared_error, other.mean_squared_error) {
            (Some(own), Some(others), _, _) => own >= others,
            (_, _, Some(own), Some(others)) => own <= others,
            _ => self.pairs_in_order.zip(other.pairs_in_order).is_some_and(|(own, others)| own >= others),
        }
    }

    /// Puts ids to the places of examples.
    pub fn name_examples(&mut self, ids: &[SupportId]) {
        let id = |place: usize| ids.get(place).copied();
        for suspect in &mut self.suspects {
            suspect.id = id(suspect.place);
        }
        for outlier in &mut self.outliers {
            outlier.id = id(outlier.place);
        }
        for duplicate in &mut self.duplicates {
            let [first, second] = duplicate.places.map(id);
            duplicate.ids = first.zip(second).map(<[SupportId; 2]>::from);
        }
    }
}

fn of_values(held_out: &HeldOut, values: &[f32]) -> Quality {
    let errors = held_out.outputs.rows().zip(values).map(|(row, value)| f64::from(row[0] - value).powi(2));
    let mean_squared_error = Some(errors.sum::<f64>() / values.len() as f64);
    let method = if held_out.folds < values.len() { K_FOLD } else { LEAVE_ONE_OUT }.to_owned();
    Quality { method, mean_squared_error, ..without_figures(values.len()) }
}

/// Signals that are all alike say nothing about an order.
fn of_signals(outputs: &Outputs, values: &[f32]) -> Option<Quality> {
    let scores: Vec<f32> = outputs.rows().map(|row| row[0]).collect();
    let pairs_in_order = Some(super::pairs_in_order(&scores, values)?);
    Some(Quality { pairs_in_order, ..without_figures(values.len()) })
}

fn without_figures(n: usize) -> Quality {
    Quality {
        method: LEAVE_ONE_OUT.to_owned(),
        n,
        accuracy: None,
        accuracy_ci95: None,
        mean_squared_error: None,
        pairs_in_order: None,
        per_label: Vec::new(),
        calibration: None,
        confusions: Vec::new(),
        suspects: Vec::new(),
        outliers: Vec::new(),
        duplicates: Vec::new(),
        too_few: Vec::new(),
    }
}

/// A row that can be judged: its class has another example.
struct Judged<'a> {
    /// Its place in the set as it was given.
    place: usize,
    logits: &'a [f32],
    label: usize,
    predicted: usize,
}

fn of_classes(
    HeldOut { outputs, folds }: &HeldOut,
    labels: &[u32],
    way: usize,
    names: &[String],
    order: &[usize],
) -> Option<Quality> {
    let mut support = vec![0usize; way];
    for &label in labels {
        support[label as usize] += 1;
    }
    let judged: Vec<Judged<'_>> = outputs
        .rows()
        .zip(labels)
        .zip(order)
        .map(|((logits, &label), &place)| Judged { place, logits, label: label as usize, predicted: argmax(logits) })
        .filter(|row| support[row.label] > 1)
        .collect();
    if judged.is_empty() {
        return None;
    }
    let mut right = vec![0usize; way];
    for row in judged.iter().filter(|row| row.predicted == row.label) {
        right[row.label] += 1;
    }
    let (accuracy, accuracy_ci95) = asked_alike(&support, &right, *folds);
    let scores: Vec<(&[f32], usize)> = judged.iter().map(|row| (row.logits, row.label)).collect();
    let calibration = Calibration::fit(&scores);
    let gains = learning_curve::expected_gains(&scores, &calibration, &support, *folds);
    let per_label = gains.into_iter().enumerate().map(|(class, gain)| LabelQuality {
        label: names[class].clone(),
        support: support[class],
        recall: (support[class] > 1).then(|| right[class] as f64 / support[class] as f64),
        expected_gain: Some(gain),
    });
    Some(Quality {
        method: K_FOLD.to_owned(),
        n: judged.len(),
        accuracy: Some(accuracy),
        accuracy_ci95: Some(accuracy_ci95),
        mean_squared_error: None,
        pairs_in_order: None,
        per_label: per_label.collect(),
        confusions: confusions(&judged, names),
        suspects: suspects(&judged, names, &calibration),
        outliers: strangers(&judged, names, &calibration),
        duplicates: Vec::new(), // scores do not show them
        too_few: (0..way).filter(|&class| support[class] < 2).map(|class| names[class].clone()).collect(),
        calibration: Some(calibration),
    })
}

/// The accuracy where each judged class is asked about as often, whatever its examples, and its interval.
///
/// The mean of C shares, of k examples each, varies as one share of C² / Σ 1/k examples.
fn asked_alike(support: &[usize], right: &[usize], folds: usize) -> (f64, [f64; 2]) {
    let (mut classes, mut missed, mut spread) = (0.0, 0.0, 0.0);
    for (&own, &right) in support.iter().zip(right).filter(|(own, _)| **own > 1) {
        let examples = own as f64;
        classes += 1.0;
        missed += (own - right) as f64 / examples * share_left(examples_left(own, folds), examples);
        spread += 1.0 / examples;
    }
    let (missed, n) = (missed / classes, classes * classes / spread / DISPERSION);
    (1.0 - missed, likeliest_shares((1.0 - missed) * n, missed * n))
}

fn confusions(judged: &[Judged<'_>], names: &[String]) -> Vec<Confusion> {
    let mut pairs: Vec<(usize, usize)> =
        judged.iter().filter(|row| row.predicted != row.label).map(|row| (row.label, row.predicted)).collect();
    pairs.sort_unstable();
    let mut confusions: Vec<Confusion> = pairs
        .chunk_by(|one, other| one == other)
        .map(|equal| Confusion {
            label: names[equal[0].0].clone(),
            predicted: names[equal[0].1].clone(),
            count: equal.len(),
        })
        .collect();
    confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.count));
    confusions.truncate(LONGEST_LIST);
    confusions
}

fn suspects(judged: &[Judged<'_>], names: &[String], calibration: &Calibration) -> Vec<Suspect> {
    let mut suspects: Vec<(f64, Suspect)> = judged
        .iter()
        .filter(|row| row.predicted != row.label)
        .filter_map(|row| {
            let probabilities = calibration.probabilities(row.logits);
            let (confidence, own) = (probabilities[row.predicted], probabilities[row.label]);
            let suspect = || Suspect {
                place: row.place,
                id: None,
                label: names[row.label].clone(),
                predicted: names[row.predicted].clone(),
                confidence,
            };
            (confidence >= SUSPECT_ODDS * own).then(|| (confidence / own.max(f64::MIN_POSITIVE), suspect()))
        })
        .collect();
    suspects.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    suspects.truncate(LONGEST_LIST);
    suspects.into_iter().map(|(_, suspect)| suspect).collect()
}

fn strangers(judged: &[Judged<'_>], names: &[String], calibration: &Calibration) -> Vec<Outlier> {
    let far = outliers(judged.iter().map(|row| row.logits), calibration.temperature);
    let outlier = |row: usize| Outlier { place: judged[row].place, id: None, label: names[judged[row].label].clone() };
    far.into_iter().map(outlier).collect()
}

/// Index of the largest score; the first of equals.
pub fn argmax(scores: &[f32]) -> usize {
    scores.iter().enumerate().fold(0, |best, (index, score)| if *score > scores[best] { index } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["a", "b"].map(str::to_owned).to_vec()
    }

    fn quality(values: &[f32], labels: &[u32]) -> Option<Quality> {
        let held_out = HeldOut { outputs: Outputs { width: 2, values: values.to_vec() }, folds: 32 };
        let targets = Targets::Classes { labels: labels.to_vec(), way: 2 };
        let order: Vec<usize> = (0..labels.len()).rev().collect();
        Quality::of(&held_out, &targets, &names(), &order)
    }

    #[test]
    fn a_class_with_one_example_is_not_judged() {
        let quality = quality(&[0.0, 1.0, 1.0, 0.0, 1.0, 0.0], &[0, 1, 1]).expect("two rows count");

        assert_eq!((quality.n, quality.per_label[1].recall), (2, Some(0.0)));
        assert_eq!(quality.per_label[0].recall, None);
        assert_eq!(quality.confusions, [Confusion { label: "b".into(), predicted: "a".into(), count: 2 }]);
    }

    #[test]
    fn a_miss_counts_for_what_is_left_of_it_when_its_example_is_back() {
        let scores = |misses: usize| (0..8).flat_map(move |row| if row < misses { [0.0, 1.0] } else { [1.0, 0.0] });
        let quality = |misses| quality(&scores(misses).collect::<Vec<f32>>(), &[0; 8]).expect("all rows count");

        let left = share_left(7.0, 8.0);
        assert!((quality(2).accuracy.expect("classes") - (1.0 - 2.0 / 8.0 * left)).abs() < 1e-12);
        assert_eq!((quality(0).accuracy, quality(2).per_label[0].recall), (Some(1.0), Some(0.75)));
        let [low, high] = quality(2).accuracy_ci95.expect("classes");
        assert!(low < 0.75 && high > 0.9, "{low} {high}");
    }

    #[test]
    fn a_class_of_few_examples_counts_as_much_as_one_of_many() {
        let rows = |class: usize, count: usize, right: usize| {
            (0..count).flat_map(move |row| if (row < right) == (class == 0) { [1.0, 0.0] } else { [0.0, 1.0] })
        };
        let values: Vec<f32> = rows(0, 12, 12).chain(rows(1, 4, 2)).collect();
        let labels = [vec![0u32; 12], vec![1; 4]].concat();

        let quality = quality(&values, &labels).expect("all rows count");

        assert!((quality.accuracy.expect("classes") - (1.0 - 0.5 * share_left(3.0, 4.0) / 2.0)).abs() < 1e-12);
    }

    #[test]
    fn where_every_class_has_one_example_nothing_is_estimated() {
        assert_eq!(quality(&[0.0, 1.0, 1.0, 0.0], &[0, 1]), None);
    }

    #[test]
    fn an_example_that_the_others_call_something_else_is_suspect_and_named_by_its_place() {
        let right = [3.0, 0.0, 3.0, 0.0, 3.0, 0.0, 0.0, 3.0, 0.0, 3.0, 0.0, 3.0];
        let mut values = right.to_vec();
        values.extend([5.0, 0.0]); // labelled b
        let quality = quality(&values, &[0, 0, 0, 1, 1, 1, 1]).expect("all rows count");

        let suspects: Vec<_> =
            quality.suspects.iter().map(|suspect| (suspect.place, suspect.predicted.as_str())).collect();
        assert_eq!(suspects, [(0, "a")]); // the last row was given first
    }

    #[test]
    fn of_two_estimates_the_higher_accuracy_or_the_lower_error_is_at_least_as_good() {
        let good = quality(&[1.0, 0.0, 1.0, 0.0], &[0, 0]).expect("judged");
        let bad = quality(&[1.0, 0.0, 0.0, 1.0], &[0, 0]).expect("judged");

        assert!(good.is_at_least(&bad) && good.is_at_least(&good) && !bad.is_at_least(&good));
        let error = |mean_squared_error| Quality { accuracy: None, mean_squared_error, ..good.clone() };
        assert!(error(Some(0.1)).is_at_least(&error(Some(0.2))));
        assert!(!error(Some(0.3)).is_at_least(&error(Some(0.2))) && !error(None).is_at_least(&error(Some(0.2))));
    }

    #[test]
    fn the_first_of_equal_scores_wins() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }
}
