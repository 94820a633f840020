//! Postgres: any number of server processes on one database.
//!
//! The server runs as a role that neither owns the tables nor is a superuser, so that row level security binds it: see
//! `migrations/postgres/0006_row_level_security.sql` for the policies, and [`check_role`] for who is turned away.
//!
//! Deliberately absent: retries. Row locks are taken in one order, and a transaction that the server cut off (a
//! timeout, a restart) is the caller's to repeat.

use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::postgres::PgListener;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Executor, Row};
use tokio::sync::Mutex;

use super::{Access, Dialect, Pools};
use crate::config::StoreConfig;
use crate::store::sql::tx::Scope;
use crate::store::{Hint, StoreError};

pub(in crate::store::sql) static POSTGRES: Dialect = Dialect {
    // One message, and so one journey to the server. The words are ours: an id or a name.
    begin: |access, scope| match access {
        Access::Glance | Access::Read => Some(format!("BEGIN READ ONLY; {}", enter(scope))),
        Access::Write => Some(format!("BEGIN; {}", enter(scope))),
    },
    enter: |scope| Some(enter(scope)),
    // Not FOR UPDATE: rows that point at this one may come meanwhile.
    lock: " FOR NO KEY UPDATE",
    lock_free_job: " FOR UPDATE OF a SKIP LOCKED",
    // Rows that point at the webhook may come meanwhile.
    lock_free_delivery: " FOR NO KEY UPDATE OF a, w SKIP LOCKED",
    lock_free_row: " FOR UPDATE SKIP LOCKED",
    one_at_a_time: Some("SELECT pg_advisory_xact_lock(7242)"),
    // Not now(), which stands still from the transaction's start.
    clock: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    has_roles: true,
    migrations: sqlx::migrate!("migrations/postgres"),
};

/// Longest wait for a row that another transaction holds, in milliseconds.
const LOCK_TIMEOUT_MS: u64 = 2_000;
/// When the server ends a transaction that does nothing: the second wall against one that was left open.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 10_000;

/// Opens a pool.
pub(in crate::store::sql) async fn open(config: &StoreConfig) -> Result<Pools, StoreError> {
    let statement_timeout_ms = config.database_statement_timeout_ms;
    let pool = AnyPoolOptions::new()
        .max_connections(config.database_max_connections)
        .acquire_timeout(Duration::from_millis(config.database_acquire_timeout_ms))
        .after_connect(move |db, _| Box::pin(prepare(db, statement_timeout_ms)))
        .connect(&config.database_url)
        .await?;
    Ok(Pools { writer: pool.clone(), reader: pool })
}

async fn prepare(db: &mut AnyConnection, statement_timeout_ms: u64) -> Result<(), sqlx::Error> {
    // Numbers of ours, in a statement that takes no parameters.
    let settings = format!(
        "SET application_name = 'imprint'; SET statement_timeout = {statement_timeout_ms}; \
         SET lock_timeout = {LOCK_TIMEOUT_MS}; \
         SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}"
    );
    db.execute(AssertSqlSafe(settings)).await?;
    Ok(())
}

/// How processes on one database tell each other of things, by `NOTIFY`.
///
/// A notification is a hint: one that is lost costs the time until the next poll or look. It names ids and nothing that
/// they stand for, since row level security does not apply to it. Postgres makes commits that notify wait for each other,
/// so it is sent alone, outside of every transaction that matters.
#[derive(Debug)]
pub(in crate::store::sql) struct Bell {
    url: String,
    /// On a connection of its own, once somebody listens.
    listener: Mutex<Option<PgListener>>,
}

const CHANNEL: &str = "imprint";

impl Bell {
    pub(in crate::store::sql) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), listener: Mutex::new(None) }
    }

    pub(in crate::store::sql) async fn ring(&self, pool: &AnyPool, hint: Hint) -> Result<(), StoreError> {
        sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(payload(hint)).execute(pool).await?;
        Ok(())
    }

    /// Returns when it rings, and when the connection was lost, since it may have rung meanwhile.
    pub(in crate::store::sql) async fn heard(&self) -> Result<Hint, StoreError> {
        let mut kept = self.listener.lock().await;
        let Some(mut listener) = kept.take() else {
            let mut listener = PgListener::connect(&self.url).await?;
            listener.listen(CHANNEL).await?;
            *kept = Some(listener);
            return Ok(Hint::Missed);
        };
        // None: it lost its connection and has a new one. On an error, the next call makes one.
        let heard = listener.try_recv().await?;
        *kept = Some(listener);
        Ok(heard.map_or(Hint::Missed, |notification| hint(notification.payload())))
    }
}

/// Ids have prefixes of their own.
fn payload(hint: Hint) -> String {
    match hint {
        Hint::Look | Hint::Missed => String::new(),
        Hint::Task(task) => task.to_string(),
        Hint::Tenant(tenant) => tenant.to_string(),
        Hint::Key(key) => key.to_string(),
    }
}

fn hint(payload: &str) -> Hint {
    let task = || payload.parse().map(Hint::Task).ok();
    let key = || payload.parse().map(Hint::Key).ok();
    let tenant = || payload.parse().map(Hint::Tenant).ok();
    task().or_else(key).or_else(tenant).unwrap_or(Hint::Look)
}

/// The words by which a transaction says whose rows it is about.
fn enter(scope: Scope) -> String {
    format!("SET LOCAL imprint.scope = '{}'", scope.word())
}

/// Lets a role read and write rows, and look at the schema's history.
pub(in crate::store::sql) async fn let_in(db: &mut AnyConnection, role: &str) -> Result<(), StoreError> {
    let names = sqlx::query("SELECT quote_ident($1) AS role, quote_ident(current_schema()) AS schema").bind(role);
    let names = names.fetch_one(&mut *db).await?;
    let (role, schema): (String, String) = (names.try_get("role")?, names.try_get("schema")?);
    // One message is one transaction. The lock: grants of two processes at once get in each other's way.
    let statement = format!(
        "SELECT pg_advisory_xact_lock(7241); GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}; \
         REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM {role}"
    );
    db.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Refuses a role that the policies do not bind, and a table that has none.
pub(in crate::store::sql) async fn check_role(db: &mut AnyConnection) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT CAST(current_user AS TEXT) AS role, CASE \
         WHEN EXISTS (SELECT 1 FROM pg_roles AS r WHERE r.rolsuper AND pg_has_role(r.oid, 'MEMBER')) \
         THEN 'is a superuser' \
         WHEN EXISTS (SELECT 1 FROM pg_roles AS r WHERE r.rolbypassrls AND pg_has_role(r.oid, 'MEMBER')) \
         THEN 'may bypass row level security' \
         WHEN EXISTS (SELECT 1 FROM pg_class AS c WHERE c.relnamespace = CAST(current_schema() AS regnamespace) \
         AND c.relkind = 'r' AND pg_has_role(c.relowner, 'MEMBER')) \
         THEN 'owns the tables' \
         WHEN EXISTS (SELECT 1 FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid \
         WHERE c.relnamespace = CAST(current_schema() AS regnamespace) AND c.relkind = 'r' \
         AND a.attname = 'tenant_id' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)) \
         THEN 'meets a table without row level security' END AS why",
    )
    .fetch_one(db)
    .await?;
    match row.try_get::<Option<String>, _>("why")? {
        Some(why) => Err(StoreError::Privileged { role: row.try_get("role")?, why }),
        None => Ok(()),
    }
}

/// The first release of each line whose row level security has no hole that is known: CVE-2025-8713, and what was mended
/// before it.
const SOUND: [i32; 5] = [130_022, 140_019, 150_014, 160_010, 170_006];

/// Says so if this is an older release. Its hole is open to those who write statements of their own, which no tenant does:
/// no reason to be away.
pub(in crate::store::sql) async fn check_release(db: &mut AnyConnection) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT CAST(current_setting('server_version_num') AS INT) AS version").fetch_one(db).await?;
    let version = row.try_get("version")?;
    if let Some(sound) = to_be_updated_to(version) {
        let [version, sound] = [version, sound].map(|number| format!("{}.{}", number / 10_000, number % 10_000));
        tracing::warn!("PostgreSQL {version} has holes in its row level security that {sound} mends: update it");
    }
    Ok(())
}

/// The release that an older one is to be brought to: of its own line, or of the oldest that is still mended.
fn to_be_updated_to(version: i32) -> Option<i32> {
    let line = SOUND.into_iter().find(|sound| version / 10_000 <= sound / 10_000)?;
    (version < line).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_holes_are_known_by_their_numbers() {
        for (version, sound) in [
            (150_013, Some(150_014)),
            (150_014, None),
            (170_005, Some(170_006)),
            (180_000, None),
            (120_020, Some(130_022)),
        ] {
            assert_eq!(to_be_updated_to(version), sound, "{version}");
        }
    }
}
