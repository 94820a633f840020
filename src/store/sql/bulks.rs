//! Bulk predictions, as their tenants see them. How they are worked off is in [`bulk_queue`].

use std::time::Duration;

use async_trait::async_trait;
use sqlx::any::AnyRow;

use super::dialect::Access;
use super::line::BULKS;
use super::page::Bounds;
use super::row::{Fields, number};
use super::tx::{Scope, TenantTx};
use super::{SqlStore, bulk_queue, tasks, tenants};
use crate::domain::{Bulk, BulkId, BulkPiece, TaskId, TenantId};
use crate::store::bulk::{BulkAnswers, BulkClaim, BulkEnd, BulkLimits, BulkStore};
use crate::store::{Page, StoreError};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl BulkStore for SqlStore {
    async fn begin_bulk(&self, tenant: TenantId, bulk: &Bulk, limits: BulkLimits, longest: Duration) -> Answer<bool> {
        let bulk = bulk.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { begin(&mut tx, &bulk, limits, longest).await })).await
    }

    async fn add_bulk_piece(
        &self,
        tenant: TenantId,
        id: BulkId,
        piece: &BulkPiece,
        limits: BulkLimits,
    ) -> Answer<bool> {
        let piece = piece.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { add(&mut tx, id, &piece, limits).await })).await
    }

    async fn submit_bulk(&self, tenant: TenantId, id: BulkId) -> Answer<Option<Bulk>> {
        self.across(Access::Write, Scope::Queue, move |tx| {
            Box::pin(async move { bulk_queue::submit(tx, tenant, id).await })
        })
        .await
    }

    async fn find_bulk(&self, tenant: TenantId, id: BulkId) -> Answer<Option<Bulk>> {
        self.look(tenant, move |mut tx| Box::pin(async move { find(&mut tx, id).await })).await
    }

    async fn list_bulks(&self, tenant: TenantId, task: TaskId, page: Page<BulkId>) -> Answer<Vec<Bulk>> {
        self.look(tenant, move |mut tx| Box::pin(async move { list(&mut tx, task, page).await })).await
    }

    async fn cancel_bulk(&self, tenant: TenantId, id: BulkId, keep: Duration) -> Answer<Option<Bulk>> {
        self.change(tenant, move |mut tx| Box::pin(async move { cancel(&mut tx, id, keep).await })).await
    }

    async fn delete_bulk(&self, tenant: TenantId, id: BulkId) -> Answer<bool> {
        self.change(tenant, move |mut tx| Box::pin(async move { delete(&mut tx, id).await })).await
    }

    async fn next_bulk_answers(&self, tenant: TenantId, id: BulkId, from: u64) -> Answer<Option<BulkPiece>> {
        self.look(tenant, move |mut tx| Box::pin(async move { next_answers(&mut tx, id, from).await })).await
    }

    async fn claim_bulk(&self, worker: &str, lease: Duration, keep: Duration) -> Answer<Option<BulkClaim>> {
        let worker = worker.to_owned();
        // A claim that nobody knows of holds its job for a whole lease.
        self.across_to_the_end(Access::Write, Scope::Queue, move |tx| {
            Box::pin(async move { bulk_queue::claim(tx, &worker, lease, keep).await })
        })
        .await
    }

    async fn next_bulk_piece(&self, tenant: TenantId, id: BulkId) -> Answer<Option<BulkPiece>> {
        self.look(tenant, move |mut tx| Box::pin(async move { bulk_queue::next_piece(&mut tx, id).await })).await
    }

    async fn renew_bulk(&self, claim: &BulkClaim, lease: Duration) -> Answer<bool> {
        let (id, attempt) = (claim.bulk.id, claim.attempt);
        self.change(claim.tenant, move |mut tx| {
            Box::pin(async move { BULKS.renew(&mut tx, &id, attempt, lease).await })
        })
        .await
    }

    async fn keep_bulk_answers(
        &self,
        claim: &BulkClaim,
        answers: &BulkAnswers,
        lease: Duration,
        limits: BulkLimits,
    ) -> Answer<bool> {
        let (id, attempt, answers) = (claim.bulk.id, claim.attempt, answers.clone());
        self.change(claim.tenant, move |mut tx| {
            Box::pin(async move { bulk_queue::keep(&mut tx, id, attempt, &answers, lease, limits).await })
        })
        .await
    }

    async fn end_bulk_turn(&self, claim: &BulkClaim, end: &BulkEnd, keep: Duration) -> Answer<bool> {
        let (claim, end) = (claim.clone(), end.clone());
        self.across(Access::Write, Scope::Queue, move |mut tx| {
            Box::pin(async move { bulk_queue::end(&mut tx, &claim, &end, keep).await })
        })
        .await
    }

    async fn forget_bulks(&self) -> Answer<u64> {
        self.across(Access::Write, Scope::Queue, move |mut tx| {
            Box::pin(async move {
                let now = tx.dialect().now(&mut tx).await?;
                let done = sqlx::query("DELETE FROM bulks WHERE expires_at < $1").bind(now.millis());
                Ok(done.execute(&mut *tx).await?.rows_affected())
            })
        })
        .await
    }
}

async fn begin(tx: &mut TenantTx<'_>, bulk: &Bulk, limits: BulkLimits, longest: Duration) -> Answer<bool> {
    tenants::lock(tx).await?;
    if tasks::find_locked(tx, bulk.task).await?.is_none() {
        return Ok(false);
    }
    sqlx::query("DELETE FROM bulks WHERE tenant_id = $1 AND id = $2 AND status = 'receiving'")
        .bind(tx.tenant())
        .bind(bulk.id.to_string())
        .execute(&mut **tx)
        .await?;
    if find(tx, bulk.id).await?.is_some() {
        return Ok(false);
    }
    let open: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM bulks WHERE tenant_id = $1 AND status IN ('receiving', 'queued', 'running')",
    )
    .bind(tx.tenant())
    .fetch_one(&mut **tx)
    .await?;
    if open >= number(limits.open) {
        return Err(StoreError::Full { what: "bulk predictions at a time", limit: limits.open });
    }
    check_bytes(tx, limits).await?;
    let now = tx.dialect().now(tx).await?;
    sqlx::query(
        "INSERT INTO bulks (tenant_id, id, task_id, version, top_k, abstain, status, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'receiving', $7, $8)",
    )
    .bind(tx.tenant())
    .bind(bulk.id.to_string())
    .bind(bulk.task.to_string())
    .bind(i64::from(bulk.version))
    .bind(number(bulk.top_k))
    .bind(i64::from(bulk.abstain))
    .bind(bulk.created_at.millis())
    .bind(now.millis().saturating_add(number(longest.as_millis())))
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

/// Refuses more where the tenant has more than it may. What two requests add at the same time may pass together: by a
/// piece each.
pub(super) async fn check_bytes(tx: &mut TenantTx<'_>, limits: BulkLimits) -> Answer<()> {
    let bytes: i64 =
        sqlx::query_scalar("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM bulks WHERE tenant_id = $1")
            .bind(tx.tenant())
            .fetch_one(&mut **tx)
            .await?;
    if bytes > number(limits.bytes) {
        let limit = usize::try_from(limits.bytes).unwrap_or(usize::MAX);
        return Err(StoreError::Full { what: "bytes of bulk predictions", limit });
    }
    Ok(())
}

async fn add(tx: &mut TenantTx<'_>, id: BulkId, piece: &BulkPiece, limits: BulkLimits) -> Answer<bool> {
    let done = sqlx::query(
        "UPDATE bulks SET lines = lines + $3, bytes = bytes + $4 \
         WHERE tenant_id = $1 AND id = $2 AND status = 'receiving'",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(number(piece.lines))
    .bind(number(piece.text.len()))
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    check_bytes(tx, limits).await?;
    sqlx::query(
        "INSERT INTO bulk_pieces (tenant_id, bulk_id, number, first, lines, bytes, input) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(number(piece.number))
    .bind(number(piece.first))
    .bind(number(piece.lines))
    .bind(number(piece.text.len()))
    .bind(&piece.text)
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

async fn find(tx: &mut TenantTx<'_>, id: BulkId) -> Answer<Option<Bulk>> {
    let row = sqlx::query("SELECT * FROM bulks WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| bulk(&row)).transpose()
}

async fn list(tx: &mut TenantTx<'_>, task: TaskId, page: Page<BulkId>) -> Answer<Vec<Bulk>> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT * FROM bulks WHERE tenant_id = $1 AND task_id = $2 AND (created_at, id) < ($3, $4) \
         ORDER BY created_at DESC, id DESC LIMIT $5",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(bulk).collect()
}

async fn cancel(tx: &mut TenantTx<'_>, id: BulkId, keep: Duration) -> Answer<Option<Bulk>> {
    let now = tx.dialect().now(tx).await?;
    sqlx::query(
        "UPDATE bulks SET status = 'cancelled', finished_at = $3, expires_at = $4, worker = NULL, lease_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND status IN ('receiving', 'queued', 'running')",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(now.millis())
    .bind(now.millis().saturating_add(number(keep.as_millis())))
    .execute(&mut **tx)
    .await?;
    find(tx, id).await
}

async fn delete(tx: &mut TenantTx<'_>, id: BulkId) -> Answer<bool> {
    let done = sqlx::query("DELETE FROM bulks WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Pieces are answered in their order: the first that has a line at `from` or after it is answered if any such is.
async fn next_answers(tx: &mut TenantTx<'_>, id: BulkId, from: u64) -> Answer<Option<BulkPiece>> {
    let row = sqlx::query(
        "SELECT number, first, lines, output AS text FROM bulk_pieces \
         WHERE tenant_id = $1 AND bulk_id = $2 AND first + lines > $3 AND output IS NOT NULL ORDER BY number LIMIT 1",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(number(from))
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| piece(&row)).transpose()
}

pub(super) fn piece(row: &AnyRow) -> Answer<BulkPiece> {
    let fields = Fields::of("bulk_pieces", row);
    Ok(BulkPiece {
        number: fields.number("number")?,
        first: fields.number("first")?,
        lines: fields.number("lines")?,
        text: fields.get("text")?,
    })
}

pub(super) fn bulk(row: &AnyRow) -> Answer<Bulk> {
    let fields = Fields::of("bulks", row);
    Ok(Bulk {
        id: fields.parse("id")?,
        task: fields.parse("task_id")?,
        version: fields.number("version")?,
        top_k: fields.number("top_k")?,
        abstain: fields.flag("abstain")?,
        status: fields.parse("status")?,
        lines: fields.number("lines")?,
        answered: fields.number("answered")?,
        refused: fields.number("refused")?,
        bytes: fields.number("bytes")?,
        failure: fields.json_if_any("failure")?,
        created_at: fields.moment("created_at")?,
        started_at: fields.moment_if_any("started_at")?,
        finished_at: fields.moment_if_any("finished_at")?,
        expires_at: fields.moment_if_any("expires_at")?,
    })
}
