//! Which waiting commands a worker takes together: a pure function over what waits.
//!
//! Commands on one base model whose features no task changes go together: their rows meet in one forward pass of the
//! backbone, and each command's rows then meet its own head. Everything else goes alone, one computation on one thread,
//! and the workers are the parallelism.

use std::collections::HashMap;
use std::hash::Hash;

/// Least rows of a batch that one tenant may fill, however many others ask: fewer make poor use of a kernel.
const LEAST_SHARE: usize = 8;

/// What a plan has to know of a waiting command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Index of its base model.
    pub(super) base: usize,
    /// Rows that the backbone sees.
    pub(super) rows: usize,
    /// Whether it may go with others.
    pub(super) is_shared: bool,
}

/// The first of `waiting`, and those after it that go with it: on the same base model, shared as it is, with it of no more
/// rows than `budget`, and of one tenant no more than `share` unless it is a single command. What does not fit is passed
/// over, and what comes after it may still fit.
pub(super) fn together<K, T: Eq + Hash>(
    waiting: impl IntoIterator<Item = (K, T, Shape)>,
    budget: usize,
    share: usize,
) -> Vec<K> {
    let mut waiting = waiting.into_iter();
    let Some((key, tenant, first)) = waiting.next() else { return Vec::new() };
    let mut taken = vec![key];
    let mut rows = first.rows;
    if first.is_shared {
        let mut of_tenant = HashMap::from([(tenant, first.rows)]);
        for (key, tenant, shape) in waiting {
            if rows >= budget {
                break;
            }
            let own = of_tenant.entry(tenant).or_insert(0);
            let has_room = *own == 0 || own.saturating_add(shape.rows) <= share;
            if shape.is_shared && shape.base == first.base && rows.saturating_add(shape.rows) <= budget && has_room {
                rows += shape.rows;
                *own += shape.rows;
                taken.push(key);
            }
        }
    }
    taken
}

/// Rows of a batch that one tenant may fill beside so many that ask: whoever comes while it is computed waits for all of it.
pub(super) fn share(budget: usize, present: usize) -> usize {
    if present <= 1 { budget } else { (budget / present).max(LEAST_SHARE) }
}

/// Rows that a worker takes at a time: no more than `most`, and no more than its share of what waits, so that no worker
/// stands idle beside one that has taken everything.
pub(super) fn budget(waiting_rows: usize, workers: usize, most: usize) -> usize {
    waiting_rows.div_ceil(workers.max(1)).clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape() -> impl Strategy<Value = Shape> {
        (0usize..3, 0usize..40, prop::bool::weighted(0.8)).prop_map(|(base, rows, is_shared)| Shape {
            base,
            rows,
            is_shared,
        })
    }

    /// A tenant's number beside each shape.
    fn waiting() -> impl Strategy<Value = Vec<(usize, Shape)>> {
        prop::collection::vec((0usize..4, shape()), 1..40)
    }

    fn planned(waiting: &[(usize, Shape)], budget: usize, share: usize) -> Vec<usize> {
        together(waiting.iter().enumerate().map(|(index, &(tenant, shape))| (index, tenant, shape)), budget, share)
    }

    fn rows(waiting: &[(usize, Shape)], taken: &[usize], of: impl Fn(usize) -> bool) -> usize {
        taken.iter().map(|&index| waiting[index]).filter(|&(tenant, _)| of(tenant)).map(|(_, shape)| shape.rows).sum()
    }

    proptest! {
        #[test]
        fn the_first_always_goes_and_the_others_in_their_order(
            waiting in waiting(), budget in 0usize..100, share in 0usize..100
        ) {
            let taken = planned(&waiting, budget, share);
            prop_assert_eq!(taken.first(), Some(&0));
            prop_assert!(taken.is_sorted_by(|one, other| one < other));
        }

        #[test]
        fn those_who_go_together_share_a_base_and_keep_to_the_budget(
            waiting in waiting(), budget in 0usize..100, share in 0usize..100
        ) {
            let taken = planned(&waiting, budget, share);
            if taken.len() > 1 {
                prop_assert!(taken.iter().all(|&index| waiting[index].1.is_shared));
                prop_assert!(taken.iter().all(|&index| waiting[index].1.base == waiting[0].1.base));
                prop_assert!(rows(&waiting, &taken, |_| true) <= budget);
            }
        }

        #[test]
        fn nobody_takes_more_than_the_share_but_by_one_command_alone(
            waiting in waiting(), budget in 0usize..100, share in 0usize..100
        ) {
            let taken = planned(&waiting, budget, share);
            for tenant in 0..4 {
                let commands = taken.iter().filter(|&&index| waiting[index].0 == tenant && waiting[index].1.rows > 0).count();
                prop_assert!(commands <= 1 || rows(&waiting, &taken, |one| one == tenant) <= share);
            }
        }

        #[test]
        fn nobody_who_would_fit_is_left(waiting in waiting(), budget in 0usize..100, share in 0usize..100) {
            let taken = planned(&waiting, budget, share);
            let (first, all) = (waiting[0].1, rows(&waiting, &taken, |_| true));
            for (index, &(tenant, shape)) in waiting.iter().enumerate().filter(|(index, _)| !taken.contains(index)) {
                let own = rows(&waiting, &taken, |one| one == tenant);
                let fits = first.is_shared && shape.is_shared && shape.base == first.base && all < budget
                    && all + shape.rows <= budget && (own == 0 || own + shape.rows <= share);
                prop_assert!(!fits, "{index} of {waiting:?} fits beside {taken:?}");
            }
        }
    }

    #[test]
    fn a_worker_leaves_the_others_their_share() {
        assert_eq!(budget(100, 2, 128), 50);
        assert_eq!(budget(1000, 2, 128), 128);
        assert_eq!(budget(1, 4, 128), 1);
        assert_eq!(budget(0, 0, 0), 1);
    }

    #[test]
    fn one_who_is_alone_may_fill_a_batch_and_the_more_ask_the_less_each() {
        assert_eq!([1, 2, 4, 100].map(|present| share(64, present)), [64, 32, 16, LEAST_SHARE]);
    }
}
