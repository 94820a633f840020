//! A tenant's keys. They are shown once, when they are made, so a repeated request makes another: these routes take no
//! `Idempotency-Key`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{KeyId, KeyRecord, Scope, Timestamp};
use crate::http::AppState;
use crate::http::extract::{ApiJson, ApiPath, Caller};
use crate::http::page::List;
use crate::http::problem::{Problem, ProblemBody};
use crate::service::Service;
use crate::service::keys::{KeyMade, NewKey};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(create_key, list_keys)).routes(routes!(revoke_key)).routes(routes!(rotate_key))
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyBody {
    /// What to call it.
    #[schema(example = "ci", min_length = 1, max_length = 128)]
    name: Option<String>,
    /// What it may do: `predict` (read and ask), `adapt` (change things, too) or `admin` (make keys, too).
    #[schema(value_type = String, required = true, example = "predict", pattern = "^(predict|adapt|admin)$")]
    scope: Option<Scope>,
    /// How long it is valid, in seconds; for ever by default.
    #[schema(minimum = 1)]
    expires_in_s: Option<u32>,
}

impl TryFrom<CreateKeyBody> for NewKey {
    type Error = Problem;

    fn try_from(CreateKeyBody { name, scope, expires_in_s }: CreateKeyBody) -> Result<Self, Problem> {
        let missing = || "missing field `scope`: `predict`, `adapt` or `admin`".to_owned();
        let scope = scope.ok_or_else(|| Problem::wrong_form("/scope".to_owned(), missing()))?;
        Ok(Self { name, scope, valid_for: expires_in_s.map(|seconds| Duration::from_secs(seconds.into())) })
    }
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyBody {
    /// Its id: the public half.
    #[schema(value_type = String, example = "key_0123456789abcdefghjkmnpqrs")]
    id: KeyId,
    /// `key`
    object: &'static str,
    /// What it is called.
    name: Option<String>,
    /// What it may do.
    #[schema(value_type = String)]
    scope: Scope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyMadeBody {
    /// The whole key: it is shown now and never again.
    secret: String,
    /// The key.
    key: KeyBody,
}

impl From<KeyRecord> for KeyBody {
    fn from(KeyRecord { id, name, scope, created_at, expires_at, .. }: KeyRecord) -> Self {
        Self { id, object: "key", name, scope, created_at, expires_at }
    }
}

impl From<KeyMade> for KeyMadeBody {
    fn from(KeyMade { key, record }: KeyMade) -> Self {
        Self { secret: key.reveal().to_owned(), key: record.into() }
    }
}

/// Makes a key.
#[utoipa::path(
    post, path = "/v1/keys", tag = "server", request_body = CreateKeyBody,
    responses((status = 201, body = KeyMadeBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn create_key(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiJson(body): ApiJson<CreateKeyBody>,
) -> Result<(StatusCode, Json<KeyMadeBody>), Problem> {
    Ok((StatusCode::CREATED, Json(service.create_key(tenant, body.try_into()?).await?.into())))
}

/// Keys of the tenant, newest first, without their secrets.
#[utoipa::path(
    get, path = "/v1/keys", tag = "server",
    responses((status = 200, body = List<KeyBody>), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn list_keys(State(service): State<Service>, Caller(tenant): Caller) -> Result<Json<List<KeyBody>>, Problem> {
    let keys = service.list_keys(tenant).await?;
    Ok(Json(List::whole(keys.into_iter().map(KeyBody::from).collect())))
}

/// Ends a key: here at once, on other servers within half a minute.
#[utoipa::path(
    delete, path = "/v1/keys/{key}", tag = "server",
    params(("key" = String, Path, description = "The key's id")),
    responses((status = 204), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn revoke_key(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(key): ApiPath<KeyId>,
) -> Result<StatusCode, Problem> {
    service.revoke_key(tenant, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How to rotate a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateKeyBody {
    /// How long the old key stays valid beside the new one, in seconds.
    pub overlap_s: u32,
}

impl Default for RotateKeyBody {
    fn default() -> Self {
        Self { overlap_s: 3600 }
    }
}

/// Makes a key in the place of another, which stays valid for a while.
#[utoipa::path(
    post, path = "/v1/keys/{key}/rotate", tag = "server",
    params(("key" = String, Path, description = "The key's id")),
    request_body = RotateKeyBody,
    responses((status = 201, body = KeyMadeBody), (status = "4XX", body = ProblemBody), (status = "5XX", body = ProblemBody))
)]
async fn rotate_key(
    State(service): State<Service>,
    Caller(tenant): Caller,
    ApiPath(key): ApiPath<KeyId>,
    ApiJson(RotateKeyBody { overlap_s }): ApiJson<RotateKeyBody>,
) -> Result<(StatusCode, Json<KeyMadeBody>), Problem> {
    let made = service.rotate_key(tenant, key, Duration::from_secs(overlap_s.into())).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}
