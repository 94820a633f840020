//! Ridge regression in closed form, batched over tasks (Bertinetto et al. 2019, arXiv:1805.08136, eq. 4–6).

use tch::{Kind, Tensor};

use super::folds::Folds;
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
    /// What each support row would be given by the solution without it, and without the rows that its task's folds hold out
    /// with it: exact, from the one system that was solved. Rows that no fold judges are left out alone.
    ///
    /// For rows F, `ŷ₋F = y_F − K_FF⁻¹ (K Y)_F`: in the dual with `K = G⁻¹`, else with `K = I − H` and the hat matrix
    /// `H = X (XᵀX + λI)⁻¹ Xᵀ`.
    ///
    /// * `x`, `y`, `lambda`: as given to [`solve`]; returns `[T, S, O]`.
    pub fn held_out(&self, x: &Tensor, y: &Tensor, lambda: &Tensor, folds: &[Option<Folds>]) -> Result<Tensor> {
        let (x, y) = (x.f_to_kind(Kind::Double)?, y.f_to_kind(Kind::Double)?);
        let (diagonal, rest, system) = if let Some(gram) = &self.gram {
            let inverse = Tensor::f_cholesky_inverse(&gram.f_linalg_cholesky(false)?, false)?; // [T, S, S]
            (inverse.f_diagonal(0, 1, 2)?.f_unsqueeze(-1)?, inverse.f_bmm(&y)?, System::Dual { inverse })
        } else {
            let xt = x.f_transpose(1, 2)?;
            let eye = Tensor::f_eye(x.size()[2], (Kind::Double, x.device()))?;
            let system = xt.f_bmm(&x)?.f_add(&eye.f_mul(&lambda.f_to_kind(Kind::Double)?)?)?;
            let hat = spd_solve(&system, &xt)?.f_transpose(1, 2)?; // [T, S, D]
            let own = x.f_mul(&hat)?.f_sum_dim_intlist([-1i64].as_slice(), true, Kind::Double)?; // [T, S, 1]
            let rest = y.f_sub(&x.f_bmm(&self.weights.f_to_kind(Kind::Double)?)?)?;
            (own.f_neg()?.f_add_scalar(1.0)?, rest, System::Primal { x, hat })
        };
        let alone = y.f_sub(&rest.f_div(&diagonal)?)?; // [T, S, O]
        let mut all = Vec::with_capacity(folds.len());
        for (task, folds) in (0i64..).zip(folds) {
            let alone = alone.f_get(task)?;
            let Some(folds) = folds else {
                all.push(alone);
                continue;
            };
            let places = folds.places(y.device())?;
            let rows = |of: &Tensor| -> Result<Tensor> { Ok(of.f_get(task)?.f_index(&[Some(&places.rows)])?) }; // [F, M, …]
            let (mut blocks, mut rest) = (system.blocks(task, &places.rows)?, rows(&rest)?);
            if let Some(mask) = &places.mask {
                let mask = mask.f_to_kind(Kind::Double)?.f_unsqueeze(-1)?; // [F, M, 1]
                let padding = mask.f_squeeze_dim(-1)?.f_neg()?.f_add_scalar(1.0)?.f_diag_embed(0, 1, 2)?;
                blocks = blocks.f_mul(&mask)?.f_mul(&mask.f_transpose(1, 2)?)?.f_add(&padding)?;
                rest = rest.f_mul(&mask)?;
            }
            all.push(places.put(&alone, &rows(&y)?.f_sub(&spd_solve(&blocks, &rest)?)?)?);
        }
        Ok(Tensor::f_stack(&all, 0)?.f_to_kind(Kind::Float)?)
    }
}

/// K, as it is there.
enum System {
    /// `[T, S, S]`.
    Dual { inverse: Tensor },
    /// X and `X (XᵀX + λI)⁻¹`, `[T, S, D]` both.
    Primal { x: Tensor, hat: Tensor },
}

impl System {
    /// `K_FF` `[F, M, M]` of a task for `rows` `[F, M]`.
    fn blocks(&self, task: i64, rows: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dual { inverse } => {
                let (down, across) = (rows.f_unsqueeze(2)?, rows.f_unsqueeze(1)?);
                Ok(inverse.f_get(task)?.f_index(&[Some(&down), Some(&across)])?)
            }
            Self::Primal { x, hat } => {
                let own = |of: &Tensor| of.f_get(task)?.f_index(&[Some(rows)]); // [F, M, D]
                let eye = Tensor::f_eye(rows.size()[1], (Kind::Double, rows.device()))?;
                Ok(eye.f_sub(&own(hat)?.f_bmm(&own(x)?.f_transpose(1, 2)?)?)?)
            }
        }
    }
}

/// Solves a symmetric positive definite system by Cholesky.
fn spd_solve(system: &Tensor, right: &Tensor) -> Result<Tensor> {
    Ok(right.f_cholesky_solve(&system.f_linalg_cholesky(false)?, false)?)
}
