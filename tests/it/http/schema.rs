//! Whether a value is of a schema: the part of JSON Schema that the document uses, and a panic at any other.

use serde_json::Value;

/// Words that say nothing about values.
const SILENT: [&str; 8] =
    ["description", "example", "examples", "default", "format", "title", "contentEncoding", "contentMediaType"];

/// Where `value` is not of `schema`, and why.
pub fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(words) = schema.as_object() else {
        if *schema == Value::Bool(false) {
            found.push(format!("{at}: nothing may be here"));
        }
        return;
    };
    for (word, rule) in words {
        let mut fault = |text: String| found.push(format!("{at}: {text}"));
        match word.as_str() {
            "$ref" => {
                let place = rule.as_str().unwrap().trim_start_matches('#');
                let target = document.pointer(place).unwrap_or_else(|| panic!("{place} is not in the document"));
                check(document, target, value, at, found);
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|name| is_of_type(value, name.as_str().unwrap())) {
                    fault(format!("{value} is none of {types:?}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => fault(format!("{value} is none of {rule}")),
            "required" => {
                let Some(map) = value.as_object() else { continue };
                for name in rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
                    if !map.contains_key(name) {
                        fault(format!("`{name}` is missing"));
                    }
                }
            }
            "properties" => {
                let Some(map) = value.as_object() else { continue };
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = map.get(name) {
                        check(document, schema, value, &format!("{at}/{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                let Some(map) = value.as_object() else { continue };
                let known = words.get("properties").and_then(Value::as_object);
                for (name, value) in map.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)))
                {
                    check(document, rule, value, &format!("{at}/{name}"), found);
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, rule, item, &format!("{at}/{index}"), found);
                }
            }
            "oneOf" | "anyOf" => {
                let fits =
                    rule.as_array().unwrap().iter().filter(|one| faults(document, one, value).is_empty()).count();
                if fits == 0 || (word == "oneOf" && fits > 1) {
                    fault(format!("{fits} of {word} fit {value}"));
                }
            }
            "allOf" => rule.as_array().unwrap().iter().for_each(|one| check(document, one, value, at, found)),
            "minimum" if value.as_f64().is_some_and(|own| own < rule.as_f64().unwrap()) => {
                fault(format!("{value} < {rule}"));
            }
            "maximum" if value.as_f64().is_some_and(|own| own > rule.as_f64().unwrap()) => {
                fault(format!("{value} > {rule}"));
            }
            "minItems" if value.as_array().is_some_and(|own| (own.len() as u64) < rule.as_u64().unwrap()) => {
                fault(format!("fewer than {rule}"));
            }
            "maxItems" if value.as_array().is_some_and(|own| (own.len() as u64) > rule.as_u64().unwrap()) => {
                fault(format!("more than {rule}"));
            }
            "maxLength" if value.as_str().is_some_and(|own| (own.chars().count() as u64) > rule.as_u64().unwrap()) => {
                fault(format!("longer than {rule}"));
            }
            "enum" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "minItems" | "maxItems"
            | "minLength" | "maxLength" | "pattern" | "propertyNames" | "const" => {}
            silent if SILENT.contains(&silent) => {}
            other => panic!("{at}: `{other}` is not a word that is known here"),
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    }
}

#[test]
fn a_value_of_another_form_is_seen() {
    let document =
        serde_json::json!({"one": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}});
    let schema = serde_json::json!({"$ref": "#/one"});

    assert!(faults(&document, &schema, &serde_json::json!({"a": 1})).is_empty());
    for wrong in [serde_json::json!({"a": 1.5}), serde_json::json!({}), serde_json::json!([1])] {
        assert!(!faults(&document, &schema, &wrong).is_empty(), "{wrong}");
    }
}
