//! Erasing: what goes, and looking for it afterwards.
//!
//! An adapter does not list its examples, so an example takes with it every version that was made since it came, and
//! the adaptations that made them. "Since" is a version, not a moment: clocks of servers differ. Answers that are kept for repeated requests may quote what was sent: those of the
//! task's paths go, too. A job that is running may have read the example already: it begins again, and what its attempt
//! leaves is fenced out.

use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::row::Fields;
use super::tx::TenantTx;
use super::{queue, tasks};
use crate::domain::{AdapterId, Counted, Erasure, Input, SupportId, TaskId};
use crate::store::StoreError;

/// Times that something is looked for and removed again: others write while it goes.
const ROUNDS: usize = 4;

/// What is gone.
pub(super) struct Gone {
    pub(super) removed: Counted,
    pub(super) adapters: Vec<AdapterId>,
    pub(super) texts: Vec<String>,
}

/// By what a thing that was erased would be found again.
enum Traces {
    /// An example, its input as it was stored, the task's latest version when it came, and now.
    Example { task: TaskId, support: SupportId, input: String, since: i64, latest: Option<u32> },
    /// Everything of a task.
    Task(TaskId),
    /// Everything of the tenant.
    Tenant,
}

pub(super) async fn erase(tx: &mut TenantTx<'_>, what: Erasure) -> Result<Option<Gone>, StoreError> {
    let traces = match what {
        Erasure::Example(task, support) => {
            let Some(traces) = example(tx, task, support).await? else { return Ok(None) };
            traces
        }
        Erasure::Task(task) => {
            if tasks::find_locked(tx, task).await?.is_none() {
                return Ok(None);
            }
            Traces::Task(task)
        }
        Erasure::Tenant => Traces::Tenant,
    };
    let removed = count(tx, &traces).await?;
    let (adapters, texts) = (adapters(tx, &traces).await?, texts(tx, &traces).await?);
    for _ in 0..ROUNDS {
        remove(tx, &traces).await?;
        if count(tx, &traces).await?.is_nothing() {
            return Ok(Some(Gone { removed, adapters, texts }));
        }
    }
    Err(StoreError::Conflict)
}

async fn example(tx: &mut TenantTx<'_>, id: TaskId, support: SupportId) -> Result<Option<Traces>, StoreError> {
    let Some(task) = tasks::find_locked(tx, id).await? else { return Ok(None) };
    let row = sqlx::query("SELECT input, since_version FROM support WHERE tenant_id = $1 AND task_id = $2 AND id = $3")
        .bind(tx.tenant())
        .bind(id.to_string())
        .bind(support.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let fields = Fields::of("support", &row);
    let (input, since) = (fields.get("input")?, fields.get("since_version")?);
    Ok(Some(Traces::Example { task: id, support, input, since, latest: task.latest_version }))
}

/// The conditions by which rows of each table are found, on `$2` (task or nothing), `$3` (example), `$4` (its input),
/// `$5` (after which version) and `$6` (up to which version).
struct Conditions {
    support: &'static str,
    adapters: &'static str,
    adaptations: &'static str,
    predictions: &'static str,
    bulks: &'static str,
    requests: &'static str,
    tasks: &'static str,
    keys: &'static str,
    webhooks: &'static str,
}

const ALL: &str = "$2 = $2 AND $3 = $3 AND $4 = $4 AND $5 = $5 AND $6 = $6";
const NONE: &str = "$2 <> $2 AND $3 = $3 AND $4 = $4 AND $5 = $5 AND $6 = $6";
const OF_TASK: &str = "task_id = $2 AND $3 = $3 AND $4 = $4 AND $5 = $5 AND $6 = $6";

const EXAMPLE: Conditions = Conditions {
    support: "task_id = $2 AND id = $3 AND $4 = $4 AND $5 = $5 AND $6 = $6",
    adapters: "task_id = $2 AND version > $5 AND version <= $6 AND support_hash <> 'imported' AND $3 = $3 AND $4 = $4",
    adaptations: "task_id = $2 AND version > $5 AND version <= $6 AND finished_at IS NOT NULL AND $3 = $3 AND $4 = $4",
    predictions: "task_id = $2 AND input = $4 AND $3 = $3 AND $5 = $5 AND $6 = $6",
    // Any may hold the same input, or an answer that a version gave which goes.
    bulks: OF_TASK,
    requests: "(path LIKE '/v1/tasks/' || $2 || '%' OR path LIKE '/v2/models/' || $2 || '%') \
               AND $3 = $3 AND $4 = $4 AND $5 = $5 AND $6 = $6",
    tasks: NONE,
    keys: NONE,
    webhooks: NONE,
};

const TASK: Conditions = Conditions {
    support: OF_TASK,
    adapters: OF_TASK,
    adaptations: OF_TASK,
    predictions: OF_TASK,
    bulks: OF_TASK,
    requests: EXAMPLE.requests,
    tasks: "id = $2 AND $3 = $3 AND $4 = $4 AND $5 = $5 AND $6 = $6",
    keys: NONE,
    webhooks: NONE,
};

const TENANT: Conditions = Conditions {
    support: ALL,
    adapters: ALL,
    adaptations: ALL,
    predictions: ALL,
    bulks: ALL,
    requests: ALL,
    tasks: ALL,
    keys: ALL,
    webhooks: ALL,
};

impl Traces {
    fn conditions(&self) -> &'static Conditions {
        match self {
            Self::Example { .. } => &EXAMPLE,
            Self::Task(_) => &TASK,
            Self::Tenant => &TENANT,
        }
    }

    /// `$2` to `$6`.
    fn values(&self) -> (String, String, &str, i64, i64) {
        match self {
            Self::Example { task, support, input, since, latest } => {
                (task.to_string(), support.to_string(), input, *since, latest.map_or(0, i64::from))
            }
            Self::Task(task) => (task.to_string(), String::new(), "", 0, 0),
            Self::Tenant => (String::new(), String::new(), "", 0, 0),
        }
    }
}

async fn count(tx: &mut TenantTx<'_>, traces: &Traces) -> Result<Counted, StoreError> {
    let conditions = traces.conditions();
    Ok(Counted {
        support: count_in(tx, "support", conditions.support, traces).await?,
        adapters: count_in(tx, "adapters", conditions.adapters, traces).await?,
        adaptations: count_in(tx, "adaptations", conditions.adaptations, traces).await?,
        predictions: count_in(tx, "predictions", conditions.predictions, traces).await?,
        bulk_predictions: count_in(tx, "bulks", conditions.bulks, traces).await?,
        requests: count_in(tx, "requests", conditions.requests, traces).await?,
        tasks: count_in(tx, "tasks", conditions.tasks, traces).await?,
        keys: count_in(tx, "keys", conditions.keys, traces).await?,
        webhooks: count_in(tx, "webhooks", conditions.webhooks, traces).await?,
    })
}

async fn count_in(
    tx: &mut TenantTx<'_>,
    table: &'static str,
    condition: &str,
    traces: &Traces,
) -> Result<u64, StoreError> {
    let rows = found(tx, "SELECT COUNT(*) AS count", table, condition, traces).await?;
    let count = rows.first().map_or(Ok(0), |row| Fields::of(table, row).get::<i64>("count"))?;
    Ok(count.unsigned_abs())
}

/// What a `SELECT …` or `DELETE` says of the rows that the traces lead to.
async fn found(
    tx: &mut TenantTx<'_>,
    verb: &str,
    table: &str,
    condition: &str,
    traces: &Traces,
) -> Result<Vec<AnyRow>, StoreError> {
    let statement = format!("{verb} FROM {table} WHERE tenant_id = $1 AND {condition}");
    let (task, support, input, since, latest) = traces.values();
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(tx.tenant())
        .bind(task)
        .bind(support)
        .bind(input)
        .bind(since)
        .bind(latest)
        .fetch_all(&mut **tx)
        .await?;
    Ok(rows)
}

async fn remove(tx: &mut TenantTx<'_>, traces: &Traces) -> Result<(), StoreError> {
    let conditions = traces.conditions();
    for (table, condition) in [
        ("predictions", conditions.predictions),
        ("bulks", conditions.bulks),
        ("requests", conditions.requests),
        ("adaptations", conditions.adaptations),
        ("adapters", conditions.adapters),
        ("support", conditions.support),
        ("tasks", conditions.tasks),
    ] {
        found(tx, "DELETE", table, condition, traces).await?;
    }
    match traces {
        Traces::Example { task, .. } => {
            queue::restart(tx, *task).await?;
            settle_active(tx, *task).await
        }
        Traces::Task(_) => Ok(()),
        Traces::Tenant => {
            // All that is left goes with it, by its foreign keys.
            sqlx::query("DELETE FROM tenants WHERE id = $1").bind(tx.tenant()).execute(&mut **tx).await?;
            Ok(())
        }
    }
}

/// The task answers with what is left of its versions, if anything; numbers are not given again.
async fn settle_active(tx: &mut TenantTx<'_>, id: TaskId) -> Result<(), StoreError> {
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(()) };
    let left: Option<i64> = sqlx::query_scalar(
        "SELECT version FROM promotions WHERE tenant_id = $1 AND task_id = $2 AND undone_at IS NULL \
         ORDER BY place DESC LIMIT 1",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    task.active_version = left.and_then(|version| u32::try_from(version).ok());
    let now = tx.dialect().now(tx).await?;
    tasks::save(tx, &mut task, now).await
}

async fn adapters(tx: &mut TenantTx<'_>, traces: &Traces) -> Result<Vec<AdapterId>, StoreError> {
    let rows = found(tx, "SELECT id", "adapters", traces.conditions().adapters, traces).await?;
    rows.iter().map(|row| Fields::of("adapters", row).parse("id")).collect()
}

async fn texts(tx: &mut TenantTx<'_>, traces: &Traces) -> Result<Vec<String>, StoreError> {
    let mut texts = Vec::new();
    for row in found(tx, "SELECT input", "support", traces.conditions().support, traces).await? {
        let input: Input = Fields::of("support", &row).json("input")?;
        texts.extend(input.text().map(str::to_owned));
    }
    Ok(texts)
}
