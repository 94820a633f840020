//! The OpenAPI document: committed, served, and true of the routes.

use serde_json::Value;

use super::app::{Settings, TestApp};

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let committed = include_str!("../../../openapi/openapi.json");

    let built = imprint::http::openapi().to_pretty_json().unwrap();

    assert!(
        committed.trim_end() == built,
        "run `cargo run -- openapi > openapi/openapi.json` and look at the difference"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_document_is_served() {
    let app = TestApp::with(Settings::idle()).await;
    let served = app.get("/openapi.json").await.ok(200);
    let documented: Value = serde_json::from_str(include_str!("../../../openapi/openapi.json")).unwrap();
    assert!(served == documented, "the served document is not the committed one");

    let mut operations = 0;
    for (path, item) in served["paths"].as_object().unwrap() {
        let concrete = path.replace("{name}", "plane").replace("{version}", "1").replace("{code}", "not_found");
        let concrete = concrete
            .replace("{task}", &format!("task_{}", "0".repeat(26)))
            .replace("{webhook}", &format!("wh_{}", "0".repeat(26)))
            .replace("{message}", &format!("msg_{}", "0".repeat(26)))
            .replace("{bulk}", &format!("bulk_{}", "0".repeat(26)))
            .replace("{key}", &format!("key_{}", "0".repeat(26)))
            .replace("{support}", &format!("sup_{}", "0".repeat(26)))
            .replace("{adaptation}", &format!("adpt_{}", "0".repeat(26)));
        for method in item.as_object().unwrap().keys() {
            let answer = app.call(&method.to_uppercase(), &concrete).send().await;
            // An id that nobody has, or an empty body: anything but a path or a method that is not there.
            let detail = if answer.status >= 400 { answer.json()["detail"].to_string() } else { String::new() };
            assert!(answer.status != 405 && !detail.contains("nothing at this path"), "{method} {path}: {detail}");
            operations += 1;
        }
    }
    assert!(operations >= 24, "{operations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_there_and_a_method_that_is_not_taken_are_problems() {
    let app = TestApp::with(Settings::idle()).await;

    app.get("/v1/nothing").await.problem(404, "not_found");
    app.get("/v1/tasks/").await.problem(404, "not_found");
    app.get("/problems/nonsense").await.problem(404, "not_found");
    let not_taken = app.call("PUT", "/v1/tasks").send().await;
    not_taken.problem(405, "method_not_allowed");
    let mut taken: Vec<_> = not_taken.header("allow").split(',').collect();
    taken.sort_unstable();
    assert_eq!(taken, ["GET", "HEAD", "POST"]);
    app.call("TRACE", "/v1/tasks").send().await.problem(405, "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_id_comes_back_and_another_is_replaced() {
    let app = TestApp::with(Settings::idle()).await;
    let ask = |id: &str| app.call("GET", "/v1/nothing").header("x-request-id", id).send();

    assert_eq!(ask("trace-7.a_B").await.header("x-request-id"), "trace-7.a_B");
    for hostile in ["", "a b", "<script>", "\"quoted\"", &"x".repeat(65)] {
        assert!(ask(hostile).await.header("x-request-id").starts_with("req_"), "{hostile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_the_ones_that_the_server_was_started_with() {
    let mut settings = Settings::idle();
    settings.http.max_body_bytes = 12_345;
    settings.service.max_inner_steps = 3;
    (settings.http.max_upload_bytes, settings.service.webhooks.max_webhooks) = (54_321, 2);
    let app = TestApp::with(settings).await;

    let limits = app.get("/v1/limits").await.ok(200);

    assert_eq!((&limits["max_body_bytes"], &limits["max_inner_steps"]), (&12_345.into(), &3.into()));
    assert_eq!((&limits["max_upload_bytes"], &limits["max_webhooks"]), (&54_321.into(), &2.into()));
    assert!(limits["engine_queue_per_tenant"].as_u64() > Some(0) && limits["max_command_mib"].as_u64() > Some(0));
}
