//! Requests with an `Idempotency-Key`.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::SqlStore;
use super::row::{Fields, json, number};
use super::tx::TenantTx;
use crate::domain::{RequestKey, Reservation, SavedResponse, TenantId, Timestamp};
use crate::store::StoreError;
use crate::store::requests::{RequestStore, RequestTimes};

type Answer<T> = Result<T, StoreError>;

#[async_trait]
impl RequestStore for SqlStore {
    async fn reserve_request(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        seed: [u8; 32],
        times: RequestTimes,
    ) -> Answer<Reservation> {
        let request = request.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { reserve(&mut tx, &request, seed, times).await })).await
    }

    async fn renew_request(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        attempt: u32,
        lease: Duration,
    ) -> Answer<bool> {
        let request = request.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { renew(&mut tx, &request, attempt, lease).await })).await
    }

    async fn save_response(
        &self,
        tenant: TenantId,
        request: &RequestKey,
        attempt: u32,
        response: &SavedResponse,
    ) -> Answer<bool> {
        let (request, response) = (request.clone(), response.clone());
        self.change(tenant, move |mut tx| Box::pin(async move { save(&mut tx, &request, attempt, &response).await }))
            .await
    }

    async fn release_request(&self, tenant: TenantId, request: &RequestKey, attempt: u32) -> Answer<()> {
        let request = request.clone();
        self.change(tenant, move |mut tx| Box::pin(async move { release(&mut tx, &request, attempt).await })).await
    }
}

async fn reserve(
    tx: &mut TenantTx<'_>,
    request: &RequestKey,
    seed: [u8; 32],
    times: RequestTimes,
) -> Result<Reservation, StoreError> {
    let now = tx.dialect().now(tx).await?;
    forget(tx, now).await?;
    if insert(tx, request, seed, times, now).await? {
        return Ok(Reservation::Taken { seed, attempt: 1 });
    }
    let statement = format!(
        "SELECT fingerprint, seed, attempt, locked_until, status, headers, body FROM requests \
         WHERE tenant_id = $1 AND path = $2 AND key = $3{}",
        tx.dialect().lock
    );
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(&request.path)
        .bind(&request.key)
        .fetch_optional(&mut **tx)
        .await?;
    // Released a moment ago: the caller comes again.
    let Some(row) = row else { return Ok(Reservation::Busy) };
    let fields = Fields::of("requests", &row);
    if fields.get::<String>("fingerprint")? != request.fingerprint {
        return Ok(Reservation::Other);
    }
    if let Some(status) = fields.number_if_any("status")? {
        let headers = fields.json("headers")?;
        return Ok(Reservation::Answered(SavedResponse { status, headers, body: fields.get("body")? }));
    }
    if fields.moment("locked_until")? >= now {
        return Ok(Reservation::Busy);
    }
    let attempt = fields.number::<u32>("attempt")? + 1;
    let seed: Vec<u8> = fields.get("seed")?;
    let seed = seed.try_into().map_err(|_| fields.unreadable("seed", "it has not 32 bytes"))?;
    sqlx::query("UPDATE requests SET attempt = $4, locked_until = $5 WHERE tenant_id = $1 AND path = $2 AND key = $3")
        .bind(tx.tenant())
        .bind(&request.path)
        .bind(&request.key)
        .bind(i64::from(attempt))
        .bind(after(now, times.lease))
        .execute(&mut **tx)
        .await?;
    Ok(Reservation::Taken { seed, attempt })
}

/// Forgets the tenant's requests that have expired.
async fn forget(tx: &mut TenantTx<'_>, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM requests WHERE tenant_id = $1 AND expires_at < $2")
        .bind(tx.tenant())
        .bind(now.millis())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn insert(
    tx: &mut TenantTx<'_>,
    request: &RequestKey,
    seed: [u8; 32],
    times: RequestTimes,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO requests (tenant_id, path, key, fingerprint, seed, attempt, locked_until, expires_at) \
         VALUES ($1, $2, $3, $4, $5, 1, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(tx.tenant())
    .bind(&request.path)
    .bind(&request.key)
    .bind(&request.fingerprint)
    .bind(&seed[..])
    .bind(after(now, times.lease))
    .bind(after(now, times.keep))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Prolongs the lock; zero ends it. False if the request is no longer this attempt's.
async fn renew(tx: &mut TenantTx<'_>, request: &RequestKey, attempt: u32, lease: Duration) -> Result<bool, StoreError> {
    let statement = format!(
        "UPDATE requests SET locked_until = {} + $5 WHERE tenant_id = $1 AND path = $2 AND key = $3 \
         AND attempt = $4 AND status IS NULL",
        tx.dialect().clock
    );
    // One less, so that a lock of no time has ended already.
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(&request.path)
        .bind(&request.key)
        .bind(i64::from(attempt))
        .bind(number(lease.as_millis()) - 1)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn save(
    tx: &mut TenantTx<'_>,
    request: &RequestKey,
    attempt: u32,
    response: &SavedResponse,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE requests SET status = $5, headers = $6, body = $7 WHERE tenant_id = $1 AND path = $2 AND key = $3 \
         AND attempt = $4 AND status IS NULL",
    )
    .bind(tx.tenant())
    .bind(&request.path)
    .bind(&request.key)
    .bind(i64::from(attempt))
    .bind(i64::from(response.status))
    .bind(json(&response.headers))
    .bind(&response.body[..])
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn release(tx: &mut TenantTx<'_>, request: &RequestKey, attempt: u32) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM requests WHERE tenant_id = $1 AND path = $2 AND key = $3 AND attempt = $4 AND status IS NULL",
    )
    .bind(tx.tenant())
    .bind(&request.path)
    .bind(&request.key)
    .bind(i64::from(attempt))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn after(now: Timestamp, time: Duration) -> i64 {
    now.millis().saturating_add(number(time.as_millis()))
}
