//! What is logged of a request: what it was and what came of it, never what was in it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::app::{Settings, TestApp};
use super::samples::{adapt_predict, with};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// One thread, so that the subscriber of this thread sees all that the async side logs.
#[tokio::test]
async fn a_request_leaves_one_line_without_its_key_and_its_payload() {
    let lines = Lines::default();
    let log =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(lines.clone());
    let app = TestApp::with(Settings::idle()).await;
    let body = with(adapt_predict(), "/support/0/label", json!("sensitive words"));
    let body = with(body, "/query/0", json!([1234.5678, 0]));

    let logging = tracing::subscriber::set_default(log.finish());
    app.post("/v1/adapt-predict", body.clone()).await.ok(200);
    app.post("/v1/adapt-predict?token=hush", with(body, "/base_model", json!("classified"))).await.ok(422);
    drop(logging);

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let answered: Vec<_> = log.lines().filter(|line| line.contains("answered")).collect();
    assert_eq!(answered.len(), 2, "{log}");
    for (line, status) in answered.iter().zip([200, 422]) {
        for part in
            ["INFO", "POST", "/v1/adapt-predict", "request.id", &format!("http.status={status}"), "http.took_ms"]
        {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }
    for secret in [&app.key[30..], "sensitive words", "1234.5678", "hush", "classified"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}
