//! Whether the database can be reached at all.
//!
//! One that hangs, or a network that swallows packets, says neither yes nor no, and whoever asks waits. So when somebody
//! has waited for a while, somebody looks, on a connection of its own: if that is not answered either, the database is
//! away. All who wait are told so, whoever comes after is told at once, and the looking goes on until it is back.
//!
//! A database that is slow and a pool that is empty answer the look, and nothing changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{AnyConnection, Connection};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, info};

use crate::store::StoreError;

/// How long an answer may take before somebody looks.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a look may take. It takes two that are in vain, since this process may have been asleep during the first; with
/// [`PATIENCE`], everybody knows within two seconds.
const LOOK: Duration = Duration::from_millis(700);
/// Between two looks at a database that is away.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whether the database can be reached, as this process knows it.
#[derive(Debug)]
pub(super) struct Reach {
    url: String,
    is_away: watch::Sender<bool>,
    is_looking: AtomicBool,
}

impl Reach {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), is_away: watch::Sender::new(false), is_looking: AtomicBool::new(false) }
    }

    /// The answer of `asked`, or [`StoreError::Away`] as soon as it is clear that none will come. `asked` is dropped then:
    /// it must be one that may be.
    pub(super) async fn answer<T>(
        self: &Arc<Self>,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if *self.is_away.borrow() {
            return Err(StoreError::Away);
        }
        let answered = tokio::select! {
            answered = asked => answered,
            () = self.lost() => return Err(StoreError::Away),
        };
        if let Err(StoreError::Database(error)) = &answered
            && is_about_the_connection(error)
        {
            self.look();
        }
        answered
    }

    /// Ends when the database is away; has somebody look for as long as it is waited for.
    async fn lost(self: &Arc<Self>) {
        let mut is_away = self.is_away.subscribe();
        let look = async {
            loop {
                sleep(PATIENCE).await;
                self.look();
            }
        };
        tokio::select! {
            // The sender lives in `self`, so the channel is open.
            _ = is_away.wait_for(|is_away| *is_away) => {}
            () = look => {}
        }
    }

    /// Has somebody look, unless somebody does already.
    fn look(self: &Arc<Self>) {
        if self.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let reach = Arc::clone(self);
        tokio::spawn(async move {
            while !reach.is_there().await && !reach.is_there().await {
                if !reach.is_away.send_replace(true) {
                    metrics::gauge!("imprint_database_is_away").set(1.0);
                    error!("the database is away");
                }
                sleep(LOOK_AGAIN).await;
            }
            if reach.is_away.send_replace(false) {
                metrics::gauge!("imprint_database_is_away").set(0.0);
                info!("the database is back");
            }
            reach.is_looking.store(false, Ordering::Release);
        });
    }

    async fn is_there(&self) -> bool {
        let look = async {
            match AnyConnection::connect(&self.url).await {
                Ok(mut connection) => connection.ping().await.is_ok(),
                // It refuses us for a reason of its own, and so it is there.
                Err(error) => !is_about_the_connection(&error),
            }
        };
        timeout(LOOK, look).await.unwrap_or(false)
    }
}

/// Whether the database may be away, by this error.
fn is_about_the_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        // It shuts down, crashed, or is still starting (class 57P).
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}
