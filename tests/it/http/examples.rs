//! The contract's examples: each request as it is documented, on a server with base models that ship; each answer of the
//! documented form; and all of them, documented and real, of the schemas.

use std::collections::BTreeMap;
use std::path::Path;

use imprint::config::EngineConfig;
use imprint::engine::Engine;
use serde_json::{Value, json};

use super::app::{Settings, TestApp};
use super::schema::faults;

fn document() -> Value {
    serde_json::from_str(include_str!("../../../openapi/openapi.json")).unwrap()
}

fn steps() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../openapi/examples.json")).unwrap()
}

/// An engine with the base models that the examples name.
fn engine(folder: &Path) -> Engine {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["omniglot", "ranking", "sinusoid", "tagging"] {
        let shipped = here.join("models").join(name);
        std::os::unix::fs::symlink(shipped, folder.join(name)).unwrap();
    }
    let (models, encoders) = (folder.to_owned(), here.join(".imprint/encoders"));
    let device = "cpu".parse().unwrap();
    Engine::start(&EngineConfig { models, encoders, device, workers: 1, ..EngineConfig::default() }).unwrap()
}

/// The operation of that id: its method, path and description.
fn operation<'d>(document: &'d Value, id: &str) -> (String, String, &'d Value) {
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["operationId"] == id {
                return (method.to_uppercase(), path.clone(), operation);
            }
        }
    }
    panic!("there is no operation {id}");
}

fn is_id(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(prefix, rest)| {
        rest.len() == 26 && !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
    })
}

/// Notes which id of this server stands for which one of the conversation.
fn learn(ids: &mut BTreeMap<String, String>, recorded: &Value, real: &Value) {
    match (recorded, real) {
        (Value::String(recorded), Value::String(real)) if is_id(recorded) && is_id(real) => {
            ids.insert(recorded.clone(), real.clone());
        }
        (Value::String(recorded), Value::String(real)) if recorded.starts_with('"') => {
            ids.insert(recorded.clone(), real.clone()); // an etag
        }
        (Value::Array(recorded), Value::Array(real)) => {
            recorded.iter().zip(real).for_each(|(recorded, real)| learn(ids, recorded, real));
        }
        (Value::Object(recorded), Value::Object(real)) => {
            recorded
                .iter()
                .filter_map(|(key, value)| Some((value, real.get(key)?)))
                .for_each(|(a, b)| learn(ids, a, b));
        }
        _ => {}
    }
}

fn translated(text: &str, ids: &BTreeMap<String, String>) -> String {
    ids.iter().fold(text.to_owned(), |text, (recorded, real)| text.replace(recorded, real))
}

/// Where two answers differ in form: in keys, in the type of a value. Lists are alike if their first items are.
fn difference(recorded: &Value, real: &Value, at: &str) -> Option<String> {
    match (recorded, real) {
        (Value::Object(recorded), Value::Object(real)) => {
            let names = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            if names(recorded) != names(real) {
                return Some(format!("{at}: {:?}, and {:?} is documented", names(real), names(recorded)));
            }
            recorded.iter().find_map(|(key, value)| difference(value, &real[key], &format!("{at}/{key}")))
        }
        (Value::Array(recorded), Value::Array(real)) => {
            difference(recorded.first()?, real.first()?, &format!("{at}/0"))
        }
        // What may be absent is null in one and there in the other: a delivery's answer, for one.
        (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Null, _)
        | (_, Value::Null) => None,
        _ => Some(format!("{at}: {real}, and {recorded} is documented")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_example_executes_and_is_of_its_schema() {
    let (document, folder) = (document(), tempfile::tempdir().unwrap());
    let app = TestApp::with(Settings { engine: engine(folder.path()), ..Settings::default() }).await;
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut found: Vec<String> = Vec::new();

    for step in steps() {
        let id = step["operation"].as_str().unwrap();
        let (method, route, operation) = operation(&document, id);
        let mut path = route;
        for (name, value) in step["path"].as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            path = path.replace(&format!("{{{name}}}"), &translated(&text, &ids));
        }
        let query = step["query"].as_object().into_iter().flatten();
        let query: Vec<String> = query
            .map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{name}={}", translated(&text, &ids).replace(' ', "%20"))
            })
            .collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let mut call = app.call(&method, &path);
        for (name, value) in step["headers"].as_object().into_iter().flatten() {
            let name: &'static str = if name == "Prefer" { "prefer" } else { "if-match" };
            call = call.header(name, &translated(value.as_str().unwrap(), &ids));
        }
        if let Some(Value::String(lines)) = step.get("request") {
            call = call.bytes("application/x-ndjson", lines.as_str());
        } else if let Some(body) = step.get("request") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            found.extend(faults(&document, schema, body).into_iter().map(|fault| format!("{id}, request: {fault}")));
            call = call.json(&serde_json::from_str(&translated(&body.to_string(), &ids)).unwrap());
        }
        let answer = call.send().await;
        assert_eq!(json!(answer.status), step["status"], "{id}: {}", String::from_utf8_lossy(&answer.body));
        let Some(recorded) = step.get("response") else { continue };
        let real = answer.json();
        learn(&mut ids, recorded, &real);
        found.extend(difference(recorded, &real, "").map(|difference| format!("{id}: {difference}")));
        let schema = &operation["responses"][answer.status.to_string()]["content"]["application/json"]["schema"];
        for (what, value) in [("documented answer", recorded), ("answer", &real)] {
            found.extend(faults(&document, schema, value).into_iter().map(|fault| format!("{id}, {what}: {fault}")));
        }
    }

    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_operation_has_an_example_a_summary_a_description_and_says_who_may_call() {
    let (document, steps) = (document(), steps());

    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(steps.iter().any(|step| step["operation"] == id), "{id} has no example: see scripts/examples.py");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
            assert!(operation["description"].as_str().unwrap().contains("Needs "), "{id}");
            let content = &operation["requestBody"]["content"];
            if content.get("application/json").is_some() {
                assert!(content["application/json"].get("example").is_some(), "{id}");
            }
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                assert!(!response["description"].as_str().unwrap().is_empty(), "{id} {status}");
            }
            let needs_key = !operation["security"].as_array().is_some_and(|needs| needs.contains(&json!({})));
            if needs_key {
                assert!(responses.contains_key("4XX") && responses.contains_key("5XX"), "{method} {path}");
            }
        }
    }
}
