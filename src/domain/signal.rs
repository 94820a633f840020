//! Signals: what somebody did with an item, and how much that says.

use serde::{Deserialize, Serialize};

use super::{Fault, Timestamp};

/// Largest weight: nobody counts for more than so many.
const MOST_WEIGHT: f32 = 1_000.0;

/// Milliseconds of a day.
const DAY: f64 = 86_400_000.0;

/// What somebody did with an item.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// 1 for chosen or liked, 0 for neither liked nor disliked, −1 for disliked, or anything between.
    pub value: f32,
    /// For how many signals it counts.
    pub weight: f32,
    /// When it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

impl Signal {
    /// A signal that counts once.
    ///
    /// # Errors
    /// [`Fault::NoSignal`] for a value outside −1 to 1.
    pub fn new(value: f32) -> Result<Self, Fault> {
        if (-1.0..=1.0).contains(&value) { Ok(Self { value, weight: 1.0, time: None }) } else { Err(Fault::NoSignal) }
    }

    /// The same with another weight.
    ///
    /// # Errors
    /// [`Fault::NoWeight`] for one that is not above 0, or huge.
    pub fn weighing(self, weight: f32) -> Result<Self, Fault> {
        check_weight(weight)?;
        Ok(Self { weight, ..self })
    }

    /// For how many signals each counts, in order: a signal that came `half_life_days` before the latest counts half.
    /// Signals without a time do not age.
    pub fn weights(signals: &[Self], half_life_days: Option<u32>) -> Vec<f32> {
        let latest = signals.iter().filter_map(|signal| signal.time).max();
        let faded = |signal: &Self| {
            let (Some(days), Some(latest), Some(time)) = (half_life_days, latest, signal.time) else { return 1.0 };
            let age = (latest.millis() - time.millis()) as f64 / DAY;
            (-age / f64::from(days)).exp2().max(f64::from(f32::MIN_POSITIVE))
        };
        signals.iter().map(|signal| super::narrow(f64::from(signal.weight) * faded(signal))).collect()
    }
}

/// Refuses a weight of an example or signal that is not above 0, or huge.
///
/// # Errors
/// [`Fault::NoWeight`].
pub fn check_weight(weight: f32) -> Result<(), Fault> {
    if weight > 0.0 && weight <= MOST_WEIGHT { Ok(()) } else { Err(Fault::NoWeight { most: MOST_WEIGHT }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_weights_have_bounds() {
        assert_eq!(Signal::new(4.0), Err(Fault::NoSignal));
        assert_eq!(Signal::new(f32::NAN), Err(Fault::NoSignal));
        let signal = Signal::new(-1.0).expect("a dislike");
        assert!(signal.weighing(0.0).is_err() && signal.weighing(f32::INFINITY).is_err());
        assert_eq!(signal.weighing(3.0).expect("a weight").weight, 3.0);
    }

    #[test]
    fn what_is_a_half_life_older_counts_half() {
        let at = |days: i64| Some(Timestamp::from_millis(days * 86_400_000));
        let signal = |time, weight| Signal { value: 1.0, weight, time };
        let signals = [signal(at(100), 1.0), signal(at(70), 2.0), signal(None, 1.0), signal(at(40), 1.0)];

        assert_eq!(Signal::weights(&signals, Some(30)), [1.0, 1.0, 1.0, 0.25]);
        assert_eq!(Signal::weights(&signals, None), [1.0, 2.0, 1.0, 1.0]);
    }
}
