//! Who may do what, operation by operation, from the contract itself: what is new is in these tables before anyone
//! thinks of it.

use std::collections::BTreeMap;

use imprint::domain::Scope;
use serde_json::{Value, json};

use super::app::{Answer, Settings, TestApp};
use super::samples::{adapt_predict, points, task};

/// One operation of the document.
struct Operation {
    id: String,
    method: String,
    path: String,
    is_public: bool,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(include_str!("../../../openapi/openapi.json")).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                is_public: operation["security"].as_array().is_some_and(|needs| needs.contains(&json!({}))),
            });
        }
    }
    assert!(found.len() >= 45, "{}", found.len());
    found
}

/// A body that gets as far as the path's ids.
fn body(id: &str) -> Value {
    let query = json!([[1.0, 2.0]]);
    match id {
        "adapt_predict" => adapt_predict(),
        "add_support" | "evaluate" => json!({"examples": [points()[0]]}),
        "classify" => json!({"inputs": ["[1, 2]"], "examples": [], "model": "plane"}),
        "compare" => json!({"versions": [1, 1], "query": query}),
        "create_key" => json!({"scope": "predict"}),
        "create_task" => task(),
        "erase" => json!({"scope": "task", "task": format!("task_{}", "0".repeat(26))}),
        "create_webhook" => json!({"url": "https://example.com/"}),
        "import_adapter" => json!({"weights": "AAAA", "labels": []}),
        "infer" | "infer_version" => {
            json!({"inputs": [{"name": "query", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]})
        }
        "tag" => json!({"inputs": ["Ann met Bob"]}),
        "predict" | "suggest" => json!({"query": query}),
        "rank" => json!({"candidates": [{"input": [0.5, 0.5]}]}),
        "take_feedback" => json!({"prediction_id": format!("pred_{}", "0".repeat(26)), "label": "low"}),
        "search" => json!({"query": "[1, 2]"}),
        "create_monitor" => json!({"label": "high"}),
        _ => json!({}),
    }
}

/// Who gets in and what goes out is for administrators alone.
fn is_administering(path: &str) -> bool {
    ["/v1/audit", "/v1/erase", "/v1/export", "/v1/keys", "/v1/receipts", "/v1/webhooks"]
        .iter()
        .any(|place| path.starts_with(place))
}

fn filled(path: &str, ids: &BTreeMap<&str, String>) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
}

/// Ids that nobody has.
fn nobodys() -> BTreeMap<&'static str, String> {
    let none = |prefix: &str| format!("{prefix}_{}", "0".repeat(26));
    BTreeMap::from([
        ("task", none("task")),
        ("support", none("sup")),
        ("adaptation", none("adpt")),
        ("bulk", none("bulk")),
        ("key", none("key")),
        ("monitor", none("mon")),
        ("webhook", none("wh")),
        ("message", none("msg")),
        ("version", "1".to_owned()),
        ("name", "plane".to_owned()),
        ("code", "not_found".to_owned()),
    ])
}

async fn ask(app: &TestApp, operation: &Operation, key: Option<&str>, ids: &BTreeMap<&str, String>) -> Answer {
    let mut path = filled(&operation.path, ids);
    if operation.id == "delete_named_support" {
        path.push_str("?external_id=mine");
    }
    let call = app.call(&operation.method, &path).header("x-request-id", "same");
    let call = match (operation.method.as_str(), operation.id.as_str()) {
        ("GET", _) => call,
        (_, "create_bulk_prediction") => call.bytes("application/x-ndjson", "{\"input\": [1, 2]}"),
        (_, id) => call.json(&body(id)),
    };
    match key {
        Some(key) => call.key(key).send().await,
        None => call.anonymous().send().await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_but_the_public_ones_needs_a_key() {
    let app = TestApp::with(Settings::idle()).await;
    let mut public = Vec::new();

    for operation in operations() {
        let answer = ask(&app, &operation, None, &nobodys()).await;
        assert_eq!(answer.status != 401, operation.is_public, "{} is {}", operation.id, answer.status);
        if operation.is_public {
            public.push(operation.id);
        }
    }

    public.sort();
    let expected = [
        "describe_problem",
        "inference_live",
        "inference_ready",
        "inference_server",
        "livez",
        "read_docs",
        "readyz",
        "startupz",
    ];
    assert_eq!(public, expected);
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_what_its_scope_says_and_nothing_else() {
    let app = TestApp::with(Settings::idle()).await;
    let keys = [Scope::Predict, Scope::Adapt, Scope::Admin].map(|scope| (scope, app.key_with("anna", scope, None)));
    // What only asks, by name; all other reading is GET.
    let asking = [
        "adapt_predict",
        "classify",
        "compare",
        "evaluate",
        "infer",
        "infer_version",
        "predict",
        "rank",
        "search",
        "suggest",
        "tag",
        "verify_adapter",
    ];

    for (scope, key) in keys {
        let key = key.await;
        for operation in operations().into_iter().filter(|operation| !operation.is_public) {
            let least = match (is_administering(&operation.path), operation.method.as_str()) {
                (true, _) => Scope::Admin,
                (false, "GET") => Scope::Predict,
                (false, _) if asking.contains(&operation.id.as_str()) => Scope::Predict,
                (false, _) => Scope::Adapt,
            };
            let answer = ask(&app, &operation, Some(&key), &nobodys()).await;
            assert_eq!(answer.status == 403, scope < least, "{scope:?} {} is {}", operation.id, answer.status);
            if answer.status == 403 {
                assert_eq!(answer.json()["code"], "insufficient_scope");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_tenant_every_operation_answers_byte_for_byte_as_if_nothing_were_there() {
    let app = TestApp::start().await;
    let place = app.task().await;
    app.adapt(&place).await;
    let first = async |path: &str| app.get(path).await.ok(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let mut ids = nobodys();
    ids.insert("task", place.trim_start_matches("/v1/tasks/").to_owned());
    ids.insert("support", first(&format!("{place}/support")).await);
    ids.insert("adaptation", first("/v1/adaptations").await);
    ids.insert("key", first("/v1/keys").await);
    app.post(&format!("{place}/monitors"), json!({"label": "high"})).await.ok(201);
    ids.insert("monitor", first(&format!("{place}/monitors")).await);
    app.post("/v1/webhooks", json!({"url": "https://example.com/"})).await.ok(201);
    ids.insert("webhook", first("/v1/webhooks").await);
    let lines = app.call("POST", &format!("{place}/bulk-predictions"));
    lines.bytes("application/x-ndjson", "{\"input\": [1, 2]}").send().await.ok(202);
    ids.insert("bulk", first(&format!("{place}/bulk-predictions")).await);
    let stranger = app.key_of("berta").await;
    let before = (app.stored().await, app.get(&place).await.body, app.get("/v1/keys").await.body);
    let mut matched = Vec::new();

    for operation in operations() {
        let owns = ["{task}", "{adaptation}", "{bulk}", "{support}", "{key}", "{monitor}", "{webhook}"]
            .iter()
            .any(|id| operation.path.contains(id));
        if owns {
            let hidden = ask(&app, &operation, Some(&stranger), &ids).await;
            let absent = ask(&app, &operation, Some(&stranger), &nobodys()).await;
            assert_eq!((hidden.status, absent.status), (404, 404), "{}", operation.id);
            assert_eq!(hidden.body, absent.body, "{}", operation.id);
            matched.push(operation.id);
        }
    }

    assert!(matched.len() >= 35, "{}", matched.len());
    assert_eq!((app.stored().await, app.get(&place).await.body, app.get("/v1/keys").await.body), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_shown_once_rotated_and_ended() {
    let app = TestApp::with(Settings::idle()).await;
    let who = async |key: &str| app.call("GET", "/v1/whoami").key(key).send().await;

    let made = app.post("/v1/keys", json!({"scope": "predict", "name": "ci"})).await.ok(201);
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(who(secret).await.ok(200)["scope"], "predict");
    let listed = app.get("/v1/keys").await;
    assert!(!String::from_utf8(listed.body.clone()).unwrap().contains(&secret[30..]), "a secret is listed");
    let first = listed.ok(200)["data"][0].clone();
    assert_eq!((&first["id"], &first["name"]), (&made["key"]["id"], &json!("ci")));

    let place = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    let next = app.post(&format!("{place}/rotate"), json!({"overlap_s": 3600})).await.ok(201);
    assert_eq!((&next["key"]["scope"], &next["key"]["name"]), (&json!("predict"), &json!("ci")));
    let next = next["secret"].as_str().unwrap();
    assert_eq!((who(secret).await.status, who(next).await.status), (200, 200), "both are valid for a while");
    app.pass(3_700_000);
    assert_eq!((who(secret).await.status, who(next).await.status), (401, 200), "and then one");

    app.delete(&place).await.ok(204);
    app.delete(&place).await.problem(404, "not_found");
    let short = app.post("/v1/keys", json!({"scope": "adapt", "expires_in_s": 60})).await.ok(201);
    let short = short["secret"].as_str().unwrap();
    assert_eq!(who(short).await.status, 200);
    app.pass(61_000);
    who(short).await.problem(401, "unauthenticated");
    app.post("/v1/keys", json!({"scope": "adapt", "expires_in_s": 0})).await.problem(422, "invalid_values");
    app.post("/v1/keys", json!({"scope": "everything"})).await.problem(422, "invalid_values");
    let nameless = app.post("/v1/keys", json!({"name": ""})).await.problem(422, "invalid_values");
    let fault = (&nameless["errors"][0]["pointer"], nameless["detail"].as_str().unwrap());
    assert_eq!(fault, (&json!("/scope"), "missing field `scope`: `predict`, `adapt` or `admin`"));
    app.post("/v1/keys", json!({"scope": "adapt", "name": ""})).await.problem(422, "invalid_values");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_once() {
    let app = TestApp::with(Settings::idle()).await;
    let made = app.post("/v1/keys", json!({"scope": "admin"})).await.ok(201);
    let secret = made["secret"].as_str().unwrap();
    app.call("GET", "/v1/tasks").key(secret).send().await.ok(200);

    app.delete(&format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap())).await.ok(204);

    app.call("GET", "/v1/tasks").key(secret).send().await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_rate_is_told_when_to_come_back_and_others_are_not_slowed() {
    let mut settings = Settings::idle();
    settings.service.tenant_requests_per_s = 1;
    let app = TestApp::with(settings).await;
    let other = app.key_of("berta").await;

    let first = app.get("/v1/tasks").await;
    assert_eq!(first.header("ratelimit-policy"), "\"requests\";q=10;w=10");
    assert_eq!(first.header("ratelimit"), "\"requests\";r=9;t=10");
    let mut last = first;
    for _ in 0..30 {
        last = app.get("/v1/tasks").await;
    }
    last.problem(429, "tenant_rate");
    assert_eq!(last.header("retry-after"), "1");
    app.call("GET", "/v1/tasks").key(&other).send().await.ok(200);
    assert_eq!(app.call("GET", "/livez").anonymous().send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_queue_has_an_end() {
    let mut settings = Settings::idle();
    settings.service.tenant_queued_adaptations = 2;
    let app = TestApp::with(settings).await;
    let place = app.task().await;
    for seed in 0..2 {
        app.post(&format!("{place}/adaptations"), json!({"seed": seed})).await.ok(202);
    }

    let third = app.post(&format!("{place}/adaptations"), json!({})).await;

    third.problem(429, "tenant_queue");
    assert_eq!(app.stored().await[2], 2);
}
