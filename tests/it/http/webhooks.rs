//! Webhooks: from the end of an adaptation to a receiver that is down, slow of mind, or well.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use imprint::config::{Reach, WebhookConfig};
use imprint::domain::WebhookSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::app::{Settings, TestApp};
use super::samples::each;

/// What a receiver got.
#[derive(Clone)]
pub struct Got {
    pub id: String,
    timestamp: i64,
    signatures: Vec<String>,
    traceparent: Option<String>,
    pub body: String,
}

impl Got {
    fn is_signed_with(&self, secret: &Value) -> bool {
        let secret = WebhookSecret::parse(secret.as_str().unwrap()).unwrap();
        self.signatures.contains(&secret.sign(&self.id, self.timestamp, &self.body))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver, which answers with the statuses that it was given and then with 200.
#[derive(Clone, Default)]
pub struct Receiver {
    answers: Arc<Mutex<VecDeque<u16>>>,
    pub got: Arc<Mutex<Vec<Got>>>,
    pub url: String,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, ..Self::default() };
        let app = Router::new().route("/hook", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    fn answers_with(&self, statuses: impl IntoIterator<Item = u16>) {
        *self.answers.lock().unwrap() = statuses.into_iter().collect();
    }

    /// Waits until it has got so many.
    async fn has_got(&self, count: usize) -> Vec<Got> {
        while self.got.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.got.lock().unwrap().clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> (StatusCode, HeaderMap) {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let signatures = text("webhook-signature").split(' ').map(str::to_owned).collect();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp").parse().unwrap());
    let traceparent = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
    receiver.got.lock().unwrap().push(Got { id, timestamp, signatures, traceparent, body });
    let status = receiver.answers.lock().unwrap().pop_front().unwrap_or(200);
    // If it were followed, it would come again at once.
    let elsewhere = HeaderMap::from_iter([(axum::http::header::LOCATION, receiver.url.parse().unwrap())]);
    (StatusCode::from_u16(status).unwrap(), elsewhere)
}

async fn app() -> TestApp {
    let mut settings = Settings::default();
    settings.service.webhooks = WebhookConfig {
        webhook_reach: Reach::Anywhere,
        webhook_pause_ms: 1,
        webhook_attempts: 4,
        ..WebhookConfig::default()
    };
    TestApp::with(settings).await
}

async fn webhook(app: &TestApp, receiver: &Receiver) -> (String, Value) {
    let made = app.post("/v1/webhooks", json!({"url": receiver.url})).await.ok(201);
    (format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap()), made["secret"].clone())
}

/// The deliveries of a webhook, once none is under way.
async fn deliveries(app: &TestApp, place: &str) -> Value {
    loop {
        let list = app.get(&format!("{place}/deliveries")).await.ok(200);
        if !each(&list, "status").contains(&json!("pending")) {
            return list;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_from_the_caller_to_the_answer_and_to_whoever_is_told() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let (app, receiver) = (app().await, Receiver::start().await);
    let _webhook = webhook(&app, &receiver).await;
    let task = app.task().await;
    let adapt = app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=20").json(&json!({}));

    let answer = adapt.header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01")).send().await;
    answer.ok(201);
    let got = receiver.has_got(1).await;
    let without = app.get("/v1/tasks").await;
    let malformed = app.call("GET", "/v1/tasks").header("traceparent", "00-0af7-b7ad-01").send().await;

    assert_eq!(answer.header("traceparent").split('-').nth(1), Some(TRACE));
    assert_eq!(got[0].traceparent.as_deref().and_then(|text| text.split('-').nth(1)), Some(TRACE));
    let traces =
        [&without, &malformed].map(|answer| answer.header("traceparent").split('-').nth(1).unwrap().to_owned());
    assert!(traces.iter().all(|trace| trace.len() == 32 && trace != TRACE) && traces[0] != traces[1], "{traces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_monitor_sees_is_told() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let (_, secret) = webhook(&app, &receiver).await;
    let task = app.task().await;
    app.adapt(&task).await;
    receiver.has_got(1).await;
    let rule = json!({"name": "surge", "label": "high", "baseline": 0.1, "ratio": 4.0, "false_alarm_every": 20});
    let monitor = app.post(&format!("{task}/monitors"), rule).await.ok(201);

    let high = json!({"query": [[5.0, 5.0], [5.1, 5.0], [5.0, 5.1], [5.1, 5.1]]});
    app.post(&format!("{task}/predict"), high).await.ok(200);

    let got = receiver.has_got(2).await;
    assert!(got[1].is_signed_with(&secret));
    let told = got[1].json();
    assert_eq!((&told["type"], &told["data"]["monitor"]), (&json!("monitor.raised"), &monitor["id"]));
    assert_eq!((&told["data"]["label"], &told["data"]["share"]), (&json!("high"), &json!(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_adaptation_is_told_until_it_is_heard() {
    let (app, receiver) = (app().await, Receiver::start().await);
    receiver.answers_with([500, 302, 429]);
    let (place, secret) = webhook(&app, &receiver).await;
    let task = app.task().await;

    app.adapt(&task).await;

    let got = receiver.has_got(4).await;
    assert!(got.windows(2).all(|pair| pair[0].id == pair[1].id && pair[0].body == pair[1].body), "one message");
    assert!(got.iter().all(|got| got.is_signed_with(&secret)));
    let told = got[0].json();
    assert_eq!((&told["type"], &told["data"]["version"]), (&json!("adaptation.succeeded"), &json!(1)));
    assert_eq!(told["data"]["task"], task.trim_start_matches("/v1/tasks/"));
    let list = deliveries(&app, &place).await;
    assert_eq!((&list["data"][0]["status"], &list["data"][0]["attempt"]), (&json!("delivered"), &json!(4)));
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert!(!String::from_utf8(app.get("/v1/webhooks").await.body).unwrap().contains("whsec_"), "a secret is listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_nothing_is_left_alone_until_it_is_enabled_again() {
    let (app, receiver) = (app().await, Receiver::start().await);
    receiver.answers_with([500; 4]);
    let (place, _) = webhook(&app, &receiver).await;

    let message = app.post(&format!("{place}/test"), json!({})).await.ok(202)["id"].clone();

    let list = deliveries(&app, &place).await;
    assert_eq!((&list["data"][0]["status"], &list["data"][0]["attempt"]), (&json!("dead"), &json!(4)));
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["answered"]), (&message, &json!(500)));
    let off = app.get(&place).await.ok(200);
    assert!(off["enabled"] == false && off["disabled_reason"].is_string(), "{off}");
    app.call("PATCH", &place).json(&json!({"enabled": true})).send().await.ok(200);
    let again = format!("{place}/deliveries/{}/redeliver", message.as_str().unwrap());
    app.post(&again, json!({})).await.ok(202);
    assert_eq!(deliveries(&app, &place).await["data"][0]["status"], "delivered");
    receiver.answers_with([410]);
    app.post(&format!("{place}/test"), json!({})).await.ok(202);
    deliveries(&app, &place).await;
    assert_eq!(app.get(&place).await.ok(200)["enabled"], false, "410 is Gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_signs_beside_the_old_one_for_a_while() {
    let (app, receiver) = (app().await, Receiver::start().await);
    let (place, old) = webhook(&app, &receiver).await;

    let new = app.post(&format!("{place}/rotate"), json!({"overlap_s": 3600})).await.ok(200)["secret"].clone();

    app.post(&format!("{place}/test"), json!({})).await.ok(202);
    let got = receiver.has_got(1).await;
    assert!(got[0].is_signed_with(&old) && got[0].is_signed_with(&new));
    assert_ne!(old, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_leads_inside_is_refused_when_it_is_named() {
    let app = TestApp::with(Settings::idle()).await;

    for url in ["http://example.com/", "https://127.0.0.1/", "https://example.com:22/", "nonsense", "https://10.1/"] {
        let problem = app.post("/v1/webhooks", json!({"url": url})).await.problem(422, "invalid_values");
        assert_eq!(
            (&problem["errors"][0]["code"], &problem["errors"][0]["pointer"]),
            (&json!("bad_url"), &json!("/url"))
        );
    }
    for _ in 0..10 {
        app.post("/v1/webhooks", json!({"url": "https://example.com/"})).await.ok(201);
    }
    let eleventh = app.post("/v1/webhooks", json!({"url": "https://example.com/"})).await;
    assert_eq!(eleventh.problem(422, "invalid_values")["errors"][0]["code"], "too_many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_counts_once_and_two_secrets_sign_for_a_month_at_most() {
    let app = TestApp::with(Settings::idle()).await;
    let topics = vec!["webhook.test"; 500];
    let made = app.post("/v1/webhooks", json!({"url": "https://example.com/", "topics": topics})).await.ok(201);
    let place = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());

    assert_eq!(made["webhook"]["topics"], json!(["webhook.test"]));
    let patched = app.call("PATCH", &place).json(&json!({"topics": topics})).send().await.ok(200);
    assert_eq!(patched["topics"], json!(["webhook.test"]));
    let refused = app.post(&format!("{place}/rotate"), json!({"overlap_s": 2_592_001})).await;
    assert_eq!(refused.problem(422, "invalid_values")["errors"][0]["pointer"], "/overlap_s");
    app.post(&format!("{place}/rotate"), json!({"overlap_s": 2_592_000})).await.ok(200);
}
