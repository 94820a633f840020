//! Webhooks: who is told of what, and what became of it.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Delivery, DeliveryStatus, MessageId, Timestamp, Topic, Webhook, WebhookId, WebhookPatch};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, ApiQuery, Caller, Maker};
use crate::http::idempotency::Unkept;
use crate::http::page::{List, PageParams};
use crate::http::problem::{Problem, ProblemBody};
use crate::service::{NewWebhook, Service};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_webhook, list_webhooks))
        .routes(routes!(find_webhook, update_webhook, delete_webhook))
        .routes(routes!(rotate_webhook))
        .routes(routes!(test_webhook))
        .routes(routes!(list_deliveries))
        .routes(routes!(redeliver))
}

/// A webhook to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateWebhookBody {
    /// Where messages go: https, at a public address, on port 443 or 8443.
    #[schema(example = "https://example.com/imprint", max_length = 2048)]
    url: String,
    /// What it is told of; everything, without it. What is named twice counts once.
    #[schema(value_type = Vec<String>, example = json!(["adaptation.succeeded", "adaptation.failed"]))]
    #[serde(default)]
    topics: Vec<Topic>,
}

/// Changes to a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateWebhookBody {
    /// Another place.
    url: Option<String>,
    /// Other topics, whole.
    #[schema(value_type = Option<Vec<String>>)]
    topics: Option<Vec<Topic>>,
    /// Whether anything is sent.
    enabled: Option<bool>,
}

/// A webhook, without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookBody {
    /// Its id.
    #[schema(value_type = String, example = "wh_0123456789abcdefghjkmnpqrs")]
    id: WebhookId,
    /// `webhook`
    object: &'static str,
    /// Where messages go.
    url: String,
    /// What it is told of; everything, if empty.
    #[schema(value_type = Vec<String>)]
    topics: Vec<Topic>,
    /// Whether anything is sent. The server stops by itself when a receiver takes nothing in all attempts at a message,
    /// or answers 410.
    enabled: bool,
    /// Why nothing is sent, if the server stopped by itself.
    disabled_reason: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A webhook whose secret is new.
#[derive(Debug, Serialize, ToSchema)]
struct WebhookMadeBody {
    /// What messages are signed with: it is shown now and never again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
    /// The webhook.
    webhook: WebhookBody,
}

impl From<Webhook> for WebhookBody {
    fn from(webhook: Webhook) -> Self {
        let Webhook { id, url, topics, is_enabled, disabled_reason, created_at, .. } = webhook;
        Self { id, object: "webhook", url, topics, enabled: is_enabled, disabled_reason, created_at }
    }
}

impl From<Webhook> for WebhookMadeBody {
    fn from(webhook: Webhook) -> Self {
        Self { secret: webhook.secret.reveal(), webhook: webhook.into() }
    }
}

/// A message on its way to a webhook.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryBody {
    /// The message's id: what is sent as `webhook-id`, the same in every attempt.
    #[schema(value_type = String, example = "msg_0123456789abcdefghjkmnpqrs")]
    id: MessageId,
    /// `delivery`
    object: &'static str,
    /// What it is about.
    #[schema(value_type = String, example = "adaptation.succeeded")]
    topic: Topic,
    /// `pending`, `delivered` or `dead`.
    #[schema(value_type = String, example = "delivered")]
    status: DeliveryStatus,
    /// How often it was sent.
    attempt: u32,
    /// The status that the last attempt was answered with.
    answered: Option<u16>,
    /// Why the last attempt came to nothing.
    error: Option<String>,
    /// What is sent, byte for byte.
    payload: String,
    /// When it is sent next.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// When what it tells of happened.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was delivered or given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> Self {
        let Delivery { message, status, attempt, answered, error, next_at, finished_at } = delivery;
        let (id, topic, payload, created_at) = (message.id, message.topic, message.payload, message.created_at);
        Self {
            id,
            object: "delivery",
            topic,
            status,
            attempt,
            answered,
            error,
            payload,
            next_at,
            created_at,
            finished_at,
        }
    }
}

/// Makes a webhook. Messages are signed as Standard Webhooks says.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", request_body = CreateWebhookBody,
    responses((status = 201, body = WebhookMadeBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn create_webhook(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiJson(CreateWebhookBody { url, topics }): ApiJson<CreateWebhookBody>,
) -> Result<(StatusCode, Extension<Unkept>, Json<WebhookMadeBody>), Problem> {
    let webhook = service.create_webhook(tenant, NewWebhook { url, topics }).await?;
    Ok((StatusCode::CREATED, Extension(Unkept), Json(webhook.into())))
}

/// Webhooks, newest first.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks",
    responses((status = 200, body = List<WebhookBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_webhooks(
    State(service): State<Service>,
    Caller(tenant): Caller,
) -> Result<Json<List<WebhookBody>>, Problem> {
    let webhooks = service.list_webhooks(tenant).await?;
    Ok(Json(List::whole(webhooks.into_iter().map(WebhookBody::from).collect())))
}

/// A webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    params(("webhook" = String, Path, description = "The webhook's id")),
    responses((status = 200, body = WebhookBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn find_webhook(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(webhook): ApiPath<WebhookId>,
) -> Result<Json<WebhookBody>, Problem> {
    Ok(Json(service.find_webhook(tenant, webhook).await?.into()))
}

/// Changes a webhook.
#[utoipa::path(
    patch, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    params(("webhook" = String, Path, description = "The webhook's id")),
    request_body = UpdateWebhookBody,
    responses((status = 200, body = WebhookBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn update_webhook(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(webhook): ApiPath<WebhookId>,
    ApiJson(UpdateWebhookBody { url, topics, enabled }): ApiJson<UpdateWebhookBody>,
) -> Result<Json<WebhookBody>, Problem> {
    let patch = WebhookPatch { url, topics, is_enabled: enabled };
    Ok(Json(service.update_webhook(tenant, webhook, patch).await?.into()))
}

/// Removes a webhook, and all that is on its way to it.
#[utoipa::path(
    delete, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    params(("webhook" = String, Path, description = "The webhook's id")),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn delete_webhook(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(webhook): ApiPath<WebhookId>,
) -> Result<StatusCode, Problem> {
    service.delete_webhook(tenant, webhook).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How to rotate a secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RotateWebhookBody {
    /// How long messages are signed with the old secret as well, in seconds: a day by default, at most 30.
    #[schema(default = 86_400, maximum = 2_592_000)]
    overlap_s: u32,
}

impl Default for RotateWebhookBody {
    fn default() -> Self {
        Self { overlap_s: 86_400 }
    }
}

/// Gives a webhook another secret. Messages carry both signatures for a while.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/rotate", tag = "webhooks",
    params(("webhook" = String, Path, description = "The webhook's id")),
    request_body = RotateWebhookBody,
    responses((status = 200, body = WebhookMadeBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn rotate_webhook(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(webhook): ApiPath<WebhookId>,
    ApiJson(RotateWebhookBody { overlap_s }): ApiJson<RotateWebhookBody>,
) -> Result<(Extension<Unkept>, Json<WebhookMadeBody>), Problem> {
    let overlap = Duration::from_secs(overlap_s.into());
    let webhook = service.rotate_webhook(tenant, webhook, overlap).await?;
    Ok((Extension(Unkept), Json(webhook.into())))
}

/// A message that is on its way.
#[derive(Debug, Serialize, ToSchema)]
struct PostedBody {
    /// The message's id.
    #[schema(value_type = String)]
    id: MessageId,
}

/// Sends a webhook a message that says nothing, to see whether it arrives.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/test", tag = "webhooks",
    params(("webhook" = String, Path, description = "The webhook's id")),
    responses((status = 202, body = PostedBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn test_webhook(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath(webhook): ApiPath<WebhookId>,
) -> Result<(StatusCode, Json<PostedBody>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(PostedBody { id: service.test_webhook(tenant, webhook).await? })))
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeliveryParams {
    /// Of this status only.
    #[param(value_type = Option<String>, pattern = "^(pending|delivered|dead)$")]
    status: Option<DeliveryStatus>,
    /// Most rows, 1 to 100.
    #[param(default = 20, minimum = 1, maximum = 100)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Messages to a webhook and what became of them, newest first. Those that have ended are kept for a week.
#[utoipa::path(
    get, path = "/v1/webhooks/{webhook}/deliveries", tag = "webhooks",
    params(("webhook" = String, Path, description = "The webhook's id"), DeliveryParams),
    responses((status = 200, body = List<DeliveryBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_deliveries(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(webhook): ApiPath<WebhookId>,
    ApiQuery(DeliveryParams { status, limit, after }): ApiQuery<DeliveryParams>,
) -> Result<Json<List<DeliveryBody>>, Problem> {
    let page = PageParams::new(limit, after);
    let rows = service.list_deliveries(tenant, webhook, status, page.page()?).await?;
    let key = |row: &Delivery| (row.message.created_at, row.message.id.to_string());
    Ok(Json(List::new(rows, page.limit()?, key, DeliveryBody::from)))
}

/// Sends a message again that was delivered or given up.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/deliveries/{message}/redeliver", tag = "webhooks",
    params(
        ("webhook" = String, Path, description = "The webhook's id"),
        ("message" = String, Path, description = "The message's id")
    ),
    responses((status = 202, body = DeliveryBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn redeliver(
    Maker(service): Maker,
    Caller(tenant): Caller,
    ApiPath((webhook, message)): ApiPath<(WebhookId, MessageId)>,
) -> Result<(StatusCode, Json<DeliveryBody>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(service.redeliver(tenant, webhook, message).await?.into())))
}
