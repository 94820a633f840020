//! Examples.

use std::collections::{BTreeSet, HashMap};

use sqlx::any::AnyRow;

use super::page::Bounds;
use super::row::{Fields, json};
use super::tx::TenantTx;
use super::{tasks, tenants};
use crate::domain::{
    Example, Kind, LabelCount, Span, Support, SupportFilter, SupportId, Target, TaskId, Timestamp, narrow,
};
use crate::store::{Added, Page, StoreError};

/// What to add to a task.
pub(super) struct Addition<'a> {
    pub(super) examples: &'a [Support],
    pub(super) labels: &'a [String],
    pub(super) max_support: usize,
    pub(super) now: Timestamp,
}

pub(super) async fn add(
    tx: &mut TenantTx<'_>,
    id: TaskId,
    addition: Addition<'_>,
) -> Result<Option<Added>, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(None) };
    let added = insert(tx, id, addition.examples).await?;
    if len(tx, id).await? > addition.max_support {
        return Err(StoreError::Full { what: "examples", limit: addition.max_support });
    }
    let has_new_labels = tasks::add_labels(&mut task, addition.labels);
    if has_new_labels || !added.added.is_empty() {
        tasks::save(tx, &mut task, addition.now).await?;
    }
    Ok(Some(added))
}

/// Adds the examples that the task does not have. The task must be locked, or not yet visible to others.
pub(super) async fn insert(tx: &mut TenantTx<'_>, task: TaskId, examples: &[Support]) -> Result<Added, StoreError> {
    let mut added = Added::default();
    for (place, support) in examples.iter().enumerate() {
        if insert_one(tx, task, support).await? {
            added.added.push(support.id);
        } else {
            match find_equal(tx, task, &support.example).await? {
                id if id == support.id => added.added.push(id), // by the same request before
                id => added.duplicates.push((place, id)),
            }
        }
    }
    Ok(added)
}

async fn insert_one(tx: &mut TenantTx<'_>, task: TaskId, support: &Support) -> Result<bool, StoreError> {
    let (label, value) = columns(support.example.target.as_ref());
    let done = sqlx::query(
        "INSERT INTO support \
         (tenant_id, task_id, id, input, label, value, external_id, digest, created_at, weight, since_version) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, COALESCE(departed_since, latest_version, 0) \
         FROM tasks WHERE tenant_id = $1 AND id = $2 ON CONFLICT DO NOTHING",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(support.id.to_string())
    .bind(json(&support.example.input))
    .bind(label)
    .bind(value)
    .bind(support.example.external_id.as_deref())
    .bind(&support.example.digest)
    .bind(support.created_at.millis())
    .bind(f64::from(support.example.weight))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A target as two columns.
fn columns(target: Option<&Target>) -> (Option<&str>, Option<String>) {
    match target {
        Some(Target::Label(label)) => (Some(label.as_str()), None),
        Some(Target::Value(value)) => (None, Some(json(value))),
        Some(Target::Spans(spans)) => (None, Some(json(spans))),
        Some(Target::Signal(signal)) => (None, Some(json(signal))),
        None => (None, None),
    }
}

/// The example that stands in the way: equal in content, or else in name.
async fn find_equal(tx: &mut TenantTx<'_>, task: TaskId, example: &Example) -> Result<SupportId, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM support WHERE tenant_id = $1 AND task_id = $2 AND (digest = $3 OR external_id = $4) \
         ORDER BY CASE WHEN digest = $3 THEN 0 ELSE 1 END LIMIT 1",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(&example.digest)
    .bind(example.external_id.as_deref())
    .fetch_one(&mut **tx)
    .await?;
    Fields::of("support", &row).parse("id")
}

pub(super) async fn list(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    filter: SupportFilter,
    page: Page<SupportId>,
) -> Result<Vec<Support>, StoreError> {
    let bounds = Bounds::from(page);
    // Neither may be an empty text, so that one stands for all.
    let rows = sqlx::query(
        "SELECT * FROM support WHERE tenant_id = $1 AND task_id = $2 AND (created_at, id) < ($3, $4) \
         AND (label = $6 OR $6 = '') AND (external_id = $7 OR $7 = '') \
         ORDER BY created_at DESC, id DESC LIMIT $5",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .bind(bounds.created_at)
    .bind(bounds.id)
    .bind(bounds.limit)
    .bind(filter.label.unwrap_or_default())
    .bind(filter.external_id.unwrap_or_default())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(support).collect()
}

pub(super) async fn find(tx: &mut TenantTx<'_>, task: TaskId, id: SupportId) -> Result<Option<Support>, StoreError> {
    let row = sqlx::query("SELECT * FROM support WHERE tenant_id = $1 AND task_id = $2 AND id = $3")
        .bind(tx.tenant())
        .bind(task.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| support(&row)).transpose()
}

pub(super) async fn replace(
    tx: &mut TenantTx<'_>,
    id: TaskId,
    before: &Support,
    next: &Example,
    labels: &[String],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, id).await? else { return Ok(false) };
    if find(tx, id, before.id).await?.is_none_or(|found| found.tag() != before.tag()) {
        return Err(StoreError::Conflict);
    }
    let (label, value) = columns(next.target.as_ref());
    sqlx::query(
        "UPDATE support SET label = $4, value = $5, external_id = $6, digest = $7, weight = $8 \
         WHERE tenant_id = $1 AND task_id = $2 AND id = $3",
    )
    .bind(tx.tenant())
    .bind(id.to_string())
    .bind(before.id.to_string())
    .bind(label)
    .bind(value)
    .bind(next.external_id.as_deref())
    .bind(&next.digest)
    .bind(f64::from(next.weight))
    .execute(&mut **tx)
    .await
    .map_err(|error| tenants::taken(error, "an equal example"))?;
    tasks::add_labels(&mut task, labels);
    tasks::save(tx, &mut task, now).await?;
    Ok(true)
}

pub(super) async fn load(tx: &mut TenantTx<'_>, task: TaskId) -> Result<Vec<Support>, StoreError> {
    let rows = sqlx::query("SELECT * FROM support WHERE tenant_id = $1 AND task_id = $2")
        .bind(tx.tenant())
        .bind(task.to_string())
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(support).collect()
}

pub(super) async fn count(tx: &mut TenantTx<'_>, id: TaskId) -> Result<Vec<LabelCount>, StoreError> {
    let Some(task) = tasks::find(tx, id).await? else { return Ok(Vec::new()) };
    let mut counts = match task.kind {
        Kind::Regression | Kind::Ranking => return Ok(Vec::new()),
        Kind::Classification => count_labels(tx, id).await?,
        Kind::Tagging => count_spans(tx, id).await?,
    };
    let count = |name: String| {
        let support_count = counts.remove(&name).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
        LabelCount { name, support_count }
    };
    Ok(task.labels.into_iter().map(count).collect())
}

async fn count_labels(tx: &mut TenantTx<'_>, task: TaskId) -> Result<HashMap<String, i64>, StoreError> {
    let counts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT label, COUNT(*) FROM support WHERE tenant_id = $1 AND task_id = $2 AND label IS NOT NULL GROUP BY label",
    )
    .bind(tx.tenant())
    .bind(task.to_string())
    .fetch_all(&mut **tx)
    .await?;
    Ok(counts.into_iter().collect())
}

/// In how many examples each label has a span.
async fn count_spans(tx: &mut TenantTx<'_>, task: TaskId) -> Result<HashMap<String, i64>, StoreError> {
    let rows = sqlx::query("SELECT value FROM support WHERE tenant_id = $1 AND task_id = $2 AND value IS NOT NULL")
        .bind(tx.tenant())
        .bind(task.to_string())
        .fetch_all(&mut **tx)
        .await?;
    let mut counts = HashMap::new();
    for row in &rows {
        let spans: Vec<Span> = Fields::of("support", row).json("value")?;
        let labels: BTreeSet<String> = spans.into_iter().map(|span| span.label).collect();
        for label in labels {
            *counts.entry(label).or_default() += 1;
        }
    }
    Ok(counts)
}

pub(super) async fn len(tx: &mut TenantTx<'_>, task: TaskId) -> Result<usize, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM support WHERE tenant_id = $1 AND task_id = $2")
        .bind(tx.tenant())
        .bind(task.to_string())
        .fetch_one(&mut **tx)
        .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

pub(super) async fn delete(
    tx: &mut TenantTx<'_>,
    task: TaskId,
    id: SupportId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(mut task) = tasks::find_locked(tx, task).await? else { return Ok(false) };
    let since: Option<i64> = sqlx::query_scalar(
        "DELETE FROM support WHERE tenant_id = $1 AND task_id = $2 AND id = $3 RETURNING since_version",
    )
    .bind(tx.tenant())
    .bind(task.id.to_string())
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    let Some(since) = since else { return Ok(false) };
    sqlx::query(
        "UPDATE tasks SET departed_since = $3 \
         WHERE tenant_id = $1 AND id = $2 AND (departed_since IS NULL OR departed_since > $3)",
    )
    .bind(tx.tenant())
    .bind(task.id.to_string())
    .bind(since)
    .execute(&mut **tx)
    .await?;
    tasks::save(tx, &mut task, now).await?;
    Ok(true)
}

fn support(row: &AnyRow) -> Result<Support, StoreError> {
    let fields = Fields::of("support", row);
    let target = match (fields.get::<Option<String>>("label")?, fields.get::<Option<String>>("value")?) {
        (Some(label), _) => Some(Target::Label(label)),
        (None, Some(value)) if value.starts_with('[') => Some(Target::Spans(fields.json("value")?)),
        (None, Some(value)) if value.starts_with('{') => Some(Target::Signal(fields.json("value")?)),
        (None, Some(_)) => Some(Target::Value(fields.json("value")?)),
        (None, None) => None,
    };
    let example = Example {
        input: fields.json("input")?,
        target,
        weight: narrow(fields.get("weight")?),
        external_id: fields.get("external_id")?,
        digest: fields.get("digest")?,
    };
    Ok(Support { id: fields.parse("id")?, example, created_at: fields.moment("created_at")? })
}
