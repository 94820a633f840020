//! Callers that go away: a client hangs up, a time limit passes, and the handler's future is dropped where it stands.

use std::task::Poll;

use imprint::config::StoreConfig;
use imprint::domain::{Tenant, TenantId, Timestamp};
use imprint::store;

use super::Fixture;

/// More than a call has places where it waits.
const MOST_POLLS: usize = 20;

pub async fn a_caller_that_goes_away_leaves_no_transaction_open(fixture: &Fixture) {
    // One connection: what the abandoned call left is what the next call meets.
    let config = StoreConfig { database_max_connections: 1, ..fixture.config.clone() };
    let store = store::open(&config).await.unwrap();
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let mut raw = fixture.raw().await;

    for polls in 0..MOST_POLLS {
        abandon(store.promote(tenant, task, 1, Timestamp::from_millis(0)), polls).await;

        // A write without a transaction of its own: inside one that was left open it is acknowledged, and seen by
        // nobody else.
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
