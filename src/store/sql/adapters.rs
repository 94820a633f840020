//! Adapters: their rows, and their bytes.

use std::sync::LazyLock;

use sqlx::AssertSqlSafe;

use super::row::{Fields, json, number};
use super::tasks;
use super::tx::TenantTx;
use crate::domain::{Adapter, AdapterBlob, AdapterId, AdapterOrigin, TaskId};
use crate::faults::{self, Site};
use crate::store::{ActiveBase, Answering, StoreError};

/// Everything but the bytes.
const COLUMNS: &str = "id, task_id, version, base_model, base_sha256, support_hash, support_count, recipe, labels, \
                       sha256, size_bytes, quality, created_at";

/// The same beside the columns of a task.
static JOINED: LazyLock<String> = LazyLock::new(|| {
    let joined = |column: &str| format!("adapters.{column} AS adapters_{column}");
    COLUMNS.split(", ").map(joined).collect::<Vec<_>>().join(", ")
});

/// By task, those that answer.
pub(super) async fn active_bases(
    tx: &mut TenantTx<'_>,
    after: Option<TaskId>,
    limit: usize,
) -> Result<Vec<ActiveBase>, StoreError> {
    let rows = sqlx::query(
        "SELECT tasks.id, tasks.base_model, adapters.base_sha256, adapters.recipe FROM tasks JOIN adapters \
         ON adapters.tenant_id = tasks.tenant_id AND adapters.task_id = tasks.id \
         AND adapters.version = tasks.active_version \
         WHERE tasks.tenant_id = $1 AND tasks.id > $2 ORDER BY tasks.id LIMIT $3",
    )
    .bind(tx.tenant())
    .bind(after.map(|task| task.to_string()).unwrap_or_default())
    .bind(number(limit))
    .fetch_all(&mut **tx)
    .await?;
    let active = |row| {
        let fields = Fields::of("tasks", row);
        Ok(ActiveBase {
            task: fields.parse("id")?,
            base_model: fields.get("base_model")?,
            base_sha256: fields.get("base_sha256")?,
            recipe: fields.json("recipe")?,
        })
    };
    rows.iter().map(active).collect()
}

/// Its length and digest are taken from the bytes themselves.
pub(super) async fn insert(tx: &mut TenantTx<'_>, adapter: &Adapter, blob: &AdapterBlob) -> Result<(), StoreError> {
    let statement = format!(
        "INSERT INTO adapters (tenant_id, {COLUMNS}, bytes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(adapter.id.to_string())
        .bind(adapter.task.to_string())
        .bind(i64::from(adapter.version))
        .bind(&adapter.base_model)
        .bind(&adapter.base_sha256)
        .bind(&adapter.support_hash)
        .bind(number(adapter.support_count))
        .bind(json(&adapter.recipe))
        .bind(json(&adapter.labels))
        .bind(blob.sha256())
        .bind(number(blob.bytes().len()))
        .bind(adapter.quality.as_ref().map(json))
        .bind(adapter.created_at.millis())
        .bind(blob.bytes())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The version of the task that would come out of the same adaptation again.
///
/// Labels count, though the request for reuse is about base, support and recipe: the support hash knows classes by
/// number, and after examples were removed and others added the same numbers can stand for other labels.
pub(super) async fn find_from(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    origin: &AdapterOrigin,
) -> Result<Option<u32>, StoreError> {
    let row = sqlx::query(
        "SELECT version FROM adapters WHERE tenant_id = $1 AND task_id = $2 AND support_hash = $3 \
         AND base_sha256 = $4 AND recipe = $5 AND labels = $6 ORDER BY version DESC LIMIT 1",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(&origin.support_hash)
    .bind(&origin.base_sha256)
    .bind(json(&origin.recipe))
    .bind(json(&origin.labels))
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Fields::of("adapters", &row).number("version")).transpose()
}

/// The version of the task that has the same bytes and labels.
pub(super) async fn find_same(tx: &mut TenantTx<'_>, adapter: &Adapter) -> Result<Option<u32>, StoreError> {
    let row = sqlx::query(
        "SELECT version FROM adapters WHERE tenant_id = $1 AND task_id = $2 AND sha256 = $3 AND labels = $4 \
         ORDER BY version DESC LIMIT 1",
    )
    .bind(tx.tenant())
    .bind(adapter.task.to_string())
    .bind(&adapter.sha256)
    .bind(json(&adapter.labels))
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Fields::of("adapters", &row).number("version")).transpose()
}

pub(super) async fn find(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    version: Option<u32>,
) -> Result<Option<Adapter>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS} FROM adapters WHERE tenant_id = $1 AND task_id = $2 AND version = \
         COALESCE($3, (SELECT active_version FROM tasks WHERE tenant_id = $1 AND id = $2))"
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(task.to_string())
        .bind(version.map(i64::from))
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| adapter(&Fields::of("adapters", &row))).transpose()
}

/// The task, and its adapter of that version or the active one.
pub(super) async fn find_answering(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    version: Option<u32>,
) -> Result<Option<Answering>, StoreError> {
    let statement = format!(
        "SELECT tasks.*, {} FROM tasks LEFT JOIN adapters \
         ON adapters.tenant_id = tasks.tenant_id AND adapters.task_id = tasks.id \
         AND adapters.version = COALESCE($3, tasks.active_version) WHERE tasks.tenant_id = $1 AND tasks.id = $2",
        *JOINED
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(task.to_string())
        .bind(version.map(i64::from))
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let fields = Fields::joined("adapters", &row);
    let found = fields.get::<Option<&str>>("id")?.map(|_| adapter(&fields)).transpose()?;
    Ok(Some(Answering { task: tasks::task(&row)?, adapter: found }))
}

pub(super) async fn load(tx: &mut TenantTx<'_>, id: AdapterId) -> Result<Option<AdapterBlob>, StoreError> {
    let row = sqlx::query("SELECT sha256, size_bytes, bytes FROM adapters WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    faults::pass(Site::Loaded).await?;
    let fields = Fields::of("adapters", &row);
    let (size, bytes): (usize, Vec<u8>) = (fields.number("size_bytes")?, fields.get("bytes")?);
    if bytes.len() != size {
        return Err(StoreError::Corrupt(id));
    }
    AdapterBlob::verified(bytes, fields.get("sha256")?).map(Some).ok_or(StoreError::Corrupt(id))
}

pub(super) async fn list(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    before: Option<u32>,
    limit: usize,
) -> Result<Vec<Adapter>, StoreError> {
    let statement = format!(
        "SELECT {COLUMNS} FROM adapters WHERE tenant_id = $1 AND task_id = $2 AND version < $3 \
         ORDER BY version DESC LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(task.to_string())
        .bind(before.map_or(i64::MAX, i64::from))
        .bind(number(limit))
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(|row| adapter(&Fields::of("adapters", row))).collect()
}

fn adapter(fields: &Fields<'_>) -> Result<Adapter, StoreError> {
    Ok(Adapter {
        id: fields.parse("id")?,
        task: fields.parse("task_id")?,
        version: fields.number("version")?,
        base_model: fields.get("base_model")?,
        base_sha256: fields.get("base_sha256")?,
        support_hash: fields.get("support_hash")?,
        support_count: fields.number("support_count")?,
        recipe: fields.json("recipe")?,
        labels: fields.json("labels")?,
        sha256: fields.get("sha256")?,
        size_bytes: fields.number("size_bytes")?,
        quality: fields.json_if_any("quality")?,
        created_at: fields.moment("created_at")?,
    })
}
