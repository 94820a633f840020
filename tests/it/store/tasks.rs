//! Tasks.

use imprint::domain::{Kind, Task, TaskPatch};
use imprint::store::{Completion, Page, StoreError};

use super::Fixture;
use super::fixture::{MANY, first};

pub async fn a_task_reads_back_as_it_was_written(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.new_task(Kind::Classification, &["owl", "ünïcode \"quoted\""]);
    let examples = [fixture.labelled("owl", "1"), fixture.labelled("owl", "2")];

    let added = fixture.store.create_task(tenant, &task, &examples, MANY).await.unwrap();

    assert_eq!(added.added, [examples[0].id, examples[1].id]);
    assert_eq!(fixture.store.find_task(tenant, task.id).await.unwrap(), Some(task.clone()));
    assert_eq!(fixture.store.support_len(tenant, task.id).await.unwrap(), 2);
}

pub async fn pages_walk_all_tasks_newest_first(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let moment = fixture.now();
    let mut tasks: Vec<Task> = (0..7).map(|_| fixture.new_task(Kind::Regression, &[])).collect();
    tasks[2..5].iter_mut().for_each(|task| task.created_at = moment); // one moment: their ids decide
    for task in &tasks {
        fixture.store.create_task(tenant, task, &[], MANY).await.unwrap();
    }
    tasks.sort_by_key(|task| std::cmp::Reverse((task.created_at, task.id)));

    let mut walked = Vec::new();
    let mut page = first(2);
    loop {
        let rows = fixture.store.list_tasks(tenant, page).await.unwrap();
        let Some(last) = rows.last() else { break };
        page = Page { after: Some((last.created_at, last.id)), limit: 2 };
        walked.extend(rows);
    }

    assert_eq!(walked, tasks);
}

pub async fn a_patch_changes_what_it_names_and_counts_the_revision(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await;
    let now = fixture.now();
    let (name, add_labels) = (Some("owls".to_owned()), vec!["b".into(), "c".into()]);
    let patch = TaskPatch { name, add_labels, ..TaskPatch::default() };

    let patched = fixture.store.update_task(tenant, task.id, &patch, Some(1), now).await.unwrap().unwrap();

    let labels = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    assert_eq!(patched, Task { name: "owls".to_owned(), labels, revision: 2, updated_at: now, ..task });
    assert_eq!(fixture.store.find_task(tenant, patched.id).await.unwrap(), Some(patched));
}

pub async fn a_patch_against_an_old_revision_is_a_conflict(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await;
    let patch = TaskPatch { name: Some("owls".to_owned()), ..TaskPatch::default() };

    let answer = fixture.store.update_task(tenant, task.id, &patch, Some(9), fixture.now()).await;

    assert!(matches!(answer, Err(StoreError::Conflict)), "{answer:?}");
    assert_eq!(fixture.store.find_task(tenant, task.id).await.unwrap(), Some(task));
}

pub async fn two_patches_of_one_revision_do_not_both_succeed(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let patch = TaskPatch { name: Some("owls".to_owned()), ..TaskPatch::default() };

    for revision in 1..20 {
        let (one, other) = tokio::join!(
            fixture.store.update_task(tenant, task, &patch, Some(revision), fixture.now()),
            fixture.store.update_task(tenant, task, &patch, Some(revision), fixture.now()),
        );

        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
    }
}

pub async fn a_tenant_has_no_more_tasks_than_its_limit(fixture: &Fixture) {
    let (tenant, other) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    fixture.task(other).await;
    fixture.task(tenant).await;
    let (second, third) = (fixture.new_task(Kind::Regression, &[]), fixture.new_task(Kind::Regression, &[]));

    fixture.store.create_task(tenant, &second, &[], 2).await.unwrap();
    let answer = fixture.store.create_task(tenant, &third, &[], 2).await;

    assert!(matches!(answer, Err(StoreError::Full { limit: 2, .. })), "{answer:?}");
    assert_eq!(fixture.store.find_task(tenant, third.id).await.unwrap(), None);
}

pub async fn a_deleted_task_takes_everything_with_it(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (task, kept) = (fixture.task(tenant).await.id, fixture.task(tenant).await.id);
    let now = fixture.now();
    for id in [task, kept] {
        let examples = [fixture.labelled("a", "1")];
        fixture.store.add_support(tenant, id, &examples, &[], MANY, now).await.unwrap();
        fixture.adapt(tenant, id, "h1").await;
    }
    let adapter = fixture.store.find_adapter(tenant, task, None).await.unwrap().unwrap().id;
    let job = fixture.submit(tenant, task).await.id;

    assert!(fixture.store.delete_task(tenant, task).await.unwrap());

    assert!(!fixture.store.delete_task(tenant, task).await.unwrap());
    assert_eq!(fixture.store.find_task(tenant, task).await.unwrap(), None);
    assert_eq!(fixture.store.load_support(tenant, task).await.unwrap(), []);
    assert_eq!(fixture.store.find_adaptation(tenant, job).await.unwrap(), None);
    assert_eq!(fixture.store.load_adapter(tenant, adapter).await.unwrap(), None);
    assert!(fixture.claim().await.is_none());
    for table in ["support", "adaptations", "adapters", "promotions"] {
        let statement = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 = sqlx::query_scalar(statement).fetch_one(&mut fixture.raw().await).await.unwrap();
        assert_eq!(rows, 1, "{table} keeps the other task's row only");
    }
    let claim = {
        fixture.submit(tenant, kept).await;
        fixture.claim().await.unwrap()
    };
    let (adapter, blob) = fixture.adapted(kept, "h1", b"h1");
    assert!(fixture.complete(&claim, Completion::Adapted(Box::new(adapter), blob)).await.is_some());
}
