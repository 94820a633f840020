//! The relay: from the store's outbox to webhooks.
//!
//! An end of an adaptation becomes a message to each webhook that wants it, once, however often the end is told of: its
//! id is derived from the notice's number. Then each delivery is sent until it is answered with a success, at least
//! once, with longer and longer pauses. One webhook gets one delivery after the other, so that one that is slow keeps
//! one place, and a tenant whose webhooks are all slow keeps a few.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::{Result, Service, steadily};
use crate::courier::{Courier, SendError};
use crate::domain::{Message, Topic};
use crate::faults::{self, Site};
use crate::store::webhooks::{Attempted, Next, Parcel};
use crate::store::{EndNotice, StoreError};

/// Deliveries under way at a time.
const AT_A_TIME: usize = 32;
/// Notices that are taken at a time.
const NOTICES: usize = 100;
/// How long a notice is held: posting one takes milliseconds.
const NOTICE_LEASE: Duration = Duration::from_secs(30);
/// How much longer than its time limit a delivery is held.
const SPARE: Duration = Duration::from_secs(20);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(12);
/// Longest text about a failure, in characters.
const LONGEST_ERROR: usize = 200;

/// Sends messages until it is stopped.
pub struct Relay {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

impl Relay {
    /// Starts it.
    pub fn start(service: &Service, courier: Courier) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        let service = service.clone();
        running.spawn(steadily("the relay", move || run(service.clone(), courier.clone(), stopped.clone())));
        Self { stop, running }
    }

    /// Takes nothing up any more and waits for what is under way, at most for `longest`. What is not done by then is
    /// sent again.
    pub async fn stop(mut self, longest: Duration) {
        let _ = self.stop.send(true); // without a receiver it has ended already
        let all = async { while self.running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(longest, all).await; // what is left is aborted with the set
    }
}

async fn run(service: Service, courier: Courier, mut stopped: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut sending = JoinSet::new();
    let poll = Duration::from_millis(service.config.poll_ms);
    while !*stopped.borrow() {
        let changed = service.hints.changed.notified();
        if let Err(error) = service.post_notices().await {
            warn!(%error, "ends of adaptations could not be posted");
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        while sending.try_join_next().is_some() {}
        match service.store.take_delivery(service.hold_for()).await {
            Ok(Some(parcel)) => {
                let (service, courier) = (service.clone(), courier.clone());
                sending.spawn(async move {
                    let _place = place;
                    service.deliver(&courier, parcel).await;
                });
                continue;
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "no delivery could be taken up"),
        }
        tokio::select! {
            () = changed => {}
            // A webhook whose delivery has ended may have another.
            Some(_) = sending.join_next() => {}
            () = sleep(poll) => {}
            _ = stopped.changed() => {}
        }
    }
    while sending.join_next().await.is_some() {}
}

impl Service {
    fn hold_for(&self) -> Duration {
        Duration::from_millis(self.config.webhooks.webhook_timeout_ms) + SPARE
    }

    /// Makes messages of the ends that nobody has been told of.
    async fn post_notices(&self) -> Result<()> {
        loop {
            let notices = self.store.take_notices(NOTICES, NOTICE_LEASE).await?;
            let mut posted = Vec::with_capacity(notices.len());
            for notice in &notices {
                match self.post_notice(notice).await {
                    Ok(()) => posted.push(notice.number),
                    Err(error @ StoreError::Away) => return Err(error.into()),
                    // It comes again when nobody holds it any more; the others are posted now.
                    Err(error) => warn!(%error, notice.number, "the end of an adaptation could not be posted"),
                }
            }
            if posted.is_empty() {
                return Ok(());
            }
            faults::pass(Site::Posted).await?;
            self.store.settle_notices(&posted).await?;
        }
    }

    async fn post_notice(&self, notice: &EndNotice) -> Result<(), StoreError> {
        match told(notice) {
            Some(message) => self.store.post(notice.tenant, &message, None).await,
            None => Ok(()),
        }
    }

    /// Sends one delivery once.
    async fn deliver(&self, courier: &Courier, parcel: Parcel) {
        if let Err(error) = faults::pass(Site::Sending).await {
            return warn!(%error, "a delivery that was taken up is not sent");
        }
        let id = parcel.message.id.to_string();
        let timestamp_s = self.clock.now().millis().div_euclid(1_000);
        let sign = |secret: &crate::domain::WebhookSecret| secret.sign(&id, timestamp_s, &parcel.message.payload);
        let signatures: Vec<String> = parcel.secrets.iter().map(sign).collect();
        let mut headers = vec![
            ("webhook-id", id.clone()),
            ("webhook-timestamp", timestamp_s.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ];
        headers.extend(parcel.message.trace.map(|trace| ("traceparent", trace.to_string())));
        let sent = courier.post(&parcel.url, &headers, &parcel.message.payload).await;
        let sent = faults::pass(Site::Sent).await.map_err(SendError::from).and(sent);
        let (answered, error) = match sent {
            Ok(status @ 200..=299) => (Some(status), None),
            Ok(status) => (Some(status), Some(format!("answered {status}"))),
            Err(error) => (None, Some(error.to_string().chars().take(LONGEST_ERROR).collect())),
        };
        let next = match &error {
            None => Next::Delivered,
            Some(_) if parcel.round >= self.config.webhooks.webhook_attempts || answered == Some(410) => Next::Dead,
            Some(_) => Next::Again(self.webhook_pause(parcel.round)),
        };
        let outcome = match next {
            Next::Delivered => "delivered",
            Next::Again(_) => "again",
            Next::Dead => "dead",
        };
        metrics::counter!("imprint_webhook_attempts_total", "outcome" => outcome).increment(1);
        if let Err(error) = self.store.note_delivery(&parcel, &Attempted { answered, error, next }).await {
            debug!(%error, "an attempt could not be noted: the delivery is sent again");
        }
    }

    /// Pause after an attempt of a round, longer by up to a tenth, so that what failed together does not come back together.
    fn webhook_pause(&self, round: u32) -> Duration {
        let first = Duration::from_millis(self.config.webhooks.webhook_pause_ms);
        let pause = first.saturating_mul(6_u32.saturating_pow(round.saturating_sub(1))).min(LONGEST_PAUSE);
        pause.mul_f64(1.0 + f64::from(self.ids.bits()[0]) / 2_560.0)
    }
}

/// The message about an end.
fn told(notice: &EndNotice) -> Option<Message> {
    let topic = Topic::of_end(notice.status)?;
    let id = Message::id_about(notice.tenant, &format!("notice {}", notice.number));
    let data = json!({
        "adaptation": notice.adaptation,
        "task": notice.task,
        "status": notice.status,
        "version": notice.version,
        "error": notice.failure,
    });
    Some(Message::new(id, topic, &data, notice.ended_at).traced(notice.trace))
}
