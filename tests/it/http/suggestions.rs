//! What to label next.

use serde_json::{Value, json};

use super::app::TestApp;

fn places(answer: &Value) -> Vec<u64> {
    answer["suggestions"].as_array().unwrap().iter().map(|one| one["index"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_adapter_is_least_sure_of_comes_first_and_its_like_last() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let path = format!("{task}/suggestions");
    // Between the two places, the same once more, near one of the places, in one of them.
    let query = json!([[2.55, 2.55], [2.55, 2.55], [3.5, 3.4], [5.0, 5.0]]);

    let all = app.post(&path, json!({"query": query})).await.ok(200);
    let two = app.post(&path, json!({"query": query, "limit": 2})).await.ok(200);

    assert_eq!(places(&all).len(), 4);
    assert_eq!((places(&all)[0], *places(&all).last().unwrap()), (0, 1), "{all}");
    assert_eq!(places(&two), places(&all)[..2]);
    let first = &all["suggestions"][0];
    assert!(first["unsureness"].as_f64().unwrap() > 0.8 && first["novelty"] == 1.0, "{first}");
    assert!(all["suggestions"][3]["novelty"].as_f64().unwrap() < 1e-6, "{all}");
    app.post(&path, json!({"query": query, "limit": 0})).await.problem(422, "invalid_values");
    app.post(&path, json!({"query": []})).await.problem(422, "invalid_values");
}
