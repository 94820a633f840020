//! Support sets.

use serde_json::json;

use super::app::TestApp;
use super::samples::{adapt_predict, base64, each, png, with};

#[tokio::test(flavor = "multi_thread")]
async fn an_example_that_is_there_already_is_named_and_not_added() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let known = app.add(&task, [1.0, 2.0], "low").await["ids"][0].clone();

    let examples = json!([{"input": [3, 4], "label": "low"}, {"input": [1.0, 2.0], "label": "low"}]);
    let added = app.post(&format!("{task}/support"), json!({"examples": examples})).await.ok(200);

    assert_eq!(added["duplicates"], json!([{"index": 1, "id": known}]));
    assert_eq!((&added["added"], &added["support_count"]), (&json!(1), &json!(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_id_names_one_example() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let example = |x: i32| json!({"examples": [{"input": [x, 0], "label": "low", "external_id": "crm-77"}]});
    let first = app.post(&format!("{task}/support"), example(1)).await.ok(200);

    let second = app.post(&format!("{task}/support"), example(2)).await.ok(200);

    assert_eq!(second["duplicates"], json!([{"index": 0, "id": first["ids"][0]}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_input_of_a_request_is_pointed_at_and_nothing_is_added() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let before = app.stored().await;

    let inputs = [json!([1]), json!([1, 2]), json!("a text"), json!([1, 1e39])];
    let examples: Vec<_> = inputs.iter().map(|input| json!({"input": input, "label": "low"})).collect();
    let problem = app.post(&format!("{task}/support"), json!({"examples": examples})).await;

    let errors = problem.problem(422, "invalid_values")["errors"].clone();
    let found: Vec<_> = errors.as_array().unwrap().iter().map(|error| (&error["pointer"], &error["code"])).collect();
    let expected = [("0", "wrong_width"), ("2", "wrong_input"), ("3", "not_finite")]
        .map(|(index, code)| (json!(format!("/examples/{index}/input")), json!(code)));
    assert_eq!(found, expected.iter().map(|(pointer, code)| (pointer, code)).collect::<Vec<_>>());
    assert_eq!(app.stored().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_listed_as_they_were_sent_and_can_be_removed() {
    let app = TestApp::start().await;
    let task =
        app.post("/v1/tasks", json!({"name": "bars", "base_model": "marks"})).await.header("location").to_owned();
    let image = json!({"image": base64(&png(true))});
    app.post(&format!("{task}/support"), json!({"examples": [{"input": image, "label": "upright"}]})).await.ok(200);

    let listed = app.get(&format!("{task}/support")).await.ok(200);
    let example = format!("{task}/support/{}", listed["data"][0]["id"].as_str().unwrap());
    app.delete(&example).await.ok(204);

    assert_eq!(each(&listed, "input"), [image]);
    assert_eq!(each(&listed, "label"), ["upright"]);
    assert_eq!(app.get(&format!("{task}/support")).await.ok(200)["data"], json!([]));
    app.delete(&example).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regression_takes_values() {
    let app = TestApp::start().await;
    let task =
        app.post("/v1/tasks", json!({"name": "slope", "base_model": "line"})).await.header("location").to_owned();

    let examples = json!([{"input": [1], "value": 1.5}, {"input": [2], "value": -3e-7}]);
    app.post(&format!("{task}/support"), json!({"examples": examples})).await.ok(200);

    let values = each(&app.get(&format!("{task}/support")).await.ok(200), "value");
    assert!(values.len() == 2 && values.contains(&json!(1.5)) && values.contains(&json!(-3e-7)), "{values:?}");
    assert_eq!(app.adapt(&task).await, 1);
    let predicted = app.post(&format!("{task}/predict"), json!({"query": [[1.5]]})).await.ok(200);
    assert!(predicted["predictions"][0]["value"].is_number(), "{predicted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_nobody_has_labelled_are_kept_listed_and_adapted_on() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let adapted = async || app.get(&format!("{task}/adapters/{}", app.adapt(&task).await)).await.ok(200);
    let first = adapted().await;

    let added = app.post(&format!("{task}/support"), json!({"unlabelled": [[4, 4], [4, 5], [4, 4]]})).await.ok(200);
    let listed = app.get(&format!("{task}/support?limit=1")).await.ok(200);
    let second = adapted().await;

    assert_eq!((&added["added"], &added["support_count"]), (&json!(2), &json!(6)));
    assert_eq!(added["duplicates"], json!([{"index": 2, "id": added["ids"][0]}]));
    assert_eq!((listed["data"][0].get("label"), listed["data"][0].get("value")), (None, None));
    assert_ne!(first["support_hash"], second["support_hash"]);
    assert_eq!(second["quality"]["n"], json!(4), "unlabelled rows are not among those that are judged by");
}

#[tokio::test(flavor = "multi_thread")]
async fn unlabelled_inputs_are_refused_where_they_are_of_no_use() {
    let app = TestApp::start().await;
    let body = with(with(adapt_predict(), "/unlabelled", json!([[1, 1]])), "/base_model", json!("pair"));

    let problem = app.post("/v1/adapt-predict", body).await.problem(422, "invalid_values");

    assert_eq!(problem["errors"][0]["code"], "no_unlabelled");
    assert_eq!(problem["errors"][0]["pointer"], "/unlabelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_unlabelled_input_is_pointed_at() {
    let app = TestApp::start().await;
    let body = with(adapt_predict(), "/unlabelled", json!([[1, 1], [1]]));

    let problem = app.post("/v1/adapt-predict", body).await.problem(422, "invalid_values");

    assert_eq!(problem["errors"][0]["pointer"], "/unlabelled/1");
}
