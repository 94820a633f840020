//! Bulk predictions, as workers see them: claim, answer piece by piece, end a turn.
//!
//! What they share with adaptations is in [`line`](super::line). A turn that ends with pieces left gives the job a new place behind those of
//! other tenants.

use std::time::Duration;

use super::bulks::{bulk, check_bytes, piece};
use super::line::{BULKS, Claimed, Job};
use super::row::{Fields, json, number};
use super::tx::{SystemTx, TenantTx};
use crate::domain::{Bulk, BulkId, BulkPiece, BulkStatus, Failure, TenantId, Timestamp};
use crate::store::StoreError;
use crate::store::bulk::{BulkAnswers, BulkClaim, BulkEnd, BulkLimits};

/// Claims without an answer in between, after which it fails.
const MAX_STRIKES: i64 = 3;

pub(super) async fn submit(mut tx: SystemTx<'_>, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError> {
    let place = BULKS.next_place(&mut tx, tenant).await?;
    sqlx::query(
        "UPDATE bulks SET status = 'queued', place = $3, expires_at = NULL \
         WHERE tenant_id = $1 AND id = $2 AND status = 'receiving'",
    )
    .bind(tenant.to_string())
    .bind(id.to_string())
    .bind(place)
    .execute(&mut *tx)
    .await?;
    find(&mut tx, tenant, id).await
}

async fn find(tx: &mut SystemTx<'_>, tenant: TenantId, id: BulkId) -> Result<Option<Bulk>, StoreError> {
    let row = sqlx::query("SELECT * FROM bulks WHERE tenant_id = $1 AND id = $2")
        .bind(tenant.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| bulk(&row)).transpose()
}

pub(super) async fn claim(
    mut tx: SystemTx<'_>,
    worker: &str,
    lease: Duration,
    keep: Duration,
) -> Result<Option<BulkClaim>, StoreError> {
    let now = tx.dialect().now(&mut tx).await?;
    let Claimed { job, spent } = BULKS.claim(&mut tx, worker, lease, now).await?;
    for lost in spent {
        let failure = Failure {
            code: "lease_expired".to_owned(),
            detail: format!("a piece of it was lost {MAX_STRIKES} times with whoever answered it"),
        };
        finish(&mut tx, &lost, BulkStatus::Failed, Some(&failure), now, keep).await?;
    }
    let Some(job) = job else { return Ok(None) };
    let bulk = find(&mut tx, job.tenant, job.id).await?;
    Ok(bulk.map(|bulk| BulkClaim { tenant: job.tenant, bulk, attempt: job.attempt }))
}

/// Ends one for good, if this attempt is still its last.
async fn finish(
    tx: &mut SystemTx<'_>,
    held: &Job<BulkId>,
    status: BulkStatus,
    failure: Option<&Failure>,
    now: Timestamp,
    keep: Duration,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE bulks SET status = $4, failure = $5, finished_at = $6, expires_at = $7, worker = NULL, \
         lease_until = NULL WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status IN ('queued', 'running')",
    )
    .bind(held.tenant.to_string())
    .bind(held.id.to_string())
    .bind(i64::from(held.attempt))
    .bind(status.name())
    .bind(failure.map(json))
    .bind(now.millis())
    .bind(now.millis().saturating_add(number(keep.as_millis())))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn next_piece(tx: &mut TenantTx<'_>, id: BulkId) -> Result<Option<BulkPiece>, StoreError> {
    let row = sqlx::query(
        "SELECT number, first, lines, input AS text FROM bulk_pieces \
         WHERE tenant_id = $1 AND bulk_id = $2 AND output IS NULL ORDER BY number LIMIT 1",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| piece(&row)).transpose()
}

pub(super) async fn keep(
    tx: &mut TenantTx<'_>,
    id: BulkId,
    attempt: u32,
    answers: &BulkAnswers,
    lease: Duration,
    limits: BulkLimits,
) -> Result<bool, StoreError> {
    // The fence: nothing is written before it or without it.
    if !BULKS.renew(tx, &id, attempt, lease).await? {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE bulks SET strikes = 0, answered = answered + $4, refused = refused + $5, bytes = bytes + $6 - \
         (SELECT bytes FROM bulk_pieces WHERE tenant_id = $1 AND bulk_id = $2 AND number = $3) \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(number(answers.number))
    .bind(number(answers.answered))
    .bind(number(answers.refused))
    .bind(number(answers.text.len()))
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE bulk_pieces SET input = '', output = $4, bytes = $5 \
         WHERE tenant_id = $1 AND bulk_id = $2 AND number = $3",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(number(answers.number))
    .bind(&answers.text)
    .bind(number(answers.text.len()))
    .execute(&mut **tx)
    .await?;
    check_bytes(tx, limits).await?;
    Ok(true)
}

pub(super) async fn end(
    tx: &mut SystemTx<'_>,
    claim: &BulkClaim,
    end: &BulkEnd,
    keep: Duration,
) -> Result<bool, StoreError> {
    let now = tx.dialect().now(tx).await?;
    let row = sqlx::query("SELECT strikes FROM bulks WHERE tenant_id = $1 AND id = $2")
        .bind(claim.tenant.to_string())
        .bind(claim.bulk.id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let strikes = Fields::of("bulks", &row).get("strikes")?;
    let held = Job { tenant: claim.tenant, id: claim.bulk.id, attempt: claim.attempt };
    match end {
        BulkEnd::Done => finish(tx, &held, BulkStatus::Succeeded, None, now, keep).await,
        BulkEnd::Failed(failure) => finish(tx, &held, BulkStatus::Failed, Some(failure), now, keep).await,
        BulkEnd::Retry(failure, _) if strikes >= MAX_STRIKES => {
            finish(tx, &held, BulkStatus::Failed, Some(failure), now, keep).await
        }
        BulkEnd::Retry(_, pause) => put_back(tx, &held, strikes, now, *pause).await,
        // A turn that ended in order is no strike, whatever it brought.
        BulkEnd::Turn => put_back(tx, &held, 0, now, Duration::ZERO).await,
    }
}

async fn put_back(
    tx: &mut SystemTx<'_>,
    held: &Job<BulkId>,
    strikes: i64,
    now: Timestamp,
    pause: Duration,
) -> Result<bool, StoreError> {
    let place = BULKS.next_place(tx, held.tenant).await?;
    let done = sqlx::query(
        "UPDATE bulks SET status = 'queued', place = $4, strikes = $5, not_before = $6, worker = NULL, \
         lease_until = NULL WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
    )
    .bind(held.tenant.to_string())
    .bind(held.id.to_string())
    .bind(i64::from(held.attempt))
    .bind(place)
    .bind(strikes)
    .bind(now.millis().saturating_add(number(pause.as_millis())))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
