//! What is erased is gone, with all that came of it; and nothing else is.

use imprint::domain::{
    AdaptationStatus, Counted, Erasure, Input, ReceiptId, StoredPrediction, SupportId, Target, TenantId, Timestamp,
};
use imprint::store::Completion;
use imprint::store::accounts::Erased;

use super::Fixture;
use super::fixture::{MANY, first};

async fn erase(fixture: &Fixture, tenant: TenantId, what: Erasure) -> Option<Erased> {
    fixture.store.erase(tenant, what, ReceiptId::fresh(fixture.ids()), fixture.now()).await.unwrap()
}

pub async fn an_example_takes_with_it_what_may_have_been_made_of_it(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let store = &fixture.store;
    let task = fixture.task(owner).await.id;
    let add = async |support: &imprint::domain::Support| {
        store.add_support(owner, task, std::slice::from_ref(support), &[], MANY, fixture.now()).await.unwrap()
    };
    let old = fixture.labelled("a", "1");
    add(&old).await;
    fixture.adapt(owner, task, "before").await;
    let mut secret = fixture.labelled("b", "2");
    secret.example.input = Input::Text("my address".to_owned());
    add(&secret).await;
    fixture.adapt(owner, task, "after").await;
    let kept = StoredPrediction {
        id: imprint::domain::PredictionId::fresh(fixture.ids()),
        version: 2,
        input: secret.example.input.clone(),
        answer: Target::Label("b".to_owned()),
        created_at: fixture.now(),
    };
    assert!(store.store_predictions(owner, task, std::slice::from_ref(&kept), MANY).await.unwrap());

    assert_eq!(erase(fixture, stranger, Erasure::Example(task, secret.id)).await, None);
    let nobody = SupportId::fresh(fixture.ids());
    assert_eq!(erase(fixture, owner, Erasure::Example(task, nobody)).await, None);
    let erased = erase(fixture, owner, Erasure::Example(task, secret.id)).await.unwrap();

    let removed = Counted { support: 1, adapters: 1, adaptations: 1, predictions: 1, ..Counted::default() };
    assert_eq!(erased.receipt.removed, removed);
    assert_eq!((erased.adapters.len(), &erased.texts[..]), (1, &["my address".to_owned()][..]));
    assert_eq!(store.load_support(owner, task).await.unwrap(), [old]);
    let left = store.list_adapters(owner, task, None, MANY).await.unwrap();
    assert_eq!(left.iter().map(|adapter| adapter.version).collect::<Vec<_>>(), [1]);
    assert_eq!(store.find_task(owner, task).await.unwrap().unwrap().active_version, Some(1), "what answered before");
    assert_eq!(store.find_prediction(owner, task, kept.id).await.unwrap(), None);
    assert_eq!(fixture.adapt(owner, task, "again").await, 3, "a number is not given twice");
}

pub async fn clocks_that_differ_save_no_adapter_of_an_erased_example(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let store = &fixture.store;
    let task = fixture.task(owner).await.id;
    let kept = fixture.labelled("a", "1");
    store.add_support(owner, task, &[kept], &[], MANY, fixture.now()).await.unwrap();
    fixture.adapt(owner, task, "before").await;
    // The server that takes the example is an hour ahead of the one that adapts to it.
    let mut secret = fixture.labelled("b", "2");
    secret.created_at = Timestamp::from_millis(secret.created_at.millis() + 3_600_000);
    store.add_support(owner, task, std::slice::from_ref(&secret), &[], MANY, secret.created_at).await.unwrap();
    fixture.adapt(owner, task, "after").await;

    let erased = erase(fixture, owner, Erasure::Example(task, secret.id)).await.unwrap();

    assert_eq!((erased.receipt.removed.adapters, erased.receipt.removed.adaptations), (1, 1));
    let left = store.list_adapters(owner, task, None, MANY).await.unwrap();
    assert_eq!(left.iter().map(|adapter| adapter.version).collect::<Vec<_>>(), [1]);
}

pub async fn an_example_that_came_again_takes_what_was_made_in_its_first_life(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let store = &fixture.store;
    let task = fixture.task(owner).await.id;
    let add = async |support: &imprint::domain::Support| {
        store.add_support(owner, task, std::slice::from_ref(support), &[], MANY, fixture.now()).await.unwrap()
    };
    add(&fixture.labelled("a", "1")).await;
    fixture.adapt(owner, task, "without").await;
    let secret = fixture.labelled("b", "2");
    add(&secret).await;
    fixture.adapt(owner, task, "with").await;
    assert!(store.delete_support(owner, task, secret.id, fixture.now()).await.unwrap());
    let again = fixture.labelled("b", "2");
    add(&again).await;

    erase(fixture, owner, Erasure::Example(task, again.id)).await.unwrap();

    let left = store.list_adapters(owner, task, None, MANY).await.unwrap();
    assert_eq!(left.iter().map(|adapter| adapter.version).collect::<Vec<_>>(), [1]);
}

pub async fn a_task_and_a_tenant_leave_nothing(fixture: &Fixture) {
    let (owner, neighbour) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let store = &fixture.store;
    let mut tasks = Vec::new();
    for tenant in [owner, owner, neighbour] {
        let task = fixture.task(tenant).await.id;
        let example = fixture.labelled("a", "1");
        store.add_support(tenant, task, &[example], &[], MANY, fixture.now()).await.unwrap();
        fixture.adapt(tenant, task, "h1").await;
        tasks.push(task);
    }

    let of_task = erase(fixture, owner, Erasure::Task(tasks[0])).await.unwrap();
    let of_tenant = erase(fixture, owner, Erasure::Tenant).await.unwrap();

    let removed = Counted { support: 1, adapters: 1, adaptations: 1, tasks: 1, ..Counted::default() };
    for erased in [&of_task, &of_tenant] {
        assert_eq!(erased.receipt.removed, removed);
    }
    let kept = store.list_receipts(owner, first(MANY)).await.unwrap();
    assert_eq!(kept, [of_tenant.receipt, of_task.receipt], "receipts stay");
    assert_eq!(store.list_receipts(neighbour, first(MANY)).await.unwrap(), []);
    assert!(!store.is_tenant(owner).await.unwrap());
    assert_eq!(store.list_tasks(owner, first(MANY)).await.unwrap(), []);
    assert_eq!(store.list_tasks(neighbour, first(MANY)).await.unwrap().len(), 1, "others' things stay");
    assert_eq!(store.load_support(neighbour, tasks[2]).await.unwrap().len(), 1);
}

pub async fn a_job_that_may_have_read_an_erased_example_leaves_nothing_and_begins_again(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let store = &fixture.store;
    let task = fixture.task(owner).await.id;
    let [kept, secret] = [fixture.labelled("a", "1"), fixture.labelled("b", "2")];
    let both = [kept.clone(), secret.clone()];
    store.add_support(owner, task, &both, &[], MANY, fixture.now()).await.unwrap();
    let job = fixture.submit(owner, task).await;
    let reader = fixture.claim().await.unwrap();
    assert_eq!(store.load_support(owner, task).await.unwrap().len(), 2, "it has read the example");

    erase(fixture, owner, Erasure::Example(task, secret.id)).await.unwrap();
    let (adapter, blob) = fixture.adapted(task, "with the example", b"with the example");
    let late = fixture.complete(&reader, Completion::Adapted(Box::new(adapter), blob)).await;

    assert_eq!(late, None, "its attempt has no say any more");
    assert_eq!(store.list_adapters(owner, task, None, MANY).await.unwrap(), []);
    assert_eq!(store.find_adaptation(owner, job.id).await.unwrap().unwrap().status, AdaptationStatus::Queued);
    let again = fixture.claim().await.unwrap();
    assert_eq!((again.adaptation.id, again.adaptation.attempt), (job.id, reader.adaptation.attempt + 1));
    assert_eq!(store.load_support(owner, task).await.unwrap(), [kept]);
    let (adapter, blob) = fixture.adapted(task, "without", b"without");
    let done = fixture.complete(&again, Completion::Adapted(Box::new(adapter), blob)).await.unwrap();
    assert_eq!((done.status, done.version), (AdaptationStatus::Succeeded, Some(1)));
}

pub async fn an_erasure_that_is_repeated_gives_its_receipt_again(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let task = fixture.task(owner).await.id;
    let receipt = ReceiptId::fresh(fixture.ids());
    let repeat = async || fixture.store.erase(owner, Erasure::Task(task), receipt, fixture.now()).await.unwrap();

    let first = repeat().await.unwrap();
    let second = repeat().await.unwrap();

    assert_eq!((second.receipt, first.receipt.removed.tasks), (first.receipt, 1));
    assert_eq!(erase(fixture, owner, Erasure::Task(task)).await, None);
}

pub async fn answers_that_may_quote_an_example_go_with_it(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let store = &fixture.store;
    let task = fixture.task(owner).await.id;
    let secret = fixture.labelled("a", "1");
    store.add_support(owner, task, std::slice::from_ref(&secret), &[], MANY, fixture.now()).await.unwrap();
    let paths = [format!("/v1/tasks/{task}/predict"), format!("/v2/models/{task}/infer"), "/v1/tasks".to_owned()];
    for path in &paths {
        let request =
            imprint::domain::RequestKey { path: path.clone(), key: "once".to_owned(), fingerprint: "f".to_owned() };
        let times =
            imprint::store::requests::RequestTimes { lease: super::fixture::LEASE, keep: super::fixture::LEASE };
        store.reserve_request(owner, &request, [1; 32], times).await.unwrap();
    }

    let erased = erase(fixture, owner, Erasure::Example(task, secret.id)).await.unwrap();

    assert_eq!(erased.receipt.removed.requests, 2);
}
