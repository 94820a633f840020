//! The whole application in this process: router, use cases, runners, an engine with small base models, and SQLite in a
//! folder of its own. A request goes in by `tower::Service`, without a socket.
//!
//! Every answer is checked for what all of them have in common: see [`Answer::check`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use imprint::config::{HttpConfig, ServiceConfig, StoreConfig};
use imprint::courier::{Courier, SystemResolver};
use imprint::domain::{Clock, IdSource, Scope, SeededIds, Timestamp};
use imprint::engine::Engine;
use imprint::http;
use imprint::service::keys::{self, NewKey};
use imprint::service::{Relay, Runners, Service};
use imprint::store::{self, Store};
use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;
use tower::ServiceExt;

use super::bases;

/// What a test sets for itself.
pub struct Settings {
    pub service: ServiceConfig,
    pub http: HttpConfig,
    pub engine: Engine,
    /// SQLite in a folder of its own by default.
    pub database_url: Option<String>,
    /// Where a test looks behind the application's back, if not there.
    pub owner_url: Option<String>,
    /// Of its ids: applications on one database have different ones.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let service = ServiceConfig { runners: 2, poll_ms: 50, ..ServiceConfig::default() };
        Self {
            service,
            http: HttpConfig::default(),
            engine: bases::engine(),
            database_url: None,
            owner_url: None,
            seed: 7,
        }
    }
}

impl Settings {
    /// Nobody works off the queue until [`TestApp::runners`].
    pub fn idle() -> Self {
        let settings = Self::default();
        Self { service: ServiceConfig { runners: 0, ..settings.service }, ..settings }
    }
}

/// One millisecond passes each time that someone looks.
pub struct TestClock {
    millis: AtomicI64,
    /// Whether the next look panics.
    pub is_broken: AtomicBool,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        assert!(!self.is_broken.swap(false, Ordering::Relaxed), "told to panic");
        Timestamp::from_millis(self.millis.fetch_add(1, Ordering::Relaxed))
    }
}

pub struct TestApp {
    pub router: Router,
    pub clock: Arc<TestClock>,
    /// A key of the tenant `anna`.
    pub key: String,
    pub service: Service,
    pub store: Arc<dyn Store>,
    ids: Arc<dyn IdSource>,
    database_url: String,
    _runners: Runners,
    _relay: Relay,
    _folder: TempDir,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("imprint.db").display());
        let database_url = settings.database_url.unwrap_or(file);
        // Tests run side by side on few cores: no wait is short enough to fail for that alone.
        let config = StoreConfig {
            database_url: database_url.clone(),
            database_max_connections: 4,
            database_acquire_timeout_ms: 30_000,
            ..StoreConfig::default()
        };
        let store = store::open(&config).await.unwrap();
        let clock =
            Arc::new(TestClock { millis: AtomicI64::new(1_795_459_260_000), is_broken: AtomicBool::new(false) });
        let ids: Arc<dyn IdSource> = Arc::new(SeededIds::new(settings.seed));
        let key = keys::create(&*store, &*clock, &*ids, "anna", NewKey::of(Scope::Admin)).await.unwrap().key;
        let courier = Courier::new(&settings.service.webhooks, Arc::new(SystemResolver)).unwrap();
        let service = Service::new(store.clone(), settings.engine, clock.clone(), Arc::clone(&ids), settings.service);
        Self {
            router: http::app(service.clone(), settings.http, Arc::clone(&ids)),
            clock,
            key: key.reveal().to_owned(),
            _runners: Runners::start(&service),
            _relay: Relay::start(&service, courier),
            service,
            store,
            ids,
            database_url: settings.owner_url.unwrap_or(database_url),
            _folder: folder,
        }
    }

    /// The same use cases behind another listener.
    pub fn listen_with(&mut self, config: HttpConfig) {
        self.router = http::app(self.service.clone(), config, Arc::clone(&self.ids));
    }

    /// The runners of another process, so to speak, until they are dropped.
    pub fn runners(&self, runners: usize) -> Runners {
        let config = ServiceConfig { runners, ..self.service.limits().clone() };
        let engine = bases::engine();
        let other = Service::new(self.store.clone(), engine, self.clock.clone(), Arc::clone(&self.ids), config);
        Runners::start(&other)
    }

    /// A key of the tenant of that name.
    pub async fn key_of(&self, tenant: &str) -> String {
        keys::create(&*self.store, &*self.clock, &*self.ids, tenant, NewKey::of(Scope::Admin))
            .await
            .unwrap()
            .key
            .reveal()
            .to_owned()
    }

    /// A key of that scope of the tenant of that name.
    pub async fn key_with(&self, tenant: &str, scope: Scope, valid_for: Option<Duration>) -> String {
        let made =
            keys::create(&*self.store, &*self.clock, &*self.ids, tenant, NewKey { name: None, scope, valid_for }).await;
        made.unwrap().key.reveal().to_owned()
    }

    /// Lets time pass on the application's clock.
    pub fn pass(&self, millis: i64) {
        self.clock.millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// How many rows each table of tenants' things has.
    pub async fn stored(&self) -> Vec<i64> {
        let mut database = AnyConnection::connect(&self.database_url).await.unwrap();
        let mut counts = Vec::new();
        for table in ["tasks", "support", "adaptations", "adapters"] {
            let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
            counts.push(count.fetch_one(&mut database).await.unwrap());
        }
        counts
    }

    /// Runs a statement beside the application.
    pub async fn sql(&self, statement: &'static str) {
        let mut database = AnyConnection::connect(&self.database_url).await.unwrap();
        sqlx::query(statement).execute(&mut database).await.unwrap();
    }

    /// What a statement counts beside the application.
    pub async fn count(&self, statement: &'static str) -> i64 {
        let mut database = AnyConnection::connect(&self.database_url).await.unwrap();
        sqlx::query_scalar(statement).fetch_one(&mut database).await.unwrap()
    }

    /// A request by `anna`.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        let (method, path) = (method.to_owned(), path.to_owned());
        let call = Call { app: self, method, path, headers: HeaderMap::new(), body: Vec::new() };
        call.key(&self.key)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path).json(&body).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send().await
    }
}

/// A request that is being put together.
pub struct Call<'a> {
    app: &'a TestApp,
    method: String,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Call<'_> {
    pub fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string().into_bytes())
    }

    pub fn bytes(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", content_type).body(body)
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn anonymous(mut self) -> Self {
        self.headers.remove(header::AUTHORIZATION);
        self
    }

    pub async fn send(self) -> Answer {
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.path);
        request.headers_mut().unwrap().extend(self.headers);
        let request = request.body(Body::from(self.body)).unwrap();
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }.checked()
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Every answer names its request; every one that is not a success is a whole problem.
    fn checked(self) -> Self {
        let request = self.header("x-request-id");
        assert!(!request.is_empty(), "an answer without X-Request-Id");
        if self.status >= 400 {
            let problem = self.json();
            assert_eq!(self.header("content-type"), "application/problem+json", "{problem}");
            assert_eq!(problem["status"], self.status, "{problem}");
            assert_eq!(problem["request_id"], request, "{problem}");
            assert_eq!(problem["type"], format!("/problems/{}", problem["code"].as_str().unwrap()), "{problem}");
            assert_eq!(problem["retryable"], self.headers.contains_key("retry-after"), "{problem}");
            assert!(!problem["title"].as_str().unwrap().is_empty(), "{problem}");
            assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
        }
        self
    }

    /// The body of an answer of that status.
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The body of a problem of that status and code.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.ok(status);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// A header's text; nothing if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}
