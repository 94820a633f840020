//! Which waiting commands a worker takes together: a pure function over what waits.
//!
//! Commands on one base model whose features no task changes go together: their rows meet in one forward pass of the
//! backbone, and each command's rows then meet its own head. Everything else goes alone, one computation on one thread,
//! and the workers are the parallelism.

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

/// The first of `waiting`, and those after it that go with it: on the same base model, shared as it is, and with it of
/// no more rows than `budget`. What does not fit is passed over, and what comes after it may still fit.
pub(super) fn together<K>(waiting: impl IntoIterator<Item = (K, Shape)>, budget: usize) -> Vec<K> {
    let mut waiting = waiting.into_iter();
    let Some((key, first)) = waiting.next() else { return Vec::new() };
    let mut taken = vec![key];
    let mut rows = first.rows;
    if first.is_shared {
        for (key, shape) in waiting {
            if rows >= budget {
                break;
            }
            if shape.is_shared && shape.base == first.base && rows.saturating_add(shape.rows) <= budget {
                rows += shape.rows;
                taken.push(key);
            }
        }
    }
    taken
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

    fn planned(waiting: &[Shape], budget: usize) -> Vec<usize> {
        together(waiting.iter().copied().enumerate(), budget)
    }

    proptest! {
        #[test]
        fn the_first_always_goes_and_the_others_in_their_order(
            waiting in prop::collection::vec(shape(), 0..40), budget in 0usize..100
        ) {
            let taken = planned(&waiting, budget);
            prop_assert_eq!(taken.first().copied(), (!waiting.is_empty()).then_some(0));
            prop_assert!(taken.is_sorted_by(|one, other| one < other));
        }

        #[test]
        fn those_who_go_together_share_a_base_and_keep_to_the_budget(
            waiting in prop::collection::vec(shape(), 1..40), budget in 0usize..100
        ) {
            let taken = planned(&waiting, budget);
            if taken.len() > 1 {
                prop_assert!(taken.iter().all(|&index| waiting[index].is_shared));
                prop_assert!(taken.iter().all(|&index| waiting[index].base == waiting[0].base));
                prop_assert!(taken.iter().map(|&index| waiting[index].rows).sum::<usize>() <= budget);
            }
        }

        #[test]
        fn nobody_who_would_fit_is_left(waiting in prop::collection::vec(shape(), 1..40), budget in 0usize..100) {
            let taken = planned(&waiting, budget);
            let rows: usize = taken.iter().map(|&index| waiting[index].rows).sum();
            for (index, shape) in waiting.iter().enumerate().filter(|(index, _)| !taken.contains(index)) {
                let fits = waiting[0].is_shared && shape.is_shared && shape.base == waiting[0].base
                    && rows < budget && rows + shape.rows <= budget;
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
}
