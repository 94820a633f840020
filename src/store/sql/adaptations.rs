//! Adaptations as their tenants see them: asked for, looked at, called off. What workers do is in [`super::queue`].

use sqlx::any::AnyRow;

use super::line::ADAPTATIONS;
use super::page::Bounds;
use super::row::{Fields, json, number};
use super::tx::{SystemTx, TenantTx};
use super::{outbox, tasks};
use crate::domain::{Adaptation, AdaptationId, AdaptationStatus, Promotion, TaskId, TenantId};
use crate::faults::{self, Site};
use crate::store::{Page, StoreError};

/// False if there is no such task. The limit is of the whole queue, and calls that come at one moment may pass it
/// by a few: an exact one would make all tenants wait for each other.
pub(super) async fn submit(
    mut all: SystemTx<'_>,
    tenant: TenantId,
    adaptation: &Adaptation,
    max_queued: usize,
) -> Result<bool, StoreError> {
    let queued: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT 1 AS one FROM adaptations WHERE status = 'queued' LIMIT $1) AS waiting",
    )
    .bind(number(max_queued))
    .fetch_one(&mut *all)
    .await?;
    let place = ADAPTATIONS.next_place(&mut all, tenant).await?;
    let mut tx = all.enter(tenant).await?;
    if tasks::find_locked(&mut tx, adaptation.task).await?.is_none() {
        return Ok(false);
    }
    if queued >= number(max_queued) {
        return Err(StoreError::Full { what: "queued adaptations", limit: max_queued });
    }
    sqlx::query(
        "INSERT INTO adaptations (tenant_id, id, task_id, recipe, promote, promotion, status, attempt, created_at, place, \
         traceparent, latency_budget_ms) VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(tx.tenant())
    .bind(adaptation.id.to_string())
    .bind(adaptation.task.to_string())
    .bind(json(&adaptation.recipe))
    .bind(i64::from(adaptation.promote != Promotion::Never))
    .bind(adaptation.promote.name())
    .bind(adaptation.created_at.millis())
    .bind(place)
    .bind(adaptation.trace.map(|trace| trace.to_string()))
    .bind(adaptation.latency_budget_ms.map(i64::from))
    .execute(&mut *tx)
    .await?;
    faults::pass(Site::Submitted).await?;
    Ok(true)
}

pub(super) async fn find(tx: &mut TenantTx<'_>, id: AdaptationId) -> Result<Option<Adaptation>, StoreError> {
    let row = sqlx::query("SELECT * FROM adaptations WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| adaptation(&row)).transpose()
}

pub(super) async fn list(
    tx: &mut TenantTx<'_>,
    task: Option<TaskId>,
    status: Option<AdaptationStatus>,
    page: Page<AdaptationId>,
) -> Result<Vec<Adaptation>, StoreError> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT * FROM adaptations WHERE tenant_id = $1 AND ($2 IS NULL OR task_id = $2) \
         AND ($3 IS NULL OR status = $3) AND (created_at, id) < ($4, $5) \
         ORDER BY created_at DESC, id DESC LIMIT $6",
    )
    .bind(tx.tenant())
    .bind(task.map(|task| task.to_string()))
    .bind(status.map(AdaptationStatus::name))
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(adaptation).collect()
}

/// Jobs of the tenant that wait before this one.
pub(super) async fn count_ahead(tx: &mut TenantTx<'_>, adaptation: &Adaptation) -> Result<usize, StoreError> {
    let ahead: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM adaptations WHERE tenant_id = $1 AND status = 'queued' AND (created_at, id) < ($2, $3)",
    )
    .bind(tx.tenant())
    .bind(adaptation.created_at.millis())
    .bind(adaptation.id.to_string())
    .fetch_one(&mut **tx)
    .await?;
    Ok(usize::try_from(ahead).unwrap_or(0))
}

/// A worker that holds the job learns of it when it next renews its lease, and can write nothing until then.
pub(super) async fn cancel(tx: &mut TenantTx<'_>, id: AdaptationId) -> Result<Option<Adaptation>, StoreError> {
    let now = tx.dialect().now(tx).await?;
    let done = sqlx::query(
        "UPDATE adaptations SET status = 'cancelled', finished_at = $3, worker = NULL, lease_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(now.millis())
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 1 {
        outbox::add(tx, &id.to_string()).await?;
    }
    find(tx, id).await
}

pub(super) fn adaptation(row: &AnyRow) -> Result<Adaptation, StoreError> {
    let fields = Fields::of("adaptations", row);
    Ok(Adaptation {
        id: fields.parse("id")?,
        task: fields.parse("task_id")?,
        recipe: fields.json("recipe")?,
        latency_budget_ms: fields.number_if_any("latency_budget_ms")?,
        promote: promotion(&fields)?,
        status: fields.parse("status")?,
        attempt: fields.number("attempt")?,
        version: fields.number_if_any("version")?,
        failure: fields.json_if_any("failure")?,
        created_at: fields.moment("created_at")?,
        started_at: fields.moment_if_any("started_at")?,
        finished_at: fields.moment_if_any("finished_at")?,
        trace: fields.parse_if_any("traceparent")?,
    })
}

/// What becomes of a job's adapter. The flag is older than the word, and the only one that a server of that time writes.
pub(super) fn promotion(fields: &Fields<'_>) -> Result<Promotion, StoreError> {
    if fields.flag("promote")? { fields.parse("promotion") } else { Ok(Promotion::Never) }
}
