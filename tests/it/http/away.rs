//! A database that does not answer, and several processes on one.

use std::time::{Duration, Instant};

use imprint::config::ServiceConfig;
use serde_json::json;
use sqlx::{AnyConnection, Connection, Executor};

use super::app::{Answer, Settings, TestApp};
use super::samples::task;
use crate::postgres::Database;
use crate::proxy::Proxy;

/// With more than this nobody would wait for an answer.
const SOON: Duration = Duration::from_millis(1_950);

fn on(url: String, owner_url: String, service: ServiceConfig) -> Settings {
    Settings { database_url: Some(url), owner_url: Some(owner_url), service, ..Settings::default() }
}

async fn timed(asked: impl Future<Output = Answer>) -> (Answer, Duration) {
    let started = Instant::now();
    (asked.await, started.elapsed())
}

async fn adapted_task(app: &TestApp) -> String {
    let task = app.task().await;
    app.adapt(&task).await;
    task
}

async fn predict(app: &TestApp, task: &str) -> Answer {
    app.post(&format!("{task}/predict"), json!({"query": [[5.0, 5.0]]})).await
}

fn degraded(answer: &Answer) -> &str {
    answer.header("x-degraded")
}

/// An adapted task that has answered, and its database behind a network of ours.
async fn adapted(database: &Database, service: ServiceConfig) -> (TestApp, Proxy, String) {
    let proxy = Proxy::before(&database.url).await;
    let app = TestApp::with(on(proxy.url(&database.url), database.owner_url.clone(), service)).await;
    let task = adapted_task(&app).await;
    assert_eq!(degraded(&predict(&app, &task).await), "");
    (app, proxy, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_hangs_known_predictions_go_on_and_the_rest_is_refused_soon() {
    let Some(database) = Database::create().await else { return };
    let (app, proxy, known) = adapted(&database, Settings::default().service).await;
    let before = predict(&app, &known).await.ok(200)["predictions"][0]["scores"].clone();
    let other = app.task().await;

    proxy.hold();
    let (first, waited) = timed(predict(&app, &known)).await;
    assert_eq!(first.ok(200)["predictions"][0]["scores"], before);
    assert!(waited < SOON && degraded(&first) == "database", "{waited:?}");
    for _ in 0..50 {
        let (next, waited) = timed(predict(&app, &known)).await;
        next.ok(200);
        assert!(waited < SOON / 4, "{waited:?}");
    }
    let refused = [
        timed(app.post("/v1/tasks", task())).await,
        timed(predict(&app, &other)).await,
        timed(app.get(&other)).await,
        timed(app.delete(&other)).await,
    ];
    for (answer, waited) in refused {
        assert_eq!(answer.problem(503, "store_unavailable")["retryable"], true);
        assert!(waited < SOON, "{waited:?}");
    }
    assert_eq!((app.get("/livez").await.status, app.get("/readyz").await.status), (200, 503));

    proxy.release();
    let released = Instant::now();
    while app.get("/readyz").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
    let back = predict(&app, &known).await;
    assert_eq!((back.status, degraded(&back)), (200, ""));
    app.post("/v1/tasks", task()).await.ok(201);
    drop(app);
    database.drop().await;
}

/// Neither is a claim forgotten whose answer was lost, nor an end that could not be told: either would hold its job until the
/// lease of 30 s has run out, which is longer than is waited for here.
#[tokio::test(flavor = "multi_thread")]
async fn adaptations_that_are_under_way_while_the_database_hangs_end_soon_afterwards() {
    let Some(database) = Database::create().await else { return };
    let proxy = Proxy::before(&database.url).await;
    let idle = Settings::idle().service;
    let app = TestApp::with(on(proxy.url(&database.url), database.owner_url.clone(), idle)).await;
    let task = app.task().await;
    let mut jobs = Vec::new();
    for seed in 0..30 {
        let job = app.post(&format!("{task}/adaptations"), json!({"seed": seed})).await;
        jobs.push(job.header("location").to_owned());
    }

    let _runners = app.runners(2);
    app.ended(&jobs[0]).await;
    proxy.hold(); // with two in their hands
    tokio::time::sleep(Duration::from_secs(3)).await;
    proxy.release();
    while app.get("/readyz").await.status != 200 {}

    for job in jobs {
        let ended = app.ended(&job).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
    }
    drop(app);
    database.drop().await;
}

/// A server that is asleep in the middle of a transaction holds its rows until Postgres ends it, ten seconds later. That is
/// longer than three short leases: a job must not lose its attempts by it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_waits_for_a_row_of_a_server_that_sleeps_is_told_when_it_may_be() {
    let Some(database) = Database::create().await else { return };
    let service = ServiceConfig { lease_s: 1, ..Settings::idle().service };
    let app = TestApp::with(on(database.url.clone(), database.owner_url.clone(), service)).await;
    let task = app.task().await;
    let job = app.post(&format!("{task}/adaptations"), json!({})).await.header("location").to_owned();
    let mut asleep = AnyConnection::connect(&database.owner_url).await.unwrap();
    asleep.execute("BEGIN; SELECT id FROM tasks FOR UPDATE").await.unwrap();

    let _runners = app.runners(1);
    tokio::time::sleep(Duration::from_secs(7)).await;
    let waiting = app.get(&job).await.ok(200);
    asleep.execute("ROLLBACK").await.unwrap();

    assert_eq!(waiting["status"], "running", "{waiting}");
    let ended = app.ended(&job).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("succeeded"), &json!(1)), "{ended}");
    drop(app);
    database.drop().await;
}

/// As the first without the protection, which shows that the test above sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_to_be_remembered_is_refused() {
    let Some(database) = Database::create().await else { return };
    let service = ServiceConfig { last_known_s: 0, ..Settings::default().service };
    let (app, proxy, known) = adapted(&database, service).await;

    proxy.hold();

    predict(&app, &known).await.problem(503, "store_unavailable");
    proxy.release();
    drop(app);
    database.drop().await;
}

/// Leases, pauses and the order of the queue are on the database's clock.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_whose_clocks_are_two_hours_apart_run_each_job_once() {
    let Some(database) = Database::create().await else { return };
    let open = |seed| {
        let settings = on(database.url.clone(), database.owner_url.clone(), Settings::default().service);
        TestApp::with(Settings { seed, ..settings })
    };
    let (fast, slow) = (open(1).await, open(2).await);
    fast.pass(3_600_000);
    slow.pass(-3_600_000);
    let task = fast.task().await;

    let mut jobs = Vec::new();
    for seed in 0..12 {
        let app = if seed % 2 == 0 { &fast } else { &slow };
        app.add(&task, [seed as f32, 9.0], "high").await;
        let accepted = app.post(&format!("{task}/adaptations"), json!({"seed": seed})).await;
        jobs.push(accepted.header("location").to_owned());
    }

    for job in jobs {
        let ended = slow.ended(&job).await;
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("succeeded"), &json!(1)), "{ended}");
    }
    drop((fast, slow));
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_promotes_deletes_and_revokes_holds_in_the_other() {
    let Some(database) = Database::create().await else { return };
    let open = || TestApp::with(on(database.url.clone(), database.owner_url.clone(), Settings::default().service));
    let (one, other) = (open().await, open().await);
    let task = adapted_task(&one).await;
    predict(&other, &task).await.ok(200);
    one.add(&task, [9.0, 9.0], "high").await;
    one.adapt(&task).await;

    assert_eq!(predict(&other, &task).await.ok(200)["version"], 2);
    one.delete(&task).await.ok(204);
    predict(&other, &task).await.problem(404, "not_found");

    // A key is known to the other for a while, unless it is told.
    let key = one.key_of("bertha").await;
    let who = async || other.call("GET", "/v1/whoami").key(&key).send().await.status;
    assert_eq!(who().await, 200);
    let id = one.call("GET", "/v1/keys").key(&key).send().await.ok(200)["data"][0]["id"].as_str().unwrap().to_owned();
    one.call("DELETE", &format!("/v1/keys/{id}")).key(&key).send().await.ok(204);
    let revoked = Instant::now();
    while who().await == 200 {
        assert!(revoked.elapsed() < Duration::from_secs(10), "it is still let in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop((one, other));
    database.drop().await;
}
