//! Opening, and opening again.

use imprint::config::StoreConfig;
use imprint::domain::Kind;
use imprint::store::{self, StoreError};

use super::Fixture;
use super::fixture::MANY;

pub async fn what_was_written_is_there_after_reopening(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let examples = [fixture.labelled("a", "1")];
    fixture.store.add_support(tenant, task, &examples, &[], MANY, fixture.now()).await.unwrap();
    fixture.adapt(tenant, task, "h1").await;
    let job = fixture.submit(tenant, task).await;

    let reopened = store::open(&fixture.config).await.unwrap();

    assert_eq!(reopened.find_tenant("zoo").await.unwrap().unwrap().id, tenant);
    assert_eq!(reopened.load_support(tenant, task).await.unwrap(), examples);
    assert_eq!(reopened.find_adaptation(tenant, job.id).await.unwrap(), Some(job));
    let adapter = reopened.find_adapter(tenant, task, None).await.unwrap().unwrap();
    assert_eq!(reopened.load_adapter(tenant, adapter.id).await.unwrap().unwrap().bytes(), b"h1");
}

pub async fn a_second_migration_changes_nothing(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;

    tokio::join!(fixture.migrate(), fixture.migrate());

    assert_eq!(fixture.store.find_tenant("zoo").await.unwrap().unwrap().id, tenant);
}

#[tokio::test]
async fn a_url_of_another_database_is_refused_without_its_password() {
    let database_url = "mysql://root:hush@db/imprint".to_owned();

    let error = store::open(&StoreConfig { database_url, ..StoreConfig::default() }).await.err().unwrap();

    assert!(matches!(error, StoreError::UnknownScheme(_)) && !error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_store_in_memory_serves_as_one_on_disk() {
    let config = StoreConfig { database_url: "sqlite::memory:".to_owned(), ..StoreConfig::default() };

    let store = store::open(&config).await.unwrap();

    assert_eq!(store.find_tenant("zoo").await.unwrap(), None);
}

#[tokio::test]
async fn without_migration_the_schema_is_left_as_it_is_and_an_old_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite:{}", folder.path().join("imprint.db").display());
    let config = StoreConfig { database_url, migrate_on_start: false, ..StoreConfig::default() };

    let refused = store::open(&config).await.err().unwrap();
    store::migrate(&config, None).await.unwrap();
    store::open(&config).await.unwrap();

    assert!(matches!(refused, StoreError::OldSchema(1)), "{refused}");
}

/// As when its disk is full: the transaction is gone before the driver rolls it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_sqlite_ends_by_itself_holds_up_no_other() {
    let fixture = Fixture::sqlite().await;
    let tenant = fixture.tenant("zoo").await;
    let mut raw = fixture.raw().await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON tasks BEGIN SELECT RAISE(ROLLBACK, 'no room'); END";
    sqlx::query(full).execute(&mut raw).await.unwrap();
    let task = fixture.new_task(Kind::Classification, &["a"]);
    for _ in 0..3 {
        fixture.store.create_task(tenant, &task, &[], MANY).await.unwrap_err();
    }

    sqlx::query("DROP TRIGGER full").execute(&mut raw).await.unwrap();

    fixture.store.create_task(tenant, &task, &[], MANY).await.unwrap();
    assert!(fixture.store.find_task(tenant, task.id).await.unwrap().is_some());
    fixture.close().await;
}
