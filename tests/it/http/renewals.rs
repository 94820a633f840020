//! A base model is replaced by its next version while tenants have adapters of the one before.

use std::path::Path;
use std::time::{Duration, Instant};

use imprint::config::{DeviceSetting, EngineConfig};
use imprint::engine::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::app::{Settings, TestApp};
use super::bases;
use super::samples::each;

/// Longer than any job of a test takes.
const LONG: Duration = Duration::from_secs(20);

fn engine(models: &Path) -> Engine {
    let (models, encoders) = (models.to_owned(), models.to_owned());
    Engine::start(&EngineConfig { models, encoders, workers: 1, device: DeviceSetting::Cpu, ..EngineConfig::default() })
        .unwrap()
}

/// The test's database, and the base models before and after: the next version of `plane` is another one.
struct Upgrade {
    folder: TempDir,
}

impl Upgrade {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        bases::write(&folder.path().join("before"));
        bases::write(&folder.path().join("after"));
        bases::write_next(&folder.path().join("after"), "plane");
        Self { folder }
    }

    /// The version before goes on beside the next one.
    fn keep(&self) {
        let (from, to) = (self.folder.path().join("before/plane"), self.folder.path().join("after/plane@1"));
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }

    async fn start(&self, models: &str, seed: u64) -> TestApp {
        let database_url = Some(format!("sqlite:{}", self.folder.path().join("imprint.db").display()));
        let engine = engine(&self.folder.path().join(models));
        TestApp::with(Settings { engine, database_url, seed, ..Settings::default() }).await
    }
}

/// The task once this version answers.
async fn answered_by(app: &TestApp, task: &str, version: u64) -> Value {
    let deadline = Instant::now() + LONG;
    loop {
        let found = app.get(task).await.ok(200);
        if found["active_version"] == version {
            return found;
        }
        assert!(Instant::now() < deadline, "{found}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_before_answers_until_the_new_adapter_is_as_good() {
    let upgrade = Upgrade::new();
    let before = upgrade.start("before", 1).await;
    let (task, by_hand) = (before.task().await, before.task().await);
    let settings = json!({"settings": {"auto_promote": "never"}});
    before.call("PATCH", &by_hand).json(&settings).send().await.ok(200);
    for task in [&task, &by_hand] {
        before.adapt(task).await;
        before.post(&format!("{task}/adapters/1/promote"), json!({})).await.ok(200);
    }
    let query = json!({"query": [[5.0, 5.0]], "version": 1});
    let old = before.post(&format!("{task}/predict"), query.clone()).await.ok(200);
    let key = before.key.clone();
    drop(before);
    upgrade.keep();

    let mut after = upgrade.start("after", 2).await;
    after.key = key.clone();
    let kept = after.post(&format!("{task}/predict"), query.clone()).await.ok(200);
    answered_by(&after, &task, 2).await;
    let new = after.post(&format!("{task}/predict"), json!({"query": [[5.0, 5.0]]})).await.ok(200);
    let both = json!({"versions": [1, 2], "query": [[5.0, 5.0]]});
    let both = after.post(&format!("{task}/compare"), both).await.ok(200);
    let deadline = Instant::now() + LONG;
    while after.get(&format!("{by_hand}/adapters/2")).await.status != 200 {
        assert!(Instant::now() < deadline);
    }

    assert_eq!((&kept["base_model"]["name"], &old["base_model"]["name"]), (&json!("plane@1"), &json!("plane")));
    assert_eq!(kept["predictions"][0]["scores"], old["predictions"][0]["scores"], "bit for bit");
    assert_eq!(kept["base_model"]["sha256"], old["base_model"]["sha256"]);
    assert_eq!((&new["version"], &new["base_model"]["name"]), (&json!(2), &json!("plane")));
    assert_ne!(new["base_model"]["sha256"], old["base_model"]["sha256"]);
    assert_eq!(both["versions"][0]["predictions"][0]["scores"], old["predictions"][0]["scores"]);
    assert_eq!(after.get(&by_hand).await.ok(200)["active_version"], 1, "promoted by hand, or not at all");

    // A start that finds all of it done adds nothing.
    let jobs = each(&after.get("/v1/adaptations").await.ok(200), "id").len();
    drop(after);
    let mut again = upgrade.start("after", 3).await;
    again.key = key;
    again.adapt(&task).await;
    assert_eq!(each(&again.get("/v1/adaptations").await.ok(200), "id").len(), jobs + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_version_before_the_new_adapter_takes_its_place() {
    let upgrade = Upgrade::new();
    let before = upgrade.start("before", 1).await;
    let task = before.task().await;
    before.adapt(&task).await;
    let key = before.key.clone();
    drop(before);

    let mut after = upgrade.start("after", 2).await;
    after.key = key;
    answered_by(&after, &task, 2).await;

    after.post(&format!("{task}/predict"), json!({"query": [[1, 2]]})).await.ok(200);
    let old = after.post(&format!("{task}/predict"), json!({"query": [[1, 2]], "version": 1})).await;
    old.problem(409, "base_model_changed");
}

/// While servers are replaced one by one, one that has the base model before may run the job.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_server_of_the_version_before_ran_is_submitted_again() {
    let upgrade = Upgrade::new();
    let before = upgrade.start("before", 1).await;
    let task = before.task().await;
    before.adapt(&task).await;
    let key = before.key.clone();
    drop(before);
    upgrade.keep();
    let mut after = upgrade.start("after", 2).await;
    after.key = key.clone();
    answered_by(&after, &task, 2).await;
    // As such a server would have left it: the job found the adapter that was there.
    after.sql("UPDATE adaptations SET version = 1").await;
    after.sql("DELETE FROM promotions WHERE version = 2").await;
    after.sql("DELETE FROM adapters WHERE version = 2").await;
    after.sql("UPDATE tasks SET active_version = 1, latest_version = 1").await;
    drop(after);

    let mut again = upgrade.start("after", 3).await;
    again.key = key;
    answered_by(&again, &task, 2).await;

    let adapter = again.get(&format!("{task}/adapters/2")).await.ok(200);
    assert_eq!(adapter["base_model"]["sha256"], again.get("/v1/base-models/plane").await.ok(200)["sha256"]);
}
