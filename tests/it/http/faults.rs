//! Every place where something may go wrong (`imprint::faults`), and all that may go wrong there: what was accepted is done
//! once, what is leased comes back, and the server goes on.
//!
//! A fault is its process's: the tests here run this binary again, and in it those that are ignored.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, fs};

use futures_util::FutureExt;
use imprint::config::{Reach, ServiceConfig, WebhookConfig};
use imprint::faults::{self, Action, Site};
use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::samples::{each, points};
use super::webhooks::Receiver;

/// How long an adaptation may take here. On few cores, with other tests beside it, it takes a while.
const ADAPTATION_TIMEOUT_S: u64 = 6;

/// Whoever is alive and held up for less keeps what it holds.
const LEASE_S: u64 = 4;

/// How long one step of a story may take. Nothing comes near it, but for a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Longer than that.
const LONG_STALL: Action = Action::Stall(Duration::from_millis(1_000 * ADAPTATION_TIMEOUT_S + 500));
/// Where nothing has a time limit that short, all stalls are alike.
const STALL: Action = Action::Stall(Duration::from_millis(300));

/// Processes that walk at a time: they mostly wait.
const PARTS: usize = 4;

/// How often a transaction's site is passed before it fails: what a story writes first, in the middle and last.
const PASSED: [usize; 4] = [0, 5, 14, 27];

/// Sites, and how often each is passed before.
fn places() -> impl Iterator<Item = (Site, usize)> {
    let is_everywhere = |site| matches!(site, Site::Acquire | Site::Begin | Site::Commit | Site::Committed);
    Site::ALL.iter().flat_map(move |&site| {
        let passed = if is_everywhere(site) { &PASSED[..] } else { &PASSED[..1] };
        passed.iter().map(move |&before| (site, before))
    })
}

fn plans() -> impl Iterator<Item = (Site, Action, usize)> {
    let among = |site, first, last| {
        let place = |site| Site::ALL.iter().position(|&other| other == site);
        (place(first)..=place(last)).contains(&place(site))
    };
    places().flat_map(move |(site, before)| {
        // Elsewhere than in the engine a want of memory is an error like others.
        let memory = among(site, Site::Push, Site::Answered).then_some(Action::OutOfMemory);
        let stall = if among(site, Site::Taken, Site::Answered) { LONG_STALL } else { STALL };
        [Action::Panic, Action::Error, stall].into_iter().chain(memory).map(move |action| (site, action, before))
    })
}

async fn start(database_url: Option<String>, seed: u64) -> TestApp {
    let webhooks = WebhookConfig {
        webhook_reach: Reach::Anywhere,
        webhook_pause_ms: 20,
        webhook_timeout_ms: 1_000,
        ..WebhookConfig::default()
    };
    // Nothing is kept in memory, so that every prediction loads its adapter.
    let service = ServiceConfig {
        adaptation_timeout_s: ADAPTATION_TIMEOUT_S,
        lease_s: LEASE_S,
        adapter_cache_mib: 0,
        webhooks,
        ..Settings::default().service
    };
    TestApp::with(Settings { service, database_url, seed, ..Settings::default() }).await
}

/// Until a minute passes again for those who wait.
const EVERY: Duration = Duration::from_secs(2);

/// Lets a minute pass for whatever waits, and for what is held without signs of life. An adaptation's lease runs out by
/// itself, if it does: whoever is at work renews it, however slow the machine.
async fn pass_a_minute(app: &TestApp) {
    for statement in [
        "UPDATE adaptations SET not_before = not_before - 60000 WHERE status = 'queued'",
        "UPDATE deliveries SET taken_until = taken_until - 60000, next_at = next_at - 60000 WHERE status = 'pending'",
        "UPDATE outbox SET taken_until = taken_until - 60000",
        "UPDATE requests SET locked_until = locked_until - 60000",
    ] {
        app.sql(statement).await;
    }
}

fn is_planned(panic: &(dyn Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|text| text.starts_with("planned at"))
}

/// A caller who repeats a request until it is done, under one key.
async fn insist(app: &TestApp, method: &str, path: &str, key: &str, body: &Value) -> Value {
    let started = Instant::now();
    loop {
        let call = app.call(method, path).json(body).header("idempotency-key", key);
        match AssertUnwindSafe(call.send()).catch_unwind().await {
            Ok(answer) if answer.status < 300 => return answer.json(),
            Ok(answer) => {
                let is_busy = answer.status == 409 && answer.json()["code"] == "request_in_flight";
                assert!(answer.status >= 500 || is_busy, "{method} {path}: {}", answer.json());
            }
            // As if the connection broke.
            Err(panic) if is_planned(&*panic) => {}
            Err(panic) => resume_unwind(panic),
        }
        assert!(started.elapsed() < PATIENCE, "{method} {path} is not answered");
        tokio::time::sleep(Duration::from_millis(200)).await;
        pass_a_minute(app).await;
    }
}

async fn get(app: &TestApp, path: &str) -> Value {
    insist(app, "GET", path, "reading", &Value::Null).await
}

/// Looks until `found` finds something; time passes for whatever waits.
async fn until<T>(app: &TestApp, what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let (started, mut next) = (Instant::now(), EVERY);
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: never");
        tokio::time::sleep(Duration::from_millis(20)).await;
        if started.elapsed() > next {
            pass_a_minute(app).await;
            next += EVERY;
        }
    }
}

/// Adapts a task of `base` and predicts with it. An engine that failed may fail the job; the next one must do.
async fn adapt_and_predict(app: &TestApp, base: &str, support: &Value, query: &Value) -> Vec<String> {
    let body = json!({"name": base, "base_model": base, "support": support});
    let task = insist(app, "POST", "/v1/tasks", &format!("task {base}"), &body).await;
    let task = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let mut ended = Vec::new();
    loop {
        assert!(ended.len() < 2, "{base}: two adaptations failed");
        let key = format!("adapt {base} {}", ended.len());
        let adaptation = insist(app, "POST", &format!("{task}/adaptations"), &key, &json!({})).await;
        let id = adaptation["id"].as_str().unwrap().to_owned();
        let place = format!("/v1/adaptations/{id}");
        let end = until(app, "the end of an adaptation", async || {
            let adaptation = get(app, &place).await;
            adaptation["finished_at"].is_string().then_some(adaptation)
        })
        .await;
        ended.push(id);
        if end["status"] == "succeeded" {
            break;
        }
        assert_eq!((&end["status"], &end["error"]["code"]), (&json!("failed"), &json!("internal")), "{end}");
    }
    let predicted =
        insist(app, "POST", &format!("{task}/predict"), &format!("ask {base}"), &json!({"query": query})).await;
    assert_eq!(predicted["predictions"][0]["label"], "high", "{predicted}");
    ended
}

/// What a tenant does, from first to last; the adaptations that ended.
async fn story(app: &TestApp, hook: &str, number: usize) -> Vec<String> {
    insist(app, "POST", "/v1/webhooks", "hook", &json!({"url": hook})).await;
    let texts = json!([
        {"input": format!("the card {number}"), "label": "high"},
        {"input": format!("my card {number}"), "label": "high"},
        {"input": format!("zzz qqq {number}"), "label": "low"},
        {"input": format!("xyz zzz {number}"), "label": "low"}
    ]);
    let mut ended = adapt_and_predict(app, "plane", &points(), &json!([[5.0, 5.0]])).await;
    ended.extend(adapt_and_predict(app, "pair", &points(), &json!([[5.0, 5.0]])).await);
    ended.extend(adapt_and_predict(app, "words", &texts, &json!([format!("the card {number}")])).await);
    ended
}

/// What holds after any story, whatever went wrong in it.
async fn check(app: &TestApp, ended: &[String], weights: Option<&[String]>) {
    assert_eq!(app.get("/livez").await.status, 200);
    let tasks = each(&app.get("/v1/tasks").await.ok(200), "id");
    assert_eq!(tasks.len(), 3, "tasks are made once");
    let all = each(&app.get("/v1/adaptations?limit=100").await.ok(200), "id");
    assert_eq!(all.len(), ended.len(), "adaptations are made once");
    let nothing = [
        "SELECT COUNT(*) FROM adaptations WHERE status IN ('queued', 'running')",
        "SELECT COUNT(*) FROM adaptations AS a WHERE status = 'succeeded' AND NOT EXISTS \
         (SELECT 1 FROM adapters AS o WHERE o.task_id = a.task_id AND o.version = a.version)",
        "SELECT COUNT(*) FROM (SELECT task_id FROM adapters GROUP BY task_id \
         HAVING COUNT(*) <> MAX(version) OR COUNT(DISTINCT version) <> COUNT(*)) AS gaps",
        "SELECT COUNT(*) FROM tasks AS t WHERE active_version IS NULL OR active_version <> \
         (SELECT MAX(version) FROM adapters AS o WHERE o.task_id = t.id)",
    ];
    for statement in nothing {
        assert_eq!(app.count(statement).await, 0, "{statement}");
    }
    assert_eq!(app.count("SELECT COUNT(*) FROM adapters").await, 3, "an adapter is stored once");
    if let Some(weights) = weights {
        assert_eq!(made(app).await, weights, "an adapter has the bytes that it has when nothing goes wrong");
    }
    // More at once than there are workers: none of them is gone, and each still learns.
    let ask = json!({"base_model": "pair", "support": points(), "query": [[5.0, 5.0]]});
    let asked = (0..8).map(|_| app.post("/v1/adapt-predict", ask.clone()));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.ok(200)["predictions"][0]["label"], "high");
    }
    until(app, "all deliveries", async || {
        let left = app.count("SELECT COUNT(*) FROM deliveries WHERE status = 'pending'").await;
        (left + app.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(())
    })
    .await;
    assert_eq!(app.count("SELECT COUNT(*) FROM deliveries WHERE status = 'dead'").await, 0);
}

/// Each adaptation that ended was told of, at least once and under one id.
fn check_told(receiver: &Receiver, ended: &[String]) {
    let got = receiver.got.lock().unwrap();
    for id in ended {
        let mut about: Vec<&str> = got.iter().filter(|got| got.body.contains(id)).map(|got| got.id.as_str()).collect();
        about.dedup();
        assert_eq!(about.len(), 1, "{id} was told of under {about:?}");
    }
}

/// Digests of the adapters that do not depend on a story's number.
async fn made(app: &TestApp) -> Vec<String> {
    let mut digests = Vec::new();
    for task in each(&app.get("/v1/tasks").await.ok(200), "id") {
        let list = app.get(&format!("/v1/tasks/{}/adapters", task.as_str().unwrap())).await.ok(200);
        let adapter = &list["data"][0];
        if adapter["base_model"] != "words" {
            digests.push(adapter["sha256"].as_str().unwrap().to_owned());
        }
    }
    digests
}

/// A part of all stories: `part` of [`PARTS`].
#[tokio::test(flavor = "multi_thread")]
#[ignore = "plans faults for its whole process; the test below runs it in one of its own"]
async fn walk() {
    let part: usize = env::var("IMPRINT_TEST_PART").unwrap().parse().unwrap();
    let (app, receiver) = (start(None, 7).await, Receiver::start().await);
    let ended = story(&app, &receiver.url, 0).await;
    check(&app, &ended, None).await;
    let weights = made(&app).await;
    drop(app);
    for (number, (site, action, before)) in plans().enumerate().filter(|(number, _)| number % PARTS == part) {
        let (app, receiver) = (start(None, 7).await, Receiver::start().await);
        writeln!(io::stdout(), "{site:?} {action:?} after {before}").unwrap();
        faults::plan(site, action, before);
        let ended = story(&app, &receiver.url, number + 1).await;
        check(&app, &ended, Some(&weights)).await;
        check_told(&receiver, &ended);
        assert!(faults::end(), "{site:?} is not passed so often");
    }
}

/// One story in a folder that outlives the process, with or without an end in the middle.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "aborts its process; the test below runs it in one of its own"]
async fn told() {
    let [folder, hook, place] =
        ["FOLDER", "HOOK", "PLACE"].map(|name| env::var(format!("IMPRINT_TEST_{name}")).unwrap());
    let place = place.parse().ok().and_then(|number| places().nth(number));
    let app = start(Some(format!("sqlite:{folder}/imprint.db")), if place.is_some() { 7 } else { 8 }).await;
    if let Some((site, before)) = place {
        faults::plan(site, Action::Abort, before);
    }
    let ended = story(&app, &hook, 0).await;
    check(&app, &ended, None).await;
    fs::write(Path::new(&folder).join("ended"), json!(ended).to_string()).unwrap();
}

/// This binary again, for one test.
fn again(test: &str, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([&format!("http::faults::{test}"), "--exact", "--ignored", "--nocapture"]);
    for (name, value) in settings {
        command.env(format!("IMPRINT_TEST_{name}"), value);
    }
    command.output().unwrap()
}

/// The last lines of what a process said.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let lines: Vec<String> = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[test]
fn wherever_something_goes_wrong_nothing_is_lost_and_nothing_is_done_twice() {
    assert!(Site::ALL.len() >= 20);
    std::thread::scope(|scope| {
        let parts = (0..PARTS).map(|part| scope.spawn(move || again("walk", &[("PART", &part.to_string())])));
        for part in parts.collect::<Vec<_>>() {
            let walked = part.join().unwrap();
            assert!(walked.status.success(), "{}", said(&walked));
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_anywhere_is_followed_by_one_that_goes_on() {
    let count = places().count();
    let parts = (0..PARTS).map(|part| async move {
        for place in (part..count).step_by(PARTS) {
            let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start().await);
            outlive(folder.path(), &receiver, place).await;
        }
    });
    futures_util::future::join_all(parts).await;
}

async fn outlive(folder: &Path, receiver: &Receiver, place: usize) {
    let run = |place: String| {
        let (folder, hook) = (folder.display().to_string(), receiver.url.clone());
        tokio::task::spawn_blocking(move || again("told", &[("FOLDER", &folder), ("HOOK", &hook), ("PLACE", &place)]))
    };
    let ended = run(place.to_string()).await.unwrap();
    assert!(!ended.status.success(), "{:?} is not passed so often", places().nth(place));
    assert!(ended.status.code().is_none(), "{:?}: {}", places().nth(place), said(&ended));

    let after = run(String::new()).await.unwrap();
    assert!(after.status.success(), "{:?}: {}", places().nth(place), said(&after));
    let list = fs::read(folder.join("ended")).unwrap();
    check_told(receiver, &serde_json::from_slice::<Vec<String>>(&list).unwrap());
}
