//! How sure an adapter may be: probabilities that mean what they say, and a line below which it had better not answer.

use serde::{Deserialize, Serialize};

use super::argmax;

/// How scores become probabilities, fitted to held-out examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What scores are divided by before the softmax (Guo et al. 2017, arXiv:1706.04599, §4.2).
    pub temperature: f64,
    /// Expected calibration error of held-out examples at this temperature: how far, on average, confidence is from
    /// accuracy (the same paper, eq. 3).
    pub error: f64,
    /// The least confidence at which at least [`TARGET_PRECISION`] of the held-out examples that are answered are
    /// answered right; 1 if there is none.
    pub abstain_below: f64,
    /// Share of the held-out examples that are answered at that confidence.
    pub coverage: f64,
}

/// Share of answers that are to be right where an adapter may abstain.
pub const TARGET_PRECISION: f64 = 0.95;

/// How far the logarithm of a temperature strays from 0 without evidence, as a standard deviation: few examples, or
/// ones that are all right, do not make an adapter certain.
const LOG_SPREAD: f64 = 0.5;
/// Bounds of the logarithm of a temperature.
const LOG_BOUND: f64 = 4.0;
/// Bins of equal width that the calibration error is taken over.
const BINS: usize = 10;

impl Calibration {
    /// Fits the temperature to scores of held-out examples and their classes: the most probable one a posteriori, with
    /// a log-normal prior around 1.
    pub fn fit(held_out: &[(&[f32], usize)]) -> Self {
        let loss = |log_temperature: f64| {
            let likelihood: f64 =
                held_out.iter().map(|(logits, class)| -log_probability(logits, *class, log_temperature.exp())).sum();
            likelihood + (log_temperature / LOG_SPREAD).powi(2) / 2.0
        };
        let temperature = minimum(loss, -LOG_BOUND, LOG_BOUND).exp();
        let mut judged: Vec<(f64, bool)> = held_out
            .iter()
            .map(|(logits, class)| {
                let best = argmax(logits);
                (log_probability(logits, best, temperature).exp(), best == *class)
            })
            .collect();
        judged.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let (abstain_below, coverage) = threshold(&judged);
        Self { temperature, error: calibration_error(&judged), abstain_below, coverage }
    }

    /// Probabilities of one row of scores.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f64> {
        probabilities(logits, self.temperature)
    }
}

/// The softmax of scores over a temperature.
pub fn probabilities(logits: &[f32], temperature: f64) -> Vec<f64> {
    let best = logits[argmax(logits)];
    let exponentials: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit - best) / temperature).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|exponential| exponential / sum).collect()
}

/// Mean distance of confidence from accuracy, over bins of answers of like confidence.
pub fn calibration_error(judged: &[(f64, bool)]) -> f64 {
    let mut gaps = [0.0; BINS];
    for (confidence, is_right) in judged {
        let above = (1..BINS).take_while(|&bin| *confidence * BINS as f64 >= bin as f64).count();
        gaps[above] += confidence - f64::from(u8::from(*is_right));
    }
    gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / judged.len().max(1) as f64
}

/// The least confidence with the target precision above it, and the share of answers there. Sorted, surest first.
fn threshold(judged: &[(f64, bool)]) -> (f64, f64) {
    let (mut hits, mut found) = (0.0, (1.0, 0.0));
    for (index, (confidence, is_right)) in judged.iter().enumerate() {
        let answered = (index + 1) as f64;
        hits += f64::from(u8::from(*is_right));
        // Answers of equal confidence stand or fall together.
        let is_whole = judged.get(index + 1).is_none_or(|(next, _)| next < confidence);
        if is_whole && hits / answered >= TARGET_PRECISION {
            found = (*confidence, answered / judged.len() as f64);
        }
    }
    found
}

fn log_probability(logits: &[f32], class: usize, temperature: f64) -> f64 {
    let best = f64::from(logits[argmax(logits)]);
    let scaled = |logit: f32| (f64::from(logit) - best) / temperature;
    scaled(logits[class]) - logits.iter().map(|&logit| scaled(logit).exp()).sum::<f64>().ln()
}

/// Where a function of one valley is least, to a ten-thousandth (golden section).
fn minimum(function: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    while high - low > 1e-4 {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if function(left) < function(right) { high = right } else { low = left }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes, a margin of 2 in favour of the first, which is right in `right` of `n` cases.
    fn fit(right: usize, n: usize) -> Calibration {
        let logits = [2.0, 0.0];
        let held_out: Vec<(&[f32], usize)> = (0..n).map(|index| (&logits[..], usize::from(index >= right))).collect();
        Calibration::fit(&held_out)
    }

    #[test]
    fn with_many_examples_confidence_is_accuracy() {
        let calibration = fit(7_500, 10_000);

        let confidence = calibration.probabilities(&[2.0, 0.0])[0];

        // σ(2/T) = 0.75 at T = 2 / ln 3.
        assert!((confidence - 0.75).abs() < 1e-3, "{confidence}");
        assert!((calibration.temperature - 2.0 / 3f64.ln()).abs() < 1e-2, "{}", calibration.temperature);
        assert!(calibration.error < 1e-3, "{}", calibration.error);
    }

    #[test]
    fn a_few_right_answers_do_not_make_certainty() {
        let confidence = fit(4, 4).probabilities(&[2.0, 0.0])[0];

        assert!(confidence > 0.88 && confidence < 0.99, "{confidence}"); // 0.881 uncalibrated
    }

    #[test]
    fn nothing_is_answered_where_the_target_is_out_of_reach() {
        let calibration = fit(7, 10);

        assert_eq!((calibration.abstain_below, calibration.coverage), (1.0, 0.0));
    }

    #[test]
    fn what_is_surer_than_the_threshold_is_right_often_enough() {
        let rows: Vec<([f32; 2], usize)> = (0..100u8)
            .map(|index| ([f32::from(index) / 10.0, 0.0], usize::from(index < 20 && index % 2 == 0)))
            .collect();
        let held_out: Vec<(&[f32], usize)> = rows.iter().map(|(logits, class)| (&logits[..], *class)).collect();

        let calibration = Calibration::fit(&held_out);

        let answered: Vec<bool> = held_out
            .iter()
            .filter(|(logits, _)| calibration.probabilities(logits)[argmax(logits)] >= calibration.abstain_below)
            .map(|(logits, class)| argmax(logits) == *class)
            .collect();
        let precision = answered.iter().filter(|is_right| **is_right).count() as f64 / answered.len() as f64;
        assert!(precision >= TARGET_PRECISION && answered.len() >= 80, "{precision} of {}", answered.len());
        assert_eq!(calibration.coverage, answered.len() as f64 / 100.0);
    }

    #[test]
    fn the_calibration_error_is_the_mean_gap_of_bins() {
        let judged = [vec![(0.9, true); 10], vec![(0.6, false); 10]].concat();

        assert!((calibration_error(&judged) - 0.35).abs() < 1e-12); // (0.1 + 0.6) / 2
    }
}
