//! Inputs as JSON has them: what kind one is, its form says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::input::{Input, Item, narrow};

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Self::Vector(values) => values.serialize(serializer),
            Self::Encoded(bytes) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("image", &STANDARD.encode(bytes))?;
                map.end()
            }
            Self::Raw { shape, values } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("shape", shape)?;
                map.serialize_entry("values", values)?;
                map.end()
            }
            Self::Text(text) => serializer.serialize_str(text),
            Self::Tokens(tokens) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("tokens", tokens)?;
                map.end()
            }
            Self::Item(item) => item.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a string, an array of numbers, {\"image\": base64}, {\"shape\": [...], \"values\": [...]}, {\"tokens\": [...]} \
             or {\"text\": string, …}",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Input, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(narrow(value));
        }
        Ok(Input::Vector(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Input, A::Error> {
        let all = |numbers: Vec<f64>| numbers.into_iter().map(narrow).collect();
        match Members::deserialize(MapAccessDeserializer::new(map))? {
            Members {
                image: Some(text),
                shape: None,
                values: None,
                tokens: None,
                text: None,
                prior: None,
                features: None,
            } => {
                let body = match text.strip_prefix("data:") {
                    Some(url) => url.split_once(";base64,").map_or("", |(_, body)| body),
                    None => &text,
                };
                STANDARD
                    .decode(body.trim_end())
                    .map(Input::Encoded)
                    .map_err(|error| de::Error::custom(format!("`image` is not base64: {error}")))
            }
            Members {
                shape: Some(shape),
                values: Some(values),
                image: None,
                tokens: None,
                text: None,
                prior: None,
                features: None,
            } => Ok(Input::Raw { shape, values: all(values) }),
            Members {
                tokens: Some(tokens),
                image: None,
                shape: None,
                values: None,
                text: None,
                prior: None,
                features: None,
            } => Ok(Input::Tokens(tokens)),
            Members { text: Some(text), prior, features, image: None, shape: None, values: None, tokens: None } => {
                let features = all(features.unwrap_or_default());
                Ok(Input::Item(Item { text, prior: prior.map(narrow), features }))
            }
            _ => Err(de::Error::custom(
                "an input object has either `image`, or `shape` and `values`, or `tokens`, or `text` and perhaps `prior` \
                 and `features`",
            )),
        }
    }
}

/// Whatever an input that is written as an object may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    image: Option<String>,
    shape: Option<Vec<usize>>,
    values: Option<Vec<f64>>,
    tokens: Option<Vec<String>>,
    text: Option<String>,
    prior: Option<f64>,
    features: Option<Vec<f64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_survive_a_round_trip_through_json() {
        for input in [
            Input::Vector(vec![0.1, -3.5e-7]),
            Input::Encoded(vec![1, 2, 255]),
            Input::Raw { shape: vec![1, 1, 2], values: vec![0.0, 1.0] },
            Input::Text("hello".to_owned()),
            Input::Tokens(vec!["hello".to_owned(), "\"".to_owned()]),
            Input::Item(Item { text: "Heat".to_owned(), prior: Some(-3.25), features: vec![0.5, -1.0] }),
            Input::Item(Item { text: "Heat".to_owned(), ..Item::default() }),
        ] {
            let text = serde_json::to_string(&input).expect("writes");
            assert_eq!(serde_json::from_str::<Input>(&text).expect("reads"), input, "{text}");
        }
    }

    #[test]
    fn a_data_url_is_an_encoded_image() {
        let input: Input = serde_json::from_str(r#"{"image": "data:image/png;base64,AQI="}"#).expect("reads");

        assert_eq!(input, Input::Encoded(vec![1, 2]));
    }

    #[test]
    fn an_input_object_with_an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Input>(r#"{"image": "AQI=", "dtype": "u8"}"#).is_err());
        assert!(serde_json::from_str::<Input>(r#"{"shape": [2]}"#).is_err());
        assert!(serde_json::from_str::<Input>(r#"{"text": "Heat", "tokens": []}"#).is_err());
        assert!(serde_json::from_str::<Input>(r#"{"prior": -1}"#).is_err());
        assert!(serde_json::from_str::<Input>(r#"{"text": "a", "text": "b"}"#).is_err());
    }
}
