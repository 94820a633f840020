//! Plain values, valid by construction: what the other layers pass to each other.
//!
//! Here are the words of the house as types: ids, input schemas, support sets, tasks, adaptations,
//! adapters, base model manifests and every way an input can be wrong.
//!
//! Deliberately absent: I/O, async, tensors, the clock and the random source themselves (only the
//! traits by which they are handed in).

mod account;
mod adaptation;
mod adapter;
mod base_model;
mod bulk;
mod calibration;
mod clock;
mod cost;
mod encoder;
mod evaluation;
mod event;
mod fair;
#[cfg(test)]
mod fuzz;
mod id;
mod input;
mod input_json;
mod interval;
mod invalid;
mod learner;
mod learning_curve;
mod monitor;
mod oddities;
mod pixels;
mod prototypes;
mod quality;
mod ranking;
mod request;
mod rows;
mod sentence;
mod signal;
mod support;
mod tag_report;
mod tagged;
mod task;
mod tenant;
mod trace;
mod webhook;

pub use account::{AuditEntry, Counted, Erasure, Holdings, Receipt, Usage};
pub use adaptation::{Adaptation, AdaptationStatus, Failure, Promotion, Recipe};
pub use adapter::{Adapter, AdapterBlob, AdapterOrigin, Promoted};
pub use base_model::{BaseModel, Figure, Limits, Manifest, Precision, Provenance};
pub use bulk::{Bulk, BulkItem, BulkPiece, BulkStatus, Refusal};
pub use calibration::{Calibration, TARGET_PRECISION, calibration_error, probabilities};
pub use clock::{Clock, IdSource, SeededIds, SystemClock, SystemIds, Timestamp};
pub use cost::{Cost, Size};
pub use encoder::{EncoderRef, words};
pub use evaluation::{Evaluation, Judged, LabelEvaluation};
pub use event::{AdaptationEvent, AdaptationPhase, News};
pub use fair::{FairQueue, Turn};
pub use id::{
    AdaptationId, AdapterId, AuditId, BulkId, InvalidId, KeyId, MessageId, MonitorId, PredictionId, ReceiptId,
    SupportId, TaskId, TenantId, WebhookId,
};
pub use input::{Input, InputSchema, Item, MAGNITUDE_BOUND, PRIOR_PLACES, Polarity, finite, narrow};
pub use interval::accuracy_interval;
pub use invalid::{Fault, Invalid};
pub use learner::{BackboneConfig, GradOrder, HeadInit, LearnerConfig, Norm};
pub use monitor::{Alert, Change, KEPT_ALERTS, Monitor, MonitorEvent, MonitorPatch, MonitorRule, USUAL_SHARES, Watch};
pub use oddities::{Duplicate, Outlier, duplicates};
pub use pixels::{PixelLimits, Pixels};
pub use prototypes::Prototypes;
pub use quality::{Confusion, LabelQuality, Quality, Suspect, argmax};
pub use ranking::{LOOKED_AT, best_first, is_hit, ndcg, pairs_in_order};
pub use request::{RequestKey, Reservation, SavedResponse};
pub use rows::{ESTIMATE_FOLDS, HeldOut, Outputs, Rows};
pub use sentence::{OUTSIDE, Sentence, Span, tag_name};
pub use signal::{Signal, check_weight};
pub use support::{SupportSet, Targets, hex};
pub use tag_report::{ReportLine, ReportTable, TagCounts, TagReport};
pub use tagged::TaggedSet;
pub use task::{
    Example, Kind, LabelCount, StoredPrediction, Support, SupportFilter, Target, Task, TaskPatch, TaskSettings,
};
pub use tenant::{ApiKey, KeyRecord, Principal, Scope, Tenant};
pub use trace::TraceContext;
pub use webhook::{Delivery, DeliveryStatus, Message, Topic, Webhook, WebhookPatch, WebhookSecret};
