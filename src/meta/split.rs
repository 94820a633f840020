//! A base model in two: a **trunk**, whose features no task changes, and a **head** that each task has of its own.
//!
//! Where a learner adapts nothing but the head and normalises by nothing of the task's (ProtoNet, R2-D2 and ANIL on a
//! backbone without normalisation or with running statistics), rows of any number of tasks can go through the trunk
//! together. The head is the same learner on the backbone that leaves its input as it is.
//!
//! # A row's features do not depend on the rows beside it
//! libtorch picks kernels by shape, and another kernel may add up in another order. So rows go through the trunk in tiles,
//! and [`Trunk::find_tiling`] finds out, once, by trying every size and place, which tiles leave a row's bits alone.

use tch::{Device, Tensor};

use super::backbone::{self, Halved};
use super::learner::Net;
use super::model::{Architecture, Model};
use crate::domain::{BackboneConfig, InputSchema, Norm, Precision, Rows};
use crate::nn::norm::Statistics;
use crate::nn::{Params, Result, bridge};

/// Most rows of a tile: their activations are to stay in a core's cache.
pub const TILE: usize = 24;

/// How many rows go through a trunk at a time without touching each other's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// Any number from 2 to [`TILE`]; a single row gets an empty one beside it.
    Ragged,
    /// Exactly [`TILE`], filled up with empty rows.
    Padded,
    /// One, with an empty one beside it: always the same shape and the same place.
    Single,
}

/// A base model in two parts.
pub struct Split {
    /// From inputs to features, for all tasks.
    pub trunk: Trunk,
    /// From features to adapters and outputs: the base model's learner, its inputs the trunk's features.
    pub head: Model,
}

/// A backbone as it serves: frozen.
pub struct Trunk {
    net: Net,
    theta: Params,
    /// What computes in place of `net`, if it is to be 16-bit floats.
    halved: Option<Box<dyn Halved>>,
    row: Vec<usize>,
    device: Device,
    tiling: Tiling,
}

impl Split {
    /// The two parts of a base model; `None` if its tasks have features of their own.
    pub fn of(model: &Model, precision: Precision) -> Option<Self> {
        let Architecture { input, kind, learner, .. } = &model.architecture;
        let is_frozen = model.net.norm == Norm::Running || model.net.backbone.norm_layers().is_empty();
        if learner.adapts_features() || learner.experts() > 1 || learner.takes_names() || !is_frozen {
            return None;
        }
        let head = Architecture {
            input: InputSchema::Vector { width: model.net.backbone.width() },
            kind: *kind,
            backbone: BackboneConfig::Mlp { hidden: Vec::new() },
            learner: learner.clone(),
        };
        let head =
            Model::with_theta(head, model.theta.filtered(|name| name.starts_with("head.")), model.device).ok()?;
        let net = Net { backbone: backbone::build(&model.architecture.backbone, input).ok()?, norm: model.net.norm };
        let theta = model.theta.filtered(|name| !name.starts_with("head."));
        let halved = match precision {
            Precision::Float32 => None,
            Precision::Bfloat16 => net.backbone.halved(&theta.scope("backbone"), &theta.stripped("stats.")).ok()?,
        };
        let trunk = Trunk { net, theta, halved, row: input.row_shape(), device: model.device, tiling: Tiling::Single };
        Some(Self { trunk, head })
    }

    /// The same with a trunk that takes rows in these tiles.
    #[must_use]
    pub fn with_tiling(self, tiling: Tiling) -> Self {
        Self { trunk: Trunk { tiling, ..self.trunk }, head: self.head }
    }
}

impl Trunk {
    /// Feature width D.
    pub fn width(&self) -> usize {
        self.net.backbone.width()
    }

    /// The numbers in which it computes: bfloat16 only if it was asked for and is a gain.
    pub fn precision(&self) -> Precision {
        if self.halved.is_some() { Precision::Bfloat16 } else { Precision::Float32 }
    }

    /// Features of several sets of rows, row-major, in as few passes as the tiling allows.
    pub fn features(&self, sets: &[&Rows]) -> Result<Vec<Vec<f32>>> {
        let rows: Vec<&[f32]> = sets.iter().flat_map(|set| set.iter()).collect();
        let mut all = Vec::with_capacity(rows.len() * self.width());
        for tile in tiles(rows.len(), self.tiling) {
            all.extend(self.pass(&rows[tile.clone()], padded(tile.len(), self.tiling))?);
        }
        let mut rest = all.as_slice();
        let mut cut = |set: &&Rows| {
            let (own, others) = rest.split_at(set.len() * self.width());
            rest = others;
            own.to_vec()
        };
        Ok(sets.iter().map(&mut cut).collect())
    }

    /// The largest tiles that leave every row's bits as they are in [`Tiling::Single`]; on a GPU, where no two shapes agree,
    /// the fastest.
    pub fn find_tiling(&self) -> Result<Tiling> {
        if self.device != Device::Cpu {
            return Ok(Tiling::Ragged);
        }
        let width: usize = self.row.iter().product();
        // Any numbers will do: which kernel is taken depends on shapes alone.
        let values: Vec<f32> = (0..TILE * width).map(|index| (index * 7919 % 1009) as f32 / 1009.0).collect();
        let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
        let alone = rows.iter().map(|row| self.pass(&[row], 2)).collect::<Result<Vec<_>>>()?.concat();
        let is_same = |size: usize, shape: usize| -> Result<bool> {
            let together = self.pass(&rows[..size], shape)?;
            Ok(together.iter().zip(&alone).all(|(one, other)| one.to_bits() == other.to_bits()))
        };
        if (2..=TILE).map(|size| is_same(size, size)).collect::<Result<Vec<_>>>()?.into_iter().all(|same| same) {
            return Ok(Tiling::Ragged);
        }
        // In a tile of one shape only the place can matter.
        let padded_alone = rows.iter().map(|row| self.pass(&[row], TILE)).collect::<Result<Vec<_>>>()?.concat();
        let together = self.pass(&rows, TILE)?;
        let is_same = together.iter().zip(&padded_alone).all(|(one, other)| one.to_bits() == other.to_bits());
        Ok(if is_same { Tiling::Padded } else { Tiling::Single })
    }

    /// One forward pass over a tensor of `shape` rows, the last of them empty; the features of `rows`.
    fn pass(&self, rows: &[&[f32]], shape: usize) -> Result<Vec<f32>> {
        let width: usize = self.row.iter().product();
        let mut values = rows.concat();
        values.resize(shape * width, 0.0);
        let size: Vec<i64> = [1, shape].iter().chain(&self.row).map(|&side| side as i64).collect();
        let x: Tensor = bridge::tensor(&values, &size, self.device)?;
        let features = self.forward(&x)?; // [1, shape, D] or [shape, D]
        let mut values = bridge::values(&features)?;
        values.truncate(rows.len() * self.width());
        Ok(values)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(halved) = &self.halved {
            return halved.features(&x.f_squeeze_dim(0)?);
        }
        let fixed = Statistics::Fixed(&self.theta.stripped("stats."));
        Ok(self.net.features(&self.theta, x, fixed)?.0)
    }
}

/// How many rows the tensor has that `rows` of them go through in.
fn padded(rows: usize, tiling: Tiling) -> usize {
    match tiling {
        Tiling::Ragged | Tiling::Single => rows.max(2),
        Tiling::Padded => TILE,
    }
}

/// Cuts `count` rows into tiles of nearly equal size.
fn tiles(count: usize, tiling: Tiling) -> impl Iterator<Item = std::ops::Range<usize>> {
    let pieces = match tiling {
        Tiling::Ragged | Tiling::Padded => count.div_ceil(TILE),
        Tiling::Single => count,
    };
    (0..pieces).map(move |piece| piece * count / pieces..(piece + 1) * count / pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_row_once_and_none_of_a_ragged_cut_stands_alone() {
        for tiling in [Tiling::Ragged, Tiling::Padded, Tiling::Single] {
            for count in 0..200 {
                let cut: Vec<_> = tiles(count, tiling).collect();
                assert_eq!(cut.iter().cloned().flatten().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
                assert!(cut.iter().all(|tile| (1..=TILE).contains(&tile.len())));
                assert!(tiling != Tiling::Ragged || count < 2 || cut.iter().all(|tile| tile.len() > 1));
            }
        }
    }
}
