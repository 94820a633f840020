//! Why a use case failed: one variant for each thing that the caller can do about it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{AdapterId, Cost, Failure, Fault, Invalid, Scope};
use crate::engine::EngineError;
use crate::faults::Planned;
use crate::store::StoreError;

/// When to come back to a server that is out of memory: most of what it has under way has ended by then.
const MEMORY_RETRY: Duration = Duration::from_secs(2);

/// Why a use case failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServiceError {
    /// The request's values are wrong: mend them.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Invalid(Vec<Invalid>),
    /// It is not there, or it is another tenant's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The thing is not in a state for this.
    #[error("{detail}")]
    Conflict {
        /// The word by which a program tells it from others.
        code: &'static str,
        /// What to do.
        detail: String,
    },
    /// It changed since the caller read it: read it again.
    #[error("it changed since you read it; read it again and repeat")]
    Changed,
    /// No key, or not a valid one.
    #[error("send a valid key: `Authorization: Bearer imprint_…`")]
    Unauthenticated,
    /// The key may not do this: take one that may.
    #[error("this needs a key of the scope `{}`", needed.name())]
    Forbidden {
        /// The least scope that would do.
        needed: Scope,
    },
    /// The tenant has all that it may have: come back later.
    #[error("you are at your limit ({code}); repeat after the time in Retry-After")]
    Limited {
        /// The word by which a program tells it from others.
        code: &'static str,
        /// When.
        retry_after: Duration,
    },
    /// This server is full: come back later.
    #[error("the server is at its capacity; repeat after the time in Retry-After")]
    Overloaded {
        /// When.
        retry_after: Duration,
    },
    /// As many requests of this tenant wait as may: come back later.
    #[error("{limit} requests of yours are waiting already; repeat after the time in Retry-After")]
    Crowded {
        /// How many may wait.
        limit: usize,
        /// When.
        retry_after: Duration,
    },
    /// The caller's deadline passed.
    #[error("the deadline passed before the answer was computed")]
    Late,
    /// The adaptation ended without an adapter.
    #[error("{}", .0.detail)]
    Failed(Failure),
    /// The engine lost this one: it may be repeated.
    #[error("the computation was lost; repeat the request")]
    Lost,
    /// An adaptation made no progress for too long, and was given up.
    #[error("the computation stalled")]
    Stalled,
    /// The database is away: come back later.
    #[error("the database is away; repeat after the time in Retry-After")]
    Away,
    /// The database has no room left: come back when the operator has given it some.
    #[error(
        "the database has no room left, and nothing of this request was stored; repeat it when its operator has given it some"
    )]
    OutOfRoom,
    /// The database is in disorder.
    #[error("store: {0}")]
    Store(Arc<StoreError>),
    /// An adapter's bytes are not the ones that were stored: adapt the task again.
    #[error("adapter {0} is damaged")]
    Damaged(AdapterId),
    /// A fault of ours.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<Invalid> for ServiceError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(vec![invalid])
    }
}

impl From<Planned> for ServiceError {
    /// As if a computation were lost.
    fn from(_: Planned) -> Self {
        Self::Lost
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Changed,
            StoreError::Away => Self::Away,
            StoreError::Full { what, limit } => {
                Fault::TooMany { what, given: limit.saturating_add(1), limit }.at("").into()
            }
            StoreError::Corrupt(adapter) => Self::Damaged(adapter),
            full if full.is_out_of_room() => Self::OutOfRoom,
            other => Self::Store(Arc::new(other)),
        }
    }
}

fn too_dear(cost: Cost, most: Cost) -> Fault {
    let (mib, giga) = (|bytes: u64| bytes >> 20, |count: u64| count / 1_000_000_000);
    Fault::TooDear {
        mib: mib(cost.bytes),
        giga_multiply_adds: giga(cost.multiply_adds),
        most_mib: mib(most.bytes),
        most_giga_multiply_adds: giga(most.multiply_adds),
    }
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Full { retry_after } => Self::Overloaded { retry_after },
            EngineError::OutOfMemory => Self::Overloaded { retry_after: MEMORY_RETRY },
            EngineError::TooDear { cost, most } => too_dear(cost, most).at("").into(),
            EngineError::TenantFull { limit, retry_after } => Self::Crowded { limit, retry_after },
            EngineError::Late => Self::Late,
            EngineError::Stopping => Self::Overloaded { retry_after: Duration::from_secs(5) },
            EngineError::Panicked => Self::Lost,
            EngineError::UnknownBase(name) => Fault::UnknownBase { name }.at("/base_model").into(),
            EngineError::Mismatch(reason) => {
                Self::Conflict { code: "adapter_mismatch", detail: format!("{reason}; adapt the task again") }
            }
            EngineError::NonFinite(what) => Self::Failed(Failure {
                code: "non_finite".to_owned(),
                detail: format!("{what} left the finite numbers; scale the inputs or take fewer inner steps"),
            }),
            EngineError::Torch(reason) => Self::Internal(reason),
        }
    }
}
