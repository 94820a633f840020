//! Callers that go away: a client hangs up, a time limit passes, and the handler's future is dropped where it stands.

use std::time::Duration;

use imprint::domain::{TaskPatch, Timestamp};

use super::Fixture;

pub async fn a_caller_that_goes_away_leaves_no_transaction_open(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let named = |name: u64| TaskPatch { name: Some(name.to_string()), ..TaskPatch::default() };

    for micros in 0..400 {
        let patch = named(micros);
        let call = fixture.store.update_task(tenant, task, &patch, None, Timestamp::from_millis(5_000));
        let _ = tokio::time::timeout(Duration::from_micros(micros * 5), call).await;
    }

    // More writes than there are connections: one inside a stale transaction would be lost when that ends.
    for round in 0..20 {
        let written = fixture.store.update_task(tenant, task, &named(round), None, fixture.now()).await.unwrap();
        let read: String =
            sqlx::query_scalar("SELECT name FROM tasks").fetch_one(&mut fixture.raw().await).await.unwrap();
        assert_eq!(written.unwrap().name, read);
    }
    if fixture.is_postgres() {
        let open: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
        )
        .fetch_one(&mut fixture.raw().await)
        .await
        .unwrap();
        assert_eq!(open, 0);
    }
}
