//! Bodies that are no JSON, or JSON of the wrong form.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{ANYWHERE, Case, MAX_BODY};
use crate::http::samples::{adapt_predict, points, task, with};

pub fn cases() -> Vec<Case> {
    [no_json(), wrong_forms(), wrong_types()].into_iter().flatten().collect()
}

/// What goes to `/v1/adapt-predict` as it is.
fn raw(what: &str, body: impl Into<Vec<u8>>) -> Case {
    let case = Case::value(what, "/v1/adapt-predict", &Value::Null, "malformed_json", "");
    Case { body: body.into(), status: 400, code: "malformed_json", ..case }
}

/// The right body with one text in place of another.
fn replaced(from: &str, to: &str) -> String {
    let body = adapt_predict().to_string();
    assert!(body.contains(from), "{body}");
    body.replacen(from, to, 1)
}

fn at(case: Case, pointer: &str) -> Case {
    Case { fault: case.fault.map(|(_, code)| (pointer.to_owned(), code)), ..case }
}

fn no_json() -> Vec<Case> {
    let whole = adapt_predict().to_string();
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(whole.as_bytes()).unwrap();
    let packed = raw("gzip", packed.finish().unwrap());
    let mut foreign = whole.clone().into_bytes();
    let place = whole.find("low").unwrap();
    foreign[place] = 0xff;
    let deep = format!("{{\"name\":\"n\",\"metadata\":{{\"a\":{}", "[".repeat(100_000));
    let too_large =
        Case { status: 413, code: "body_too_large", fault: None, ..raw("too large", vec![b' '; MAX_BODY + 1]) };
    vec![
        raw("an opened brace", "{"),
        anywhere(raw("half a body", &whole.as_bytes()[..whole.len() / 2])),
        raw("a word", "plane"),
        raw("a form", "base_model=plane"),
        raw("text after the body", format!("{whole} ,")),
        raw("two bodies", format!("{whole}{whole}")),
        raw("a byte order mark", format!("\u{feff}{whole}")),
        raw("a comment", format!("/* hello */ {whole}")),
        raw("a trailing comma", replaced("\"query\"", ",\"query\"")),
        anywhere(raw("a byte that is no UTF-8", foreign)),
        at(raw("NaN", replaced("[0.0,0.1]", "[NaN,0.1]")), "/support/0/input/0"),
        at(raw("Infinity", replaced("[0.0,0.1]", "[0,-Infinity]")), "/support/0/input/1"),
        at(raw("beyond 64 bits", replaced("[0.0,0.1]", "[0,1e400]")), "/support/0/input/1"),
        at(raw("half a surrogate pair", replaced("\"low\"", "\"\\ud800\"")), "/support/0/label"),
        at(raw("a raw line break", replaced("\"low\"", "\"l\now\"")), "/support/0/label"),
        anywhere(Case { path: "/v1/tasks".to_owned(), ..raw("deep metadata", deep) }),
        packed,
        too_large,
    ]
}

/// Where the parser gave up is not the point.
fn anywhere(case: Case) -> Case {
    at(case, ANYWHERE)
}

fn wrong_forms() -> Vec<Case> {
    let form = |what: &str, body: &str, pointer: &str| {
        let case = Case::value(what, "/v1/adapt-predict", &Value::Null, "wrong_form", pointer);
        Case { body: body.as_bytes().to_vec(), ..case }
    };
    let task_form =
        |what: &str, body: Value, pointer: &str| Case::value(what, "/v1/tasks", &body, "wrong_form", pointer);
    vec![
        form("nothing", "", "/base_model"),
        form("null", "null", ""),
        form("a string", "\"plane\"", ""),
        form("a list in place of an object", "[\"plane\", null, [], [], {}]", ""),
        form("deep lists", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), ""),
        form("a field twice", &replaced("\"base_model\"", "\"base_model\":\"plane\",\"base_model\""), ""),
        form("a field that nobody knows", &replaced("\"query\"", "\"suport\":[],\"query\""), "/suport"),
        task_form("no name", json!({"base_model": "plane"}), "/name"),
        task_form("no base model", json!({"name": "n"}), "/base_model"),
        task_form("an id of one's own", json!({"id": "task_0", "name": "n", "base_model": "plane"}), "/id"),
        task_form("an example as a list", with(task(), "/support/0", json!([[0, 0], "low"])), "/support/0"),
    ]
}

fn wrong_types() -> Vec<Case> {
    let typed = |what: &str, place: &str, value: Value, pointer: &str| {
        Case::value(what, "/v1/adapt-predict", &with(adapt_predict(), place, value), "wrong_form", pointer)
    };
    let here = |what: &str, place: &str, value: Value| typed(what, place, value, place);
    vec![
        here("a number as a name", "/base_model", json!(7)),
        here("a kind that nobody knows", "/kind", json!("policy")),
        here("an object of examples", "/support", json!({"0": points()[0]})),
        here("examples as a text", "/support", json!("low high")),
        here("null as an example", "/support/0", json!(null)),
        here("a number as a label", "/support/0/label", json!(7)),
        here("labels in a list", "/support/0/label", json!(["low"])),
        here("a text as a value", "/support/0/value", json!("1.5")),
        here("a number as a query", "/query", json!(5)),
        here("true as an input", "/query/0", json!(true)),
        here("null as an input", "/query/0", json!(null)),
        here("a number as an input", "/query/0", json!(5)),
        here("an empty object as an input", "/query/0", json!({})),
        here("an image that is not base64", "/query/0", json!({"image": "%%%"})),
        here("a shape without values", "/query/0", json!({"shape": [1, 2]})),
        here("an image with a shape", "/query/0", json!({"image": "AA==", "shape": [1], "values": [1]})),
        here("no steps, but a text", "/recipe", json!("fast")),
        here("a recipe as a list", "/recipe", json!([])),
        here("minus one score", "/top_k", json!(-1)),
        here("one and a half scores", "/top_k", json!(1.5)),
        here("a text of scores", "/top_k", json!("3")),
        here("a megabyte of scores", "/top_k", json!("k".repeat(1 << 20))),
        here("10³⁰ scores", "/top_k", json!(1e30)),
        typed("a list in a vector", "/query/0", json!([[1, 2]]), "/query/0/0"),
        typed("a text in a vector", "/query/0", json!([1, "2"]), "/query/0/1"),
        typed("null in a vector", "/query/0", json!([null, 1]), "/query/0/0"),
        typed("a number as an image", "/query/0", json!({"image": 5}), "/query/0/image"),
        typed("a negative side", "/query/0", json!({"shape": [-1], "values": []}), "/query/0/shape/0"),
        typed("half a side", "/query/0", json!({"shape": [0.5], "values": []}), "/query/0/shape/0"),
        typed(
            "a field of an input that nobody knows",
            "/query/0",
            json!({"image": "AA==", "dtype": "u8"}),
            "/query/0/dtype",
        ),
        typed("a field of an example that nobody knows", "/support/1/colour", json!(2), "/support/1/colour"),
        typed("a field of a recipe that nobody knows", "/recipe", json!({"steps": 5}), "/recipe/steps"),
        typed("minus one inner step", "/recipe", json!({"inner_steps": -1}), "/recipe/inner_steps"),
        typed("a seed beyond 64 bits", "/recipe", json!({"seed": 1e20}), "/recipe/seed"),
    ]
}
