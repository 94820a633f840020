//! Who may call, and what they see of others: nothing.

use serde_json::json;

use super::app::{Settings, TestApp};
use super::samples::{adapt_predict, each};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_key_nothing_is_answered() {
    let app = TestApp::start().await;
    let forged = format!("{}{}", &app.key[..app.key.len() - 1], if app.key.ends_with('0') { '1' } else { '0' });
    let unknown = format!("imprint_{}_{}", "0".repeat(26), "0".repeat(64));

    for header in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {}", app.key),
        app.key.clone(),
        "Bearer imprint_short".to_owned(),
        format!("Bearer {unknown}"),
        format!("Bearer {forged}"),
        format!("Bearer {}0", app.key),
        format!("Bearer {0} {0}", app.key),
    ] {
        let answer = app.call("GET", "/v1/whoami").header("authorization", &header).send().await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"imprint\"", "{header}");
    }
    app.call("GET", "/v1/tasks").anonymous().send().await.problem(401, "unauthenticated");
    // The key is asked for before the body is looked at.
    let body = app.call("POST", "/v1/tasks").anonymous().bytes("application/json", "{").send().await;
    body.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_contract_need_no_key() {
    let app = TestApp::start().await;

    for path in ["/livez", "/readyz", "/openapi.json", "/problems/not_found"] {
        assert_eq!(app.call("GET", path).anonymous().send().await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_of_a_key_is_read_in_any_case() {
    let app = TestApp::start().await;

    let who = app.call("GET", "/v1/whoami").header("authorization", &format!("bearer {}", app.key)).send().await;

    assert!(who.ok(200)["tenant"].as_str().unwrap().starts_with("ten_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_server_serves_everyone_as_one_tenant() {
    let mut settings = Settings::idle();
    settings.service.no_auth = true;
    let app = TestApp::with(settings).await;

    app.call("POST", "/v1/tasks").anonymous().json(&json!({"name": "a", "base_model": "line"})).send().await.ok(201);

    let seen = app.call("GET", "/v1/tasks").header("authorization", "Bearer anything").send().await.ok(200);
    assert_eq!(each(&seen, "name"), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_tenant_is_answered_as_what_is_not_there() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let example = app.get(&format!("{task}/support")).await.ok(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let job = app.get("/v1/adaptations").await.ok(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let stranger = app.key_of("berta").await;
    let before = (app.stored().await, app.get(&task).await.body);
    // Ids that nobody has.
    let nobody = |path: &str| {
        path.split('/')
            .map(|part| part.split_once('_').map_or(part.to_owned(), |(kind, _)| format!("{kind}_{}", "0".repeat(26))))
            .collect::<Vec<_>>()
            .join("/")
    };

    for (method, path, body) in [
        ("GET", task.clone(), json!({})),
        ("PATCH", task.clone(), json!({"name": "mine"})),
        ("DELETE", task.clone(), json!({})),
        ("GET", format!("{task}/support"), json!({})),
        ("POST", format!("{task}/support"), json!({"examples": [{"input": [1, 2], "label": "x"}]})),
        ("DELETE", format!("{task}/support/{example}"), json!({})),
        ("POST", format!("{task}/adaptations"), json!({})),
        ("GET", format!("/v1/adaptations/{job}"), json!({})),
        ("POST", format!("/v1/adaptations/{job}/cancel"), json!({})),
        ("GET", format!("{task}/adapters"), json!({})),
        ("GET", format!("{task}/adapters/1"), json!({})),
        ("GET", format!("{task}/adapters/1/weights"), json!({})),
        ("POST", format!("{task}/adapters/1/promote"), json!({})),
        ("POST", format!("{task}/rollback"), json!({})),
        ("POST", format!("{task}/predict"), json!({"query": [[1, 2]]})),
        ("POST", format!("{task}/predict"), json!({"query": [[1, 2]], "version": 1})),
    ] {
        let hidden = app.call(method, &path).key(&stranger).json(&body).send().await.problem(404, "not_found");
        let absent = app.call(method, &nobody(&path)).key(&stranger).json(&body).send().await.problem(404, "not_found");
        assert_eq!(hidden["detail"], absent["detail"], "{method} {path}");
    }

    let lists = ["/v1/tasks".to_owned(), "/v1/adaptations".to_owned(), format!("/v1/adaptations?task={}", &task[10..])];
    for list in lists {
        let seen = app.call("GET", &list).key(&stranger).send().await.ok(200);
        assert_eq!(seen["data"], json!([]), "{list}");
    }
    assert_eq!((app.stored().await, app.get(&task).await.body), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_of_one_tenant_see_the_same() {
    let app = TestApp::start().await;
    app.task().await;
    let other = app.key_of("anna").await;

    assert_ne!(other, app.key);
    assert_eq!(app.call("GET", "/v1/tasks").key(&other).send().await.body, app.get("/v1/tasks").await.body);
    assert_eq!(app.call("POST", "/v1/adapt-predict").key(&other).json(&adapt_predict()).send().await.status, 200);
}
