//! The queue as workers see it: claim, renew, complete.
//!
//! A claim counts the attempt before the work starts, so that a job which kills its worker runs out of attempts. The
//! attempt is the fence, too: every later write names it, and a worker whose lease was taken over writes nothing.
//! All moments are the database's, so that workers' clocks need not agree.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::dialect::Dialect;
use super::row::{Fields, json, number};
use super::{adaptations, adapters, events, promotions, tasks};
use crate::domain::{
    Adaptation, AdaptationId, AdaptationStatus, Adapter, AdapterBlob, Failure, News, TaskId, TenantId, Timestamp,
};
use crate::store::{Claim, Completion, MAX_ATTEMPTS, StoreError};

pub(super) async fn claim(
    db: &mut AnyConnection,
    worker: &str,
    lease: Duration,
    dialect: &Dialect,
) -> Result<Option<Claim>, StoreError> {
    let now = dialect.now(db).await?;
    fail_spent(db, now, dialect).await?;
    let Some((tenant, id)) = next(db, now, dialect).await? else { return Ok(None) };
    sqlx::query(
        "UPDATE adaptations SET status = 'running', attempt = attempt + 1, worker = $2, lease_until = $3, \
         started_at = $4 WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(worker)
    .bind(now.millis().saturating_add(number(lease.as_millis())))
    .bind(now.millis())
    .execute(&mut *db)
    .await?;
    sqlx::query("UPDATE tenants SET turn = (SELECT MAX(turn) + 1 FROM tenants) WHERE id = $1")
        .bind(tenant.to_string())
        .execute(&mut *db)
        .await?;
    let Some(adaptation) = adaptations::find(db, tenant, id).await? else { return Ok(None) };
    let news = News::Status { status: adaptation.status, attempt: adaptation.attempt };
    events::note(db, tenant, id, &news, now).await?;
    let task = tasks::find(db, tenant, adaptation.task, "").await?;
    Ok(task.map(|task| Claim { tenant, adaptation, task }))
}

/// Fails the jobs whose last attempt was lost with its worker.
async fn fail_spent(db: &mut AnyConnection, now: Timestamp, dialect: &Dialect) -> Result<(), StoreError> {
    let failure = Failure {
        code: "lease_expired".to_owned(),
        detail: format!("no worker finished it in {MAX_ATTEMPTS} attempts; try a smaller support set"),
    };
    let statement = format!(
        "UPDATE adaptations SET status = 'failed', failure = $3, finished_at = $1, worker = NULL, lease_until = NULL \
         WHERE id IN (SELECT a.id FROM adaptations AS a \
         WHERE a.status = 'running' AND a.lease_until < $1 AND a.attempt >= $2{})",
        dialect.lock_free_job
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(now.millis())
        .bind(i64::from(MAX_ATTEMPTS))
        .bind(json(&failure))
        .execute(db)
        .await?;
    Ok(())
}

/// The oldest job of the tenant whose turn is longest ago: a flood from one tenant delays another by one job.
async fn next(
    db: &mut AnyConnection,
    now: Timestamp,
    dialect: &Dialect,
) -> Result<Option<(TenantId, AdaptationId)>, StoreError> {
    let statement = format!(
        "SELECT a.tenant_id, a.id FROM adaptations AS a JOIN tenants AS t ON t.id = a.tenant_id \
         WHERE a.status = 'queued' OR (a.status = 'running' AND a.lease_until < $1 AND a.attempt < $2) \
         ORDER BY t.turn, a.created_at, a.id LIMIT 1{}",
        dialect.lock_free_job
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(now.millis())
        .bind(i64::from(MAX_ATTEMPTS))
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        let fields = Fields { table: "adaptations", row: &row };
        Ok((fields.parse("tenant_id")?, fields.parse("id")?))
    })
    .transpose()
}

pub(super) async fn renew(
    db: &mut AnyConnection,
    id: AdaptationId,
    attempt: u32,
    lease: Duration,
    dialect: &Dialect,
) -> Result<bool, StoreError> {
    let statement = format!(
        "UPDATE adaptations SET lease_until = {} + $3 WHERE id = $1 AND attempt = $2 AND status = 'running'",
        dialect.clock
    );
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(id.to_string())
        .bind(i64::from(attempt))
        .bind(number(lease.as_millis()))
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A job that one attempt holds.
struct Held {
    tenant: TenantId,
    task: TaskId,
    id: AdaptationId,
    attempt: u32,
    promote: bool,
}

pub(super) async fn complete(
    db: &mut AnyConnection,
    id: AdaptationId,
    attempt: u32,
    completion: Completion,
    dialect: &Dialect,
) -> Result<Option<Adaptation>, StoreError> {
    let Some(held) = held(db, id, attempt).await? else { return Ok(None) };
    let now = dialect.now(db).await?;
    let is_ours = match completion {
        Completion::Adapted(adapter, blob) => succeed(db, &held, *adapter, &blob, now, dialect).await?,
        Completion::Retry(_) if attempt < MAX_ATTEMPTS => requeue(db, &held, now).await?,
        Completion::Retry(failure) | Completion::Failed(failure) => {
            end(db, &held, AdaptationStatus::Failed, Some(now), Some(&failure)).await?
        }
    };
    if is_ours { adaptations::find(db, held.tenant, id).await } else { Ok(None) }
}

/// The job, if this attempt holds it at the moment; it is not locked yet.
async fn held(db: &mut AnyConnection, id: AdaptationId, attempt: u32) -> Result<Option<Held>, StoreError> {
    let row = sqlx::query(
        "SELECT tenant_id, task_id, promote FROM adaptations WHERE id = $1 AND attempt = $2 AND status = 'running'",
    )
    .bind(id.to_string())
    .bind(i64::from(attempt))
    .fetch_optional(db)
    .await?;
    let read = |row: AnyRow| {
        let fields = Fields { table: "adaptations", row: &row };
        let (tenant, task) = (fields.parse("tenant_id")?, fields.parse("task_id")?);
        Ok(Held { tenant, task, id, attempt, promote: fields.flag("promote")? })
    };
    row.map(read).transpose()
}

/// Ends the attempt if it still holds the job. This is the fence: nothing is written before it or without it.
async fn end(
    db: &mut AnyConnection,
    held: &Held,
    status: AdaptationStatus,
    finished_at: Option<Timestamp>,
    failure: Option<&Failure>,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE adaptations SET status = $3, finished_at = $4, failure = $5, worker = NULL, lease_until = NULL \
         WHERE id = $1 AND attempt = $2 AND status = 'running'",
    )
    .bind(held.id.to_string())
    .bind(i64::from(held.attempt))
    .bind(status.name())
    .bind(finished_at.map(Timestamp::millis))
    .bind(failure.map(json))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts the job back into the queue.
async fn requeue(db: &mut AnyConnection, held: &Held, now: Timestamp) -> Result<bool, StoreError> {
    let status = AdaptationStatus::Queued;
    if !end(db, held, status, None, None).await? {
        return Ok(false);
    }
    events::note(db, held.tenant, held.id, &News::Status { status, attempt: held.attempt }, now).await?;
    Ok(true)
}

async fn succeed(
    db: &mut AnyConnection,
    held: &Held,
    adapter: Adapter,
    blob: &AdapterBlob,
    now: Timestamp,
    dialect: &Dialect,
) -> Result<bool, StoreError> {
    let Some(mut task) = tasks::find(db, held.tenant, held.task, dialect.lock).await? else { return Ok(false) };
    if !end(db, held, AdaptationStatus::Succeeded, Some(now), None).await? {
        return Ok(false);
    }
    let known = adapters::find_equal(db, held.tenant, held.task, &adapter).await?;
    let version = known.unwrap_or_else(|| task.latest_version.unwrap_or(0) + 1);
    if known.is_none() {
        let adapter = Adapter { task: held.task, version, ..adapter };
        adapters::insert(db, held.tenant, &adapter, blob).await?;
        task.latest_version = Some(version);
    }
    let is_promoted = held.promote && promotions::push(db, held.tenant, &mut task, version, now).await?;
    if known.is_none() || is_promoted {
        tasks::save(db, held.tenant, &mut task, now).await?;
    }
    sqlx::query("UPDATE adaptations SET version = $2 WHERE id = $1")
        .bind(held.id.to_string())
        .bind(i64::from(version))
        .execute(db)
        .await?;
    Ok(true)
}
