//! The queue as workers see it: claim, renew, complete.
//!
//! A claim counts the attempt before the work starts, so that a job which kills its worker runs out of attempts. The
//! attempt is the fence, too: every later write names it, and a worker whose lease was taken over writes nothing.
//! All moments are the database's, so that workers' clocks need not agree.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::row::{Fields, json, number};
use super::tx::{SystemTx, TenantTx};
use super::{adaptations, adapters, events, promotions, tasks};
use crate::domain::{
    Adaptation, AdaptationId, AdaptationStatus, Adapter, AdapterBlob, Failure, News, Promotion, Task, TaskId, TenantId,
    Timestamp,
};
use crate::store::{Claim, Completion, MAX_ATTEMPTS, StoreError};

pub(super) async fn claim(mut tx: SystemTx<'_>, worker: &str, lease: Duration) -> Result<Option<Claim>, StoreError> {
    let now = tx.dialect().now(&mut tx).await?;
    fail_spent(&mut tx, now).await?;
    let Some((tenant, id)) = next(&mut tx, now).await? else { return Ok(None) };
    sqlx::query(
        "UPDATE adaptations SET status = 'running', attempt = attempt + 1, worker = $2, lease_until = $3, \
         started_at = $4 WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(worker)
    .bind(now.millis().saturating_add(number(lease.as_millis())))
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE tenants SET turn = (SELECT MAX(turn) + 1 FROM tenants) WHERE id = $1")
        .bind(tenant.to_string())
        .execute(&mut *tx)
        .await?;
    let mut tx = tx.enter(tenant).await?;
    let Some(adaptation) = adaptations::find(&mut tx, id).await? else { return Ok(None) };
    let news = News::Status { status: adaptation.status, attempt: adaptation.attempt };
    events::note(&mut tx, id, &news, now).await?;
    let task = tasks::find(&mut tx, adaptation.task).await?;
    Ok(task.map(|task| Claim { tenant, adaptation, task }))
}

/// Fails the jobs whose last attempt was lost with its worker.
async fn fail_spent(tx: &mut SystemTx<'_>, now: Timestamp) -> Result<(), StoreError> {
    let failure = Failure {
        code: "lease_expired".to_owned(),
        detail: format!("no worker finished it in {MAX_ATTEMPTS} attempts; try a smaller support set"),
    };
    let statement = format!(
        "UPDATE adaptations SET status = 'failed', failure = $3, finished_at = $1, worker = NULL, lease_until = NULL \
         WHERE id IN (SELECT a.id FROM adaptations AS a \
         WHERE a.status = 'running' AND a.lease_until < $1 AND a.attempt >= $2{})",
        tx.dialect().lock_free_job
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(now.millis())
        .bind(i64::from(MAX_ATTEMPTS))
        .bind(json(&failure))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The oldest job of the tenant whose turn is longest ago: a flood from one tenant delays another by one job.
async fn next(tx: &mut SystemTx<'_>, now: Timestamp) -> Result<Option<(TenantId, AdaptationId)>, StoreError> {
    let statement = format!(
        "SELECT a.tenant_id, a.id FROM adaptations AS a JOIN tenants AS t ON t.id = a.tenant_id \
         WHERE a.status = 'queued' OR (a.status = 'running' AND a.lease_until < $1 AND a.attempt < $2) \
         ORDER BY t.turn, a.created_at, a.id LIMIT 1{}",
        tx.dialect().lock_free_job
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(now.millis())
        .bind(i64::from(MAX_ATTEMPTS))
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        let fields = Fields { table: "adaptations", row: &row };
        Ok((fields.parse("tenant_id")?, fields.parse("id")?))
    })
    .transpose()
}

pub(super) async fn renew(
    tx: &mut TenantTx<'_>,
    id: AdaptationId,
    attempt: u32,
    lease: Duration,
) -> Result<bool, StoreError> {
    let statement = format!(
        "UPDATE adaptations SET lease_until = {} + $4 \
         WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
        tx.dialect().clock
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(id.to_string())
        .bind(i64::from(attempt))
        .bind(number(lease.as_millis()))
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A job that one attempt holds.
struct Held {
    task: TaskId,
    id: AdaptationId,
    attempt: u32,
    promote: Promotion,
}

pub(super) async fn complete(
    tx: &mut TenantTx<'_>,
    id: AdaptationId,
    attempt: u32,
    completion: Completion,
) -> Result<Option<Adaptation>, StoreError> {
    let Some(held) = held(tx, id, attempt).await? else { return Ok(None) };
    let now = tx.dialect().now(tx).await?;
    let is_ours = match completion {
        Completion::Adapted(adapter, blob) => succeed(tx, &held, *adapter, &blob, now).await?,
        Completion::Known(version) => succeed_with(tx, &held, version, now).await?,
        Completion::Retry(_) if attempt < MAX_ATTEMPTS => put_back(tx, &held, now).await?,
        Completion::Retry(failure) | Completion::Failed(failure) => {
            end(tx, &held, AdaptationStatus::Failed, Some(now), Some(&failure)).await?
        }
    };
    if is_ours { adaptations::find(tx, id).await } else { Ok(None) }
}

/// The job, if this attempt holds it at the moment; it is not locked yet.
async fn held(tx: &mut TenantTx<'_>, id: AdaptationId, attempt: u32) -> Result<Option<Held>, StoreError> {
    let row = sqlx::query(
        "SELECT task_id, promote, promotion FROM adaptations \
         WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(i64::from(attempt))
    .fetch_optional(&mut **tx)
    .await?;
    let read = |row: AnyRow| {
        let fields = Fields { table: "adaptations", row: &row };
        Ok(Held { task: fields.parse("task_id")?, id, attempt, promote: adaptations::promotion(&fields)? })
    };
    row.map(read).transpose()
}

/// Ends the attempt if it still holds the job. This is the fence: nothing is written before it or without it.
async fn end(
    tx: &mut TenantTx<'_>,
    held: &Held,
    status: AdaptationStatus,
    finished_at: Option<Timestamp>,
    failure: Option<&Failure>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE adaptations SET status = $4, finished_at = $5, failure = $6, worker = NULL, lease_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
    )
    .bind(tx.tenant())
    .bind(held.id.to_string())
    .bind(i64::from(held.attempt))
    .bind(status.name())
    .bind(finished_at.map(Timestamp::millis))
    .bind(failure.map(json))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts the job back into the queue.
async fn put_back(tx: &mut TenantTx<'_>, held: &Held, now: Timestamp) -> Result<bool, StoreError> {
    let status = AdaptationStatus::Queued;
    if !end(tx, held, status, None, None).await? {
        return Ok(false);
    }
    events::note(tx, held.id, &News::Status { status, attempt: held.attempt }, now).await?;
    Ok(true)
}

async fn succeed(
    tx: &mut TenantTx<'_>,
    held: &Held,
    adapter: Adapter,
    blob: &AdapterBlob,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, held.task).await? else { return Ok(false) };
    if !end(tx, held, AdaptationStatus::Succeeded, Some(now), None).await? {
        return Ok(false);
    }
    let known = adapters::find_from(tx, held.task, &adapter.origin()).await?;
    let version = known.unwrap_or_else(|| task.latest_version.unwrap_or(0) + 1);
    if known.is_none() {
        let adapter = Adapter { task: held.task, version, ..adapter };
        adapters::insert(tx, &adapter, blob).await?;
        task.latest_version = Some(version);
    }
    leave(tx, held, task, version, known.is_none(), now).await
}

/// As [`succeed`], with an adapter that is there.
async fn succeed_with(tx: &mut TenantTx<'_>, held: &Held, version: u32, now: Timestamp) -> Result<bool, StoreError> {
    let Some(task) = tasks::find_locked(tx, held.task).await? else { return Ok(false) };
    if !end(tx, held, AdaptationStatus::Succeeded, Some(now), None).await? {
        return Ok(false);
    }
    leave(tx, held, task, version, false, now).await
}

/// Says which version the job left, and lets it answer if the job's policy says so.
async fn leave(
    tx: &mut TenantTx<'_>,
    held: &Held,
    mut task: Task,
    version: u32,
    is_new: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let is_promoted = promotions::offer(tx, &mut task, version, held.promote, now).await?;
    if is_new || is_promoted {
        tasks::save(tx, &mut task, now).await?;
    }
    sqlx::query("UPDATE adaptations SET version = $3 WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(held.id.to_string())
        .bind(i64::from(version))
        .execute(&mut **tx)
        .await?;
    Ok(true)
}
