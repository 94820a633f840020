//! Texts as strangers write them, in pieces: no more than an encoder takes, each where the text says.

use serde_json::json;

use super::tokens::Tokenizer;
use crate::fuzz::hammer;

const LONGEST: usize = 16;

#[test]
fn texts() {
    let pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "the", "card", "##s", ".", "你"];
    let vocab: serde_json::Map<_, _> =
        pieces.iter().enumerate().map(|(id, &piece)| (piece.to_owned(), json!(id))).collect();
    let mark = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let file = json!({
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
    });
    let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes(), LONGEST).unwrap();
    let samples =
        ["the cards. abab", "İstanbul ﬁ e\u{301} \u{200d}", "你好 a\u{0}b\u{fffd}", "\u{1f469}\u{200d}\u{1f680} AB"];

    hammer("texts", &samples.map(str::as_bytes), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let tokens = tokenizer.tokens(&text).unwrap();
        let length = text.chars().count();
        assert!(tokens.ids.len() <= LONGEST && tokens.ids.len() == tokens.offsets.len());
        assert!(tokens.ids.iter().all(|&id| (id as usize) < pieces.len()));
        assert!(tokens.offsets.iter().all(|&(start, end)| start <= end && end <= length));
    });
}
