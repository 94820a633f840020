//! Predictions that were kept, for feedback.

use sqlx::any::AnyRow;

use super::page::Bounds;
use super::row::{Fields, json, number};
use super::tasks;
use super::tx::TenantTx;
use crate::domain::{PredictionId, StoredPrediction, TaskId};
use crate::store::{Page, StoreError};

pub(super) async fn store(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    predictions: &[StoredPrediction],
    most: usize,
) -> Result<bool, StoreError> {
    if tasks::find_locked(tx, task).await?.is_none() {
        return Ok(false);
    }
    for prediction in predictions {
        sqlx::query(
            "INSERT INTO predictions (tenant_id, task_id, id, version, input, answer, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(tx.tenant())
        .bind(task.to_string())
        .bind(prediction.id.to_string())
        .bind(i64::from(prediction.version))
        .bind(json(&prediction.input))
        .bind(json(&prediction.answer))
        .bind(prediction.created_at.millis())
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query(
        "DELETE FROM predictions WHERE tenant_id = $1 AND task_id = $2 AND id IN (SELECT id FROM predictions \
         WHERE tenant_id = $1 AND task_id = $2 ORDER BY created_at DESC, id DESC LIMIT $4 OFFSET $3)",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(number(most))
    .bind(i64::from(i32::MAX)) // SQLite takes no OFFSET without a LIMIT
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

pub(super) async fn find(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    id: PredictionId,
) -> Result<Option<StoredPrediction>, StoreError> {
    let row = sqlx::query(
        "SELECT id, version, input, answer, created_at FROM predictions \
         WHERE tenant_id = $1 AND task_id = $2 AND id = $3",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    row.as_ref().map(prediction).transpose()
}

/// Newest first.
pub(super) async fn list(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    page: Page<PredictionId>,
) -> Result<Vec<StoredPrediction>, StoreError> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT id, version, input, answer, created_at FROM predictions \
         WHERE tenant_id = $1 AND task_id = $2 AND (created_at, id) < ($3, $4) \
         ORDER BY created_at DESC, id DESC LIMIT $5",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(prediction).collect()
}

fn prediction(row: &AnyRow) -> Result<StoredPrediction, StoreError> {
    let fields = Fields::of("predictions", row);
    Ok(StoredPrediction {
        id: fields.parse("id")?,
        version: fields.number("version")?,
        input: fields.json("input")?,
        answer: fields.json("answer")?,
        created_at: fields.moment("created_at")?,
    })
}
