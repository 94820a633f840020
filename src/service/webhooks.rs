//! Webhooks: who is to be told of what.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::{Page, Result, Service, ServiceError};
use crate::courier::Place;
use crate::domain::{
    Delivery, DeliveryStatus, Fault, Message, MessageId, TenantId, Topic, Webhook, WebhookId, WebhookPatch,
    WebhookSecret,
};

/// Longest time for which two secrets sign, in seconds: 30 days.
const LONGEST_OVERLAP_S: u64 = 30 * 24 * 3_600;

/// A webhook as a caller asks for it.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Where messages go.
    pub url: String,
    /// What it is told of; everything, if empty.
    pub topics: Vec<Topic>,
}

impl Service {
    /// Makes a webhook.
    pub async fn create_webhook(&self, tenant: TenantId, new: NewWebhook) -> Result<Webhook> {
        self.check_url(&new.url)?;
        let webhook = Webhook {
            id: WebhookId::fresh(&*self.ids),
            url: new.url,
            topics: each_once(new.topics),
            secret: WebhookSecret::fresh(&*self.ids),
            previous: None,
            is_enabled: true,
            disabled_reason: None,
            created_at: self.clock.now(),
        };
        self.store.create_webhook(tenant, &webhook, self.config.webhooks.max_webhooks).await?;
        Ok(webhook)
    }

    /// A tenant's webhooks, newest first.
    pub async fn list_webhooks(&self, tenant: TenantId) -> Result<Vec<Webhook>> {
        Ok(self.store.list_webhooks(tenant).await?)
    }

    /// One of them.
    pub async fn find_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<Webhook> {
        self.store.find_webhook(tenant, id).await?.ok_or(ServiceError::NotFound("webhook"))
    }

    /// Changes one.
    pub async fn update_webhook(&self, tenant: TenantId, id: WebhookId, mut patch: WebhookPatch) -> Result<Webhook> {
        if let Some(url) = &patch.url {
            self.check_url(url)?;
        }
        patch.topics = patch.topics.map(each_once);
        self.store.update_webhook(tenant, id, &patch).await?.ok_or(ServiceError::NotFound("webhook"))
    }

    /// Gives one another secret; messages are signed with the old one, too, for `overlap`.
    pub async fn rotate_webhook(&self, tenant: TenantId, id: WebhookId, overlap: Duration) -> Result<Webhook> {
        if overlap.as_secs() > LONGEST_OVERLAP_S {
            let (given, most) = (i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX), LONGEST_OVERLAP_S as i64);
            return Err(Fault::OutOfRange { given, least: 0, most }.at("/overlap_s").into());
        }
        let secret = WebhookSecret::fresh(&*self.ids);
        let rotated = self.store.rotate_webhook(tenant, id, &secret, overlap).await?;
        rotated.ok_or(ServiceError::NotFound("webhook"))
    }

    /// Removes one, and all that is on its way to it.
    pub async fn delete_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<()> {
        let is_gone = self.store.delete_webhook(tenant, id).await?;
        if is_gone { Ok(()) } else { Err(ServiceError::NotFound("webhook")) }
    }

    /// Sends one a message that says nothing.
    pub async fn test_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<MessageId> {
        self.find_webhook(tenant, id).await?;
        let message = MessageId::from_bits(self.ids.bits());
        let data = json!({"webhook": id});
        let message = Message::new(message, Topic::Test, &data, self.clock.now());
        self.store.post(tenant, &message, Some(id)).await?;
        self.announce();
        Ok(message.id)
    }

    /// What was and is on its way to one, newest first.
    pub async fn list_deliveries(
        &self,
        tenant: TenantId,
        id: WebhookId,
        status: Option<DeliveryStatus>,
        page: Page<MessageId>,
    ) -> Result<Vec<Delivery>> {
        self.find_webhook(tenant, id).await?;
        Ok(self.store.list_deliveries(tenant, id, status, page).await?)
    }

    /// Sends a message again.
    pub async fn redeliver(&self, tenant: TenantId, id: WebhookId, message: MessageId) -> Result<Delivery> {
        let delivery = self.store.redeliver(tenant, id, message).await?;
        self.announce();
        delivery.ok_or(ServiceError::NotFound("delivery"))
    }

    fn check_url(&self, url: &str) -> Result<()> {
        let place = Place::parse(url, self.config.webhooks.webhook_reach);
        place.map(drop).map_err(|refused| Fault::BadUrl { reason: refused.to_string() }.at("/url").into())
    }
}

fn each_once(mut topics: Vec<Topic>) -> Vec<Topic> {
    let mut seen = HashSet::new();
    topics.retain(|topic| seen.insert(*topic));
    topics
}
