//! SQLite: a file beside one server process.
//!
//! One connection writes and many read, in write-ahead mode, where readers and the writer do not wait for each other.
//! Deliberately absent: row locks. A transaction that is going to write says so when it begins; one that starts as a
//! reader and then writes fails at once if another wrote in between, whatever the busy timeout.

use std::path::Path;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Executor};

use super::{Access, Dialect, Pools};
use crate::config::StoreConfig;
use crate::store::StoreError;

pub(in crate::store::sql) static SQLITE: Dialect = Dialect {
    begin: |access, _| match access {
        Access::Glance => None,
        Access::Read => Some("BEGIN".to_owned()),
        Access::Write => Some("BEGIN IMMEDIATE".to_owned()),
    },
    enter: |_| None,
    lock: "",
    lock_free_job: "",
    lock_free_delivery: "",
    lock_free_row: "",
    one_at_a_time: None,
    clock: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    has_roles: false,
    migrations: sqlx::migrate!("migrations/sqlite"),
};

/// Per connection. `FULL`: what was acknowledged survives a power cut, not only a crash.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; \
                        PRAGMA synchronous = FULL";
const IN_MEMORY: &str = ":memory:";

/// Opens the file at `place`, what comes after the URL's scheme, making it and its folder if need be.
pub(in crate::store::sql) async fn open(place: &str, config: &StoreConfig) -> Result<Pools, StoreError> {
    if place == IN_MEMORY {
        // Each connection would have a database of its own: one serves all, and is never retired.
        let only = options(config, 1).idle_timeout(None).max_lifetime(None);
        let only = only.after_connect(|db, _| Box::pin(prepare(db, false))).connect("sqlite::memory:").await?;
        return Ok(Pools { writer: only.clone(), reader: only });
    }
    let path = place.strip_prefix("//").unwrap_or(place).split('?').next().unwrap_or_default();
    if let Some(folder) = Path::new(path).parent() {
        std::fs::create_dir_all(folder).map_err(sqlx::Error::Io)?;
    }
    let url = format!("sqlite:{path}?mode=rwc");
    let writer = connect(&url, options(config, 1), false).await?;
    let reader = connect(&url, options(config, config.database_max_connections), true).await?;
    Ok(Pools { writer, reader })
}

fn options(config: &StoreConfig, max_connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_millis(config.database_acquire_timeout_ms))
        // Nothing lies between this process and its file that could be lost.
        .test_before_acquire(false)
}

async fn connect(url: &str, options: AnyPoolOptions, read_only: bool) -> Result<AnyPool, sqlx::Error> {
    options.after_connect(move |db, _| Box::pin(prepare(db, read_only))).connect(url).await
}

/// `read_only` guards against a statement that was sent to the wrong pool.
async fn prepare(db: &mut AnyConnection, read_only: bool) -> Result<(), sqlx::Error> {
    db.execute(SETTINGS).await?;
    if read_only {
        db.execute("PRAGMA query_only = ON").await?;
    }
    Ok(())
}
