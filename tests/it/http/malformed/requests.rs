//! Paths, parameters and headers that are wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Case, Tasks};
use crate::http::samples::adapt_predict;

pub fn cases(tasks: &Tasks) -> Vec<Case> {
    [paths(tasks), parameters(tasks), headers(tasks), media_types(), versions(tasks)].into_iter().flatten().collect()
}

/// A request without a body; `place` is the parameter or header at fault.
fn form(method: &'static str, path: &str, code: &'static str, place: &str) -> Case {
    let case = Case::value(method, path, &Value::Null, code, place);
    Case { method, headers: Vec::new(), body: Vec::new(), status: 400, code, ..case }
}

fn paths(tasks: &Tasks) -> Vec<Case> {
    let zeros = "0".repeat(26);
    let wrong = [
        ("GET", "/v1/tasks/1".to_owned()),
        ("GET", "/v1/tasks/task_".to_owned()),
        ("GET", format!("/v1/tasks/{zeros}")),
        ("GET", format!("/v1/tasks/adpt_{zeros}")),
        ("DELETE", format!("/v1/tasks/task_8{}", &zeros[1..])),
        ("PATCH", format!("/v1/tasks/TASK_{zeros}")),
        ("GET", format!("/v1/tasks/task_{zeros}%00")),
        ("GET", format!("/v1/tasks/%ff{zeros}")),
        ("GET", format!("/v1/tasks/task_{zeros}'%20OR%201=1--/support")),
        ("DELETE", format!("{}/support/task_{zeros}", tasks.open)),
        ("GET", format!("/v1/adaptations/task_{zeros}")),
        ("POST", "/v1/adaptations/all/cancel".to_owned()),
        ("GET", format!("{}/adapters/-1", tasks.open)),
        ("GET", format!("{}/adapters/latest", tasks.open)),
        ("GET", format!("{}/adapters/4294967296/weights", tasks.open)),
        ("POST", format!("{}/adapters/1.0/promote", tasks.open)),
    ];
    wrong.iter().map(|(method, path)| form(method, path, "invalid_path", "path")).collect()
}

fn parameters(tasks: &Tasks) -> Vec<Case> {
    let cursor = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let zeros = "0".repeat(26);
    let cursors = [
        "/v1/tasks?after=!".to_owned(),
        "/v1/tasks?after=".to_owned(),
        format!("/v1/tasks?after={}", cursor("1")),
        format!("/v1/tasks?after={}", cursor(&format!("now task_{zeros}"))),
        format!("/v1/tasks?after={}", cursor(&format!("1 adpt_{zeros}"))),
        format!("/v1/tasks?after={}", URL_SAFE_NO_PAD.encode([0xff, 0xfe])),
        format!("/v1/adaptations?after={}", cursor(&format!("1 task_{zeros}"))),
        format!("{}/support?after={}", tasks.open, cursor("1 sup_1' OR 1=1")),
        format!("{}/adapters?after={}", tasks.open, cursor("-1")),
        format!("{}/adapters?after=2", tasks.open),
    ];
    let limits = ["0", "101"].map(|limit| form("GET", &format!("/v1/tasks?limit={limit}"), "invalid_query", "limit"));
    let queries = [
        "/v1/tasks?limit=-1",
        "/v1/tasks?limit=ten",
        "/v1/tasks?limit=1&limit=2",
        "/v1/tasks?limit=99999999999999999999",
        "/v1/tasks?offset=5",
        "/v1/adaptations?status=done",
        "/v1/adaptations?task=all",
    ];
    let mut cases: Vec<_> = cursors.iter().map(|path| form("GET", path, "invalid_cursor", "after")).collect();
    cases.extend(limits);
    cases.extend(queries.map(|path| form("GET", path, "invalid_query", "query")));
    cases
}

fn headers(tasks: &Tasks) -> Vec<Case> {
    let mut cases = Vec::new();
    for value in ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", "wait=99999999999", "respond-async, wait=x"] {
        let case = form("POST", &format!("{}/adaptations", tasks.open), "invalid_header", "Prefer");
        cases.push(Case { what: format!("Prefer: {value}"), headers: vec![("prefer", value.to_owned())], ..case });
    }
    for value in ["0", "-1", "1.5", "soon", "2147483648"] {
        let case = form("POST", &format!("{}/predict", tasks.open), "invalid_header", "X-Request-Timeout-Ms");
        let headers = vec![("x-request-timeout-ms", value.to_owned())];
        cases.push(Case { what: format!("X-Request-Timeout-Ms: {value}"), headers, ..case });
    }
    for value in ["1", "\"x\"", "W/\"1\"", "\"1\", \"2\"", "\"\"", "\"-1\"", "\""] {
        let case = form("PATCH", &tasks.open, "invalid_header", "If-Match");
        cases.push(Case { what: format!("If-Match: {value}"), headers: vec![("if-match", value.to_owned())], ..case });
    }
    cases
}

fn media_types() -> Vec<Case> {
    let media_type = |value: &str| {
        let headers = vec![("content-type", value.to_owned())];
        let case = Case::value(value, "/v1/adapt-predict", &adapt_predict(), "", "");
        Case { headers, status: 415, code: "unsupported_media_type", fault: None, ..case }
    };
    let untyped = Case { headers: Vec::new(), ..media_type("no media type") };
    ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data; boundary=x", "json"]
        .map(media_type)
        .into_iter()
        .chain([untyped])
        .collect()
}

/// Versions that are not there, or cannot be.
fn versions(tasks: &Tasks) -> Vec<Case> {
    let predict = format!("{}/predict", tasks.open);
    let query = |version: Value| json!({"query": [[0, 0]], "version": version});
    let absent = |path: &str, body: &Value| Case {
        status: 404,
        code: "not_found",
        fault: None,
        ..Case::value("absent", path, body, "", "")
    };
    vec![
        absent(&predict, &query(json!(0))),
        absent(&predict, &query(json!(99))),
        absent(&format!("{}/adapters/0/promote", tasks.open), &json!({})),
        absent(&format!("{}/adapters/99/promote", tasks.open), &json!({})),
        Case::value("minus one", &predict, &query(json!(-1)), "wrong_form", "/version"),
        Case::value("beyond 32 bits", &predict, &query(json!(1u64 << 32)), "wrong_form", "/version"),
        Case::value("a text", &predict, &query(json!("active")), "wrong_form", "/version"),
    ]
}
