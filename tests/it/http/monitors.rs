//! Monitors of a task's predictions.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::app::TestApp;

/// A monitor of the label `high` on an adapted task of two labels: the task and the monitor.
async fn watched(app: &TestApp, more: &Value) -> (String, String) {
    let task = app.task().await;
    app.adapt(&task).await;
    let mut body = json!({"label": "high", "baseline": 0.1, "ratio": 4.0, "false_alarm_every": 1000, "window": 50});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = app.post(&format!("{task}/monitors"), body).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    (task, made.header("location").to_owned())
}

/// Asks for so many predictions, of which this share is `high`.
async fn ask(app: &TestApp, task: &str, count: usize, share: f64, rng: &mut ChaCha8Rng) {
    let point = |is_high: bool| if is_high { json!([5.0, 5.0]) } else { json!([0.0, 0.0]) };
    for start in (0..count).step_by(5) {
        let query: Vec<Value> = (start..(start + 5).min(count)).map(|_| point(rng.random_bool(share))).collect();
        app.post(&format!("{task}/predict"), json!({"query": query})).await.ok(200);
    }
}

/// A stream of predictions with two planted surges: both are seen soon, each ends, and nothing else is told.
#[tokio::test(flavor = "multi_thread")]
async fn surges_in_a_replayed_stream_are_seen_soon_and_nothing_else_is() {
    let app = TestApp::start().await;
    let (task, monitor) = watched(&app, &json!({})).await;
    let rng = &mut ChaCha8Rng::seed_from_u64(11);

    for share in [0.1, 0.4, 0.1, 0.4, 0.1] {
        ask(&app, &task, 300, share, rng).await;
    }

    let events = app.get(&format!("{monitor}/events")).await.ok(200);
    let mut seen: Vec<(String, u64)> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["change"].as_str().unwrap().to_owned(), event["seen"].as_u64().unwrap()))
        .collect();
    seen.reverse();
    let changes: Vec<&str> = seen.iter().map(|(change, _)| change.as_str()).collect();
    assert_eq!(changes, ["raised", "cleared", "raised", "cleared"], "{seen:?}");
    for ((_, at), began) in seen.iter().zip([300, 600, 900, 1_200]) {
        assert!((began..began + 150).contains(at), "planted at {began}, seen at {at}");
    }
    let now = app.get(&monitor).await.ok(200);
    assert_eq!((&now["status"], &now["seen"]), (&json!("steady"), &json!(1500)));
    assert!(now["share"].as_f64().unwrap() < 0.3 && now["expected_delay"].as_f64().unwrap() < 45.0, "{now}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_learns_what_is_usual_and_begins_anew_when_its_rule_changes() {
    let app = TestApp::start().await;
    let (task, monitor) = watched(&app, &json!({"baseline": null})).await;
    assert_eq!(app.get(&monitor).await.ok(200)["status"], "learning");
    ask(&app, &task, 50, 0.2, &mut ChaCha8Rng::seed_from_u64(1)).await;
    let learned = app.get(&monitor).await.ok(200);
    assert_eq!(learned["status"], "steady");
    assert!(learned["baseline"].as_f64().unwrap() > learned["share"].as_f64().unwrap());

    let renamed = app.call("PATCH", &monitor).json(&json!({"name": "complaints"})).send().await.ok(200);
    assert_eq!((&renamed["name"], &renamed["seen"]), (&json!("complaints"), &json!(50)));
    let changed = app.call("PATCH", &monitor).json(&json!({"ratio": 0.5})).send().await.ok(200);
    assert_eq!((&changed["status"], &changed["seen"]), (&json!("learning"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_is_listed_hidden_from_others_and_goes_with_its_task() {
    let app = TestApp::start().await;
    let (task, monitor) = watched(&app, &json!({"name": "surge"})).await;
    let listed = app.get(&format!("{task}/monitors")).await.ok(200);
    assert_eq!((&listed["data"][0]["name"], &listed["data"][0]["label"]), (&json!("surge"), &json!("high")));

    let stranger = app.key_of("berta").await;
    for (method, path) in [("GET", monitor.clone()), ("GET", format!("{monitor}/events")), ("DELETE", monitor.clone())]
    {
        app.call(method, &path).key(&stranger).send().await.problem(404, "not_found");
    }
    app.call("PATCH", &monitor).key(&stranger).json(&json!({"ratio": 3.0})).send().await.problem(404, "not_found");

    let (_, other) = watched(&app, &json!({})).await;
    assert_eq!(app.call("DELETE", &other).send().await.status, 204);
    app.get(&other).await.problem(404, "not_found");
    assert_eq!(app.call("DELETE", &task).send().await.status, 204);
    app.get(&monitor).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_makes_no_sense_is_refused_with_its_place() {
    let app = TestApp::start().await;
    let task = app.task().await;
    for (body, code, pointer) in [
        (json!({"label": "nowhere"}), "unknown_label", "/label"),
        (json!({"label": "high", "baseline": 0.0}), "no_share", "/baseline"),
        (json!({"label": "high", "baseline": 1.5}), "no_share", "/baseline"),
        (json!({"label": "high", "baseline": 1e-9}), "no_share", "/baseline"),
        (json!({"label": "high", "ratio": 1.0}), "wrong_ratio", "/ratio"),
        (json!({"label": "high", "ratio": -2.0}), "wrong_ratio", "/ratio"),
        (json!({"label": "high", "ratio": 1e9}), "wrong_ratio", "/ratio"),
        (json!({"label": "high", "window": 5}), "out_of_range", "/window"),
        (json!({"label": "high", "false_alarm_every": 1}), "out_of_range", "/false_alarm_every"),
        (json!({"label": "high", "name": ""}), "bad_name", "/name"),
    ] {
        let refused = app.post(&format!("{task}/monitors"), body.clone()).await;
        let problem = refused.problem(422, "invalid_values");
        assert_eq!(
            (&problem["errors"][0]["code"], &problem["errors"][0]["pointer"]),
            (&json!(code), &json!(pointer)),
            "{body}"
        );
    }
    assert_eq!(app.get(&format!("{task}/monitors")).await.ok(200)["data"], json!([]));
}
