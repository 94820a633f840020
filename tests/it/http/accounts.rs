//! What a tenant had, what was done to its things, taking them all away, and having them erased.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use imprint::config::ServiceConfig;
use imprint::domain::{Erasure, Scope, SystemIds};
use imprint::http::{Operator, admin};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::app::{Settings, TestApp};
use super::samples::each;

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len() / 2).map(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap()).collect()
}

/// Whether a receipt is signed with the key that it names, and says what is beside it.
fn is_genuine(receipt: &Value) -> bool {
    let signed = receipt["signed"].as_str().unwrap();
    let key = UnparsedPublicKey::new(&ED25519, bytes(&receipt["public_key"]));
    let said: Value = serde_json::from_str(signed).unwrap();
    key.verify(signed.as_bytes(), &bytes(&receipt["signature"])).is_ok()
        && said["removed"] == receipt["removed"]
        && said["remaining"] == receipt["remaining"]
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_counts_what_was_had() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    app.post(&format!("{task}/predict"), json!({"query": [[1, 2], [3, 4]]})).await.ok(200);
    app.post("/v1/adapt-predict", super::samples::adapt_predict()).await.ok(200);

    let usage = app.get("/v1/usage").await.ok(200);

    let day = &usage["days"][0];
    assert!(day["requests"].as_u64().unwrap() >= 4, "{usage}");
    assert_eq!(day["adaptations"], 2, "{usage}");
    assert!(day["predictions"].as_u64().unwrap() >= 3, "{usage}");
    assert_eq!((&usage["stored"]["tasks"], &usage["stored"]["support"]), (&json!(1), &json!(4)));
    assert!(usage["stored"]["adapter_bytes"].as_u64().unwrap() > 100, "{usage}");
    assert_eq!(app.get("/v1/usage?from=1970-01-01&to=1970-01-02").await.ok(200)["days"], json!([]));
    app.get("/v1/usage?from=yesterday").await.problem(400, "invalid_query");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_what_was_not_allowed_is_noted() {
    let app = TestApp::with(Settings::idle()).await;
    let reader = app.key_with("anna", Scope::Predict, None).await;
    let task = app.task().await;
    app.get(&task).await.ok(200);
    let refused = app.call("DELETE", &task).key(&reader).header("x-forwarded-for", "203.0.113.7").send().await;
    refused.problem(403, "insufficient_scope");
    app.call("DELETE", &task).header("x-request-id", "mine").send().await.ok(204);
    app.delete(&task).await.problem(404, "not_found");

    let audit = app.get("/v1/audit").await.ok(200);

    let methods: Vec<_> = each(&audit, "method").into_iter().zip(each(&audit, "status")).collect();
    assert_eq!(methods, [(json!("DELETE"), json!(204)), (json!("DELETE"), json!(403)), (json!("POST"), json!(201))]);
    assert_eq!((&audit["data"][0]["path"], &audit["data"][0]["request_id"]), (&json!(task), &json!("mine")));
    assert_eq!(audit["data"][1]["forwarded_for"], "203.0.113.7");
    assert_ne!(audit["data"][0]["key"], audit["data"][1]["key"]);
    app.call("GET", "/v1/audit").key(&reader).send().await.problem(403, "insufficient_scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_leaves_a_trace_of_what_was_done() {
    let app = TestApp::with(Settings::idle()).await;
    for pause in 0..40 {
        let made = app.post("/v1/tasks", super::samples::task());
        let _ = tokio::time::timeout(Duration::from_micros(pause * 100), made).await;
    }
    app.task().await;
    tokio::time::sleep(Duration::from_millis(500)).await; // for the deeds that nobody waits for

    let made = app.stored().await[0];
    let noted = app.get("/v1/audit?limit=100").await.ok(200);

    assert_eq!(noted["data"].as_array().unwrap().len(), usize::try_from(made).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_counts_as_a_request_and_is_noted_in_few_words() {
    let settings = Settings::idle();
    let service = ServiceConfig { tenant_requests_per_s: 1, ..settings.service };
    let app = TestApp::with(Settings { service, ..settings }).await;
    let reader = app.key_with("anna", Scope::Predict, None).await;

    let mut answers = Vec::new();
    for _ in 0..20 {
        let path = format!("/v1/tasks/{}", "x".repeat(2_000));
        answers.push(app.call("DELETE", &path).key(&reader).send().await.status);
    }

    assert!(answers[0] == 403 && answers.contains(&429), "{answers:?}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let noted = app.get("/v1/audit").await.ok(200);
    assert!(noted["data"].as_array().unwrap().len() < 15, "{noted}");
    assert_eq!(noted["data"][0]["path"].as_str().unwrap().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_example_is_gone_from_adapters_and_the_receipt_is_signed() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let id = task.trim_start_matches("/v1/tasks/").to_owned();
    assert_eq!(app.adapt(&task).await, 1);
    let before = app.post(&format!("{task}/predict"), json!({"query": [[1, 2]]})).await.ok(200);
    let secret = app.add(&task, [9.0, 9.0], "low").await["ids"][0].clone();
    assert_eq!(app.adapt(&task).await, 2);

    let body = json!({"scope": "example", "task": id, "support": secret});
    let receipt = app.post("/v1/erase", body.clone()).await.ok(200);

    assert!(is_genuine(&receipt), "{receipt}");
    let forged = receipt["signed"].as_str().unwrap().replace("\"support\":1", "\"support\":2");
    assert!(!is_genuine(&super::samples::with(receipt.clone(), "/signed", json!(forged))));
    assert_eq!((&receipt["removed"]["support"], &receipt["removed"]["adapters"]), (&json!(1), &json!(1)));
    assert!(receipt["remaining"].as_object().unwrap().values().all(|count| *count == json!(0)), "{receipt}");
    app.get(&format!("{task}/adapters/2")).await.problem(404, "not_found");
    app.post("/v1/erase", body).await.problem(404, "not_found");
    let kept = app.get("/v1/receipts").await.ok(200)["data"][0].clone();
    assert!(is_genuine(&kept) && kept["signed"] == receipt["signed"], "{kept}");
    // What is left is adapted again: it is what there was before, bit for bit.
    let again = receipt["adaptation"].as_str().unwrap().to_owned();
    while app.get(&format!("/v1/adaptations/{again}")).await.ok(200)["status"] != "succeeded" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let after = app.post(&format!("{task}/predict"), json!({"query": [[1, 2]]})).await.ok(200);
    assert_eq!(after["predictions"][0]["scores"], before["predictions"][0]["scores"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_ends_when_nobody_waits_for_it_and_is_found_when_it_is_repeated() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let id = task.trim_start_matches("/v1/tasks/").parse().unwrap();
    app.adapt(&task).await;
    let secret = app.add(&task, [9.0, 9.0], "low").await["ids"][0].as_str().unwrap().parse().unwrap();
    app.adapt(&task).await;
    let tenant = app.get("/v1/whoami").await.ok(200)["tenant"].as_str().unwrap().parse().unwrap();
    let what = Erasure::Example(id, secret);
    let same = app.service.with_ids_from([7; 32]);
    let all = async |app: &TestApp| each(&app.get("/v1/adaptations").await.ok(200), "id");
    let before = all(&app).await;

    let hung_up = tokio::time::timeout(Duration::ZERO, same.erase(tenant, what)).await;

    assert!(hung_up.is_err());
    let mut waits = 0;
    while all(&app).await.iter().all(|id| before.contains(id)) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        waits += 1;
        assert!(waits < 500, "what is left is not adapted");
    }
    let repeated = app.service.with_ids_from([7; 32]).erase(tenant, what).await.unwrap();
    let receipts = app.get("/v1/receipts").await.ok(200);
    assert_eq!(each(&receipts, "signed"), [repeated.receipt.text]);
    assert!(app.service.erase(tenant, what).await.is_err(), "under other ids it is another request");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_that_everyone_is_is_there_again_when_it_is_erased() {
    let settings = Settings::idle();
    let service = ServiceConfig { no_auth: true, ..settings.service };
    let app = TestApp::with(Settings { service, ..settings }).await;
    let task = app.task().await;

    let berta = app.key_of("berta").await;
    let other = app.store.find_tenant("berta").await.unwrap().unwrap().id;
    app.service.erase(other, Erasure::Tenant).await.unwrap();
    app.post("/v1/erase", json!({"scope": "tenant"})).await.ok(200);

    app.get(&task).await.problem(404, "not_found");
    app.task().await;
    assert!(!berta.is_empty() && app.store.find_tenant("berta").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_tenant_is_nobody() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let berta = app.key_of("berta").await;

    let receipt = app.post("/v1/erase", json!({"scope": "tenant"})).await.ok(200);

    assert!(is_genuine(&receipt), "{receipt}");
    assert_eq!((&receipt["removed"]["tasks"], &receipt["removed"]["keys"]), (&json!(1), &json!(1)));
    app.get("/v1/tasks").await.problem(401, "unauthenticated");
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
    app.call("GET", "/v1/tasks").key(&berta).send().await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_everything_and_an_end() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    app.task().await;
    app.post(&format!("{task}/monitors"), json!({"label": "high", "baseline": 0.1, "ratio": 9})).await.ok(201);
    for _ in 0..20 {
        let query = [[5.0, 5.0]; 5];
        app.post(&format!("{task}/predict"), json!({"query": query, "store": true})).await.ok(200);
    }
    let webhook = app.post("/v1/webhooks", json!({"url": "https://example.com/"})).await.ok(201)["webhook"].clone();
    app.post(&format!("/v1/webhooks/{}/test", webhook["id"].as_str().unwrap()), json!({})).await.ok(202);
    let bulk = app.call("POST", &format!("{task}/bulk-predictions"));
    let bulk = bulk.bytes("application/x-ndjson", "{\"input\": [1, 2]}\n".repeat(70)).send().await;
    app.ended(bulk.header("location")).await;

    let answer = app.get("/v1/export").await;

    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<Value> = answer
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let count = |object: &str| lines.iter().filter(|line| line["object"] == object).count();
    assert_eq!((count("task"), count("support"), count("adaptation"), count("adapter")), (2, 8, 1, 1));
    assert!(count("key") == 1 && count("audit.entry") == 7 && count("usage") >= 1, "{lines:?}");
    assert_eq!((count("promotion"), count("prediction"), count("monitor"), count("webhook")), (1, 100, 1, 1));
    assert!(count("monitor.event") >= 1 && count("delivery") >= 1, "{lines:?}");
    assert_eq!((count("bulk_prediction"), count("bulk_prediction.line")), (1, 70));
    let adapter = lines.iter().find(|line| line["object"] == "adapter").unwrap();
    let weights = app.get(&format!("{task}/adapters/1/weights")).await.body;
    assert_eq!(adapter["weights"], super::samples::base64(&weights));
    let end = lines.last().unwrap();
    assert_eq!((&end["object"], end["lines"].as_u64().unwrap()), (&json!("end"), lines.len() as u64 - 1));
}

async fn operate(router: &Router, method: &str, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_make_tenants_and_keys_with_their_token_alone() {
    let app = TestApp::with(Settings::idle()).await;
    let anywhere: SocketAddr = "0.0.0.0:9000".parse().unwrap();
    let local: SocketAddr = "127.0.0.1:9000".parse().unwrap();
    assert!(Operator::new(None, anywhere).is_none() && Operator::new(None, local).is_some());
    let operator = Operator::new(Some("a token of some length\n"), anywhere);
    let router = admin(|| "metrics".to_owned(), operator, app.service.clone(), Arc::new(SystemIds));
    let closed = admin(|| "metrics".to_owned(), None, app.service.clone(), Arc::new(SystemIds));
    let token = Some("a token of some length");

    for wrong in [None, Some(""), Some("another"), Some(&app.key[..])] {
        let (status, problem) = operate(&router, "GET", "/admin/v1/tenants", wrong, json!({})).await;
        assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")), "{wrong:?}");
    }
    assert_eq!(operate(&closed, "GET", "/admin/v1/tenants", token, json!({})).await.0, 404);
    let (status, tenant) = operate(&router, "POST", "/admin/v1/tenants", token, json!({"name": "carla"})).await;
    assert_eq!((status, &tenant["name"]), (201, &json!("carla")));
    let place = format!("/admin/v1/tenants/{}", tenant["id"].as_str().unwrap());
    let (status, made) = operate(&router, "POST", &format!("{place}/keys"), token, json!({"scope": "adapt"})).await;
    assert_eq!(status, 201, "{made}");
    let secret = made["secret"].as_str().unwrap();
    let (_, admin_key) = operate(&router, "POST", &format!("{place}/keys"), token, json!({"scope": "admin"})).await;
    let audit = app.call("GET", "/v1/audit").key(admin_key["secret"].as_str().unwrap()).send().await.ok(200);
    assert_eq!(each(&audit, "path"), [format!("{place}/keys"), format!("{place}/keys")], "what operators did");
    app.call("GET", "/v1/whoami").key(secret).send().await.ok(200);
    let (_, list) = operate(&router, "GET", "/admin/v1/tenants", token, json!({})).await;
    assert_eq!(each(&list, "name"), ["carla", "anna"]);
    let (status, receipt) = operate(&router, "DELETE", &place, token, json!({})).await;
    assert!(status == 200 && is_genuine(&receipt), "{receipt}");
    app.call("GET", "/v1/whoami").key(secret).send().await.problem(401, "unauthenticated");
    let (_, receipts) = operate(&router, "GET", &format!("{place}/receipts"), token, json!({})).await;
    assert_eq!(receipts["data"][0]["signed"], receipt["signed"], "it outlives its tenant");
    assert_eq!(operate(&router, "DELETE", &place, token, json!({})).await.0, 404);
    assert_eq!(operate(&router, "POST", &format!("{place}/keys"), token, json!({"scope": "adapt"})).await.0, 404);
}
