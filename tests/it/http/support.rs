//! Support sets.

use serde_json::{Value, json};

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

#[tokio::test(flavor = "multi_thread")]
async fn an_example_counts_as_often_as_its_weight_says() {
    let app = TestApp::start().await;
    let body = |support: Value| with(with(adapt_predict(), "/support", support), "/query", json!([[0.4, 0.4]]));
    let scores = async |support: Value| {
        let predicted = app.post("/v1/adapt-predict", body(support)).await.ok(200);
        (predicted["predictions"][0]["scores"].clone(), predicted["support_hash"].clone())
    };
    let support = |weights: [Option<f64>; 3]| {
        let examples = [([0, 0], "low"), ([0, 1], "low"), ([1, 1], "high")].into_iter().zip(weights);
        let example = |(([x, y], label), weight): (([i32; 2], &str), Option<f64>)| match weight {
            Some(weight) => json!({"input": [x, y], "label": label, "weight": weight}),
            None => json!({"input": [x, y], "label": label}),
        };
        json!(examples.map(example).collect::<Vec<_>>())
    };

    let plain = scores(support([None; 3])).await;
    let ones = scores(support([Some(1.0); 3])).await;
    let heavy = scores(support([Some(50.0), None, None])).await;

    assert_eq!(plain, ones, "a weight of 1 is none");
    assert!(plain.0 != heavy.0 && plain.1 != heavy.1, "{plain:?} {heavy:?}");
    let wrong = app.post("/v1/adapt-predict", body(support([Some(0.0), None, None]))).await;
    let wrong = wrong.problem(422, "invalid_values");
    assert_eq!(
        (&wrong["errors"][0]["pointer"], &wrong["errors"][0]["code"]),
        (&json!("/support/0/weight"), &json!("no_weight"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weight_is_kept_changed_and_part_of_what_an_adapter_is_made_of() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let hash = async || {
        let adapter = app.get(&format!("{task}/adapters/{}", app.adapt(&task).await)).await.ok(200);
        (adapter["version"].clone(), adapter["support_hash"].clone())
    };
    let first = hash().await;
    let listed = app.get(&format!("{task}/support?limit=1")).await.ok(200)["data"][0].clone();
    assert_eq!(listed.get("weight"), None, "1 goes without saying");
    let example = format!("{task}/support/{}", listed["id"].as_str().unwrap());

    let heavier = app.call("PATCH", &example).json(&json!({"weight": 2.5})).send().await.ok(200);
    let second = hash().await;
    let relabelled = app.call("PATCH", &example).json(&json!({"external_id": "x"})).send().await.ok(200);
    let again = app.call("PATCH", &example).json(&json!({"weight": 1})).send().await.ok(200);
    let third = hash().await;

    assert_eq!((&heavier["weight"], &heavier["label"]), (&json!(2.5), &listed["label"]));
    assert_ne!(heavier["etag"], listed["etag"]);
    assert_eq!(relabelled["weight"], json!(2.5));
    assert_eq!(again.get("weight"), None);
    assert_ne!(first, second);
    assert_eq!(first, third, "the adapter that is there is found again");
    let problem = app.call("PATCH", &example).json(&json!({"weight": -1})).send().await.problem(422, "invalid_values");
    assert_eq!(
        (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
        (&json!("/weight"), &json!("no_weight"))
    );
    let judging = json!({"examples": [{"input": [1, 1], "label": "low", "weight": 2}]});
    let problem = app.post(&format!("{task}/evaluate"), judging).await.problem(422, "invalid_values");
    assert_eq!(problem["errors"][0]["pointer"], "/examples/0/weight");
}
