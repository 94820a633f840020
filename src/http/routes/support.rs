//! Support sets.

use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{
    Adaptation, AdaptationId, AdaptationStatus, Example, Input, Signal, Span, Support, SupportFilter, SupportId,
    Target, TaskId, TenantId, Timestamp, narrow,
};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, IfMatch, Maker, Wait};
use crate::http::idempotency::Unkept;
use crate::http::object;
use crate::http::page::{List, PageParams};
use crate::http::problem::{Fault, Problem, ProblemBody};
use crate::http::uploads::{Summary, Upload};
use crate::http::wire::{self, ExampleBody, InputDoc, SpanBody};
use crate::service::{Given, Service, SupportAdded, SupportPatch, Verdict, Verdicts};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(add_support, list_support, delete_named_support)).routes(routes!(
        find_support,
        update_support,
        delete_support
    ))
}

/// Examples to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddSupportBody {
    /// Labelled inputs. All of them are added, or none.
    #[serde(default, deserialize_with = "object::each")]
    examples: Vec<ExampleBody>,
    /// Inputs that nobody has labelled, for base models that learn from such, too (`takes_unlabelled`).
    #[schema(value_type = Vec<InputDoc>)]
    #[serde(default)]
    unlabelled: Vec<Input>,
}

/// What adding did.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddedBody {
    /// How many are new.
    added: usize,
    /// Their ids, in the order given, `unlabelled` after `examples`.
    #[schema(value_type = Vec<String>)]
    ids: Vec<SupportId>,
    /// Those that were there already: the same input with the same target, or the same `external_id`.
    duplicates: Vec<DuplicateBody>,
    /// Those that are wrong, where the others are added all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<RejectedBody>,
    /// How many examples the task has now, labelled or not.
    support_count: usize,
    /// The adaptation that follows, if the task adapts by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    adaptation: Option<AdaptationRef>,
    /// What ended an upload before its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<StoppedBody>,
}

/// What ended an upload before its end.
#[derive(Debug, Serialize, ToSchema)]
struct StoppedBody {
    /// The place of the first example of which this answer says nothing: send the rest from there. What is there already
    /// is named as a duplicate.
    at: usize,
    /// The word by which a program tells the reason from others, as in problems.
    #[schema(example = "timeout")]
    code: &'static str,
    /// What to do about it.
    detail: String,
}

impl From<SupportAdded> for AddedBody {
    fn from(SupportAdded { added, support_count, adaptation }: SupportAdded) -> Self {
        let duplicates = added.duplicates.into_iter().map(|(index, id)| DuplicateBody { index, id }).collect();
        let (added, ids) = (added.added.len(), added.added);
        let adaptation = adaptation.map(AdaptationRef::from);
        Self { added, ids, duplicates, rejected: Vec::new(), support_count, adaptation, stopped: None }
    }
}

impl From<Summary> for AddedBody {
    fn from(summary: Summary) -> Self {
        let rejected = summary.rejected().into_iter().map(|(index, errors)| RejectedBody { index, errors }).collect();
        let (mut ids, mut duplicates) = (Vec::new(), Vec::new());
        for (index, verdict) in summary.given.into_iter().zip(&summary.verdicts.verdicts) {
            match verdict {
                Verdict::Added(id) => ids.push(*id),
                Verdict::Duplicate(id) => duplicates.push(DuplicateBody { index, id: *id }),
                Verdict::Rejected(_) => {}
            }
        }
        let Verdicts { support_count, adaptation, .. } = summary.verdicts;
        let at = summary.places;
        let stopped = summary.stopped.map(|why| StoppedBody { at, code: why.code(), detail: why.detail().to_owned() });
        Self {
            added: ids.len(),
            ids,
            duplicates,
            rejected,
            support_count,
            adaptation: adaptation.map(AdaptationRef::from),
            stopped,
        }
    }
}

/// An example that was not added, and why.
#[derive(Debug, Serialize, ToSchema)]
struct RejectedBody {
    /// Its place in the request, from 0.
    index: usize,
    /// What is wrong with it; pointers are into the example.
    errors: Vec<Fault>,
}

/// An adaptation that follows by itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdaptationRef {
    /// Its id.
    #[schema(value_type = String)]
    id: AdaptationId,
    /// `queued`, most probably; with `Prefer: wait`, `succeeded` if it took no longer.
    #[schema(value_type = String)]
    status: AdaptationStatus,
    /// The version that it left, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
}

impl From<Adaptation> for AdaptationRef {
    fn from(Adaptation { id, status, version, .. }: Adaptation) -> Self {
        Self { id, status, version }
    }
}

/// An example that was there already.
#[derive(Debug, Serialize, ToSchema)]
pub struct DuplicateBody {
    /// Its place in the request; `unlabelled` counts on where `examples` ends.
    index: usize,
    /// The example that it equals.
    #[schema(value_type = String)]
    id: SupportId,
}

/// An example of a task.
#[derive(Debug, Serialize, ToSchema)]
struct SupportBody {
    /// Its id.
    #[schema(value_type = String, example = "sup_0123456789abcdefghjkmnpqrs")]
    id: SupportId,
    /// `support`
    object: &'static str,
    /// The input, as it was sent.
    #[schema(value_type = InputDoc)]
    input: Input,
    /// Its class. Neither this nor `value` nor `spans` if nobody has labelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Its number, or what was done with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
    /// For how many examples it counts, if that is not 1; of a signal always.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f32>,
    /// When the signal was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    time: Option<Timestamp>,
    /// Its spans, in order of place.
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<Vec<SpanBody>>,
    /// Your own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// What to send as `If-Match`.
    #[schema(example = "\"0f1e2d3c4b5a6978\"")]
    etag: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Support> for SupportBody {
    fn from(support: Support) -> Self {
        let etag = format!("\"{}\"", support.tag());
        let Support { id, example, created_at } = support;
        let Example { input, target, weight, external_id, .. } = example;
        let own = Some(weight).filter(|weight| *weight != 1.0);
        let (label, value, weight, time, spans) = match target {
            Some(Target::Label(label)) => (Some(label), None, own, None, None),
            Some(Target::Value(value)) => (None, Some(value), own, None, None),
            Some(Target::Spans(spans)) => (None, None, None, None, Some(wire::spans(spans))),
            Some(Target::Signal(Signal { value, weight, time })) => (None, Some(value), Some(weight), time, None),
            None => (None, None, None, None, None),
        };
        Self { id, object: "support", input, label, value, weight, time, spans, external_id, etag, created_at }
    }
}

/// How to add examples.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
struct AddParams {
    /// Whether examples that are right are added where others are wrong. JSON lines, CSV and forms always are.
    partial: bool,
}

/// Adds examples to a task: all of them, or none and the reasons; with `partial`, those that are right.
///
/// A few come as JSON. Many come as `application/x-ndjson` (an example a line), as `text/csv` (columns `label` or
/// `value`, `external_id` if you like, and `input`, or one column for each number), or as `multipart/form-data` (files,
/// each field named by its file's label). Those are stored a few at a time while they arrive, and `rejected` says which
/// were wrong. If something comes in between, `stopped` says how far it came.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/support", tag = "support",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: how long to wait for the adaptation that follows, for examples as JSON (RFC 7240)"),
        AddParams
    ),
    request_body(content(
        (AddSupportBody = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
        (Object = "multipart/form-data")
    )),
    responses((status = 200, body = AddedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn add_support(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(AddParams { partial }): ApiQuery<AddParams>,
    Wait(wait): Wait,
    State(state): State<AppState>,
    request: Request,
) -> Result<(Option<Extension<Unkept>>, Json<AddedBody>), Problem> {
    let longest = Duration::from_millis(state.config.upload_timeout_ms);
    let request = match Upload::read(request, &state).await? {
        Ok(upload) => {
            let summary = upload.store(&service, tenant, task, longest).await?;
            let unkept = summary.stopped.is_some().then_some(Extension(Unkept));
            return Ok((unkept, Json(summary.into())));
        }
        Err(request) => request,
    };
    let wait = wait.map(|wait| wait.min(Duration::from_secs(state.config.max_wait_s)));
    let ApiJson(AddSupportBody { examples, unlabelled }) = ApiJson::from_request(request, &state).await?;
    let examples = wire::given(examples);
    if partial && unlabelled.is_empty() {
        let mut verdicts = service.add_each_support(tenant, task, examples).await?;
        verdicts.adaptation = settled(&service, tenant, verdicts.adaptation, wait).await?;
        return Ok((None, Json(Summary::of(verdicts).into())));
    }
    let mut added = service.add_support(tenant, task, Given { examples, unlabelled }).await?;
    added.adaptation = settled(&service, tenant, added.adaptation, wait).await?;
    Ok((None, Json(added.into())))
}

/// The adaptation that follows, once it has ended or the caller has waited for as long as asked.
async fn settled(
    service: &Service,
    tenant: TenantId,
    adaptation: Option<Adaptation>,
    wait: Option<Duration>,
) -> Result<Option<Adaptation>, Problem> {
    match (adaptation, wait) {
        (Some(adaptation), Some(wait)) => Ok(Some(service.await_adaptation(tenant, adaptation.id, wait).await?)),
        (adaptation, _) => Ok(adaptation),
    }
}

/// Which examples.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SupportParams {
    /// Of this label only.
    label: Option<String>,
    /// The one that you call this only.
    external_id: Option<String>,
    /// Most rows, 1 to 100.
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Examples of a task, newest first.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/support", tag = "support",
    params(("task" = String, Path, description = "The task's id"), SupportParams),
    responses((status = 200, body = List<SupportBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(SupportParams { label, external_id, limit, after }): ApiQuery<SupportParams>,
) -> Result<Json<List<SupportBody>>, Problem> {
    let (page, filter) = (PageParams::new(limit, after), SupportFilter { label, external_id });
    let rows = service.list_support(tenant, task, &filter, page.page()?).await?;
    Ok(Json(List::new(rows, page.limit()?, |row| (row.created_at, row.id.to_string()), SupportBody::from)))
}

/// An example.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/support/{support}", tag = "support",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("support" = String, Path, description = "The example's id")
    ),
    responses((status = 200, body = SupportBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, support)): ApiPath<(TaskId, SupportId)>,
) -> Result<Response, Problem> {
    Ok(tagged(service.find_support(tenant, task, support).await?))
}

/// An example with its `ETag`.
fn tagged(support: Support) -> Response {
    let body = SupportBody::from(support);
    let etag = HeaderValue::from_str(&body.etag).expect("hexadecimal digits in quotes");
    ([(header::ETAG, etag)], Json(body)).into_response()
}

/// Changes to an example. Its input stays: another input is another example.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateSupportBody {
    /// Another class.
    #[schema(example = "refund")]
    label: Option<String>,
    /// Another number.
    value: Option<f64>,
    /// Another weight.
    weight: Option<f64>,
    /// Another time of a signal.
    #[schema(value_type = Option<String>, format = DateTime)]
    time: Option<Timestamp>,
    /// Other spans.
    spans: Option<Vec<SpanBody>>,
    /// Another name of your own.
    external_id: Option<String>,
}

/// Changes what an example is labelled with; with `If-Match`, only as it was read.
#[utoipa::path(
    patch, path = "/v1/tasks/{task}/support/{support}", tag = "support",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("support" = String, Path, description = "The example's id"),
        ("If-Match" = Option<String>, Header, description = "The example's `etag`")
    ),
    request_body = UpdateSupportBody,
    responses((status = 200, body = SupportBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn update_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, support)): ApiPath<(TaskId, SupportId)>,
    IfMatch(tag): IfMatch<String>,
    ApiJson(UpdateSupportBody { label, value, weight, time, spans, external_id }): ApiJson<UpdateSupportBody>,
) -> Result<Response, Problem> {
    let spans = spans.map(|spans| spans.into_iter().map(Span::from).collect());
    let (value, weight) = (value.map(narrow), weight.map(narrow));
    let patch = SupportPatch { label, value, weight, time, spans, external_id };
    Ok(tagged(service.update_support(tenant, task, support, patch, tag).await?))
}

/// Which example.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NamedParams {
    /// What you call it.
    external_id: String,
}

/// Removes the example that you call by a name of your own.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}/support", tag = "support",
    params(("task" = String, Path, description = "The task's id"), NamedParams),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_named_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiQuery(NamedParams { external_id }): ApiQuery<NamedParams>,
) -> Result<StatusCode, Problem> {
    service.delete_named_support(tenant, task, external_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes an example. Adapters that were made with it stay until the task is adapted again.
#[utoipa::path(
    delete, path = "/v1/tasks/{task}/support/{support}", tag = "support",
    params(
        ("task" = String, Path, description = "The task's id"),
        ("support" = String, Path, description = "The example's id")
    ),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_support(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath((task, support)): ApiPath<(TaskId, SupportId)>,
) -> Result<StatusCode, Problem> {
    service.delete_support(tenant, task, support).await?;
    Ok(StatusCode::NO_CONTENT)
}
