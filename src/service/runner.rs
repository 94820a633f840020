//! Runners: they claim adaptations from the store, run them on the engine, and end them, fenced by attempt.
//!
//! The store decides who holds a job; a runner that lost its lease has nothing to say any more. A hint wakes a runner
//! early; polling finds what no hint told of.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tracing::{Instrument, error, info, info_span, warn};

use super::{Result, Service, ServiceError};
use crate::domain::{
    Adaptation, AdaptationPhase, Adapter, AdapterId, AdapterOrigin, Failure, Quality, SupportId, Timestamp,
};
use crate::engine::{Adapted, EngineError, Origin};
use crate::store::{Claim, Completion};

/// Longest pause before a full engine is asked again.
const ENGINE_RETRY: Duration = Duration::from_millis(500);

/// Runners of this process. Stop them with [`Runners::stop`].
pub struct Runners {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Runners {
    /// Starts as many as the configuration says.
    pub fn start(service: &Service) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        for number in 0..service.config.runners {
            let name = format!("{}-{number}", crate::domain::hex(&service.ids.bits()[..6]));
            running.spawn(run(service.clone(), name, stopped.clone()));
        }
        Self { stop, running }
    }

    /// Claims no more jobs and waits for those that are held.
    pub async fn stop(mut self) {
        // Without a receiver every runner has ended already.
        let _ = self.stop.send(true);
        while self.running.join_next().await.is_some() {}
    }
}

async fn run(service: Service, name: String, mut stopped: watch::Receiver<bool>) {
    let lease = Duration::from_secs(service.config.lease_s);
    // Runners that started together should not poll together.
    let jitter = Duration::from_millis(u64::from(service.ids.bits()[0]));
    let poll = Duration::from_millis(service.config.poll_ms) + jitter;
    while !*stopped.borrow() {
        let idle = match service.store.claim_adaptation(&name, lease).await {
            Ok(Some(claim)) => {
                service.hints.changed.notify_waiters();
                let span = info_span!("adaptation", adaptation.id = %claim.adaptation.id, task.id = %claim.task.id);
                service.work_off(claim, lease).instrument(span).await;
                continue;
            }
            Ok(None) => poll,
            Err(error) => {
                warn!(%error, "no job could be claimed");
                poll
            }
        };
        tokio::select! {
            () = service.hints.submitted.notified() => {}
            () = sleep(idle) => {}
            _ = stopped.changed() => {}
        }
    }
}

impl Service {
    /// Runs one claimed job to its end and tells the store.
    async fn work_off(&self, claim: Claim, lease: Duration) {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        let rest = (lease / 3).max(Duration::from_millis(100));
        let mut beat = interval_at(Instant::now() + rest, rest);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = self.adapt_claimed(&claim);
        tokio::pin!(work);
        let completion = loop {
            tokio::select! {
                done = &mut work => break done,
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
        match self.store.complete_adaptation(claim.tenant, id, attempt, completion).await {
            Ok(Some(adaptation)) => {
                self.note_pace(&adaptation);
                info!(status = adaptation.status.name(), "adaptation ended");
            }
            Ok(None) => info!("the job was called off or taken over; its result is discarded"),
            // The lease will run out, and the job will be claimed again.
            Err(error) => error!(%error, "the end of an adaptation could not be stored"),
        }
        self.hints.changed.notify_waiters();
    }

    fn note_pace(&self, ended: &Adaptation) {
        let Some((started, finished)) = ended.started_at.zip(ended.finished_at) else { return };
        let since = |moment: Timestamp| Duration::from_millis(finished.millis().abs_diff(moment.millis()));
        self.pace.note(since(started), since(ended.created_at));
    }

    /// Tells those who follow the job that it is in the engine. Nothing depends on it.
    async fn note_phase(&self, claim: &Claim, phase: AdaptationPhase) {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        if let Err(error) = self.store.note_phase(claim.tenant, id, attempt, phase).await {
            warn!(%error, "a phase could not be noted");
        }
        self.hints.changed.notify_waiters();
    }

    async fn adapt_claimed(&self, claim: &Claim) -> Completion {
        match self.try_adapt(claim).await {
            Ok(completion) => completion,
            Err(ServiceError::Failed(failure)) => Completion::Failed(failure),
            Err(ServiceError::Invalid(faults)) => Completion::Failed(Failure {
                code: faults.first().map_or("invalid", |invalid| invalid.fault.code()).to_owned(),
                detail: faults.first().map_or_else(String::new, |invalid| invalid.fault.to_string()),
            }),
            Err(ServiceError::Conflict { code, detail }) => {
                Completion::Failed(Failure { code: code.to_owned(), detail })
            }
            Err(ServiceError::Internal(reason)) => {
                error!(reason, "an adaptation failed");
                Completion::Failed(Failure {
                    code: "internal".to_owned(),
                    detail: "the adaptation failed inside the engine; the server's log has the reason".to_owned(),
                })
            }
            // A panic, a database that is away, a server that stops: another attempt may do better.
            Err(error) => {
                warn!(%error, "an attempt was lost");
                Completion::Retry(Failure {
                    code: "lost".to_owned(),
                    detail: "every attempt at this adaptation was lost; submit it again".to_owned(),
                })
            }
        }
    }

    async fn try_adapt(&self, claim: &Claim) -> Result<Completion> {
        let (task, recipe) = (&claim.task, claim.adaptation.recipe);
        let base = self.named_base(&task.base_model, "/base_model")?;
        let support = self.store.load_support(claim.tenant, task.id).await?;
        let labelled = support.iter().filter(|support| support.example.target.is_some());
        let ids: Vec<SupportId> = labelled.map(|support| support.id).collect();
        let (set, labels) = self.support_set(base, task, support).await?;
        let made_from = AdapterOrigin {
            base_sha256: base.sha256.clone(),
            support_hash: set.hash().to_owned(),
            recipe,
            labels: labels.clone(),
        };
        if let Some(version) = self.store.find_adapter_from(claim.tenant, task.id, &made_from).await? {
            return Ok(Completion::Known(version));
        }
        let origin = Origin::interactive(claim.tenant);
        let adapt = async {
            loop {
                match self.engine.adapt(origin, &base.manifest.name, set.clone(), recipe).await {
                    // The job was accepted: it waits for its place, holding its lease.
                    Err(EngineError::Full { retry_after } | EngineError::TenantFull { retry_after, .. }) => {
                        sleep(retry_after.min(ENGINE_RETRY)).await;
                    }
                    adapted => break adapted,
                }
            }
        };
        let ((), result) = tokio::join!(self.note_phase(claim, AdaptationPhase::InnerLoop), adapt);
        let Adapted { blob, leave_one_out } = result?;
        let judge = |held_out| Quality::from_leave_one_out(&held_out, set.targets(), &labels, set.order());
        let mut quality = leave_one_out.and_then(judge);
        if let Some(quality) = &mut quality {
            quality.name_suspects(&ids);
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
