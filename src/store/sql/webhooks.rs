//! Webhooks.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::any::AnyRow;

use super::dialect::Access;
use super::row::{Fields, json, number};
use super::tx::{Scope, TenantTx};
use super::{SqlStore, deliveries, tenants};
use crate::domain::{
    Delivery, DeliveryStatus, Message, MessageId, TenantId, Timestamp, Webhook, WebhookId, WebhookPatch, WebhookSecret,
};
use crate::store::webhooks::{Attempted, Parcel, WebhookStore};
use crate::store::{Page, StoreError};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl WebhookStore for SqlStore {
    async fn create_webhook(&self, tenant: TenantId, webhook: &Webhook, most: usize) -> Answer<()> {
        let webhook = webhook.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { create(&mut tx, &webhook, most).await })).await
    }

    async fn list_webhooks(&self, tenant: TenantId) -> Answer<Vec<Webhook>> {
        self.look(tenant, |mut tx| Box::pin(async move { list(&mut tx).await })).await
    }

    async fn find_webhook(&self, tenant: TenantId, id: WebhookId) -> Answer<Option<Webhook>> {
        self.look(tenant, move |mut tx| Box::pin(async move { find(&mut tx, id).await })).await
    }

    async fn update_webhook(&self, tenant: TenantId, id: WebhookId, patch: &WebhookPatch) -> Answer<Option<Webhook>> {
        let patch = patch.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { update(&mut tx, id, patch).await })).await
    }

    async fn rotate_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        secret: &WebhookSecret,
        overlap: Duration,
    ) -> Answer<Option<Webhook>> {
        let secret = secret.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { rotate(&mut tx, id, secret, overlap).await })).await
    }

    async fn delete_webhook(&self, tenant: TenantId, id: WebhookId) -> Answer<bool> {
        self.change(tenant, move |mut tx| Box::pin(async move { delete(&mut tx, id).await })).await
    }

    async fn post(&self, tenant: TenantId, message: &Message, only: Option<WebhookId>) -> Answer<()> {
        let message = message.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { post(&mut tx, &message, only).await })).await
    }

    async fn take_delivery(&self, lease: Duration) -> Answer<Option<Parcel>> {
        self.across(Access::Write, Scope::Queue, move |mut tx| {
            Box::pin(async move { deliveries::take(&mut tx, lease).await })
        })
        .await
    }

    async fn note_delivery(&self, parcel: &Parcel, attempted: &Attempted) -> Answer<bool> {
        let (parcel, attempted) = (parcel.clone(), attempted.clone());
        self.change(parcel.tenant, move |mut tx| {
            Box::pin(async move { deliveries::note(&mut tx, &parcel, &attempted).await })
        })
        .await
    }

    async fn list_deliveries(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        status: Option<DeliveryStatus>,
        page: Page<MessageId>,
    ) -> Answer<Vec<Delivery>> {
        self.look(tenant, move |mut tx| Box::pin(async move { deliveries::list(&mut tx, webhook, status, page).await }))
            .await
    }

    async fn redeliver(&self, tenant: TenantId, webhook: WebhookId, message: MessageId) -> Answer<Option<Delivery>> {
        self.change(tenant, move |mut tx| Box::pin(async move { deliveries::again(&mut tx, webhook, message).await }))
            .await
    }
}

async fn create(tx: &mut TenantTx<'_>, webhook: &Webhook, most: usize) -> Result<(), StoreError> {
    tenants::lock(tx).await?;
    if find(tx, webhook.id).await?.is_some() {
        return Ok(()); // made by the same request before
    }
    if list(tx).await?.len() >= most {
        return Err(StoreError::Full { what: "webhooks", limit: most });
    }
    sqlx::query(
        "INSERT INTO webhooks (tenant_id, id, url, topics, secret, enabled, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tx.tenant())
    .bind(webhook.id.to_string())
    .bind(&webhook.url)
    .bind(json(&webhook.topics))
    .bind(webhook.secret.reveal())
    .bind(i64::from(webhook.is_enabled))
    .bind(webhook.created_at.millis())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn list(tx: &mut TenantTx<'_>) -> Result<Vec<Webhook>, StoreError> {
    let rows = sqlx::query("SELECT * FROM webhooks WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC")
        .bind(tx.tenant())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(webhook).collect()
}

async fn find(tx: &mut TenantTx<'_>, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
    let row = sqlx::query("SELECT * FROM webhooks WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| webhook(&row)).transpose()
}

async fn update(tx: &mut TenantTx<'_>, id: WebhookId, patch: WebhookPatch) -> Result<Option<Webhook>, StoreError> {
    tenants::lock(tx).await?;
    let Some(mut webhook) = find(tx, id).await? else { return Ok(None) };
    webhook.url = patch.url.unwrap_or(webhook.url);
    webhook.topics = patch.topics.unwrap_or(webhook.topics);
    if let Some(is_enabled) = patch.is_enabled {
        webhook.is_enabled = is_enabled;
        webhook.disabled_reason = None;
    }
    save(tx, &webhook).await?;
    match patch.is_enabled {
        Some(true) => deliveries::unshelve(tx, id).await?,
        Some(false) => deliveries::shelve(tx, id).await?,
        None => {}
    }
    Ok(Some(webhook))
}

async fn rotate(
    tx: &mut TenantTx<'_>,
    id: WebhookId,
    secret: WebhookSecret,
    overlap: Duration,
) -> Result<Option<Webhook>, StoreError> {
    tenants::lock(tx).await?;
    let Some(mut webhook) = find(tx, id).await? else { return Ok(None) };
    if webhook.secret != secret {
        let now = tx.dialect().now(tx).await?.millis();
        let until = Timestamp::from_millis(now.saturating_add(number(overlap.as_millis())));
        webhook.previous = Some((std::mem::replace(&mut webhook.secret, secret), until));
        save(tx, &webhook).await?;
    }
    Ok(Some(webhook))
}

async fn save(tx: &mut TenantTx<'_>, webhook: &Webhook) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE webhooks SET url = $3, topics = $4, secret = $5, previous_secret = $6, previous_until = $7, \
         enabled = $8, disabled_reason = $9 WHERE tenant_id = $1 AND id = $2",
    )
    .bind(tx.tenant())
    .bind(webhook.id.to_string())
    .bind(&webhook.url)
    .bind(json(&webhook.topics))
    .bind(webhook.secret.reveal())
    .bind(webhook.previous.as_ref().map(|(secret, _)| secret.reveal()))
    .bind(webhook.previous.as_ref().map(|(_, until)| until.millis()))
    .bind(i64::from(webhook.is_enabled))
    .bind(webhook.disabled_reason.as_deref())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Puts a message on its way in a transaction that does what it tells of.
pub(super) async fn post(tx: &mut TenantTx<'_>, message: &Message, only: Option<WebhookId>) -> Result<(), StoreError> {
    let all = list(tx).await?;
    let wants = |webhook: &Webhook| {
        webhook.is_enabled && (webhook.topics.is_empty() || webhook.topics.contains(&message.topic))
    };
    let chosen = |webhook: &&Webhook| only.map_or_else(|| wants(webhook), |only| webhook.id == only);
    for webhook in all.iter().filter(chosen) {
        deliveries::insert(tx, webhook.id, message).await?;
    }
    Ok(())
}

/// Sends nothing to it any more. Whatever else is changed meanwhile stays.
pub(super) async fn disable(tx: &mut TenantTx<'_>, id: WebhookId, reason: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhooks SET enabled = 0, disabled_reason = $3 WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .bind(reason)
        .execute(&mut **tx)
        .await?;
    deliveries::shelve(tx, id).await
}

async fn delete(tx: &mut TenantTx<'_>, id: WebhookId) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM webhooks WHERE tenant_id = $1 AND id = $2")
        .bind(tx.tenant())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) fn webhook(row: &AnyRow) -> Result<Webhook, StoreError> {
    let fields = Fields::of("webhooks", row);
    let secret = |text: &str, column| WebhookSecret::parse(text).ok_or_else(|| fields.unreadable(column, "no secret"));
    let previous = match fields.get::<Option<String>>("previous_secret")? {
        Some(text) => Some((secret(&text, "previous_secret")?, fields.moment("previous_until")?)),
        None => None,
    };
    Ok(Webhook {
        id: fields.parse("id")?,
        url: fields.get("url")?,
        topics: fields.json("topics")?,
        secret: secret(fields.get("secret")?, "secret")?,
        previous,
        is_enabled: fields.flag("enabled")?,
        disabled_reason: fields.get("disabled_reason")?,
        created_at: fields.moment("created_at")?,
    })
}
