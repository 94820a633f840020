//! What a tenant had, what was done to its things, and erasing them.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::Date;
use time::macros::{date, format_description};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{
    AdaptationId, AuditEntry, AuditId, Counted, Erasure, Holdings, KeyId, Receipt, ReceiptId, SupportId, TaskId,
    TenantId, Timestamp, Usage,
};
use crate::http::AppState;
use crate::http::export;
use crate::http::extract::{ApiJson, ApiQuery, Caller, Maker};
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::{Service, SignedReceipt};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(usage))
        .routes(routes!(list_audit))
        .routes(routes!(erase))
        .routes(routes!(list_receipts))
        .routes(routes!(export_all))
}

/// The first day.
const EPOCH: Date = date!(1970 - 01 - 01);
/// Days that are listed where nobody says which.
const SHOWN_DAYS: i64 = 30;
/// Most days that are listed.
const MOST_DAYS: i64 = 400;

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct UsageParams {
    /// The first, `YYYY-MM-DD` in UTC; thirty days ago by default.
    #[param(example = "2026-11-01", format = Date)]
    from: Option<String>,
    /// The last; today by default.
    #[param(example = "2026-11-30", format = Date)]
    to: Option<String>,
}

/// What a tenant had on one day.
#[derive(Debug, Serialize, ToSchema)]
struct DayBody {
    /// `YYYY-MM-DD`, in UTC.
    #[schema(example = "2026-11-24", format = Date)]
    date: String,
    /// Requests that were let in.
    requests: u64,
    /// Inputs that were predicted.
    predictions: u64,
    /// Adaptations that ended.
    adaptations: u64,
    /// Time that they took, in milliseconds.
    compute_ms: u64,
}

/// What is stored now.
#[derive(Debug, Serialize, ToSchema)]
struct StoredBody {
    /// Tasks.
    tasks: u64,
    /// Examples.
    support: u64,
    /// Bytes of their inputs.
    support_bytes: u64,
    /// Adaptations, those that have ended included.
    adaptations: u64,
    /// Adapters.
    adapters: u64,
    /// Bytes of adapters.
    adapter_bytes: u64,
    /// Predictions that are kept for feedback.
    predictions: u64,
    /// Bytes of their inputs.
    prediction_bytes: u64,
    /// Bulk predictions.
    bulk_predictions: u64,
    /// Bytes of them: inputs that wait, and answers.
    bulk_bytes: u64,
    /// All these bytes: what `tenant_stored_mib` of `GET /v1/limits` is about.
    bytes: u64,
}

impl From<Holdings> for StoredBody {
    fn from(holdings: Holdings) -> Self {
        Self {
            bytes: holdings.bytes(),
            tasks: holdings.tasks,
            support: holdings.support,
            support_bytes: holdings.support_bytes,
            adaptations: holdings.adaptations,
            adapters: holdings.adapters,
            adapter_bytes: holdings.adapter_bytes,
            predictions: holdings.predictions,
            prediction_bytes: holdings.prediction_bytes,
            bulk_predictions: holdings.bulks,
            bulk_bytes: holdings.bulk_bytes,
        }
    }
}

/// What a tenant had and has.
#[derive(Debug, Serialize, ToSchema)]
struct UsageBody {
    /// `usage`
    object: &'static str,
    /// Day by day, oldest first; days without any use are left out.
    days: Vec<DayBody>,
    /// What is stored now.
    stored: StoredBody,
}

/// What you had of the server, day by day, and what is stored now. Counts reach the store within seconds.
#[utoipa::path(
    get, path = "/v1/usage", tag = "account", params(UsageParams),
    responses((status = 200, body = UsageBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn usage(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiQuery(UsageParams { from, to }): ApiQuery<UsageParams>,
) -> Result<Json<UsageBody>, Problem> {
    let to = to.map_or(Ok(service.today()), |text| day("to", &text))?;
    let from = from.map_or(Ok(to - SHOWN_DAYS), |text| day("from", &text))?;
    let (days, holdings) = service.usage(tenant, from.max(to - MOST_DAYS)..=to).await?;
    let days = days.into_iter().map(|(day, usage)| DayBody::of(day, usage)).collect();
    Ok(Json(UsageBody { object: "usage", days, stored: holdings.into() }))
}

impl DayBody {
    fn of(day: i64, usage: Usage) -> Self {
        let date = EPOCH.saturating_add(time::Duration::days(day)).to_string();
        let Usage { requests, predictions, adaptations, compute_ms } = usage;
        Self { date, requests, predictions, adaptations, compute_ms }
    }
}

fn day(parameter: &str, text: &str) -> Result<i64, Problem> {
    let read = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let malformed = |_| Problem::malformed("invalid_query", parameter, "write the day as YYYY-MM-DD".to_owned());
    Ok((read.map_err(malformed)? - EPOCH).whole_days())
}

/// One thing that somebody did.
#[derive(Debug, Serialize, ToSchema)]
struct AuditBody {
    /// Its id.
    #[schema(value_type = String, example = "aud_0123456789abcdefghjkmnpqrs")]
    id: AuditId,
    /// `audit.entry`
    object: &'static str,
    /// By which key.
    #[schema(value_type = Option<String>, example = "key_0123456789abcdefghjkmnpqrs")]
    key: Option<KeyId>,
    /// What was done.
    #[schema(example = "DELETE")]
    method: String,
    /// To what.
    #[schema(example = "/v1/tasks/task_0123456789abcdefghjkmnpqrs")]
    path: String,
    /// How it was answered.
    #[schema(example = 204)]
    status: u16,
    /// The request's id.
    request_id: String,
    /// The connection's other end.
    peer: Option<String>,
    /// What a proxy says is behind it. Whoever sends the request may write it.
    forwarded_for: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<AuditEntry> for AuditBody {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, key, method, path, status, request_id, peer, forwarded_for, created_at } = entry;
        Self { id, object: "audit.entry", key, method, path, status, request_id, peer, forwarded_for, created_at }
    }
}

/// What was done to your things, by which key and from where, newest first: every request that changed something, and
/// every one that was not allowed to.
#[utoipa::path(
    get, path = "/v1/audit", tag = "account", params(PageParams),
    responses((status = 200, body = List<AuditBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_audit(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<AuditBody>>, Problem> {
    let rows = service.list_audit(tenant, page.page()?).await?;
    Ok(Json(List::new(rows, page.limit()?, |row| (row.created_at, row.id.to_string()), AuditBody::from)))
}

/// What to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "scope", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum EraseBody {
    /// An example, and every adapter that may have been made with it; what is left is adapted again.
    Example {
        /// Its task.
        #[schema(value_type = String, example = "task_0123456789abcdefghjkmnpqrs")]
        task: TaskId,
        /// Which.
        #[schema(value_type = String, example = "sup_0123456789abcdefghjkmnpqrs")]
        support: SupportId,
    },
    /// A task and all that belongs to it.
    Task {
        /// Which.
        #[schema(value_type = String, example = "task_0123456789abcdefghjkmnpqrs")]
        task: TaskId,
    },
    /// Everything of yours, the key that asks for it included.
    Tenant {},
}

/// Rows of each kind.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountedBody {
    /// Examples.
    support: u64,
    /// Adapters.
    adapters: u64,
    /// Adaptations with their events.
    adaptations: u64,
    /// Predictions that were kept for feedback.
    predictions: u64,
    /// Bulk predictions with their answers.
    bulk_predictions: u64,
    /// Answers that were kept for repeated requests.
    requests: u64,
    /// Tasks.
    tasks: u64,
    /// Keys.
    keys: u64,
    /// Webhooks.
    webhooks: u64,
}

impl From<Counted> for CountedBody {
    fn from(counted: Counted) -> Self {
        let Counted { support, adapters, adaptations, predictions, bulk_predictions, requests, tasks, keys, webhooks } =
            counted;
        Self { support, adapters, adaptations, predictions, bulk_predictions, requests, tasks, keys, webhooks }
    }
}

/// That something was erased.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceiptBody {
    /// Its id.
    #[schema(value_type = String, example = "rcpt_0123456789abcdefghjkmnpqrs")]
    id: ReceiptId,
    /// `receipt`
    object: &'static str,
    /// What was removed.
    removed: CountedBody,
    /// What was found when it was looked for afterwards: nothing.
    remaining: CountedBody,
    /// The text that is signed: all of this as JSON.
    signed: String,
    /// Ed25519 signature of that text, in hexadecimal.
    signature: String,
    /// The server's key to check it with, in hexadecimal.
    public_key: String,
    /// The adaptation of what is left, if there is enough of it; only in the answer to the request itself.
    #[schema(value_type = Option<String>)]
    adaptation: Option<AdaptationId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    erased_at: Timestamp,
}

impl From<SignedReceipt> for ReceiptBody {
    fn from(receipt: SignedReceipt) -> Self {
        let SignedReceipt { receipt, signature, public_key, adaptation } = receipt;
        let Receipt { id, removed, erased_at, text: signed } = receipt;
        let (removed, remaining) = (removed.into(), Counted::default().into());
        Self { id, object: "receipt", removed, remaining, signed, signature, public_key, adaptation, erased_at }
    }
}

impl ReceiptBody {
    /// A page of a tenant's, which need not be there any more.
    pub async fn list(service: &Service, tenant: TenantId, page: &PageParams) -> Result<Json<List<Self>>, Problem> {
        let rows = service.list_receipts(tenant, page.page()?).await?;
        let key = |row: &SignedReceipt| (row.receipt.erased_at, row.receipt.id.to_string());
        Ok(Json(List::new(rows, page.limit()?, key, Self::from)))
    }
}

/// Removes something for good, and signs that nothing of it is left.
///
/// Rows go, caches forget, and adapters that may have been made with it go with it: the task answers with an earlier
/// version, or, once that has run, with the adaptation of what is left. The receipt is kept: `GET /v1/receipts` has it again.
/// Backups are the operator's.
#[utoipa::path(
    post, path = "/v1/erase", tag = "account", request_body = EraseBody,
    responses((status = 200, body = ReceiptBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn erase(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiJson(body): ApiJson<EraseBody>,
) -> Result<Json<ReceiptBody>, Problem> {
    let what = match body {
        EraseBody::Example { task, support } => Erasure::Example(task, support),
        EraseBody::Task { task } => Erasure::Task(task),
        EraseBody::Tenant {} => Erasure::Tenant,
    };
    Ok(Json(service.erase(tenant, what).await?.into()))
}

/// Receipts for what you had erased, newest first.
#[utoipa::path(
    get, path = "/v1/receipts", tag = "account", params(PageParams),
    responses((status = 200, body = List<ReceiptBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_receipts(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<ReceiptBody>>, Problem> {
    ReceiptBody::list(&service, tenant, &page).await
}

/// What is yours, a JSON object a line: tasks, each with its promotions, examples, adaptations, adapters (weights in
/// base64), predictions that are kept, bulk predictions and monitors with what they saw; then keys and webhooks without
/// their secrets, deliveries, usage and audit. The last line has `object` `end`: without it, something broke off.
#[utoipa::path(
    get, path = "/v1/export", tag = "account",
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody)
    )
)]
async fn export_all(State(service): State<Service>, Caller(tenant): Caller) -> Response {
    let body = Body::from_stream(export::lines(service, tenant));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
