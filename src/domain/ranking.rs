//! How good an order is.
//!
//! Items have gains: 1 for one that was chosen, 0 for one that was not, or any grade between. What counts is which of them
//! are among the first ten.

/// How far down anybody looks.
pub const LOOKED_AT: usize = 10;

/// Places of the scores, the highest first; of equals, in the order given.
pub fn best_first(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&one, &other| scores[other].total_cmp(&scores[one]));
    order
}

/// Normalised discounted cumulative gain of the first ten (Järvelin & Kekäläinen 2002, §3; linear gains, binary
/// logarithm): 1 for the best order there is. None if nothing gains anything.
pub fn ndcg(scores: &[f32], gains: &[f32]) -> Option<f64> {
    let gain = |&place: &usize| f64::from(gains[place].max(0.0));
    let best = discounted(best_first(gains).iter().map(gain));
    (best > 0.0).then(|| discounted(best_first(scores).iter().map(gain)) / best)
}

/// Whether any of the first ten gains anything.
pub fn is_hit(scores: &[f32], gains: &[f32]) -> bool {
    best_first(scores).iter().take(LOOKED_AT).any(|&place| gains[place] > 0.0)
}

/// Of all pairs of items that differ in gain, the share that the scores order rightly; ties count half. None without a pair.
pub fn pairs_in_order(scores: &[f32], gains: &[f32]) -> Option<f64> {
    let (mut right, mut pairs) = (0.0, 0.0);
    for better in 0..gains.len() {
        for worse in (0..gains.len()).filter(|&worse| gains[worse] < gains[better]) {
            pairs += 1.0;
            right += match scores[better].total_cmp(&scores[worse]) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    (pairs > 0.0).then(|| right / pairs)
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.take(LOOKED_AT).enumerate().map(|(place, gain)| gain / (place as f64 + 2.0).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As scikit-learn's `ndcg_score(gains, scores, k=10)` has it.
    #[test]
    fn ndcg_is_what_others_compute() {
        let found = ndcg(&[0.1, 0.2, 0.3, 4.0, 70.0], &[10.0, 0.0, 0.0, 1.0, 5.0]).expect("something gains");
        assert!((found - 0.695_694_044_4).abs() < 1e-9, "{found}");
        assert_eq!(ndcg(&[2.0, 1.0], &[1.0, 0.0]), Some(1.0));
        assert_eq!(ndcg(&[2.0, 1.0], &[0.0, -1.0]), None);
    }

    #[test]
    fn what_nobody_looks_at_is_no_hit() {
        let scores: Vec<f32> = (0..12u8).map(|place| -f32::from(place)).collect();
        let only = |place: usize| (0..12).map(|own| f32::from(u8::from(own == place))).collect::<Vec<_>>();

        assert!(is_hit(&scores, &only(9)) && !is_hit(&scores, &only(10)));
        assert_eq!(ndcg(&scores, &only(10)), Some(0.0));
    }

    #[test]
    fn pairs_count_where_gains_differ() {
        assert_eq!(pairs_in_order(&[3.0, 2.0, 1.0], &[1.0, -1.0, 1.0]), Some(0.5));
        assert_eq!(pairs_in_order(&[3.0, 3.0], &[1.0, 0.0]), Some(0.5));
        assert_eq!(pairs_in_order(&[3.0, 2.0], &[1.0, 1.0]), None);
    }
}
