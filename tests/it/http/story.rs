//! One life of a task, from its first examples to its end.

use imprint::domain::AdapterBlob;
use serde_json::{Value, json};

use super::app::TestApp;
use super::samples::{each, points};

fn labels(predicted: &Value) -> Vec<&str> {
    let predictions = predicted["predictions"].as_array().unwrap();
    predictions.iter().map(|prediction| prediction["label"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_lives_from_its_first_examples_to_its_end() {
    let app = TestApp::start().await;
    let query = json!({"query": [[5.0, 5.0], [0.0, 0.0]]});

    // A task, and examples for it.
    let created = app.post("/v1/tasks", json!({"name": "places", "base_model": "plane"})).await;
    let task = created.header("location").to_owned();
    assert_eq!(created.ok(201)["state"], "empty");
    app.post(&format!("{task}/predict"), query.clone()).await.problem(409, "not_adapted");
    let added = app.post(&format!("{task}/support"), json!({"examples": points()})).await.ok(200);
    assert_eq!((&added["added"], &added["support_count"]), (&json!(4), &json!(4)));
    assert_eq!(app.get(&task).await.ok(200)["state"], "unadapted");

    // Adapted once, it answers.
    let adapted = app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=20").send().await;
    assert_eq!(adapted.header("preference-applied"), "wait=20");
    let first = adapted.ok(201);
    assert_eq!((&first["status"], &first["result"]["version"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(first["result"]["quality"]["accuracy"], 1.0);
    let ready = app.get(&task).await.ok(200);
    assert_eq!((&ready["state"], &ready["active_version"]), (&json!("ready"), &json!(1)));
    let predicted = app.post(&format!("{task}/predict"), query.clone()).await.ok(200);
    assert_eq!((labels(&predicted), &predicted["version"]), (vec!["high", "low"], &json!(1)));

    // An example under another label, and a second version that is not promoted at once.
    app.add(&task, [5.0, 5.0], "middle").await;
    let second = app.call("POST", &format!("{task}/adaptations")).json(&json!({"promote": false}));
    assert_eq!(second.header("prefer", "wait=20").send().await.ok(201)["result"]["version"], 2);
    assert_eq!(app.post(&format!("{task}/predict"), query.clone()).await.ok(200)["version"], 1);
    let pinned = json!({"query": [[5.0, 5.0]], "version": 2});
    assert_eq!(labels(&app.post(&format!("{task}/predict"), pinned).await.ok(200)), ["middle"]);

    // Versions: listed, fetched, promoted, rolled back.
    let adapters = app.get(&format!("{task}/adapters")).await.ok(200);
    assert_eq!(each(&adapters, "version"), [2, 1]);
    assert_eq!(adapters["data"][0]["labels"], json!(["low", "high", "middle"]));
    let weights = app.get(&format!("{task}/adapters/1/weights")).await;
    assert_eq!(weights.header("content-type"), "application/octet-stream");
    let sha256 = AdapterBlob::new(weights.body.clone()).sha256().to_owned();
    assert_eq!(weights.header("etag"), format!("\"{sha256}\""));
    assert_eq!(app.get(&format!("{task}/adapters/1")).await.ok(200)["sha256"], sha256);
    assert_eq!(app.post(&format!("{task}/adapters/2/promote"), json!({})).await.ok(200)["active_version"], 2);
    assert_eq!(labels(&app.post(&format!("{task}/predict"), query).await.ok(200))[0], "middle");
    assert_eq!(app.post(&format!("{task}/rollback"), json!({})).await.ok(200)["active_version"], 1);

    // Its end takes everything with it.
    app.delete(&task).await.ok(204);
    app.get(&task).await.problem(404, "not_found");
    app.get(&format!("/v1/adaptations/{}", first["id"].as_str().unwrap())).await.problem(404, "not_found");
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}
