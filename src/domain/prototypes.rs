//! Classes by the mean of their examples' features: an answer before there is an adapter.
//!
//! Nearest class mean (Snell et al. 2017, arXiv:1703.05175) in cosines, since what is known here of features is where they
//! point. How sure an answer is comes from the same examples, each compared with the means that are left without it.

use super::Calibration;

/// What cosines are multiplied by before they are scores: between 1 and −1 a softmax tells hardly anything apart.
const SHARPNESS: f32 = 10.0;

/// A mean for each class, and how sure to be of the nearest.
#[derive(Clone, Debug)]
pub struct Prototypes {
    /// Sums of each class's features, weighted; of any length, as cosines do not see it.
    sums: Vec<Vec<f32>>,
    calibration: Calibration,
}

impl Prototypes {
    /// From features of length 1, each with its class and a weight. Every class has an example.
    ///
    /// # Panics
    /// If features are of different lengths.
    pub fn of(examples: &[(&[f32], usize, f32)], way: usize) -> Self {
        let width = examples.first().map_or(0, |(features, ..)| features.len());
        let mut sums = vec![vec![0.0; width]; way];
        let mut counts = vec![0usize; way];
        for &(features, class, weight) in examples {
            add(&mut sums[class], features, weight);
            counts[class] += 1;
        }
        let held_out: Vec<(Vec<f32>, usize)> = examples
            .iter()
            .filter(|(_, class, _)| counts[*class] > 1)
            .map(|&(features, class, weight)| {
                let mut scores = scores(&sums, features);
                let mut others = sums[class].clone();
                add(&mut others, features, -weight);
                scores[class] = SHARPNESS * cosine(&others, features);
                (scores, class)
            })
            .collect();
        let held_out: Vec<(&[f32], usize)> = held_out.iter().map(|(scores, class)| (&scores[..], *class)).collect();
        Self { calibration: Calibration::fit(&held_out), sums }
    }

    /// A score for each class, of features of length 1.
    pub fn scores(&self, features: &[f32]) -> Vec<f32> {
        scores(&self.sums, features)
    }

    /// How scores become probabilities.
    pub const fn calibration(&self) -> &Calibration {
        &self.calibration
    }
}

fn scores(sums: &[Vec<f32>], features: &[f32]) -> Vec<f32> {
    sums.iter().map(|sum| SHARPNESS * cosine(sum, features)).collect()
}

fn add(sum: &mut [f32], features: &[f32], weight: f32) {
    assert_eq!(sum.len(), features.len(), "features of one base model are of one width");
    sum.iter_mut().zip(features).for_each(|(sum, value)| *sum += weight * value);
}

/// With features of length 1; 0 if the sum is nothing.
fn cosine(sum: &[f32], features: &[f32]) -> f32 {
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    let product: f32 = sum.iter().zip(features).map(|(one, other)| one * other).sum();
    if length > 0.0 { product / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORTH: [f32; 2] = [0.0, 1.0];
    const EAST: [f32; 2] = [1.0, 0.0];
    const NORTH_EAST: [f32; 2] = [0.6, 0.8];

    #[test]
    fn the_class_whose_mean_points_there_scores_most() {
        let all = Prototypes::of(&[(&NORTH, 0, 1.0), (&NORTH_EAST, 0, 1.0), (&EAST, 1, 1.0)], 2);

        let [north, east] = all.scores(&NORTH)[..] else { panic!("two classes") };

        // (0.6, 1.8) / √3.6 has 1.8 / √3.6 of the north in it.
        assert!((north - SHARPNESS * 0.948_683_3).abs() < 1e-4 && east.abs() < 1e-6, "{north} {east}");
    }

    #[test]
    fn an_example_of_more_weight_pulls_its_mean() {
        let towards_north = |weight| {
            let examples: [(&[f32], usize, f32); 3] = [(&NORTH, 0, weight), (&EAST, 0, 1.0), (&EAST, 1, 1.0)];
            Prototypes::of(&examples, 2).scores(&NORTH)[0]
        };

        assert!(towards_north(3.0) > towards_north(1.0));
    }

    #[test]
    fn examples_that_others_find_make_answers_surer() {
        let sure = Prototypes::of(&[(&NORTH, 0, 1.0), (&NORTH, 0, 1.0), (&EAST, 1, 1.0), (&EAST, 1, 1.0)], 2);
        let unsure = Prototypes::of(&[(&NORTH, 0, 1.0), (&EAST, 0, 1.0), (&EAST, 1, 1.0), (&NORTH, 1, 1.0)], 2);

        let [sure, unsure] = [sure, unsure].map(|all| all.calibration().temperature);
        // Were an example left in its own mean, the unsure ones would be even: nothing would speak against 1.
        assert!(sure < 1.0 && unsure > 1.2, "{sure} {unsure}");
    }
}
