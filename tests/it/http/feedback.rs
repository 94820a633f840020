//! Evaluation on labelled examples, feedback on predictions, and answers that are withheld.

use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::samples::{adapt_predict, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_judged_by_labelled_examples() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.post(&format!("{task}/evaluate"), json!({"examples": [{"input": [5.0, 5.0], "label": "high"}]}))
        .await
        .problem(409, "not_adapted");
    app.adapt(&task).await;
    let examples = json!([
        {"input": [5.0, 5.0], "label": "high"}, {"input": [0.0, 0.0], "label": "low"},
        {"input": [0.1, 0.1], "label": "high"}, {"input": [4.9, 5.2], "label": "elsewhere"}
    ]);

    let judged = app.post(&format!("{task}/evaluate"), json!({"examples": examples})).await.ok(200);

    assert_eq!((&judged["n"], &judged["accuracy"], &judged["version"]), (&json!(4), &json!(0.5), &json!(1)));
    assert_eq!(judged["confusion"], json!([[1, 0, 0], [1, 1, 0], [0, 1, 0]]));
    assert_eq!(
        judged["per_label"][2],
        json!({"label": "elsewhere", "support": 1, "precision": null, "recall": 0.0, "f1": 0.0})
    );
    assert_eq!(app.stored().await[1], 4, "nothing was stored");
    let none = app.post(&format!("{task}/evaluate"), json!({"examples": []})).await;
    assert_eq!(none.problem(422, "invalid_values")["errors"][0]["pointer"], "/examples");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regression_is_judged_by_its_squared_error() {
    let app = TestApp::start().await;
    let support = json!([{"input": [0.0], "value": 0.5}, {"input": [1.0], "value": 2.5}]);
    let made = app.post("/v1/tasks", json!({"name": "n", "base_model": "line", "support": support})).await;
    let task = made.header("location").to_owned();
    app.adapt(&task).await;
    let answer = app.post(&format!("{task}/predict"), json!({"query": [[0.5]]})).await.ok(200);
    let value = answer["predictions"][0]["value"].as_f64().unwrap();

    let body = json!({"examples": [{"input": [0.5], "value": value + 2.0}]});
    let judged = app.post(&format!("{task}/evaluate"), body).await.ok(200);

    assert!((judged["mean_squared_error"].as_f64().unwrap() - 4.0).abs() < 1e-4, "{judged}");
    assert_eq!(judged["accuracy"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_on_a_kept_prediction_becomes_an_example() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let ask = async |store: bool| {
        let body = json!({"query": [[5.0, 5.2], [0.2, 0.0]], "store": store});
        app.post(&format!("{task}/predict"), body).await.ok(200)["predictions"].clone()
    };
    let (kept, lost) = (ask(true).await, ask(false).await);
    let tell = async |id: &Value, label: &str| {
        app.post(&format!("{task}/feedback"), json!({"prediction_id": id, "label": label})).await
    };

    let right = tell(&kept[0]["id"], "high").await.ok(200);
    let wrong = tell(&kept[1]["id"], "middle").await.ok(200);
    let again = tell(&kept[1]["id"], "middle").await.ok(200);

    assert_eq!((&right["was_right"], &wrong["was_right"]), (&json!(true), &json!(false)));
    assert_eq!((&wrong["support"]["added"], &again["support"]["added"]), (&json!(1), &json!(0)));
    assert_eq!(app.get(&task).await.ok(200)["support_count"], 6);
    tell(&lost[0]["id"], "high").await.problem(404, "not_found");
    let nothing = app.post(&format!("{task}/feedback"), json!({"prediction_id": kept[0]["id"]})).await;
    nothing.problem(422, "invalid_values");
    let stranger = app.key_of("berta").await;
    let body = json!({"prediction_id": kept[0]["id"], "label": "low"});
    app.call("POST", &format!("{task}/feedback")).key(&stranger).json(&body).send().await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_keeps_its_newest_predictions() {
    let mut settings = Settings::default();
    settings.service.max_stored_predictions = 3;
    let app = TestApp::with(settings).await;
    let task = app.task().await;
    app.adapt(&task).await;
    let mut ids = Vec::new();
    for place in 0..5 {
        let body = json!({"query": [[place, 0.5]], "store": true});
        let answer = app.post(&format!("{task}/predict"), body).await.ok(200);
        ids.push(answer["predictions"][0]["id"].clone());
    }

    for (index, id) in ids.iter().enumerate() {
        let told = app.post(&format!("{task}/feedback"), json!({"prediction_id": id, "label": "low"})).await;
        assert_eq!(told.status, if index < 2 { 404 } else { 200 }, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_names_its_suspects_and_how_sure_it_may_be() {
    let app = TestApp::start().await;
    let mut support = vec![];
    for step in 0..4 {
        let near = f64::from(step) / 10.0;
        support.push(json!({"input": [near, 0.1], "label": "low"}));
        support.push(json!({"input": [5.0 + near, 5.1], "label": "high"}));
    }
    support.push(json!({"input": [5.1, 5.3], "label": "low"})); // a slip
    let body = with(with(adapt_predict(), "/support", json!(support)), "/abstain", json!(true));

    let quality = app.post("/v1/adapt-predict", body).await.ok(200)["quality"].clone();
    let task = app.post("/v1/tasks", json!({"name": "n", "base_model": "plane", "support": support})).await;
    let task = task.header("location").to_owned();
    app.adapt(&task).await;
    let stored = app.get(&format!("{task}/adapters/1")).await.ok(200)["quality"].clone();

    assert_eq!(quality["suspects"][0]["index"], 8);
    assert_eq!(
        (&quality["suspects"][0]["label"], &quality["suspects"][0]["predicted"]),
        (&json!("low"), &json!("high"))
    );
    assert_eq!(quality["confusions"], json!([{"label": "low", "predicted": "high", "count": 1}]));
    let id = stored["suspects"][0]["id"].as_str().unwrap();
    let examples = app.get(&format!("{task}/support?limit=100")).await.ok(200);
    let slip = examples["data"].as_array().unwrap().iter().find(|example| example["id"] == id).unwrap().clone();
    assert_eq!(slip["input"], json!([5.1, 5.3]));
    assert_eq!(stored["calibration"], quality["calibration"]);
    assert_eq!((&quality["duplicates"], &quality["too_few"]), (&json!(null), &json!(null)));
    assert!(quality["calibration"]["temperature"].as_f64().unwrap() > 0.0, "{quality}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_names_examples_that_are_there_twice_or_alone() {
    let app = TestApp::start().await;
    let example = |input: [f32; 2], label: &str| json!({"input": input, "label": label});
    let support = json!([
        example([0.0, 0.1], "low"),
        example([0.1, 0.0], "low"),
        example([5.0, 5.1], "high"),
        example([0.1, 0.0], "high"), // a slip
        example([5.0, 5.0], "high"),
        example([9.0, 0.0], "far"),
    ]);

    let once = app.post("/v1/adapt-predict", with(adapt_predict(), "/support", support.clone())).await.ok(200);
    let made = app.post("/v1/tasks", json!({"name": "n", "base_model": "plane", "support": support})).await;
    let task = made.header("location").to_owned();
    app.adapt(&task).await;
    let stored = app.get(&format!("{task}/adapters/1")).await.ok(200)["quality"].clone();

    let twice = json!([{"indices": [1, 3], "labels": ["low", "high"]}]);
    assert_eq!((&once["quality"]["duplicates"], &once["quality"]["too_few"]), (&twice, &json!(["far"])));
    let (labels, ids) = (&stored["duplicates"][0]["labels"], &stored["duplicates"][0]["ids"]);
    assert!(*labels == json!(["low", "high"]) || *labels == json!(["high", "low"]), "{stored}");
    for index in 0..2 {
        let named = app.get(&format!("{task}/support/{}", ids[index].as_str().unwrap())).await.ok(200);
        assert_eq!((&named["label"], &named["input"]), (&labels[index], &json!([0.1, 0.0])));
    }
}
