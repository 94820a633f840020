//! BERT's blocks in bfloat16, for several texts at a time and without padding.
//!
//! The pieces of all texts lie one after another, `[N, D]`: dense layers take them together, and attention those of one
//! text, or of neighbours of one length. Matrices are multiplied in 16 bits; what runs from block to block, and every
//! normalisation, is in 32.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::bert::BertConfig;
use crate::nn::{Params, Result, Scope, TensorError};

/// Most pieces that go together: their numbers are to stay in a core's cache.
const MOST: usize = 384;

/// Weight `[O, I]` and bias of a dense layer, in 16 bits.
struct Dense(Tensor, Tensor);

/// γ and β, in 32 bits.
struct Norm(Tensor, Tensor, f64);

struct Block {
    /// Query, key and value below each other, `[3 D, D]`.
    attention: Dense,
    mixed: Dense,
    mixed_norm: Norm,
    inner: Dense,
    outer: Dense,
    outer_norm: Norm,
}

/// All blocks.
pub(super) struct Packed {
    blocks: Vec<Block>,
    heads: i64,
    /// Whether a text's numbers stay as they are when others go with it.
    is_shared: bool,
}

impl Packed {
    /// From an encoder's parameters.
    pub(super) fn new(config: &BertConfig, params: &Params) -> Result<Self> {
        let _frozen = tch::no_grad_guard();
        let block = |number: usize| -> Result<Block> {
            let scope = params.scope(&format!("encoder.layer.{number}"));
            let attention = scope.scope("attention");
            let parts = ["self.query", "self.key", "self.value"].map(|name| attention.scope(name));
            Ok(Block {
                attention: Dense::new(&parts)?,
                mixed: Dense::new(&[attention.scope("output.dense")])?,
                mixed_norm: Norm::new(&attention.scope("output.LayerNorm"), config.layer_norm_eps)?,
                inner: Dense::new(&[scope.scope("intermediate.dense")])?,
                outer: Dense::new(&[scope.scope("output.dense")])?,
                outer_norm: Norm::new(&scope.scope("output.LayerNorm"), config.layer_norm_eps)?,
            })
        };
        let blocks = (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?;
        let packed = Self { blocks, heads: config.num_attention_heads as i64, is_shared: false };
        Ok(Self { is_shared: packed.leaves_bits_alone(config.hidden_size)?, ..packed })
    }

    /// libtorch picks kernels by shape, and another kernel may add up in another order: whether it does is tried once, with
    /// texts of all sorts of lengths alone and together.
    fn leaves_bits_alone(&self, width: usize) -> Result<bool> {
        let lengths = [3, 3, 3, 4, 5, 7, 8, 8, 12, 15, 16, 17, 24, 31, 33, 64, 80];
        let pieces: usize = lengths.iter().sum();
        let numbers: Vec<f32> = (0..pieces * width).map(|index| (index * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
        let all = Tensor::f_from_slice(&numbers)?.f_view([pieces as i64, width as i64])?;
        let blocks = self.blocks.len();
        let together = self.forward(all.shallow_clone(), &lengths, blocks, |_, _| Ok(()))?;
        for (length, rows) in lengths.into_iter().zip(stretches(&lengths)) {
            let (start, count) = (rows.start as i64, length as i64);
            let alone = self.forward(all.f_narrow(0, start, count)?, &[length], blocks, |_, _| Ok(()))?;
            if alone != together.f_narrow(0, start, count)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Cuts texts of so many pieces, in their order, into those that go together.
    pub(super) fn packs(&self, lengths: &[usize]) -> Vec<Range<usize>> {
        let mut packs: Vec<Range<usize>> = Vec::new();
        let mut pieces = 0;
        for (text, length) in lengths.iter().enumerate() {
            pieces += length;
            match packs.last_mut() {
                Some(pack) if self.is_shared && pieces <= MOST => pack.end += 1,
                _ => {
                    packs.push(text..text + 1);
                    pieces = *length;
                }
            }
        }
        packs
    }

    /// From what the first block gets, `[N, D]`, to what the last of `blocks` blocks says; each one's output is shown to
    /// `visit`.
    pub(super) fn forward(
        &self,
        mut h: Tensor,
        lengths: &[usize],
        blocks: usize,
        mut visit: impl FnMut(usize, &Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        for (number, block) in self.blocks.iter().enumerate().take(blocks) {
            let asked = block.attention.of(&h)?; // [N, 3 D]
            let mut mixed = Vec::new();
            let mut row = 0;
            for same in lengths.chunk_by(|one, other| one == other) {
                let rows = same.len() * same[0];
                mixed.push(self.attention(&asked.f_narrow(0, row, rows as i64)?, same.len(), same[0])?);
                row += rows as i64;
            }
            h = block.mixed_norm.of(&h.f_add(&block.mixed.of(&Tensor::f_cat(&mixed, 0)?)?)?)?;
            let inner = block.inner.of(&h)?.f_gelu("none")?;
            h = block.outer_norm.of(&h.f_add(&block.outer.of(&inner)?)?)?;
            visit(number, &h)?;
        }
        Ok(h)
    }

    /// Attention within each of `texts` texts of `length` pieces; `asked` is `[texts · length, 3 D]`.
    fn attention(&self, asked: &Tensor, texts: usize, length: usize) -> Result<Tensor> {
        let size = [texts as i64, length as i64, 3, self.heads, -1];
        let parts = asked.f_view(size)?.f_permute([2, 0, 3, 1, 4])?; // [3, texts, H, length, D / H]
        let [query, key, value] = [0, 1, 2].map(|part| parts.f_select(0, part));
        let mixed =
            Tensor::f_scaled_dot_product_attention(&query?, &key?, &value?, None::<Tensor>, 0.0, false, None, false)?;
        Ok(mixed.f_transpose(1, 2)?.f_reshape([(texts * length) as i64, -1])?)
    }

    #[must_use]
    pub(super) fn shallow_clone(&self) -> Self {
        let blocks = self.blocks.iter().map(|block| Block {
            attention: block.attention.shallow_clone(),
            mixed: block.mixed.shallow_clone(),
            mixed_norm: block.mixed_norm.shallow_clone(),
            inner: block.inner.shallow_clone(),
            outer: block.outer.shallow_clone(),
            outer_norm: block.outer_norm.shallow_clone(),
        });
        Self { blocks: blocks.collect(), ..*self }
    }
}

/// Where each text's pieces lie.
pub(super) fn stretches(lengths: &[usize]) -> impl Iterator<Item = Range<usize>> + '_ {
    lengths.iter().scan(0, |end, length| {
        let start = *end;
        *end += length;
        Some(start..*end)
    })
}

impl Dense {
    /// Layers on the same input, their outputs side by side.
    fn new(scopes: &[Scope<'_>]) -> Result<Self> {
        let joined = |name: &str| -> Result<Tensor> {
            let parts = scopes.iter().map(|scope| Ok(scope.get(name)?.shallow_clone())).collect::<Result<Vec<_>>>()?;
            Ok(Tensor::f_cat(&parts, 0)?.f_to_kind(Kind::BFloat16)?)
        };
        Ok(Self(joined("weight")?, joined("bias")?))
    }

    fn of(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_to_kind(Kind::BFloat16)?.f_linear(&self.0, Some(&self.1))?)
    }

    fn shallow_clone(&self) -> Self {
        Self(self.0.shallow_clone(), self.1.shallow_clone())
    }
}

impl Norm {
    fn new(scope: &Scope<'_>, eps: f64) -> Result<Self> {
        Ok(Self(scope.get("weight")?.shallow_clone(), scope.get("bias")?.shallow_clone(), eps))
    }

    /// Of 32-bit floats.
    fn of(&self, x: &Tensor) -> Result<Tensor> {
        if x.kind() != Kind::Float {
            return Err(TensorError::Format("normalisation of other numbers than 32-bit floats".to_owned()));
        }
        Ok(x.f_layer_norm(self.0.size(), Some(&self.0), Some(&self.1), self.2, false)?)
    }

    fn shallow_clone(&self) -> Self {
        Self(self.0.shallow_clone(), self.1.shallow_clone(), self.2)
    }
}
