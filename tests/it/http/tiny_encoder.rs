//! A text encoder of the same family as the one that ships, small enough to be made on the spot: what it says of a text is
//! beside the point, that it says the same of the same text is not.

use std::path::Path;

use imprint::domain::InputSchema;
use imprint::meta::encoder::{self, BertConfig};
use imprint::nn::{Params, checkpoint, init};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use tch::Device;

/// Longest text of the base model that stands on it.
pub const MAX_CHARS: usize = 100;

/// Writes the encoder and says what stands on it.
pub fn write(folder: &Path) -> InputSchema {
    std::fs::create_dir_all(folder).unwrap();
    let config = json!({
        "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 16, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": 32,
        "vocab_size": 56, "type_vocab_size": 2
    });
    let shape: BertConfig = serde_json::from_value(config.clone()).unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let params: Params =
        shape.parameters().into_iter().map(|(name, shape)| (name, init::uniform(rng, &shape, 0.8).unwrap())).collect();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("model.safetensors"), checkpoint::to_bytes(&params, &[]).unwrap()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let loaded = encoder::load(folder, Device::Cpu).unwrap();
    InputSchema::Text { width: loaded.encoder.width(), encoder: loaded.reference, max_chars: MAX_CHARS }
}

/// Letters, at the start of a word and within one.
fn tokenizer() -> Value {
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let letters = ('a'..='z').map(String::from);
    let pieces = marks.into_iter().chain(letters.clone()).chain(letters.map(|letter| format!("##{letter}")));
    let vocab: Map<String, Value> = pieces.enumerate().map(|(id, piece)| (piece, json!(id))).collect();
    let mark = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": mark("[CLS]", 2), "[SEP]": mark("[SEP]", 3)}
        },
        "decoder": null,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab
        }
    })
}
