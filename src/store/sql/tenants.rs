//! Tenants and their keys.

use sqlx::any::AnyRow;

use super::page::Bounds;
use super::row::Fields;
use super::tx::{SystemTx, TenantTx};
use crate::domain::{KeyId, KeyRecord, Tenant, TenantId, Timestamp};
use crate::store::{Page, StoreError};

pub(super) async fn create(tx: &mut SystemTx<'_>, tenant: &Tenant) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(tenant.id.to_string())
        .bind(&tenant.name)
        .bind(tenant.created_at.millis())
        .execute(&mut **tx)
        .await
        .map_err(|error| taken(error, "a tenant of this name"))?;
    Ok(())
}

pub(super) async fn find(tx: &mut SystemTx<'_>, name: &str) -> Result<Option<Tenant>, StoreError> {
    let row = sqlx::query("SELECT id, name, created_at FROM tenants WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| tenant(&row)).transpose()
}

/// All of them, newest first.
pub(super) async fn list(tx: &mut SystemTx<'_>, page: Page<TenantId>) -> Result<Vec<Tenant>, StoreError> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT id, name, created_at FROM tenants WHERE (created_at, id) < ($1, $2) \
         ORDER BY created_at DESC, id DESC LIMIT $3",
    )
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(tenant).collect()
}

/// Whether there is one of that id.
pub(super) async fn is_there(tx: &mut TenantTx<'_>) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT id FROM tenants WHERE id = $1").bind(tx.tenant()).fetch_optional(&mut **tx).await?;
    Ok(row.is_some())
}

/// Makes calls that count a tenant's things wait for each other. A tenant that is not there is
/// [`sqlx::Error::RowNotFound`]: tenants come from keys, and keys have tenants.
pub(super) async fn lock(tx: &mut TenantTx<'_>) -> Result<(), StoreError> {
    let statement = format!("SELECT id FROM tenants WHERE id = $1{}", tx.dialect().lock);
    sqlx::query(sqlx::AssertSqlSafe(statement)).bind(tx.tenant()).fetch_one(&mut **tx).await?;
    Ok(())
}

pub(super) async fn create_key(tx: &mut SystemTx<'_>, key: &KeyRecord) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO keys (id, tenant_id, digest, created_at, scope, expires_at, name) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key.id.to_string())
    .bind(key.tenant.to_string())
    .bind(&key.digest[..])
    .bind(key.created_at.millis())
    .bind(key.scope.name())
    .bind(key.expires_at.map(Timestamp::millis))
    .bind(key.name.as_deref())
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, "a key of this id"))?;
    Ok(())
}

pub(super) async fn find_key(tx: &mut SystemTx<'_>, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
    let row = sqlx::query("SELECT id, tenant_id, digest, created_at, scope, expires_at, name FROM keys WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| key(&row)).transpose()
}

pub(super) async fn list_keys(tx: &mut TenantTx<'_>) -> Result<Vec<KeyRecord>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, tenant_id, digest, created_at, scope, expires_at, name FROM keys WHERE tenant_id = $1 \
         ORDER BY created_at DESC, id DESC",
    )
    .bind(tx.tenant())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(key).collect()
}

pub(super) async fn end_key(tx: &mut TenantTx<'_>, id: KeyId, at: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE keys SET expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(at.millis())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn delete_key(tx: &mut TenantTx<'_>, id: KeyId) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM keys WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A fault of the database, or that something is there already.
pub(super) fn taken(error: sqlx::Error, what: &'static str) -> StoreError {
    let is_taken = error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
    if is_taken { StoreError::Exists(what) } else { error.into() }
}

fn tenant(row: &AnyRow) -> Result<Tenant, StoreError> {
    let fields = Fields::of("tenants", row);
    Ok(Tenant { id: fields.parse("id")?, name: fields.get("name")?, created_at: fields.moment("created_at")? })
}

fn key(row: &AnyRow) -> Result<KeyRecord, StoreError> {
    let fields = Fields::of("keys", row);
    let digest: &[u8] = fields.get("digest")?;
    Ok(KeyRecord {
        id: fields.parse("id")?,
        tenant: fields.parse("tenant_id")?,
        digest: digest.try_into().map_err(|error| fields.unreadable("digest", error))?,
        name: fields.get("name")?,
        scope: fields.parse("scope")?,
        created_at: fields.moment("created_at")?,
        expires_at: fields.moment_if_any("expires_at")?,
    })
}
