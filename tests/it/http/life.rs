//! The server's own life: panics, time limits, overload, a stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use imprint::config::{EngineConfig, HttpConfig};
use imprint::http;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::app::{Settings, TestApp};
use super::bases;
use super::samples::{adapt_predict, task, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_request_alone() {
    let app = TestApp::with(Settings::idle()).await;
    app.clock.is_broken.store(true, Ordering::Relaxed);

    let lost = app.post("/v1/tasks", task()).await;
    let next = app.post("/v1/tasks", task()).await;

    assert!(!lost.problem(500, "internal").to_string().contains("told to panic"));
    next.ok(201);
    assert_eq!(app.stored().await, [1, 4, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_a_problem() {
    let mut app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    app.listen_with(HttpConfig { request_timeout_ms: 50, ..HttpConfig::default() });

    let call = app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=20");

    call.send().await.problem(504, "timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_too_many_is_turned_away_at_once_and_the_server_is_well() {
    let mut app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    app.listen_with(HttpConfig { max_requests: 1, ..HttpConfig::default() });
    // It waits for a job that nobody runs, until it is given up.
    let waiting = app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=30").send();
    let others = async {
        while app.stored().await[2] == 0 {}
        (app.get("/v1/whoami").await, app.get("/livez").await, app.get("/readyz").await)
    };

    let (refused, lives, ready) = tokio::select! {
        answers = others => answers,
        _ = waiting => panic!("there is nobody to run it"),
    };

    assert_eq!(refused.problem(503, "overloaded")["retryable"], true);
    assert_eq!((lives.status, ready.status), (200, 200));
    app.get("/v1/whoami").await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_for_which_there_is_no_room_is_turned_away_at_once() {
    let mut app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    // Room for one of the largest.
    app.listen_with(HttpConfig { max_body_bytes: 64 << 10, max_bodies_mib: 0, ..HttpConfig::default() });
    let large = |path: &str| {
        let body = format!("{{{}}}", " ".repeat(40 << 10));
        app.call("POST", path).header("prefer", "wait=30").bytes("application/json", body)
    };
    // It waits for a job that nobody runs.
    let adaptations = format!("{task}/adaptations");
    let waiting = large(&adaptations).send();
    let others = async {
        while app.stored().await[2] == 0 {}
        let small = app.post("/v1/adapt-predict", adapt_predict()).await;
        (large("/v1/tasks").send().await, small)
    };

    let (refused, small) = tokio::select! {
        answers = others => answers,
        _ = waiting => panic!("there is nobody to run it"),
    };

    assert_eq!(refused.problem(503, "overloaded")["retryable"], true);
    small.ok(200);
    large("/v1/tasks").send().await.problem(422, "invalid_values"); // there is room again
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_engine_answers_503_with_retry_after_and_finishes_what_it_accepted() {
    let app = Arc::new(TestApp::with(Settings { engine: bases::start(1, 1), ..Settings::idle() }).await);
    let slow = with(with(adapt_predict(), "/base_model", json!("pair")), "/recipe", json!({"inner_steps": 50}));
    let asked = 40;

    let mut answers = tokio::task::JoinSet::new();
    for _ in 0..asked {
        let (app, body) = (Arc::clone(&app), slow.clone());
        answers.spawn(async move { app.post("/v1/adapt-predict", body).await });
    }
    let answers = answers.join_all().await;

    let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in &refused {
        assert_eq!(answer.problem(503, "overloaded")["retryable"], true);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(accepted.len() + refused.len(), asked);
    assert!(!accepted.is_empty() && !refused.is_empty(), "{} accepted", accepted.len());
    let first = &accepted[0].json()["predictions"][0]["scores"];
    assert!(accepted.iter().all(|answer| answer.json()["predictions"][0]["scores"] == *first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_503_with_retry_after_and_its_jobs_are_all_run() {
    let mut settings = Settings::idle();
    settings.service.max_queued_adaptations = 3;
    let app = TestApp::with(settings).await;
    let task = app.task().await;

    let mut places = Vec::new();
    for seed in 0..3 {
        let accepted = app.post(&format!("{task}/adaptations"), json!({"seed": seed})).await;
        accepted.ok(202);
        places.push(accepted.header("location").to_owned());
    }
    let refused = app.post(&format!("{task}/adaptations"), json!({"seed": 3})).await;
    let _runners = app.runners(2);

    refused.problem(503, "overloaded");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    for place in places {
        assert_eq!(app.ended(&place).await["status"], "succeeded");
    }
    app.adapt(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_during_a_stop() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = app.router.clone();
    let serving = tokio::spawn(async move {
        http::serve(listener, router, &HttpConfig::default(), async { stopped.await.unwrap() }).await
    });

    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {task}/adaptations HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\nprefer: wait=20\r\n\r\n",
        app.key
    );
    client.write_all(request.as_bytes()).await.unwrap();
    while app.get("/v1/adaptations?status=queued").await.ok(200)["data"] == json!([]) {}
    stop.send(()).unwrap();
    let _runners = app.runners(1);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with(&format!("HTTP/1.1 {}", StatusCode::CREATED)), "{answer}");
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_take_too_much_is_refused_with_figures_before_it_is_queued() {
    let engine = bases::with(&EngineConfig { max_command_mib: 2, ..EngineConfig::default() });
    let app = TestApp::with(Settings { engine, ..Settings::default() }).await;
    let task = app.task().await;

    let refused = [
        app.post("/v1/adapt-predict", adapt_predict()).await,
        app.post(&format!("{task}/adaptations"), json!({})).await,
    ];

    for refused in refused {
        let problem = refused.problem(422, "invalid_values");
        assert_eq!(problem["errors"][0]["code"], "too_dear");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("3 MiB") && detail.contains("at most 2"), "{detail}");
    }
    assert_eq!(app.stored().await, [1, 4, 0, 0]);
}
