//! How much a JSON body unfolds to, before it is unfolded.
//!
//! `[]` is two bytes, and a list of inputs keeps dozens for it: a body of the largest size could take forty times as
//! much memory. So the values of a long body are counted first, in one pass without memory.

use super::problem::Problem;
use crate::domain::{Fault, Invalid};
use crate::service::ServiceError;

/// Most arrays and objects: dozens of bytes each, and three to an example.
const CONTAINERS: usize = 1 << 18;
/// Most strings, keys among them: an allocation each.
const STRINGS: usize = 1 << 20;
/// Most numbers and words: four bytes each in a vector.
const SCALARS: usize = 1 << 21;

/// What a body holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    containers: usize,
    strings: usize,
    scalars: usize,
}

/// Refuses a body of more values than any request needs. What is no JSON is the parser's to refuse.
pub fn check(body: &[u8]) -> Result<(), Problem> {
    let Counts { containers, strings, scalars } = count(body);
    for (what, given, limit) in [
        ("arrays and objects", containers, CONTAINERS),
        ("strings", strings, STRINGS),
        ("numbers and words", scalars, SCALARS),
    ] {
        if given > limit {
            let invalid: Invalid = Fault::TooMany { what, given, limit }.at("");
            return Err(ServiceError::from(invalid).into());
        }
    }
    Ok(())
}

fn count(body: &[u8]) -> Counts {
    let (mut counts, mut is_string, mut is_escaped, mut is_scalar) = (Counts::default(), false, false, false);
    for &byte in body {
        if is_string {
            is_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        let goes_on = match byte {
            b'"' => {
                counts.strings += 1;
                is_string = true;
                false
            }
            b'[' | b'{' => {
                counts.containers += 1;
                false
            }
            b']' | b'}' | b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => false,
            _ => true,
        };
        counts.scalars += usize::from(goes_on && !is_scalar);
        is_scalar = goes_on;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn counted(value: &Value) -> Counts {
        let of_each = |parts: Vec<Counts>| {
            parts.into_iter().fold(Counts { containers: 1, ..Counts::default() }, |sum, part| Counts {
                containers: sum.containers + part.containers,
                strings: sum.strings + part.strings,
                scalars: sum.scalars + part.scalars,
            })
        };
        match value {
            Value::String(_) => Counts { strings: 1, ..Counts::default() },
            Value::Array(items) => of_each(items.iter().map(counted).collect()),
            Value::Object(members) => {
                let keys = Counts { strings: members.len(), ..Counts::default() };
                of_each(members.values().map(counted).chain([keys]).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Counts { scalars: 1, ..Counts::default() },
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_there(value in value(), is_pretty in any::<bool>()) {
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(count(text.unwrap().as_bytes()), counted(&value));
        }
    }

    #[test]
    fn a_body_of_nothing_but_brackets_is_refused() {
        assert!(check("[],".repeat(CONTAINERS).as_bytes()).is_ok());
        assert!(check("[],".repeat(CONTAINERS + 1).as_bytes()).is_err());
    }
}
