//! Episodes as plain values, and several of them stacked into tensors.
//!
//! Stacking pads: rows to the longest task, classes to the widest. Masks say what counts, so that a padded task has the
//! numbers that it has alone.

use tch::{Device, Kind, Tensor};

use super::folds::Folds;
use super::model::Architecture;
use crate::domain::{Rows, SupportSet, Targets};
use crate::nn::{Result, bridge, loss};

/// One draw of a task distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Rows to adapt on.
    pub support: Rows,
    /// Their targets.
    pub support_targets: Targets,
    /// Rows to judge by.
    pub query: Rows,
    /// Their targets, in the same classes.
    pub query_targets: Targets,
    /// Rows of the same classes whose targets are not told, if there are any.
    pub unlabelled: Option<Rows>,
    /// What its classes are called, if they have names that say anything.
    pub names: Option<Names>,
}

/// What the classes of a task are called, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// The labels.
    pub labels: Vec<String>,
    /// What an encoder says of each, for tasks that have one.
    pub rows: Option<Rows>,
}

/// Targets of T stacked tasks.
pub enum StackedTargets {
    /// Classes: `[T, B]`, int64, padding 0.
    Labels(Tensor),
    /// Numbers: `[T, B, O]`.
    Values(Tensor),
}

impl StackedTargets {
    /// The same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        match self {
            Self::Labels(labels) => Self::Labels(labels.shallow_clone()),
            Self::Values(values) => Self::Values(values.shallow_clone()),
        }
    }

    /// Mean loss of each task, `[T]`: cross-entropy of classes, squared error of numbers.
    ///
    /// * `outputs`: `[T, B, N]`; `mask`: `[T, B]`.
    pub fn loss(&self, outputs: &Tensor, mask: &Tensor) -> Result<Tensor> {
        match self {
            Self::Labels(labels) => loss::cross_entropy(outputs, labels, mask),
            Self::Values(values) => loss::squared_error(outputs, values, mask),
        }
    }
}

/// Support sets of T tasks.
pub struct Support {
    /// `[T, S, …]`.
    pub x: Tensor,
    /// Of each row.
    pub targets: StackedTargets,
    /// `[T, S]`, 1 for rows and 0 for padding.
    pub mask: Tensor,
    /// Whether any row is padding.
    pub is_padded: bool,
    /// Outputs of each task: N, or 1.
    pub outputs: Vec<usize>,
    /// Rows without targets, if any task has some.
    pub unlabelled: Option<Unlabelled>,
    /// What classes are called, in the learner's terms, `[T, N, W]`, if any task tells it; zero for tasks that do not.
    pub names: Option<Tensor>,
    /// How often each row counts, `[T, S]`, 0 for padding; `None` if all count once.
    pub weights: Option<Tensor>,
}

/// Rows without targets, of T tasks.
pub struct Unlabelled {
    /// `[T, U, …]`.
    pub x: Tensor,
    /// `[T, U]`, 1 for rows and 0 for padding.
    pub mask: Tensor,
}

impl Unlabelled {
    fn shallow_clone(&self) -> Self {
        Self { x: self.x.shallow_clone(), mask: self.mask.shallow_clone() }
    }
}

/// Query sets of T tasks.
pub struct Query {
    /// `[T, Q, …]`.
    pub x: Tensor,
    /// Of each row.
    pub targets: StackedTargets,
    /// `[T, Q]`, 1 for rows and 0 for padding.
    pub mask: Tensor,
    /// Whether any row is padding.
    pub is_padded: bool,
}

impl Support {
    /// Stacks rows of shape `row` (without T and S) with their targets.
    pub fn stack(tasks: &[(&Rows, &Targets)], row: &[usize], device: Device) -> Result<Self> {
        let longest = tasks.iter().map(|(rows, _)| rows.len()).max().unwrap_or(0);
        Self {
            x: stack_rows(tasks.iter().map(|(rows, _)| *rows), longest, row, device)?,
            targets: stack_targets(tasks.iter().map(|(_, targets)| *targets), longest, device)?,
            mask: stack_mask(tasks.iter().map(|(rows, _)| rows.len()), longest, device)?,
            is_padded: tasks.iter().any(|(rows, _)| rows.len() < longest),
            outputs: tasks.iter().map(|(_, targets)| targets.outputs()).collect(),
            unlabelled: None,
            names: None,
            weights: None,
        }
        .with_weights(tasks.iter().map(|(rows, targets)| (rows.len(), targets.weights())), device)
    }

    /// The same tasks whose rows count so often; `None` counts them once.
    fn with_weights<'a>(self, tasks: impl Iterator<Item = (usize, Option<&'a [f32]>)>, device: Device) -> Result<Self> {
        let longest = usize::try_from(self.mask.size()[1]).unwrap_or_default();
        let (mut values, mut all_once) = (Vec::new(), true);
        for (rows, weights) in tasks {
            let start = values.len();
            match weights {
                Some(weights) => values.extend_from_slice(weights),
                None => values.resize(start + rows, 1.0),
            }
            all_once &= values[start..].iter().all(|weight| *weight == 1.0);
            values.resize(start + longest, 0.0);
        }
        if all_once {
            return Ok(self);
        }
        Ok(Self { weights: Some(bridge::tensor(&values, &self.mask.size(), device)?), ..self })
    }

    /// The same tasks with a row for each class's name, all of one width.
    pub fn with_names(self, tasks: &[Option<&Rows>], device: Device) -> Result<Self> {
        let Some(width) = tasks.iter().flatten().map(|rows| rows.width()).next() else { return Ok(self) };
        let none = Rows::none(width);
        let rows = tasks.iter().map(|rows| rows.unwrap_or(&none));
        let names = stack_rows(rows, self.outputs.iter().copied().max().unwrap_or(0), &[width], device)?;
        Ok(Self { names: Some(names), ..self })
    }

    /// The same tasks with the unlabelled rows of each, of shape `row` (without T and U).
    pub fn with_unlabelled(self, tasks: &[Option<&Rows>], row: &[usize], device: Device) -> Result<Self> {
        let none = Rows::none(row.iter().product());
        let rows = || tasks.iter().map(|rows| rows.unwrap_or(&none));
        let longest = rows().map(Rows::len).max().unwrap_or(0);
        if longest == 0 {
            return Ok(self);
        }
        let x = stack_rows(rows(), longest, row, device)?;
        let mask = stack_mask(rows().map(Rows::len), longest, device)?;
        Ok(Self { unlabelled: Some(Unlabelled { x, mask }), ..self })
    }

    /// One support set, T = 1.
    pub fn single(set: &SupportSet, row: &[usize], device: Device) -> Result<Self> {
        Self::stack(&[(set.inputs(), set.targets())], row, device)?
            .with_unlabelled(&[set.unlabelled()], row, device)?
            .with_names(&[set.names()], device)?
            .with_weights(std::iter::once((set.len(), set.weights())), device)
    }

    /// The same tasks, with nothing but the rows that `kept` `[T, S]` says: 1 for them and 0 for the others.
    pub fn only(&self, kept: &Tensor) -> Result<Self> {
        let weights = self.weights.as_ref().map(|weights| weights.f_mul(kept)).transpose()?;
        Ok(Self {
            x: self.x.shallow_clone(),
            targets: self.targets.shallow_clone(),
            mask: self.mask.f_mul(kept)?,
            is_padded: true,
            outputs: self.outputs.clone(),
            unlabelled: self.unlabelled.as_ref().map(Unlabelled::shallow_clone),
            names: self.names.as_ref().map(Tensor::shallow_clone),
            weights,
        })
    }

    /// How often each row counts, if any does not count once.
    pub fn padding(&self) -> Option<&Tensor> {
        (self.is_padded || self.weights.is_some()).then(|| self.counts())
    }

    /// How often each row counts, `[T, S]`; 0 for padding.
    pub fn counts(&self) -> &Tensor {
        self.weights.as_ref().unwrap_or(&self.mask)
    }

    /// What each task's rows are held out by, in no more folds than `most`; none where nothing can be, or none may be.
    pub fn folds(&self, most: usize) -> Result<Vec<Option<Folds>>> {
        let StackedTargets::Labels(labels) = &self.targets else {
            return Ok(self.outputs.iter().map(|_| None).collect());
        };
        if most == 0 {
            return Ok(self.outputs.iter().map(|_| None).collect());
        }
        let of_task = |task: i64| {
            let rows = self.mask.f_get(task)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
            let labels = Vec::<i64>::try_from(&labels.f_get(task)?.f_narrow(0, 0, rows)?)?;
            Ok(Folds::of(&labels, most))
        };
        (0..self.tasks()).map(of_task).collect()
    }

    /// Number of tasks T.
    pub fn tasks(&self) -> i64 {
        self.mask.size()[0]
    }

    /// Outputs of the widest task.
    pub fn width(&self) -> i64 {
        self.outputs.iter().copied().max().unwrap_or(0) as i64
    }

    /// What a linear solution aims at, `[T, S, O]`: one-hot labels or values, zero in padded rows.
    pub fn one_hot(&self) -> Result<Tensor> {
        let y = match &self.targets {
            StackedTargets::Labels(labels) => labels.f_one_hot(self.width())?.f_to_kind(Kind::Float)?,
            StackedTargets::Values(values) => values.shallow_clone(),
        };
        Ok(y.f_mul(&self.mask.f_unsqueeze(-1)?)?)
    }

    /// `[T, N]`: 1 for classes of the task, 0 for padding.
    pub fn class_mask(&self) -> Result<Tensor> {
        self.by_class(1.0, 0.0)
    }

    /// `[T, N]`: 0 for classes of the task, −∞ for padding; `None` if no task is padded.
    pub fn class_padding(&self) -> Result<Option<Tensor>> {
        if self.outputs.iter().all(|&outputs| outputs as i64 == self.width()) {
            return Ok(None);
        }
        Ok(Some(self.by_class(0.0, f32::NEG_INFINITY)?))
    }

    fn by_class(&self, own: f32, padding: f32) -> Result<Tensor> {
        let width = self.outputs.iter().copied().max().unwrap_or(0);
        let of_task = |&outputs: &usize| (0..width).map(move |class| if class < outputs { own } else { padding });
        let values: Vec<f32> = self.outputs.iter().flat_map(of_task).collect();
        bridge::tensor(&values, &[self.outputs.len() as i64, width as i64], self.mask.device())
    }
}

impl Query {
    /// Stacks rows of shape `row` (without T and Q) with their targets.
    pub fn stack(tasks: &[(&Rows, &Targets)], row: &[usize], device: Device) -> Result<Self> {
        let Support { x, targets, mask, is_padded, .. } = Support::stack(tasks, row, device)?;
        Ok(Self { x, targets, mask, is_padded })
    }

    /// The mask, if any row is padding.
    pub fn padding(&self) -> Option<&Tensor> {
        self.is_padded.then_some(&self.mask)
    }

    /// The same rows to adapt on, of tasks with the outputs of `support`.
    #[must_use]
    pub fn as_support(&self, support: &Support) -> Support {
        Support {
            x: self.x.shallow_clone(),
            targets: self.targets.shallow_clone(),
            mask: self.mask.shallow_clone(),
            is_padded: self.is_padded,
            outputs: support.outputs.clone(),
            unlabelled: None,
            names: None,
            weights: None,
        }
    }
}

/// Support and query of several episodes, for a model of this architecture.
pub fn stack(episodes: &[Episode], architecture: &Architecture, device: Device) -> Result<(Support, Query)> {
    let row = &architecture.input.row_shape();
    let support: Vec<_> = episodes.iter().map(|episode| (&episode.support, &episode.support_targets)).collect();
    let query: Vec<_> = episodes.iter().map(|episode| (&episode.query, &episode.query_targets)).collect();
    let unlabelled: Vec<_> = episodes.iter().map(|episode| episode.unlabelled.as_ref()).collect();
    let support = Support::stack(&support, row, device)?.with_unlabelled(&unlabelled, row, device)?;
    let names: Vec<_> = episodes.iter().map(|episode| architecture.names(episode.names.as_ref()?)).collect();
    let support = support.with_names(&names.iter().map(Option::as_ref).collect::<Vec<_>>(), device)?;
    Ok((support, Query::stack(&query, row, device)?))
}

/// `[T, B, …]` from the rows of each task, padded with zeros.
pub fn stack_rows<'a>(
    tasks: impl ExactSizeIterator<Item = &'a Rows>,
    longest: usize,
    row: &[usize],
    device: Device,
) -> Result<Tensor> {
    let width: usize = row.iter().product();
    let mut values = Vec::with_capacity(tasks.len() * longest * width);
    let mut shape = vec![tasks.len() as i64, longest as i64];
    for rows in tasks {
        values.extend_from_slice(rows.values());
        values.resize(values.len() + (longest - rows.len()) * width, 0.0);
    }
    shape.extend(row.iter().map(|&side| side as i64));
    bridge::tensor(&values, &shape, device)
}

fn stack_targets<'a>(
    tasks: impl ExactSizeIterator<Item = &'a Targets>,
    longest: usize,
    device: Device,
) -> Result<StackedTargets> {
    let count = tasks.len() as i64;
    let (mut labels, mut values) = (Vec::new(), Vec::new());
    for targets in tasks {
        match targets {
            Targets::Classes { labels: given, .. } => {
                labels.extend(given.iter().map(|&label| i64::from(label)));
                labels.resize(labels.len() + longest - given.len(), 0);
            }
            Targets::Values(given) | Targets::Signals { values: given, .. } => {
                values.extend_from_slice(given);
                values.resize(values.len() + longest - given.len(), 0.0);
            }
        }
    }
    if values.is_empty() {
        Ok(StackedTargets::Labels(bridge::index_tensor(&labels, &[count, longest as i64], device)?))
    } else {
        Ok(StackedTargets::Values(bridge::tensor(&values, &[count, longest as i64, 1], device)?))
    }
}

fn stack_mask(lengths: impl ExactSizeIterator<Item = usize>, longest: usize, device: Device) -> Result<Tensor> {
    let count = lengths.len() as i64;
    let values: Vec<f32> =
        lengths.flat_map(|length| (0..longest).map(move |row| f32::from(u8::from(row < length)))).collect();
    bridge::tensor(&values, &[count, longest as i64], device)
}
