//! Tagging: spans in, spans out, and the report on them.

use serde_json::{Value, json};

use super::app::TestApp;
use super::samples::with;

/// Names after `mr`, towns after `in`: what a tagger that sees neighbours can learn.
fn support() -> Value {
    let person = |start: usize, end: usize| json!({"start": start, "end": end, "label": "person"});
    let town = |start: usize, end: usize| json!({"start": start, "end": end, "label": "town"});
    json!([
        {"input": "mr Abel lives in Xeno", "spans": [person(3, 7), town(17, 21)]},
        {"input": "mr Bode was in Ymir", "spans": [person(3, 7), town(15, 19)]},
        {"input": "we saw mr Cray", "spans": [person(10, 14)]},
        {"input": "nobody came in time", "spans": []},
        {"input": {"tokens": ["mr", "Dorn", "Eck", "went"]}, "tags": ["O", "B-person", "I-person", "O"]}
    ])
}

async fn task(app: &TestApp) -> String {
    let body = json!({"name": "names", "base_model": "tags", "support": support()});
    let task = app.post("/v1/tasks", body).await.ok(201);
    assert_eq!((&task["kind"], &task["support_count"]), (&json!("tagging"), &json!(5)));
    assert_eq!(task["labels"], json!([{"name": "person", "support_count": 4}, {"name": "town", "support_count": 2}]));
    format!("/v1/tasks/{}", task["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_sentences_is_adapted_stored_and_answers_in_characters() {
    let app = TestApp::start().await;
    let task = task(&app).await;
    app.adapt(&task).await;

    let query = json!(["mr Abel lives in Xeno", {"tokens": ["mr", "Dorn", "Eck", "went"]}]);
    let answer = app.post(&format!("{task}/predict"), json!({"query": query})).await.ok(200);

    let spans = answer["predictions"][0]["spans"].as_array().unwrap();
    let found: Vec<Value> =
        spans.iter().map(|span| json!([span["start"], span["end"], span["label"], span["text"]])).collect();
    assert_eq!(found, [json!([3, 7, "person", "Abel"]), json!([17, 21, "town", "Xeno"])]);
    assert!(spans.iter().all(|span| (0.0..=1.0).contains(&span["probability"].as_f64().unwrap())));
    assert_eq!(answer["predictions"][1]["tags"], json!(["O", "B-person", "I-person", "O"]));
    assert!(answer["predictions"][0].get("tags").is_none(), "tags are for words that were given");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_support_has_the_same_adapter_and_an_answer_does_not_depend_on_others() {
    let app = TestApp::start().await;
    let task = task(&app).await;
    app.adapt(&task).await;

    let verified = app.post(&format!("{task}/adapters/1/verify"), json!({})).await.ok(200);
    assert_eq!(verified["matches"], json!(true), "{verified}");
    let ask = async |query: Value| {
        app.post(&format!("{task}/predict"), json!({"query": query})).await.ok(200)["predictions"][0]["spans"].clone()
    };
    let alone = ask(json!(["mr Fink came"])).await;
    assert_eq!(
        alone,
        ask(json!(["mr Fink came", "mr Abel lives in Xeno", "in a very long sentence of many words"])).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluate_reports_spans_and_words() {
    let app = TestApp::start().await;
    let task = task(&app).await;
    app.adapt(&task).await;

    let unseen = json!({"input": "the Feast of Xeno", "spans": [{"start": 4, "end": 9, "label": "feast"}]});
    let mut examples = support();
    examples.as_array_mut().unwrap().push(unseen);
    let evaluated = app.post(&format!("{task}/evaluate"), json!({"examples": examples})).await.ok(200);

    let report = &evaluated["report"];
    assert_eq!((&evaluated["n"], &report["sentences"], &report["words"]), (&json!(6), &json!(6), &json!(26)));
    let lines = report["entity_level"]["per_label"].as_array().unwrap();
    let names: Vec<&str> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["feast", "person", "town"]);
    assert_eq!((&lines[0]["support"], &lines[0]["recall"]), (&json!(1), &json!(0.0)));
    assert_eq!(report["entity_level"]["micro"]["support"], json!(7));
    assert_eq!(report["token_level"]["micro"]["support"], json!(26));
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_on_spans_becomes_an_example() {
    let app = TestApp::start().await;
    let task = task(&app).await;
    app.adapt(&task).await;

    let kept = app.post(&format!("{task}/predict"), json!({"query": ["mr Gant sang"], "store": true})).await.ok(200);
    let right = json!([{"start": 3, "end": 7, "label": "person"}]);
    let body = json!({"prediction_id": kept["predictions"][0]["id"], "spans": right});
    let taken = app.post(&format!("{task}/feedback"), body).await.ok(200);

    assert_eq!(taken["support"]["added"], json!(1));
    let listed = app.get(&format!("{task}/support?limit=1")).await.ok(200);
    assert_eq!((&listed["data"][0]["input"], &listed["data"][0]["spans"]), (&json!("mr Gant sang"), &right));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_told_in_the_shape_of_token_classification_too() {
    let app = TestApp::start().await;
    let (task, other) = (task(&app).await, app.task().await);
    app.adapt(&task).await;
    app.adapt(&other).await;
    let (text, tag) = ("mr Abel lives in Xeno", format!("{task}/tag"));

    let one = app.post(&tag, json!({"inputs": text, "parameters": {}})).await.ok(200);
    let several = json!({"inputs": [text, "nobody came in time"], "parameters": {"aggregation_strategy": "simple"}});
    let several = app.post(&tag, several).await.ok(200);

    let entities: Vec<Value> =
        one.as_array().unwrap().iter().map(|entity| with(entity.clone(), "/score", json!(0))).collect();
    let entity = |group: &str, word: &str, start: usize, end: usize| json!({"entity_group": group, "score": 0, "word": word, "start": start, "end": end});
    assert_eq!(entities, [entity("person", "Abel", 3, 7), entity("town", "Xeno", 17, 21)]);
    assert_eq!(several, json!([one, []]));
    let empty = app.post(&tag, json!({"inputs": ""})).await.problem(422, "invalid_values");
    assert_eq!(empty["errors"][0]["pointer"], "/inputs");
    let empty = app.post(&tag, json!({"inputs": ["a", ""]})).await.problem(422, "invalid_values");
    assert_eq!(empty["errors"][0]["pointer"], "/inputs/1");
    app.post(&tag, json!({"inputs": text, "parameters": {"aggregation_strategy": "none"}}))
        .await
        .problem(422, "invalid_values");
    app.post(&format!("{other}/tag"), json!({"inputs": text})).await.problem(409, "wrong_kind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_learns_alone_if_no_inner_step_is_asked_for() {
    let app = TestApp::start().await;
    let body = json!({"base_model": "tags", "support": support(), "query": ["mr Abel lives in Xeno"]});
    let whole = app.post("/v1/adapt-predict", body.clone()).await.ok(200);

    let head = app.post("/v1/adapt-predict", with(body, "/recipe", json!({"inner_steps": 0}))).await.ok(200);

    assert_eq!(head["support_hash"], whole["support_hash"]);
    assert_ne!(head["predictions"][0]["spans"], whole["predictions"][0]["spans"]);
}
