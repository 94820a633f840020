//! Layers of transformers (Vaswani et al. 2017, arXiv:1706.03762) as pure functions of `(x, parameters)`.
//!
//! Letters: **B** texts, **L** tokens of each, **D** width, **H** heads. No mask: texts that are put together have the
//! same number of tokens.

use tch::Tensor;

use super::{Result, Scope, TensorError};

/// Rows of a table, `[V, D]`, at `ids` `[B, L]` (int64): `[B, L, D]`.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_embedding(table, ids, -1, false, false)?)
}

/// `γ (x − μ) / √(σ² + ε) + β` over the last dimension (Ba et al. 2016, arXiv:1607.06450, eq. 4).
///
/// * `x`: `[…, D]`; `weight` γ and `bias` β: `[D]`.
pub fn layer_norm(x: &Tensor, scope: &Scope<'_>, eps: f64) -> Result<Tensor> {
    let (weight, bias) = (scope.get("weight")?, scope.get("bias")?);
    Ok(x.f_layer_norm(weight.size(), Some(weight), Some(bias), eps, false)?)
}

/// How much of the product of a low-rank change's two matrices is added.
pub const CHANGE: f64 = 2.0;

/// `x Wᵀ + b` with shared parameters.
///
/// Where beside `weight` W, `[O, I]`, there are `weight.down` A, `[r, I]`, and `weight.up` B, `[O, r]`, W is changed by
/// `2 B A` (Hu et al. 2021, arXiv:2106.09685, §4.1), which is never put together: a few rows cost hardly more for it, and
/// on the way back there is no gradient of W to be had.
pub fn dense(x: &Tensor, scope: &Scope<'_>) -> Result<Tensor> {
    let plain = x.f_linear(scope.get("weight")?, Some(scope.get("bias")?))?;
    let (Some(down), Some(up)) = (scope.find("weight.down"), scope.find("weight.up")) else { return Ok(plain) };
    let change = x.f_linear(down, None::<&Tensor>)?.f_linear(up, None::<&Tensor>)?;
    Ok(plain.f_add(&change.f_mul_scalar(CHANGE)?)?)
}

/// Every token looks at every token of its text: `softmax(Q Kᵀ / √(D/H)) V` for each head (§3.2.2, before the output
/// projection).
///
/// * `x`: `[B, L, D]`; `query`, `key` and `value` below `scope`; returns `[B, L, D]`.
pub fn self_attention(x: &Tensor, scope: &Scope<'_>, heads: i64) -> Result<Tensor> {
    let size = x.size();
    let [texts, tokens, width] = size[..] else {
        return Err(TensorError::Shape { what: "tokens", expected: "[B, L, D]", given: size });
    };
    let split = |name: &str| -> Result<Tensor> {
        let projected = dense(x, &scope.scope(name))?;
        Ok(projected.f_view([texts, tokens, heads, width / heads])?.f_transpose(1, 2)?) // [B, H, L, D / H]
    };
    let (query, key, value) = (split("query")?, split("key")?, split("value")?);
    let mixed = Tensor::f_scaled_dot_product_attention(&query, &key, &value, None::<Tensor>, 0.0, false, None, false)?;
    Ok(mixed.f_transpose(1, 2)?.f_reshape([texts, tokens, width])?)
}
