//! Adapters: what adaptations leave.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::support::hex;
use super::{AdapterId, Quality, Recipe, TaskId, Timestamp};

/// An adapter's row: everything but its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// Its id.
    pub id: AdapterId,
    /// The task that it serves.
    pub task: TaskId,
    /// 1, 2, 3 … within the task.
    pub version: u32,
    /// Name of the base model.
    pub base_model: String,
    /// Identity of the base model, [`super::BaseModel::sha256`].
    pub base_sha256: String,
    /// [`super::SupportSet::hash`] of what it was adapted to.
    pub support_hash: String,
    /// Examples that it was adapted to.
    pub support_count: usize,
    /// How it was adapted.
    pub recipe: Recipe,
    /// Labels in the order of its outputs. Empty for regression.
    pub labels: Vec<String>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Length of its bytes.
    pub size_bytes: usize,
    /// Its estimate of itself.
    pub quality: Option<Quality>,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// One time that a version was made to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promoted {
    /// The version.
    pub version: u32,
    /// When.
    pub promoted_at: Timestamp,
    /// When that was taken back.
    pub undone_at: Option<Timestamp>,
}

/// All that an adapter is a function of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterOrigin {
    /// Identity of the base model.
    pub base_sha256: String,
    /// Hash of the support set.
    pub support_hash: String,
    /// How it is adapted.
    pub recipe: Recipe,
    /// Labels in the order of its outputs: the support hash knows classes by number only.
    pub labels: Vec<String>,
}

impl Adapter {
    /// What it was made from.
    pub fn origin(&self) -> AdapterOrigin {
        AdapterOrigin {
            base_sha256: self.base_sha256.clone(),
            support_hash: self.support_hash.clone(),
            recipe: self.recipe,
            labels: self.labels.clone(),
        }
    }
}

/// An adapter's tensors, as safetensors bytes whose digest was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct AdapterBlob {
    bytes: Arc<[u8]>,
    sha256: String,
}

impl AdapterBlob {
    /// From bytes that were just made.
    pub fn new(bytes: Vec<u8>) -> Self {
        let sha256 = hex(&Sha256::digest(&bytes));
        Self { bytes: bytes.into(), sha256 }
    }

    /// From bytes that were kept somewhere; `None` if they are not the ones that `sha256` was taken of.
    pub fn verified(bytes: Vec<u8>, sha256: &str) -> Option<Self> {
        let blob = Self::new(bytes);
        (blob.sha256 == sha256).then_some(blob)
    }

    /// The safetensors file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl std::fmt::Debug for AdapterBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdapterBlob({} bytes, {})", self.bytes.len(), self.sha256)
    }
}
