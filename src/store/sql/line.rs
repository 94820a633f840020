//! Lines that jobs wait in, adaptations in one and bulk predictions in another: who is next, who holds what, and for how long.
//!
//! A claim counts the attempt before the work starts, so that a job which kills its worker runs out of attempts. The
//! attempt is the fence, too: every later write names it, and a worker whose lease was taken over writes nothing.
//! All moments are the database's, so that workers' clocks need not agree.
//!
//! A job that kills its worker takes with it whatever runs beside it. If they were all tried again together they would all be
//! lost again, so what was lost to its last attempt but one is tried alone: one such job at a time in each process, among
//! others that have attempts to lose.
//!
//! Deliberately absent: how a job ends. The two kinds have nothing in common there.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::row::{Fields, number};
use super::tx::{SystemTx, TenantTx};
use crate::domain::{TenantId, Timestamp};
use crate::store::StoreError;

/// Most jobs whose worker was lost that one claim looks at; the next claims look at the rest.
const MOST_LOST: u32 = 100;

/// A table of jobs.
pub(super) struct Line {
    table: &'static str,
    /// Column of `tenants` with the place of what was claimed last.
    turn: &'static str,
    /// Attempts that the row `a` has left.
    left: &'static str,
    /// What else a claim writes into its row; `$5` is the time.
    notes: &'static str,
}

pub(super) const ADAPTATIONS: Line =
    Line { table: "adaptations", turn: "turn", left: "a.last_attempt - a.attempt", notes: "started_at = $5" };

/// An attempt that answers something is not counted.
pub(super) const BULKS: Line = Line {
    table: "bulks",
    turn: "bulk_turn",
    left: "3 - a.strikes",
    notes: "strikes = strikes + 1, started_at = COALESCE(started_at, $5)",
};

/// A job, and the attempt that is its last so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<Id> {
    pub(super) tenant: TenantId,
    pub(super) id: Id,
    pub(super) attempt: u32,
}

/// What came of a claim.
pub(super) struct Claimed<Id> {
    /// The job that is held now.
    pub(super) job: Option<Job<Id>>,
    /// Jobs that were lost with whoever took them, and have no attempts left: the claim's to end.
    pub(super) spent: Vec<Job<Id>>,
}

/// A job that may be taken.
struct Next<Id> {
    job: Job<Id>,
    place: i64,
}

/// Jobs that were lost with their workers, by the attempts that they have left.
struct Lost<Id> {
    none: Vec<Job<Id>>,
    /// The first that has one.
    one: Option<Next<Id>>,
    /// The first that has more.
    more: Option<Next<Id>>,
}

impl Line {
    /// Takes a job that was lost with its worker, or the one whose turn it is.
    pub(super) async fn claim<Id: FromStr<Err: Display> + Display>(
        &self,
        tx: &mut SystemTx<'_>,
        worker: &str,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Claimed<Id>, StoreError> {
        let lost = self.lost(tx, now).await?;
        let (spent, mut next) = (lost.none, lost.more);
        if next.is_none() && lost.one.is_some() && may_try_alone(tx, worker, now).await? {
            next = lost.one;
        }
        if next.is_none() {
            next = self.waiting(tx, now).await?;
        }
        let Some(Next { mut job, place }) = next else { return Ok(Claimed { job: None, spent }) };
        let statement = format!(
            "UPDATE {} SET status = 'running', attempt = attempt + 1, worker = $3, lease_until = $4, {} \
             WHERE tenant_id = $1 AND id = $2",
            self.table, self.notes
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(job.tenant.to_string())
            .bind(job.id.to_string())
            .bind(worker)
            .bind(now.millis().saturating_add(number(lease.as_millis())))
            .bind(now.millis())
            .execute(&mut **tx)
            .await?;
        let statement = format!("UPDATE tenants SET {turn} = $2 WHERE id = $1 AND {turn} < $2", turn = self.turn);
        sqlx::query(AssertSqlSafe(statement)).bind(job.tenant.to_string()).bind(place).execute(&mut **tx).await?;
        job.attempt += 1;
        Ok(Claimed { job: Some(job), spent })
    }

    async fn lost<Id: FromStr<Err: Display>>(
        &self,
        tx: &mut SystemTx<'_>,
        now: Timestamp,
    ) -> Result<Lost<Id>, StoreError> {
        let statement = format!(
            "SELECT a.tenant_id, a.id, a.attempt, a.place, {} AS left_over FROM {} AS a \
             WHERE a.status = 'running' AND a.lease_until < $1 \
             ORDER BY a.place, a.created_at, a.id LIMIT {MOST_LOST}{}",
            self.left,
            self.table,
            tx.dialect().lock_free_job
        );
        let rows = sqlx::query(AssertSqlSafe(statement)).bind(now.millis()).fetch_all(&mut **tx).await?;
        let mut lost = Lost { none: Vec::new(), one: None, more: None };
        for row in rows {
            let next = self.next(&row)?;
            match Fields::of(self.table, &row).get::<i64>("left_over")? {
                ..=0 => lost.none.push(next.job),
                1 => lost.one = lost.one.or(Some(next)),
                2.. => lost.more = lost.more.or(Some(next)),
            }
        }
        Ok(lost)
    }

    /// The job whose turn it is: a flood from one tenant delays another by one job. An index has them in this order, so that
    /// it does not matter how many wait.
    async fn waiting<Id: FromStr<Err: Display>>(
        &self,
        tx: &mut SystemTx<'_>,
        now: Timestamp,
    ) -> Result<Option<Next<Id>>, StoreError> {
        let statement = format!(
            "SELECT a.tenant_id, a.id, a.attempt, a.place FROM {} AS a WHERE a.status = 'queued' AND a.not_before <= $1 \
             ORDER BY a.place, a.created_at, a.id LIMIT 1{}",
            self.table,
            tx.dialect().lock_free_job
        );
        let row = sqlx::query(AssertSqlSafe(statement)).bind(now.millis()).fetch_optional(&mut **tx).await?;
        row.as_ref().map(|row| self.next(row)).transpose()
    }

    fn next<Id: FromStr<Err: Display>>(&self, row: &AnyRow) -> Result<Next<Id>, StoreError> {
        let fields = Fields::of(self.table, row);
        let (tenant, id) = (fields.parse("tenant_id")?, fields.parse("id")?);
        Ok(Next { job: Job { tenant, id, attempt: fields.number("attempt")? }, place: fields.get("place")? })
    }

    /// The place of a tenant's next job: start-time fair queueing (Goyal, Vin & Cheng 1996, §2) with jobs of equal cost. It
    /// is after the tenant's own last one that waits, and after what was claimed last, so that nobody's past counts.
    pub(super) async fn next_place(&self, tx: &mut SystemTx<'_>, tenant: TenantId) -> Result<i64, StoreError> {
        let statement = format!(
            "SELECT COALESCE((SELECT MAX(place) FROM {} WHERE tenant_id = $1 AND status = 'queued'), 0), \
             COALESCE((SELECT MAX({}) FROM tenants), 0)",
            self.table, self.turn
        );
        let (own, now): (i64, i64) =
            sqlx::query_as(AssertSqlSafe(statement)).bind(tenant.to_string()).fetch_one(&mut **tx).await?;
        Ok(own.max(now) + 1)
    }

    /// Prolongs the lease, if this attempt still holds the job; whether it does.
    pub(super) async fn renew(
        &self,
        tx: &mut TenantTx<'_>,
        id: &impl ToString,
        attempt: u32,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let statement = format!(
            "UPDATE {} SET lease_until = {} + $4 \
             WHERE tenant_id = $1 AND id = $2 AND attempt = $3 AND status = 'running'",
            self.table,
            tx.dialect().clock
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(tx.tenant())
            .bind(id.to_string())
            .bind(i64::from(attempt))
            .bind(number(lease.as_millis()))
            .execute(&mut **tx)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Whether this worker has no job of either line at its last attempt. Until the transaction ends nobody else finds so.
async fn may_try_alone(tx: &mut SystemTx<'_>, worker: &str, now: Timestamp) -> Result<bool, StoreError> {
    if let Some(statement) = tx.dialect().one_at_a_time {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    for Line { table, left, .. } in [ADAPTATIONS, BULKS] {
        let statement = format!(
            "SELECT COUNT(*) FROM {table} AS a \
             WHERE a.status = 'running' AND a.worker = $1 AND a.lease_until >= $2 AND {left} <= 0"
        );
        let count = sqlx::query_scalar(AssertSqlSafe(statement)).bind(worker).bind(now.millis());
        let count: i64 = count.fetch_one(&mut **tx).await?;
        if count > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
