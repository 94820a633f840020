//! Bulk predictions: lines in, a job, lines out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::app::{Answer, Settings, TestApp};
use super::samples::each;

const LINES: &str = "application/x-ndjson";

async fn submit(app: &TestApp, task: &str, query: &str, body: impl Into<Vec<u8>>) -> Answer {
    app.call("POST", &format!("{task}/bulk-predictions{query}")).bytes(LINES, body).send().await
}

/// Points of the plane, a line each.
fn points(count: usize) -> String {
    let line = |at: usize| json!({"input": [at % 7, at % 5], "external_id": format!("p{at}")}).to_string() + "\n";
    (0..count).map(line).collect()
}

async fn output(app: &TestApp, place: &str, from: usize) -> Vec<Value> {
    let answer = app.get(&format!("{place}/output?from={from}")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, LINES));
    let text = String::from_utf8(answer.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn indices(lines: &[Value]) -> Vec<usize> {
    lines.iter().map(|line| usize::try_from(line["index"].as_u64().unwrap()).unwrap()).collect()
}

/// Waits until it is as it should be.
async fn until(app: &TestApp, place: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let bulk = app.get(place).await.ok(200);
        if is_so(&bulk) {
            return bulk;
        }
        assert!(Instant::now() < deadline, "{bulk}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_answered_in_its_place_as_it_would_be_alone() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let lines = [
        r#"{"input": [5, 5], "external_id": "a"}"#,
        r#"{"input": [0, 0]}"#,
        "",
        r#"{"input": [1], "external_id": "narrow"}"#,
        "nonsense",
        r#"{"input": [5, 6], "label": "high"}"#,
        r#"{"input": [4, 4]}"#,
    ];

    let taken = submit(&app, &task, "?top_k=2", lines.join("\n")).await;
    let place = taken.header("location").to_owned();
    let done = until(&app, &place, |bulk| bulk["finished_at"].is_string()).await;

    assert_eq!((taken.status, &taken.json()["lines"]), (202, &json!(6)));
    assert_eq!((&done["status"], &done["answered"], &done["refused"]), (&json!("succeeded"), &json!(3), &json!(3)));
    assert_eq!((&done["version"], &done["error"]), (&json!(1), &Value::Null));
    let found = output(&app, &place, 0).await;
    assert_eq!(indices(&found), [0, 1, 2, 3, 4, 5]);
    let query = json!({"query": [[5, 5], [0, 0], [4, 4]], "top_k": 2});
    let alone = app.post(&format!("{task}/predict"), query).await.ok(200);
    for (line, expected) in [&found[0], &found[1], &found[5]].iter().zip(alone["predictions"].as_array().unwrap()) {
        for field in ["label", "confidence", "scores"] {
            assert_eq!(line["prediction"][field], expected[field], "{line}");
        }
        assert!(line["prediction"]["id"].is_null() && line["errors"].is_null());
    }
    assert_eq!((&found[0]["external_id"], &found[2]["external_id"]), (&json!("a"), &json!("narrow")));
    let wrong = |line: &Value| (line["errors"][0]["pointer"].clone(), line["errors"][0]["code"].clone());
    assert_eq!(wrong(&found[2]), (json!("/input"), json!("wrong_width")));
    assert_eq!(wrong(&found[3]), (json!(""), json!("wrong_form")));
    assert_eq!(wrong(&found[4]).1, json!("wrong_form"));
    let listed = app.get(&format!("{task}/bulk-predictions")).await.ok(200);
    assert_eq!(each(&listed, "id"), [done["id"].clone()]);
    let usage = app.get("/v1/usage").await.ok(200);
    assert_eq!((&usage["stored"]["bulk_predictions"], &usage["stored"]["bulk_bytes"]), (&json!(1), &done["bytes"]));
    app.delete(&place).await.ok(204);
    app.get(&place).await.problem(404, "not_found");
    app.get(&format!("{place}/output")).await.problem(404, "not_found");
}

/// Runners are dropped in the middle of their work, as if their process had been killed.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_answers_is_lost_again_and_again_and_no_line_is_lost_or_doubled() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let runners = app.runners(1);
    app.adapt(&task).await;
    drop(runners);
    let count = 3_000;
    let place = submit(&app, &task, "", points(count)).await.header("location").to_owned();
    let (mut seen, mut losses) = (Vec::new(), 0);

    loop {
        let runners = app.runners(1);
        let before = seen.len();
        let bulk = until(&app, &place, |bulk| {
            bulk["finished_at"].is_string() || bulk["answered"].as_u64().unwrap() > before as u64
        })
        .await;
        drop(runners);
        seen.extend(output(&app, &place, seen.len()).await);
        if bulk["finished_at"].is_string() {
            break;
        }
        losses += 1;
        app.sql("UPDATE bulks SET lease_until = 0 WHERE status = 'running'").await;
    }
    seen.extend(output(&app, &place, seen.len()).await);

    assert_eq!(indices(&seen), (0..count).collect::<Vec<_>>());
    let names: BTreeSet<String> = seen.iter().map(|line| line["external_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), count);
    assert_eq!(output(&app, &place, 0).await, seen);
    assert!(losses >= 3, "{losses}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_off_keeps_what_was_answered_and_one_version_answers_all() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let runners = app.runners(1);
    app.adapt(&task).await;
    drop(runners);

    let place = submit(&app, &task, "", points(100)).await.header("location").to_owned();
    let cancelled = app.post(&format!("{place}/cancel"), json!({})).await.ok(200);
    let other = submit(&app, &task, "", points(3)).await.header("location").to_owned();
    app.add(&task, [9.0, 9.0], "far").await;
    let _runners = app.runners(1);
    app.adapt(&task).await;

    let done = until(&app, &other, |bulk| bulk["finished_at"].is_string()).await;
    assert_eq!((&done["status"], &done["version"]), (&json!("succeeded"), &json!(1)));
    assert_eq!((&cancelled["status"], &cancelled["answered"]), (&json!("cancelled"), &json!(0)));
    assert_eq!(app.get(&place).await.ok(200), cancelled);
    assert_eq!(output(&app, &place, 0).await.len(), 0);
    assert!(cancelled["expires_at"].as_str() > cancelled["finished_at"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_nothing_and_a_repeated_request_makes_one() {
    let mut settings = Settings::default();
    (settings.service.tenant_bulks, settings.service.tenant_bulk_mib) = (2, 0);
    settings.http.max_body_bytes = 2_000;
    let app = TestApp::with(settings).await;
    let task = app.task().await;
    let refused = async |content_type: &str, body: String, status: u16, code: &str| {
        let call = app.call("POST", &format!("{task}/bulk-predictions")).bytes(content_type, body);
        call.send().await.problem(status, code)
    };
    refused(LINES, points(1), 409, "not_adapted").await;
    app.adapt(&task).await;

    refused("application/json", points(1), 415, "unsupported_media_type").await;
    refused(LINES, String::new(), 422, "invalid_values").await;
    refused(LINES, points(1) + &"x".repeat(3_000), 413, "body_too_large").await;
    refused(LINES, points(1), 422, "invalid_values").await; // not a byte may be kept
    submit(&app, &task, "?top_k=0", points(1)).await.problem(422, "invalid_values");
    submit(&app, &task, "?version=7", points(1)).await.problem(404, "not_found");
    assert_eq!(each(&app.get(&format!("{task}/bulk-predictions")).await.ok(200), "id"), [] as [Value; 0]);

    let app = TestApp::with(Settings::default()).await;
    let task = app.task().await;
    app.adapt(&task).await;
    let once = || {
        let call = app.call("POST", &format!("{task}/bulk-predictions")).header("idempotency-key", "k");
        call.bytes(LINES, points(5)).send()
    };
    assert_eq!(once().await.ok(202)["id"], once().await.ok(202)["id"]);
    assert_eq!(each(&app.get(&format!("{task}/bulk-predictions")).await.ok(200), "lines"), [json!(5)]);
}
