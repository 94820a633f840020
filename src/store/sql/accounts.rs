//! Tenants, their keys, usage, audit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::any::AnyRow;
use tracing::warn;

use super::dialect::Access;
use super::page::Bounds;
use super::row::{Fields, number};
use super::tx::{Scope, TenantTx};
use super::{SqlStore, erasures, receipts, tenants};
use crate::domain::{
    AuditEntry, AuditId, Erasure, Holdings, KeyId, KeyRecord, Receipt, ReceiptId, Tenant, TenantId, Timestamp, Usage,
    hex,
};
use crate::store::accounts::{AccountStore, Erased};
use crate::store::{Page, StoreError};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl AccountStore for SqlStore {
    async fn create_tenant(&self, tenant: &Tenant) -> Answer<()> {
        let tenant = tenant.clone();
        self.across(Access::Write, Scope::Keys, |mut tx| {
            Box::pin(async move { tenants::create(&mut tx, &tenant).await })
        })
        .await
    }

    async fn find_tenant(&self, name: &str) -> Answer<Option<Tenant>> {
        let name = name.to_owned();
        self.across(Access::Read, Scope::Keys, |mut tx| Box::pin(async move { tenants::find(&mut tx, &name).await }))
            .await
    }

    async fn create_key(&self, key: &KeyRecord) -> Answer<()> {
        let key = key.clone();
        self.across(Access::Write, Scope::Keys, |mut tx| {
            Box::pin(async move { tenants::create_key(&mut tx, &key).await })
        })
        .await
    }

    async fn list_keys(&self, tenant: TenantId) -> Answer<Vec<KeyRecord>> {
        self.look(tenant, move |mut tx| Box::pin(async move { tenants::list_keys(&mut tx).await })).await
    }

    async fn end_key(&self, tenant: TenantId, id: KeyId, at: Timestamp) -> Answer<bool> {
        self.change(tenant, move |mut tx| Box::pin(async move { tenants::end_key(&mut tx, id, at).await })).await
    }

    async fn delete_key(&self, tenant: TenantId, id: KeyId) -> Answer<bool> {
        self.change(tenant, move |mut tx| Box::pin(async move { tenants::delete_key(&mut tx, id).await })).await
    }

    async fn find_key(&self, id: KeyId) -> Answer<Option<KeyRecord>> {
        self.across(Access::Read, Scope::Keys, move |mut tx| {
            Box::pin(async move { tenants::find_key(&mut tx, id).await })
        })
        .await
    }

    async fn put_usage(&self, tenant: TenantId, day: i64, process: &str, total: Usage) -> Answer<()> {
        let process = process.to_owned();
        self.change(tenant, move |mut tx| Box::pin(async move { put_usage(&mut tx, day, &process, total).await })).await
    }

    async fn list_usage(&self, tenant: TenantId, from: i64, to: i64) -> Answer<Vec<(i64, Usage)>> {
        self.look(tenant, move |mut tx| Box::pin(async move { list_usage(&mut tx, from, to).await })).await
    }

    async fn holdings(&self, tenant: TenantId) -> Answer<Holdings> {
        self.look(tenant, move |mut tx| Box::pin(async move { holdings(&mut tx).await })).await
    }

    async fn add_audit(&self, tenant: TenantId, entry: &AuditEntry, oldest: Timestamp) -> Answer<()> {
        let entry = entry.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { add_audit(&mut tx, &entry, oldest).await })).await
    }

    async fn list_audit(&self, tenant: TenantId, page: Page<AuditId>) -> Answer<Vec<AuditEntry>> {
        self.look(tenant, move |mut tx| Box::pin(async move { list_audit(&mut tx, page).await })).await
    }

    async fn erase(
        &self,
        tenant: TenantId,
        what: Erasure,
        receipt: ReceiptId,
        now: Timestamp,
    ) -> Answer<Option<Erased>> {
        self.change(tenant, move |mut tx| {
            Box::pin(async move {
                if let Some(receipt) = receipts::find(&mut tx, receipt).await? {
                    return Ok(Some(Erased { receipt, adapters: Vec::new(), texts: Vec::new() }));
                }
                let Some(gone) = erasures::erase(&mut tx, what).await? else { return Ok(None) };
                let receipt = Receipt::new(receipt, tenant, what, gone.removed, now);
                receipts::add(&mut tx, &receipt).await?;
                Ok(Some(Erased { receipt, adapters: gone.adapters, texts: gone.texts }))
            })
        })
        .await
    }

    async fn list_receipts(&self, tenant: TenantId, page: Page<ReceiptId>) -> Answer<Vec<Receipt>> {
        self.look(tenant, move |mut tx| Box::pin(async move { receipts::list(&mut tx, page).await })).await
    }

    async fn signing_seed(&self, name: &str, fresh: [u8; 32], now: Timestamp) -> Answer<[u8; 32]> {
        let name = name.to_owned();
        self.across(Access::Write, Scope::Keys, move |mut tx| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO signing_keys (name, seed, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                )
                .bind(&name)
                .bind(hex(&fresh))
                .bind(now.millis())
                .execute(&mut *tx)
                .await?;
                let row = sqlx::query("SELECT seed FROM signing_keys WHERE name = $1")
                    .bind(&name)
                    .fetch_one(&mut *tx)
                    .await?;
                seed(&Fields::of("signing_keys", &row))
            })
        })
        .await
    }

    async fn is_tenant(&self, tenant: TenantId) -> Answer<bool> {
        self.look(tenant, |mut tx| Box::pin(async move { tenants::is_there(&mut tx).await })).await
    }

    async fn list_tenants(&self, page: Page<TenantId>) -> Answer<Vec<Tenant>> {
        self.across(Access::Read, Scope::Keys, move |mut tx| {
            Box::pin(async move { tenants::list(&mut tx, page).await })
        })
        .await
    }
}

fn seed(fields: &Fields<'_>) -> Answer<[u8; 32]> {
    let text: &str = fields.get("seed")?;
    let mut seed = [0; 32];
    if text.len() != 64 {
        return Err(fields.unreadable("seed", "it has not 64 digits"));
    }
    for (place, byte) in seed.iter_mut().enumerate() {
        let digits = text.get(2 * place..2 * place + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).map_err(|error| fields.unreadable("seed", error))?;
    }
    Ok(seed)
}

/// Days before a tenant's last one on which each process has a row of its own. It must be longer than a process goes without
/// its database: what it says of a day later than that is not counted.
const OPEN_DAYS: i64 = 7;

/// The process that rows of closed days belong to.
const ALL_PROCESSES: &str = "";

async fn put_usage(tx: &mut TenantTx<'_>, day: i64, process: &str, usage: Usage) -> Answer<()> {
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(day) FROM usage WHERE tenant_id = $1")
        .bind(tx.tenant())
        .fetch_one(&mut **tx)
        .await?;
    match last {
        Some(last) if day < last - OPEN_DAYS => {
            warn!(day, process, ?usage, "usage of a day that is closed is not counted");
            return Ok(());
        }
        Some(last) if day > last => close_days(tx, day - OPEN_DAYS).await?,
        _ => {}
    }
    set_usage(tx, day, process, usage).await
}

/// Makes one row a day of all that is before a day.
async fn close_days(tx: &mut TenantTx<'_>, before: i64) -> Answer<()> {
    let rows = sqlx::query("DELETE FROM usage WHERE tenant_id = $1 AND day < $2 AND process <> $3 RETURNING *")
        .bind(tx.tenant())
        .bind(before)
        .bind(ALL_PROCESSES)
        .fetch_all(&mut **tx)
        .await?;
    let mut days: BTreeMap<i64, Usage> = BTreeMap::new();
    for row in &rows {
        let (day, had) = usage(row)?;
        days.entry(day).or_default().add(had);
    }
    for (day, had) in days {
        let mut all = list_usage(tx, day, day).await?.first().map(|(_, before)| *before).unwrap_or_default();
        all.add(had);
        set_usage(tx, day, ALL_PROCESSES, all).await?;
    }
    Ok(())
}

async fn set_usage(tx: &mut TenantTx<'_>, day: i64, process: &str, usage: Usage) -> Answer<()> {
    sqlx::query(
        "INSERT INTO usage (tenant_id, day, process, requests, predictions, adaptations, compute_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, day, process) DO UPDATE SET \
         requests = excluded.requests, predictions = excluded.predictions, \
         adaptations = excluded.adaptations, compute_ms = excluded.compute_ms",
    )
    .bind(tx.tenant())
    .bind(day)
    .bind(process)
    .bind(number(usage.requests))
    .bind(number(usage.predictions))
    .bind(number(usage.adaptations))
    .bind(number(usage.compute_ms))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn list_usage(tx: &mut TenantTx<'_>, from: i64, to: i64) -> Answer<Vec<(i64, Usage)>> {
    let rows = sqlx::query(
        "SELECT day, CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(predictions) AS BIGINT) AS predictions, \
         CAST(SUM(adaptations) AS BIGINT) AS adaptations, CAST(SUM(compute_ms) AS BIGINT) AS compute_ms \
         FROM usage WHERE tenant_id = $1 AND day BETWEEN $2 AND $3 GROUP BY day ORDER BY day",
    )
    .bind(tx.tenant())
    .bind(from)
    .bind(to)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(usage).collect()
}

fn usage(row: &AnyRow) -> Answer<(i64, Usage)> {
    let fields = Fields::of("usage", row);
    let usage = Usage {
        requests: fields.number("requests")?,
        predictions: fields.number("predictions")?,
        adaptations: fields.number("adaptations")?,
        compute_ms: fields.number("compute_ms")?,
    };
    Ok((fields.get("day")?, usage))
}

async fn holdings(tx: &mut TenantTx<'_>) -> Answer<Holdings> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM tasks WHERE tenant_id = $1) AS tasks, \
         (SELECT COUNT(*) FROM support WHERE tenant_id = $1) AS support, \
         (SELECT CAST(COALESCE(SUM(OCTET_LENGTH(input)), 0) AS BIGINT) FROM support WHERE tenant_id = $1) \
         AS support_bytes, \
         (SELECT COUNT(*) FROM adaptations WHERE tenant_id = $1) AS adaptations, \
         (SELECT COUNT(*) FROM adapters WHERE tenant_id = $1) AS adapters, \
         (SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM adapters WHERE tenant_id = $1) AS adapter_bytes, \
         (SELECT COUNT(*) FROM predictions WHERE tenant_id = $1) AS predictions, \
         (SELECT CAST(COALESCE(SUM(OCTET_LENGTH(input)), 0) AS BIGINT) FROM predictions WHERE tenant_id = $1) \
         AS prediction_bytes, \
         (SELECT COUNT(*) FROM bulks WHERE tenant_id = $1) AS bulks, \
         (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM bulks WHERE tenant_id = $1) AS bulk_bytes",
    )
    .bind(tx.tenant())
    .fetch_one(&mut **tx)
    .await?;
    let fields = Fields::of("holdings", &row);
    Ok(Holdings {
        tasks: fields.number("tasks")?,
        support: fields.number("support")?,
        support_bytes: fields.number("support_bytes")?,
        adaptations: fields.number("adaptations")?,
        adapters: fields.number("adapters")?,
        adapter_bytes: fields.number("adapter_bytes")?,
        predictions: fields.number("predictions")?,
        prediction_bytes: fields.number("prediction_bytes")?,
        bulks: fields.number("bulks")?,
        bulk_bytes: fields.number("bulk_bytes")?,
    })
}

async fn add_audit(tx: &mut TenantTx<'_>, entry: &AuditEntry, oldest: Timestamp) -> Answer<()> {
    sqlx::query("DELETE FROM audit WHERE tenant_id = $1 AND created_at < $2")
        .bind(tx.tenant())
        .bind(oldest.millis())
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "INSERT INTO audit (tenant_id, id, key_id, method, path, status, request_id, peer, forwarded_for, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(tx.tenant())
    .bind(entry.id.to_string())
    .bind(entry.key.map(|key| key.to_string()))
    .bind(&entry.method)
    .bind(&entry.path)
    .bind(i64::from(entry.status))
    .bind(&entry.request_id)
    .bind(entry.peer.as_deref())
    .bind(entry.forwarded_for.as_deref())
    .bind(entry.created_at.millis())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn list_audit(tx: &mut TenantTx<'_>, page: Page<AuditId>) -> Answer<Vec<AuditEntry>> {
    let bounds = Bounds::from(page);
    let rows = sqlx::query(
        "SELECT * FROM audit WHERE tenant_id = $1 AND (created_at, id) < ($2, $3) \
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(tx.tenant())
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &AnyRow) -> Answer<AuditEntry> {
    let fields = Fields::of("audit", row);
    let key: Option<String> = fields.get("key_id")?;
    Ok(AuditEntry {
        id: fields.parse("id")?,
        key: key.map(|key| key.parse()).transpose().map_err(|error| fields.unreadable("key_id", error))?,
        method: fields.get("method")?,
        path: fields.get("path")?,
        status: fields.number("status")?,
        request_id: fields.get("request_id")?,
        peer: fields.get("peer")?,
        forwarded_for: fields.get("forwarded_for")?,
        created_at: fields.moment("created_at")?,
    })
}
