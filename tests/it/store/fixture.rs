//! A fresh store, and short ways to fill it. Ids and moments are counted, so that a story reads the same each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use imprint::config::StoreConfig;
use imprint::domain::{
    Adaptation, AdaptationId, AdaptationStatus, Adapter, AdapterBlob, AdapterId, Example, IdSource, Input, Kind,
    Promotion, Recipe, SeededIds, Support, SupportId, Target, Task, TaskId, TaskSettings, Tenant, TenantId, Timestamp,
    TraceContext,
};
use imprint::store::{self, Claim, Completion, Page, Store};
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;

use crate::postgres::Database;

pub const LEASE: Duration = Duration::from_mins(1);
pub const MANY: usize = 1_000;
/// The process that claims, if no other is named.
const WORKER: &str = "worker";

/// A store with nothing in it.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub config: StoreConfig,
    ids: SeededIds,
    millis: AtomicI64,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Postgres(Database),
}

impl Fixture {
    /// On a file in a folder that is not there yet.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("a new folder/imprint.db").display());
        Self::open(url, Place::Folder(folder)).await
    }

    /// `None` where there is no Postgres.
    pub async fn postgres() -> Option<Self> {
        let database = Database::create().await?;
        Some(Self::open(database.url.clone(), Place::Postgres(database)).await)
    }

    async fn open(database_url: String, place: Place) -> Self {
        // Stories run side by side on few cores: no wait is short enough to fail for that alone.
        let config = StoreConfig {
            database_url,
            database_max_connections: 4,
            database_acquire_timeout_ms: 30_000,
            ..StoreConfig::default()
        };
        let store = store::open(&config).await.unwrap();
        Self { store, config, ids: SeededIds::new(7), millis: AtomicI64::new(1_000), place }
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) {
        match &self.place {
            Place::Folder(_) => store::migrate(&self.config, None).await.unwrap(),
            Place::Postgres(database) => database.migrate().await.unwrap(),
        }
    }

    /// Removes what the story left.
    pub async fn close(self) {
        drop(self.store);
        match self.place {
            Place::Folder(folder) => drop(folder),
            Place::Postgres(database) => database.drop().await,
        }
    }

    /// The database itself, behind the store's back.
    pub async fn raw(&self) -> AnyConnection {
        let url = match &self.place {
            Place::Folder(_) => &self.config.database_url,
            Place::Postgres(database) => &database.owner_url,
        };
        AnyConnection::connect(url).await.unwrap()
    }

    pub fn ids(&self) -> &dyn IdSource {
        &self.ids
    }

    /// A moment after all before it.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.fetch_add(1, Ordering::Relaxed))
    }

    pub async fn tenant(&self, name: &str) -> TenantId {
        let tenant = Tenant { id: TenantId::fresh(&self.ids), name: name.to_owned(), created_at: self.now() };
        self.store.create_tenant(&tenant).await.unwrap();
        tenant.id
    }

    pub fn new_task(&self, kind: Kind, labels: &[&str]) -> Task {
        let now = self.now();
        Task {
            id: TaskId::fresh(&self.ids),
            name: "birds".to_owned(),
            kind,
            base_model: "glyphs".to_owned(),
            labels: labels.iter().map(ToString::to_string).collect(),
            open_labels: true,
            settings: TaskSettings::default(),
            is_monitored: false,
            answers: std::collections::BTreeMap::from([("a".to_owned(), "as it is".to_owned())]),
            metadata: serde_json::Map::from_iter([("note".to_owned(), "with \u{0} and ü".into())]),
            active_version: None,
            latest_version: None,
            revision: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// A classification with labels `a` and `b` and no examples.
    pub async fn task(&self, tenant: TenantId) -> Task {
        let task = self.new_task(Kind::Classification, &["a", "b"]);
        self.store.create_task(tenant, &task, &[], MANY).await.unwrap();
        task
    }

    pub fn example(&self, target: Target, digest: &str) -> Support {
        let example = Example {
            input: Input::Vector(vec![0.1, -2.0]),
            target: Some(target),
            weight: 1.0,
            external_id: None,
            digest: digest.to_owned(),
        };
        Support { id: SupportId::fresh(&self.ids), example, created_at: self.now() }
    }

    pub fn labelled(&self, label: &str, digest: &str) -> Support {
        self.example(Target::Label(label.to_owned()), digest)
    }

    pub fn new_job(&self, task: TaskId) -> Adaptation {
        Adaptation {
            id: AdaptationId::fresh(&self.ids),
            task,
            latency_budget_ms: Some(250),
            recipe: Recipe { inner_steps: Some(5), seed: u64::MAX },
            promote: Promotion::Always,
            status: AdaptationStatus::Queued,
            attempt: 0,
            version: None,
            failure: None,
            created_at: self.now(),
            started_at: None,
            finished_at: None,
            trace: Some(TraceContext::fresh(&self.ids)),
        }
    }

    pub async fn submit(&self, tenant: TenantId, task: TaskId) -> Adaptation {
        let job = self.new_job(task);
        assert!(self.store.submit_adaptation(tenant, &job, MANY).await.unwrap());
        job
    }

    pub async fn claim(&self) -> Option<Claim> {
        self.claim_as(WORKER).await
    }

    pub async fn claim_as(&self, worker: &str) -> Option<Claim> {
        self.store.claim_adaptation(worker, LEASE).await.unwrap()
    }

    /// As if every worker had been silent for longer than its lease. No story waits for a clock.
    pub async fn expire_leases(&self) {
        sqlx::query("UPDATE adaptations SET lease_until = 1 WHERE status = 'running'")
            .execute(&mut self.raw().await)
            .await
            .unwrap();
    }

    /// As if the time had passed for which retried jobs pause and taken notices are held.
    pub async fn end_pauses(&self) {
        let mut raw = self.raw().await;
        sqlx::query("UPDATE adaptations SET not_before = 1").execute(&mut raw).await.unwrap();
        sqlx::query("UPDATE outbox SET taken_until = 1").execute(&mut raw).await.unwrap();
        sqlx::query("UPDATE deliveries SET taken_until = 0, next_at = 0").execute(&mut raw).await.unwrap();
    }

    /// What an adaptation to `support_hash` leaves.
    pub fn adapted(&self, task: TaskId, support_hash: &str, bytes: &[u8]) -> (Adapter, AdapterBlob) {
        let blob = AdapterBlob::new(bytes.to_vec());
        let adapter = Adapter {
            id: AdapterId::fresh(&self.ids),
            task,
            version: 0,
            base_model: "glyphs".to_owned(),
            base_sha256: "b1".to_owned(),
            support_hash: support_hash.to_owned(),
            support_count: 2,
            recipe: Recipe { inner_steps: Some(5), seed: u64::MAX },
            labels: vec!["a".to_owned(), "b".to_owned()],
            sha256: blob.sha256().to_owned(),
            size_bytes: bytes.len(),
            quality: None,
            created_at: self.now(),
        };
        (adapter, blob)
    }

    /// Submits, claims and completes a job; its version.
    pub async fn adapt(&self, tenant: TenantId, task: TaskId, support_hash: &str) -> u32 {
        let job = self.submit(tenant, task).await;
        let claim = self.claim().await.unwrap();
        assert_eq!(claim.adaptation.id, job.id);
        let (adapter, blob) = self.adapted(task, support_hash, support_hash.as_bytes());
        let done = self.complete(&claim, Completion::Adapted(Box::new(adapter), blob)).await.unwrap();
        done.version.unwrap()
    }

    pub async fn complete(&self, claim: &Claim, completion: Completion) -> Option<Adaptation> {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        self.store.complete_adaptation(claim.tenant, id, attempt, completion).await.unwrap()
    }
}

/// How many random lives a model is compared over.
pub fn cases() -> usize {
    std::env::var("IMPRINT_CASES").map_or(12, |cases| cases.parse().unwrap())
}

pub const fn first<Id>(limit: usize) -> Page<Id> {
    Page { after: None, limit }
}
