//! What is between an answer and who asked: other origins' pages, compression.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::json;

use super::app::{Answer, Settings, TestApp};

const PAGE: &str = "https://app.example.com";

async fn open_to(origins: &str) -> TestApp {
    let mut settings = Settings::idle();
    settings.http.cors_origins = origins.parse().unwrap();
    TestApp::with(settings).await
}

/// What a browser asks before it sends a POST with a key.
async fn preflight(app: &TestApp, origin: &str) -> Answer {
    let call = app.call("OPTIONS", "/v1/tasks").anonymous().header("origin", origin);
    let call = call.header("access-control-request-method", "POST");
    call.header("access-control-request-headers", "authorization,content-type,idempotency-key").send().await
}

async fn whoami(app: &TestApp, origin: &str) -> Answer {
    app.call("GET", "/v1/whoami").header("origin", origin).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_let_in_by_nobody_but_the_operator() {
    let app = TestApp::with(Settings::idle()).await;

    let asked = preflight(&app, PAGE).await;
    let read = whoami(&app, PAGE).await;

    asked.problem(401, "unauthenticated");
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, ""));
    assert_eq!(asked.header("access-control-allow-origin"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_named_origins_may_call_and_no_others() {
    let app = open_to("http://localhost:3000,https://app.example.com").await;

    let asked = preflight(&app, PAGE).await;
    let (read, other) = (whoami(&app, PAGE).await, whoami(&app, "https://app.example.com.evil.net").await);
    let keyless = app.call("GET", "/v1/whoami").anonymous().header("origin", PAGE).send().await;

    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, PAGE));
    for name in ["authorization", "content-type", "idempotency-key"] {
        assert!(asked.header("access-control-allow-headers").contains(name), "{name}");
    }
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, PAGE));
    assert!(read.header("access-control-expose-headers").contains("retry-after"));
    assert_eq!(read.header("access-control-allow-credentials"), "");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, ""));
    // A page can read why it was refused.
    keyless.problem(401, "unauthenticated");
    assert_eq!(keyless.header("access-control-allow-origin"), PAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_lets_pages_of_every_origin_in() {
    let app = open_to("*").await;

    assert_eq!(whoami(&app, "https://anywhere.example").await.header("access-control-allow-origin"), "*");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_compressed_for_those_who_take_them() {
    let app = TestApp::start().await;
    let plain = app.get("/openapi.json").await;

    let packed = app.call("GET", "/openapi.json").header("accept-encoding", "br, gzip").send().await;
    let mut text = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut text).unwrap();

    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), ("", "gzip"));
    assert!(packed.header("vary").contains("accept-encoding"));
    assert!(packed.body.len() < plain.body.len() / 4, "{} of {}", packed.body.len(), plain.body.len());
    assert_eq!(text, plain.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_short_or_no_text_or_a_stream_goes_as_it_is() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let job = app.get("/v1/adaptations").await.ok(200)["data"][0]["id"].as_str().unwrap().to_owned();

    for (path, accept) in [
        ("/v1/whoami".to_owned(), "*/*"),
        (format!("{task}/adapters/1/weights"), "*/*"),
        (format!("/v1/adaptations/{job}/events"), "text/event-stream"),
    ] {
        let call = app.call("GET", &path).header("accept-encoding", "gzip").header("accept", accept);
        let answer = call.send().await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, ""), "{path}");
    }
    let predicted = app.call("POST", &format!("{task}/predict")).header("accept-encoding", "gzip");
    predicted.json(&json!({"query": [[1, 2]]})).send().await.ok(200);
}
