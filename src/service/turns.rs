//! Turns at decoding: so many requests at a time, and tenants by turns.
//!
//! Decoding is work for a processor like any other. Without turns here, whoever sends the most would have most of the
//! processor before the engine's own queue sees anything of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Result, ServiceError};
use crate::domain::{FairQueue, TenantId};

/// Who decodes, and who waits for it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    waiting: FairQueue<oneshot::Sender<Turn>>,
}

/// A place at decoding. Dropped, it goes to whose turn it is.
pub(super) struct Turn(Option<Turns>);

impl Turns {
    /// With so many places.
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: places, waiting: FairQueue::new() })))
    }

    /// Waits for a place. `cost` weighs it against the tenant's own others and those of other tenants, in any unit that
    /// all callers share.
    pub(super) async fn take(&self, tenant: TenantId, cost: u64) -> Result<Turn> {
        let place = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(self.clone())));
            }
            let (sender, place) = oneshot::channel();
            state.waiting.push(tenant, cost, sender);
            place
        };
        // A place that was given to one who left in the meantime is dropped with the channel, and so passed on.
        place.await.map_err(|_| ServiceError::Lost)
    }

    fn pass_on(self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.waiting.pop();
                state.free += usize::from(next.is_none());
                next
            };
            match next.map(|sender| sender.send(Turn(Some(self.clone())))) {
                None | Some(Ok(())) => return,
                Some(Err(mut unwanted)) => unwanted.0 = None, // nobody waits there any more: the next one
            }
        }
    }

    /// No code that holds this lock leaves the state half-changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{IdSource, SeededIds};

    fn tenants(count: usize) -> Vec<TenantId> {
        let ids = SeededIds::new(5);
        (0..count).map(|_| TenantId::fresh(&ids as &dyn IdSource)).collect()
    }

    #[test]
    fn one_who_comes_after_a_flood_is_the_next_but_one_at_most() {
        let [flood, other] = tenants(2)[..] else { panic!("two") };
        let turns = Turns::new(1);
        let mut held = turns.take(flood, 1).now_or_never();
        let mut flooding: Vec<_> = (0..50).map(|_| Box::pin(turns.take(flood, 1))).collect();
        assert!(flooding.iter_mut().all(|waiting| waiting.as_mut().now_or_never().is_none()));
        let mut waiting = Box::pin(turns.take(other, 1));
        assert!(waiting.as_mut().now_or_never().is_none());

        drop(held.take());
        let first = flooding[0].as_mut().now_or_never();
        drop(first);

        assert!(matches!(waiting.as_mut().now_or_never(), Some(Ok(_))));
    }

    proptest! {
        /// Whoever leaves, waiting or decoding, before or after a place was given: no place is lost, none is made.
        #[test]
        fn places_are_neither_lost_nor_made(
            places in 1usize..4,
            steps in prop::collection::vec((0usize..3, any::<prop::sample::Index>(), any::<bool>()), 0..60),
        ) {
            let tenants = tenants(3);
            let turns = Turns::new(places);
            let (mut waiting, mut held) = (Vec::new(), Vec::new());
            for (tenant, who, leaves) in steps {
                waiting.push(Box::pin(turns.take(tenants[tenant], 1)));
                let one = who.index(waiting.len());
                match waiting[one].as_mut().now_or_never() {
                    Some(turn) => {
                        drop(waiting.remove(one));
                        held.push(turn);
                    }
                    None if leaves => drop(waiting.remove(one)),
                    None => {}
                }
                prop_assert!(held.len() <= places);
                if !held.is_empty() && leaves {
                    drop(held.remove(who.index(held.len())));
                }
            }
            drop(waiting);
            drop(held);
            prop_assert_eq!(turns.lock().free, places);
        }
    }
}
