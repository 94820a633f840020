//! Texts as inputs: encoded by the workers, once.

use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::bases;
use super::samples::with;
use super::tiny_encoder::MAX_CHARS;

fn support() -> Value {
    json!([
        {"input": "where is my card", "label": "card"},
        {"input": "the card has not come", "label": "card"},
        {"input": "zzz xyz", "label": "noise"},
        {"input": "qqq zzz", "label": "noise"}
    ])
}

fn ask(query: &Value) -> Value {
    json!({"base_model": "words", "support": support(), "query": query})
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_adapted_to_and_predicted() {
    let app = TestApp::start().await;

    let support = json!([{"input": "where is my card", "label": "card"}, {"input": "qqq zzz", "label": "noise"}]);
    let body = with(ask(&json!(["where is my card", "qqq zzz"])), "/support", support);
    let answer = app.post("/v1/adapt-predict", body).await.ok(200);

    assert_eq!(answer["predictions"][0]["label"], "card");
    assert_eq!(answer["predictions"][1]["label"], "noise");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_does_not_depend_on_what_is_encoded_beside_it() {
    let app = TestApp::start().await;
    let fresh = |engine| Settings { engine, ..Settings::default() };

    let together = app.post("/v1/adapt-predict", ask(&json!(["lost it", "a", "where are you now"]))).await.ok(200);
    let other = TestApp::with(fresh(bases::start(1, 256))).await;
    let alone = other.post("/v1/adapt-predict", ask(&json!(["lost it"]))).await.ok(200);

    assert_eq!(together["predictions"][0]["scores"], alone["predictions"][0]["scores"]);
    assert_eq!(together["support_hash"], alone["support_hash"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adapting_again_after_one_more_example_encodes_one_example() {
    let engine = bases::start(2, 256);
    let app = TestApp::with(Settings { engine: engine.clone(), ..Settings::default() }).await;
    let body = json!({"name": "cards", "base_model": "words", "support": support()});
    let task = app.post("/v1/tasks", body).await.ok(201)["id"].as_str().unwrap().to_owned();
    let adaptations = format!("/v1/tasks/{task}/adaptations");
    let adapt =
        || async { app.call("POST", &adaptations).header("prefer", "wait=20").json(&json!({})).send().await.ok(201) };

    let first = adapt().await;
    assert_eq!(engine.texts_encoded(), 4);
    let more = json!({"examples": [{"input": "my card is lost", "label": "card"}]});
    app.post(&format!("/v1/tasks/{task}/support"), more).await.ok(200);
    let second = adapt().await;

    assert_eq!(engine.texts_encoded(), 5);
    assert_ne!(first["result"]["version"], second["result"]["version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_with_the_same_label_is_a_duplicate() {
    let app = TestApp::start().await;
    let body = json!({"name": "cards", "base_model": "words", "support": support()});
    let task = app.post("/v1/tasks", body).await.ok(201)["id"].as_str().unwrap().to_owned();

    let twice = json!({"examples": [{"input": "zzz xyz", "label": "noise"}, {"input": "zzz xyz", "label": "card"}]});
    let added = app.post(&format!("/v1/tasks/{task}/support"), twice).await.ok(200);

    assert_eq!(added["support_count"], 5, "{added}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_may_stand_for_a_text() {
    let app = TestApp::start().await;
    let mut embedding = vec![0.0; 8];
    embedding[3] = 1.0;

    app.post("/v1/adapt-predict", ask(&json!([embedding]))).await.ok(200);
    embedding.pop();
    let problem = app.post("/v1/adapt-predict", ask(&json!([embedding]))).await.problem(422, "invalid_values");

    assert_eq!(problem["errors"][0]["code"], "wrong_input", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("takes a text"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_say_nothing_or_too_much_are_refused_with_their_place() {
    let app = TestApp::start().await;
    let long = "w".repeat(MAX_CHARS + 1);

    for (text, code) in [(json!(""), "too_few"), (json!(" \n\t"), "too_few"), (json!(long), "too_many")] {
        let problem = app.post("/v1/adapt-predict", ask(&json!(["fine", text]))).await.problem(422, "invalid_values");
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], "/query/1", "{problem}");
        let body = with(ask(&json!(["fine"])), "/support/2/input", text);
        let problem = app.post("/v1/adapt-predict", body).await.problem(422, "invalid_values");
        assert_eq!(problem["errors"][0]["pointer"], "/support/2/input", "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_characters_are_a_text() {
    let app = TestApp::start().await;
    let texts = json!([
        "\u{0}\u{1}\u{7f}",
        "\u{202e}abc",
        "😀😀",
        "東京",
        "a\u{300}\u{301}\u{302}",
        "\u{feff}x",
        "[CLS] [SEP] [PAD]"
    ]);

    let answer = app.post("/v1/adapt-predict", ask(&texts)).await.ok(200);

    assert_eq!(answer["predictions"].as_array().unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_other_clients_a_model_of_texts_takes_texts() {
    let app = TestApp::start().await;
    let body = json!({"name": "cards", "base_model": "words", "support": support()});
    let task = app.post("/v1/tasks", body).await.header("location").to_owned();
    app.adapt(&task).await;
    let model = task.replace("/v1/tasks", "/v2/models");

    let input = app.get(&model).await.ok(200)["inputs"][0].clone();

    assert_eq!(input, json!({"name": "query", "datatype": "BYTES", "shape": [-1]}));
    let query = json!({"inputs": [with(with(input, "/shape", json!([1])), "/data", json!(["qqq zzz"]))]});
    assert_eq!(app.post(&format!("{model}/infer"), query).await.ok(200)["outputs"][0]["data"], json!(["noise"]));
}
