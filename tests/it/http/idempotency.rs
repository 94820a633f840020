//! `Idempotency-Key`: sent twice, a request acts once and is answered alike.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::app::{Answer, Call, Settings, TestApp};
use super::samples::{each, task};
use crate::postgres::Database;

const KEY: &str = "idempotency-key";

fn keyed<'a>(app: &'a TestApp, path: &str, key: &str, body: &Value) -> Call<'a> {
    app.call("POST", path).header(KEY, key).json(body)
}

/// What of an answer a repeated request gets again.
fn said(answer: &Answer) -> (u16, String, String, Vec<u8>) {
    (answer.status, answer.header("location").to_owned(), answer.header("etag").to_owned(), answer.body.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_alike_and_acts_once() {
    let app = TestApp::start().await;

    let first = keyed(&app, "/v1/tasks", "one", &task()).send().await;
    let quoted = keyed(&app, "/v1/tasks", "\"one\"", &task()).send().await;
    let fresh = keyed(&app, "/v1/tasks", "two", &task()).send().await;

    assert_eq!(said(&first), said(&quoted));
    assert_eq!((first.header("idempotent-replayed"), quoted.header("idempotent-replayed")), ("", "true"));
    assert_ne!(first.header("x-request-id"), quoted.header("x-request-id"));
    assert_ne!(first.json()["id"], fresh.ok(201)["id"]);
    assert_eq!(app.stored().await[0], 2);

    // Adaptations, rollbacks, predictions: whatever a POST does.
    let task = first.header("location").to_owned();
    for seed in [1, 2] {
        keyed(&app, &format!("{task}/adaptations"), &format!("s{seed}"), &json!({"seed": seed})).send().await.ok(202);
        keyed(&app, &format!("{task}/adaptations"), &format!("s{seed}"), &json!({"seed": seed})).send().await.ok(202);
        app.adapt(&task).await;
    }
    assert_eq!(app.stored().await[2], 4);
    let predict = || keyed(&app, &format!("{task}/predict"), "p", &json!({"query": [[5.0, 5.0]]}));
    assert_eq!(predict().send().await.ok(200), predict().send().await.ok(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_under_the_same_key_is_refused_and_a_refused_one_may_be_mended() {
    let app = TestApp::with(Settings::idle()).await;
    let wrong = json!({"name": "places", "base_model": "nowhere"});

    keyed(&app, "/v1/tasks", "k", &wrong).send().await.problem(422, "invalid_values");
    keyed(&app, "/v1/tasks", "k", &task()).send().await.ok(201);
    let reused = keyed(&app, "/v1/tasks", "k", &wrong).send().await;

    assert_eq!(reused.problem(422, "idempotency_key_reused")["errors"][0]["pointer"], "Idempotency-Key");
    for malformed in ["", "\"\"", "a\tb", &"k".repeat(256)] {
        keyed(&app, "/v1/tasks", malformed, &task()).send().await.problem(400, "invalid_header");
    }
    keyed(&app, "/v1/tasks", &"k".repeat(255), &task()).send().await.ok(201);
    assert_eq!(app.stored().await[0], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_kept_and_a_repeated_request_comes_to_the_same() {
    let app = TestApp::with(Settings::idle()).await;
    let made = || keyed(&app, "/v1/webhooks", "w", &json!({"url": "https://example.com/"})).send();
    let (first, second) = (made().await, made().await);

    let place = format!("/v1/webhooks/{}", first.ok(201)["webhook"]["id"].as_str().unwrap());
    assert_eq!(first.ok(201)["secret"], second.ok(201)["secret"]);
    let rotate = format!("{place}/rotate");
    let rotated = || keyed(&app, &rotate, "r", &json!({})).send();
    let (third, fourth) = (rotated().await, rotated().await);
    assert_eq!(third.ok(200)["secret"], fourth.ok(200)["secret"]);
    assert_ne!(first.ok(201)["secret"], third.ok(200)["secret"]);
    assert!([&second, &fourth].iter().all(|answer| answer.header("idempotent-replayed").is_empty()), "one was kept");
    assert_eq!(app.get("/v1/webhooks").await.ok(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_the_tenants_own() {
    let app = TestApp::with(Settings::idle()).await;
    let berta = app.key_of("berta").await;

    let one = keyed(&app, "/v1/tasks", "k", &task()).send().await.ok(201);
    let other = keyed(&app, "/v1/tasks", "k", &task()).key(&berta).send().await.ok(201);
    keyed(&app, "/v1/tasks", "k", &task()).anonymous().send().await.problem(401, "unauthenticated");

    assert_ne!(one["id"], other["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_under_each_of_a_hundred_keys_act_once_on_both_stores() {
    let postgres = Database::create().await;
    for database in std::iter::once(None).chain(postgres.iter().map(Some)) {
        let url = database.map(|made| made.url.clone());
        let owner_url = database.map(|made| made.owner_url.clone());
        let settings = Settings { database_url: url.clone(), owner_url, ..Settings::idle() };
        let app = TestApp::with(settings).await;
        let place = app.task().await;

        for key in 0..100 {
            let (path, body) = match key % 2 {
                0 => ("/v1/tasks".to_owned(), json!({"name": "places", "base_model": "plane"})),
                _ => (format!("{place}/adaptations"), json!({"seed": key})),
            };
            let calls = (0..64).map(|_| keyed(&app, &path, &format!("k{key}"), &body).send());
            let answers = join_all(calls).await;
            let ids: Vec<Value> =
                answers.iter().filter(|answer| answer.status < 300).map(|a| a.json()["id"].clone()).collect();
            assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
            for answer in answers.iter().filter(|answer| answer.status >= 300) {
                answer.problem(409, "request_in_flight");
                assert_eq!(answer.header("retry-after"), "1");
            }
        }

        let stored = app.stored().await;
        assert_eq!((stored[0], stored[2]), (1 + 50, 50), "{url:?}");
    }
    if let Some(postgres) = postgres {
        postgres.drop().await;
    }
}

/// The server loses the request at a moment of chance, as if it had been killed there: whatever was committed is
/// committed, the answer is not saved. When its lock has run out, the request comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_lost_at_any_moment_acts_once_when_it_comes_again() {
    let app = TestApp::with(Settings::idle()).await;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut lost, mut acted) = (0, 0);

    for number in 0..60 {
        let body = json!({"name": format!("n{number}"), "base_model": "plane", "support": task()["support"]});
        let request = Request::post("/v1/tasks").header("authorization", format!("Bearer {}", app.key));
        let request = request.header("content-type", "application/json").header(KEY, format!("k{number}"));
        let run = app.router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap());
        let moment = Duration::from_micros(u64::from(rng.next_u32() % 12_000));
        let is_lost = tokio::time::timeout(moment, run).await.is_err();
        tokio::time::sleep(Duration::from_millis(20)).await; // a commit that was under way ends
        let before = app.stored().await[0];
        app.sql("UPDATE requests SET locked_until = 0").await;

        let again = keyed(&app, "/v1/tasks", &format!("k{number}"), &body).send().await;

        assert_eq!(again.ok(201)["support_count"], 4);
        assert_eq!(app.stored().await[0], number + 1);
        lost += u32::from(is_lost);
        acted += u32::from(is_lost && before == number + 1);
    }
    let names = each(&app.get("/v1/tasks?limit=100").await.ok(200), "name");
    assert_eq!(names.len(), 60);
    assert!(lost > 0 && acted > 0, "{lost} were lost, {acted} of them after they had acted");
}
