//! Monitors: whether a label's share among a task's predictions changes.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Alert, Monitor, MonitorEvent, MonitorId, MonitorPatch, MonitorRule, TaskId, Timestamp};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, Maker};
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Service;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_monitor, list_monitors))
        .routes(routes!(find_monitor, update_monitor, delete_monitor))
        .routes(routes!(list_monitor_events))
}

/// A monitor to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateMonitorBody {
    /// A name for people; the label by default.
    name: Option<String>,
    /// The label whose share is looked at: one of the task's.
    #[schema(example = "negative")]
    label: String,
    /// Its usual share, 0.001 to 0.999; without it, learned from the first `window` predictions.
    baseline: Option<f64>,
    /// How many times the usual odds are worth an alert; below 1 for a label that becomes rare.
    #[serde(default = "default_ratio")]
    #[schema(default = 2.0)]
    ratio: f64,
    /// Predictions to a false alarm, on the average, at least.
    #[serde(default = "default_false_alarm_every")]
    #[schema(default = 10_000, minimum = 10, maximum = 10_000_000)]
    false_alarm_every: u32,
    /// Predictions that `share` is taken over, and that a baseline is learned from.
    #[serde(default = "default_window")]
    #[schema(default = 200, minimum = 20, maximum = 1000)]
    window: usize,
}

const fn default_ratio() -> f64 {
    2.0
}

const fn default_false_alarm_every() -> u32 {
    10_000
}

const fn default_window() -> usize {
    200
}

/// Changes to a monitor. Whatever else than its name changes, it begins anew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateMonitorBody {
    /// A new name.
    name: Option<String>,
    /// Another usual share.
    baseline: Option<f64>,
    /// Another change to look for.
    ratio: Option<f64>,
    /// Another rate of false alarms.
    #[schema(minimum = 10, maximum = 10_000_000)]
    false_alarm_every: Option<u32>,
    /// Another window.
    #[schema(minimum = 20, maximum = 1000)]
    window: Option<usize>,
}

/// A monitor.
#[derive(Debug, Serialize, ToSchema)]
struct MonitorBody {
    /// Its id.
    #[schema(value_type = String, example = "mon_0123456789abcdefghjkmnpqrs")]
    id: MonitorId,
    /// `monitor`
    object: &'static str,
    /// The task whose predictions it looks at.
    #[schema(value_type = String)]
    task: TaskId,
    /// Its name.
    name: String,
    /// The label.
    label: String,
    /// `learning`, `steady` or `raised`.
    status: &'static str,
    /// The usual share, once it is known.
    baseline: Option<f64>,
    /// The share that it is made to see, once `baseline` is known.
    alert_share: Option<f64>,
    /// Predictions from such a change to the alert, on the average.
    expected_delay: Option<f64>,
    /// Share of the label in the window so far.
    share: Option<f64>,
    /// Predictions that it has seen.
    seen: u64,
    /// How many times the usual odds are worth an alert.
    ratio: f64,
    /// Predictions to a false alarm, on the average, at least.
    false_alarm_every: u32,
    /// Predictions that `share` is taken over.
    window: usize,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Monitor> for MonitorBody {
    fn from(Monitor { id, task, name, rule, watch, created_at }: Monitor) -> Self {
        let baseline = watch.baseline.or(rule.baseline);
        Self {
            id,
            object: "monitor",
            task,
            name,
            status: match (baseline, watch.is_raised) {
                (None, _) => "learning",
                (Some(_), false) => "steady",
                (Some(_), true) => "raised",
            },
            baseline,
            alert_share: baseline.map(|share| rule.alert_share(share)),
            expected_delay: baseline.map(|share| rule.expected_delay(share)),
            share: watch.share(),
            seen: watch.seen,
            ratio: rule.ratio,
            false_alarm_every: rule.false_alarm_every,
            window: rule.window,
            label: rule.label,
            created_at,
        }
    }
}

/// What a monitor saw.
#[derive(Debug, Serialize, ToSchema)]
struct MonitorEventBody {
    /// 1, 2, 3 … within the monitor.
    number: u32,
    /// `raised` when the share is no longer the usual one, `cleared` when it is again.
    #[serde(flatten)]
    #[schema(value_type = AlertBody)]
    alert: Alert,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A change that a monitor saw.
#[expect(dead_code, reason = "describes domain::Alert in the OpenAPI document")]
#[derive(ToSchema)]
struct AlertBody {
    /// `raised` when the share is no longer the usual one, `cleared` when it is again.
    #[schema(pattern = "^(raised|cleared)$")]
    change: String,
    /// Share of the label in the window that ended there.
    share: f64,
    /// The usual share.
    baseline: f64,
    /// Predictions that the monitor had seen.
    seen: u64,
}

impl From<MonitorEvent> for MonitorEventBody {
    fn from(MonitorEvent { number, alert, created_at }: MonitorEvent) -> Self {
        Self { number, alert, created_at }
    }
}

/// Makes a monitor: from now on every prediction of the task counts.
#[utoipa::path(
    post, path = "/v1/tasks/{task}/monitors", tag = "monitors",
    params(("task" = String, Path, description = "The task's id")),
    request_body = CreateMonitorBody,
    responses((status = 201, body = MonitorBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn create_monitor(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
    ApiJson(body): ApiJson<CreateMonitorBody>,
) -> Result<impl IntoResponse, Problem> {
    let CreateMonitorBody { name, label, baseline, ratio, false_alarm_every, window } = body;
    let rule = MonitorRule { label, baseline, ratio, false_alarm_every, window };
    let monitor = service.create_monitor(tenant, task, name, rule).await?;
    let location = format!("/v1/monitors/{}", monitor.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(MonitorBody::from(monitor))))
}

/// All monitors of a task, newest first.
#[utoipa::path(
    get, path = "/v1/tasks/{task}/monitors", tag = "monitors",
    params(("task" = String, Path, description = "The task's id")),
    responses((status = 200, body = List<MonitorBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_monitors(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(task): ApiPath<TaskId>,
) -> Result<Json<List<MonitorBody>>, Problem> {
    let monitors = service.list_monitors(tenant, task).await?;
    Ok(Json(List::whole(monitors.into_iter().map(MonitorBody::from).collect())))
}

/// A monitor.
#[utoipa::path(
    get, path = "/v1/monitors/{monitor}", tag = "monitors",
    params(("monitor" = String, Path, description = "The monitor's id")),
    responses((status = 200, body = MonitorBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_monitor(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(monitor): ApiPath<MonitorId>,
) -> Result<Json<MonitorBody>, Problem> {
    Ok(Json(service.find_monitor(tenant, monitor).await?.into()))
}

/// Changes a monitor.
#[utoipa::path(
    patch, path = "/v1/monitors/{monitor}", tag = "monitors",
    params(("monitor" = String, Path, description = "The monitor's id")),
    request_body = UpdateMonitorBody,
    responses((status = 200, body = MonitorBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn update_monitor(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(monitor): ApiPath<MonitorId>,
    ApiJson(body): ApiJson<UpdateMonitorBody>,
) -> Result<Json<MonitorBody>, Problem> {
    let UpdateMonitorBody { name, baseline, ratio, false_alarm_every, window } = body;
    let patch = MonitorPatch { name, baseline, ratio, false_alarm_every, window };
    Ok(Json(service.update_monitor(tenant, monitor, patch).await?.into()))
}

/// Removes a monitor with what it saw.
#[utoipa::path(
    delete, path = "/v1/monitors/{monitor}", tag = "monitors",
    params(("monitor" = String, Path, description = "The monitor's id")),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_monitor(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(monitor): ApiPath<MonitorId>,
) -> Result<StatusCode, Problem> {
    service.delete_monitor(tenant, monitor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a monitor saw, newest first: the last 1,000 alerts.
#[utoipa::path(
    get, path = "/v1/monitors/{monitor}/events", tag = "monitors",
    params(("monitor" = String, Path, description = "The monitor's id"), PageParams),
    responses((status = 200, body = List<MonitorEventBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_monitor_events(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(monitor): ApiPath<MonitorId>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<MonitorEventBody>>, Problem> {
    let limit = page.limit()?;
    let events = service.monitor_events(tenant, monitor, page.before()?, limit + 1).await?;
    Ok(Json(List::numbered(events, limit, |event| event.number, MonitorEventBody::from)))
}
