//! Callers that go away: a client hangs up, a time limit passes, and the handler's future is dropped where it stands.
//!
//! A call is dropped at each place where it can wait, one after another, on a store with one connection: what the
//! abandoned call left is what the next call meets.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use imprint::config::StoreConfig;
use imprint::domain::{Kind, Support, Tenant, TenantId};
use imprint::store::{self, Store};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::Fixture;
use super::fixture::MANY;

/// More than a call has places where it waits.
const MOST_POLLS: usize = 20;

/// Far less than the time after which the server itself ends a transaction in which nothing happens.
const LONGEST_CALL: Duration = Duration::from_secs(4);

pub async fn a_caller_that_goes_away_leaves_no_transaction_open(fixture: &Fixture) {
    let store = with_one_connection(fixture).await;
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let mut raw = fixture.raw().await;

    for polls in 0..MOST_POLLS {
        // Of all that may be left open, a transaction that only reads does most harm: whoever comes next cannot write.
        abandon(store.find_task(tenant, task), polls).await;

        store.ping().await.unwrap(); // outside of any transaction: it waits for the connection and changes nothing
        assert!(are_all_ended(fixture, &mut raw).await, "one is left open after {polls} polls");
        let name = format!("tenant {polls}");
        let next = Tenant { id: TenantId::fresh(fixture.ids()), name: name.clone(), created_at: fixture.now() };
        store.create_tenant(&next).await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tenants WHERE name = $1")
            .bind(&name)
            .fetch_one(&mut raw)
            .await
            .unwrap();
        assert_eq!(seen, 1, "{name} was acknowledged and is not there");
    }
}

pub async fn a_write_whose_caller_goes_away_happens_whole_or_not_at_all(fixture: &Fixture) {
    let store = with_one_connection(fixture).await;
    let tenant = fixture.tenant("zoo").await;
    let mut raw = fixture.raw().await;
    let mut written = 0;

    for polls in 0..MOST_POLLS {
        let task = fixture.new_task(Kind::Classification, &["a", "b"]);
        let support: Vec<Support> = ["1", "2", "3"].map(|digest| fixture.labelled("a", digest)).to_vec();
        abandon(store.create_task(tenant, &task, &support, MANY), polls).await;

        store.ping().await.unwrap();
        // One statement, one moment: the write may go on without its caller.
        let statement = format!(
            "SELECT (SELECT COUNT(*) FROM tasks WHERE id = '{id}'), (SELECT COUNT(*) FROM support WHERE task_id = '{id}')",
            id = task.id
        );
        let found: (i64, i64) = sqlx::query_as(AssertSqlSafe(statement)).fetch_one(&mut raw).await.unwrap();
        assert!([(0, 0), (1, 3)].contains(&found), "after {polls} polls: {found:?}");
        written += found.0;
    }
    assert!(written > 0, "the last calls were dropped after their end");
}

async fn with_one_connection(fixture: &Fixture) -> Arc<dyn Store> {
    let config = StoreConfig { database_max_connections: 1, ..fixture.config.clone() };
    store::open(&config).await.unwrap()
}

/// Whether no session stays inside a transaction: the call may go on without its caller for a moment. `SQLite` does not tell.
async fn are_all_ended(fixture: &Fixture, raw: &mut AnyConnection) -> bool {
    let statement = "SELECT COUNT(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let is_told = !fixture.config.database_url.starts_with("sqlite");
    let given_up = Instant::now() + LONGEST_CALL;
    while is_told && sqlx::query_scalar::<_, i64>(statement).fetch_one(&mut *raw).await.unwrap() > 0 {
        if Instant::now() > given_up {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// Polls `call` so many times, each time when it asked for it, and drops it when it asks once more.
async fn abandon(call: impl Future, polls: usize) {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        call.as_mut().poll(context).map(drop)
    })
    .await;
}
