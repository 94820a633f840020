//! How good an adaptation is by its own estimate, before anyone asks it a question.

use serde::{Deserialize, Serialize};

use super::{Outputs, Targets};

/// An estimate made from the support set alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// How it was made: `leave_one_out`.
    pub method: String,
    /// Examples that it rests on. Classes with a single example are left out: without it, the class is gone.
    pub n: usize,
    /// Share of held-out examples that were predicted right; classification only.
    pub accuracy: Option<f64>,
    /// 95 % Wilson interval of `accuracy`.
    pub accuracy_ci95: Option<[f64; 2]>,
    /// Mean squared error over held-out examples; regression only.
    pub mean_squared_error: Option<f64>,
    /// The same by label, in the order of the task's labels.
    pub per_label: Vec<LabelQuality>,
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
}

impl Quality {
    /// From leave-one-out scores: row `i` was predicted without support row `i`. `None` if no row can be judged.
    pub fn from_leave_one_out(outputs: &Outputs, targets: &Targets, names: &[String]) -> Option<Self> {
        match targets {
            Targets::Values(values) => {
                let errors = outputs.rows().zip(values).map(|(row, value)| f64::from(row[0] - value).powi(2));
                let n = values.len();
                Some(Self {
                    method: "leave_one_out".to_owned(),
                    n,
                    accuracy: None,
                    accuracy_ci95: None,
                    mean_squared_error: Some(errors.sum::<f64>() / n as f64),
                    per_label: Vec::new(),
                })
            }
            Targets::Classes { labels, way } => {
                let mut support = vec![0usize; *way];
                let mut right = vec![0usize; *way];
                for (row, &label) in outputs.rows().zip(labels) {
                    support[label as usize] += 1;
                    right[label as usize] += usize::from(argmax(row) == label as usize);
                }
                let judged: Vec<usize> = (0..*way).filter(|&class| support[class] > 1).collect();
                let n: usize = judged.iter().map(|&class| support[class]).sum();
                let hits: usize = judged.iter().map(|&class| right[class]).sum();
                let per_label = (0..*way)
                    .map(|class| LabelQuality {
                        label: names[class].clone(),
                        support: support[class],
                        recall: (support[class] > 1).then(|| right[class] as f64 / support[class] as f64),
                    })
                    .collect();
                (n > 0).then(|| Self {
                    method: "leave_one_out".to_owned(),
                    n,
                    accuracy: Some(hits as f64 / n as f64),
                    accuracy_ci95: Some(accuracy_interval(hits, n)),
                    mean_squared_error: None,
                    per_label,
                })
            }
        }
    }
}

/// Index of the largest score; the first of equals.
pub fn argmax(scores: &[f32]) -> usize {
    scores.iter().enumerate().fold(0, |best, (index, score)| if *score > scores[best] { index } else { best })
}

/// 95 % interval of a share, `hits` of `n` (Wilson 1927).
pub fn accuracy_interval(hits: usize, n: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    let (p, n) = (hits as f64 / n as f64, n as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        let [low, high] = accuracy_interval(8, 10); // Brown, Cai & DasGupta 2001 give 0.4902 to 0.9433

        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn a_class_with_one_example_is_not_judged() {
        let outputs = Outputs { width: 2, values: vec![0.0, 1.0, 1.0, 0.0, 1.0, 0.0] };
        let targets = Targets::Classes { labels: vec![0, 1, 1], way: 2 };

        let quality =
            Quality::from_leave_one_out(&outputs, &targets, &["a".into(), "b".into()]).expect("two rows count");

        assert_eq!((quality.n, quality.accuracy), (2, Some(0.0)));
        assert_eq!(quality.per_label[0].recall, None);
    }

    #[test]
    fn the_first_of_equal_scores_wins() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }
}
