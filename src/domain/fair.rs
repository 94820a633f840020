//! A fair queue between tenants by cost: start-time fair queueing (Goyal, Vin & Cheng 1996, §2).
//!
//! What a tenant puts in starts, in virtual time, when its own work before it is done, and not before now; the earliest
//! start goes first. A tenant that floods the queue puts its work far into the future, one that asks now and then is
//! served at once, and nobody who waits is passed over for ever: virtual time only goes on.
//!
//! Pure: no clock, no threads.

use std::collections::{BTreeMap, HashMap};

use super::TenantId;

/// Waiting items, each a tenant's and of some cost.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: BTreeMap<Turn, Waiting<T>>,
    accounts: HashMap<TenantId, Account>,
    /// Virtual time: the start of what was served last.
    now: u64,
    arrivals: u64,
    /// Sum of the costs that wait.
    backlog: u64,
}

/// An item's place: earlier starts first, of equal ones the earlier arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    start: u64,
    arrival: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    tenant: TenantId,
    cost: u64,
    item: T,
}

#[derive(Debug, Default)]
struct Account {
    /// When, in virtual time, the tenant's last item is done.
    finish: u64,
    waiting: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> FairQueue<T> {
    /// Nobody waits.
    pub fn new() -> Self {
        Self { waiting: BTreeMap::new(), accounts: HashMap::new(), now: 0, arrivals: 0, backlog: 0 }
    }

    /// Puts an item of `cost` behind the tenant's others. The unit is the caller's; 0 counts as 1.
    pub fn push(&mut self, tenant: TenantId, cost: u64, item: T) {
        let account = self.accounts.entry(tenant).or_default();
        let start = account.finish.max(self.now);
        account.finish = start.saturating_add(cost.max(1));
        account.waiting += 1;
        self.arrivals += 1;
        self.backlog = self.backlog.saturating_add(cost);
        self.waiting.insert(Turn { start, arrival: self.arrivals }, Waiting { tenant, cost, item });
    }

    /// What waits, in fair order.
    pub fn iter(&self) -> impl Iterator<Item = (Turn, &T)> {
        self.waiting.iter().map(|(turn, waiting)| (*turn, &waiting.item))
    }

    /// Takes out the one whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let (&first, _) = self.waiting.first_key_value()?;
        self.take(&[first]).pop()
    }

    /// Takes these out, in their order. The first one is whose turn it was; others may go with it before theirs.
    pub fn take(&mut self, turns: &[Turn]) -> Vec<T> {
        if let Some(first) = turns.first() {
            self.now = self.now.max(first.start);
        }
        let taken = turns.iter().filter_map(|turn| self.remove(*turn)).collect();
        self.settle();
        taken
    }

    /// Takes out everything that is not to be kept.
    pub fn weed(&mut self, keep: impl Fn(&T) -> bool) -> Vec<T> {
        let unwanted: Vec<Turn> = self.iter().filter(|(_, item)| !keep(item)).map(|(turn, _)| turn).collect();
        let weeded = unwanted.into_iter().filter_map(|turn| self.remove(turn)).collect();
        self.settle();
        weeded
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many items of one tenant wait.
    pub fn waiting_of(&self, tenant: TenantId) -> usize {
        self.accounts.get(&tenant).map_or(0, |account| account.waiting)
    }

    /// Sum of the costs that wait.
    pub fn backlog(&self) -> u64 {
        self.backlog
    }

    fn remove(&mut self, turn: Turn) -> Option<T> {
        let Waiting { tenant, cost, item } = self.waiting.remove(&turn)?;
        self.backlog = self.backlog.saturating_sub(cost);
        if let Some(account) = self.accounts.get_mut(&tenant) {
            account.waiting -= 1;
        }
        Some(item)
    }

    /// Forgets tenants without debts, all of them when nobody waits.
    fn settle(&mut self) {
        if self.waiting.is_empty() {
            self.accounts.clear();
            self.now = 0;
        } else if self.accounts.len() > 2 * self.waiting.len() + 64 {
            let now = self.now;
            self.accounts.retain(|_, account| account.waiting > 0 || account.finish > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{IdSource, SeededIds};

    fn tenants(count: usize) -> Vec<TenantId> {
        let ids = SeededIds::new(5);
        (0..count).map(|_| TenantId::fresh(&ids as &dyn IdSource)).collect()
    }

    #[test]
    fn a_flood_does_not_delay_who_comes_after_it() {
        let [flood, other] = tenants(2)[..] else { panic!("two") };
        let mut queue = FairQueue::new();
        for item in 0..1000 {
            queue.push(flood, 10, item);
        }
        assert_eq!(queue.pop(), Some(0));

        queue.push(other, 10, -1);

        let next = [queue.pop(), queue.pop()];
        assert!(next.contains(&Some(-1)), "{next:?}");
    }

    #[test]
    fn who_asks_for_dear_work_is_served_less_often() {
        let [dear, cheap] = tenants(2)[..] else { panic!("two") };
        let mut queue = FairQueue::new();
        for _ in 0..40 {
            queue.push(dear, 30, "dear");
            queue.push(cheap, 10, "cheap");
        }

        let served: Vec<_> = (0..40).filter_map(|_| queue.pop()).collect();

        assert_eq!(served.iter().filter(|item| **item == "dear").count(), 10);
    }

    #[test]
    fn nothing_is_remembered_of_tenants_who_are_done() {
        let mut queue = FairQueue::new();
        for tenant in tenants(1000) {
            queue.push(tenant, 1, ());
            queue.pop();
        }

        assert_eq!((queue.accounts.len(), queue.backlog()), (0, 0));
    }

    proptest! {
        /// Between two tenants that both have work waiting all the time, the costs served differ by no more than the two
        /// largest items (Goyal et al., theorem 1).
        #[test]
        fn backlogged_tenants_get_equal_shares(
            costs in prop::collection::vec((1u64..50, 1u64..50), 30..60), count in 1usize..30
        ) {
            let [one, other] = tenants(2)[..] else { panic!("two") };
            let mut queue = FairQueue::new();
            for &(a, b) in &costs {
                queue.push(one, a, (0usize, a));
                queue.push(other, b, (1, b));
            }
            let mut served = [0u64; 2];
            for _ in 0..count {
                let (who, cost) = queue.pop().unwrap();
                served[who] += cost;
            }
            let (a, b) = costs.iter().fold((0, 0), |(a, b), &(x, y)| (a.max(x), b.max(y)));
            prop_assert!(served[0].abs_diff(served[1]) <= a + b, "{served:?}");
        }

        /// Every item comes out once, a tenant's own in the order of their arrival.
        #[test]
        fn each_tenant_is_served_in_order(pushes in prop::collection::vec((0usize..5, 0u64..20), 0..80)) {
            let tenants = tenants(5);
            let mut queue = FairQueue::new();
            for (index, &(tenant, cost)) in pushes.iter().enumerate() {
                queue.push(tenants[tenant], cost, (tenant, index));
            }
            let mut last = [None; 5];
            let mut count = 0;
            while let Some((tenant, index)) = queue.pop() {
                prop_assert!(last[tenant] < Some(index));
                last[tenant] = Some(index);
                count += 1;
            }
            prop_assert_eq!(count, pushes.len());
            prop_assert_eq!(queue.backlog(), 0);
        }
    }
}
