//! What is erased is gone, with all that came of it; and nothing else is.

use imprint::domain::{Counted, Erasure, Input, StoredPrediction, SupportId, Target};
use imprint::store::accounts::Erased;

use super::Fixture;
use super::fixture::{MANY, first};

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

    assert_eq!(store.erase(stranger, Erasure::Example(task, secret.id)).await.unwrap(), None);
    let nobody = SupportId::fresh(fixture.ids());
    assert_eq!(store.erase(owner, Erasure::Example(task, nobody)).await.unwrap(), None);
    let erased = store.erase(owner, Erasure::Example(task, secret.id)).await.unwrap().unwrap();

    let removed = Counted { support: 1, adapters: 1, adaptations: 1, predictions: 1, ..Counted::default() };
    assert_eq!((erased.removed, erased.remaining), (removed, Counted::default()));
    assert_eq!((erased.adapters.len(), &erased.texts[..]), (1, &["my address".to_owned()][..]));
    assert_eq!(store.load_support(owner, task).await.unwrap(), [old]);
    let left = store.list_adapters(owner, task, None, MANY).await.unwrap();
    assert_eq!(left.iter().map(|adapter| adapter.version).collect::<Vec<_>>(), [1]);
    assert_eq!(store.find_task(owner, task).await.unwrap().unwrap().active_version, Some(1), "what answered before");
    assert_eq!(store.find_prediction(owner, task, kept.id).await.unwrap(), None);
    assert_eq!(fixture.adapt(owner, task, "again").await, 3, "a number is not given twice");
}

pub async fn what_an_adaptation_has_read_before_is_not_stored_afterwards(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let store = &fixture.store;
    let task = fixture.task(tenant).await.id;
    let secret = fixture.labelled("a", "1");
    store.add_support(tenant, task, std::slice::from_ref(&secret), &[], MANY, fixture.now()).await.unwrap();
    fixture.submit(tenant, task).await;
    let claim = fixture.claim().await.unwrap();

    store.erase(tenant, Erasure::Example(task, secret.id)).await.unwrap().unwrap();

    let (adapter, blob) = fixture.adapted(task, "with the example", b"weights");
    let completion = imprint::store::Completion::Adapted(Box::new(adapter), blob);
    assert_eq!(fixture.complete(&claim, completion).await, None, "it was called off");
    assert_eq!(store.list_adapters(tenant, task, None, MANY).await.unwrap(), []);
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

    let of_task = store.erase(owner, Erasure::Task(tasks[0])).await.unwrap().unwrap();
    let of_tenant = store.erase(owner, Erasure::Tenant).await.unwrap().unwrap();

    let removed = Counted { support: 1, adapters: 1, adaptations: 1, tasks: 1, ..Counted::default() };
    for erased in [of_task, of_tenant] {
        let Erased { removed: counted, remaining, .. } = erased;
        assert_eq!((counted, remaining), (removed, Counted::default()));
    }
    assert!(!store.is_tenant(owner).await.unwrap());
    assert_eq!(store.list_tasks(owner, first(MANY)).await.unwrap(), []);
    assert_eq!(store.list_tasks(neighbour, first(MANY)).await.unwrap().len(), 1, "others' things stay");
    assert_eq!(store.load_support(neighbour, tasks[2]).await.unwrap().len(), 1);
}
