//! How many tenants ask of late: a count by periods, in constant time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::domain::TenantId;

/// Who asked within this is still there.
const PERIOD: Duration = Duration::from_secs(1);

/// Who asked in this period, and how many did in the one before.
pub(super) struct Presence {
    since: Instant,
    now: HashSet<TenantId>,
    before: usize,
}

impl Presence {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, now: HashSet::new(), before: 0 }
    }

    pub(super) fn note(&mut self, tenant: TenantId, now: Instant) {
        self.turn_over(now);
        self.now.insert(tenant);
    }

    /// Tenants that asked in this period or in the one before, whichever is more.
    pub(super) fn count(&mut self, now: Instant) -> usize {
        self.turn_over(now);
        self.before.max(self.now.len())
    }

    fn turn_over(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= PERIOD {
            self.before = if age < 2 * PERIOD { self.now.len() } else { 0 };
            self.now.clear();
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{IdSource, SeededIds};

    #[test]
    fn tenants_are_there_for_a_while_after_they_asked() {
        let (ids, start) = (SeededIds::new(5), Instant::now());
        let mut presence = Presence::new(start);
        let [one, other] = [(); 2].map(|()| TenantId::fresh(&ids as &dyn IdSource));
        let after = |tenths: u32| start + tenths * PERIOD / 10;

        assert_eq!(presence.count(start), 0);
        presence.note(one, after(1));
        presence.note(one, after(2));
        presence.note(other, after(9));
        assert_eq!(presence.count(after(9)), 2);
        presence.note(one, after(11));
        assert_eq!(presence.count(after(12)), 2, "both asked in the period before");
        presence.note(one, after(22));
        assert_eq!(presence.count(after(23)), 1);
        assert_eq!(presence.count(after(60)), 0);
    }
}
