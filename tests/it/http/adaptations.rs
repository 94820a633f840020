//! Adaptations: waited for, polled, called off, refused.

use std::sync::atomic::Ordering;
use std::time::Duration;

use imprint::config::ServiceConfig;
use serde_json::json;

use super::app::{Settings, TestApp};
use super::samples::each;

/// Longer than any adaptation of a test takes.
const LONG: &str = "wait=20";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_preference_an_adaptation_is_accepted_and_polled() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;

    let accepted = app.post(&format!("{task}/adaptations"), json!({"seed": 3})).await;
    let place = accepted.header("location").to_owned();
    let _runners = app.runners(1);
    let polled = app.ended(&place).await;

    assert_eq!((accepted.ok(202)["status"].clone(), accepted.header("retry-after")), (json!("queued"), "1"));
    assert_eq!(accepted.header("preference-applied"), "");
    assert_eq!((&polled["result"]["version"], &polled["recipe"]), (&json!(1), &json!({"seed": 3})));
    assert_eq!(polled["status"], "succeeded");
    assert_eq!((&polled["attempt"], &polled["error"]), (&json!(1), &json!(null)));
    assert!(polled["finished_at"].is_string(), "{polled}");
}

/// Long before its lease has run out.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_panics_is_followed_by_another() {
    let settings = Settings::idle();
    let app =
        TestApp::with(Settings { service: ServiceConfig { lease_s: 3_600, ..settings.service }, ..settings }).await;
    let task = app.task().await;
    let accepted = app.post(&format!("{task}/adaptations"), json!({})).await;
    app.clock.is_broken.store(true, Ordering::Relaxed);

    let _runners = app.runners(1);
    // The next to look at the clock is the attempt.
    while app.clock.is_broken.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = app.ended(accepted.header("location")).await;

    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("succeeded"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_runs_out_answers_202() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;

    let answer = app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=0").send().await;

    assert_eq!(answer.ok(202)["status"], "queued");
    assert_eq!(answer.header("preference-applied"), "wait=0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_cut_to_the_longest_that_is_granted() {
    let mut settings = Settings::idle();
    settings.http.max_wait_s = 0;
    let app = TestApp::with(settings).await;
    let task = app.task().await;

    let answer = app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=3600").send().await;

    answer.ok(202);
    assert_eq!(answer.header("preference-applied"), "wait=0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_adaptation_finds_the_adapter_that_is_there() {
    let app = TestApp::start().await;
    let task = app.task().await;

    let versions = [app.adapt(&task).await, app.adapt(&task).await];
    app.add(&task, [9.0, 9.0], "high").await;

    assert_eq!(versions, [1, 1]);
    assert_eq!(app.adapt(&task).await, 2);
}

/// `pair` takes two inner steps if nothing is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_kept_by_taking_fewer_inner_steps_and_the_result_says_how_many() {
    let app = TestApp::start().await;
    let body = json!({"name": "places", "base_model": "pair", "support": super::samples::points()});
    let task = app.post("/v1/tasks", body).await.header("location").to_owned();
    let adapt = async |recipe| {
        let call = app.call("POST", &format!("{task}/adaptations")).header("prefer", LONG);
        call.json(&recipe).send().await.ok(201)
    };

    let hurried = adapt(json!({"latency_budget_ms": 1})).await;
    let unhurried = adapt(json!({"latency_budget_ms": 3_600_000})).await;
    let unbound = adapt(json!({})).await;
    let known = adapt(json!({"latency_budget_ms": 1})).await;
    let verified = app.post(&format!("{task}/adapters/1/verify"), json!({})).await.ok(200);

    assert_eq!((&hurried["latency_budget_ms"], &hurried["recipe"]), (&json!(1), &json!({"seed": 0})));
    assert_eq!(hurried["result"]["recipe"], json!({"inner_steps": 1, "seed": 0}));
    assert_eq!(unhurried["result"]["recipe"], json!({"seed": 0}));
    assert_eq!((&unbound["latency_budget_ms"], &unbound["result"]["version"]), (&json!(null), &json!(2)));
    assert_ne!(hurried["result"]["version"], unhurried["result"]["version"]);
    assert_eq!(known["result"]["version"], 2, "the whole of it is there already");
    assert_eq!(verified["matches"], true, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_refused_where_there_is_nothing_to_save() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;

    let refused = app.post(&format!("{task}/adaptations"), json!({"latency_budget_ms": 50})).await;

    let problem = refused.problem(422, "invalid_values");
    assert_eq!(problem["errors"][0]["pointer"], "/latency_budget_ms", "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_adaptation_leaves_nothing() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let place = app.post(&format!("{task}/adaptations"), json!({})).await.header("location").to_owned();

    let cancelled = app.post(&format!("{place}/cancel"), json!({})).await.ok(200);
    let _runners = app.runners(1);
    let version = app.adapt(&task).await;

    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(app.get(&place).await.ok(200)["status"], "cancelled");
    assert_eq!(version, 1);
}

/// Id of the job that waits, once there is one.
async fn queued(app: &TestApp) -> String {
    loop {
        let list = app.get("/v1/adaptations?status=queued").await.ok(200);
        if let Some(id) = list["data"][0]["id"].as_str() {
            return id.to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_waits_hears_of_a_cancellation() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let cancel = async { app.post(&format!("/v1/adaptations/{}/cancel", queued(&app).await), json!({})).await };

    let call = app.call("POST", &format!("{task}/adaptations")).header("prefer", LONG);
    let (waited, cancelled) = tokio::join!(call.send(), cancel);

    assert_eq!(waited.ok(201)["status"], "cancelled");
    assert_eq!(cancelled.ok(200)["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adaptation_that_fails_while_it_is_waited_for_is_a_problem() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    // Its examples go between its submission and its start.
    let take_away = async {
        let job = queued(&app).await;
        for example in each(&app.get(&format!("{task}/support")).await.ok(200), "id") {
            app.delete(&format!("{task}/support/{}", example.as_str().unwrap())).await.ok(204);
        }
        let _runners = app.runners(1);
        app.ended(&format!("/v1/adaptations/{job}")).await
    };

    let call = app.call("POST", &format!("{task}/adaptations")).header("prefer", LONG);
    let (waited, job) = tokio::join!(call.send(), take_away);

    let problem = waited.problem(422, "adaptation_failed");
    assert_eq!(job["status"], "failed");
    assert_eq!(
        (&job["error"]["code"], &problem["errors"][0]["code"]),
        (&json!("empty_support"), &json!("empty_support"))
    );
    assert_eq!(problem["detail"], job["error"]["detail"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_can_be_of_one_task_and_one_status() {
    let app = TestApp::with(Settings::idle()).await;
    let (one, other) = (app.task().await, app.task().await);
    let mut made = Vec::new();
    for task in [&one, &one, &other] {
        made.push(app.post(&format!("{task}/adaptations"), json!({})).await.ok(202)["id"].clone());
    }
    app.post(&format!("/v1/adaptations/{}/cancel", made[0].as_str().unwrap()), json!({})).await.ok(200);
    let id = one.trim_start_matches("/v1/tasks/");

    let of_task = app.get(&format!("/v1/adaptations?task={id}")).await.ok(200);
    let queued = app.get(&format!("/v1/adaptations?task={id}&status=queued")).await.ok(200);
    let page = app.get("/v1/adaptations?limit=1").await.ok(200);
    let next = app.get(&format!("/v1/adaptations?limit=1&after={}", page["next_cursor"].as_str().unwrap())).await;

    assert_eq!(each(&of_task, "id"), [made[1].clone(), made[0].clone()]);
    assert_eq!(each(&queued, "id"), [made[1].clone()]);
    assert_eq!((each(&page, "id"), each(&next.ok(200), "id")), (vec![made[2].clone()], vec![made[1].clone()]));
}
