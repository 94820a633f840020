//! How good answers were, once it is known what would have been right.

use super::{accuracy_interval, calibration_error};

/// One answer and the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What would have been right.
    pub label: String,
    /// What was answered.
    pub predicted: String,
    /// How sure the answer was.
    pub confidence: f64,
    /// Whether it would have been withheld.
    pub abstained: bool,
}

/// What labelled examples say about a classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Examples.
    pub n: usize,
    /// Share that was answered right.
    pub accuracy: f64,
    /// 95 % interval of it.
    pub accuracy_ci95: [f64; 2],
    /// Mean over labels of their F1.
    pub macro_f1: f64,
    /// How far, on average, confidence is from accuracy.
    pub calibration_error: f64,
    /// Share that is answered where the adapter may abstain.
    pub coverage: f64,
    /// Share of those that was answered right; none if nothing was answered.
    pub precision_answered: Option<f64>,
    /// By label, in the order given.
    pub per_label: Vec<LabelEvaluation>,
    /// `confusion[i][j]`: how often label `i` was called label `j`.
    pub confusion: Vec<Vec<usize>>,
}

/// What they say about one label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelEvaluation {
    /// The label.
    pub label: String,
    /// Its examples.
    pub support: usize,
    /// Share of the answers of this label that were right; none if there were none.
    pub precision: Option<f64>,
    /// Share of its examples that were found; none if there were none.
    pub recall: Option<f64>,
    /// Harmonic mean of both; 0 if either is 0 or none.
    pub f1: f64,
}

impl Evaluation {
    /// Of answers over these labels; `None` without an answer. Every label of an answer is among `labels`.
    pub fn of(judged: &[Judged], labels: &[String]) -> Option<Self> {
        if judged.is_empty() {
            return None;
        }
        let place = |name: &str| labels.iter().position(|label| label == name);
        let mut confusion = vec![vec![0usize; labels.len()]; labels.len()];
        for row in judged {
            if let Some((label, predicted)) = place(&row.label).zip(place(&row.predicted)) {
                confusion[label][predicted] += 1;
            }
        }
        let per_label: Vec<LabelEvaluation> =
            (0..labels.len()).map(|class| of_label(class, labels, &confusion)).collect();
        let is_right = |row: &&Judged| row.predicted == row.label;
        let hits = judged.iter().filter(is_right).count();
        let answered: Vec<&Judged> = judged.iter().filter(|row| !row.abstained).collect();
        let answered_right = answered.iter().copied().filter(is_right).count();
        let mut by_confidence: Vec<(f64, bool)> = judged.iter().map(|row| (row.confidence, is_right(&row))).collect();
        by_confidence.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let asked: Vec<&LabelEvaluation> = per_label.iter().filter(|label| label.support > 0).collect();
        Some(Self {
            n: judged.len(),
            accuracy: hits as f64 / judged.len() as f64,
            accuracy_ci95: accuracy_interval(hits as f64, judged.len()),
            macro_f1: asked.iter().map(|label| label.f1).sum::<f64>() / asked.len().max(1) as f64,
            calibration_error: calibration_error(&by_confidence),
            coverage: answered.len() as f64 / judged.len() as f64,
            precision_answered: (!answered.is_empty()).then(|| answered_right as f64 / answered.len() as f64),
            per_label,
            confusion,
        })
    }
}

fn of_label(class: usize, labels: &[String], confusion: &[Vec<usize>]) -> LabelEvaluation {
    let hits = confusion[class][class];
    let support: usize = confusion[class].iter().sum();
    let answers: usize = confusion.iter().map(|row| row[class]).sum();
    let share = |of: usize| (of > 0).then(|| hits as f64 / of as f64);
    let f1 = if hits == 0 { 0.0 } else { 2.0 * hits as f64 / (support + answers) as f64 };
    LabelEvaluation { label: labels[class].clone(), support, precision: share(answers), recall: share(support), f1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(label: &str, predicted: &str, confidence: f64) -> Judged {
        let (label, predicted) = (label.to_owned(), predicted.to_owned());
        Judged { label, predicted, confidence, abstained: confidence < 0.5 }
    }

    #[test]
    fn figures_are_those_of_the_confusion_matrix() {
        let labels: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let answers = [judged("a", "a", 0.9), judged("a", "b", 0.4), judged("b", "b", 0.8), judged("b", "b", 0.7)];

        let evaluation = Evaluation::of(&answers, &labels).expect("there are answers");

        assert_eq!(evaluation.confusion, [[1, 1, 0], [0, 2, 0], [0, 0, 0]]);
        assert_eq!((evaluation.n, evaluation.accuracy, evaluation.coverage), (4, 0.75, 0.75));
        assert_eq!(evaluation.precision_answered, Some(1.0));
        let [a, b, c] = &evaluation.per_label[..] else { panic!("three labels") };
        assert_eq!((a.precision, a.recall), (Some(1.0), Some(0.5)));
        assert_eq!((b.precision, b.recall), (Some(2.0 / 3.0), Some(1.0)));
        assert_eq!((c.precision, c.recall, c.support), (None, None, 0));
        assert!((evaluation.macro_f1 - f64::midpoint(2.0 / 3.0, 0.8)).abs() < 1e-12, "{}", evaluation.macro_f1);
    }

    #[test]
    fn without_answers_there_is_nothing_to_say() {
        assert_eq!(Evaluation::of(&[], &[]), None);
    }
}
