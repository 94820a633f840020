//! Many tenants' tasks at once, on the base models that ship.

use std::sync::Arc;

use imprint::config::{DeviceSetting, EngineConfig, ServiceConfig};
use imprint::engine::Engine;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::app::{Settings, TestApp};

const CLIENTS: usize = 64;

/// The server as it is shipped, with four workers.
async fn shipped() -> Arc<TestApp> {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models").into();
    let encoders = concat!(env!("CARGO_MANIFEST_DIR"), "/.imprint/encoders").into();
    let config = EngineConfig { models, encoders, device: DeviceSetting::Cpu, workers: 4, ..EngineConfig::default() };
    let service = ServiceConfig { runners: 8, poll_ms: 50, ..ServiceConfig::default() };
    let engine = Engine::start(&config).unwrap();
    Arc::new(TestApp::with(Settings { service, engine, ..Settings::default() }).await)
}

/// A picture with strokes that depend on class and drawing.
fn picture(class: usize, drawing: usize) -> Value {
    let ink = |row: usize, column: usize| {
        let slanted = (row * (class % 5) + column * (1 + class / 5) + drawing) % 11 < 2;
        let upright = column.abs_diff(4 + 2 * class + drawing % 3) < 2;
        if slanted || upright { 1.0 } else { 0.0 }
    };
    let values: Vec<f64> = (0..28 * 28).map(|pixel| ink(pixel / 28, pixel % 28)).collect();
    json!({"shape": [1, 28, 28], "values": values})
}

/// Client `index`'s task and its queries: characters of 2 to 9 classes and 1 to 3 drawings, one class with one more;
/// every fourth a curve of 3 to 18 points, which takes gradient steps on all weights.
fn task(index: usize) -> (Value, Value) {
    if index % 4 == 3 {
        let point = |at: usize| -3.0 + 0.31 * at as f64;
        let curve = |at: usize| (1.0 + 0.05 * index as f64) * (point(at) + 0.1 * index as f64).sin();
        let support: Vec<Value> =
            (0..3 + index / 4).map(|at| json!({"input": [point(at)], "value": curve(at)})).collect();
        let body = json!({"name": "curve", "base_model": "sinusoid", "support": support});
        return (body, json!({"query": [[0.05], [1.5], [-2.2]]}));
    }
    let (way, shot) = (2 + index % 8, 1 + index % 3);
    let support: Vec<Value> = (0..way)
        .flat_map(|class| (0..shot + usize::from(class == 0)).map(move |drawing| (class, drawing)))
        .map(|(class, drawing)| json!({"input": picture(class + index % 4, drawing), "label": format!("c{class}")}))
        .collect();
    let query: Vec<Value> = (0..3).map(|class| picture(class + index % 4, 5 + index)).collect();
    (json!({"name": "characters", "base_model": "omniglot", "support": support}), json!({"query": query}))
}

/// What a client sees that makes a task, adapts it and asks: every number of it, and who answers.
async fn served(app: &TestApp, index: usize) -> (usize, Vec<Value>) {
    let (body, query) = task(index);
    let created = app.post("/v1/tasks", body).await;
    created.ok(201);
    let place = created.header("location").to_owned();
    app.call("POST", &format!("{place}/adaptations")).header("prefer", "wait=60").send().await.ok(201);
    let adapter = app.get(&format!("{place}/adapters/1")).await.ok(200);
    let predicted = app.post(&format!("{place}/predict"), query).await.ok(200);
    let mut quality = adapter["quality"].clone();
    for list in ["suspects", "outliers", "duplicates"] {
        for named in quality[list].as_array_mut().into_iter().flatten() {
            named.as_object_mut().unwrap().retain(|member, _| member != "id" && member != "ids");
        }
    }
    let mut seen = vec![adapter["sha256"].clone(), quality];
    assert!(seen[0].is_string(), "{adapter}");
    for prediction in predicted["predictions"].as_array().unwrap() {
        let mut prediction = prediction.clone();
        prediction.as_object_mut().unwrap().remove("id");
        seen.push(prediction);
    }
    assert_eq!(seen.len(), 5, "{predicted}");
    (index, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_at_once_get_the_very_numbers_that_each_gets_alone() {
    let (quiet, crowded) = (shipped().await, shipped().await);

    let mut alone = Vec::new();
    for index in 0..CLIENTS {
        alone.push(served(&quiet, index).await);
    }
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        let app = Arc::clone(&crowded);
        clients.spawn(async move { served(&app, index).await });
    }
    let mut together = clients.join_all().await;
    together.sort_by_key(|(index, _)| *index);

    for (one, other) in alone.iter().zip(&together) {
        assert_eq!(one, other);
    }
    let distinct: std::collections::HashSet<String> = alone.iter().map(|(_, seen)| format!("{seen:?}")).collect();
    assert_eq!(distinct.len(), CLIENTS, "each task has an answer of its own");
}
