//! What one tenant may have altogether.

use std::io::Cursor;
use std::time::Duration;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma};
use imprint::domain::Usage;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::samples::{adapt_predict, base64, png};

/// Longer than a count is trusted when there seems to be no room.
const COUNTED_AGAIN: Duration = Duration::from_millis(1_200);

/// A picture of noise, which no format makes smaller: about 0.7 MiB as JSON.
fn large(seed: u64) -> Value {
    let mut bits = ChaCha8Rng::seed_from_u64(seed);
    let noise = ImageBuffer::from_fn(720, 720, |_, _| Luma([(bits.next_u32() & 255) as u8]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(noise).write_to(&mut file, ImageFormat::Png).unwrap();
    json!({"image": base64(&file.into_inner())})
}

fn marks(seed: u64) -> Value {
    json!({"name": "marks", "base_model": "marks", "support": [{"input": large(seed), "label": "a"}]})
}

async fn small() -> TestApp {
    let mut settings = Settings::idle();
    settings.service.tenant_stored_mib = 1;
    TestApp::with(settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_stored_as_much_as_may_be_is_told_so_until_something_is_deleted() {
    let app = small().await;
    let task = app.post("/v1/tasks", marks(1)).await;
    task.ok(201);
    let place = task.header("location").to_owned();
    let more = json!({"examples": [{"input": large(2), "label": "b"}]});

    for _ in 0..2 {
        let refused = app.post(&format!("{place}/support"), more.clone()).await.problem(422, "invalid_values");
        assert_eq!(refused["errors"][0]["code"], "no_room", "{refused}");
        tokio::time::sleep(COUNTED_AGAIN).await;
    }
    let stored = app.get("/v1/usage").await.ok(200)["stored"].clone();
    let picture = json!({"image": base64(&png(true))});
    app.post(&format!("{place}/support"), json!({"examples": [{"input": picture, "label": "b"}]})).await.ok(200);
    app.delete(&place).await.ok(204);
    let again = app.post("/v1/tasks", marks(3)).await;

    assert_eq!(stored["support"], 1);
    assert!((500_000..1 << 20).contains(&stored["support_bytes"].as_u64().unwrap()), "{stored}");
    assert_eq!(stored["bytes"], stored["support_bytes"]);
    again.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_bytes_are_not_anothers() {
    let app = small().await;
    let other = app.key_of("berta").await;
    app.post("/v1/tasks", marks(1)).await.ok(201);

    app.post("/v1/tasks", marks(2)).await.problem(422, "invalid_values");
    app.call("POST", "/v1/tasks").key(&other).json(&marks(1)).send().await.ok(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_answers_go_on_and_nothing_is_kept() {
    let mut settings = Settings::default();
    settings.service.tenant_stored_mib = 1;
    let app = TestApp::with(settings).await;
    let task = app.post("/v1/tasks", marks(1)).await.header("location").to_owned();
    let other = json!({"examples": [{"input": {"image": base64(&png(true))}, "label": "b"}]});
    app.post(&format!("{task}/support"), other).await.ok(200);
    app.adapt(&task).await;

    let answered = app.post(&format!("{task}/predict"), json!({"query": [large(2)]})).await;
    let kept = app.post(&format!("{task}/predict"), json!({"query": [large(2)], "store": true})).await;

    answered.ok(200);
    assert_eq!(kept.problem(422, "invalid_values")["errors"][0]["code"], "no_room");
    assert_eq!(app.count("SELECT count(*) FROM predictions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn adaptations_of_a_day_take_so_long_and_no_longer() {
    let mut settings = Settings::default();
    settings.service.tenant_compute_s_per_day = 60;
    let app = TestApp::with(settings).await;
    let tenant = app.get("/v1/whoami").await.ok(200)["tenant"].as_str().unwrap().parse().unwrap();
    let task = app.task().await;
    app.adapt(&task).await;
    app.add(&task, [9.0, 9.0], "high").await;

    app.service.meter(tenant, Usage { compute_ms: 60_000, ..Usage::default() });
    let refused = app.post(&format!("{task}/adaptations"), json!({})).await;
    let at_once = app.post("/v1/adapt-predict", adapt_predict()).await;
    app.post(&format!("{task}/predict"), json!({"query": [[1, 2]]})).await.ok(200);
    app.pass(24 * 3_600 * 1_000);

    refused.problem(429, "tenant_compute");
    at_once.problem(429, "tenant_compute");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    assert_eq!(app.adapt(&task).await, 2);
}
