//! Ridge regression in closed form, batched over tasks (Bertinetto et al. 2019, arXiv:1805.08136, eq. 4–6).

use tch::{Kind, Tensor};

use crate::nn::Result;

/// A solution and what leave-one-out needs of the way to it.
pub struct Ridge {
    /// `[T, D, O]`.
    pub weights: Tensor,
    /// The dual system `G = X Xᵀ + λ I`, `[T, S, S]`, in double precision, if the dual was solved.
    gram: Option<Tensor>,
}

/// `argmin_W ‖X W − Y‖² + λ ‖W‖²` for each task.
///
/// * `x`: `[T, S, D]`, padded rows zero; `y`: `[T, S, O]`, padded rows zero; `lambda`: a positive scalar.
///
/// With S ≤ D the dual (Woodbury) form `Xᵀ (X Xᵀ + λ I)⁻¹ Y` is solved, otherwise `(Xᵀ X + λ I)⁻¹ Xᵀ Y`: the smaller of
/// two symmetric positive definite systems, in double precision. A zero row adds λ to the diagonal and nothing else, so
/// padding leaves the solution as it is.
pub fn solve(x: &Tensor, y: &Tensor, lambda: &Tensor) -> Result<Ridge> {
    let (rows, width) = (x.size()[1], x.size()[2]);
    let (x, y, lambda) = (x.f_to_kind(Kind::Double)?, y.f_to_kind(Kind::Double)?, lambda.f_to_kind(Kind::Double)?);
    let xt = x.f_transpose(1, 2)?; // [T, D, S]
    let regularised = |system: Tensor| -> Result<Tensor> {
        let eye = Tensor::f_eye(system.size()[1], (Kind::Double, system.device()))?;
        Ok(system.f_add(&eye.f_mul(&lambda)?)?)
    };
    if rows <= width {
        let gram = regularised(x.f_bmm(&xt)?)?; // [T, S, S]
        let weights = xt.f_bmm(&spd_solve(&gram, &y)?)?; // [T, D, O]
        Ok(Ridge { weights: weights.f_to_kind(Kind::Float)?, gram: Some(gram) })
    } else {
        let weights = spd_solve(&regularised(xt.f_bmm(&x)?)?, &xt.f_bmm(&y)?)?; // [T, D, O]
        Ok(Ridge { weights: weights.f_to_kind(Kind::Float)?, gram: None })
    }
}

impl Ridge {
    /// What each support row would be given by the solution without it: exact, from the one system that was solved.
    ///
    /// With the hat matrix `H = X (XᵀX + λI)⁻¹ Xᵀ`, `ŷ₋ᵢ = (ŷᵢ − hᵢᵢ yᵢ) / (1 − hᵢᵢ)`; in the dual, with `A = G⁻¹Y`, this
    /// is `yᵢ − Aᵢ / (G⁻¹)ᵢᵢ`.
    ///
    /// * `x`, `y`, `lambda`: as given to [`solve`]; returns `[T, S, O]`.
    pub fn leave_one_out(&self, x: &Tensor, y: &Tensor, lambda: &Tensor) -> Result<Tensor> {
        let (x, y) = (x.f_to_kind(Kind::Double)?, y.f_to_kind(Kind::Double)?);
        let held_out = if let Some(gram) = &self.gram {
            let inverse = Tensor::f_cholesky_inverse(&gram.f_linalg_cholesky(false)?, false)?; // [T, S, S]
            let diagonal = inverse.f_diagonal(0, 1, 2)?.f_unsqueeze(-1)?; // [T, S, 1]
            y.f_sub(&inverse.f_bmm(&y)?.f_div(&diagonal)?)?
        } else {
            let xt = x.f_transpose(1, 2)?;
            let eye = Tensor::f_eye(x.size()[2], (Kind::Double, x.device()))?;
            let system = xt.f_bmm(&x)?.f_add(&eye.f_mul(&lambda.f_to_kind(Kind::Double)?)?)?;
            let leverage = x.f_mul(&spd_solve(&system, &xt)?.f_transpose(1, 2)?)?; // [T, S, D]
            let h = leverage.f_sum_dim_intlist([-1i64].as_slice(), true, Kind::Double)?; // [T, S, 1]
            let fitted = x.f_bmm(&self.weights.f_to_kind(Kind::Double)?)?;
            fitted.f_sub(&h.f_mul(&y)?)?.f_div(&h.f_neg()?.f_add_scalar(1.0)?)?
        };
        Ok(held_out.f_to_kind(Kind::Float)?)
    }
}

/// Solves a symmetric positive definite system by Cholesky.
fn spd_solve(system: &Tensor, right: &Tensor) -> Result<Tensor> {
    Ok(right.f_cholesky_solve(&system.f_linalg_cholesky(false)?, false)?)
}
