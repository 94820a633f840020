//! Bodies of the right form with a value that is wrong.

use serde_json::{Value, json};

use super::{Case, Tasks};
use crate::http::bases::{MAX_LABELS, MAX_QUERY, MAX_SUPPORT};
use crate::http::samples::{adapt_predict, base64, png, points, task, with};

pub fn cases(tasks: &Tasks) -> Vec<Case> {
    [
        adaptations_for_one_request(),
        images(),
        regressions(),
        gradient_learners(),
        sentences(),
        signals(),
        new_tasks(),
        stored(tasks),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One row a case: what is wrong, where the value is put, the value, the fault, its pointer.
type Row = (&'static str, &'static str, Value, &'static str, &'static str);

fn rows<const N: usize>(path: &str, body: &Value, rows: [Row; N]) -> Vec<Case> {
    let case = |(what, place, value, fault, pointer): Row| {
        Case::value(what, path, &with(body.clone(), place, value), fault, pointer)
    };
    rows.into_iter().map(case).collect()
}

/// Examples with labels `0`, `1` … in turn.
fn examples(count: usize, labels: usize) -> Value {
    (0..count).map(|number| json!({"input": [number, 0], "label": format!("{}", number % labels)})).collect()
}

fn signals() -> Vec<Case> {
    let heat = json!({"text": "heat", "prior": -2.0, "features": [0.5]});
    let body = json!({"base_model": "taste", "support": [{"input": heat, "value": 1}], "query": ["ronin"]});
    let example = json!({"input": "heat"});
    rows(
        "/v1/adapt-predict",
        &body,
        [
            ("a signal that says nothing", "/support/0", example.clone(), "wrong_target", "/support/0/value"),
            ("a label", "/support/0/label", json!("good"), "wrong_target", "/support/0/label"),
            ("stars as they are", "/support/0/value", json!(4), "no_signal", "/support/0/value"),
            ("an infinite value", "/support/0/value", json!(1e39), "no_signal", "/support/0/value"),
            ("no weight", "/support/0/weight", json!(0), "no_weight", "/support/0/weight"),
            ("a huge weight", "/support/0/weight", json!(1e9), "no_weight", "/support/0/weight"),
            ("an empty text", "/support/0/input/text", json!(" "), "too_few", "/support/0/input"),
            ("an infinite prior", "/support/0/input/prior", json!(-1e39), "not_finite", "/support/0/input"),
            ("too many numbers", "/query/0", json!({"text": "a", "features": [1, 2, 3]}), "too_many", "/query/0"),
            ("words", "/query/0", json!({"tokens": ["a"]}), "wrong_input", "/query/0"),
            ("an embedding alone", "/query/0", json!([1, 2, 3]), "wrong_input", "/query/0"),
        ],
    )
}

fn sentences() -> Vec<Case> {
    let span = |start: i64, end: i64| json!({"start": start, "end": end, "label": "person"});
    let example = |fields: Value| {
        let mut example = json!({"input": "ann met bob"});
        example.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!([example])
    };
    let spans = |spans: Value| example(json!({"spans": spans}));
    let words = |tags: Value| json!([{"input": {"tokens": ["ann", "met"]}, "tags": tags}]);
    let body = json!({"base_model": "tags", "support": spans(json!([span(0, 3)])), "query": ["bob met ann"]});
    rows(
        "/v1/adapt-predict",
        &body,
        [
            ("a label", "/support", example(json!({"label": "person"})), "wrong_target", "/support/0/label"),
            ("nothing said", "/support", example(json!({})), "wrong_target", "/support/0/spans"),
            (
                "spans and tags",
                "/support",
                example(json!({"spans": [], "tags": ["O", "O", "O"]})),
                "wrong_target",
                "/support/0/tags",
            ),
            ("no span at all", "/support", spans(json!([])), "no_spans", "/support"),
            ("an empty span", "/support", spans(json!([span(3, 3)])), "bad_span", "/support/0/spans"),
            ("a span of space", "/support", spans(json!([span(3, 4)])), "bad_span", "/support/0/spans"),
            ("a span beyond the text", "/support", spans(json!([span(8, 12)])), "bad_span", "/support/0/spans"),
            ("a span from behind", "/support", spans(json!([span(7, 0)])), "bad_span", "/support/0/spans"),
            (
                "spans that overlap",
                "/support",
                spans(json!([span(0, 7), span(4, 11)])),
                "spans_overlap",
                "/support/0/spans",
            ),
            ("a label without letters", "/support/0/spans/0/label", json!(""), "bad_name", "/support/0/spans/0"),
            ("too few tags", "/support", words(json!(["B-person"])), "too_few", "/support/0/tags"),
            ("too many tags", "/support", words(json!(["O", "O", "O"])), "too_many", "/support/0/tags"),
            ("a tag of another scheme", "/support", words(json!(["O", "S-person"])), "bad_tag", "/support/0/tags"),
            ("an empty word", "/query/0", json!({"tokens": ["ann", ""]}), "bad_word", "/query/0"),
            ("a word with a space", "/query/0", json!({"tokens": ["ann lee"]}), "bad_word", "/query/0"),
            ("no word", "/query/0", json!(" \t "), "too_few", "/query/0"),
            ("no words", "/query/0", json!({"tokens": []}), "too_few", "/query/0"),
            ("too long a text", "/query/0", json!("ab ".repeat(40)), "too_many", "/query/0"),
            ("a vector", "/query/0", json!([1, 2]), "wrong_input", "/query/0"),
            ("too many inputs", "/query", json!(vec!["ann"; MAX_QUERY + 1]), "too_many", "/query"),
        ],
    )
}

fn adaptations_for_one_request() -> Vec<Case> {
    let example = |fields: Value| with(points(), "/0", fields);
    let huge = "x".repeat(129);
    rows(
        "/v1/adapt-predict",
        &adapt_predict(),
        [
            ("an unknown base model", "/base_model", json!("plain"), "unknown_base_model", "/base_model"),
            ("a base model by its path", "/base_model", json!("../plane"), "unknown_base_model", "/base_model"),
            ("a megabyte of a name", "/base_model", json!("b".repeat(1 << 20)), "unknown_base_model", "/base_model"),
            ("a kind of another base model", "/kind", json!("regression"), "unsupported_kind", "/kind"),
            ("no support", "/support", json!([]), "empty_support", "/support"),
            ("one class", "/support", examples(4, 1), "too_few_labels", "/support"),
            ("too many classes", "/support", examples(10, MAX_LABELS + 1), "too_many", "/support"),
            ("100 000 classes", "/support", examples(100_000, 100_000), "too_many", "/support"),
            ("too many examples", "/support", examples(MAX_SUPPORT + 1, 2), "too_many", "/support"),
            ("no query", "/query", json!([]), "too_few", "/query"),
            ("too many inputs", "/query", json!(vec![[0, 0]; MAX_QUERY + 1]), "too_many", "/query"),
            ("beyond 32 bits", "/query/1", json!([0, 1e39]), "not_finite", "/query/1"),
            ("beyond 32 bits, below", "/support/1/input", json!([-1e39, 0]), "not_finite", "/support/1/input"),
            ("beyond the bound", "/query/0", json!([1.1e9, 0]), "not_finite", "/query/0"),
            ("too short a vector", "/support/3/input", json!([1]), "wrong_width", "/support/3/input"),
            ("too long a vector", "/query/0", json!([1, 2, 3]), "wrong_width", "/query/0"),
            ("an empty vector", "/query/0", json!([]), "wrong_width", "/query/0"),
            ("a text", "/query/0", json!("5, 5"), "wrong_input", "/query/0"),
            ("an image", "/query/0", json!({"image": "AA=="}), "wrong_input", "/query/0"),
            ("a shape", "/query/0", json!({"shape": [2], "values": [1, 2]}), "wrong_input", "/query/0"),
            (
                "a value for a label",
                "/support",
                example(json!({"input": [0, 0], "value": 1})),
                "wrong_target",
                "/support/0/value",
            ),
            ("a label and a value", "/support/0/value", json!(1), "wrong_target", "/support/0/value"),
            ("neither", "/support", example(json!({"input": [0, 0]})), "wrong_target", "/support/0/label"),
            ("an empty label", "/support/0/label", json!(""), "bad_name", "/support/0/label"),
            ("a long label", "/support/0/label", json!(huge), "bad_name", "/support/0/label"),
            ("a line break in a label", "/support/0/label", json!("a\nb"), "bad_name", "/support/0/label"),
            ("a null in a label", "/support/2/label", json!("a\u{0}b"), "bad_name", "/support/2/label"),
            ("an empty external id", "/support/0/external_id", json!(""), "bad_name", "/support/0/external_id"),
            ("no score at all", "/top_k", json!(0), "out_of_range", "/top_k"),
            ("steps in closed form", "/recipe", json!({"inner_steps": 5}), "inapplicable", "/recipe/inner_steps"),
        ],
    )
}

fn images() -> Vec<Case> {
    let example = |is_upright, label: &str| json!({"input": {"image": base64(&png(is_upright))}, "label": label});
    let support = json!([example(true, "upright"), example(false, "lying")]);
    let body = json!({"base_model": "marks", "support": support, "query": [{"image": base64(&png(true))}]});
    let file = |bytes: &[u8]| json!({"image": base64(bytes)});
    let cut = png(true)[..png(true).len() / 2].to_vec();
    let raw = |shape: Value, count: usize| json!({"shape": shape, "values": vec![0.5; count]});
    rows(
        "/v1/adapt-predict",
        &body,
        [
            ("no bytes", "/query/0", file(b""), "unknown_image_format", "/query/0"),
            ("a GIF", "/query/0", file(b"GIF89a\x01\0\x01\0\0\0\0;"), "unknown_image_format", "/query/0"),
            ("an SVG", "/query/0", file(b"<svg xmlns='x'/>"), "unknown_image_format", "/query/0"),
            ("half a file", "/support/1/input", file(&cut), "bad_image", "/support/1/input"),
            ("a header without an image", "/query/0", file(b"\x89PNG\r\n\x1a\n"), "bad_image", "/query/0"),
            ("3.6 billion pixels", "/query/0", file(&png_of_side(60_000)), "image_too_large", "/query/0"),
            ("a vector", "/query/0", json!([1, 2]), "wrong_input", "/query/0"),
            ("fewer numbers than the shape", "/query/0", raw(json!([1, 16, 16]), 3), "shape_mismatch", "/query/0"),
            ("a shape beyond 64 bits", "/query/0", raw(json!([u64::MAX, 2, 1]), 2), "shape_mismatch", "/query/0"),
            ("an empty shape", "/query/0", raw(json!([]), 0), "shape_mismatch", "/query/0"),
            ("another shape", "/query/0", raw(json!([1, 8, 8]), 64), "wrong_shape", "/query/0"),
            ("as many numbers in another shape", "/query/0", raw(json!([16, 16, 1]), 256), "wrong_shape", "/query/0"),
        ],
    )
}

/// A PNG file that says it has that many rows and columns.
fn png_of_side(side: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut checksum = flate2::Crc::new();
        checksum.update(kind);
        checksum.update(data);
        let length = u32::try_from(data.len()).unwrap();
        [&length.to_be_bytes(), kind.as_slice(), data, &checksum.sum().to_be_bytes()].concat()
    };
    let grey_of_8_bits = [8, 0, 0, 0, 0];
    let header = [side.to_be_bytes().as_slice(), &side.to_be_bytes(), &grey_of_8_bits].concat();
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &[]), &chunk(b"IEND", &[])].concat()
}

fn regressions() -> Vec<Case> {
    let support = json!([{"input": [1], "value": 1}, {"input": [2], "value": 2}]);
    let body = json!({"base_model": "line", "support": support, "query": [[1]]});
    rows(
        "/v1/adapt-predict",
        &body,
        [
            (
                "a label for a value",
                "/support/1",
                json!({"input": [1], "label": "a"}),
                "wrong_target",
                "/support/1/label",
            ),
            ("a label and a value", "/support/0/label", json!("a"), "wrong_target", "/support/0/label"),
            ("no value", "/support/1", json!({"input": [1]}), "wrong_target", "/support/1/value"),
            ("a value beyond 32 bits", "/support/0/value", json!(1e39), "not_finite", "/support/0/value"),
        ],
    )
}

fn gradient_learners() -> Vec<Case> {
    rows(
        "/v1/adapt-predict",
        &with(adapt_predict(), "/base_model", json!("pair")),
        [
            ("three labels for a head of two", "/support", examples(6, 3), "fixed_way", "/support"),
            ("51 inner steps", "/recipe", json!({"inner_steps": 51}), "out_of_range", "/recipe/inner_steps"),
            (
                "4 billion inner steps",
                "/recipe",
                json!({"inner_steps": u32::MAX}),
                "out_of_range",
                "/recipe/inner_steps",
            ),
        ],
    )
}

fn new_tasks() -> Vec<Case> {
    let many: Vec<String> = (0..1_000_000).map(|label| label.to_string()).collect();
    let mut cases = rows(
        "/v1/tasks",
        &task(),
        [
            ("an unknown base model", "/base_model", json!(""), "unknown_base_model", "/base_model"),
            ("an empty name", "/name", json!(""), "bad_name", "/name"),
            ("an escape in a name", "/name", json!("\u{1b}[31mred"), "bad_name", "/name"),
            ("a long name", "/name", json!("n".repeat(129)), "bad_name", "/name"),
            ("a label twice", "/labels", json!(["low", "high", "low"]), "duplicate_label", "/labels/2"),
            ("an empty label", "/labels", json!(["low", ""]), "bad_name", "/labels/1"),
            ("too many labels", "/labels", json!(["a", "b", "c", "d", "e"]), "too_many", "/labels"),
            ("a million labels", "/labels", json!(many), "too_many", "/labels"),
            ("an example outside the labels", "/labels", json!(["low"]), "unknown_label", "/support/2/label"),
            ("large metadata", "/metadata", json!({"note": "m".repeat(17 << 10)}), "too_many", "/metadata"),
            ("another kind", "/kind", json!("regression"), "unsupported_kind", "/kind"),
        ],
    );
    let labelled = json!({"name": "n", "base_model": "line", "labels": ["a"]});
    cases.push(Case::value("labels of a regression", "/v1/tasks", &labelled, "inapplicable", "/labels"));
    cases
}

fn stored(tasks: &Tasks) -> Vec<Case> {
    let support = format!("{}/support", tasks.closed);
    let fill = json!({"examples": examples(MAX_SUPPORT, 2)});
    let open = format!("{}/support", tasks.open);
    let predict = format!("{}/predict", tasks.open);
    let adapt = |task: &str| format!("{task}/adaptations");
    vec![
        Case::value("no examples", &support, &json!({"examples": []}), "too_few", "/examples"),
        Case::value(
            "a label outside the list",
            &support,
            &json!({"examples": [{"input": [9, 9], "label": "Low"}]}),
            "unknown_label",
            "/examples/0/label",
        ),
        Case::value(
            "one right and one wrong",
            &support,
            &json!({"examples": [{"input": [9, 9], "label": "low"}, {"input": [9], "label": "low"}]}),
            "wrong_width",
            "/examples/1/input",
        ),
        Case::value("more than the task may hold", &open, &fill, "too_many", ""),
        Case::value(
            "a label for a regression",
            &format!("{}/support", tasks.line),
            &json!({"examples": [{"input": [9], "label": "low"}]}),
            "wrong_target",
            "/examples/0/label",
        ),
        Case::value("nothing to adapt to", &adapt(&tasks.empty), &json!({}), "empty_support", ""),
        Case::value(
            "steps in closed form",
            &adapt(&tasks.open),
            &json!({"inner_steps": 1}),
            "inapplicable",
            "/inner_steps",
        ),
        Case::value("no query", &predict, &json!({"query": []}), "too_few", "/query"),
        Case::value("a wrong input", &predict, &json!({"query": [[1, 2], [1]]}), "wrong_width", "/query/1"),
        Case::value("no score at all", &predict, &json!({"query": [[1, 2]], "top_k": 0}), "out_of_range", "/top_k"),
        patch(tasks, "an empty name", &json!({"name": ""}), "bad_name", "/name"),
        patch(tasks, "a label twice", &json!({"add_labels": ["x", "x"]}), "duplicate_label", "/add_labels/1"),
        patch(tasks, "too many labels", &json!({"add_labels": ["x", "y", "z"]}), "too_many", "/add_labels"),
    ]
}

fn patch(tasks: &Tasks, what: &str, body: &Value, fault: &'static str, pointer: &str) -> Case {
    Case { method: "PATCH", ..Case::value(what, &tasks.closed, body, fault, pointer) }
}
