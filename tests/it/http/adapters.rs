//! Adapters: verified, imported, compared, and promoted by policy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::app::{Answer, TestApp};
use super::samples::{points, task};

async fn adapted_with(app: &TestApp, task: &str, body: Value) -> Answer {
    app.call("POST", &format!("{task}/adaptations")).header("prefer", "wait=20").json(&body).send().await
}

async fn active(app: &TestApp, task: &str) -> Value {
    app.get(task).await.ok(200)["active_version"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_verified_bit_for_bit_as_long_as_its_examples_are_there() {
    let app = TestApp::start().await;
    for base in ["plane", "pair"] {
        let made = app.post("/v1/tasks", json!({"name": base, "base_model": base, "support": points()})).await;
        let task = made.header("location").to_owned();
        app.adapt(&task).await;

        let verified = app.post(&format!("{task}/adapters/1/verify"), json!({})).await.ok(200);
        assert_eq!((&verified["matches"], &verified["version"]), (&json!(true), &json!(1)));
        assert_eq!(verified["sha256"], verified["derived_sha256"]);

        app.add(&task, [9.0, 9.0], "high").await;
        app.post(&format!("{task}/adapters/1/verify"), json!({})).await.problem(409, "support_changed");
        app.post(&format!("{task}/adapters/2/verify"), json!({})).await.problem(404, "not_found");
    }
    assert_eq!(app.stored().await[3], 2, "nothing was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_says_whether_it_answers_and_where_it_is() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    app.add(&task, [9.0, 9.0], "high").await;
    app.adapt(&task).await;
    // A tenant that is erased takes all adapters out of memory.
    let other = app.key_of("berta").await;
    app.call("POST", "/v1/erase").key(&other).json(&json!({"scope": "tenant"})).send().await.ok(200);
    let place = async |version| {
        let adapter = app.get(&format!("{task}/adapters/{version}")).await.ok(200);
        json!([adapter["state"], adapter["residency"]])
    };

    let before = (place(1).await, place(2).await);
    app.post(&format!("{task}/predict"), json!({"query": [[1, 2]], "version": 1})).await.ok(200);
    let after = (place(1).await, place(2).await);
    app.post(&format!("{task}/rollback"), json!({})).await.ok(200);
    let list = app.get(&format!("{task}/adapters")).await.ok(200);

    assert_eq!(before, (json!(["archived", "database"]), json!(["active", "database"])));
    assert_eq!(after, (json!(["archived", "host"]), json!(["active", "database"])));
    assert_eq!(super::samples::each(&list, "state"), [json!("archived"), json!("active")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_moves_to_another_task_and_answers_as_before() {
    let app = TestApp::start().await;
    let origin = app.task().await;
    app.adapt(&origin).await;
    let weights = STANDARD.encode(app.get(&format!("{origin}/adapters/1/weights")).await.body);
    let labels = json!(["low", "high"]);
    let made = app.post("/v1/tasks", json!({"name": "copy", "base_model": "plane", "labels": labels})).await;
    let copy = made.header("location").to_owned();
    let import = json!({"weights": weights, "labels": labels});

    let imported = app.post(&format!("{copy}/adapters/import"), import.clone()).await.ok(200);
    let again = app.post(&format!("{copy}/adapters/import"), import).await.ok(200);

    assert_eq!((&imported["version"], &again["version"]), (&json!(1), &json!(1)));
    assert_eq!((&imported["support_hash"], active(&app, &copy).await), (&json!("imported"), json!(1)));
    let query = json!({"query": [[5.0, 5.0], [0.2, 0.1]]});
    let label = |answer: Value| -> Vec<Value> {
        answer["predictions"].as_array().unwrap().iter().map(|prediction| prediction["label"].clone()).collect()
    };
    let before = app.post(&format!("{origin}/predict"), query.clone()).await.ok(200);
    assert_eq!(label(app.post(&format!("{copy}/predict"), query).await.ok(200)), label(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_do_not_fit_are_refused_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let of = async |base: &str| {
        let made = app.post("/v1/tasks", json!({"name": base, "base_model": base, "support": points()})).await;
        let task = made.header("location").to_owned();
        app.adapt(&task).await;
        let weights = app.get(&format!("{task}/adapters/1/weights")).await.body;
        (task, weights)
    };
    let ((plane, right), (_, other_base)) = (of("plane").await, of("pair").await);
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = right.clone();
        edit(&mut bytes);
        bytes
    };
    // The safetensors header is text: one type or one shape for another of the same length.
    let swapped = |from: &str, to: &str| {
        edited(&|bytes| {
            let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        })
    };
    let labels = json!(["low", "high"]);
    let before = app.stored().await;

    for (weights, labels, pointer, code) in [
        (other_base, labels.clone(), "/weights", "bad_adapter"),
        (b"nonsense".to_vec(), labels.clone(), "/weights", "bad_adapter"),
        (Vec::new(), labels.clone(), "/weights", "bad_adapter"),
        (edited(&|bytes| bytes.truncate(bytes.len() - 4)), labels.clone(), "/weights", "bad_adapter"),
        (
            edited(&|bytes| {
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            }),
            labels.clone(),
            "/weights",
            "bad_adapter",
        ),
        (swapped("\"F32\"", "\"I32\""), labels.clone(), "/weights", "bad_adapter"),
        (swapped("[2,16]", "[16,2]"), labels.clone(), "/weights", "bad_adapter"),
        (right.clone(), json!(["low"]), "/weights", "bad_adapter"),
        (right.clone(), json!(["low", "nowhere"]), "/labels/1", "unknown_label"),
        (right.clone(), json!(["low", "low"]), "/labels/1", "duplicate_label"),
    ] {
        let body = json!({"weights": STANDARD.encode(&weights), "labels": labels});
        let problem = app.post(&format!("{plane}/adapters/import"), body).await.problem(422, "invalid_values");
        assert_eq!(
            (&problem["errors"][0]["pointer"], &problem["errors"][0]["code"]),
            (&json!(pointer), &json!(code)),
            "{problem}"
        );
    }
    let text = app.post(&format!("{plane}/adapters/import"), json!({"weights": "%%%"})).await;
    assert_eq!(text.problem(422, "invalid_values")["errors"][0]["code"], "not_base64");
    assert_eq!(app.stored().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_compared_in_one_call() {
    let app = TestApp::start().await;
    let task = app.task().await;
    app.adapt(&task).await;
    app.add(&task, [5.0, 5.0], "middle").await;
    app.adapt(&task).await;

    let path = format!("{task}/compare");
    let same = app.post(&path, json!({"versions": [1, 1], "query": [[5.0, 5.0], [0.0, 0.0]]})).await.ok(200);
    let other = app.post(&path, json!({"versions": [2, 1], "query": [[5.0, 5.0], [0.0, 0.0]]})).await.ok(200);

    assert_eq!((&same["agreement"], &other["agreement"]), (&json!(1.0), &json!(0.5)));
    assert_eq!(other["versions"][0]["version"], 2);
    assert_eq!(other["versions"][0]["predictions"][0]["label"], "middle");
    assert_eq!(other["versions"][1]["predictions"][0]["label"], "high");
    app.post(&path, json!({"versions": [1], "query": [[5.0, 5.0]]})).await.problem(422, "invalid_values");
    app.post(&path, json!({"versions": [1, 7], "query": [[5.0, 5.0]]})).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_adapter_answers_as_the_policy_says() {
    let app = TestApp::start().await;
    let made =
        app.post("/v1/tasks", super::samples::with(task(), "/settings", json!({"auto_promote": "if_better"}))).await;
    let task = made.header("location").to_owned();
    adapted_with(&app, &task, json!({})).await.ok(201);
    assert_eq!(active(&app, &task).await, 1, "none was active");

    // Two examples among the wrong ones: the estimate falls.
    app.add(&task, [0.05, 0.05], "high").await;
    app.add(&task, [5.05, 5.05], "low").await;
    assert_eq!(adapted_with(&app, &task, json!({})).await.ok(201)["result"]["version"], 2);
    assert_eq!(active(&app, &task).await, 1, "it is not as good");
    assert_eq!(adapted_with(&app, &task, json!({"promote": "never"})).await.ok(201)["result"]["version"], 2);
    assert_eq!(active(&app, &task).await, 1);
    adapted_with(&app, &task, json!({"promote": "always"})).await.ok(201);
    assert_eq!(active(&app, &task).await, 2);
    adapted_with(&app, &task, json!({"promote": "sometimes"})).await.problem(422, "invalid_values");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_adapts_by_itself_follows_its_examples() {
    let app = TestApp::start().await;
    let body = json!({"name": "live", "base_model": "plane", "settings": {"auto_adapt": true}});
    let made = app.post("/v1/tasks", body).await;
    let task = made.header("location").to_owned();
    assert_eq!(made.ok(201)["settings"], json!({"auto_adapt": true, "auto_promote": "always"}));

    let one = app.post(&format!("{task}/support"), json!({"examples": [points()[0]]})).await.ok(200);
    assert_eq!(one["adaptation"], Value::Null, "one label is too few");
    let added = app.post(&format!("{task}/support"), json!({"examples": points()})).await.ok(200);
    let first = app.ended(&format!("/v1/adaptations/{}", added["adaptation"]["id"].as_str().unwrap())).await;
    let repeated = app.post(&format!("{task}/support"), json!({"examples": points()})).await.ok(200);

    assert_eq!((&first["status"], &first["result"]["version"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(repeated["adaptation"], Value::Null, "nothing changed");
    app.delete(&format!("{task}/support/{}", one["ids"][0].as_str().unwrap())).await.ok(204);
    let newest = app.get("/v1/adaptations?limit=1").await.ok(200)["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.ended(&format!("/v1/adaptations/{newest}")).await["result"]["version"], 2);
    assert_eq!(active(&app, &task).await, 2);
    app.call("PATCH", &task).json(&json!({"settings": {"auto_adapt": false}})).send().await.ok(200);
    assert_eq!(app.add(&task, [7.0, 7.0], "high").await["adaptation"], Value::Null);
}
