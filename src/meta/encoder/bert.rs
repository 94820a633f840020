//! BERT (Devlin et al. 2019, arXiv:1810.04805) as its `config.json` describes it, for any checkpoint of the family.

use std::ops::Range;

use serde::Deserialize;
use tch::Tensor;

use crate::nn::{Params, Result, TensorError, transformer};

/// What `config.json` says of the network; the rest of that file is about training it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BertConfig {
    /// `bert`.
    pub model_type: String,
    /// Width D.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads H of each.
    pub num_attention_heads: usize,
    /// Width within a block's feed-forward layers.
    pub intermediate_size: usize,
    /// The function between these layers.
    pub hidden_act: String,
    /// ε of every normalisation.
    pub layer_norm_eps: f64,
    /// Longest text, in tokens.
    pub max_position_embeddings: usize,
    /// Pieces that the table of words has.
    pub vocab_size: usize,
    /// How many kinds of segment it tells apart.
    pub type_vocab_size: usize,
    /// How positions are told.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl BertConfig {
    /// A reason, if this is a network that [`hidden_states`] does not compute.
    pub fn check(&self) -> Result<(), String> {
        let is = |what: &str, given: &str, known: &str| {
            if given == known { Ok(()) } else { Err(format!("{what} is `{given}`, and only `{known}` is known")) }
        };
        is("model_type", &self.model_type, "bert")?;
        is("hidden_act", &self.hidden_act, "gelu")?;
        is("position_embedding_type", &self.position_embedding_type, "absolute")?;
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!("{} heads do not share a width of {}", self.num_attention_heads, self.hidden_size));
        }
        Ok(())
    }

    /// Name and shape of each parameter.
    pub fn parameters(&self) -> Vec<(String, Vec<i64>)> {
        let (width, inner) = (self.hidden_size as i64, self.intermediate_size as i64);
        let table = |rows: usize| vec![rows as i64, width];
        let mut all = vec![
            ("embeddings.word_embeddings.weight".to_owned(), table(self.vocab_size)),
            ("embeddings.position_embeddings.weight".to_owned(), table(self.max_position_embeddings)),
            ("embeddings.token_type_embeddings.weight".to_owned(), table(self.type_vocab_size)),
        ];
        let mut layer = |name: String, shape: Vec<i64>| {
            all.push((format!("{name}.bias"), vec![shape[0]]));
            all.push((format!("{name}.weight"), shape));
        };
        layer("embeddings.LayerNorm".to_owned(), vec![width]);
        for block in 0..self.num_hidden_layers {
            let name = |part: &str| format!("encoder.layer.{block}.{part}");
            for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
            {
                layer(name(part), vec![width, width]);
            }
            layer(name("attention.output.LayerNorm"), vec![width]);
            layer(name("intermediate.dense"), vec![inner, width]);
            layer(name("output.dense"), vec![width, inner]);
            layer(name("output.LayerNorm"), vec![width]);
        }
        all
    }

    /// The parameters among `params` that the network has, whatever else a checkpoint holds.
    ///
    /// # Errors
    /// [`TensorError::MissingParam`] or [`TensorError::Shape`].
    pub fn select(&self, params: &Params) -> Result<Params> {
        let select = |(name, expected): (String, Vec<i64>)| {
            // Checkpoints with a head of their own have the encoder one level down.
            let tensor = params.get(&name).or_else(|_| params.get(&format!("bert.{name}")))?;
            if tensor.size() == expected {
                Ok((name, tensor.shallow_clone()))
            } else {
                Err(TensorError::Shape { what: "the encoder", expected: "what config.json says", given: tensor.size() })
            }
        };
        self.parameters().into_iter().map(select).collect()
    }
}

/// The last block's output `[B, L, D]` for token ids `[B, L]` of one segment.
pub fn hidden_states(config: &BertConfig, params: &Params, ids: &Tensor) -> Result<Tensor> {
    each_state(config, params, ids, |_, _| Ok(()))
}

/// The same, and shows each block's output to `visit`, by the block's number.
pub fn each_state(
    config: &BertConfig,
    params: &Params,
    ids: &Tensor,
    visit: impl FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    blocks(config, params, embedded(config, params, ids)?, 0..config.num_hidden_layers, visit)
}

/// What the first block gets, `[B, L, D]`.
pub fn embedded(config: &BertConfig, params: &Params, ids: &Tensor) -> Result<Tensor> {
    let embeddings = params.scope("embeddings");
    let tokens = ids.size().last().copied().unwrap_or_default();
    let words = transformer::embedding(ids, embeddings.get("word_embeddings.weight")?)?;
    let positions = embeddings.get("position_embeddings.weight")?.f_narrow(0, 0, tokens)?; // [L, D]
    let segment = embeddings.get("token_type_embeddings.weight")?.f_narrow(0, 0, 1)?; // [1, D]
    let summed = words.f_add(&positions)?.f_add(&segment)?;
    transformer::layer_norm(&summed, &embeddings.scope("LayerNorm"), config.layer_norm_eps)
}

/// From what the first block of a range gets, `[B, L, D]`, to what the last one says.
pub fn blocks(
    config: &BertConfig,
    params: &Params,
    mut h: Tensor,
    range: Range<usize>,
    mut visit: impl FnMut(usize, &Tensor) -> Result<()>,
) -> Result<Tensor> {
    for number in range {
        let block = params.scope(&format!("encoder.layer.{number}"));
        let attention = block.scope("attention");
        let mixed = transformer::self_attention(&h, &attention.scope("self"), config.num_attention_heads as i64)?;
        let mixed = transformer::dense(&mixed, &attention.scope("output.dense"))?;
        h = transformer::layer_norm(&h.f_add(&mixed)?, &attention.scope("output.LayerNorm"), config.layer_norm_eps)?;
        let inner = transformer::dense(&h, &block.scope("intermediate.dense"))?.f_gelu("none")?;
        let outer = transformer::dense(&inner, &block.scope("output.dense"))?;
        h = transformer::layer_norm(&h.f_add(&outer)?, &block.scope("output.LayerNorm"), config.layer_norm_eps)?;
        visit(number, &h)?;
    }
    Ok(h)
}
