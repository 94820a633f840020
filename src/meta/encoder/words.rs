//! What an encoder says of each word of a sentence.
//!
//! A word is the mean of its pieces, and a piece the mean over the blocks' outputs but the first's: upper blocks know
//! what a text is about, lower ones what stands where, and a name needs both (Peters et al. 2018, arXiv:1802.05365,
//! §5.1). The numbers are kept in 16 bits: a sentence of 25 words is 19 kB.

use std::ops::Range;
use std::sync::Arc;

use tch::{Device, Tensor};

use super::{BertConfig, Encoder, Pack, Tokenizer, Tokens, Upper};
use crate::domain::Sentence;
use crate::nn::{Params, Result, TensorError, bridge};

/// What an encoder says of a sentence's words, `[L, E]`, row-major: 16-bit floats as they lie in memory.
pub type Reading = Arc<[u16]>;

/// As much of a sentence as an encoder takes at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its pieces.
    tokens: Tokens,
    /// The word that each piece belongs to, counted from the window's first; none for marks of start and end.
    word_of: Vec<Option<usize>>,
    /// Words.
    words: usize,
}

impl Window {
    /// How many pieces.
    pub fn pieces(&self) -> usize {
        self.tokens.ids.len()
    }
}

impl Tokenizer {
    /// A sentence in windows: one, unless it is longer than the encoder reads.
    ///
    /// # Errors
    /// A reason, if the tokenizer has no piece for unknown words.
    pub fn windows(&self, sentence: &Sentence) -> Result<Vec<Window>, String> {
        let mut windows = Vec::new();
        self.cut(sentence, 0..sentence.len(), &mut windows)?;
        Ok(windows)
    }

    fn cut(&self, sentence: &Sentence, words: Range<usize>, windows: &mut Vec<Window>) -> Result<(), String> {
        let (text, place) = sentence.stretch(words.clone());
        let tokens = self.tokens(text)?;
        if self.is_full(&tokens) && words.len() > 1 {
            let middle = words.start.midpoint(words.end);
            self.cut(sentence, words.start..middle, windows)?;
            return self.cut(sentence, middle..words.end, windows);
        }
        let places = &sentence.places()[words.clone()];
        let word_of = |&(start, end): &(usize, usize)| {
            if start == end {
                return None;
            }
            let at = place.start + start;
            let word = places.partition_point(|word| word.end <= at);
            (word < places.len()).then_some(word)
        };
        let word_of = tokens.offsets.iter().map(word_of).collect();
        windows.push(Window { tokens, word_of, words: words.len() });
        Ok(())
    }
}

impl Encoder {
    /// What it says of the words of each sentence, which comes in windows. Of a word without a piece it says nothing: zero.
    pub fn read(&self, sentences: &[Vec<Window>]) -> Result<Vec<Reading>> {
        let windows: Vec<&Window> = sentences.iter().flatten().collect();
        let mut rows: Vec<Option<Tensor>> = windows.iter().map(|_| None).collect();
        self.in_packs(&windows.iter().map(|window| &window.tokens).collect::<Vec<_>>(), |pack| {
            let pieces = self.mean_state(pack)?;
            for (place, own) in pack.stretches() {
                let own = pieces.f_narrow(0, own.start as i64, own.len() as i64)?;
                rows[place] = Some(windows[place].shares(self.device)?.f_matmul(&own)?);
            }
            Ok(())
        })?;
        let mut rows = rows.into_iter().flatten();
        let reading = |windows: &Vec<Window>| -> Result<Reading> {
            let words: Vec<Tensor> = rows.by_ref().take(windows.len()).collect();
            bridge::halves(&Tensor::f_cat(&words, 0)?).map(Reading::from)
        };
        sentences.iter().map(reading).collect()
    }

    /// The mean over the blocks' outputs but the first's, for each piece: `[N, E]`.
    fn mean_state(&self, pack: &Pack<'_>) -> Result<Tensor> {
        let mut heard = Heard::nothing(&self.config);
        let _last = self.each_state(pack, self.config.num_hidden_layers, |block, state| heard.hear(block, state))?;
        Ok(heard.sum()?.f_div_scalar(heard.of)?)
    }
}

/// A sum over the blocks that are heard.
struct Heard {
    sum: Option<Tensor>,
    first: usize,
    /// How many blocks are heard in all.
    of: f64,
}

impl Heard {
    fn nothing(config: &BertConfig) -> Self {
        let first = usize::from(config.num_hidden_layers > 1);
        Self { sum: None, first, of: (config.num_hidden_layers - first) as f64 }
    }

    fn hear(&mut self, block: usize, state: &Tensor) -> Result<()> {
        if block >= self.first {
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum.f_add(state)?,
                None => state.shallow_clone(),
            });
        }
        Ok(())
    }

    fn sum(&self) -> Result<&Tensor> {
        self.sum.as_ref().ok_or_else(|| TensorError::Format("an encoder without blocks".to_owned()))
    }
}

/// A sentence as the blocks see it that do not change, window by window: a plain value, that threads may share.
#[derive(Clone, Debug)]
pub struct Seen(Arc<[SeenWindow]>);

#[derive(Debug)]
struct SeenWindow {
    window: Window,
    /// The last of these blocks' output, `[L, E]`: 16-bit floats as they lie in memory.
    states: Vec<u16>,
    /// The sum of those outputs that are heard, `[L, E]`, likewise; empty if the first alone does not change.
    sum: Vec<u16>,
}

impl Upper {
    /// What stays the same of sentences, which come in windows, whatever the changes.
    pub fn see(&self, sentences: &[Vec<Window>]) -> Result<Vec<Seen>> {
        let windows: Vec<&Window> = sentences.iter().flatten().collect();
        let mut seen: Vec<Option<SeenWindow>> = windows.iter().map(|_| None).collect();
        self.encoder.in_packs(&windows.iter().map(|window| &window.tokens).collect::<Vec<_>>(), |pack| {
            let mut heard = Heard::nothing(&self.encoder.config);
            let states = self.encoder.each_state(pack, self.first(), |block, state| heard.hear(block, state))?;
            for (place, own) in pack.stretches() {
                let of = |all: &Tensor| bridge::halves(&all.f_narrow(0, own.start as i64, own.len() as i64)?);
                let sum = heard.sum.as_ref().map(of).transpose()?.unwrap_or_default();
                seen[place] = Some(SeenWindow { window: windows[place].clone(), states: of(&states)?, sum });
            }
            Ok(())
        })?;
        let mut seen = seen.into_iter().flatten();
        Ok(sentences.iter().map(|windows| Seen(seen.by_ref().take(windows.len()).collect())).collect())
    }

    /// What the encoder with `changes` says of the words of each sentence, `[B, L, E]`, and nothing beyond a sentence's end.
    /// Gradients go through to the changes.
    pub fn read(&self, sentences: &[&Seen], changes: &Params) -> Result<Tensor> {
        let windows: Vec<&SeenWindow> = sentences.iter().flat_map(|sentence| &*sentence.0).collect();
        let (device, width) = (self.encoder.device, self.encoder.width() as i64);
        let float = |values: &[u16], seen: &SeenWindow| -> Result<Tensor> {
            bridge::from_halves(values, &[1, seen.window.pieces() as i64, width], device)
        };
        let states = windows.iter().map(|seen| float(&seen.states, seen)).collect::<Result<Vec<_>>>()?;
        let of = Heard::nothing(&self.encoder.config).of;
        let mut rows: Vec<Option<Tensor>> = windows.iter().map(|_| None).collect();
        self.pass(&states, changes, |places, _, sums| {
            for (row, &place) in places.iter().enumerate() {
                let seen = windows[place];
                let mut all = sums.f_select(0, row as i64)?;
                if !seen.sum.is_empty() {
                    all = all.f_add(&float(&seen.sum, seen)?.f_squeeze_dim(0)?)?;
                }
                rows[place] = Some(seen.window.shares(device)?.f_matmul(&all.f_div_scalar(of)?)?);
            }
            Ok(())
        })?;
        let mut rows = rows.into_iter().flatten();
        let words = |sentence: &&Seen| -> Result<Tensor> {
            Ok(Tensor::f_cat(&rows.by_ref().take(sentence.0.len()).collect::<Vec<_>>(), 0)?)
        };
        let sentences = sentences.iter().map(words).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_pad_sequence(&sentences, true, 0.0, "right")?)
    }
}

impl Window {
    /// Each word's share in each of its pieces, `[words, pieces]`.
    fn shares(&self, device: Device) -> Result<Tensor> {
        let count = self.pieces();
        let mut shares = vec![0.0f32; self.words * count];
        for word in 0..self.words {
            let own: Vec<usize> = (0..count).filter(|&piece| self.word_of[piece] == Some(word)).collect();
            for &piece in &own {
                shares[word * count + piece] = 1.0 / own.len() as f32;
            }
        }
        bridge::tensor(&shares, &[self.words as i64, count as i64], device)
    }
}
