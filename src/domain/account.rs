//! What tenants have of the server, what they did, and what of theirs was erased.

use serde::{Deserialize, Serialize};

use super::{AuditId, KeyId, ReceiptId, SupportId, TaskId, TenantId, Timestamp};

/// What a tenant had of the server on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that were let in.
    pub requests: u64,
    /// Inputs that were predicted.
    pub predictions: u64,
    /// Adaptations that ended, asked for by a job or in one call.
    pub adaptations: u64,
    /// Time in the inner loop, in milliseconds.
    pub compute_ms: u64,
}

impl Usage {
    /// Adds what was had besides.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.predictions += other.predictions;
        self.adaptations += other.adaptations;
        self.compute_ms += other.compute_ms;
    }

    /// What is left of it without a part of it.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(part.requests),
            predictions: self.predictions.saturating_sub(part.predictions),
            adaptations: self.adaptations.saturating_sub(part.adaptations),
            compute_ms: self.compute_ms.saturating_sub(part.compute_ms),
        }
    }
}

/// What a tenant has in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Tasks.
    pub tasks: u64,
    /// Examples.
    pub support: u64,
    /// Bytes of their inputs.
    #[serde(default)]
    pub support_bytes: u64,
    /// Adaptations, those that have ended included.
    pub adaptations: u64,
    /// Adapters.
    pub adapters: u64,
    /// Bytes of adapters.
    pub adapter_bytes: u64,
    /// Predictions that are kept for feedback.
    pub predictions: u64,
    /// Bytes of their inputs.
    #[serde(default)]
    pub prediction_bytes: u64,
    /// Bulk predictions.
    pub bulks: u64,
    /// Bytes of them, inputs that wait and answers.
    pub bulk_bytes: u64,
}

impl Holdings {
    /// Bytes of all that can be large.
    pub fn bytes(&self) -> u64 {
        self.support_bytes + self.adapter_bytes + self.prediction_bytes + self.bulk_bytes
    }
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// By which key; none where the server asks for none.
    pub key: Option<KeyId>,
    /// `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// Of what.
    pub path: String,
    /// How it was answered.
    pub status: u16,
    /// The request, as the log knows it.
    pub request_id: String,
    /// The connection's other end.
    pub peer: Option<String>,
    /// What a proxy says is behind that; whoever sends the request may write it.
    pub forwarded_for: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

/// What is to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// An example, and every adapter that may have been made with it.
    Example(TaskId, SupportId),
    /// A task and all that belongs to it.
    Task(TaskId),
    /// A tenant and all that belongs to it, keys included.
    Tenant,
}

/// What an erasure removed, and what was found of it afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Examples.
    pub support: u64,
    /// Adapters.
    pub adapters: u64,
    /// Adaptations with their events.
    pub adaptations: u64,
    /// Predictions that were kept for feedback.
    pub predictions: u64,
    /// Bulk predictions with their answers.
    #[serde(default)]
    pub bulk_predictions: u64,
    /// Answers that were kept for repeated requests.
    pub requests: u64,
    /// Tasks.
    pub tasks: u64,
    /// Keys.
    pub keys: u64,
    /// Webhooks.
    pub webhooks: u64,
}

impl Counted {
    /// Whether nothing was counted.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// That something was erased, and that nothing of it was found afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id.
    pub id: ReceiptId,
    /// What was removed.
    pub removed: Counted,
    /// When.
    pub erased_at: Timestamp,
    /// All of this in JSON: the very text that is signed.
    pub text: String,
}

/// A receipt, as its text says it.
#[derive(Serialize)]
struct Said {
    receipt: ReceiptId,
    scope: &'static str,
    tenant: TenantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support: Option<SupportId>,
    removed: Counted,
    remaining: Counted,
    erased_at: Timestamp,
}

impl Receipt {
    /// For what was removed whole.
    #[expect(clippy::missing_panics_doc, reason = "string keys and whole numbers can be written")]
    pub fn new(id: ReceiptId, tenant: TenantId, what: Erasure, removed: Counted, erased_at: Timestamp) -> Self {
        let (scope, task, support) = match what {
            Erasure::Example(task, support) => ("example", Some(task), Some(support)),
            Erasure::Task(task) => ("task", Some(task), None),
            Erasure::Tenant => ("tenant", None, None),
        };
        let remaining = Counted::default();
        let said = Said { receipt: id, scope, tenant, task, support, removed, remaining, erased_at };
        let text = serde_json::to_string(&said).expect("it has string keys and whole numbers");
        Self { id, removed, erased_at, text }
    }
}
