//! Everything of a tenant's as lines of JSON, read a page at a time while it is sent.

use std::collections::VecDeque;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{Stream, try_unfold};
use serde_json::{Value, json};
use tracing::warn;

use super::bulk::BulkLineBody;
use crate::domain::{
    AdaptationId, AuditId, BulkId, MessageId, MonitorId, PredictionId, SupportFilter, SupportId, TaskId, TenantId,
    Timestamp, WebhookId,
};
use crate::service::{AdapterView, Page, Result, Service};

/// Rows that are read at a time.
const A_PAGE: usize = 100;

/// The last row that was written.
type After<Id> = Option<(Timestamp, Id)>;

/// What is still to be written.
enum Part {
    /// Tasks after this one.
    Tasks(After<TaskId>),
    Support(TaskId, After<SupportId>),
    Adaptations(TaskId, After<AdaptationId>),
    /// Versions below this one.
    Adapters(TaskId, Option<u32>),
    Predictions(TaskId, After<PredictionId>),
    Bulks(TaskId, After<BulkId>),
    /// Lines from this one on.
    BulkLines(BulkId, u64),
    Monitors(TaskId),
    /// Events below this one.
    Alerts(MonitorId, Option<u32>),
    Account,
    Deliveries(WebhookId, After<MessageId>),
    Audit(After<AuditId>),
    End,
}

struct Exporter {
    service: Service,
    tenant: TenantId,
    /// The next is the last.
    parts: Vec<Part>,
    lines: VecDeque<Value>,
    written: u64,
}

/// The lines. One that cannot be read breaks the stream off, so that nobody takes a part for the whole.
pub fn lines(service: Service, tenant: TenantId) -> impl Stream<Item = std::result::Result<Bytes, std::io::Error>> {
    let parts = vec![Part::End, Part::Audit(None), Part::Account, Part::Tasks(None)];
    let first = json!({"object": "export", "tenant": tenant, "format": 1});
    let exporter = Exporter { service, tenant, parts, lines: [first].into(), written: 0 };
    try_unfold(exporter, |mut exporter| async move {
        while exporter.lines.is_empty() {
            let Some(part) = exporter.parts.pop() else { return Ok(None) };
            if let Err(error) = exporter.write(part).await {
                warn!(%error, "an export broke off");
                return Err(std::io::Error::other("the export broke off"));
            }
        }
        let Some(line) = exporter.lines.pop_front() else { return Ok(None) };
        exporter.written += 1;
        Ok(Some((Bytes::from(format!("{line}\n")), exporter)))
    })
}

impl Exporter {
    async fn write(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Tasks(after) => self.tasks(after).await,
            Part::Support(task, after) => self.support(task, after).await,
            Part::Adaptations(task, after) => self.adaptations(task, after).await,
            Part::Adapters(task, before) => self.adapters(task, before).await,
            Part::Predictions(task, after) => self.predictions(task, after).await,
            Part::Bulks(task, after) => self.bulks(task, after).await,
            Part::BulkLines(bulk, from) => self.bulk_lines(bulk, from).await,
            Part::Monitors(task) => self.monitors(task).await,
            Part::Alerts(monitor, before) => self.alerts(monitor, before).await,
            Part::Account => self.account().await,
            Part::Deliveries(webhook, after) => self.deliveries(webhook, after).await,
            Part::Audit(after) => self.audit(after).await,
            Part::End => {
                self.lines.push_back(json!({"object": "end", "lines": self.written}));
                Ok(())
            }
        }
    }

    async fn tasks(&mut self, after: After<TaskId>) -> Result<()> {
        // One at a time: what belongs to it comes after it.
        let page = self.service.list_tasks(self.tenant, None, Page { after, limit: 1 }).await?;
        let Some(task) = page.into_iter().next() else { return Ok(()) };
        self.parts.push(Part::Tasks(Some((task.created_at, task.id))));
        self.parts.push(Part::Monitors(task.id));
        self.parts.push(Part::Bulks(task.id, None));
        self.parts.push(Part::Predictions(task.id, None));
        self.parts.push(Part::Adapters(task.id, None));
        self.parts.push(Part::Adaptations(task.id, None));
        self.parts.push(Part::Support(task.id, None));
        self.lines.push_back(json!({
            "object": "task", "id": task.id, "name": task.name, "kind": task.kind, "base_model": task.base_model,
            "labels": task.labels, "metadata": task.metadata, "answers": task.answers, "settings": task.settings,
            "active_version": task.active_version, "created_at": task.created_at, "updated_at": task.updated_at,
        }));
        for promoted in self.service.list_promotions(self.tenant, task.id).await? {
            self.lines.push_back(json!({
                "object": "promotion", "task": task.id, "version": promoted.version,
                "promoted_at": promoted.promoted_at, "undone_at": promoted.undone_at,
            }));
        }
        Ok(())
    }

    async fn support(&mut self, task: TaskId, after: After<SupportId>) -> Result<()> {
        let page = Page { after, limit: A_PAGE };
        let rows = self.service.list_support(self.tenant, task, &SupportFilter::default(), page).await?;
        if let Some(last) = rows.last().filter(|_| rows.len() == A_PAGE) {
            self.parts.push(Part::Support(task, Some((last.created_at, last.id))));
        }
        self.lines.extend(rows.into_iter().map(|row| {
            json!({
                "object": "support", "task": task, "id": row.id, "input": row.example.input,
                "target": row.example.target, "external_id": row.example.external_id, "created_at": row.created_at,
            })
        }));
        Ok(())
    }

    async fn adaptations(&mut self, task: TaskId, after: After<AdaptationId>) -> Result<()> {
        let page = Page { after, limit: A_PAGE };
        let rows = self.service.list_adaptations(self.tenant, Some(task), None, page).await?;
        if let Some(last) = rows.last().filter(|_| rows.len() == A_PAGE) {
            self.parts.push(Part::Adaptations(task, Some((last.created_at, last.id))));
        }
        self.lines.extend(rows.into_iter().map(|row| {
            json!({
                "object": "adaptation", "task": task, "id": row.id, "recipe": row.recipe, "status": row.status,
                "version": row.version, "error": row.failure, "created_at": row.created_at,
                "finished_at": row.finished_at,
            })
        }));
        Ok(())
    }

    async fn adapters(&mut self, task: TaskId, before: Option<u32>) -> Result<()> {
        // One at a time: each brings its weights.
        let rows = self.service.list_adapters(self.tenant, task, before, 1).await?;
        let Some(AdapterView { adapter, .. }) = rows.into_iter().next() else { return Ok(()) };
        self.parts.push(Part::Adapters(task, Some(adapter.version)));
        let weights = self.service.adapter_weights(self.tenant, task, adapter.version).await?;
        self.lines.push_back(json!({
            "object": "adapter", "task": task, "id": adapter.id, "version": adapter.version,
            "base_model": adapter.base_model, "base_sha256": adapter.base_sha256, "support_hash": adapter.support_hash,
            "recipe": adapter.recipe, "labels": adapter.labels, "sha256": adapter.sha256, "quality": adapter.quality,
            "created_at": adapter.created_at, "weights": STANDARD.encode(weights.bytes()),
        }));
        Ok(())
    }

    async fn predictions(&mut self, task: TaskId, after: After<PredictionId>) -> Result<()> {
        let rows = self.service.list_predictions(self.tenant, task, Page { after, limit: A_PAGE }).await?;
        if let Some(last) = rows.last().filter(|_| rows.len() == A_PAGE) {
            self.parts.push(Part::Predictions(task, Some((last.created_at, last.id))));
        }
        self.lines.extend(rows.into_iter().map(|row| {
            json!({
                "object": "prediction", "task": task, "id": row.id, "version": row.version, "input": row.input,
                "answer": row.answer, "created_at": row.created_at,
            })
        }));
        Ok(())
    }

    async fn bulks(&mut self, task: TaskId, after: After<BulkId>) -> Result<()> {
        // One at a time: its answers come after it.
        let page = self.service.list_bulks(self.tenant, task, Page { after, limit: 1 }).await?;
        let Some(bulk) = page.into_iter().next() else { return Ok(()) };
        self.parts.push(Part::Bulks(task, Some((bulk.created_at, bulk.id))));
        self.parts.push(Part::BulkLines(bulk.id, 0));
        self.lines.push_back(json!({
            "object": "bulk_prediction", "task": task, "id": bulk.id, "version": bulk.version, "status": bulk.status,
            "lines": bulk.lines, "answered": bulk.answered, "refused": bulk.refused, "created_at": bulk.created_at,
            "finished_at": bulk.finished_at,
        }));
        Ok(())
    }

    async fn bulk_lines(&mut self, bulk: BulkId, from: u64) -> Result<()> {
        let rows = self.service.bulk_output(self.tenant, bulk, from).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        self.parts.push(Part::BulkLines(bulk, last.index + 1));
        self.lines.extend(rows.into_iter().map(|row| {
            let line = BulkLineBody::from(row);
            json!({"object": "bulk_prediction.line", "bulk_prediction": bulk, "line": line})
        }));
        Ok(())
    }

    async fn monitors(&mut self, task: TaskId) -> Result<()> {
        for monitor in self.service.list_monitors(self.tenant, task).await? {
            self.parts.push(Part::Alerts(monitor.id, None));
            self.lines.push_back(json!({
                "object": "monitor", "task": task, "id": monitor.id, "name": monitor.name, "rule": monitor.rule,
                "seen": monitor.watch.seen, "raised": monitor.watch.is_raised, "created_at": monitor.created_at,
            }));
        }
        Ok(())
    }

    async fn alerts(&mut self, monitor: MonitorId, before: Option<u32>) -> Result<()> {
        let rows = self.service.monitor_events(self.tenant, monitor, before, A_PAGE).await?;
        if let Some(last) = rows.last().filter(|_| rows.len() == A_PAGE) {
            self.parts.push(Part::Alerts(monitor, Some(last.number)));
        }
        self.lines.extend(rows.into_iter().map(|row| {
            json!({
                "object": "monitor.event", "monitor": monitor, "number": row.number, "event": row.alert,
                "created_at": row.created_at,
            })
        }));
        Ok(())
    }

    async fn deliveries(&mut self, webhook: WebhookId, after: After<MessageId>) -> Result<()> {
        let page = Page { after, limit: A_PAGE };
        let rows = self.service.list_deliveries(self.tenant, webhook, None, page).await?;
        if let Some(last) = rows.last().filter(|_| rows.len() == A_PAGE) {
            self.parts.push(Part::Deliveries(webhook, Some((last.message.created_at, last.message.id))));
        }
        self.lines.extend(rows.into_iter().map(|row| {
            json!({
                "object": "delivery", "webhook": webhook, "id": row.message.id, "topic": row.message.topic,
                "payload": row.message.payload, "status": row.status.name(), "attempt": row.attempt,
                "answered": row.answered, "error": row.error, "created_at": row.message.created_at,
                "finished_at": row.finished_at,
            })
        }));
        Ok(())
    }

    async fn account(&mut self) -> Result<()> {
        for key in self.service.list_keys(self.tenant).await? {
            self.lines.push_back(json!({
                "object": "key", "id": key.id, "name": key.name, "scope": key.scope, "created_at": key.created_at,
                "expires_at": key.expires_at,
            }));
        }
        for webhook in self.service.list_webhooks(self.tenant).await? {
            self.parts.push(Part::Deliveries(webhook.id, None));
            self.lines.push_back(json!({
                "object": "webhook", "id": webhook.id, "url": webhook.url, "topics": webhook.topics,
                "enabled": webhook.is_enabled, "created_at": webhook.created_at,
            }));
        }
        let (days, _) = self.service.usage(self.tenant, 0..=self.service.today()).await?;
        for (day, usage) in days {
            self.lines.push_back(json!({
                "object": "usage", "day": day, "requests": usage.requests, "predictions": usage.predictions,
                "adaptations": usage.adaptations, "compute_ms": usage.compute_ms,
            }));
        }
        Ok(())
    }

    async fn audit(&mut self, after: After<AuditId>) -> Result<()> {
        let rows = self.service.list_audit(self.tenant, Page { after, limit: A_PAGE }).await?;
        if let Some(last) = rows.last().filter(|_| rows.len() == A_PAGE) {
            self.parts.push(Part::Audit(Some((last.created_at, last.id))));
        }
        self.lines.extend(rows.into_iter().map(|row| {
            json!({
                "object": "audit.entry", "id": row.id, "key": row.key, "method": row.method, "path": row.path,
                "status": row.status, "request_id": row.request_id, "peer": row.peer,
                "forwarded_for": row.forwarded_for, "created_at": row.created_at,
            })
        }));
        Ok(())
    }
}
