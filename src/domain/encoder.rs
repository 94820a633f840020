//! Text encoders, as base models name them, and labels as they read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The frozen encoder that a base model stands on: with other weights or another tokenizer it would be another base model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderRef {
    /// The name of its folder.
    pub name: String,
    /// SHA-256 of each of its files, in hexadecimal, by the file's name.
    pub sha256: BTreeMap<String, String>,
    /// SHA-256 of what the base model adds to it, a file of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<String>,
}

impl EncoderRef {
    /// All that an embedding is a function of, besides the text.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        self.sha256.values().chain(&self.tuning).map(String::as_str)
    }
}

/// A label as a person would say it: `card_arrival` and `cardArrival` are `card arrival`.
pub fn words(label: &str) -> String {
    let mut words = String::with_capacity(label.len() + 4);
    let mut before = ' ';
    for letter in label.chars() {
        let is_joint = "_-./:".contains(letter) || letter.is_whitespace();
        let begins = letter.is_uppercase() && before.is_lowercase();
        if (is_joint || begins) && !words.ends_with(' ') && !words.is_empty() {
            words.push(' ');
        }
        if !is_joint {
            words.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_becomes_words() {
        for (label, spoken) in [
            ("card_arrival", "card arrival"),
            ("AddToPlaylist", "add to playlist"),
            ("ATM support", "atm support"),
            ("billing/refund--late", "billing refund late"),
            ("_", ""),
        ] {
            assert_eq!(words(label), spoken, "{label}");
        }
    }
}
