//! Adapters' bytes in memory: bounded in bytes, the least used go first, many misses for one adapter are one load.
//!
//! Adapters never change, so that nothing here can be stale; what is deleted is forgotten, and its bytes with it. Should
//! another process's word of a deletion be lost, they go because nobody asks for them.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::future::Cache;
use moka::notification::RemovalCause;

use super::{Result, ServiceError};
use crate::domain::{AdapterBlob, AdapterId, TaskId};

/// What an entry takes beside its bytes.
const OVERHEAD: usize = 256;

/// What nobody asks for in this time goes.
const IDLE: Duration = Duration::from_hours(1);

/// Adapters that are in memory, each a task's.
#[derive(Clone)]
pub(super) struct Residency(Cache<AdapterId, (TaskId, AdapterBlob)>);

impl Residency {
    pub(super) fn new(max_bytes: u64) -> Self {
        let cache = Cache::builder()
            .weigher(|_, (_, blob): &(TaskId, AdapterBlob)| {
                u32::try_from(blob.bytes().len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .max_capacity(max_bytes)
            .time_to_idle(IDLE)
            .eviction_listener(|_, _, cause| {
                if cause == RemovalCause::Size {
                    metrics::counter!("imprint_adapter_cache_evictions_total", "tier" => "host").increment(1);
                }
            })
            .build();
        Self(cache)
    }

    /// The adapter's bytes, from memory or by `load`; all who wait for one load share its end.
    pub(super) async fn get(
        &self,
        task: TaskId,
        id: AdapterId,
        load: impl Future<Output = Result<AdapterBlob>>,
    ) -> Result<AdapterBlob> {
        if let Some((_, blob)) = self.0.get(&id).await {
            metrics::counter!("imprint_adapter_cache_hits_total", "tier" => "host").increment(1);
            return Ok(blob);
        }
        metrics::counter!("imprint_adapter_cache_misses_total", "tier" => "host").increment(1);
        let timed = async {
            let started = Instant::now();
            let loaded = load.await.map(|blob| (task, blob));
            metrics::histogram!("imprint_adapter_load_seconds", "tier" => "database")
                .record(started.elapsed().as_secs_f64());
            loaded
        };
        let loaded = self.0.try_get_with(id, timed).await;
        self.report();
        loaded.map(|(_, blob)| blob).map_err(|shared: Arc<ServiceError>| (*shared).clone())
    }

    /// Whether the adapter's bytes are in memory. Asking does not count as use.
    pub(super) fn holds(&self, id: AdapterId) -> bool {
        self.0.contains_key(&id)
    }

    /// Keeps bytes that are at hand, so that the first prediction finds them.
    pub(super) async fn keep(&self, task: TaskId, id: AdapterId, blob: AdapterBlob) {
        self.0.insert(id, (task, blob)).await;
        self.report();
    }

    /// Frees the bytes of these.
    pub(super) async fn forget(&self, ids: &[AdapterId]) {
        for id in ids {
            self.0.invalidate(id).await;
        }
        self.report();
    }

    /// Frees the bytes of a task's adapters.
    pub(super) async fn forget_task(&self, task: TaskId) {
        let of_task = self.0.iter().filter(|(_, held)| held.0 == task).map(|(id, _)| *id);
        let of_task: Vec<AdapterId> = of_task.collect();
        for id in of_task {
            self.0.invalidate(&id).await;
        }
        self.report();
    }

    /// Frees everything.
    pub(super) fn forget_all(&self) {
        self.0.invalidate_all();
        self.report();
    }

    fn report(&self) {
        metrics::gauge!("imprint_adapter_cache_bytes", "tier" => "host").set(self.0.weighted_size() as f64);
        metrics::gauge!("imprint_adapter_cache_adapters", "tier" => "host").set(self.0.entry_count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::SeededIds;

    fn blob(bytes: usize) -> AdapterBlob {
        AdapterBlob::new(vec![7; bytes])
    }

    async fn weight(residency: &Residency) -> (u64, u64) {
        residency.0.run_pending_tasks().await;
        (residency.0.entry_count(), residency.0.weighted_size())
    }

    #[tokio::test]
    async fn what_is_forgotten_is_freed_to_the_last_byte() {
        let (residency, ids) = (Residency::new(1 << 20), SeededIds::new(1));
        residency.keep(TaskId::fresh(&ids), AdapterId::fresh(&ids), blob(1000)).await;
        let before = weight(&residency).await;

        for _ in 0..100_000 {
            let (task, id) = (TaskId::fresh(&ids), AdapterId::fresh(&ids));
            residency.get(task, id, async { Ok(blob(5000)) }).await.unwrap();
            residency.forget_task(task).await;
        }

        assert_eq!(weight(&residency).await, before);
    }

    #[tokio::test]
    async fn memory_stays_within_its_bound_whatever_is_loaded() {
        let (residency, ids) = (Residency::new(100_000), SeededIds::new(1));

        for _ in 0..1000 {
            let (task, id) = (TaskId::fresh(&ids), AdapterId::fresh(&ids));
            residency.get(task, id, async { Ok(blob(3000)) }).await.unwrap();
        }

        let (count, bytes) = weight(&residency).await;
        assert!(count > 20 && bytes <= 100_000, "{count} adapters, {bytes} bytes");
    }

    #[tokio::test]
    async fn many_misses_are_one_load_and_its_failure_is_not_kept() {
        let (residency, id) = (Residency::new(1 << 20), AdapterId::fresh(&SeededIds::new(1)));
        let task = TaskId::fresh(&SeededIds::new(2));
        let loads = Arc::new(AtomicUsize::new(0));
        let load = |answer: Result<AdapterBlob>| {
            let loads = Arc::clone(&loads);
            async move {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                answer
            }
        };

        let failed = residency.get(task, id, load(Err(ServiceError::NotFound("adapter")))).await;
        let together = futures(&residency, task, id, || load(Ok(blob(10)))).await;

        assert!(matches!(failed, Err(ServiceError::NotFound(_))));
        assert_eq!((together, loads.load(Ordering::Relaxed)), (16, 2));
    }

    #[tokio::test]
    async fn one_who_leaves_in_the_middle_of_a_load_leaves_it_to_the_others() {
        let ids = SeededIds::new(1);
        let (residency, task, id) = (Residency::new(1 << 20), TaskId::fresh(&ids), AdapterId::fresh(&ids));
        let loads_for_ever = residency.get(task, id, std::future::pending());
        let leaves = tokio::time::timeout(Duration::from_millis(50), loads_for_ever);

        let (left, others) = tokio::join!(leaves, futures(&residency, task, id, || async { Ok(blob(10)) }));

        assert!(left.is_err());
        assert_eq!(others, 16);
    }

    /// How many of sixteen who ask at once get the adapter.
    async fn futures<F>(residency: &Residency, task: TaskId, id: AdapterId, load: impl Fn() -> F) -> usize
    where
        F: Future<Output = Result<AdapterBlob>> + Send + 'static,
    {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (residency, load) = (residency.clone(), load());
            asking.spawn(async move { residency.get(task, id, load).await.is_ok() });
        }
        asking.join_all().await.into_iter().filter(|got| *got).count()
    }
}
