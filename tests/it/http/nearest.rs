//! Nearest examples, search, and what a task answers for a label.

use serde_json::{Value, json};

use super::app::TestApp;
use super::samples::{adapt_predict, points, with};

/// An adapted task of texts with two labels, one of them with an answer.
async fn letters(app: &TestApp) -> String {
    let support = json!([
        {"input": "aaa aa", "label": "pay", "external_id": "one"}, {"input": "aa aaaa", "label": "pay"},
        {"input": "zzz zz", "label": "end"}, {"input": "zz zzzz", "label": "end"}
    ]);
    let answers = json!({"pay": "Here is how to pay."});
    let body = json!({"name": "n", "base_model": "words", "support": support, "answers": answers});
    let task = app.post("/v1/tasks", body).await.ok(201);
    assert_eq!(task["answers"], answers);
    let task = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    app.adapt(&task).await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_has_the_answer_of_its_label_and_the_examples_it_is_like() {
    let app = TestApp::start().await;
    let task = letters(&app).await;

    let asked = json!({"query": ["aaa aa", "zzz zz"], "nearest": 2});
    let answer = app.post(&format!("{task}/predict"), asked).await.ok(200);

    let [pay, end] = [&answer["predictions"][0], &answer["predictions"][1]];
    assert_eq!((&pay["label"], &pay["answer"]), (&json!("pay"), &json!("Here is how to pay.")));
    assert_eq!((&end["label"], &end["answer"]), (&json!("end"), &Value::Null));
    let near = pay["nearest"].as_array().unwrap();
    assert_eq!((near.len(), &near[0]["text"], &near[0]["external_id"]), (2, &json!("aaa aa"), &json!("one")));
    let similarity = |neighbour: &Value| neighbour["similarity"].as_f64().unwrap();
    assert!((similarity(&near[0]) - 1.0).abs() < 1e-4 && similarity(&near[1]) <= similarity(&near[0]), "{near:?}");
    let plain = app.post(&format!("{task}/predict"), json!({"query": ["aaa aa"]})).await.ok(200);
    assert_eq!(plain["predictions"][0]["nearest"], Value::Null);

    let other = json!({"answers": {"end": "Farewell."}});
    let patched = app.call("PATCH", &task).json(&other).send().await.ok(200);
    assert_eq!(patched["answers"], other["answers"]);
    let unknown = app.call("PATCH", &task).json(&json!({"answers": {"a/b": "?"}})).send().await;
    assert_eq!(unknown.problem(422, "invalid_values")["errors"][0]["pointer"], "/answers/a~1b");
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_of_images_and_points_are_found_too_and_named_by_their_place() {
    let app = TestApp::start().await;
    let body = with(adapt_predict(), "/nearest", json!(1));

    let answer = app.post("/v1/adapt-predict", body.clone()).await.ok(200);

    let nearest = &answer["predictions"][0]["nearest"];
    assert_eq!((nearest.as_array().unwrap().len(), &nearest[0]["label"]), (1, &json!("high")), "{answer}");
    assert!(nearest[0]["index"].as_u64().unwrap() >= 2 && nearest[0]["id"].is_null());
    for (count, code) in [(0, "too_few"), (21, "too_many")] {
        let refused = app.post("/v1/adapt-predict", with(body.clone(), "/nearest", json!(count))).await;
        assert_eq!(refused.problem(422, "invalid_values")["errors"][0]["code"], code);
    }
    let adapts = json!({
        "base_model": "pair", "nearest": 1, "query": [[0.5, 0.5]], "support": points()
    });
    let refused = app.post("/v1/adapt-predict", adapts).await;
    assert_eq!(refused.problem(422, "invalid_values")["errors"][0]["code"], "no_features");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_examples_and_answers_of_the_task_alone() {
    let app = TestApp::start().await;
    let task = letters(&app).await;
    let find = async |body: Value| app.post(&format!("{task}/search"), body).await.ok(200)["data"].clone();

    let all = find(json!({"query": "Here is how to pay.", "limit": 20})).await;
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert_eq!(
        (&all[0]["object"], &all[0]["label"], &all[0]["answer"]),
        (&json!("answer"), &json!("pay"), &json!("Here is how to pay."))
    );
    let ended = find(json!({"query": "aaa aa", "label": "end"})).await;
    assert!(ended.as_array().unwrap().iter().all(|hit| hit["label"] == "end") && ended.as_array().unwrap().len() == 2);
    let added = json!({"examples": [{"input": "qq q", "label": "end"}]});
    app.post(&format!("{task}/support"), added).await.ok(200);
    assert_eq!(find(json!({"query": "qq q", "limit": 1})).await[0]["text"], "qq q");

    let plane = app.post("/v1/tasks", json!({"name": "p", "base_model": "plane", "support": points()})).await.ok(201);
    let hits =
        app.post(&format!("/v1/tasks/{}/search", plane["id"].as_str().unwrap()), json!({"query": [5.0, 5.0]})).await;
    assert_eq!(hits.ok(200)["data"][0]["label"], "high");
    let stranger = app.key_of("berta").await;
    let hidden = app.call("POST", &format!("{task}/search")).key(&stranger).json(&json!({"query": "aaa"})).send().await;
    hidden.problem(404, "not_found");
}
