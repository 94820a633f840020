//! How fast adaptations go in this process, of late.

use std::sync::Mutex;
use std::time::Duration;

/// Weight of the newest adaptation in the averages: about the last ten count.
const NEWEST: f64 = 0.2;

/// Moving averages over the adaptations that this process ran.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Option<Averages>>);

/// In seconds.
#[derive(Clone, Copy, Debug)]
struct Averages {
    /// From claim to end.
    run: f64,
    /// From submission to end: others' work in between is in it.
    turnaround: f64,
}

impl Pace {
    /// Counts one that has ended.
    pub(super) fn note(&self, run: Duration, turnaround: Duration) {
        let (run, turnaround) = (run.as_secs_f64(), turnaround.as_secs_f64());
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = held.unwrap_or(Averages { run, turnaround });
        let blend = |before: f64, newest: f64| before + NEWEST * (newest - before);
        *held = Some(Averages { run: blend(before.run, run), turnaround: blend(before.turnaround, turnaround) });
    }

    /// Until the end of one that has `waited` and has `ahead` of its own before it.
    pub(super) fn estimate(&self, ahead: usize, runners: usize, waited: Duration) -> Option<Duration> {
        let averages = (*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
        let rounds = (ahead / runners.max(1) + 1) as f64;
        let left = averages.turnaround - waited.as_secs_f64();
        Some(Duration::from_secs_f64((rounds * averages.run).max(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn before_the_first_adaptation_nothing_is_estimated() {
        assert_eq!(Pace::default().estimate(0, 1, Duration::ZERO), None);
    }

    #[test]
    fn an_estimate_counts_rounds_of_the_runners_and_what_is_left_of_the_usual_wait() {
        let pace = Pace::default();
        pace.note(SECOND, 3 * SECOND);

        assert_eq!(pace.estimate(0, 2, Duration::ZERO), Some(3 * SECOND));
        assert_eq!(pace.estimate(0, 2, 9 * SECOND), Some(SECOND));
        assert_eq!(pace.estimate(8, 2, 9 * SECOND), Some(5 * SECOND));
    }

    #[test]
    fn the_newest_count_most() {
        let pace = Pace::default();
        pace.note(SECOND, SECOND);
        (0..30).for_each(|_| pace.note(5 * SECOND, 5 * SECOND));

        let estimate = pace.estimate(0, 1, Duration::ZERO).expect("it has run some");

        assert!((estimate.as_secs_f64() - 5.0).abs() < 0.01, "{estimate:?}");
    }
}
