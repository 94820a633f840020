//! One attempt at an adaptation: run on the engine, and ended in the store, fenced by its number.
//!
//! The store decides who holds a job; an attempt that lost its lease has nothing to say any more.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{Span, error, info, info_span, warn};

use super::prepared::Prepared;
use super::{Result, Service, ServiceError};
use crate::domain::{
    Adaptation, AdaptationPhase, Adapter, AdapterBlob, AdapterId, AdapterOrigin, BaseModel, Failure, Kind, News,
    Recipe, SupportId, TenantId, Timestamp, Usage,
};
use crate::engine::{EngineError, Origin, Progress};
use crate::faults::{self, Site};
use crate::store::{Claim, Completion, StoreError};
use crate::telemetry;

/// Longest pause before a full engine is asked again.
pub(super) const ENGINE_RETRY: Duration = Duration::from_millis(500);

/// Sentences that have as much time to be learned from as any other adaptation.
const SENTENCES: usize = 1_000;

/// Signs of life in the time of one lease: five may be lost.
const BEATS_A_LEASE: u32 = 6;

/// Time until a store that did not take an attempt's end is told again.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// How long it is told. A server that is asleep in the middle of a transaction holds its rows for ten seconds, after which
/// Postgres ends it.
const TELL_FOR: Duration = Duration::from_mins(1);

/// Shortest time between two notes of how far a job is.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// One span an attempt, in the trace in which the adaptation was asked for.
pub(super) fn span(service: &Service, claim: &Claim) -> Span {
    let (id, task) = (claim.adaptation.id, claim.task.id);
    let span = info_span!("adaptation", adaptation.id = %id, task.id = %task, trace.id = tracing::field::Empty);
    telemetry::follow(&span, claim.adaptation.trace, &*service.ids);
    span
}

impl Service {
    /// Runs one claimed job to its end and tells the store.
    pub(super) async fn work_off(&self, claim: Claim, lease: Duration) {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        let mut beat = beats(lease);
        // Work that stalls is given up, and so is its lease: a sign of life means that there is progress.
        let longest = self.longest(&claim).await;
        let work = async {
            // A panic is an attempt that was lost, as if its worker had died, and is known at once.
            let tried = AssertUnwindSafe(timeout(longest, self.try_adapt(&claim))).catch_unwind().await;
            tried.map_or(Err(ServiceError::Lost), |tried| tried.unwrap_or(Err(ServiceError::Stalled)))
        };
        tokio::pin!(work);
        let completion = loop {
            tokio::select! {
                done = &mut work => break done.unwrap_or_else(|error| verdict(error, attempt, self.ids.bits()[0])),
                _ = beat.tick() => match self.store.renew_lease(claim.tenant, id, attempt, lease).await {
                    Ok(true) => {}
                    Ok(false) => {
                        info!("the job was called off or taken over; its result is discarded");
                        return;
                    }
                    Err(error) => warn!(%error, "the lease could not be renewed"),
                },
            }
        };
        let made = match &completion {
            Completion::Adapted(adapter, blob) => Some((adapter.id, blob.clone())),
            Completion::Known(_) | Completion::Failed(_) | Completion::Retry(..) => None,
        };
        match self.tell_end(&claim, completion, lease).await {
            Ok(Some(adaptation)) => {
                if let Err(error) = faults::pass(Site::Told).await {
                    return error!(%error, "others are not told of an end");
                }
                self.keep_at_hand(&claim, &adaptation, made).await;
                metrics::counter!("imprint_adaptations_total", "status" => adaptation.status.name()).increment(1);
                self.note_pace(claim.tenant, &adaptation);
                info!(status = adaptation.status.name(), "adaptation ended");
            }
            Ok(None) => info!("the job was called off or taken over; its result is discarded"),
            // The lease will run out, and the job will be claimed again.
            Err(error) => error!(%error, "the end of an adaptation could not be stored"),
        }
        self.announce();
    }

    /// Tells the store how an attempt ended. What was computed is not thrown away, and the attempt is not held against the
    /// job, because the store is away or busy for a moment: it is told again, and the lease is renewed meanwhile. Once is
    /// enough, since the attempt is the fence.
    async fn tell_end(
        &self,
        claim: &Claim,
        completion: Completion,
        lease: Duration,
    ) -> Result<Option<Adaptation>, StoreError> {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        let given_up = Instant::now() + TELL_FOR;
        loop {
            let told = self.store.complete_adaptation(claim.tenant, id, attempt, completion.clone());
            match self.renewing(claim, lease, told).await {
                Err(error) if Instant::now() < given_up => {
                    warn!(%error, "the end of an adaptation could not be stored; it is tried again");
                    sleep(TELL_AGAIN).await;
                    if matches!(self.store.renew_lease(claim.tenant, id, attempt, lease).await, Ok(false)) {
                        return Ok(None);
                    }
                }
                told => return told,
            }
        }
    }

    /// Prolongs the lease for as long as `told` takes: it may wait for a row that a server holds which is asleep.
    async fn renewing<T>(&self, claim: &Claim, lease: Duration, told: impl Future<Output = T>) -> T {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        let mut beat = beats(lease);
        tokio::pin!(told);
        loop {
            tokio::select! {
                told = &mut told => return told,
                // If the job is another's, `told` says so.
                _ = beat.tick() => if let Err(error) = self.store.renew_lease(claim.tenant, id, attempt, lease).await {
                    warn!(%error, "the lease could not be renewed");
                },
            }
        }
    }

    /// Holds the adapter in memory for the first prediction, if it is the one that the store took: the same support set
    /// may have had one before.
    async fn keep_at_hand(&self, claim: &Claim, ended: &Adaptation, made: Option<(AdapterId, AdapterBlob)>) {
        let Some((id, blob)) = made else { return };
        if let Ok(Some(stored)) = self.store.find_adapter(claim.tenant, ended.task, ended.version).await
            && stored.id == id
        {
            self.held.add(claim.tenant, blob.bytes().len()).await;
            self.adapters.keep(ended.task, id, blob).await;
        }
    }

    fn note_pace(&self, tenant: TenantId, ended: &Adaptation) {
        let Some((started, finished)) = ended.started_at.zip(ended.finished_at) else { return };
        let since = |moment: Timestamp| Duration::from_millis(finished.millis().abs_diff(moment.millis()));
        let compute_ms = finished.millis().abs_diff(started.millis());
        self.meter(tenant, Usage { adaptations: 1, compute_ms, ..Usage::default() });
        let (run, turnaround) = (since(started), since(ended.created_at));
        let wait = turnaround.saturating_sub(run);
        metrics::histogram!("imprint_adaptation_seconds", "phase" => "run").record(run.as_secs_f64());
        metrics::histogram!("imprint_adaptation_seconds", "phase" => "wait").record(wait.as_secs_f64());
        self.pace.note(run, turnaround);
    }

    /// How long an adaptation may take: as configured, and for sentences as long again for every thousand of them.
    async fn longest(&self, claim: &Claim) -> Duration {
        let longest = Duration::from_secs(self.config.adaptation_timeout_s);
        if claim.task.kind != Kind::Tagging {
            return longest;
        }
        let sentences = self.store.support_len(claim.tenant, claim.task.id).await.unwrap_or_default();
        longest.saturating_mul(u32::try_from(1 + sentences / SENTENCES).unwrap_or(u32::MAX))
    }

    /// Tells those who follow the job how far it is. Nothing depends on it.
    async fn note_news(&self, claim: &Claim, news: News) {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        if let Err(error) = self.store.note_news(claim.tenant, id, attempt, &news).await {
            warn!(%error, "it could not be noted how far a job is");
        }
        self.hints.changed.notify_waiters();
    }

    /// Notes what `told` says, every now and then, for ever.
    async fn note_progress(&self, claim: &Claim, mut told: watch::Receiver<Progress>) -> Infallible {
        loop {
            if told.changed().await.is_err() {
                return std::future::pending().await; // nobody tells any more
            }
            let Progress { done, of } = *told.borrow_and_update();
            self.note_news(claim, News::Progress { done, of, attempt: claim.adaptation.attempt }).await;
            sleep(PROGRESS_PAUSE).await;
        }
    }

    /// The recipe with as many inner steps as what is left of the budget allows, at least one: all of them where there is
    /// time for that, or no budget.
    fn within_budget(&self, adaptation: &Adaptation, base: &BaseModel, set: &Prepared) -> Recipe {
        let recipe = adaptation.recipe;
        let (Some(budget_ms), Prepared::Rows(set)) = (adaptation.latency_budget_ms, set) else { return recipe };
        let passed_ms = self.clock.now().millis().saturating_sub(adaptation.created_at.millis()).max(0);
        let left = Duration::from_millis(u64::from(budget_ms).saturating_sub(passed_ms.unsigned_abs()));
        let Some(all) = recipe.inner_steps.or(base.manifest.learner.inner_steps()) else { return recipe };
        let steps = self.engine.steps_within(&base.manifest.name, set, all, left);
        if steps < all { Recipe { inner_steps: Some(steps), ..recipe } } else { recipe }
    }

    async fn try_adapt(&self, claim: &Claim) -> Result<Completion> {
        faults::pass(Site::Taken).await?;
        let task = &claim.task;
        let base = self.named_base(&task.base_model, "/base_model")?;
        let support = self.store.load_support(claim.tenant, task.id).await?;
        let labelled = support.iter().filter(|support| support.example.target.is_some());
        let ids: Vec<SupportId> = labelled.map(|support| support.id).collect();
        let origin = Origin::interactive(claim.tenant);
        let (set, labels) = loop {
            match self.prepared(origin, base, task, support.clone()).await {
                // The job was accepted: its texts wait for their place, too.
                Err(ServiceError::Overloaded { retry_after } | ServiceError::Crowded { retry_after, .. }) => {
                    sleep(retry_after.min(ENGINE_RETRY)).await;
                }
                assembled => break assembled?,
            }
        };
        faults::pass(Site::Prepared).await?;
        let mut made_from = AdapterOrigin {
            base_sha256: base.sha256.clone(),
            support_hash: set.hash().to_owned(),
            recipe: claim.adaptation.recipe,
            labels: labels.clone(),
        };
        let mut known = self.store.find_adapter_from(claim.tenant, task.id, &made_from).await?;
        let recipe = self.within_budget(&claim.adaptation, base, &set);
        if known.is_none() && recipe != made_from.recipe {
            made_from.recipe = recipe;
            known = self.store.find_adapter_from(claim.tenant, task.id, &made_from).await?;
        }
        if let Some(version) = known {
            return Ok(Completion::Known(version));
        }
        let (tell, told) = watch::channel(Progress::default());
        let tell = |progress| {
            tell.send_replace(progress);
        };
        let adapt = async {
            loop {
                match self.adapt(origin, base, &set, recipe, &labels, tell).await {
                    // The job was accepted: it waits for its place, holding its lease.
                    Err(EngineError::Full { retry_after } | EngineError::TenantFull { retry_after, .. }) => {
                        sleep(retry_after.min(ENGINE_RETRY)).await;
                    }
                    adapted => break adapted,
                }
            }
        };
        let adapt = async {
            tokio::select! {
                result = adapt => result,
                never = self.note_progress(claim, told) => match never {},
            }
        };
        let begun = News::Phase { phase: AdaptationPhase::InnerLoop, attempt: claim.adaptation.attempt };
        let ((), result) = tokio::join!(self.note_news(claim, begun), adapt);
        let (blob, mut quality) = result?;
        faults::pass(Site::Adapted).await?;
        if let Some(quality) = &mut quality {
            quality.name_examples(&ids);
        }
        if let Some(accuracy) = quality.as_ref().and_then(|quality| quality.accuracy) {
            metrics::histogram!("imprint_adaptation_accuracy").record(accuracy);
        }
        let adapter = Adapter {
            id: AdapterId::fresh(&*self.ids),
            task: task.id,
            version: 0, // the store gives the next one
            base_model: base.manifest.name.clone(),
            base_sha256: made_from.base_sha256,
            support_hash: made_from.support_hash,
            support_count: set.len(),
            recipe,
            labels,
            sha256: blob.sha256().to_owned(),
            size_bytes: blob.bytes().len(),
            quality,
            created_at: self.clock.now(),
        };
        Ok(Completion::Adapted(Box::new(adapter), blob))
    }
}

/// When to give signs of life.
pub(super) fn beats(lease: Duration) -> Interval {
    let rest = (lease / BEATS_A_LEASE).max(Duration::from_millis(100));
    let mut beat = interval_at(Instant::now() + rest, rest);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// What becomes of a job whose attempt went wrong: what would go wrong again fails, what was lost is tried again.
pub(super) fn verdict(error: ServiceError, attempt: u32, jitter: u8) -> Completion {
    let failed = |code: &str, detail: String| Completion::Failed(Failure { code: code.to_owned(), detail });
    match error {
        ServiceError::Failed(failure) => Completion::Failed(failure),
        ServiceError::Invalid(faults) => {
            let first = faults.first();
            let code = first.map_or("invalid", |invalid| invalid.fault.code());
            failed(code, first.map_or_else(String::new, |invalid| invalid.fault.to_string()))
        }
        ServiceError::Conflict { code, detail } => failed(code, detail),
        ServiceError::NotFound(what) => failed("not_found", format!("there is no such {what} any more")),
        ServiceError::Internal(reason) => {
            error!(reason, "a job failed");
            failed("internal", "it failed inside the engine; the server's log has the reason".to_owned())
        }
        // A panic, a stalled worker, a database that is away, a server that stops: another attempt may do better.
        lost @ (ServiceError::Lost
        | ServiceError::Stalled
        | ServiceError::Away
        | ServiceError::OutOfRoom
        | ServiceError::Store(_)
        | ServiceError::Overloaded { .. }
        | ServiceError::Crowded { .. }
        | ServiceError::Limited { .. }
        | ServiceError::Late
        | ServiceError::Changed
        | ServiceError::Damaged(_)
        | ServiceError::Unauthenticated
        | ServiceError::Forbidden { .. }) => {
            warn!(error = %lost, "an attempt was lost");
            let failure =
                Failure { code: "lost".to_owned(), detail: "every attempt at it was lost; submit it again".to_owned() };
            Completion::Retry(failure, pause(attempt, jitter))
        }
    }
}

/// Time until the next attempt: a second, then four, and so on, each longer by up to a half, so that what was lost
/// together does not come back together.
fn pause(attempt: u32, jitter: u8) -> Duration {
    let seconds = 4_u32.saturating_pow(attempt.saturating_sub(1)).min(64);
    Duration::from_secs(seconds.into()).mul_f64(1.0 + f64::from(jitter) / 512.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Fault, SeededIds};

    fn is_retried(error: ServiceError) -> bool {
        matches!(verdict(error, 1, 0), Completion::Retry(..))
    }

    #[test]
    fn what_was_lost_is_tried_again_and_what_would_go_wrong_again_is_not() {
        let failure = Failure { code: "non_finite".to_owned(), detail: String::new() };
        let retry_after = Duration::from_secs(1);
        let lost = [
            ServiceError::Lost,
            ServiceError::Stalled,
            ServiceError::Away,
            ServiceError::OutOfRoom,
            ServiceError::Store(Arc::new(StoreError::Conflict)),
            ServiceError::Overloaded { retry_after },
            ServiceError::Late,
            ServiceError::Changed,
            ServiceError::Damaged(AdapterId::fresh(&SeededIds::new(1))),
        ];
        let hopeless = [
            ServiceError::Failed(failure),
            ServiceError::Invalid(vec![Fault::EmptySupport.at("")]),
            ServiceError::Conflict { code: "adapter_mismatch", detail: String::new() },
            ServiceError::NotFound("task"),
            ServiceError::Internal("libtorch".to_owned()),
        ];

        assert!(lost.into_iter().all(is_retried));
        assert!(!hopeless.into_iter().any(is_retried));
    }

    #[test]
    fn pauses_grow_and_are_never_the_same_for_all() {
        assert_eq!([1, 2, 3].map(|attempt| pause(attempt, 0).as_secs()), [1, 4, 16]);
        assert!(pause(1, 0) < pause(1, 255) && pause(1, 255) < Duration::from_millis(1_500));
        assert!(pause(u32::MAX, 255) < Duration::from_secs(100));
    }
}
