//! Use cases, each a plain async function over plain values.
//!
//! Everything that a caller sends is checked here, once, against the base model that it is for; behind this layer
//! values are valid by construction.
//!
//! Deliberately absent: HTTP, SQL, tensors.

mod accounts;
mod adaptations;
mod adapters;
mod allowances;
mod answering;
mod attempt;
mod bulk;
mod bulk_runner;
mod classify;
mod erasures;
mod error;
mod evaluations;
mod events;
mod examples;
mod feedback;
mod inputs;
pub mod keys;
mod monitors;
mod nearest;
mod pace;
mod predictions;
mod prepared;
mod prototype;
mod quotas;
mod ranking;
mod relay;
mod renewals;
mod requests;
mod residency;
mod runner;
mod steady;
mod suggestions;
mod tagging;
mod targets;
mod tasks;
mod turns;
mod uploads;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::{Notify, OnceCell, watch};
use tracing::debug;

use crate::config::ServiceConfig;
use crate::domain::{BaseModel, Clock, Cost, Fault, IdSource, KeyId, Precision, TenantId};
use crate::engine::Engine;
use crate::store::{Hint, Store};
use accounts::Meter;
use allowances::{Allowances, TenantLimits};
use answering::LastKnown;
use keys::HeldKey;
use pace::Pace;
use residency::Residency;
use steady::steadily;
use turns::Turns;

pub use adaptations::NewAdaptation;
pub use adapters::{AdapterView, ImportAdapter, Verified};
pub use allowances::{Allowance, Place};
pub use answering::Answers;
pub use bulk::{BulkAnswer, BulkBegun, BulkIntake, BulkLine, NewBulk};
pub use classify::{Classified, Classify};
pub use erasures::SignedReceipt;
pub use error::ServiceError;
pub use evaluations::Evaluated;
pub use events::{Headway, QueuePlace};
pub use examples::{Given, GivenExample, SupportAdded, SupportPatch};
pub use feedback::{Feedback, FeedbackTaken};
pub use nearest::{Found, Hit, Neighbour, Search};
pub use predictions::{
    AdaptPredict, AdaptPredicted, Answer, AnswerSpan, AnswerStyle, Compared, Predict, Predicted, Prediction,
};
pub use ranking::{Candidate, OrderJudged, Rank, Ranked, RankedItem};
pub use relay::Relay;
pub use requests::REQUEST_LEASE;
pub use runner::Runners;
pub use suggestions::{Suggest, Suggestion};
pub use tagging::{TagTexts, Tagged};
pub use tasks::{NewTask, TaskState, TaskView};
pub use uploads::{Verdict, Verdicts};
pub use webhooks::NewWebhook;

/// A page that a caller asked for.
pub use crate::store::Page;

/// Result of a use case.
pub type Result<T, E = ServiceError> = std::result::Result<T, E>;

/// All use cases. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    config: Arc<ServiceConfig>,
    /// Requests whose inputs may be decoded at the same time.
    decoders: Turns,
    /// Bytes of adapters.
    adapters: Residency,
    /// Features of stored examples.
    features: nearest::Features,
    /// Which adapters answer, as the store said last.
    last_known: LastKnown,
    /// Records of keys.
    keys: Cache<KeyId, HeldKey>,
    /// The tenant of an open server, once it is known.
    open_tenant: Arc<OnceCell<TenantId>>,
    hints: Arc<Hints>,
    pace: Arc<Pace>,
    /// What tenants have had of this process.
    meter: Arc<Meter>,
    /// Bytes that tenants have in the store.
    held: quotas::Held,
    /// What tenants have of this process.
    allowances: Arc<Allowances>,
    /// Whether the server is told to stop.
    stopping: watch::Sender<bool>,
    /// Whether new work should go to another server.
    is_leaving: Arc<AtomicBool>,
}

/// Who should look at the store again. Only hints: polling is the truth.
#[derive(Default)]
struct Hints {
    submitted: Notify,
    /// The same of bulk predictions.
    bulk: Notify,
    /// Other processes should look, too.
    outgoing: Notify,
    /// Something happened to some adaptation.
    changed: Notify,
}

/// When to come back to a server that is about to stop: another one is there by then.
const LEAVING_RETRY: Duration = Duration::from_secs(5);

impl Service {
    /// Says that this server is about to stop: it is not ready any more, and serves as before.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Something happened to some adaptation: whoever waits for one looks again, here and in other processes.
    fn announce(&self) {
        self.hints.changed.notify_waiters();
        self.hints.outgoing.notify_one();
    }

    /// Tells other processes, which would otherwise know later.
    fn tell(&self, hint: Hint) {
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            if let Err(error) = store.hint(hint).await {
                debug!(%error, "other processes could not be told");
            }
        });
    }

    /// From its parts.
    pub fn new(
        store: Arc<dyn Store>,
        engine: Engine,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        config: ServiceConfig,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let decoders = if config.decoders == 0 { cores } else { config.decoders };
        let adapters = Residency::new(config.adapter_cache_mib << 20);
        let last_known = Duration::from_secs(config.last_known_s);
        let meter = Meter::new(&*ids);
        Self {
            store,
            engine,
            clock,
            ids,
            config: Arc::new(config),
            decoders: Turns::new(decoders),
            adapters,
            features: nearest::Features::new(),
            last_known: LastKnown::new(last_known),
            keys: Cache::builder()
                .max_capacity(keys::REMEMBERED)
                .time_to_live(keys::TRUSTED_FOR.saturating_add(last_known))
                .build(),
            open_tenant: Arc::default(),
            hints: Arc::default(),
            pace: Arc::default(),
            meter: Arc::new(meter),
            held: quotas::Held::new(),
            allowances: Arc::default(),
            stopping: watch::Sender::new(false),
            is_leaving: Arc::default(),
        }
    }

    /// The base models, in order of name.
    pub fn base_models(&self) -> &[BaseModel] {
        self.engine.base_models()
    }

    /// In which numbers this server computes the features that the tasks of a base model share.
    pub fn precision(&self, base: &BaseModel) -> Precision {
        self.engine.precision(&base.manifest.name)
    }

    /// The base model of that name.
    pub fn base_model(&self, name: &str) -> Result<&BaseModel> {
        self.engine.base_model(name).ok_or(ServiceError::NotFound("base model"))
    }

    /// The limits that this server was started with.
    pub fn limits(&self) -> &ServiceConfig {
        &self.config
    }

    /// What one command may take, and how many requests of one tenant may wait for the engine.
    pub fn engine_limits(&self) -> (Cost, usize) {
        self.engine.limits()
    }

    /// Takes a place for one request of a tenant.
    pub fn admit(&self, tenant: TenantId) -> Result<(Place, Option<Allowance>)> {
        let limits = TenantLimits { rate: self.config.tenant_requests_per_s, concurrency: self.config.tenant_requests };
        self.allowances.admit(tenant, limits, tokio::time::Instant::now())
    }

    /// Whether requests should come here: the server is to stay, and the store answers.
    pub async fn ready(&self) -> Result<()> {
        if self.is_leaving.load(Ordering::Relaxed) {
            return Err(ServiceError::Overloaded { retry_after: LEAVING_RETRY });
        }
        Ok(self.store.ping().await?)
    }

    /// The base model that a request names at `pointer`.
    fn named_base(&self, name: &str, pointer: &str) -> Result<&BaseModel> {
        let unknown = || Fault::UnknownBase { name: name.to_owned() }.at(pointer);
        self.engine.base_model(name).ok_or_else(|| unknown().into())
    }

    /// Tells those who follow adaptations that the server stops: they come back to another, or later.
    pub fn stop_streams(&self) {
        self.stopping.send_replace(true);
    }

    /// Takes no more work for the engine, answers what waits.
    pub async fn drain(&self) {
        self.engine.drain().await;
        self.flush_usage().await;
    }
}
