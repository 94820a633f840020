//! Between which shares the true one is, where some of it was counted.

/// What a 95 % interval holds.
const RATE: f64 = 0.95;

/// 95 % interval of a share, `hits` of `n` (Wilson 1927): it holds the true one at about this rate, whatever that is.
pub fn accuracy_interval(hits: f64, n: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    let (p, n) = (hits / n as f64, n as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // At its ends the interval is closed: rounding must not push it past them.
    let low = if p == 0.0 { 0.0 } else { (centre - spread) / scale };
    let high = if p == 1.0 { 1.0 } else { (centre + spread) / scale };
    [low.max(0.0), high.min(1.0)]
}

/// The likeliest shares after so many hits and misses, which need not be whole, that together have 95 % of the probability
/// under Jeffreys' prior. Where nearly all is right, as in most tasks, Wilson's interval is nearly twice as wide, and holds
/// the truth too often.
///
/// With the share as sin² φ that prior is even in φ, and the likelihood is the density: its highest stretch is found on a
/// grid.
pub(super) fn likeliest_shares(hits: f64, misses: f64) -> [f64; 2] {
    const CELLS: usize = 2048;
    let edge = |cell: usize| cell as f64 / CELLS as f64 * std::f64::consts::FRAC_PI_2;
    let log_likelihood = |cell: usize| {
        let (sin, cos) = f64::midpoint(edge(cell), edge(cell + 1)).sin_cos();
        2.0 * (hits * sin.ln() + misses * cos.ln())
    };
    let logs: Vec<f64> = (0..CELLS).map(log_likelihood).collect();
    let best = (0..CELLS).fold(0, |best, cell| if logs[cell] > logs[best] { cell } else { best });
    let density: Vec<f64> = logs.iter().map(|log| (log - logs[best]).exp()).collect();
    let enough = RATE * density.iter().sum::<f64>();
    let (mut first, mut last, mut held) = (best, best, density[best]);
    while held < enough {
        let below = first.checked_sub(1).map_or(-1.0, |cell| density[cell]);
        let above = density.get(last + 1).copied().unwrap_or(-1.0);
        if below > above {
            first -= 1;
        } else {
            last += 1;
        }
        held += below.max(above);
    }
    [edge(first).sin().powi(2), edge(last + 1).sin().powi(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        let [low, high] = accuracy_interval(8.0, 10); // Brown, Cai & DasGupta 2001 give 0.4902 to 0.9433

        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn the_interval_of_all_or_nothing_is_closed_at_its_end() {
        for n in 1..200 {
            assert_eq!((accuracy_interval(n as f64, n)[1], accuracy_interval(0.0, n)[0]), (1.0, 0.0), "{n}");
            assert_eq!((likeliest_shares(n as f64, 0.0)[1], likeliest_shares(0.0, n as f64)[0]), (1.0, 0.0), "{n}");
        }
    }

    #[test]
    fn the_likeliest_shares_have_the_probability_that_jeffreys_gives_them() {
        // Of Beta(20.5, 0.5) one in twenty is below; Beta(5.5, 5.5) is even around a half, with its middle 95 % between these.
        let [low, _] = likeliest_shares(20.0, 0.0);
        assert!((low - 0.9095).abs() < 2e-3, "{low}");
        let [low, high] = likeliest_shares(5.0, 5.0);
        assert!((low - 0.2235).abs() < 2e-3 && (low + high - 1.0).abs() < 1e-9, "{low} {high}");
        let [low, high] = likeliest_shares(8.0, 2.0);
        let [mirrored_low, mirrored_high] = likeliest_shares(2.0, 8.0);
        assert!((low + mirrored_high - 1.0).abs() < 2e-3 && (high + mirrored_low - 1.0).abs() < 2e-3, "{low} {high}");
    }

    #[test]
    fn more_examples_make_a_narrower_interval_around_what_was_counted() {
        let width = |n: f64| {
            let [low, high] = likeliest_shares(0.9 * n, 0.1 * n);
            assert!(low < 0.9 && high > 0.9, "{low} {high}");
            high - low
        };
        assert!(width(10.0) > width(40.0) && width(40.0) > width(10_000.0) && width(10_000.0) < 0.02);
    }
}
