//! What is remembered of webhooks, and of what is on its way to them.

use std::time::Duration;

use async_trait::async_trait;

use super::{Page, StoreError};
use crate::domain::{
    Delivery, DeliveryStatus, Message, MessageId, TenantId, Webhook, WebhookId, WebhookPatch, WebhookSecret,
};

/// A delivery that somebody has taken up, with all that it takes to send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Whose.
    pub tenant: TenantId,
    /// To whom.
    pub webhook: WebhookId,
    /// Where that is.
    pub url: String,
    /// What to sign with.
    pub secrets: Vec<WebhookSecret>,
    /// What to send.
    pub message: Message,
    /// How often it was taken up: the fence.
    pub attempt: u32,
    /// How often since it was posted, or sent again by hand.
    pub round: u32,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The status that it was answered with, if it was answered.
    pub answered: Option<u16>,
    /// Why it came to nothing, if it did.
    pub error: Option<String>,
    /// What becomes of the delivery.
    pub next: Next,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Delivered,
    /// It is sent again after this pause.
    Again(Duration),
    /// It is given up. A webhook that took nothing since the message was posted is not sent to any more.
    Dead,
}

/// Webhooks and deliveries.
#[async_trait]
pub trait WebhookStore {
    /// Adds a webhook, once. [`StoreError::Full`] above `most` of the tenant.
    async fn create_webhook(&self, tenant: TenantId, webhook: &Webhook, most: usize) -> Result<(), StoreError>;
    /// All of a tenant's, newest first.
    async fn list_webhooks(&self, tenant: TenantId) -> Result<Vec<Webhook>, StoreError>;
    /// One of them.
    async fn find_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>, StoreError>;
    /// Changes one.
    async fn update_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        patch: &WebhookPatch,
    ) -> Result<Option<Webhook>, StoreError>;
    /// Gives one another secret, once; the one before is signed with as well for `overlap`.
    async fn rotate_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        secret: &WebhookSecret,
        overlap: Duration,
    ) -> Result<Option<Webhook>, StoreError>;
    /// Removes one with its deliveries; false if there was none.
    async fn delete_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<bool, StoreError>;

    /// Puts a message on its way, once: to `only` that webhook, or to all of the tenant's that are enabled and want its
    /// topic.
    async fn post(&self, tenant: TenantId, message: &Message, only: Option<WebhookId>) -> Result<(), StoreError>;
    /// Takes up a delivery of any tenant that is due, and counts the attempt. A webhook gets one after the other, one that
    /// is not enabled gets tests alone, and no tenant has more than a few under way.
    async fn take_delivery(&self, lease: Duration) -> Result<Option<Parcel>, StoreError>;
    /// Notes what came of an attempt; false if the delivery is no longer this attempt's.
    async fn note_delivery(&self, parcel: &Parcel, attempted: &Attempted) -> Result<bool, StoreError>;
    /// Deliveries to a webhook, newest first, of one status if given.
    async fn list_deliveries(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        status: Option<DeliveryStatus>,
        page: Page<MessageId>,
    ) -> Result<Vec<Delivery>, StoreError>;
    /// Sends one that was delivered or given up again, with fresh attempts; the delivery as it is afterwards.
    async fn redeliver(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        message: MessageId,
    ) -> Result<Option<Delivery>, StoreError>;
}
