//! The outbox: ends of adaptations that are still to be told of.
//!
//! A row is written in the transaction that ends the job, so that neither is there without the other. Whoever hands it on
//! takes it for a while and settles it afterwards; one that was taken and not settled comes again. So each end is told
//! of at least once, under a number that stays the same.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use tracing::error;

use super::row::{Fields, number};
use super::tx::SystemTx;
use crate::store::{EndNotice, StoreError};

/// How long one that nobody settles is kept, in milliseconds: three days.
const KEPT_MS: i64 = 3 * 24 * 3_600 * 1_000;

/// Notes the end of a job as its row has it; nothing if it has not ended.
pub(super) async fn add(db: &mut AnyConnection, id: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (tenant_id, adaptation_id, task_id, status, version, failure, ended_at, traceparent) \
         SELECT tenant_id, id, task_id, status, version, failure, finished_at, traceparent FROM adaptations \
         WHERE id = $1 AND finished_at IS NOT NULL",
    )
    .bind(id)
    .execute(db)
    .await?;
    Ok(())
}

/// The oldest that nobody holds, held for `lease`. What is too old to be worth telling goes.
pub(super) async fn take(tx: &mut SystemTx<'_>, limit: usize, lease: Duration) -> Result<Vec<EndNotice>, StoreError> {
    let now = tx.dialect().now(tx).await?.millis();
    sqlx::query("DELETE FROM outbox WHERE ended_at < $1").bind(now - KEPT_MS).execute(&mut **tx).await?;
    let statement =
        format!("SELECT * FROM outbox WHERE taken_until < $1 ORDER BY number LIMIT $2{}", tx.dialect().lock_free_row);
    let rows = sqlx::query(AssertSqlSafe(statement)).bind(now).bind(number(limit)).fetch_all(&mut **tx).await?;
    let mut notices = Vec::with_capacity(rows.len());
    for row in &rows {
        sqlx::query("UPDATE outbox SET taken_until = $2 WHERE number = $1")
            .bind(row.try_get::<i64, _>("number")?)
            .bind(now.saturating_add(number(lease.as_millis())))
            .execute(&mut **tx)
            .await?;
        match notice(row) {
            Ok(notice) => notices.push(notice),
            // It comes again until it is too old, and holds up no other.
            Err(error) => error!(%error, "an end of an adaptation cannot be told of"),
        }
    }
    Ok(notices)
}

pub(super) async fn settle(tx: &mut SystemTx<'_>, numbers: &[i64]) -> Result<(), StoreError> {
    for number in numbers {
        sqlx::query("DELETE FROM outbox WHERE number = $1").bind(number).execute(&mut **tx).await?;
    }
    Ok(())
}

fn notice(row: &AnyRow) -> Result<EndNotice, StoreError> {
    let fields = Fields::of("outbox", row);
    Ok(EndNotice {
        number: fields.get("number")?,
        tenant: fields.parse("tenant_id")?,
        adaptation: fields.parse("adaptation_id")?,
        task: fields.parse("task_id")?,
        status: fields.parse("status")?,
        version: fields.number_if_any("version")?,
        failure: fields.json_if_any("failure")?,
        ended_at: fields.moment("ended_at")?,
        trace: fields.parse_if_any("traceparent")?,
    })
}
