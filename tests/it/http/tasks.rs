//! Tasks.

use serde_json::json;

use super::app::TestApp;
use super::samples::{each, task, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_counts_the_examples_of_each_label() {
    let app = TestApp::start().await;

    let task = app.get(&app.task().await).await.ok(200);

    let counts = json!([{"name": "low", "support_count": 2}, {"name": "high", "support_count": 2}]);
    assert_eq!((&task["labels"], &task["support_count"]), (&counts, &json!(4)));
    assert_eq!((&task["kind"], &task["active_version"]), (&json!("classification"), &json!(null)));
    assert_eq!((&task["created_at"], &task["updated_at"]), (&task["updated_at"], &task["created_at"]));
    assert!(task["created_at"].as_str().unwrap().starts_with("2026-11-23T18:41:00."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_one_wrong_example_is_not_made() {
    let app = TestApp::start().await;

    let body = with(task(), "/support/2/input", json!([1.0]));
    let problem = app.post("/v1/tasks", body).await.problem(422, "invalid_values");

    assert_eq!(problem["errors"][0]["pointer"], "/support/2/input");
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_applies_only_to_the_revision_that_was_read() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let read = app.get(&task).await;
    let etag = read.header("etag");
    assert_eq!(read.json()["etag"], etag);

    let rename = |name: &str| app.call("PATCH", &task).json(&json!({"name": name, "metadata": {"owner": "ops"}}));
    let renamed = rename("spots").header("if-match", etag).send().await;
    let late = rename("sites").header("if-match", etag).send().await;
    let anyway = rename("dots").header("if-match", "*").send().await;

    assert_eq!((&renamed.ok(200)["name"], &renamed.json()["metadata"]), (&json!("spots"), &json!({"owner": "ops"})));
    assert_ne!(renamed.header("etag"), etag);
    late.problem(412, "changed");
    assert_eq!(anyway.ok(200)["name"], "dots");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_label_list_is_opened_only_by_a_patch() {
    let app = TestApp::start().await;
    let body = json!({"name": "places", "base_model": "plane", "labels": ["low", "high"]});
    let task = app.post("/v1/tasks", body).await.header("location").to_owned();
    let example = json!({"examples": [{"input": [1, 2], "label": "middle"}]});

    let refused = app.post(&format!("{task}/support"), example.clone()).await;
    let patched = app.call("PATCH", &task).json(&json!({"add_labels": ["middle"]})).send().await;
    let added = app.post(&format!("{task}/support"), example).await;

    assert_eq!(refused.problem(422, "invalid_values")["errors"][0]["code"], "unknown_label");
    assert_eq!(patched.ok(200)["labels"][2], json!({"name": "middle", "support_count": 0}));
    assert_eq!(added.ok(200)["added"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_walk_all_tasks_newest_first() {
    let app = TestApp::start().await;
    let mut made = Vec::new();
    for number in 0..5 {
        let task = app.post("/v1/tasks", json!({"name": format!("task {number}"), "base_model": "line"})).await;
        made.insert(0, task.ok(201)["id"].clone());
    }

    let mut walked = Vec::new();
    let mut page = app.get("/v1/tasks?limit=2").await.ok(200);
    walked.append(&mut each(&page, "id"));
    while let Some(cursor) = page["next_cursor"].as_str() {
        assert_eq!(page["has_more"], true);
        page = app.get(&format!("/v1/tasks?limit=2&after={cursor}")).await.ok(200);
        walked.append(&mut each(&page, "id"));
    }

    assert_eq!(walked, made);
    assert_eq!((&page["has_more"], &page["object"]), (&json!(false), &json!("list")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_no_more_tasks_than_the_limit() {
    let mut settings = super::app::Settings::idle();
    settings.service.max_tasks = 1;
    let app = TestApp::with(settings).await;
    app.task().await;

    let problem = app.post("/v1/tasks", task()).await.problem(422, "invalid_values");

    assert_eq!(problem["errors"][0]["code"], "too_many");
    assert_eq!(app.stored().await, [1, 4, 0, 0]);
}
