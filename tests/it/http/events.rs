//! Events of adaptations: as a list, as a stream, after a cut.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::StreamExt;
use imprint::domain::{AdaptationPhase, Failure, News};
use imprint::store::{Completion, Store};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::app::{Settings, TestApp};

const STREAM: &str = "text/event-stream";

/// Server-sent events as their field values: id, event, data. What is cut off is no event.
fn parsed(text: &str) -> Vec<(String, String, Value)> {
    let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
    let field = |block: &str, name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(str::trim).collect::<String>()
    };
    let blocks = whole.split("\n\n").filter(|block| block.contains("data:"));
    blocks
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data")).unwrap();
            (field(block, "id"), field(block, "event"), data)
        })
        .collect()
}

/// Path of an adaptation that nobody works on.
async fn submitted(app: &TestApp) -> String {
    let task = app.task().await;
    app.post(&format!("{task}/adaptations"), json!({})).await.header("location").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_tells_an_adaptations_life_in_order() {
    let app = TestApp::with(Settings::idle()).await;
    let place = submitted(&app).await;
    let before = app.get(&format!("{place}/events")).await.ok(200);
    let _runners = app.runners(1);
    app.ended(&place).await;

    let after = app.get(&format!("{place}/events")).await.ok(200);

    let told = |list: &Value| -> Vec<(Value, Value, Value)> {
        let data = list["data"].as_array().unwrap();
        data.iter()
            .map(|event| {
                let what = event["data"].get("phase").or(event["data"].get("status"));
                (event["id"].clone(), event["type"].clone(), what.unwrap().clone())
            })
            .collect()
    };
    assert_eq!(told(&before), [(json!("1"), json!("status"), json!("queued"))]);
    assert_eq!(
        told(&after),
        [
            (json!("1"), json!("status"), json!("queued")),
            (json!("2"), json!("status"), json!("running")),
            (json!("3"), json!("phase"), json!("inner_loop")),
            (json!("4"), json!("done"), json!("succeeded")),
        ]
    );
    assert_eq!(after["data"][3]["data"]["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_the_list_and_ends_with_the_adaptation() {
    let app = TestApp::with(Settings::idle()).await;
    let place = submitted(&app).await;
    let path = format!("{place}/events");
    let run = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let runners = app.runners(1);
        app.ended(&place).await;
        runners
    };

    let (stream, _runners) = tokio::join!(app.call("GET", &path).header("accept", STREAM).send(), run);
    let list = app.get(&path).await.ok(200);

    assert_eq!((stream.status, stream.header("content-type")), (200, STREAM));
    let events = parsed(std::str::from_utf8(&stream.body).unwrap());
    let data: Vec<_> = events.iter().map(|(_, _, data)| data.clone()).collect();
    assert_eq!(json!(data), list["data"]);
    assert_eq!(events.last().unwrap().1, "done");

    // One who has the last event is told to stay away; one who has not gets the rest.
    let resume = |last| app.call("GET", &path).header("accept", STREAM).header("last-event-id", last).send();
    assert_eq!(resume("4").await.status, 204);
    let rest = resume("3").await;
    assert_eq!(parsed(std::str::from_utf8(&rest.body).unwrap()), events[3..]);
    resume("last").await.problem(400, "invalid_header");
}

/// Takes the job, comes to many phases in each of three attempts, and gives up.
async fn work(store: Arc<dyn Store>) {
    for _ in 0..3 {
        let claim = store.claim_adaptation("test", Duration::from_mins(1)).await.unwrap().unwrap();
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        for _ in 0..80 {
            let phase = AdaptationPhase::InnerLoop;
            assert!(store.note_news(claim.tenant, id, attempt, &News::Phase { phase, attempt }).await.unwrap());
        }
        let lost = Failure { code: "lost".to_owned(), detail: "lost".to_owned() };
        store
            .complete_adaptation(claim.tenant, id, attempt, Completion::Retry(lost, Duration::ZERO))
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adaptation_that_runs_says_what_it_is_at_and_how_far_it_came() {
    let app = TestApp::with(Settings::idle()).await;
    let path = submitted(&app).await;
    let place = async || app.get(&path).await.ok(200)["running"].clone();
    let waits = place().await;
    let claim = app.store.claim_adaptation("test", Duration::from_mins(1)).await.unwrap().unwrap();
    let note = async |news| {
        let (id, attempt) = (claim.adaptation.id, claim.adaptation.attempt);
        assert!(app.store.note_news(claim.tenant, id, attempt, &news).await.unwrap());
        place().await
    };

    let loads = place().await;
    let begins = note(News::Phase { phase: AdaptationPhase::InnerLoop, attempt: 1 }).await;
    let goes_on = note(News::Progress { done: 40, of: 200, attempt: 1 }).await;
    let events = app.get(&format!("{path}/events")).await.ok(200);

    assert_eq!((waits, loads["phase"].clone()), (json!(null), json!("load")));
    assert_eq!(begins, json!({"phase": "inner_loop", "done": null, "of": null}));
    assert_eq!(goes_on, json!({"phase": "inner_loop", "done": 40, "of": 200}));
    assert_eq!(events["data"][3]["type"], "progress");
    assert_eq!(events["data"][3]["data"], json!({"done": 40, "of": 200, "attempt": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_anywhere_loses_and_doubles_nothing() {
    let app = TestApp::with(Settings::idle()).await;
    let path = format!("{}/events", submitted(&app).await);
    let worker = tokio::spawn(work(app.store.clone()));
    let mut rng = ChaCha8Rng::seed_from_u64(200);
    let (mut seen, mut cuts) = (Vec::<Value>::new(), 0);

    loop {
        let last = seen.last().map_or("0".to_owned(), |event| event["id"].as_str().unwrap().to_owned());
        let request = Request::get(&path).header("authorization", format!("Bearer {}", app.key));
        let request = request.header("accept", STREAM).header("last-event-id", last).body(Body::empty()).unwrap();
        let response = app.router.clone().oneshot(request).await.unwrap();
        let (mut body, mut text) = (response.into_body().into_data_stream(), String::new());
        let length = rng.next_u32() as usize % 400; // two events and a half
        while text.len() < length {
            let Some(chunk) = body.next().await else { break };
            text += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
        text.truncate(length);
        drop(body);
        let events = parsed(&text);
        let is_over = events.last().is_some_and(|(_, event, _)| event == "done");
        seen.extend(events.into_iter().map(|(_, _, data)| data));
        if is_over {
            break;
        }
        cuts += 1;
    }
    worker.await.unwrap();

    assert!(cuts >= 200, "{cuts}");
    assert_eq!(json!(seen), app.get(&path).await.ok(200)["data"]);
    assert_eq!(seen.len(), 1 + 3 * 81 + 2 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_why_it_ends_before_the_adaptation_does() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let place = app.post(&format!("{task}/adaptations"), json!({})).await.header("location").to_owned();
    let path = format!("{place}/events");
    let delete = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.delete(&task).await.ok(204);
    };
    let (stream, ()) = tokio::join!(app.call("GET", &path).header("accept", STREAM).send(), delete);
    let deleted = parsed(std::str::from_utf8(&stream.body).unwrap()).pop().unwrap();
    assert_eq!((deleted.1.as_str(), &deleted.2["code"]), ("error", &json!("not_found")));

    let app = TestApp::with(Settings::idle()).await;
    let path = format!("{}/events", submitted(&app).await);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.service.stop_streams();
    };
    let (stream, ()) = tokio::join!(app.call("GET", &path).header("accept", STREAM).send(), stop);
    let stopped = parsed(std::str::from_utf8(&stream.body).unwrap()).pop().unwrap();
    assert_eq!((stopped.0.as_str(), stopped.1.as_str()), ("", "interrupted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_place_for_another_stream_says_so_at_once() {
    let mut settings = Settings::idle();
    settings.http.max_streams = 0;
    let app = TestApp::with(settings).await;
    let path = format!("{}/events", submitted(&app).await);

    app.call("GET", &path).header("accept", STREAM).send().await.problem(503, "overloaded");
    app.get(&path).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_adaptation_says_how_many_of_ones_own_come_first_and_when_to_look_again() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;

    let first = app.post(&format!("{task}/adaptations"), json!({})).await.ok(202);
    let second = app.post(&format!("{task}/adaptations"), json!({})).await.ok(202);

    assert_eq!((&first["queue"]["ahead"], &second["queue"]["ahead"]), (&json!(0), &json!(1)));
    assert_eq!(second["queue"]["eta_ms"], Value::Null, "it has run none yet");
    app.post(&format!("/v1/adaptations/{}/cancel", first["id"].as_str().unwrap()), json!({})).await.ok(200);
    let next = app.get(&format!("/v1/adaptations/{}", second["id"].as_str().unwrap())).await.ok(200);
    assert_eq!(next["queue"]["ahead"], 0);
}
