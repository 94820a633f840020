//! Monitors: whether a label comes up more often among a task's predictions than it used to, or less often.
//!
//! To a monitor, predictions are a stream of yes and no: its label, or another one. Its baseline p₀ is the share that is
//! usual; `ratio` says how many times the odds of p₀ are worth an alert, which gives p₁. It sums the evidence for p₁
//! against p₀ and never lets the sum fall below zero (CUSUM; Page 1954):
//!
//! ```text
//! s ← max(0, s + ln p₁(x)/p₀(x))      raised when s ≥ h = ln(false_alarm_every)
//! ```
//!
//! While the share is what it used to be, the mean number of predictions until a false alarm is at least e^h, whatever p₀
//! and p₁ are (Lorden 1971, theorem 2); when it becomes p₁, the alarm comes after about h / KL(p₁, p₀) predictions, and
//! no test that keeps the same promise is quicker in the worst case (Moustakides 1986). Once raised, the same sum is
//! taken the other way round, and the alert is cleared when p₀ is back.
//!
//! Where no baseline is given, it is learned from the first `window` predictions: the end of its 95 % interval that is
//! nearer to p₁, so that a share which was underestimated does not sound the alarm by itself.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{Message, MonitorId, TaskId, TenantId, Timestamp, Topic, accuracy_interval};

/// Nearer to 0 or 1 no usual share is looked at: an odds ratio of nothing is nothing.
const LEAST_SHARE: f64 = 1e-3;
/// What a usual share may be.
pub const USUAL_SHARES: RangeInclusive<f64> = LEAST_SHARE..=1.0 - LEAST_SHARE;

/// How many alerts of a monitor are kept: the latest.
pub const KEPT_ALERTS: u32 = 1_000;

/// What a monitor looks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorRule {
    /// The label.
    pub label: String,
    /// The usual share of it; learned if it is not given.
    pub baseline: Option<f64>,
    /// How many times the usual odds are worth an alert; below 1 for a label that becomes rare.
    pub ratio: f64,
    /// Predictions to a false alarm, on the average, at least.
    pub false_alarm_every: u32,
    /// Predictions that `share` is taken over, and that a baseline is learned from.
    pub window: usize,
}

/// Changes to a monitor; `None` leaves what it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MonitorPatch {
    /// A new name.
    pub name: Option<String>,
    /// Another usual share.
    pub baseline: Option<f64>,
    /// Another change to look for.
    pub ratio: Option<f64>,
    /// Another rate of false alarms.
    pub false_alarm_every: Option<u32>,
    /// Another window.
    pub window: Option<usize>,
}

impl MonitorPatch {
    /// The rule that comes of `old`.
    pub fn rule(&self, old: &MonitorRule) -> MonitorRule {
        MonitorRule {
            label: old.label.clone(),
            baseline: self.baseline.or(old.baseline),
            ratio: self.ratio.unwrap_or(old.ratio),
            false_alarm_every: self.false_alarm_every.unwrap_or(old.false_alarm_every),
            window: self.window.unwrap_or(old.window),
        }
    }
}

/// A rule, of one task, and what it has seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Its id.
    pub id: MonitorId,
    /// Whose predictions it looks at.
    pub task: TaskId,
    /// A name for people.
    pub name: String,
    /// What it looks for.
    pub rule: MonitorRule,
    /// What it has seen.
    pub watch: Watch,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a monitor has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Predictions so far.
    pub seen: u64,
    /// The usual share, once it is known.
    pub baseline: Option<f64>,
    /// Whether the share has changed, and has not changed back.
    pub is_raised: bool,
    /// The sum of evidence against what it believes now.
    pub evidence: f64,
    /// The last predictions, oldest first: 1 for the label, 0 for another one.
    recent: String,
}

/// What became of the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is no longer the usual one.
    Raised,
    /// It is the usual one again.
    Cleared,
}

/// A change that a monitor saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Which.
    pub change: Change,
    /// Share of the label in the window that ends here.
    pub share: f64,
    /// The usual share.
    pub baseline: f64,
    /// Predictions that the monitor has seen, the last one being the one that told.
    pub seen: u64,
}

/// An alert as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorEvent {
    /// 1, 2, 3 … within the monitor.
    pub number: u32,
    /// What happened.
    pub alert: Alert,
    /// When.
    pub created_at: Timestamp,
}

impl Monitor {
    /// What webhooks are told of an event.
    pub fn message(&self, tenant: TenantId, event: &MonitorEvent) -> Message {
        #[derive(Serialize)]
        struct Told<'a> {
            monitor: MonitorId,
            task: TaskId,
            name: &'a str,
            label: &'a str,
            #[serde(flatten)]
            alert: Alert,
        }
        let topic = match event.alert.change {
            Change::Raised => Topic::MonitorRaised,
            Change::Cleared => Topic::MonitorCleared,
        };
        let id = Message::id_about(tenant, &format!("{} {}", self.id, event.number));
        let (name, label) = (self.name.as_str(), self.rule.label.as_str());
        let told = Told { monitor: self.id, task: self.task, name, label, alert: event.alert };
        Message::new(id, topic, &told, event.created_at)
    }
}

impl MonitorRule {
    /// The share that is worth an alert, for a usual share of `baseline`.
    pub fn alert_share(&self, baseline: f64) -> f64 {
        let odds = self.ratio * baseline / (1.0 - baseline);
        (odds / (1.0 + odds)).clamp(LEAST_SHARE / 2.0, 1.0 - LEAST_SHARE / 2.0)
    }

    /// How much evidence is an alert: h.
    pub fn threshold(&self) -> f64 {
        f64::from(self.false_alarm_every).ln()
    }

    /// Predictions from the moment that the share becomes [`Self::alert_share`] to the alert, on the average and but for
    /// the overshoot: h / KL(p₁, p₀).
    pub fn expected_delay(&self, baseline: f64) -> f64 {
        let share = self.alert_share(baseline);
        let [yes, no] = weights(baseline, share);
        self.threshold() / (share * yes + (1.0 - share) * no)
    }
}

/// ln p₁(x)/p₀(x) for x = 1 and for x = 0.
fn weights(usual: f64, other: f64) -> [f64; 2] {
    [(other / usual).ln(), ((1.0 - other) / (1.0 - usual)).ln()]
}

/// The share that is looked at where `usual` is.
fn watched(usual: f64) -> f64 {
    usual.clamp(*USUAL_SHARES.start(), *USUAL_SHARES.end())
}

impl Watch {
    /// Share of the label in the window.
    pub fn share(&self) -> Option<f64> {
        (!self.recent.is_empty()).then(|| self.hits() as f64 / self.recent.len() as f64)
    }

    fn hits(&self) -> usize {
        self.recent.bytes().filter(|&seen| seen == b'1').count()
    }

    /// Takes one prediction into account: whether it was the label of `rule`.
    pub fn observe(&mut self, rule: &MonitorRule, is_label: bool) -> Option<Alert> {
        self.seen += 1;
        if self.recent.len() >= rule.window {
            self.recent.remove(0);
        }
        self.recent.push(if is_label { '1' } else { '0' });
        let Some(usual) = self.baseline.or(rule.baseline) else {
            self.learn(rule);
            return None;
        };
        let baseline = watched(usual);
        self.baseline = Some(baseline);
        let weight = weights(baseline, rule.alert_share(baseline))[usize::from(!is_label)];
        self.evidence = (self.evidence + if self.is_raised { -weight } else { weight }).max(0.0);
        if self.evidence < rule.threshold() {
            return None;
        }
        self.evidence = 0.0;
        self.is_raised = !self.is_raised;
        let change = if self.is_raised { Change::Raised } else { Change::Cleared };
        Some(Alert { change, share: self.share().unwrap_or_default(), baseline, seen: self.seen })
    }

    /// Takes the baseline from the window, once it is full.
    fn learn(&mut self, rule: &MonitorRule) {
        if self.recent.len() == rule.window {
            let [low, high] = accuracy_interval(self.hits() as f64, self.recent.len());
            self.baseline = Some(watched(if rule.ratio > 1.0 { high } else { low }));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rule(baseline: Option<f64>, ratio: f64, false_alarm_every: u32) -> MonitorRule {
        MonitorRule { label: "angry".to_owned(), baseline, ratio, false_alarm_every, window: 200 }
    }

    /// Number of predictions until the first alert, `most` if there was none.
    fn first_alert(rule: &MonitorRule, watch: &mut Watch, share: f64, most: u64, rng: &mut ChaCha8Rng) -> u64 {
        let from = watch.seen;
        while watch.seen - from < most && watch.observe(rule, rng.random_bool(share)).is_none() {}
        watch.seen - from
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// The promise: while nothing changes, alarms are at least so far apart, on the average.
        #[test]
        fn false_alarms_are_as_rare_as_is_said(
            seed in any::<u64>(), baseline in 0.02f64..0.9, ratio in prop::sample::select(vec![0.3, 0.5, 2.0, 4.0]),
        ) {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let rule = rule(Some(baseline), ratio, 200);
            // Runs are cut at 20 times the promise, which only shortens the mean.
            let runs: Vec<u64> = (0..400)
                .map(|_| first_alert(&rule, &mut Watch::default(), baseline, 4_000, rng))
                .collect();
            let mean = runs.iter().sum::<u64>() as f64 / runs.len() as f64;

            // Three standard errors below: the times are about exponential.
            prop_assert!(mean > 200.0 * (1.0 - 3.0 / 20.0), "{mean} predictions between false alarms");
        }

        /// The other promise: a change of the size that was asked for is seen about as soon as is said.
        #[test]
        fn a_change_is_seen_about_as_soon_as_is_said(
            seed in any::<u64>(), baseline in 0.05f64..0.6, ratio in prop::sample::select(vec![0.3, 2.0, 4.0]),
        ) {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let rule = rule(Some(baseline), ratio, 1_000);
            let share = rule.alert_share(baseline);
            let delays: Vec<u64> = (0..200)
                .map(|_| first_alert(&rule, &mut Watch::default(), share, 100_000, rng))
                .collect();
            let mean = delays.iter().sum::<u64>() as f64 / delays.len() as f64;

            let said = rule.expected_delay(baseline);
            prop_assert!(mean < 1.6 * said + 10.0 && mean > 0.4 * said, "{mean} predictions, {said} were said");
        }

        /// Whatever comes, the numbers stay numbers, and changes alternate.
        #[test]
        fn changes_alternate_and_shares_are_shares(
            stream in prop::collection::vec(any::<bool>(), 0..600), baseline in prop::option::of(0.0f64..=1.0),
            ratio in prop::sample::select(vec![0.01, 0.5, 1.3, 100.0]),
        ) {
            let rule = MonitorRule { window: 50, ..rule(baseline, ratio, 10) };
            let mut watch = Watch::default();
            let alerts: Vec<Alert> = stream.iter().filter_map(|&hit| watch.observe(&rule, hit)).collect();

            prop_assert_eq!(watch.seen, stream.len() as u64);
            prop_assert!(watch.evidence.is_finite() && watch.evidence >= 0.0);
            for (index, alert) in alerts.iter().enumerate() {
                let expected = if index % 2 == 0 { Change::Raised } else { Change::Cleared };
                prop_assert_eq!(alert.change, expected);
                prop_assert!((0.0..=1.0).contains(&alert.share) && (0.0..=1.0).contains(&alert.baseline));
            }
        }
    }

    #[test]
    fn a_baseline_is_learned_from_the_first_window_on_the_safe_side() {
        let rule = rule(None, 2.0, 1_000);
        let mut watch = Watch::default();
        for index in 0..200 {
            assert_eq!(watch.observe(&rule, index % 10 == 0), None);
        }

        let learned = watch.baseline.expect("the window is full");
        assert!(learned > 0.1 && learned < 0.16, "{learned}");
    }

    #[test]
    fn a_label_that_never_or_always_came_has_a_share_all_the_same() {
        for (is_label, ratio) in [(false, 0.5), (true, 2.0)] {
            let rule = rule(None, ratio, 1_000);
            let mut watch = Watch::default();
            for _ in 0..rule.window {
                assert_eq!(watch.observe(&rule, is_label), None);
            }

            let learned = watch.baseline.expect("the window is full");
            let delay = rule.expected_delay(learned);
            assert!(USUAL_SHARES.contains(&learned) && delay.is_finite() && delay > 1.0, "{learned}, {delay}");
        }
    }

    #[test]
    fn an_alert_is_cleared_when_the_usual_share_is_back() {
        let rule = rule(Some(0.1), 4.0, 1_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let mut watch = Watch::default();
        let stream = (0..3_000).map(|index| rng.random_bool(if (1_000..2_000).contains(&index) { 0.4 } else { 0.1 }));

        let alerts: Vec<Alert> =
            stream.collect::<Vec<_>>().into_iter().filter_map(|hit| watch.observe(&rule, hit)).collect();

        let [raised, cleared] = alerts[..] else { panic!("{alerts:?}") };
        assert_eq!((raised.change, cleared.change), (Change::Raised, Change::Cleared));
        assert!((1_000..1_080).contains(&raised.seen) && (2_000..2_080).contains(&cleared.seen), "{alerts:?}");
        assert!(raised.share > 0.1 && cleared.share < 0.4);
    }
}
