//! From a text to the pieces that an encoder knows, by Hugging Face's `tokenizers`.

use tokenizers::{Tokenizer as Pieces, TruncationParams};

/// Pieces beyond these are left out, as in the reference implementation (`sentence_bert_config.json`).
pub const MAX_TOKENS: usize = 256;

/// A text in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Numbers of the pieces, the marks of start and end among them.
    pub ids: Vec<u32>,
    /// Where each piece stands in the text, in characters, the last one excluded; both 0 for marks.
    pub offsets: Vec<(usize, usize)>,
}

/// Cuts texts into pieces. It knows no tensors, so that threads may share it.
#[derive(Clone)]
pub struct Tokenizer {
    pieces: Pieces,
    longest: usize,
}

impl Tokenizer {
    /// From a `tokenizer.json`, for an encoder of texts up to `longest` pieces.
    ///
    /// # Errors
    /// A reason, if it is none.
    pub(super) fn from_bytes(json: &[u8], longest: usize) -> Result<Self, String> {
        let mut pieces = Pieces::from_bytes(json).map_err(|error| error.to_string())?;
        // Texts are never padded: what a text is encoded to must not depend on its neighbours.
        pieces.with_padding(None);
        let longest = longest.min(MAX_TOKENS);
        let truncation = TruncationParams { max_length: longest, ..TruncationParams::default() };
        pieces.with_truncation(Some(truncation)).map_err(|error| error.to_string())?;
        Ok(Self { pieces, longest })
    }

    /// The pieces of one text, at most [`MAX_TOKENS`].
    ///
    /// # Errors
    /// A reason, if the tokenizer has no piece for unknown words.
    pub fn tokens(&self, text: &str) -> Result<Tokens, String> {
        let encoding = self.pieces.encode_char_offsets(text, true).map_err(|error| error.to_string())?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// Whether there are so many pieces that more may have been left out.
    pub(super) fn is_full(&self, tokens: &Tokens) -> bool {
        tokens.ids.len() >= self.longest
    }
}
