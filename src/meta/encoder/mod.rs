//! Frozen text encoders: from a text to one row of numbers, or to one for each of its pieces.
//!
//! An encoder is a folder of files as Hugging Face lays them out: `config.json`, `tokenizer.json`, `model.safetensors`.
//! It learns nothing by itself; what meta-learning adds to it ([`Tuning`], made by [`tune`]) stands in a base model, which
//! names the encoder's files by their checksums and refuses others.
//!
//! Nothing is padded, so no time goes into padding. A text's numbers are a function of the text alone: an adapter has the
//! same bits whatever its examples were encoded with. In 32-bit floats a text is encoded by itself for that; in bfloat16
//! texts go through the blocks together where that changes no bit ([`packed`]).

mod bert;
pub mod corpus;
#[cfg(test)]
mod fuzz;
mod packed;
mod tokens;
pub mod tune;
mod tuning;
mod upper;
mod words;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use self::packed::Packed;
use self::tuning::Pooling;
use crate::domain::{EncoderRef, Precision, hex};
use crate::nn::{Params, Result, TensorError, bridge, checkpoint};

pub use bert::BertConfig;
pub use tokens::{MAX_TOKENS, Tokenizer, Tokens};
pub use tuning::Tuning;
pub use upper::{Upper, UpperConfig};
pub use words::{Reading, Seen, Window};

/// The files of an encoder.
pub const FILES: [&str; 3] = [CONFIG, WEIGHTS, TOKENIZER];

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// Why an encoder cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}; `imprint models pull` brings the text encoder")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// An encoder in memory. Clones share the weights.
pub struct Encoder {
    config: BertConfig,
    params: Params,
    device: Device,
    /// What becomes of features, where a base model has its own idea of it.
    pooling: Option<Pooling>,
    /// What computes in place of `params`' blocks, if it is to be 16-bit floats.
    packed: Option<Packed>,
}

/// An encoder as it was loaded.
pub struct Loaded {
    /// Its weights.
    pub encoder: Encoder,
    /// How it cuts texts.
    pub tokenizer: Tokenizer,
    /// What base models call it by.
    pub reference: EncoderRef,
}

/// The encoder in `folder`.
pub fn load(folder: &Path, device: Device) -> Result<Loaded, EncoderError> {
    let mut sha256 = BTreeMap::new();
    let mut read = |name: &str| {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|source| EncoderError::File { path, source })?;
        sha256.insert(name.to_owned(), hex(&Sha256::digest(&bytes)));
        Ok(bytes)
    };
    let (config, weights, tokenizer) = (read(CONFIG)?, read(WEIGHTS)?, read(TOKENIZER)?);
    let format = |name: &str, reason: String| EncoderError::Format { path: folder.join(name), reason };
    let config: BertConfig = serde_json::from_slice(&config).map_err(|error| format(CONFIG, error.to_string()))?;
    config.check().map_err(|reason| format(CONFIG, reason))?;
    let params = checkpoint::floats(&weights, device).and_then(|params| config.select(&params));
    let params = params.map_err(|error| format(WEIGHTS, error.to_string()))?;
    let tokenizer = Tokenizer::from_bytes(&tokenizer, config.max_position_embeddings);
    let tokenizer = tokenizer.map_err(|reason| format(TOKENIZER, reason))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (encoder, reference) =
        (Encoder { config, params, device, pooling: None, packed: None }, EncoderRef { name, sha256, tuning: None });
    Ok(Loaded { encoder, tokenizer, reference })
}

/// The encoder in `folder`, as a base model has tuned it if it has.
pub fn load_tuned(folder: &Path, tuning: Option<&Tuning>, device: Device) -> Result<Loaded, EncoderError> {
    let loaded = load(folder, device)?;
    let Some(tuning) = tuning else { return Ok(loaded) };
    let tuned = loaded.tuned(tuning);
    tuned.map_err(|error| EncoderError::Format { path: folder.to_owned(), reason: error.to_string() })
}

impl Loaded {
    /// The same encoder as a base model has tuned it.
    ///
    /// # Errors
    /// [`TensorError`] if the tuning is not of this encoder.
    fn tuned(self, tuning: &Tuning) -> Result<Self> {
        let encoder = tuning.apply(&self.encoder)?;
        Ok(Self {
            encoder,
            reference: EncoderRef { tuning: Some(tuning.sha256().to_owned()), ..self.reference },
            ..self
        })
    }
}

impl Encoder {
    /// Numbers in an embedding.
    pub fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// Multiply-adds of one piece.
    pub fn multiply_adds(&self) -> u64 {
        let (width, inner) = (self.config.hidden_size as u64, self.config.intermediate_size as u64);
        self.config.num_hidden_layers as u64 * (4 * width * width + 2 * width * inner)
    }

    /// The same weights.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let pooling = self.pooling.as_ref().map(Pooling::shallow_clone);
        let packed = self.packed.as_ref().map(Packed::shallow_clone);
        Self { config: self.config.clone(), params: self.params.shallow_clone(), device: self.device, pooling, packed }
    }

    /// The same, computing in bfloat16.
    pub fn halved(self) -> Result<Self> {
        let packed = Packed::new(&self.config, &self.params)?;
        Ok(Self { packed: Some(packed), ..self })
    }

    /// The numbers in which it computes.
    pub fn precision(&self) -> Precision {
        if self.packed.is_some() { Precision::Bfloat16 } else { Precision::Float32 }
    }

    /// Features of each piece, `[L, D]`, marks of start and end included.
    pub fn features(&self, tokens: &Tokens) -> Result<Tensor> {
        let _frozen = tch::no_grad_guard();
        Ok(bert::hidden_states(&self.config, &self.params, &self.ids(tokens)?)?.f_squeeze_dim(0)?)
    }

    /// Numbers of the pieces, `[1, L]`.
    fn ids(&self, tokens: &Tokens) -> Result<Tensor> {
        let ids: Vec<i64> = tokens.ids.iter().map(|&id| i64::from(id)).collect();
        let known = self.config.vocab_size as i64;
        // On a GPU an index outside of the table would end the process.
        if ids.is_empty() || ids.iter().any(|&id| id >= known) || ids.len() > self.config.max_position_embeddings {
            return Err(TensorError::Format("these pieces are not of this encoder's tokenizer".to_owned()));
        }
        bridge::index_tensor(&ids, &[1, ids.len() as i64], self.device)
    }

    /// Texts' embeddings, each of length 1: the mean of a text's pieces' features, as sentence-transformers defines it for
    /// this family of encoders (Reimers & Gurevych 2019, arXiv:1908.10084, §3); with what an early block says beside it,
    /// where a base model has tuned the encoder.
    pub fn embed(&self, texts: &[Tokens]) -> Result<Vec<Vec<f32>>> {
        let tap = self.pooling.as_ref().map(Pooling::block);
        let mut rows = vec![Vec::new(); texts.len()];
        self.in_packs(&texts.iter().collect::<Vec<_>>(), |pack| {
            let mut early = None;
            let last = self.each_state(pack, self.config.num_hidden_layers, |number, state| {
                if Some(number) == tap {
                    early = Some(state.shallow_clone());
                }
                Ok(())
            })?;
            for (place, pieces) in pack.stretches() {
                let of = |state: &Tensor| -> Result<Tensor> {
                    tuning::pooled(&state.f_narrow(0, pieces.start as i64, pieces.len() as i64)?.f_unsqueeze(0)?)
                };
                let row = match (&self.pooling, &early) {
                    (None, _) => of(&last)?,
                    (Some(pooling), Some(early)) => pooling.embed(&of(&last)?, &of(early)?)?,
                    (Some(_), None) => {
                        return Err(TensorError::Format("the tuning taps a block that is not there".to_owned()));
                    }
                };
                rows[place] = bridge::values(&row)?;
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// Calls `pass` with texts that go through the blocks together, until all have: the shortest first.
    fn in_packs(&self, texts: &[&Tokens], mut pass: impl FnMut(&Pack<'_>) -> Result<()>) -> Result<()> {
        let _frozen = tch::no_grad_guard();
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| texts[text].ids.len());
        let lengths: Vec<usize> = order.iter().map(|&text| texts[text].ids.len()).collect();
        let packs = match &self.packed {
            Some(packed) => packed.packs(&lengths),
            None => (0..texts.len()).map(|text| text..text + 1).collect(),
        };
        for range in packs {
            let places = &order[range.clone()];
            let texts = places.iter().map(|&text| texts[text]).collect();
            pass(&Pack { texts, places, lengths: &lengths[range] })?;
        }
        Ok(())
    }

    /// The last of the first `blocks` blocks' output for the pieces of all texts of a pack, `[N, D]`; shows each block's
    /// output to `visit`, by the block's number.
    fn each_state(
        &self,
        pack: &Pack<'_>,
        blocks: usize,
        mut visit: impl FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let embedded = |tokens: &&Tokens| bert::embedded(&self.config, &self.params, &self.ids(tokens)?);
        let texts = pack.texts.iter().map(embedded).collect::<Result<Vec<_>>>()?; // [1, L, D] each
        match (&self.packed, &texts[..]) {
            (Some(packed), _) => {
                packed.forward(Tensor::f_cat(&texts, 1)?.f_squeeze_dim(0)?, pack.lengths, blocks, visit)
            }
            (None, [text]) => {
                let visit = |number: usize, state: &Tensor| visit(number, &state.f_squeeze_dim(0)?);
                Ok(bert::blocks(&self.config, &self.params, text.shallow_clone(), 0..blocks, visit)?
                    .f_squeeze_dim(0)?)
            }
            (None, _) => Err(TensorError::Format("in 32-bit floats a text is encoded by itself".to_owned())),
        }
    }
}

/// Texts that go through the blocks together.
struct Pack<'a> {
    texts: Vec<&'a Tokens>,
    /// Where each was among those that were given.
    places: &'a [usize],
    /// Pieces of each.
    lengths: &'a [usize],
}

impl Pack<'_> {
    /// The place of each text, and where its pieces lie.
    fn stretches(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.places.iter().copied().zip(packed::stretches(self.lengths))
    }
}
