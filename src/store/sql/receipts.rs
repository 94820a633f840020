//! Receipts of what was erased. They stay when their tenant goes.

use sqlx::any::AnyRow;

use super::page::Bounds;
use super::row::{Fields, json};
use super::tx::TenantTx;
use crate::domain::{Receipt, ReceiptId};
use crate::store::{Page, StoreError};

pub(super) async fn add(tx: &mut TenantTx<'_>, receipt: &Receipt) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO receipts (tenant_id, id, removed, text, erased_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(tx.tenant())
        .bind(receipt.id.to_string())
        .bind(json(&receipt.removed))
        .bind(&receipt.text)
        .bind(receipt.erased_at.millis())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn find(tx: &mut TenantTx<'_>, id: ReceiptId) -> Result<Option<Receipt>, StoreError> {
    let row = sqlx::query("SELECT * FROM receipts WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.as_ref().map(receipt).transpose()
}

/// Newest first.
pub(super) async fn list(tx: &mut TenantTx<'_>, page: Page<ReceiptId>) -> Result<Vec<Receipt>, StoreError> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT * FROM receipts WHERE tenant_id = $1 AND (erased_at, id) < ($2, $3) \
         ORDER BY erased_at DESC, id DESC LIMIT $4",
    )
    .bind(tx.tenant())
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(receipt).collect()
}

fn receipt(row: &AnyRow) -> Result<Receipt, StoreError> {
    let fields = Fields::of("receipts", row);
    Ok(Receipt {
        id: fields.parse("id")?,
        removed: fields.json("removed")?,
        erased_at: fields.moment("erased_at")?,
        text: fields.get("text")?,
    })
}
