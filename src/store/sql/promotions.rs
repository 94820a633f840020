//! Which adapter answers: a stack of promotions for each task. Its top is the active version.
//!
//! Promoting puts a version on top, rolling back takes the top off, so that repeated rollbacks walk back the way that
//! the task came. Promotions that were rolled back stay in the table, marked, as history.

use super::row::Fields;
use super::tx::TenantTx;
use super::{adapters, tasks};
use crate::domain::{Adapter, AdapterBlob, Promoted, Promotion, Task, TaskId, Timestamp};
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

/// Which versions answered when, oldest first, those that were taken back included.
pub(super) async fn list(tx: &mut TenantTx<'_>, id: TaskId) -> Result<Vec<Promoted>, StoreError> {
    let rows = sqlx::query(
        "SELECT version, promoted_at, undone_at FROM promotions WHERE tenant_id = $1 AND task_id = $2 ORDER BY place",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .fetch_all(&mut **tx)
    .await?;
    let promoted = |row| {
        let fields = Fields::of("promotions", row);
        Ok(Promoted {
            version: fields.number("version")?,
            promoted_at: fields.moment("promoted_at")?,
            undone_at: fields.moment_if_any("undone_at")?,
        })
    };
    rows.iter().map(promoted).collect()
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

/// Puts a version on top if the policy says so; whether the task changed, and is to be saved.
pub(super) async fn offer(
    tx: &mut TenantTx<'_>,
    task: &mut Task,
    version: u32,
    promote: Promotion,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let is_wanted = match promote {
        Promotion::Always => true,
        Promotion::IfBetter => is_better(tx, task, version).await?,
        Promotion::Never => false,
    };
    Ok(is_wanted && push(tx, task, version, now).await?)
}

async fn is_better(tx: &mut TenantTx<'_>, task: &Task, version: u32) -> Result<bool, StoreError> {
    let Some(active) = task.active_version else { return Ok(true) };
    let quality = |adapter: Option<Adapter>| adapter.and_then(|adapter| adapter.quality);
    let active = quality(adapters::find(tx, task.id, Some(active)).await?);
    let offered = quality(adapters::find(tx, task.id, Some(version)).await?);
    Ok(offered.zip(active).is_some_and(|(offered, active)| offered.is_at_least(&active)))
}

/// Adds an adapter that was made elsewhere, unless its bytes are there.
pub(super) async fn import(
    tx: &mut TenantTx<'_>,
    adapter: Adapter,
    blob: &AdapterBlob,
    promote: Promotion,
    now: Timestamp,
) -> Result<Option<Adapter>, StoreError> {
    let id = adapter.task;
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(None) };
    let known = adapters::find_same(tx, &adapter).await?;
    let version = known.unwrap_or_else(|| task.latest_version.unwrap_or(0) + 1);
    if known.is_none() {
        adapters::insert(tx, &Adapter { version, ..adapter }, blob).await?;
        task.latest_version = Some(version);
    }
    let is_promoted = offer(tx, &mut task, version, promote, now).await?;
    if known.is_none() || is_promoted {
        tasks::save(tx, &mut task, now).await?;
    }
    adapters::find(tx, id, Some(version)).await
}

/// Once for each `token`.
pub(super) async fn rollback(
    tx: &mut TenantTx<'_>,
    id: TaskId,
    token: &str,
    now: Timestamp,
) -> Result<Option<Task>, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(None) };
    let undone: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM promotions WHERE tenant_id = $1 AND task_id = $2 AND undone_by = $3")
            .bind(tx.tenant())
            .bind(id.to_string())
            .bind(token)
            .fetch_one(&mut **tx)
            .await?;
    if undone > 0 {
        return Ok(Some(task));
    }
    let stack: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT place, version FROM promotions WHERE tenant_id = $1 AND task_id = $2 AND undone_at IS NULL \
         ORDER BY place DESC LIMIT 2",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .fetch_all(&mut **tx)
    .await?;
    let [(top, _), (_, before)] = stack[..] else { return Ok(None) };
    sqlx::query(
        "UPDATE promotions SET undone_at = $4, undone_by = $5 WHERE tenant_id = $1 AND task_id = $2 AND place = $3",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(top)
    .bind(now.millis())
    .bind(token)
    .execute(&mut **tx)
    .await?;
    task.active_version = u32::try_from(before).ok();
    tasks::save(tx, &mut task, now).await?;
    Ok(Some(task))
}
