//! Adaptations as their tenants see them: asked for, looked at, called off. What workers do is in [`super::queue`].

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::dialect::Dialect;
use super::page::Bounds;
use super::row::{Fields, json, number};
use super::tasks;
use crate::domain::{Adaptation, AdaptationId, AdaptationStatus, TaskId, TenantId};
use crate::store::{Page, StoreError};

/// False if there is no such task. The limit is of the whole queue, and calls that come at one moment may pass it
/// by a few: an exact one would make all tenants wait for each other.
pub(super) async fn submit(
    db: &mut AnyConnection,
    tenant: TenantId,
    adaptation: &Adaptation,
    max_queued: usize,
    lock: &str,
) -> Result<bool, StoreError> {
    if tasks::find(db, tenant, adaptation.task, lock).await?.is_none() {
        return Ok(false);
    }
    let queued: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM adaptations WHERE status = 'queued'").fetch_one(&mut *db).await?;
    if queued >= number(max_queued) {
        return Err(StoreError::Full { what: "queued adaptations", limit: max_queued });
    }
    sqlx::query(
        "INSERT INTO adaptations (tenant_id, id, task_id, recipe, promote, status, attempt, created_at) \
         VALUES ($1, $2, $3, $4, $5, 'queued', 0, $6)",
    )
    .bind(tenant.to_string())
    .bind(adaptation.id.to_string())
    .bind(adaptation.task.to_string())
    .bind(json(&adaptation.recipe))
    .bind(i64::from(adaptation.promote))
    .bind(adaptation.created_at.millis())
    .execute(db)
    .await?;
    Ok(true)
}

pub(super) async fn find(
    db: &mut AnyConnection,
    tenant: TenantId,
    id: AdaptationId,
) -> Result<Option<Adaptation>, StoreError> {
    let row = sqlx::query("SELECT * FROM adaptations WHERE tenant_id = $1 AND id = $2")
        .bind(tenant.to_string())
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    row.map(|row| adaptation(&row)).transpose()
}

pub(super) async fn list(
    db: &mut AnyConnection,
    tenant: TenantId,
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
    .bind(tenant.to_string())
    .bind(task.map(|task| task.to_string()))
    .bind(status.map(AdaptationStatus::name))
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(db)
    .await?;
    rows.iter().map(adaptation).collect()
}

/// Jobs of the tenant that wait before this one.
pub(super) async fn count_ahead(
    db: &mut AnyConnection,
    tenant: TenantId,
    adaptation: &Adaptation,
) -> Result<usize, StoreError> {
    let ahead: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM adaptations WHERE tenant_id = $1 AND status = 'queued' AND (created_at, id) < ($2, $3)",
    )
    .bind(tenant.to_string())
    .bind(adaptation.created_at.millis())
    .bind(adaptation.id.to_string())
    .fetch_one(db)
    .await?;
    Ok(usize::try_from(ahead).unwrap_or(0))
}

/// A worker that holds the job learns of it when it next renews its lease, and can write nothing until then.
pub(super) async fn cancel(
    db: &mut AnyConnection,
    tenant: TenantId,
    id: AdaptationId,
    dialect: &Dialect,
) -> Result<Option<Adaptation>, StoreError> {
    let now = dialect.now(db).await?;
    sqlx::query(
        "UPDATE adaptations SET status = 'cancelled', finished_at = $3, worker = NULL, lease_until = NULL \
         WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'running')",
    )
    .bind(tenant.to_string())
    .bind(id.to_string())
    .bind(now.millis())
    .execute(&mut *db)
    .await?;
    find(db, tenant, id).await
}

pub(super) fn adaptation(row: &AnyRow) -> Result<Adaptation, StoreError> {
    let fields = Fields { table: "adaptations", row };
    Ok(Adaptation {
        id: fields.parse("id")?,
        task: fields.parse("task_id")?,
        recipe: fields.json("recipe")?,
        promote: fields.flag("promote")?,
        status: fields.parse("status")?,
        attempt: fields.number("attempt")?,
        version: fields.number_if_any("version")?,
        failure: fields.json_if_any("failure")?,
        created_at: fields.moment("created_at")?,
        started_at: fields.moment_if_any("started_at")?,
        finished_at: fields.moment_if_any("finished_at")?,
    })
}
