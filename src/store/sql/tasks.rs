//! Tasks: rows, and the changes to them that other nouns bring about.

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::page::Bounds;
use super::row::{Fields, json, number};
use super::tx::TenantTx;
use super::{support, tenants};
use crate::domain::{Support, Task, TaskId, TaskPatch, Timestamp};
use crate::store::{Added, Page, StoreError};

pub(super) async fn create(
    tx: &mut TenantTx<'_>,
    task: &Task,
    examples: &[Support],
    max_tasks: usize,
) -> Result<Added, StoreError> {
    tenants::lock(tx).await?;
    if find(tx, task.id).await?.is_some() {
        return Ok(Added::default()); // made by the same request before
    }
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tasks WHERE tenant_id = $1")
        .bind(tx.tenant())
        .fetch_one(&mut **tx)
        .await?;
    if count >= number(max_tasks) {
        return Err(StoreError::Full { what: "tasks", limit: max_tasks });
    }
    sqlx::query(
        "INSERT INTO tasks (tenant_id, id, name, kind, base_model, labels, open_labels, metadata, active_version, \
         latest_version, revision, created_at, updated_at, settings, answers) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(tx.tenant())
    .bind(task.id.to_string())
    .bind(&task.name)
    .bind(task.kind.name())
    .bind(&task.base_model)
    .bind(json(&task.labels))
    .bind(i64::from(task.open_labels))
    .bind(json(&task.metadata))
    .bind(task.active_version.map(i64::from))
    .bind(task.latest_version.map(i64::from))
    .bind(number(task.revision))
    .bind(task.created_at.millis())
    .bind(task.updated_at.millis())
    .bind(json(&task.settings))
    .bind(json(&task.answers))
    .execute(&mut **tx)
    .await?;
    support::insert(tx, task.id, examples).await
}

/// The task.
pub(super) async fn find(tx: &mut TenantTx<'_>, id: TaskId) -> Result<Option<Task>, StoreError> {
    select(tx, id, "").await
}

/// The task, which stays as it is until the transaction ends.
pub(super) async fn find_locked(tx: &mut TenantTx<'_>, id: TaskId) -> Result<Option<Task>, StoreError> {
    let lock = tx.dialect().lock;
    select(tx, id, lock).await
}

async fn select(tx: &mut TenantTx<'_>, id: TaskId, lock: &str) -> Result<Option<Task>, StoreError> {
    let statement = format!("SELECT * FROM tasks WHERE tenant_id = $1 AND id = $2{lock}");
    let row =
        sqlx::query(AssertSqlSafe(statement)).bind(tx.tenant()).bind(id.to_string()).fetch_optional(&mut **tx).await?;
    row.map(|row| task(&row)).transpose()
}

pub(super) async fn list(tx: &mut TenantTx<'_>, page: Page<TaskId>) -> Result<Vec<Task>, StoreError> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT * FROM tasks WHERE tenant_id = $1 AND (created_at, id) < ($2, $3) \
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(tx.tenant())
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(task).collect()
}

pub(super) async fn update(
    tx: &mut TenantTx<'_>,
    id: TaskId,
    patch: TaskPatch,
    revision: Option<u64>,
    now: Timestamp,
) -> Result<Option<Task>, StoreError> {
    let Some(mut task) = find_locked(tx, id).await? else { return Ok(None) };
    if revision.is_some_and(|revision| revision != task.revision) {
        return Err(StoreError::Conflict);
    }
    add_labels(&mut task, &patch.add_labels);
    task.name = patch.name.unwrap_or(task.name);
    task.metadata = patch.metadata.unwrap_or(task.metadata);
    task.settings = patch.settings.unwrap_or(task.settings);
    task.answers = patch.answers.unwrap_or(task.answers);
    save(tx, &mut task, now).await?;
    Ok(Some(task))
}

/// Appends the labels that the task does not have; whether there were any.
pub(super) fn add_labels(task: &mut Task, labels: &[String]) -> bool {
    let before = task.labels.len();
    for label in labels {
        if !task.labels.contains(label) {
            task.labels.push(label.clone());
        }
    }
    task.labels.len() > before
}

/// Writes what can change of a task that is locked, as its next revision.
pub(super) async fn save(tx: &mut TenantTx<'_>, task: &mut Task, now: Timestamp) -> Result<(), StoreError> {
    task.revision += 1;
    task.updated_at = now;
    sqlx::query(
        "UPDATE tasks SET name = $3, labels = $4, metadata = $5, active_version = $6, latest_version = $7, \
         revision = $8, updated_at = $9, settings = $10, answers = $11 WHERE tenant_id = $1 AND id = $2",
    )
    .bind(tx.tenant())
    .bind(task.id.to_string())
    .bind(&task.name)
    .bind(json(&task.labels))
    .bind(json(&task.metadata))
    .bind(task.active_version.map(i64::from))
    .bind(task.latest_version.map(i64::from))
    .bind(number(task.revision))
    .bind(task.updated_at.millis())
    .bind(json(&task.settings))
    .bind(json(&task.answers))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What belongs to the task goes with it, by its foreign keys.
pub(super) async fn delete(tx: &mut TenantTx<'_>, id: TaskId) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM tasks WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) fn task(row: &AnyRow) -> Result<Task, StoreError> {
    let fields = Fields::of("tasks", row);
    Ok(Task {
        id: fields.parse("id")?,
        name: fields.get("name")?,
        kind: fields.parse("kind")?,
        base_model: fields.get("base_model")?,
        labels: fields.json("labels")?,
        open_labels: fields.flag("open_labels")?,
        metadata: fields.json("metadata")?,
        settings: fields.json("settings")?,
        answers: fields.json("answers")?,
        is_monitored: fields.number::<u32>("monitors")? > 0,
        active_version: fields.number_if_any("active_version")?,
        latest_version: fields.number_if_any("latest_version")?,
        revision: fields.number("revision")?,
        created_at: fields.moment("created_at")?,
        updated_at: fields.moment("updated_at")?,
    })
}
