//! Monitors: what looks at a task's predictions, and what it saw.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::row::{Fields, json, number};
use super::tx::TenantTx;
use super::{SqlStore, tasks, webhooks};
use crate::domain::{
    Alert, KEPT_ALERTS, Monitor, MonitorEvent, MonitorId, MonitorPatch, TaskId, TenantId, Timestamp, Watch,
};
use crate::store::StoreError;
use crate::store::monitors::MonitorStore;

#[async_trait]
impl MonitorStore for SqlStore {
    async fn create_monitor(&self, tenant: TenantId, monitor: &Monitor, most: usize) -> Result<bool, StoreError> {
        let monitor = monitor.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { create(&mut tx, &monitor, most).await })).await
    }

    async fn list_monitors(&self, tenant: TenantId, task: TaskId) -> Result<Vec<Monitor>, StoreError> {
        self.look(tenant, move |mut tx| Box::pin(async move { of_task(&mut tx, task, "").await })).await
    }

    async fn find_monitor(&self, tenant: TenantId, id: MonitorId) -> Result<Option<Monitor>, StoreError> {
        self.look(tenant, move |mut tx| Box::pin(async move { find(&mut tx, id, "").await })).await
    }

    async fn update_monitor(
        &self,
        tenant: TenantId,
        id: MonitorId,
        patch: &MonitorPatch,
    ) -> Result<Option<Monitor>, StoreError> {
        let patch = patch.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { update(&mut tx, id, patch).await })).await
    }

    async fn delete_monitor(&self, tenant: TenantId, id: MonitorId) -> Result<bool, StoreError> {
        self.change(tenant, move |mut tx| Box::pin(async move { delete(&mut tx, id).await })).await
    }

    async fn observe(
        &self,
        tenant: TenantId,
        task: TaskId,
        labels: &[String],
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let labels = labels.to_vec();
        self.change(tenant, move |mut tx| Box::pin(async move { observe(&mut tx, task, &labels, now).await })).await
    }

    async fn list_monitor_events(
        &self,
        tenant: TenantId,
        id: MonitorId,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<MonitorEvent>, StoreError> {
        self.look(tenant, move |mut tx| Box::pin(async move { events(&mut tx, id, before, limit).await })).await
    }
}

async fn create(tx: &mut TenantTx<'_>, monitor: &Monitor, most: usize) -> Result<bool, StoreError> {
    if tasks::find_locked(tx, monitor.task).await?.is_none() {
        return Ok(false);
    }
    if find(tx, monitor.id, "").await?.is_some() {
        return Ok(true); // made by the same request before
    }
    if of_task(tx, monitor.task, "").await?.len() >= most {
        return Err(StoreError::Full { what: "monitors", limit: most });
    }
    sqlx::query(
        "INSERT INTO monitors (tenant_id, id, task_id, name, rule, watch, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tx.tenant())
    .bind(monitor.id.to_string())
    .bind(monitor.task.to_string())
    .bind(&monitor.name)
    .bind(json(&monitor.rule))
    .bind(json(&monitor.watch))
    .bind(monitor.created_at.millis())
    .execute(&mut **tx)
    .await?;
    count(tx, monitor.task).await?;
    Ok(true)
}

/// Tells the task how many look at it; it must be locked.
async fn count(tx: &mut TenantTx<'_>, task: TaskId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE tasks SET monitors = (SELECT COUNT(*) FROM monitors WHERE tenant_id = $1 AND task_id = $2) \
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// `lock` ends the statement. Always in one order, so that no two wait for each other.
async fn of_task(tx: &mut TenantTx<'_>, task: TaskId, lock: &str) -> Result<Vec<Monitor>, StoreError> {
    let statement =
        format!("SELECT * FROM monitors WHERE tenant_id = $1 AND task_id = $2 ORDER BY created_at DESC, id DESC{lock}");
    let rows =
        sqlx::query(AssertSqlSafe(statement)).bind(tx.tenant()).bind(task.to_string()).fetch_all(&mut **tx).await?;
    rows.iter().map(monitor).collect()
}

async fn find(tx: &mut TenantTx<'_>, id: MonitorId, lock: &str) -> Result<Option<Monitor>, StoreError> {
    let statement = format!("SELECT * FROM monitors WHERE tenant_id = $1 AND id = $2{lock}");
    let row =
        sqlx::query(AssertSqlSafe(statement)).bind(tx.tenant()).bind(id.to_string()).fetch_optional(&mut **tx).await?;
    row.as_ref().map(monitor).transpose()
}

async fn update(tx: &mut TenantTx<'_>, id: MonitorId, patch: MonitorPatch) -> Result<Option<Monitor>, StoreError> {
    let lock = tx.dialect().lock;
    let Some(mut monitor) = find(tx, id, lock).await? else { return Ok(None) };
    let rule = patch.rule(&monitor.rule);
    monitor.name = patch.name.unwrap_or(monitor.name);
    if rule != monitor.rule {
        monitor.rule = rule;
        monitor.watch = Watch::default();
    }
    sqlx::query("UPDATE monitors SET name = $3, rule = $4, watch = $5 WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .bind(&monitor.name)
        .bind(json(&monitor.rule))
        .bind(json(&monitor.watch))
        .execute(&mut **tx)
        .await?;
    Ok(Some(monitor))
}

async fn delete(tx: &mut TenantTx<'_>, id: MonitorId) -> Result<bool, StoreError> {
    let Some(Monitor { task, .. }) = find(tx, id, "").await? else { return Ok(false) };
    tasks::find_locked(tx, task).await?;
    let done = sqlx::query("DELETE FROM monitors WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    count(tx, task).await?;
    Ok(done.rows_affected() == 1)
}

async fn observe(tx: &mut TenantTx<'_>, task: TaskId, labels: &[String], now: Timestamp) -> Result<usize, StoreError> {
    let lock = tx.dialect().lock;
    let mut count = 0;
    for mut monitor in of_task(tx, task, lock).await? {
        let Monitor { id, rule, watch, .. } = &mut monitor;
        let id = *id;
        let alerts: Vec<Alert> = labels.iter().filter_map(|label| watch.observe(rule, *label == rule.label)).collect();
        sqlx::query("UPDATE monitors SET watch = $3 WHERE tenant_id = $1 AND id = $2")
            .bind(tx.tenant())
            .bind(id.to_string())
            .bind(json(watch))
            .execute(&mut **tx)
            .await?;
        for &alert in &alerts {
            let event = note(tx, id, alert, now).await?;
            let message = monitor.message(tx.owner(), &event);
            webhooks::post(tx, &message, None).await?;
        }
        count += alerts.len();
    }
    Ok(count)
}

/// Keeps an alert, and no more than [`KEPT_ALERTS`]. The monitor's row must be locked, so that numbers are given one after
/// another.
async fn note(
    tx: &mut TenantTx<'_>,
    monitor: MonitorId,
    alert: Alert,
    created_at: Timestamp,
) -> Result<MonitorEvent, StoreError> {
    let last = events(tx, monitor, None, 1).await?.first().map_or(0, |event| event.number);
    let event = MonitorEvent { number: last + 1, alert, created_at };
    sqlx::query(
        "INSERT INTO monitor_events (tenant_id, monitor_id, number, alert, created_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(tx.tenant())
    .bind(monitor.to_string())
    .bind(i64::from(event.number))
    .bind(json(&alert))
    .bind(created_at.millis())
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM monitor_events WHERE tenant_id = $1 AND monitor_id = $2 AND number <= $3")
        .bind(tx.tenant())
        .bind(monitor.to_string())
        .bind(i64::from(event.number) - i64::from(KEPT_ALERTS))
        .execute(&mut **tx)
        .await?;
    Ok(event)
}

async fn events(
    tx: &mut TenantTx<'_>,
    monitor: MonitorId,
    before: Option<u32>,
    limit: usize,
) -> Result<Vec<MonitorEvent>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, alert, created_at FROM monitor_events WHERE tenant_id = $1 AND monitor_id = $2 AND number < $3 \
         ORDER BY number DESC LIMIT $4",
    )
    .bind(tx.tenant())
    .bind(monitor.to_string())
    .bind(before.map_or(i64::MAX, i64::from))
    .bind(number(limit))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            let fields = Fields::of("monitor_events", row);
            Ok(MonitorEvent {
                number: fields.number("number")?,
                alert: fields.json("alert")?,
                created_at: fields.moment("created_at")?,
            })
        })
        .collect()
}

fn monitor(row: &AnyRow) -> Result<Monitor, StoreError> {
    let fields = Fields::of("monitors", row);
    Ok(Monitor {
        id: fields.parse("id")?,
        task: fields.parse("task_id")?,
        name: fields.get("name")?,
        rule: fields.json("rule")?,
        watch: fields.json("watch")?,
        created_at: fields.moment("created_at")?,
    })
}
