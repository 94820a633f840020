//! Which adapter answers: a stack of promotions for each task. Its top is the active version.
//!
//! Promoting puts a version on top, rolling back takes the top off, so that repeated rollbacks walk back the way that
//! the task came. Promotions that were rolled back stay in the table, marked, as history.

use super::tx::TenantTx;
use super::{adapters, tasks};
use crate::domain::{Task, TaskId, Timestamp};
use crate::store::StoreError;

pub(super) async fn promote(
    tx: &mut TenantTx<'_>,
    id: TaskId,
    version: u32,
    now: Timestamp,
) -> Result<Option<Task>, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(None) };
    if adapters::find(tx, id, Some(version)).await?.is_none() {
        return Ok(None);
    }
    if push(tx, &mut task, version, now).await? {
        tasks::save(tx, &mut task, now).await?;
    }
    Ok(Some(task))
}

/// Puts a version on top, unless it is there already; whether the task changed, and is to be saved.
pub(super) async fn push(
    tx: &mut TenantTx<'_>,
    task: &mut Task,
    version: u32,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if task.active_version == Some(version) {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO promotions (tenant_id, task_id, place, version, promoted_at) \
         SELECT $1, $2, COALESCE(MAX(place), 0) + 1, $3, $4 FROM promotions WHERE tenant_id = $1 AND task_id = $2",
    )
    .bind(tx.tenant())
    .bind(task.id.to_string())
    .bind(i64::from(version))
    .bind(now.millis())
    .execute(&mut **tx)
    .await?;
    task.active_version = Some(version);
    Ok(true)
}

pub(super) async fn rollback(tx: &mut TenantTx<'_>, id: TaskId, now: Timestamp) -> Result<Option<Task>, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(None) };
    let stack: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT place, version FROM promotions WHERE tenant_id = $1 AND task_id = $2 AND undone_at IS NULL \
         ORDER BY place DESC LIMIT 2",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .fetch_all(&mut **tx)
    .await?;
    let [(top, _), (_, before)] = stack[..] else { return Ok(None) };
    sqlx::query("UPDATE promotions SET undone_at = $4 WHERE tenant_id = $1 AND task_id = $2 AND place = $3")
        .bind(tx.tenant())
        .bind(id.to_string())
        .bind(top)
        .bind(now.millis())
        .execute(&mut **tx)
        .await?;
    task.active_version = u32::try_from(before).ok();
    tasks::save(tx, &mut task, now).await?;
    Ok(Some(task))
}
