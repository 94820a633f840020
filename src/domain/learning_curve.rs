//! What more examples of a label are worth, by how an adapter does with fewer.
//!
//! What is known of a class from m examples is off by what their mean is off, whose variance falls as 1/m: so one law serves
//! for the rows that were held out and for those that are to come,
//!
//! ```text
//! error(m) = a / m^ε
//! ```
//!
//! a, by class, from the held-out rows, and one ε for all tasks. It says what is left of the error when held-out rows are
//! back, and what an example more would take away. No task has enough examples to fit a curve of its own.

use super::Calibration;

/// ε. Between 0.3 (`text`, 2 examples of 20 classes) and 0.8 (`omniglot`) on validation classes, and chosen on those alone.
const EXPONENT: f64 = 0.75;

/// Examples of a class of `support` that were there when one of them was judged, in no more than so many folds.
pub(super) fn examples_left(support: usize, folds: usize) -> f64 {
    let support = support.max(1);
    if support == 1 { 1.0 } else { support as f64 * (1.0 - 1.0 / support.min(folds) as f64) }
}

/// Share of the error with `from` examples of a class that is left with `to`.
pub(super) fn share_left(from: f64, to: f64) -> f64 {
    (from / to).powf(EXPONENT)
}

/// What one more example of each class is expected to add to the accuracy over all classes, each asked about as often.
///
/// An error concerns two classes, the one that was missed and the one that was taken for it, and a better idea of either
/// helps: each is put down for half of it. Errors are counted by the probabilities of held-out rows, of which there are few,
/// rather than by hits and misses. A class whose only row could not be held out is taken to miss as much as the others
/// would with one.
///
/// * `judged`: scores and class of rows that were held out; `support`: examples of each class.
pub(super) fn expected_gains(
    judged: &[(&[f32], usize)],
    calibration: &Calibration,
    support: &[usize],
    folds: usize,
) -> Vec<f64> {
    let way = support.len();
    let (mut missed, mut mistaken, mut counts) = (vec![0.0; way], vec![0.0; way], vec![0.0; way]);
    for (scores, class) in judged {
        counts[*class] += 1.0;
        for (other, probability) in calibration.probabilities(scores).into_iter().enumerate() {
            if other == *class {
                missed[other] += 1.0 - probability;
            } else {
                mistaken[other] += probability / support[*class] as f64;
            }
        }
    }
    let left: Vec<f64> = support.iter().map(|&own| examples_left(own, folds)).collect();
    let judged = |class: &usize| counts[*class] > 0.0;
    let with_one: Vec<f64> = (0..way)
        .filter(judged)
        .map(|class| missed[class] / counts[class] * share_left(1.0, 1.0 / left[class]))
        .collect();
    let usual = with_one.iter().sum::<f64>() / with_one.len().max(1) as f64;
    (0..way)
        .map(|class| {
            let own = if judged(&class) { missed[class] / counts[class] } else { usual.min(1.0) };
            let now = f64::midpoint(own, mistaken[class]) * share_left(left[class], support[class] as f64);
            now * (1.0 - share_left(support[class] as f64, support[class] as f64 + 1.0)) / way as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Calibration = Calibration { temperature: 1.0, error: 0.0, abstain_below: 0.0, coverage: 1.0 };

    fn scores(of_own: f32, own: usize, way: usize) -> Vec<f32> {
        (0..way).map(|class| if class == own { of_own } else { 0.0 }).collect()
    }

    fn gains(rows: &[(f32, usize)], support: &[usize]) -> Vec<f64> {
        let rows: Vec<(Vec<f32>, usize)> =
            rows.iter().map(|&(of_own, own)| (scores(of_own, own, support.len()), own)).collect();
        let judged: Vec<(&[f32], usize)> = rows.iter().map(|(scores, own)| (scores.as_slice(), *own)).collect();
        expected_gains(&judged, &PLAIN, support, 32)
    }

    #[test]
    fn the_label_that_is_missed_more_or_has_fewer_examples_gains_more() {
        let same = gains(&[(2.0, 0), (2.0, 0), (2.0, 1), (2.0, 1)], &[2, 2]);
        assert!((same[0] - same[1]).abs() < 1e-12 && same[0] > 0.0, "{same:?}");

        let missed = gains(&[(0.5, 0), (0.5, 0), (9.0, 1), (9.0, 1), (9.0, 2), (9.0, 2)], &[2, 2, 2]);
        assert!(missed[0] > missed[1] && (missed[1] - missed[2]).abs() < 1e-12, "{missed:?}");

        let fewer = gains(&[(2.0, 0), (2.0, 0), (2.0, 1), (2.0, 1), (2.0, 1), (2.0, 1)], &[2, 4]);
        assert!(fewer[0] > fewer[1], "{fewer:?}");

        let only = gains(&[(2.0, 1), (2.0, 1), (2.0, 2), (2.0, 2)], &[1, 2, 2]);
        assert!(only[0] > only[1], "{only:?}");
    }

    #[test]
    fn what_all_labels_gain_is_what_the_law_says_of_the_whole_error() {
        let rows: Vec<(f32, usize)> = (0..12).map(|row| (1.0, row % 3)).collect();
        let gains = gains(&rows, &[4, 4, 4]);

        let error = 1.0 - f64::exp(1.0) / (f64::exp(1.0) + 2.0); // of each held-out row
        let expected = error * share_left(3.0, 4.0) - error * share_left(3.0, 5.0);
        assert!((gains.iter().sum::<f64>() - expected).abs() < 1e-9, "{gains:?}");
    }

    #[test]
    fn a_held_out_row_is_judged_by_the_examples_that_are_left() {
        assert!((examples_left(5, 32) - 4.0).abs() < 1e-12 && (examples_left(20, 5) - 16.0).abs() < 1e-12);
        assert!((examples_left(1, 32) - 1.0).abs() < 1e-12);
    }
}
