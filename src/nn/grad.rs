//! Gradients: the one caller of `run_backward`.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Device, Kind, Tensor};

use super::{Params, Result, TensorError, bridge};
use crate::faults::{self, Site};

/// What may be done with the result of [`grad`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// The gradients are constants and the loss's graph is freed.
    Free,
    /// The gradients are constants; the loss's graph is kept for another pass.
    Keep,
    /// The gradients are functions of the parameters and can be differentiated again.
    Create,
}

thread_local! {
    static INTERRUPT: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// While it lives, gradients on this thread are refused as soon as a flag is set.
pub struct Interrupt(Option<Arc<AtomicBool>>);

/// Lets `flag` end what this thread computes at its next gradient: an inner loop stops between two steps.
#[must_use]
pub fn interrupted_by(flag: &Arc<AtomicBool>) -> Interrupt {
    Interrupt(INTERRUPT.replace(Some(Arc::clone(flag))))
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        INTERRUPT.replace(self.0.take());
    }
}

/// `∂loss/∂params`, by name.
///
/// * `loss`: a scalar; of anything larger, the sum is differentiated.
/// * `params`: each a leaf or a function of leaves that `loss` was computed from.
///
/// # Errors
/// [`TensorError::UnreachedParam`] if the loss does not depend on a parameter: libtorch hands back an undefined tensor.
/// [`TensorError::Interrupted`] if nobody waits any more, see [`interrupted_by`].
pub fn grad(loss: &Tensor, params: &Params, graph: Graph) -> Result<Params> {
    if INTERRUPT.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))) {
        return Err(TensorError::Interrupted);
    }
    faults::at(Site::Gradient)?;
    let inputs: Vec<&Tensor> = params.tensors().collect();
    let keep = graph != Graph::Free;
    let grads = Tensor::f_run_backward(&[loss], &inputs, keep, graph == Graph::Create)?;
    params
        .iter()
        .zip(grads)
        .map(|((name, _), grad)| {
            if grad.defined() { Ok((name.to_owned(), grad)) } else { Err(TensorError::UnreachedParam(name.to_owned())) }
        })
        .collect()
}

/// Whether libtorch differentiates here as it should: `x³` at 2 once and once more, and the sum of a product of matrices.
pub fn is_sound() -> Result<bool> {
    let x: Params = [("x".to_owned(), Tensor::from(2f32).f_set_requires_grad(true)?)].into_iter().collect();
    let first = grad(&x.get("x")?.f_pow_tensor_scalar(3)?, &x, Graph::Create)?;
    let second = grad(first.get("x")?, &x, Graph::Free)?;
    let square = |values: &[f32]| bridge::tensor(values, &[2, 2], Device::Cpu);
    let left = square(&[1.0, 2.0, 3.0, 4.0])?.f_set_requires_grad(true)?;
    let a: Params = [("a".to_owned(), left)].into_iter().collect();
    let product = a.get("a")?.f_matmul(&square(&[5.0, 6.0, 7.0, 8.0])?)?;
    let of_a = grad(&product.f_sum(Kind::Float)?, &a, Graph::Free)?; // the sums of the right one's rows
    Ok(bridge::values(first.get("x")?)? == [12.0]
        && bridge::values(second.get("x")?)? == [12.0]
        && bridge::values(of_a.get("a")?)? == [11.0, 15.0, 11.0, 15.0])
}

/// Whether autograd records on this thread. A worker asks before each job, since the flag is the thread's own.
pub fn is_recording() -> Result<bool> {
    let leaf = Tensor::from(1f32).f_set_requires_grad(true)?;
    Ok(leaf.f_mul_scalar(1.0)?.requires_grad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(value: f32) -> Tensor {
        Tensor::from(value).set_requires_grad(true)
    }

    #[test]
    fn the_gradient_of_a_gradient_is_the_second_derivative() {
        let x: Params = [("x".to_owned(), leaf(3.0))].into_iter().collect();
        let cube = x.get("x").unwrap().pow_tensor_scalar(3);

        let first = grad(&cube, &x, Graph::Create).unwrap();
        let second = grad(first.get("x").unwrap(), &x, Graph::Free).unwrap();

        assert_eq!(first.get("x").unwrap().double_value(&[]), 27.0);
        assert_eq!(second.get("x").unwrap().double_value(&[]), 18.0);
    }

    #[test]
    fn what_is_checked_at_the_start_is_true_here() {
        assert!(is_sound().unwrap());
    }

    #[test]
    fn a_flag_interrupts_while_its_guard_lives() {
        let params: Params = [("a".to_owned(), leaf(1.0))].into_iter().collect();
        let gradient = || grad(&(params.get("a").unwrap() * 2.0), &params, Graph::Free);
        let flag = Arc::new(AtomicBool::new(false));

        let guard = interrupted_by(&flag);
        assert!(gradient().is_ok());
        flag.store(true, Ordering::Relaxed);
        assert!(matches!(gradient(), Err(TensorError::Interrupted)));
        drop(guard);
        assert!(gradient().is_ok());
    }

    #[test]
    fn a_parameter_that_the_loss_does_not_reach_is_named() {
        let params: Params = [("a".to_owned(), leaf(1.0)), ("b".to_owned(), leaf(1.0))].into_iter().collect();
        let loss = params.get("a").unwrap() * 2.0;

        let failed = grad(&loss, &params, Graph::Free);

        assert!(matches!(failed, Err(TensorError::UnreachedParam(name)) if name == "b"));
    }
}
