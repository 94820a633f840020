//! Requests that are wrong, each in one way: answered with the right status and code, and a pointer to the place;
//! nothing is stored, and the next request is answered as if nothing had been.

mod bodies;
mod requests;
mod values;

use serde_json::{Value, json};

use super::app::{Answer, Settings, TestApp};
use super::samples::{adapt_predict, task, with};

/// Larger than the largest right body of these tests.
pub const MAX_BODY: usize = 12 << 20;

/// A pointer that is not compared.
pub const ANYWHERE: &str = "*";

/// Tasks that wrong requests are sent to.
pub struct Tasks {
    /// Adapted; takes labels as they come.
    pub open: String,
    /// Two labels, no more; four examples.
    pub closed: String,
    /// Without examples.
    pub empty: String,
    /// A regression with two examples.
    pub line: String,
}

/// A wrong request and what has to come of it.
pub struct Case {
    /// What is wrong with it.
    pub what: String,
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub status: u16,
    pub code: &'static str,
    /// Pointer and code of the first fault that is named; nothing if none is.
    pub fault: Option<(String, &'static str)>,
}

impl Case {
    /// A JSON body that is right but for one value.
    pub fn value(what: &str, path: &str, body: &Value, fault: &'static str, pointer: &str) -> Self {
        Self {
            what: format!("{path}: {what}"),
            method: "POST",
            path: path.to_owned(),
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            status: 422,
            code: "invalid_values",
            fault: Some((pointer.to_owned(), fault)),
        }
    }

    async fn send(&self, app: &TestApp) -> Answer {
        let mut call = app.call(self.method, &self.path);
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        call.body(self.body.clone()).send().await
    }

    /// What is not as it should be in the answer.
    fn complaint(&self, answer: &Answer) -> Option<String> {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let first = &body["errors"][0];
        let expected = self.fault.as_ref().map(|(pointer, code)| (pointer.as_str(), *code));
        let is_anywhere = expected.is_some_and(|(pointer, _)| pointer == ANYWHERE);
        let pointer = if is_anywhere { Some(ANYWHERE) } else { first["pointer"].as_str() };
        let found = pointer.zip(first["code"].as_str());
        let is_short = answer.body.len() < 8 << 10;
        let is_right = is_short && answer.status == self.status && body["code"] == self.code && found == expected;
        (!is_right).then(|| {
            format!("{}: expected {} {} {expected:?}, got {} {text}", self.what, self.status, self.code, answer.status)
        })
    }
}

async fn tasks(app: &TestApp) -> Tasks {
    let make = async |body: Value| app.post("/v1/tasks", body).await.header("location").to_owned();
    let points = json!([{"input": [1], "value": 1}, {"input": [2], "value": 2}]);
    let tasks = Tasks {
        open: app.task().await,
        closed: make(with(task(), "/labels", json!(["low", "high"]))).await,
        empty: make(json!({"name": "empty", "base_model": "plane"})).await,
        line: make(json!({"name": "line", "base_model": "line", "support": points})).await,
    };
    app.adapt(&tasks.open).await;
    tasks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_refused_with_its_place_and_leaves_nothing_behind() {
    let mut settings = Settings::default();
    settings.http.max_body_bytes = MAX_BODY;
    let app = TestApp::with(settings).await;
    let tasks = tasks(&app).await;
    let cases: Vec<Case> =
        [values::cases(&tasks), bodies::cases(), requests::cases(&tasks)].into_iter().flatten().collect();
    let before = app.stored().await;

    let mut complaints = Vec::new();
    for case in &cases {
        let answer = case.send(&app).await;
        complaints.extend(case.complaint(&answer));
        if app.stored().await != before {
            complaints.push(format!("{}: something was stored", case.what));
            break;
        }
        let described = app.get(&format!("/problems/{}", case.code)).await;
        if described.status != 200 {
            complaints.push(format!("{}: {} is not described", case.what, case.code));
        }
        app.post("/v1/adapt-predict", adapt_predict()).await.ok(200);
    }

    assert!(cases.len() >= 100, "{} cases", cases.len());
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
}
