//! Postgres' own wall between tenants, seen from behind the store: as the role that servers run as.

use imprint::config::StoreConfig;
use imprint::store::{self, StoreError};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};

use super::Fixture;
use super::fixture::MANY;
use crate::postgres::Database;

/// Every table with rows of tenants.
const TABLES: [&str; 7] = ["keys", "tasks", "support", "adaptations", "adapters", "promotions", "adaptation_events"];

async fn count(db: &mut AnyConnection, scope: &str, table: &str) -> i64 {
    let mut tx = db.begin().await.unwrap();
    tx.execute(AssertSqlSafe(format!("SET LOCAL imprint.scope = '{scope}'"))).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"))).fetch_one(&mut *tx).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_does_not_say_whose_rows_it_is_about_sees_none() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    for tenant in [owner, stranger] {
        let task = fixture.task(tenant).await.id;
        let examples = [fixture.labelled("a", "1")];
        fixture.store.add_support(tenant, task, &examples, &[], MANY, fixture.now()).await.unwrap();
        fixture.adapt(tenant, task, "h1").await;
    }
    let mut server = AnyConnection::connect(&fixture.config.database_url).await.unwrap();

    for table in TABLES.into_iter().chain(["tenants"]) {
        let unsaid: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
            .fetch_one(&mut server)
            .await
            .unwrap();
        assert_eq!((table, unsaid), (table, 0));
        let has_rows = i64::from(table != "keys");
        assert_eq!((table, count(&mut server, &owner.to_string(), table).await), (table, has_rows));
        assert_eq!((table, count(&mut server, "nobody", table).await), (table, 0));
        // What was said in a transaction that is over is said no more.
        let after: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}")))
            .fetch_one(&mut server)
            .await
            .unwrap();
        assert_eq!((table, after), (table, 0));
    }
    assert_eq!(count(&mut server, "queue", "adaptations").await, 2);
    for hidden in ["keys", "tasks", "support", "adapters"] {
        assert_eq!((hidden, count(&mut server, "queue", hidden).await), (hidden, 0));
    }
    server.close().await.unwrap();
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_another_tenant_can_be_neither_changed_nor_written() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let task = fixture.task(owner).await;
    let mut server = AnyConnection::connect(&fixture.config.database_url).await.unwrap();

    let mut tx = server.begin().await.unwrap();
    tx.execute(AssertSqlSafe(format!("SET LOCAL imprint.scope = '{stranger}'"))).await.unwrap();
    let changed = tx.execute("UPDATE tasks SET name = 'mine'").await.unwrap().rows_affected();
    let removed = tx.execute("DELETE FROM tasks").await.unwrap().rows_affected();
    let written = tx
        .execute(AssertSqlSafe(format!("INSERT INTO keys VALUES ('key_1', '{owner}', sha256('x'::bytea), 0)")))
        .await
        .unwrap_err();
    drop(tx);

    assert_eq!((changed, removed), (0, 0));
    assert!(written.to_string().contains("row-level security"), "{written}");
    assert_eq!(fixture.store.find_task(owner, task.id).await.unwrap(), Some(task));
    server.close().await.unwrap();
    fixture.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_with_a_tenant_is_isolated() {
    let Some(database) = Database::create().await else { return };
    let mut owner = AnyConnection::connect(&database.owner_url).await.unwrap();
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(c.relname AS TEXT) FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid \
         WHERE c.relkind = 'r' AND a.attname = 'tenant_id' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(open, Vec::<String>::new(), "end the migration that makes it with SELECT imprint_isolate('…')");
    owner.close().await.unwrap();
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_policies_do_not_bind_is_refused() {
    let Some(database) = Database::create().await else { return };
    let mut owner = AnyConnection::connect(&database.owner_url).await.unwrap();
    let open = async |url: &str| {
        let config = StoreConfig { database_url: url.to_owned(), ..StoreConfig::default() };
        store::open(&config).await.err()
    };

    let superuser = open(&database.owner_url).await;
    let bound = open(&database.url).await;
    owner.execute("ALTER TABLE tasks OWNER TO imprint_test").await.unwrap();
    let of_a_table = open(&database.url).await;
    owner
        .execute("ALTER TABLE tasks OWNER TO CURRENT_USER; ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    let unforced = open(&database.url).await;

    assert!(bound.is_none(), "{bound:?}");
    for (refused, reason) in [
        (superuser, "is a superuser"),
        (of_a_table, "owns the tables"),
        (unforced, "a table without row level security"),
    ] {
        let refused = refused.unwrap();
        assert!(matches!(refused, StoreError::Privileged { .. }) && refused.to_string().contains(reason), "{refused}");
    }
    owner.close().await.unwrap();
    database.drop().await;
}
