//! Named parameters, functional layers and gradients. Knows no episodes, learners or requests.
//!
//! A network is a shape; its parameters are an argument. Every layer is a pure function of `(x, parameters)` and takes
//! a leading dimension of tasks:
//!
//! * **T** tasks stacked, **B** rows of one task, **D** features, **C H W** channels, height, width, **O** outputs.
//! * `x` is `[T, B, D]` or `[T, B, C, H, W]`.
//! * A parameter of its own rank is shared by all T tasks (θ). One with an additional leading T belongs to each task
//!   (fast weights θ′): linear layers become `bmm`, convolutions grouped convolutions.
//!
//! Deliberately absent: layers that capture their weights, `VarStore`, `backward()`, the global generator of libtorch.

pub mod bridge;
pub mod checkpoint;
#[cfg(test)]
mod fuzz;
pub mod grad;
pub mod heap;
pub mod init;
pub mod loss;
pub mod norm;
pub mod ops;
pub mod optim;
mod params;
pub mod transformer;

pub use params::{Params, Scope};

use tch::{Device, Kind, Tensor};

use crate::faults::Planned;

/// Why a tensor computation gave no result.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// libtorch's own words, first line.
    #[error("{0}")]
    Torch(String),
    /// A network asked for a parameter that is not there.
    #[error("there is no parameter `{0}`")]
    MissingParam(String),
    /// NaN or infinity where numbers were expected.
    #[error("{0} left the finite numbers")]
    NonFinite(&'static str),
    /// Nobody waits for the result any more.
    #[error("interrupted")]
    Interrupted,
    /// A gradient was asked for a parameter that the loss does not depend on.
    #[error("the loss does not depend on parameter `{0}`")]
    UnreachedParam(String),
    /// Two sets of parameters that should have the same names.
    #[error("parameter `{0}` is in one set and not in the other")]
    UnpairedParam(String),
    /// Numbers and shape do not agree.
    #[error("{given} values do not fill shape {shape:?}")]
    Length {
        /// The shape.
        shape: Vec<i64>,
        /// The number of values.
        given: usize,
    },
    /// A tensor of a shape that the layer cannot take.
    #[error("{what}: shape {given:?} is not {expected}")]
    Shape {
        /// The layer or value.
        what: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it got.
        given: Vec<i64>,
    },
    /// Bytes that are no safetensors file of 32-bit floats.
    #[error("not a readable safetensors file: {0}")]
    Format(String),
}

impl From<tch::TchError> for TensorError {
    fn from(error: tch::TchError) -> Self {
        // The rest is a C++ stack trace with paths of the build machine.
        Self::Torch(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

impl From<Planned> for TensorError {
    /// libtorch's own error: it is asked for what it cannot do.
    fn from(planned: Planned) -> Self {
        let options = (Kind::Float, Device::Cpu);
        let refused = match planned {
            Planned::Error => Tensor::f_ones([2, 3], options).and_then(|rows| rows.f_matmul(&rows)),
            Planned::OutOfMemory => Tensor::f_empty([1 << 50], options),
        };
        refused.map_or_else(Self::from, |_| Self::Torch(planned.to_string()))
    }
}

/// Result of a tensor computation.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;
