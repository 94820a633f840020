//! Predictions, with a stored adapter and without.

use serde_json::{Value, json};

use super::app::TestApp;
use super::samples::{adapt_predict, base64, png, points, with};

/// Label and scores of each prediction: all but its id, which is fresh each time.
fn answers(predicted: &Value) -> Vec<(&Value, &Value)> {
    let predictions = predicted["predictions"].as_array().unwrap();
    predictions.iter().map(|prediction| (&prediction["label"], &prediction["scores"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn adapting_for_one_request_answers_and_stores_nothing() {
    let app = TestApp::start().await;

    let predicted = app.post("/v1/adapt-predict", adapt_predict()).await.ok(200);

    let [first, second] = &predicted["predictions"].as_array().unwrap()[..] else { panic!("{predicted}") };
    assert_eq!((&first["label"], &second["label"]), (&json!("high"), &json!("low")));
    assert_eq!(first["scores"][0], json!({"label": "high", "score": first["confidence"]}));
    assert!(first["id"].as_str().unwrap().starts_with("pred_"));
    assert_ne!(first["id"], second["id"]);
    assert_eq!(predicted["base_model"], base_of(&app).await);
    assert!(predicted["support_hash"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!((&predicted["quality"]["method"], &predicted["quality"]["n"]), (&json!("k_fold"), &json!(4)));
    assert_eq!(app.stored().await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_a_base_model_knows_count_wherever_they_stand_beside_those_that_it_does_not() {
    let app = TestApp::start().await;
    let scores = async |labels: [&str; 3]| {
        let places = [[1.0, 0.5], [-0.5, 1.0], [0.2, -1.0]];
        let mut support: Vec<Value> =
            places.iter().zip(labels).map(|(place, label)| json!({"input": place, "label": label})).collect();
        support.sort_by_key(|example| example["label"].to_string());
        let body = json!({"base_model": "reach", "support": support, "query": [[0.3, 0.2]], "top_k": 3});
        let predicted = app.post("/v1/adapt-predict", body).await.ok(200);
        let scores = predicted["predictions"][0]["scores"].as_array().unwrap().clone();
        labels.map(|label| scores.iter().find(|score| score["label"] == label).unwrap()["score"].as_f64().unwrap())
    };
    let apart = |one: [f64; 3], other: [f64; 3]| {
        one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
    };

    let known = scores(["far", "near", "odd"]).await;

    // The same places, another label that is not known, and sorted otherwise.
    assert!(apart(known, scores(["far", "near", "a third"]).await) < 1e-6);
    assert!(apart(known, scores(["near", "far", "odd"]).await) > 1e-3);
    assert!(apart(known, scores(["one", "two", "odd"]).await) > 1e-3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_a_whole_number_of_milliseconds_that_some_time_is_left_of() {
    let app = TestApp::start().await;
    let by = async |deadline: &'static str| {
        app.call("POST", "/v1/adapt-predict")
            .header("x-request-timeout-ms", deadline)
            .json(&adapt_predict())
            .send()
            .await
    };

    by("60000").await.ok(200);
    for malformed in ["0", "soon"] {
        let malformed = by(malformed).await.problem(400, "invalid_header");
        assert_eq!(malformed["errors"][0]["pointer"], "X-Request-Timeout-Ms");
    }
}

async fn base_of(app: &TestApp) -> Value {
    let base = app.get("/v1/base-models/plane").await.ok(200);
    json!({"name": base["name"], "sha256": base["sha256"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_adapter_answers_as_the_one_made_for_a_request() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let query = json!({"query": adapt_predict()["query"]});

    let stored = app.post(&format!("{task}/predict"), query.clone()).await.ok(200);
    let again = app.post(&format!("{task}/predict"), query).await.ok(200);
    let fresh = app.post("/v1/adapt-predict", adapt_predict()).await.ok(200);

    assert_eq!(answers(&stored), answers(&fresh));
    assert_eq!(answers(&stored), answers(&again));
    assert_eq!(stored["base_model"], fresh["base_model"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_examples_changes_nothing() {
    let app = TestApp::start().await;
    let mut reversed = points();
    reversed.as_array_mut().unwrap().reverse();
    // Labels take their order from their first mention: the first example of each stays the first.
    reversed.as_array_mut().unwrap().rotate_left(2);

    let one = app.post("/v1/adapt-predict", adapt_predict()).await.ok(200);
    let other = app.post("/v1/adapt-predict", with(adapt_predict(), "/support", reversed)).await.ok(200);

    assert_eq!(one["support_hash"], other["support_hash"]);
    assert_eq!(answers(&one), answers(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn top_k_keeps_the_most_probable_scores() {
    let app = TestApp::start().await;

    let predicted = app.post("/v1/adapt-predict", with(adapt_predict(), "/top_k", json!(1))).await.ok(200);
    let generous =
        app.post("/v1/adapt-predict", with(adapt_predict(), "/top_k", json!(4_000_000_000u64))).await.ok(200);

    let kept = predicted["predictions"][0]["scores"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[0]["label"]), (1, &json!("high")));
    assert_eq!(generous["predictions"][0]["scores"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn probabilities_sum_to_one() {
    let app = TestApp::start().await;

    let predicted = app.post("/v1/adapt-predict", adapt_predict()).await.ok(200);

    for (_, scores) in answers(&predicted) {
        let sum: f64 = scores.as_array().unwrap().iter().map(|score| score["score"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_and_its_pixels_are_one_input() {
    let app = TestApp::start().await;
    let light = |is_upright| {
        let pixel = |place: usize| f64::from(if is_upright { place % 16 == 4 } else { place / 16 == 4 });
        json!({"shape": [1, 16, 16], "values": (0..256).map(pixel).collect::<Vec<_>>()})
    };
    let ask = |upright: Value, lying: Value| {
        let support = json!([{"input": upright, "label": "upright"}, {"input": lying, "label": "lying"}]);
        json!({"base_model": "marks", "support": support, "query": [upright, lying]})
    };
    let file = |is_upright| json!({"image": base64(&png(is_upright))});
    let url = json!({"image": format!("data:image/png;base64,{}", base64(&png(true)))});

    let files = app.post("/v1/adapt-predict", ask(file(true), file(false))).await.ok(200);
    let urls = app.post("/v1/adapt-predict", ask(url, file(false))).await.ok(200);
    let pixels = app.post("/v1/adapt-predict", ask(light(true), light(false))).await.ok(200);

    assert_eq!(answers(&files), answers(&pixels));
    assert_eq!(answers(&files), answers(&urls));
    assert_eq!(files["support_hash"], pixels["support_hash"]);
    assert_eq!((answers(&files)[0].0, answers(&files)[1].0), (&json!("upright"), &json!("lying")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_does_not_depend_on_its_neighbours() {
    let app = TestApp::start().await;

    let together = app.post("/v1/adapt-predict", adapt_predict()).await.ok(200);
    let alone = app.post("/v1/adapt-predict", with(adapt_predict(), "/query", json!([[0.0, 0.0]]))).await.ok(200);

    assert_eq!(answers(&together)[1], answers(&alone)[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gradient_learner_takes_as_many_inner_steps_as_are_asked_for() {
    let app = TestApp::start().await;
    let body = with(adapt_predict(), "/base_model", json!("pair"));
    let steps = |steps: u32| with(body.clone(), "/recipe", json!({"inner_steps": steps}));

    let default = app.post("/v1/adapt-predict", body.clone()).await.ok(200);
    let two = app.post("/v1/adapt-predict", steps(2)).await.ok(200);
    let five = app.post("/v1/adapt-predict", steps(5)).await.ok(200);

    assert_eq!(answers(&default), answers(&two));
    assert_ne!(answers(&default), answers(&five));
    assert_eq!(default["quality"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn base_models_say_what_they_take() {
    let app = TestApp::start().await;

    let list = app.get("/v1/base-models").await.ok(200);

    assert_eq!(
        super::samples::each(&list, "name"),
        ["line", "marks", "pair", "plane", "reach", "tags", "taste", "words"]
    );
    assert_eq!(list["data"][0], app.get("/v1/base-models/line").await.ok(200));
    assert_eq!(list["data"][1]["input"]["type"], "image");
    assert_eq!(list["data"][0]["limits"], json!({"max_support": 20, "max_labels": 4, "max_query": 8}));
    app.get("/v1/base-models/lines").await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn prototypes_answer_until_there_is_an_adapter_if_they_may() {
    let app = TestApp::start().await;
    let predict = async |task: &str, more: Value| {
        let mut body = json!({"query": [[5.0, 5.0], [0.1, 0.0]]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app.post(&format!("{task}/predict"), body).await
    };
    let new = json!({"name": "early", "base_model": "plane", "support": points(), "answers": {"high": "Look up."}});
    let task = app.post("/v1/tasks", new).await.header("location").to_owned();

    predict(&task, json!({})).await.problem(409, "not_adapted");
    let early = predict(&task, json!({"prototype": true, "nearest": 1})).await.ok(200);

    assert_eq!((&early["served_by"], &early["version"]), (&json!("prototype"), &Value::Null));
    let [high, low] = &early["predictions"].as_array().unwrap()[..] else { panic!("{early}") };
    assert_eq!((&high["label"], &high["answer"], &low["label"]), (&json!("high"), &json!("Look up."), &json!("low")));
    let shares: f64 = high["scores"].as_array().unwrap().iter().map(|score| score["score"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9 && high["confidence"].as_f64().unwrap() > 0.5, "{high}");
    assert_eq!(high["nearest"].as_array().unwrap().len(), 1);

    // What has no meaning beside it.
    predict(&task, json!({"prototype": true, "store": true})).await.problem(422, "invalid_values");
    predict(&task, json!({"prototype": true, "version": 1})).await.problem(422, "invalid_values");
    let bare =
        app.post("/v1/tasks", json!({"name": "bare", "base_model": "plane"})).await.header("location").to_owned();
    let none = predict(&bare, json!({"prototype": true})).await.problem(422, "invalid_values");
    assert_eq!(none["errors"][0]["pointer"], "/prototype");
    let line = app.post("/v1/tasks", json!({"name": "line", "base_model": "line"})).await.header("location").to_owned();
    let body = json!({"query": [[1.0]], "prototype": true});
    app.post(&format!("{line}/predict"), body).await.problem(422, "invalid_values");

    // Once there is an adapter, it answers.
    app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=20").send().await.ok(201);
    let adapted = predict(&task, json!({"prototype": true})).await.ok(200);
    assert_eq!((&adapted["served_by"], &adapted["version"]), (&json!("adapter"), &json!(1)));
    assert_eq!(answers(&adapted), answers(&predict(&task, json!({})).await.ok(200)));
}
