//! The queue of adaptations as workers see it: claim, renew, complete. What it shares with bulk predictions is a
//! [`line`](super::line).

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::line::{ADAPTATIONS, Claimed, Job};
use super::row::{Fields, json, number};
use super::tx::{SystemTx, TenantTx};
use super::{adaptations, adapters, events, outbox, promotions, tasks};
use crate::domain::{
    Adaptation, AdaptationId, AdaptationStatus, Adapter, AdapterBlob, Failure, News, Promotion, Task, TaskId, TenantId,
    Timestamp,
};
use crate::faults::{self, Site};
use crate::store::{Claim, Completion, MAX_ATTEMPTS, StoreError};

pub(super) async fn claim(mut tx: SystemTx<'_>, worker: &str, lease: Duration) -> Result<Option<Claim>, StoreError> {
    let now = tx.dialect().now(&mut tx).await?;
    let Claimed { job, spent } = ADAPTATIONS.claim(&mut tx, worker, lease, now).await?;
    for lost in spent {
        fail(&mut tx, lost.id, now).await?;
    }
    let Some(Job { tenant, id, .. }) = job else { return Ok(None) };
    faults::pass(Site::Claimed).await?;
    let mut tx = tx.enter(tenant).await?;
    let Some(adaptation) = adaptations::find(&mut tx, id).await? else { return Ok(None) };
    let news = News::Status { status: adaptation.status, attempt: adaptation.attempt };
    events::note(&mut tx, id, &news, now).await?;
    let task = tasks::find(&mut tx, adaptation.task).await?;
    Ok(task.map(|task| Claim { tenant, adaptation, task }))
}

/// Ends a job that no worker came back from.
async fn fail(tx: &mut SystemTx<'_>, id: AdaptationId, now: Timestamp) -> Result<(), StoreError> {
    let failure = Failure {
        code: "lease_expired".to_owned(),
        detail: format!("no worker finished it in {MAX_ATTEMPTS} attempts; try a smaller support set"),
    };
    sqlx::query(
        "UPDATE adaptations SET status = 'failed', failure = $3, finished_at = $2, worker = NULL, \
         lease_until = NULL WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(now.millis())
    .bind(json(&failure))
    .execute(&mut **tx)
    .await?;
    outbox::add(tx, &id.to_string()).await
}

/// A job that one attempt holds.
struct Held {
    task: TaskId,
    id: AdaptationId,
    attempt: u32,
    last_attempt: u32,
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
        Completion::Retry(_, pause) if attempt < held.last_attempt => put_back(tx, &held, now, pause).await?,
        Completion::Retry(failure, _) | Completion::Failed(failure) => {
            end(tx, &held, AdaptationStatus::Failed, now, Some(&failure)).await?
        }
    };
    if !is_ours {
        return Ok(None);
    }
    faults::pass(Site::Unannounced).await?;
    outbox::add(tx, &id.to_string()).await?;
    adaptations::find(tx, id).await
}

/// The job, if this attempt holds it at the moment; it is not locked yet.
async fn held(tx: &mut TenantTx<'_>, id: AdaptationId, attempt: u32) -> Result<Option<Held>, StoreError> {
    let row = sqlx::query(
        "SELECT task_id, promote, promotion, last_attempt FROM adaptations \
         WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(i64::from(attempt))
    .fetch_optional(&mut **tx)
    .await?;
    let read = |row: AnyRow| {
        let fields = Fields::of("adaptations", &row);
        let (task, promote) = (fields.parse("task_id")?, adaptations::promotion(&fields)?);
        Ok(Held { task, id, attempt, last_attempt: fields.number("last_attempt")?, promote })
    };
    row.map(read).transpose()
}

/// Ends the attempt if it still holds the job. This and [`put_back`] are the fence: nothing is written before them or
/// without them.
async fn end(
    tx: &mut TenantTx<'_>,
    held: &Held,
    status: AdaptationStatus,
    now: Timestamp,
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
    .bind(now.millis())
    .bind(failure.map(json))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets the job wait again, at least for `pause`, if this attempt still holds it.
async fn put_back(tx: &mut TenantTx<'_>, held: &Held, now: Timestamp, pause: Duration) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE adaptations SET status = 'queued', not_before = $4, worker = NULL, lease_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
    )
    .bind(tx.tenant())
    .bind(held.id.to_string())
    .bind(i64::from(held.attempt))
    .bind(now.millis().saturating_add(number(pause.as_millis())))
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let news = News::Status { status: AdaptationStatus::Queued, attempt: held.attempt };
    events::note(tx, held.id, &news, now).await?;
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
    if !end(tx, held, AdaptationStatus::Succeeded, now, None).await? {
        return Ok(false);
    }
    faults::pass(Site::Ended).await?;
    let known = adapters::find_from(tx, held.task, &adapter.origin()).await?;
    let version = known.unwrap_or_else(|| task.latest_version.unwrap_or(0) + 1);
    if known.is_none() {
        let adapter = Adapter { task: held.task, version, ..adapter };
        adapters::insert(tx, &adapter, blob).await?;
        faults::pass(Site::Stored).await?;
        task.latest_version = Some(version);
    }
    leave(tx, held, task, version, known.is_none(), now).await
}

/// As [`succeed`], with an adapter that is there.
async fn succeed_with(tx: &mut TenantTx<'_>, held: &Held, version: u32, now: Timestamp) -> Result<bool, StoreError> {
    let Some(task) = tasks::find_locked(tx, held.task).await? else { return Ok(false) };
    if !end(tx, held, AdaptationStatus::Succeeded, now, None).await? {
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

/// Lets the jobs of a task that are running begin again: what they have read is not there any more. The task must be
/// locked, so that none of them ends meanwhile; the attempts that are under way have no say from here on.
pub(super) async fn restart(tx: &mut TenantTx<'_>, task: TaskId) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "UPDATE adaptations SET status = 'queued', not_before = 0, worker = NULL, lease_until = NULL, \
         last_attempt = last_attempt + 1 WHERE tenant_id = $1 AND task_id = $2 AND status = 'running' \
         RETURNING id, attempt",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .fetch_all(&mut **tx)
    .await?;
    let now = tx.dialect().now(tx).await?;
    for row in rows {
        let fields = Fields::of("adaptations", &row);
        let news = News::Status { status: AdaptationStatus::Queued, attempt: fields.number("attempt")? };
        events::note(tx, fields.parse("id")?, &news, now).await?;
    }
    Ok(())
}

/// Puts a job that has failed back into the queue, with as many attempts as a new one; none if it has not failed.
pub(super) async fn requeue(
    mut tx: SystemTx<'_>,
    id: AdaptationId,
) -> Result<Option<(TenantId, Adaptation)>, StoreError> {
    let now = tx.dialect().now(&mut tx).await?;
    let statement =
        format!("SELECT * FROM adaptations WHERE id = $1 AND status = 'failed'{}", tx.dialect().lock_free_row);
    let row = sqlx::query(AssertSqlSafe(statement)).bind(id.to_string()).fetch_optional(&mut *tx).await?;
    let Some((tenant, failed)) = row.as_ref().map(of_tenant).transpose()? else { return Ok(None) };
    sqlx::query(
        "UPDATE adaptations SET status = 'queued', failure = NULL, finished_at = NULL, not_before = 0, \
         last_attempt = attempt + $2 WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(i64::from(MAX_ATTEMPTS))
    .execute(&mut *tx)
    .await?;
    let mut tx = tx.enter(tenant).await?;
    // Its end was told from its row, which has it no more.
    let end = News::Done { status: failed.status, version: None, error: failed.failure };
    events::note(&mut tx, id, &end, failed.finished_at.unwrap_or(now)).await?;
    let news = News::Status { status: AdaptationStatus::Queued, attempt: failed.attempt };
    events::note(&mut tx, id, &news, now).await?;
    Ok(adaptations::find(&mut tx, id).await?.map(|back| (tenant, back)))
}

/// The jobs that failed last, of all tenants.
pub(super) async fn failed(tx: &mut SystemTx<'_>, limit: usize) -> Result<Vec<(TenantId, Adaptation)>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM adaptations WHERE status = 'failed' ORDER BY finished_at DESC, id DESC LIMIT $1")
            .bind(number(limit))
            .fetch_all(&mut **tx)
            .await?;
    rows.iter().map(of_tenant).collect()
}

fn of_tenant(row: &AnyRow) -> Result<(TenantId, Adaptation), StoreError> {
    let fields = Fields::of("adaptations", row);
    Ok((fields.parse("tenant_id")?, adaptations::adaptation(row)?))
}
