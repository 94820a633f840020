//! Runners: they claim adaptations from the store and work them off ([`attempt`]).
//!
//! A hint wakes a runner early; polling finds what no hint told of. Beside them goes what a process does for its tenants all the
//! time: telling other processes, hearing them, storing what was counted.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, debug, warn};

use super::{Service, attempt, bulk_runner, renewals, steadily};
use crate::store::Hint;

/// Shortest time between two hints to other processes: a flood of jobs is one hint.
const HINT_PAUSE: Duration = Duration::from_millis(100);

/// Time until the ear for others' hints is tried again; polling goes on meanwhile.
const HEAR_AGAIN: Duration = Duration::from_secs(1);

/// Runners of this process. Stop them with [`Runners::stop`].
pub struct Runners {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
    /// Ends when this is dropped.
    _messengers: JoinSet<()>,
}

impl Runners {
    /// Starts as many as the configuration says.
    pub fn start(service: &Service) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        // What is lost with this process is what it holds by this name.
        let name = crate::domain::hex(&service.ids.bits()[..6]);
        for _ in 0..service.config.runners {
            let (service, name, stopped) = (service.clone(), name.clone(), stopped.clone());
            running.spawn(steadily("a runner", move || run(service.clone(), name.clone(), stopped.clone())));
        }
        // One that runs nothing answers nothing either.
        for _ in 0..service.config.bulk_runners.min(service.config.runners) {
            let (service, name, stopped) = (service.clone(), name.clone(), stopped.clone());
            running.spawn(steadily("a bulk runner", move || {
                bulk_runner::run(service.clone(), name.clone(), stopped.clone())
            }));
        }
        let mut messengers = JoinSet::new();
        let of = |service: &Service| service.clone();
        let (telling, hearing, counting) = (of(service), of(service), of(service));
        messengers.spawn(steadily("who tells other processes", move || tell(telling.clone())));
        messengers.spawn(steadily("who hears other processes", move || hear(hearing.clone())));
        messengers.spawn(steadily("who counts usage", move || count(counting.clone())));
        if service.config.runners > 0 {
            let service = of(service);
            messengers.spawn(steadily("who adapts again", move || renewals::renew(service.clone())));
        }
        Self { stop, running, _messengers: messengers }
    }

    /// Claims no more jobs and waits for those that are held, at most for `longest`: what is not done by then is another
    /// process's as soon as its lease has run out. Whether all were done.
    pub async fn stop(mut self, longest: Duration) -> bool {
        // Without a receiver every runner has ended already.
        let _ = self.stop.send(true);
        let all = async { while self.running.join_next().await.is_some() {} };
        timeout(longest, all).await.is_ok()
    }
}

/// Tells other processes what this one did.
async fn tell(service: Service) {
    loop {
        service.hints.outgoing.notified().await;
        if let Err(error) = service.store.hint(Hint::Look).await {
            debug!(%error, "other processes could not be told to look");
        }
        sleep(HINT_PAUSE).await;
    }
}

/// Stores what was counted, every now and then.
async fn count(service: Service) {
    loop {
        sleep(super::accounts::FLUSH).await;
        service.flush_usage().await;
    }
}

/// Passes on what other processes tell.
async fn hear(service: Service) {
    loop {
        match service.store.hinted().await {
            Ok(hint) => service.heed(hint).await,
            Err(error) => {
                debug!(%error, "hints of other processes cannot be heard");
                sleep(HEAR_AGAIN).await;
            }
        }
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
                service.announce();
                let span = attempt::span(&service, &claim);
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
    /// Does what another process's hint asks for.
    async fn heed(&self, hint: Hint) {
        match hint {
            Hint::Look => {}
            Hint::Task(task) => return self.forget_task(task).await,
            Hint::Tenant(tenant) => return self.forget_tenant(tenant).await,
            Hint::Key(key) => return self.keys.invalidate(&key).await,
            // Tasks are asked for each time.
            Hint::Missed => self.keys.invalidate_all(),
        }
        self.hints.submitted.notify_waiters();
        self.hints.bulk.notify_waiters();
        self.hints.changed.notify_waiters();
    }
}
