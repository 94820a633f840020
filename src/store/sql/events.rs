//! What happened to adaptations.

use super::row::{Fields, json};
use super::tx::TenantTx;
use crate::domain::{AdaptationEvent, AdaptationId, News, Timestamp};
use crate::store::StoreError;

/// Notes what happened. The adaptation's row must be locked, so that numbers are given one after another.
pub(super) async fn note(
    tx: &mut TenantTx<'_>,
    adaptation: AdaptationId,
    news: &News,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO adaptation_events (tenant_id, adaptation_id, number, news, created_at) \
         SELECT $1, $2, COALESCE(MAX(number), 1) + 1, $3, $4 FROM adaptation_events \
         WHERE tenant_id = $1 AND adaptation_id = $2",
    )
    .bind(tx.tenant())
    .bind(adaptation.to_string())
    .bind(json(news))
    .bind(now.millis())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes what happened if this attempt holds the job.
pub(super) async fn note_held(
    tx: &mut TenantTx<'_>,
    adaptation: AdaptationId,
    attempt: u32,
    news: &News,
) -> Result<bool, StoreError> {
    // Writes nothing new: it locks the row, and sees whose it is.
    let held = sqlx::query(
        "UPDATE adaptations SET attempt = attempt WHERE tenant_id = $1 AND id = $2 AND attempt = $3 \
         AND status = 'running'",
    )
    .bind(tx.tenant())
    .bind(adaptation.to_string())
    .bind(i64::from(attempt))
    .execute(&mut **tx)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    let now = tx.dialect().now(tx).await?;
    note(tx, adaptation, news, now).await?;
    Ok(true)
}

/// In order.
pub(super) async fn list(tx: &mut TenantTx<'_>, adaptation: AdaptationId) -> Result<Vec<AdaptationEvent>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, news, created_at FROM adaptation_events WHERE tenant_id = $1 AND adaptation_id = $2 \
         ORDER BY number",
    )
    .bind(tx.tenant())
    .bind(adaptation.to_string())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let fields = Fields::of("adaptation_events", row);
            Ok(AdaptationEvent {
                number: fields.number("number")?,
                news: fields.json("news")?,
                created_at: fields.moment("created_at")?,
            })
        })
        .collect()
}
