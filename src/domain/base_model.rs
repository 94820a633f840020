//! Base models: what a bundle's manifest says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackboneConfig, InputSchema, Kind, LearnerConfig, Norm};

/// `models/<name>/manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of this file; 1.
    pub format: u32,
    /// The name that tasks give.
    pub name: String,
    /// Version of the base model.
    pub version: String,
    /// One sentence for people.
    pub description: String,
    /// What one input is.
    pub input: InputSchema,
    /// Kinds of task that it serves.
    pub kinds: Vec<Kind>,
    /// From input to features.
    pub backbone: BackboneConfig,
    /// From support set to adapter.
    pub learner: LearnerConfig,
    /// What one request may ask of it.
    pub limits: Limits,
    /// SHA-256 of `theta.safetensors`, in hexadecimal.
    pub theta_sha256: String,
    /// How it came to be.
    pub provenance: Provenance,
    /// What it was measured at, on classes or tasks that it never saw.
    pub figures: Vec<Figure>,
}

/// Bounds that hold for one base model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Most examples in a support set.
    pub max_support: usize,
    /// Most labels of a task.
    pub max_labels: usize,
    /// Most inputs in one query.
    pub max_query: usize,
}

/// How a base model came to be: enough to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The training file, as it was read.
    pub config: serde_json::Value,
    /// The seed.
    pub seed: u64,
    /// Outer steps taken.
    pub outer_steps: u64,
    /// Outer step whose θ was kept, chosen by meta-validation.
    pub best_step: u64,
    /// SHA-256 of each data file, by name.
    pub data: BTreeMap<String, String>,
    /// Version of the program.
    pub program: String,
    /// Commit of the program's source, if it was known.
    pub commit: Option<String>,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What was measured: `5-way 1-shot`.
    pub name: String,
    /// `accuracy` or `mean_squared_error`.
    pub measure: String,
    /// The mean over episodes.
    pub mean: f64,
    /// Half the width of its 95 % interval.
    pub ci95: f64,
    /// How many episodes.
    pub episodes: usize,
    /// Whether the query batch's statistics were used.
    pub transductive: bool,
    /// Where the episodes come from.
    pub split: String,
}

impl Manifest {
    /// Whether its features are the same for all tasks, so that inputs are near to each other or not.
    pub fn has_features(&self) -> bool {
        let is_frozen = match self.backbone {
            BackboneConfig::Conv4 { norm, .. } => norm == Norm::Running,
            BackboneConfig::Mlp { .. } | BackboneConfig::Items { .. } => true,
            BackboneConfig::Words { .. } => false,
        };
        is_frozen && !self.learner.adapts_features() && self.learner.experts() == 1
    }
}

/// A base model that is loaded: its manifest and the identity that adapters are bound to.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseModel {
    /// What its bundle says.
    pub manifest: Manifest,
    /// SHA-256 over what predictions depend on: θ, backbone, learner and input schema.
    pub sha256: String,
}

/// Numbers in which features are computed that tasks share. What tasks do not share is in 32-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    Float32,
    /// 16-bit floats with the exponents of 32-bit ones; sums have 32 bits.
    Bfloat16,
}
