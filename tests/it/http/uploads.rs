//! Examples that come many at a time, and what is done to one.

use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::samples::{each, png};

async fn upload(app: &TestApp, task: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Value {
    app.call("POST", &format!("{task}/support")).bytes(content_type, body).send().await.ok(200)
}

/// Places of the rejected, each with where and why.
fn rejected(answer: &Value) -> Vec<(u64, String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = answer["rejected"].as_array().cloned().unwrap_or_default();
    let one = |row: &Value| {
        let first = &row["errors"][0];
        (row["index"].as_u64().unwrap(), text(&first["pointer"]), text(&first["code"]))
    };
    all.iter().map(one).collect()
}

fn fault(index: u64, pointer: &str, code: &str) -> (u64, String, String) {
    (index, pointer.to_owned(), code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_are_taken_or_refused_each_by_itself() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let lines = [
        r#"{"input": [3, 4], "label": "low", "external_id": "a"}"#,
        r#"{"input": [3], "label": "low"}"#,
        "",
        "nonsense",
        r#"{"input": [3, 4], "label": "low"}"#,
        r#"{"input": [5, 6], "label": "new", "other": 1}"#,
        r#"{"input": [7, 8]}"#,
        r#"{"input": [9, 9], "label": "new"}"#,
    ];

    let answer = upload(&app, &task, "application/x-ndjson", lines.join("\n")).await;

    assert_eq!((&answer["added"], &answer["support_count"]), (&json!(2), &json!(6)));
    assert_eq!(each(&json!({"data": answer["duplicates"]}), "index"), [3]);
    let expected = [
        fault(1, "/input", "wrong_width"),
        fault(2, "", "wrong_form"),
        fault(4, "", "wrong_form"),
        fault(5, "/label", "wrong_target"),
    ];
    assert_eq!(rejected(&answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_longer_than_a_body_is_streamed_and_a_line_longer_than_one_is_refused() {
    let mut app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let config = imprint::config::HttpConfig { max_body_bytes: 1_000, max_upload_bytes: 100_000, ..Default::default() };
    app.listen_with(config);
    assert!(lines(1_000).len() > 30_000);
    let answer = upload(&app, &task, "application/x-ndjson", lines(1_000)).await;
    assert_eq!((&answer["added"], &answer["duplicates"].as_array().unwrap().len()), (&json!(10), &990));
    let long = format!(r#"{{"input": [1, 2], "label": "{}"}}"#, "x".repeat(2_000));
    for body in [long, lines(4_000)] {
        let refused = app.call("POST", &format!("{task}/support")).bytes("application/x-ndjson", body).send().await;
        refused.problem(413, "body_too_large");
    }
}

/// So many lines, of ten examples.
fn lines(count: usize) -> String {
    let line = |x: usize| json!({"input": [x % 10, 0.5], "label": "low"}).to_string() + "\n";
    (0..count).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_says_how_far_it_came() {
    let mut app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    app.listen_with(imprint::config::HttpConfig { max_body_bytes: 1_000, ..Default::default() });
    let body = lines(70) + &"x".repeat(2_000);

    let answer = upload(&app, &task, "application/x-ndjson", body).await;

    assert_eq!((&answer["added"], answer["duplicates"].as_array().unwrap().len()), (&json!(10), 60), "{answer}");
    assert_eq!((&answer["stopped"]["at"], &answer["stopped"]["code"]), (&json!(70), &json!("body_too_large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_a_time_of_its_own_and_ends_well_after_it() {
    let mut app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    app.listen_with(imprint::config::HttpConfig { request_timeout_ms: 1, ..Default::default() });

    let whole = upload(&app, &task, "application/x-ndjson", lines(500)).await;
    app.listen_with(imprint::config::HttpConfig { upload_timeout_ms: 1, ..Default::default() });
    let part = upload(&app, &task, "application/x-ndjson", lines(500)).await;

    assert_eq!((whole["duplicates"].as_array().unwrap().len(), &whole["stopped"]), (490, &Value::Null));
    assert_eq!(part["stopped"]["code"], "timeout", "{part}");
    let at = usize::try_from(part["stopped"]["at"].as_u64().unwrap()).unwrap();
    assert!((64..500).contains(&at) && part["duplicates"].as_array().unwrap().len() == at, "{part}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_header_are_refused() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;

    for rows in ["1.2,0.5\n", "low,1,2\nhigh,3,4\n", ""] {
        let refused = app.call("POST", &format!("{task}/support")).bytes("text/csv", rows).send().await;
        let problem = refused.problem(422, "invalid_values");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().starts_with("the first line must name the columns"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_numbers_and_of_inputs_are_read() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;

    let numbers = "x,y,label,external_id\n1,2,low,\n3,4,high,h-1\n3,four,high,\n3\n";
    let answer = upload(&app, &task, "text/csv; charset=utf-8", numbers).await;
    let inputs = upload(&app, &task, "text/csv", "label,input\nlow,\"[5, 6]\"\nlow,a text\n").await;

    assert_eq!(answer["added"], 2, "{answer}");
    assert_eq!(rejected(&answer), [fault(2, "/y", "wrong_form"), fault(3, "", "wrong_form")]);
    assert_eq!((&inputs["added"], rejected(&inputs)), (&json!(1), vec![fault(1, "/input", "wrong_input")]));
    let one = app.get(&format!("{task}/support?external_id=h-1")).await.ok(200);
    assert_eq!((each(&one, "input"), each(&one, "label")), (vec![json!([3.0, 4.0])], vec![json!("high")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_form_are_examples_of_their_fields_names() {
    let app = TestApp::with(Settings::idle()).await;
    let task =
        app.post("/v1/tasks", json!({"name": "bars", "base_model": "marks"})).await.header("location").to_owned();
    let mut form = Vec::new();
    for (label, content) in [("upright", png(true)), ("flat", png(false)), ("broken", b"no image".to_vec())] {
        let head = format!(
            "--edge\r\ncontent-disposition: form-data; name=\"{label}\"; filename=\"{label}.png\"\r\ncontent-type: image/png\r\n\r\n"
        );
        form.extend([head.as_bytes(), &content, b"\r\n"].concat());
    }
    form.extend(b"--edge--\r\n");

    let answer = upload(&app, &task, "multipart/form-data; boundary=edge", form).await;

    assert_eq!((&answer["added"], rejected(&answer)), (&json!(2), vec![fault(2, "/input", "unknown_image_format")]));
    assert_eq!(each(&app.get(&format!("{task}/support?label=flat")).await.ok(200), "label"), ["flat"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_asked_for_the_right_ones_of_a_body_are_added() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let body = json!({"examples": [{"input": [8, 8], "label": "low"}, {"input": [8], "label": "low"}]});

    app.post(&format!("{task}/support"), body.clone()).await.problem(422, "invalid_values");
    let answer = app.post(&format!("{task}/support?partial=true"), body).await.ok(200);

    assert_eq!((&answer["added"], rejected(&answer)), (&json!(1), vec![fault(1, "/input", "wrong_width")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_is_relabelled_as_it_was_read_or_not_at_all() {
    let app = TestApp::with(Settings::idle()).await;
    let task = app.task().await;
    let id = app.add(&task, [7.0, 7.0], "low").await["ids"][0].as_str().unwrap().to_owned();
    let place = format!("{task}/support/{id}");
    let patch = |body: Value, tag: &str| app.call("PATCH", &place).header("if-match", tag).json(&body).send();
    let read = app.get(&place).await;

    let changed = patch(json!({"label": "new", "external_id": "crm-7"}), read.header("etag")).await;

    let body = changed.ok(200);
    assert_eq!((&body["label"], &body["external_id"], &body["id"]), (&json!("new"), &json!("crm-7"), &json!(id)));
    assert_ne!(changed.header("etag"), read.header("etag"));
    assert_eq!(app.get(&place).await.ok(200), body);
    patch(json!({"label": "low"}), read.header("etag")).await.problem(412, "changed");
    assert!(each(&json!({"data": app.get(&task).await.ok(200)["labels"]}), "name").contains(&json!("new")));
    // What it would become is there already.
    let twin = app.add(&task, [7.0, 7.0], "low").await["ids"][0].as_str().unwrap().to_owned();
    let twin = format!("{task}/support/{twin}");
    app.call("PATCH", &twin).json(&json!({"label": "new"})).send().await.problem(409, "duplicate");
    app.call("PATCH", &twin).json(&json!({"external_id": "crm-7"})).send().await.problem(409, "duplicate");
    let wrong = app.call("PATCH", &twin).json(&json!({"value": 1.5})).send().await.problem(422, "invalid_values");
    assert_eq!(wrong["errors"][0]["pointer"], "/value");

    app.delete(&format!("{task}/support?external_id=crm-7")).await.ok(204);
    app.delete(&format!("{task}/support?external_id=crm-7")).await.problem(404, "not_found");
    app.get(&place).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_found_by_their_metadata() {
    let app = TestApp::with(Settings::idle()).await;
    for (name, metadata) in [("a", json!({"team": "x"})), ("b", json!({"team": "y"})), ("c", json!({"team": 7}))] {
        let body = json!({"name": name, "base_model": "line", "metadata": metadata});
        app.post("/v1/tasks", body).await.ok(201);
    }

    for (wanted, expected) in
        [("team%3Dx", vec!["a"]), ("team%3D7", vec!["c"]), ("team%3Dz", vec![]), ("x%3Dx", vec![])]
    {
        let found = app.get(&format!("/v1/tasks?metadata={wanted}")).await.ok(200);
        assert_eq!(each(&found, "name"), expected, "{wanted}");
    }
    app.get("/v1/tasks?metadata=team").await.problem(400, "invalid_query");
}
