//! Text encoders, as base models name them.

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
}
