//! Deliveries: messages on their way to webhooks.
//!
//! As in the queue of adaptations, the attempt is counted when a delivery is taken up, and every later write names it.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use tracing::error;

use super::page::Bounds;
use super::row::{Fields, number};
use super::tx::{SystemTx, TenantTx};
use super::webhooks;
use crate::domain::{Delivery, DeliveryStatus, Message, MessageId, Timestamp, Topic, WebhookId};
use crate::store::webhooks::{Attempted, Next, Parcel};
use crate::store::{Page, StoreError};

/// How long one that has ended is kept, in milliseconds: a week.
const KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Most deliveries of one tenant that are under way at a time, so that one with slow receivers leaves places to others.
const PLACES_OF_A_TENANT: i64 = 4;

/// When what waits for a webhook that is off is due: never, so that no claim walks over it.
const SHELVED: i64 = i64::MAX;

/// The status by which the other side says that it wants nothing any more.
const GONE: u16 = 410;

pub(super) async fn insert(tx: &mut TenantTx<'_>, webhook: WebhookId, message: &Message) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deliveries (tenant_id, webhook_id, message_id, topic, payload, status, created_at, traceparent) \
         VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(tx.tenant())
    .bind(webhook.to_string())
    .bind(message.id.to_string())
    .bind(message.topic.name())
    .bind(&message.payload)
    .bind(message.created_at.millis())
    .bind(message.trace.map(|trace| trace.to_string()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn take(tx: &mut SystemTx<'_>, lease: Duration) -> Result<Option<Parcel>, StoreError> {
    let now = tx.dialect().now(tx).await?;
    while let Some(row) = due(tx, now).await? {
        match parcel(tx, &row, now).await {
            Ok(parcel) if hold(tx, &parcel, now, lease).await? => return Ok(Some(parcel)),
            // Another server has just taken one to the same webhook.
            Ok(_) => {}
            // It would be the first again and again, and hold up all others.
            Err(error @ StoreError::Unreadable { .. }) => {
                error!(%error, "a delivery is given up");
                give_up(tx, &row, now).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A delivery whose time has come, to a webhook that has none under way, of a tenant that has places left. The row of the
/// webhook is locked with it, so that no other server chooses another one for it meanwhile.
async fn due(tx: &mut SystemTx<'_>, now: Timestamp) -> Result<Option<AnyRow>, StoreError> {
    let statement = format!(
        "SELECT a.* FROM deliveries AS a JOIN webhooks AS w ON w.tenant_id = a.tenant_id AND w.id = a.webhook_id \
         WHERE a.status = 'pending' AND a.next_at <= $1 AND a.taken_until < $1 AND (w.enabled = 1 OR a.topic = $2) \
         AND NOT EXISTS (SELECT 1 FROM deliveries AS o WHERE o.tenant_id = a.tenant_id \
         AND o.webhook_id = a.webhook_id AND o.status = 'pending' AND o.taken_until >= $1) \
         AND (SELECT COUNT(*) FROM deliveries AS t WHERE t.tenant_id = a.tenant_id \
         AND t.status = 'pending' AND t.taken_until >= $1) < $3 \
         ORDER BY a.next_at, a.created_at, a.message_id LIMIT 1{}",
        tx.dialect().lock_free_delivery
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(now.millis())
        .bind(Topic::Test.name()) // whoever asks for a test wants to see it before anything else is sent
        .bind(PLACES_OF_A_TENANT)
        .fetch_optional(&mut **tx);
    Ok(row.await?)
}

/// Counts the attempt; false if another delivery to the webhook was taken before its row was locked.
async fn hold(tx: &mut SystemTx<'_>, parcel: &Parcel, now: Timestamp, lease: Duration) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET attempt = attempt + 1, taken_until = $5 \
         WHERE tenant_id = $1 AND webhook_id = $2 AND message_id = $3 AND status = 'pending' \
         AND NOT EXISTS (SELECT 1 FROM deliveries AS o WHERE o.tenant_id = $1 AND o.webhook_id = $2 \
         AND o.status = 'pending' AND o.taken_until >= $4)",
    )
    .bind(parcel.tenant.to_string())
    .bind(parcel.webhook.to_string())
    .bind(parcel.message.id.to_string())
    .bind(now.millis())
    .bind(now.millis().saturating_add(number(lease.as_millis())))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn parcel(tx: &mut SystemTx<'_>, row: &AnyRow, now: Timestamp) -> Result<Parcel, StoreError> {
    let fields = Fields::of("deliveries", row);
    let (tenant, webhook): (String, String) = (fields.get("tenant_id")?, fields.get("webhook_id")?);
    let found = sqlx::query("SELECT * FROM webhooks WHERE tenant_id = $1 AND id = $2")
        .bind(tenant)
        .bind(webhook)
        .fetch_one(&mut **tx)
        .await?;
    let webhook = webhooks::webhook(&found)?;
    let previous = webhook.previous.filter(|(_, until)| *until > now).map(|(secret, _)| secret);
    let attempt = fields.number::<u32>("attempt")? + 1;
    Ok(Parcel {
        tenant: fields.parse("tenant_id")?,
        webhook: webhook.id,
        url: webhook.url,
        secrets: [webhook.secret].into_iter().chain(previous).collect(),
        message: message(row)?,
        attempt,
        round: attempt.saturating_sub(fields.number("spent")?),
    })
}

/// Ends one that cannot be read, by what its row says.
async fn give_up(tx: &mut SystemTx<'_>, row: &AnyRow, now: Timestamp) -> Result<(), StoreError> {
    let fields = Fields::of("deliveries", row);
    sqlx::query(
        "UPDATE deliveries SET status = 'dead', error = 'the server cannot read this delivery', finished_at = $4 \
         WHERE tenant_id = $1 AND webhook_id = $2 AND message_id = $3",
    )
    .bind(fields.get::<String>("tenant_id")?)
    .bind(fields.get::<String>("webhook_id")?)
    .bind(fields.get::<String>("message_id")?)
    .bind(now.millis())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn note(tx: &mut TenantTx<'_>, parcel: &Parcel, attempted: &Attempted) -> Result<bool, StoreError> {
    let now = tx.dialect().now(tx).await?;
    let (status, next_at, finished_at) = match attempted.next {
        Next::Delivered => (DeliveryStatus::Delivered, now.millis(), Some(now.millis())),
        Next::Again(pause) => (DeliveryStatus::Pending, now.millis().saturating_add(number(pause.as_millis())), None),
        Next::Dead => (DeliveryStatus::Dead, now.millis(), Some(now.millis())),
    };
    let done = sqlx::query(
        "UPDATE deliveries SET status = $5, next_at = $6, taken_until = 0, answered = $7, error = $8, finished_at = $9 \
         WHERE tenant_id = $1 AND webhook_id = $2 AND message_id = $3 AND attempt = $4 AND status = 'pending'",
    )
    .bind(tx.tenant())
    .bind(parcel.webhook.to_string())
    .bind(parcel.message.id.to_string())
    .bind(i64::from(parcel.attempt))
    .bind(status.name())
    .bind(next_at)
    .bind(attempted.answered.map(i64::from))
    .bind(attempted.error.as_deref())
    .bind(finished_at)
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if let Next::Again(_) = attempted.next {
        shelve(tx, parcel.webhook).await?; // it may have been switched off meanwhile
    }
    if attempted.answered == Some(GONE) {
        webhooks::disable(tx, parcel.webhook, "the receiver answered 410 Gone").await?;
    } else if attempted.next == Next::Dead && !took_any_since(tx, parcel).await? {
        webhooks::disable(tx, parcel.webhook, "the receiver took nothing in all attempts at a message").await?;
    }
    forget(tx, now).await?;
    Ok(true)
}

/// Puts aside what waits for a webhook, if it is off. Tests go out all the same.
pub(super) async fn shelve(tx: &mut TenantTx<'_>, webhook: WebhookId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET next_at = $3 WHERE tenant_id = $1 AND webhook_id = $2 AND status = 'pending' \
         AND topic <> $4 AND EXISTS (SELECT 1 FROM webhooks AS w WHERE w.tenant_id = $1 AND w.id = $2 AND w.enabled = 0)",
    )
    .bind(tx.tenant())
    .bind(webhook.to_string())
    .bind(SHELVED)
    .bind(Topic::Test.name())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets what was put aside for a webhook be due at once.
pub(super) async fn unshelve(tx: &mut TenantTx<'_>, webhook: WebhookId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET next_at = 0 WHERE tenant_id = $1 AND webhook_id = $2 AND status = 'pending' AND next_at = $3",
    )
    .bind(tx.tenant())
    .bind(webhook.to_string())
    .bind(SHELVED)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn took_any_since(tx: &mut TenantTx<'_>, parcel: &Parcel) -> Result<bool, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND status = 'delivered' \
         AND finished_at >= $3",
    )
    .bind(tx.tenant())
    .bind(parcel.webhook.to_string())
    .bind(parcel.message.created_at.millis())
    .fetch_one(&mut **tx)
    .await?;
    Ok(count > 0)
}

/// Forgets what ended long ago.
async fn forget(tx: &mut TenantTx<'_>, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM deliveries WHERE tenant_id = $1 AND finished_at < $2")
        .bind(tx.tenant())
        .bind(now.millis() - KEPT_MS)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn list(
    tx: &mut TenantTx<'_>,
    webhook: WebhookId,
    status: Option<DeliveryStatus>,
    page: Page<MessageId>,
) -> Result<Vec<Delivery>, StoreError> {
    let (mut bounds, mut found) = (Bounds::from(page), Vec::new());
    loop {
        let rows = part(tx, webhook, status, &bounds).await?;
        for row in &rows {
            match delivery(row) {
                Ok(delivery) => found.push(delivery),
                // Written by another version, say; it is no reason to hide the others.
                Err(error @ StoreError::Unreadable { .. }) => error!(%error, "a delivery is left out of a list"),
                Err(error) => return Err(error),
            }
        }
        let Some(last) = rows.last().filter(|_| rows.len() == page.limit && found.len() < page.limit) else {
            found.truncate(page.limit);
            return Ok(found);
        };
        let fields = Fields::of("deliveries", last);
        (bounds.created_at, bounds.id) = (fields.get("created_at")?, fields.get("message_id")?);
    }
}

async fn part(
    tx: &mut TenantTx<'_>,
    webhook: WebhookId,
    status: Option<DeliveryStatus>,
    bounds: &Bounds,
) -> Result<Vec<AnyRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND (created_at, message_id) < ($3, $4) \
         AND (status = $5 OR $5 = '') ORDER BY created_at DESC, message_id DESC LIMIT $6",
    )
    .bind(tx.tenant())
    .bind(webhook.to_string())
    .bind(bounds.created_at)
    .bind(&bounds.id)
    .bind(status.map_or("", DeliveryStatus::name))
    .bind(bounds.limit)
    .fetch_all(&mut **tx);
    Ok(rows.await?)
}

pub(super) async fn again(
    tx: &mut TenantTx<'_>,
    webhook: WebhookId,
    message: MessageId,
) -> Result<Option<Delivery>, StoreError> {
    sqlx::query(
        "UPDATE deliveries SET status = 'pending', spent = attempt, next_at = 0, taken_until = 0, finished_at = NULL \
         WHERE tenant_id = $1 AND webhook_id = $2 AND message_id = $3 AND status <> 'pending'",
    )
    .bind(tx.tenant())
    .bind(webhook.to_string())
    .bind(message.to_string())
    .execute(&mut **tx)
    .await?;
    shelve(tx, webhook).await?;
    let row = sqlx::query("SELECT * FROM deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND message_id = $3")
        .bind(tx.tenant())
        .bind(webhook.to_string())
        .bind(message.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| delivery(&row)).transpose()
}

fn message(row: &AnyRow) -> Result<Message, StoreError> {
    let fields = Fields::of("deliveries", row);
    Ok(Message {
        id: fields.parse("message_id")?,
        topic: fields.parse("topic")?,
        payload: fields.get("payload")?,
        created_at: fields.moment("created_at")?,
        trace: fields.parse_if_any("traceparent")?,
    })
}

fn delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    let fields = Fields::of("deliveries", row);
    let status: DeliveryStatus = fields.parse("status")?;
    let next_at = fields.moment("next_at")?;
    Ok(Delivery {
        message: message(row)?,
        status,
        attempt: fields.number("attempt")?,
        answered: fields.number_if_any("answered")?,
        error: fields.get("error")?,
        next_at: (status == DeliveryStatus::Pending && (1..SHELVED).contains(&next_at.millis())).then_some(next_at),
        finished_at: fields.moment_if_any("finished_at")?,
    })
}
