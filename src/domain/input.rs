//! What a base model takes in, and how a caller's value becomes one row of numbers.

use serde::{Deserialize, Serialize};

use super::{EncoderRef, Fault, PixelLimits, Pixels, Rows};

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
    /// Something that can be recommended: a text, how often it is chosen, and numbers of the caller's own.
    ///
    /// A row has the text's embedding, then 1 and the prior or twice 0, then the numbers, zeros where there are fewer.
    Item {
        /// The encoder of the text.
        encoder: EncoderRef,
        /// Numbers in an embedding.
        width: usize,
        /// Longest text, in characters.
        max_chars: usize,
        /// Most numbers of the caller's own.
        features: usize,
    },
}

/// Places of a row between an item's embedding and its numbers: whether there is a prior, and the prior.
pub const PRIOR_PLACES: usize = 2;

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
    /// `{"text": "Heat, crime", "prior": -3.2, "features": [0.5]}`: an item, for ranking.
    Item(Item),
}

/// Something that can be recommended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Item {
    /// What it is: a title, a description.
    pub text: String,
    /// The natural logarithm of the share of people who choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<f32>,
    /// Numbers of the caller's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<f32>,
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
            Self::Item(_) => "an item",
        }
    }

    /// About how many bytes it takes as JSON.
    pub fn bytes(&self) -> usize {
        const NUMBER: usize = 10;
        match self {
            Self::Vector(values) | Self::Raw { values, .. } => values.len() * NUMBER,
            Self::Encoded(bytes) => bytes.len().div_ceil(3) * 4,
            Self::Text(text) => text.len(),
            Self::Tokens(words) => words.iter().map(|word| word.len() + 3).sum(),
            Self::Item(Item { text, features, .. }) => text.len() + (1 + features.len()) * NUMBER,
        }
    }

    /// The text, if there is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Item(Item { text, .. }) => Some(text),
            _ => None,
        }
    }
}

impl InputSchema {
    /// Numbers in one row.
    pub fn row_width(&self) -> usize {
        match self {
            Self::Vector { width } | Self::Text { width, .. } => *width,
            Self::Image { channels, height, width, .. } => channels * height * width,
            Self::Item { width, features, .. } => width + PRIOR_PLACES + features,
        }
    }

    /// The encoder of texts and the width of its embeddings, where there is one.
    pub const fn encoder(&self) -> Option<(&EncoderRef, usize)> {
        match self {
            Self::Text { encoder, width, .. } | Self::Item { encoder, width, .. } => Some((encoder, *width)),
            Self::Vector { .. } | Self::Image { .. } => None,
        }
    }

    /// Shape of one row: `[D]` or `[C, H, W]`.
    pub fn row_shape(&self) -> Vec<usize> {
        match self {
            Self::Vector { width } | Self::Text { width, .. } => vec![*width],
            Self::Image { channels, height, width, .. } => vec![*channels, *height, *width],
            Self::Item { .. } => vec![self.row_width()],
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
            Self::Item { max_chars, features, .. } => format!(
                "a text of up to {max_chars} characters, or an item: {{\"text\": …, \"prior\": …, \"features\": \
                 [up to {features} numbers]}}"
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
        let (max_chars, text) = match (self, input) {
            (Self::Text { max_chars, .. } | Self::Item { max_chars, .. }, Input::Text(text)) => (max_chars, text),
            (Self::Item { max_chars, features, .. }, Input::Item(item)) => {
                check_numbers(item, *features)?;
                (max_chars, &item.text)
            }
            _ => return Ok(None),
        };
        if text.trim().is_empty() {
            return Err(Fault::TooFew { what: "characters that are not space", given: 0, least: 1 });
        }
        let given = text.chars().count();
        if given > *max_chars {
            return Err(Fault::TooMany { what: "characters of one text", given, limit: *max_chars });
        }
        Ok(Some(text))
    }

    /// The row of an input whose text has this embedding.
    pub fn completed(&self, input: &Input, embedding: &[f32]) -> Vec<f32> {
        let mut row = embedding.to_vec();
        row.resize(self.row_width(), 0.0);
        if let (Self::Item { width, .. }, Input::Item(Item { prior, features, .. })) = (self, input) {
            if let Some(prior) = prior {
                row[*width..width + PRIOR_PLACES].copy_from_slice(&[1.0, *prior]);
            }
            let own = width + PRIOR_PLACES;
            row[own..own + features.len()].copy_from_slice(features);
        }
        row
    }

    /// Rows with nothing left of them but what their inputs are about: of an item its text.
    pub fn about(&self, rows: Rows) -> Rows {
        if let Self::Item { width, .. } = self { rows.cleared_from(*width) } else { rows }
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
            (Self::Item { .. }, Input::Vector(values)) if values.len() == self.row_width() => {
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

/// As many finite numbers as there are places for.
fn check_numbers(item: &Item, places: usize) -> Result<(), Fault> {
    let given = item.features.len();
    if given > places {
        return Err(Fault::TooMany { what: "features of an item", given, limit: places });
    }
    finite(&item.features)?;
    finite(item.prior.as_slice())
}

/// Refuses NaN, infinities and magnitudes above [`MAGNITUDE_BOUND`]. JSON's `1e39` arrives as an infinity.
pub fn finite(values: &[f32]) -> Result<(), Fault> {
    let is_wrong = |value: &f32| value.is_nan() || value.abs() > MAGNITUDE_BOUND;
    match values.iter().position(is_wrong) {
        Some(index) => Err(Fault::NotFinite { index, bound: MAGNITUDE_BOUND }),
        None => Ok(()),
    }
}

/// To 32 bits. What is too large becomes an infinity, which [`finite`] refuses where its place is known.
#[expect(clippy::cast_possible_truncation, reason = "inputs are 32-bit")]
pub fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const LIMITS: PixelLimits = PixelLimits { max_side: 4096, max_bytes: 1 << 24 };
    const PLANE: InputSchema = InputSchema::Vector { width: 2 };

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
    fn an_item_is_its_embedding_then_its_prior_then_its_numbers() {
        let encoder = EncoderRef { name: "tiny".to_owned(), sha256: BTreeMap::default(), tuning: None };
        let schema = InputSchema::Item { encoder, width: 2, max_chars: 10, features: 3 };
        let item =
            |prior, features: &[f32]| Input::Item(Item { text: "Heat".to_owned(), prior, features: features.to_vec() });

        let full = item(Some(-2.0), &[4.0]);
        assert_eq!(schema.text(&full), Ok(Some("Heat")));
        assert_eq!(schema.completed(&full, &[0.6, 0.8]), [0.6, 0.8, 1.0, -2.0, 4.0, 0.0, 0.0]);
        assert_eq!(schema.completed(&Input::Text("Heat".to_owned()), &[0.6, 0.8]), [0.6, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(matches!(schema.text(&item(None, &[0.0; 4])), Err(Fault::TooMany { given: 4, limit: 3, .. })));
        assert!(matches!(schema.text(&item(Some(f32::INFINITY), &[])), Err(Fault::NotFinite { .. })));
    }
}
