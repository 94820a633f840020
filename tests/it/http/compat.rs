//! Shapes that others' clients know: Cohere's `classify` and the Open Inference Protocol.

use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::samples::{base64, png};

#[tokio::test(flavor = "multi_thread")]
async fn classify_takes_and_answers_what_coheres_client_knows() {
    let app = TestApp::with(Settings::idle()).await;
    let body = json!({
        "model": "plane", "truncate": "END", "inputs": ["[5, 5]", "[0.1, 0.1]"],
        "examples": [
            {"text": "[0, 0.1]", "label": "low"}, {"text": "[0.1, 0]", "label": "low"},
            {"text": "[5, 5.1]", "label": "high"}, {"text": "[5.1, 5]", "label": "high"}
        ]
    });

    let answer = app.post("/v1/classify", body).await.ok(200);

    let first = &answer["classifications"][0];
    assert_eq!((&first["input"], &first["prediction"]), (&json!("[5, 5]"), &json!("high")));
    assert_eq!((&first["predictions"], &first["classification_type"]), (&json!(["high"]), &json!("single-label")));
    assert_eq!(first["confidences"], json!([first["confidence"]]));
    assert_eq!(first["labels"]["high"]["confidence"], first["confidence"]);
    let sum: f64 =
        first["labels"].as_object().unwrap().values().map(|label| label["confidence"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{first}");
    assert_eq!(answer["classifications"][1]["prediction"], "low");
    assert_eq!(answer["meta"], json!({"api_version": {"version": "1"}, "billed_units": {"classifications": 2}}));
    assert_eq!(app.stored().await, [0, 0, 0, 0]);

    // As Cohere's own clients leave it out: the base model that takes texts.
    let text = |text: &str, label: &str| json!({"text": text, "label": label});
    let examples = json!([text("a red apple", "red"), text("a blue sky", "blue")]);
    let body = json!({"inputs": ["a red apple"], "examples": examples});
    let answer = app.post("/v1/classify", body).await.ok(200);
    assert_eq!(answer["classifications"][0]["prediction"], "red");
}

#[tokio::test(flavor = "multi_thread")]
async fn classify_says_what_is_wrong_and_where() {
    let app = TestApp::with(Settings::idle()).await;
    let examples = json!([{"text": "[0, 0]", "label": "a"}, {"text": "[1, 1]", "label": "b"}]);

    for (body, pointer, code) in [
        (json!({"inputs": ["[0, 0]"], "examples": examples, "model": "nowhere"}), "/model", "unknown_base_model"),
        (json!({"inputs": ["hello"], "examples": examples, "model": "plane"}), "/inputs/0", "wrong_input"),
        (json!({"inputs": [], "examples": examples, "model": "plane"}), "/query", "too_few"),
        (json!({"inputs": ["[0, 0]"], "examples": [], "model": "plane"}), "/support", "empty_support"),
    ] {
        let problem = app.post("/v1/classify", body).await.problem(422, "invalid_values");
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!(pointer), &json!(code)),
            "{problem}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_a_model_of_the_open_inference_protocol() {
    let app = TestApp::start().await;
    let task = app.task().await;
    let model = task.replace("/v1/tasks", "/v2/models");
    app.get(&format!("{model}/ready")).await.problem(409, "not_adapted");
    app.adapt(&task).await;

    assert_eq!(app.call("GET", "/v2").anonymous().send().await.ok(200)["name"], "imprint");
    assert_eq!(app.call("GET", "/v2/health/ready").anonymous().send().await.status, 200);
    assert_eq!(app.get(&format!("{model}/ready")).await.status, 200);
    assert_eq!(app.get(&format!("{model}/versions/1/ready")).await.status, 200);
    let metadata = app.get(&model).await.ok(200);
    assert_eq!((&metadata["versions"], &metadata["labels"]), (&json!(["1"]), &json!(["low", "high"])));
    assert_eq!(metadata["inputs"], json!([{"name": "query", "datatype": "FP32", "shape": [-1, 2]}]));

    let input = |data: Value| json!({"name": "query", "shape": [2, 2], "datatype": "FP32", "data": data});
    let flat =
        app.post(&format!("{model}/infer"), json!({"id": "7", "inputs": [input(json!([5, 5, 0, 0]))]})).await.ok(200);
    let nested = json!({"inputs": [input(json!([[5, 5], [0, 0]]))]});
    let pinned = app.post(&format!("{model}/versions/1/infer"), nested).await.ok(200);

    assert_eq!((&flat["id"], &flat["model_version"]), (&json!("7"), &json!("1")));
    assert_eq!(flat["outputs"], pinned["outputs"]);
    assert_eq!(
        flat["outputs"][0],
        json!({"name": "label", "shape": [2], "datatype": "BYTES", "data": ["high", "low"]})
    );
    assert_eq!((&flat["outputs"][1]["name"], &flat["outputs"][1]["shape"]), (&json!("scores"), &json!([2, 2])));
    let scores: Vec<f64> = serde_json::from_value(flat["outputs"][1]["data"].clone()).unwrap();
    assert!(scores[1] > 0.5 && scores[2] > 0.5 && (scores[0] + scores[1] - 1.0).abs() < 1e-9, "{scores:?}");

    let best = json!({"inputs": [input(json!([5, 5, 0, 0]))], "outputs": [{"name": "scores", "parameters": {"classification": 1}}]});
    let best = app.post(&format!("{model}/infer"), best).await.ok(200);
    assert!(best["outputs"][0]["data"][0].as_str().unwrap().ends_with(":1:high"), "{best}");

    // Triton's client does not say what its body is.
    let body = json!({"inputs": [input(json!([5, 5, 0, 0]))]}).to_string();
    app.call("POST", &format!("{model}/infer")).body(body).send().await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_travel_as_bytes_behind_the_json_too() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let model = task.replace("/v1/tasks", "/v2/models");
    let extensions = app.get("/v2").await.ok(200)["extensions"].clone();
    assert!(extensions.as_array().unwrap().contains(&json!("binary_tensor_data")), "{extensions}");
    let bytes: Vec<u8> = [5f32, 5.0, 0.0, 0.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let query = json!({
        "name": "query", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": bytes.len()}
    });
    let send = async |json: Value, length: usize, bytes: &[u8]| {
        let body = [json.to_string().as_bytes(), bytes].concat();
        let request = app.call("POST", &format!("{model}/infer")).bytes("application/octet-stream", body);
        request.header("inference-header-content-length", &length.to_string()).send().await
    };
    let length = |json: &Value| json.to_string().len();

    let plain = json!({"inputs": [query]});
    let plain = send(plain.clone(), length(&plain), &bytes).await.ok(200);
    assert_eq!(plain["outputs"][0]["data"], json!(["high", "low"]));

    let all = json!({"inputs": [query], "parameters": {"binary_data_output": true}});
    let answer = send(all.clone(), length(&all), &bytes).await;
    let json_length: usize = answer.header("inference-header-content-length").parse().unwrap();
    let (json, tail) = answer.body.split_at(json_length);
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(
        (&json["outputs"][0]["parameters"], &json["outputs"][0]["data"]),
        (&json!({"binary_data_size": 15}), &Value::Null)
    );
    assert_eq!(&tail[..15], b"\x04\0\0\0high\x03\0\0\0low");
    let scores: Vec<f64> =
        tail[15..].chunks(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into()).collect();
    let expected: Vec<f64> = serde_json::from_value(plain["outputs"][1]["data"].clone()).unwrap();
    assert!(
        scores.len() == 4 && scores.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-6),
        "{scores:?}"
    );

    for (length, bytes, pointer) in [
        (length(&all), &bytes[..12], "/inputs/0/parameters/binary_data_size"),
        (9999, &bytes[..], "Inference-Header-Content-Length"),
    ] {
        let status = if length == 9999 { 400 } else { 422 };
        let code = if length == 9999 { "invalid_header" } else { "invalid_values" };
        let problem = send(all.clone(), length, bytes).await.problem(status, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_numbers_go_through_the_protocol_too() {
    let app = TestApp::start().await;
    let of = async |base: &str, support: Value| {
        let made = app.post("/v1/tasks", json!({"name": base, "base_model": base, "support": support})).await;
        let task = made.header("location").to_owned();
        app.adapt(&task).await;
        task.replace("/v1/tasks", "/v2/models")
    };
    let (upright, lying) = (base64(&png(true)), base64(&png(false)));
    let marks = of(
        "marks",
        json!([{"input": {"image": upright}, "label": "up"}, {"input": {"image": lying}, "label": "flat"}]),
    )
    .await;
    let line = of("line", json!([{"input": [0.0], "value": 0.5}, {"input": [1.0], "value": 2.5}])).await;

    let images = json!({"inputs": [{"name": "query", "shape": [2], "datatype": "BYTES", "data": [lying, upright]}]});
    let labels = app.post(&format!("{marks}/infer"), images).await.ok(200);
    let numbers = json!({"inputs": [{"name": "query", "shape": [2, 1], "datatype": "FP32", "data": [0, 1]}]});
    let values = app.post(&format!("{line}/infer"), numbers).await.ok(200);

    assert_eq!(labels["outputs"][0]["data"], json!(["flat", "up"]));
    assert_eq!((&values["outputs"][0]["name"], &values["outputs"][0]["shape"]), (&json!("value"), &json!([2])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_the_protocols_words_too() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    let infer = format!("{}/infer", task.replace("/v1/tasks", "/v2/models"));
    let tensor = |shape: Value, datatype: &str, data: Value| json!({"name": "query", "shape": shape, "datatype": datatype, "data": data});

    for (body, pointer) in [
        (json!({"inputs": []}), "/inputs"),
        (json!({"inputs": [tensor(json!([1, 3]), "FP32", json!([1, 2]))]}), "/inputs/0/shape"),
        (json!({"inputs": [tensor(json!([usize::MAX, 9]), "FP32", json!([1, 2]))]}), "/inputs/0/shape"),
        (json!({"inputs": [tensor(json!([1, 2]), "FP32", json!([1, "two"]))]}), "/inputs/0/data/1"),
        (json!({"inputs": [tensor(json!([1, 3]), "FP32", json!([1, 2, 3]))]}), "/query/0"),
        (
            json!({"inputs": [tensor(json!([1, 2]), "FP32", json!([1, 2]))], "outputs": [{"name": "mood"}]}),
            "/outputs/0/name",
        ),
    ] {
        let problem = app.post(&infer, body).await.problem(422, "invalid_values");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["error"], problem["detail"]);
    }
    let none = app.post(&infer, json!({"inputs": []})).await.problem(422, "invalid_values");
    assert_eq!(none["errors"][0]["detail"], "send exactly one input, named `query`");
    let absent = app.get(&format!("/v2/models/task_{}", "0".repeat(26))).await.problem(404, "not_found");
    assert_eq!(absent["error"], absent["detail"]);
}
