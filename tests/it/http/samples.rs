//! Bodies of requests that are right, and short ways to what tests start from.

use std::io::Cursor;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma};
use serde_json::{Value, json};

use super::app::TestApp;
use super::bases::SIDE;

/// Four points of the plane, two near each of two places.
pub fn points() -> Value {
    json!([
        {"input": [0.0, 0.1], "label": "low"},
        {"input": [0.1, 0.0], "label": "low"},
        {"input": [5.0, 5.1], "label": "high"},
        {"input": [5.1, 5.0], "label": "high"}
    ])
}

pub fn adapt_predict() -> Value {
    json!({"base_model": "plane", "support": points(), "query": [[5.0, 5.0], [0.0, 0.0]]})
}

pub fn task() -> Value {
    json!({"name": "places", "base_model": "plane", "support": points()})
}

/// `body` with `value` in the place of what `pointer` leads to, or added there.
pub fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[member.parse::<usize>().unwrap()] = value,
        other => other[member] = value,
    }
    body
}

/// A grey picture with a light bar in row or column 4, as a PNG file.
pub fn png(is_upright: bool) -> Vec<u8> {
    let bar = |x, y| Luma([u8::from(if is_upright { x } else { y } == 4) * 255]);
    let mut file = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageLuma8(ImageBuffer::from_fn(SIDE, SIDE, bar));
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

impl TestApp {
    /// Path of a fresh task with four examples of two labels.
    pub async fn task(&self) -> String {
        let task = self.post("/v1/tasks", task()).await.ok(201);
        format!("/v1/tasks/{}", task["id"].as_str().unwrap())
    }

    /// Adapts the task and waits for it; the version.
    pub async fn adapt(&self, task: &str) -> u64 {
        let call = self.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=20");
        call.send().await.ok(201)["result"]["version"].as_u64().unwrap()
    }

    /// The adaptation at that path, once it has ended.
    pub async fn ended(&self, place: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let adaptation = self.get(place).await.ok(200);
            if adaptation["finished_at"].is_string() {
                return adaptation;
            }
            assert!(Instant::now() < deadline, "{adaptation}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Adds an example that the task does not have, so that its next adaptation leaves another adapter.
    pub async fn add(&self, task: &str, input: [f32; 2], label: &str) -> Value {
        let body = json!({"examples": [{"input": input, "label": label}]});
        self.post(&format!("{task}/support"), body).await.ok(200)
    }
}

/// `member` of each item of a list.
pub fn each(list: &Value, member: &str) -> Vec<Value> {
    list["data"].as_array().unwrap().iter().map(|item| item[member].clone()).collect()
}
