//! Backbones: from input to features.
//!
//! # Adding a backbone
//! 1. A file here with `impl Backbone`.
//! 2. A variant in [`BackboneConfig`]; the `match` in [`build`] does not compile until
//!    it has an arm.
//! 3. A line in the conformance table, `tests/maths/conformance.rs`.

mod conv4;
mod items;
mod mlp;

use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::cost::RowMemory;
use crate::domain::{BackboneConfig, InputSchema};
use crate::nn::norm::Normalizer;
use crate::nn::{Params, Result, Scope};

/// A network without its parameters.
pub trait Backbone: Send + Sync {
    /// Fresh parameters, by the names under which [`Backbone::features`] asks for them.
    fn init(&self, rng: &mut ChaCha8Rng) -> Result<Params>;

    /// Features `[T, B, D]` of rows `x`: `[T, B, D_in]` or `[T, B, C, H, W]`.
    fn features(&self, params: &Scope<'_>, x: &Tensor, norm: &mut Normalizer<'_>) -> Result<Tensor>;

    /// The backbone as it serves on the processor in 16-bit floats, with these parameters and these statistics
    /// (`<layer>.mean`, `<layer>.var`); `None` where that is no gain.
    fn halved(&self, params: &Scope<'_>, statistics: &Params) -> Result<Option<Box<dyn Halved>>>;

    /// Feature width D.
    fn width(&self) -> usize;

    /// How many of the features, the last ones, mean to each task something else: nothing can be known of them before it.
    fn own_width(&self) -> usize {
        0
    }

    /// Names of the layers that normalise by statistics.
    fn norm_layers(&self) -> Vec<String>;

    /// Names of the parameters, one number for each output of a layer, that contexts of a task act on; see CAVIA.
    fn modulated(&self) -> Vec<String>;

    /// Multiply-adds of one row, forward.
    fn multiply_adds(&self) -> u64;

    /// What one row takes of memory.
    fn row_memory(&self) -> RowMemory;
}

/// A backbone whose parameters are fixed, in bfloat16.
pub trait Halved {
    /// Features `[B, D]` of rows `x`, `[B, C, H, W]`; both are 32-bit floats.
    fn features(&self, x: &Tensor) -> Result<Tensor>;
}

/// The one place where a backbone's name becomes a backbone. A reason if the input's type does not suit it.
pub fn build(config: &BackboneConfig, input: &InputSchema) -> Result<Box<dyn Backbone>, String> {
    match (config, input) {
        (BackboneConfig::Mlp { hidden }, InputSchema::Vector { width } | InputSchema::Text { width, .. }) => {
            Ok(Box::new(mlp::Mlp::new(*width, hidden)))
        }
        (BackboneConfig::Conv4 { filters, .. }, InputSchema::Image { channels, height, width, .. }) => {
            if *height < 16 || *width < 16 {
                return Err(format!("conv4 halves an image four times: {height}×{width} is less than 16×16"));
            }
            Ok(Box::new(conv4::Conv4::new(*channels, *height, *width, *filters)))
        }
        (BackboneConfig::Items { hidden, width: made }, InputSchema::Item { width, features, .. }) => {
            if hidden.contains(&0) || *made == 0 {
                return Err("layers of items have at least one number".to_owned());
            }
            Ok(Box::new(items::Items::new(*width, *features, hidden, *made)))
        }
        (BackboneConfig::Items { .. }, _) => Err("a backbone of items takes items".to_owned()),
        (BackboneConfig::Mlp { .. }, _) => Err("an mlp takes vectors and texts".to_owned()),
        (BackboneConfig::Conv4 { .. }, _) => Err("conv4 takes images".to_owned()),
        (BackboneConfig::Words { .. }, _) => Err("a backbone of words is for tagging".to_owned()),
    }
}
