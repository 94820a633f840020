//! The operator's listener: metrics, and tenants with their keys.
//!
//! Metrics are open to whoever reaches it. Tenants are for the holder of the operator's token; without one, they are
//! there only where the listener cannot be reached from other machines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::SetRequestIdLayer;

use super::deed::Deed;
use super::extract::{ApiJson, ApiPath, ApiQuery, credential};
use super::page::{List, PageParams};
use super::problem::{self, Problem};
use super::routes::keys::{CreateKeyBody, KeyBody, KeyMadeBody, RotateKeyBody};
use super::routes::ledger::ReceiptBody;
use super::{REQUEST_ID, RequestIds};
use crate::domain::{Erasure, IdSource, KeyId, Tenant, TenantId, Timestamp};
use crate::service::{Service, ServiceError};

/// Where tenants are.
const TENANTS: &str = "/admin/v1/tenants/";

/// Who may use the operator's listener.
#[derive(Clone, Debug)]
pub struct Operator {
    /// SHA-256 of the token; none where reaching the listener is enough.
    digest: Option<[u8; 32]>,
}

impl Operator {
    /// With a token, or without one on an address of this machine alone; none elsewhere.
    pub fn new(token: Option<&str>, address: SocketAddr) -> Option<Self> {
        let digest = token.map(|token| Sha256::digest(token.trim().as_bytes()).into());
        (digest.is_some() || address.ip().is_loopback()).then_some(Self { digest })
    }

    fn lets_in(&self, credential: Option<&str>) -> bool {
        let Some(digest) = self.digest else { return true };
        credential.is_some_and(|sent| Sha256::digest(sent.as_bytes()).ct_eq(&digest).into())
    }
}

/// What the operator's listener serves: the metrics that `render` writes, in Prometheus' text format, and tenants if
/// there is an `operator`.
pub fn admin(
    render: impl Fn() -> String + Clone + Send + Sync + 'static,
    operator: Option<Operator>,
    service: Service,
    ids: Arc<dyn IdSource>,
) -> Router {
    let text = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    let metrics = Router::new().route("/metrics", get(move || async move { ([text], render()) }));
    let router = match operator {
        None => metrics,
        Some(operator) => metrics.merge(
            Router::new()
                .route("/admin/v1/tenants", get(list_tenants).post(create_tenant))
                .route("/admin/v1/tenants/{tenant}", delete(erase_tenant))
                .route("/admin/v1/tenants/{tenant}/receipts", get(list_receipts))
                .route("/admin/v1/tenants/{tenant}/keys", get(list_keys).post(create_key))
                .route("/admin/v1/tenants/{tenant}/keys/{key}", delete(revoke_key))
                .route("/admin/v1/tenants/{tenant}/keys/{key}/rotate", post(rotate_key))
                .layer(from_fn_with_state((operator, service.clone()), check))
                .with_state(service),
        ),
    };
    router
        .fallback(|| async { Problem::by_status(StatusCode::NOT_FOUND) })
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn(problem::render))
        .layer(SetRequestIdLayer::new(REQUEST_ID, RequestIds(ids)))
}

/// Lets the operator in. What operators change is in the audit log of whose it is, without a key.
async fn check(State((operator, service)): State<(Operator, Service)>, request: Request, next: Next) -> Response {
    if !operator.lets_in(credential(request.headers())) {
        return Problem::from(ServiceError::Unauthenticated).into_response();
    }
    let of_tenant = request.uri().path().strip_prefix(TENANTS).and_then(|rest| rest.split('/').next()?.parse().ok());
    match of_tenant.filter(|_| request.method() != Method::GET) {
        Some(tenant) => Deed::of(&request).done(service, (tenant, None), next.run(request)).await,
        None => next.run(request).await,
    }
}

/// A tenant to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateTenantBody {
    name: String,
}

#[derive(Debug, Serialize)]
struct TenantBody {
    id: TenantId,
    object: &'static str,
    name: String,
    created_at: Timestamp,
}

impl From<Tenant> for TenantBody {
    fn from(Tenant { id, name, created_at }: Tenant) -> Self {
        Self { id, object: "tenant", name, created_at }
    }
}

/// Tenants, newest first.
async fn list_tenants(
    State(service): State<Service>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<TenantBody>>, Problem> {
    let rows = service.list_tenants(page.page()?).await?;
    Ok(Json(List::new(rows, page.limit()?, |row| (row.created_at, row.id.to_string()), TenantBody::from)))
}

/// The tenant of that name, made if it is not there.
async fn create_tenant(
    State(service): State<Service>,
    ApiJson(CreateTenantBody { name }): ApiJson<CreateTenantBody>,
) -> Result<(StatusCode, Json<TenantBody>), Problem> {
    Ok((StatusCode::CREATED, Json(service.create_tenant(&name).await?.into())))
}

/// Removes a tenant and all that belongs to it, for good.
async fn erase_tenant(
    State(service): State<Service>,
    ApiPath(tenant): ApiPath<TenantId>,
) -> Result<Json<ReceiptBody>, Problem> {
    service.check_tenant(tenant).await?;
    Ok(Json(service.erase(tenant, Erasure::Tenant).await?.into()))
}

/// Receipts of a tenant, which may be gone.
async fn list_receipts(
    State(service): State<Service>,
    ApiPath(tenant): ApiPath<TenantId>,
    ApiQuery(page): ApiQuery<PageParams>,
) -> Result<Json<List<ReceiptBody>>, Problem> {
    ReceiptBody::list(&service, tenant, &page).await
}

async fn list_keys(
    State(service): State<Service>,
    ApiPath(tenant): ApiPath<TenantId>,
) -> Result<Json<List<KeyBody>>, Problem> {
    service.check_tenant(tenant).await?;
    let keys = service.list_keys(tenant).await?;
    Ok(Json(List::whole(keys.into_iter().map(KeyBody::from).collect())))
}

async fn create_key(
    State(service): State<Service>,
    ApiPath(tenant): ApiPath<TenantId>,
    ApiJson(body): ApiJson<CreateKeyBody>,
) -> Result<(StatusCode, Json<KeyMadeBody>), Problem> {
    service.check_tenant(tenant).await?;
    Ok((StatusCode::CREATED, Json(service.create_key(tenant, body.try_into()?).await?.into())))
}

async fn revoke_key(
    State(service): State<Service>,
    ApiPath((tenant, key)): ApiPath<(TenantId, KeyId)>,
) -> Result<StatusCode, Problem> {
    service.revoke_key(tenant, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate_key(
    State(service): State<Service>,
    ApiPath((tenant, key)): ApiPath<(TenantId, KeyId)>,
    ApiJson(RotateKeyBody { overlap_s }): ApiJson<RotateKeyBody>,
) -> Result<(StatusCode, Json<KeyMadeBody>), Problem> {
    let made = service.rotate_key(tenant, key, Duration::from_secs(overlap_s.into())).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}
