//! What a base model takes in, and how a caller's value becomes one row of numbers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{EncoderRef, Fault, PixelLimits, Pixels};

/// The largest magnitude of an input or target: far above any sane feature, far below overflow in a sum of squares.
pub const MAGNITUDE_BOUND: f32 = 1e9;

/// What one input of a base model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputSchema {
    /// A list of numbers.
    Vector {
        /// How many.
        width: usize,
    },
    /// A picture.
    Image {
        /// 1 (grey) or 3 (red, green, blue).
        channels: usize,
        /// Rows of pixels after resizing.
        height: usize,
        /// Columns of pixels after resizing.
        width: usize,
        /// How light and dark are told apart.
        polarity: Polarity,
    },
    /// A text, which a frozen encoder turns into numbers; or these numbers.
    Text {
        /// The encoder.
        encoder: EncoderRef,
        /// Numbers in an embedding.
        width: usize,
        /// Longest text, in characters. The encoder reads the first 256 pieces of it.
        max_chars: usize,
    },
}

/// How an image's values are turned before a base model sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Polarity {
    /// As they are: 0 is black, 1 is white.
    AsIs,
    /// Ink is 1: an image whose border is lighter than its mid-grey is inverted, so that black on white and white on black are one.
    Ink,
}

/// One input as a caller sends it, not yet checked against a base model.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// `[0.1, 0.2]`
    Vector(Vec<f32>),
    /// `{"image": "<base64>"}`, with or without a `data:` prefix.
    Encoded(Vec<u8>),
    /// `{"shape": [1, 28, 28], "values": [...]}`, row-major, 0 (black) to 1 (white).
    Raw {
        /// Channels, height, width.
        shape: Vec<usize>,
        /// As many numbers as the shape says.
        values: Vec<f32>,
    },
    /// A string, for base models that take text.
    Text(String),
    /// `{"tokens": ["Ann", "met", "Bob"]}`: a text in words, for tagging.
    Tokens(Vec<String>),
}

impl Input {
    /// What it is, for messages.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Vector(_) => "an array of numbers",
            Self::Encoded(_) => "an encoded image",
            Self::Raw { .. } => "an array with a shape",
            Self::Text(_) => "a string",
            Self::Tokens(_) => "a list of words",
        }
    }
}

impl InputSchema {
    /// Numbers in one row.
    pub fn row_width(&self) -> usize {
        match self {
            Self::Vector { width } | Self::Text { width, .. } => *width,
            Self::Image { channels, height, width, .. } => channels * height * width,
        }
    }

    /// Shape of one row: `[D]` or `[C, H, W]`.
    pub fn row_shape(&self) -> Vec<usize> {
        match self {
            Self::Vector { width } | Self::Text { width, .. } => vec![*width],
            Self::Image { channels, height, width, .. } => vec![*channels, *height, *width],
        }
    }

    /// What it takes, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Vector { width } => format!("an array of {width} numbers"),
            Self::Image { channels, height, width, .. } => format!(
                "an image: {{\"image\": base64 of PNG, JPEG or WebP}} or {{\"shape\": [{channels}, {height}, {width}], \"values\": [...]}}"
            ),
            Self::Text { encoder, width, max_chars } => format!(
                "a text of up to {max_chars} characters, or its embedding by {}, an array of {width} numbers",
                encoder.name
            ),
        }
    }

    /// Whether a text is an input as it is.
    pub const fn takes_text(&self) -> bool {
        !matches!(self, Self::Vector { .. } | Self::Image { .. })
    }

    /// An input that came as a text, where there is nothing but texts: the text itself, an image's file in base64, or a
    /// vector as a JSON array.
    pub fn from_text(&self, text: String) -> Result<Input, Fault> {
        if self.takes_text() {
            return Ok(Input::Text(text));
        }
        let value = if let Self::Vector { .. } = self {
            serde_json::from_str(&text).ok()
        } else {
            serde_json::from_value(serde_json::json!({ "image": text })).ok()
        };
        value.ok_or_else(|| Fault::WrongInput { expected: self.describe(), given: Input::Text(text).describe() })
    }

    /// The text that an encoder has to turn into a row; none if [`InputSchema::row`] makes it.
    pub fn text<'i>(&self, input: &'i Input) -> Result<Option<&'i str>, Fault> {
        let (Self::Text { max_chars, .. }, Input::Text(text)) = (self, input) else { return Ok(None) };
        if text.trim().is_empty() {
            return Err(Fault::TooFew { what: "characters that are not space", given: 0, least: 1 });
        }
        let given = text.chars().count();
        if given > *max_chars {
            return Err(Fault::TooMany { what: "characters of one text", given, limit: *max_chars });
        }
        Ok(Some(text))
    }

    /// One row of finite numbers from a caller's value.
    pub fn row(&self, input: &Input, limits: PixelLimits) -> Result<Vec<f32>, Fault> {
        match (self, input) {
            (Self::Text { width, .. }, Input::Vector(values)) if values.len() != *width => {
                Err(Fault::WrongInput { expected: self.describe(), given: input.describe() })
            }
            (Self::Vector { width } | Self::Text { width, .. }, Input::Vector(values)) => {
                if values.len() != *width {
                    return Err(Fault::WrongWidth { expected: *width, given: values.len() });
                }
                finite(values)?;
                Ok(values.clone())
            }
            (Self::Image { channels, height, width, polarity }, Input::Encoded(bytes)) => {
                let pixels = Pixels::decode(bytes, [*channels, *height, *width], limits)?;
                Ok(pixels.with_polarity(*polarity).into_values())
            }
            (Self::Image { channels, height, width, polarity }, Input::Raw { shape, values }) => {
                let needs = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
                if needs != Some(values.len()) {
                    let needs = needs.map_or_else(|| "more than 2^64".to_owned(), |count| count.to_string());
                    return Err(Fault::ShapeMismatch { shape: shape.clone(), needs, given: values.len() });
                }
                let expected = self.row_shape();
                if *shape != expected {
                    return Err(Fault::WrongShape { expected, given: shape.clone() });
                }
                finite(values)?;
                let pixels = Pixels::new(*channels, *height, *width, values.clone());
                Ok(pixels.with_polarity(*polarity).into_values())
            }
            (schema, given) => Err(Fault::WrongInput { expected: schema.describe(), given: given.describe() }),
        }
    }
}

/// Refuses NaN, infinities and magnitudes above [`MAGNITUDE_BOUND`]. JSON's `1e39` arrives as an infinity.
pub fn finite(values: &[f32]) -> Result<(), Fault> {
    let is_wrong = |value: &f32| value.is_nan() || value.abs() > MAGNITUDE_BOUND;
    match values.iter().position(is_wrong) {
        Some(index) => Err(Fault::NotFinite { index, bound: MAGNITUDE_BOUND }),
        None => Ok(()),
    }
}

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
        }
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

/// To 32 bits. What is too large becomes an infinity, which [`finite`] refuses where its place is known.
#[expect(clippy::cast_possible_truncation, reason = "inputs are 32-bit")]
pub fn narrow(value: f64) -> f32 {
    value as f32
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "a string, an array of numbers, {\"image\": base64}, {\"shape\": [...], \"values\": [...]} or {\"tokens\": [...]}",
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

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input, A::Error> {
        let (mut image, mut shape, mut values, mut tokens) = (None::<String>, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "image" if image.is_none() => image = Some(map.next_value()?),
                "shape" if shape.is_none() => shape = Some(map.next_value()?),
                "values" if values.is_none() => values = Some(map.next_value()?),
                "tokens" if tokens.is_none() => tokens = Some(map.next_value()?),
                "image" | "shape" | "values" | "tokens" => {
                    return Err(de::Error::custom(format!("field `{key}` is given twice")));
                }
                _ => return Err(de::Error::unknown_field(&key, &["image", "shape", "values", "tokens"])),
            }
        }
        match (image, shape, values, tokens) {
            (Some(text), None, None, None) => {
                let body = match text.strip_prefix("data:") {
                    Some(url) => url.split_once(";base64,").map_or("", |(_, body)| body),
                    None => &text,
                };
                STANDARD
                    .decode(body.trim_end())
                    .map(Input::Encoded)
                    .map_err(|error| de::Error::custom(format!("`image` is not base64: {error}")))
            }
            (None, Some(shape), Some(values), None) => {
                let values: Vec<f64> = values;
                Ok(Input::Raw { shape, values: values.into_iter().map(narrow).collect() })
            }
            (None, None, None, Some(tokens)) => Ok(Input::Tokens(tokens)),
            _ => Err(de::Error::custom("an input object has either `image`, or `shape` and `values`, or `tokens`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PixelLimits = PixelLimits { max_side: 4096, max_bytes: 1 << 24 };
    const PLANE: InputSchema = InputSchema::Vector { width: 2 };

    #[test]
    fn inputs_survive_a_round_trip_through_json() {
        for input in [
            Input::Vector(vec![0.1, -3.5e-7]),
            Input::Encoded(vec![1, 2, 255]),
            Input::Raw { shape: vec![1, 1, 2], values: vec![0.0, 1.0] },
            Input::Text("hello".to_owned()),
            Input::Tokens(vec!["hello".to_owned(), "\"".to_owned()]),
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
    fn a_number_too_large_for_32_bits_is_refused() {
        let input: Input = serde_json::from_str("[0, 1e39]").expect("JSON itself allows it");

        assert_eq!(PLANE.row(&input, LIMITS), Err(Fault::NotFinite { index: 1, bound: MAGNITUDE_BOUND }));
    }

    #[test]
    fn a_vector_of_another_width_is_refused() {
        let row = PLANE.row(&Input::Vector(vec![1.0]), LIMITS);

        assert_eq!(row, Err(Fault::WrongWidth { expected: 2, given: 1 }));
    }

    #[test]
    fn a_shape_that_overflows_is_refused() {
        let schema = InputSchema::Image { channels: 1, height: 1, width: 2, polarity: Polarity::AsIs };
        let raw = Input::Raw { shape: vec![usize::MAX, 2, 1], values: vec![0.0, 0.0] };

        assert!(matches!(schema.row(&raw, LIMITS), Err(Fault::ShapeMismatch { .. })));
    }

    #[test]
    fn an_input_object_with_an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Input>(r#"{"image": "AQI=", "dtype": "u8"}"#).is_err());
        assert!(serde_json::from_str::<Input>(r#"{"shape": [2]}"#).is_err());
    }
}
