//! Losses, a mean for each task, padding left out.

use tch::{Kind, Tensor};

use super::Result;

/// Mean cross-entropy of each task.
///
/// * `logits`: `[T, B, N]`; classes that a task does not have are at −∞ already.
/// * `labels`: `[T, B]`, int64; `mask`: `[T, B]`, how often each row counts.
/// * returns `[T]`.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let log_p = logits.f_log_softmax(-1, Kind::Float)?; // [T, B, N]
    let picked = log_p.f_gather(-1, &labels.f_unsqueeze(-1)?, false)?.f_squeeze_dim(-1)?; // [T, B]
    masked_mean(&picked.f_neg()?, mask)
}

/// Mean squared error of each task.
///
/// * `outputs`, `targets`: `[T, B, O]`; `mask`: `[T, B]`; returns `[T]`.
pub fn squared_error(outputs: &Tensor, targets: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let error = outputs.f_sub(targets)?;
    masked_mean(&error.f_mul(&error)?.f_mean_dim(Some([-1i64].as_slice()), false, Kind::Float)?, mask)
}

/// Mean surprise of each task's choices, if one of all rows is chosen by the softmax of the scores (Luce 1959; as a
/// listwise loss, Cao et al. 2007, eq. 5): −Σ gᵢ log softmax(s)ᵢ / Σ gᵢ. A task without a choice has none.
///
/// * `scores`, `gains`: `[T, B, 1]`, gains below 0 count as 0; `mask`: `[T, B]`; returns `[T]`.
pub fn choice(scores: &Tensor, gains: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let last = [-1i64].as_slice();
    let padding = mask.f_neg()?.f_add_scalar(1.0)?.f_mul_scalar(-1e9)?;
    let log_p = scores.f_squeeze_dim(-1)?.f_add(&padding)?.f_log_softmax(-1, Kind::Float)?; // [T, B]
    let gains = gains.f_squeeze_dim(-1)?.f_clamp_min(0.0)?.f_mul(mask)?;
    let surprise = log_p.f_mul(&gains)?.f_sum_dim_intlist(last, false, Kind::Float)?.f_neg()?;
    Ok(surprise.f_div(&gains.f_sum_dim_intlist(last, false, Kind::Float)?.f_clamp_min(1e-6)?)?)
}

/// Share of rows of each task whose largest logit is their label's.
///
/// * `logits`: `[T, B, N]`; `labels`, `mask`: `[T, B]`; returns `[T]`.
pub fn accuracy(logits: &Tensor, labels: &Tensor, mask: &Tensor) -> Result<Tensor> {
    masked_mean(&logits.f_argmax(-1, false)?.f_eq_tensor(labels)?.f_to_kind(Kind::Float)?, mask)
}

fn masked_mean(values: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let last = [-1i64].as_slice();
    let sum = values.f_mul(mask)?.f_sum_dim_intlist(last, false, Kind::Float)?;
    Ok(sum.f_div(&mask.f_sum_dim_intlist(last, false, Kind::Float)?)?)
}
