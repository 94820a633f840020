//! Labelled examples.

use imprint::domain::{Input, Item, Kind, LabelCount, Signal, Support, SupportFilter, SupportId, Target};
use imprint::store::{Added, Page, StoreError};

use super::Fixture;
use super::fixture::{MANY, first};

pub async fn every_kind_of_example_reads_back_as_it_was_written(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let inputs = [
        Input::Vector(vec![0.1, f32::MIN_POSITIVE, -3.4e8]),
        Input::Encoded(vec![0, 255, 10]),
        Input::Raw { shape: vec![1, 1, 2], values: vec![0.0, 1.0] },
        Input::Text("nul \u{0}, quote \" and ü".to_owned()),
        Input::Item(Item { text: "Heat".to_owned(), prior: Some(-3.1), features: vec![0.1] }),
    ];
    let time = Some(fixture.now());
    let targets = [
        Target::Label("a".to_owned()),
        Target::Value(0.1),
        Target::Value(-0.0),
        Target::Value(16_777_217.0),
        Target::Signal(Signal { value: -0.3, weight: 2.5, time }),
    ];
    let mut examples: Vec<Support> = Vec::new();
    for (place, (input, target)) in inputs.into_iter().zip(targets).enumerate() {
        let mut support = fixture.example(target, &place.to_string());
        support.example.input = input;
        support.example.external_id = Some(format!("row {place}"));
        support.example.weight = [1.0, 0.1, 2.5, 1.0, 1.0][place];
        examples.push(support);
    }

    fixture.store.add_support(tenant, task, &examples, &[], MANY, fixture.now()).await.unwrap();

    let mut loaded = fixture.store.load_support(tenant, task).await.unwrap();
    loaded.sort_by_key(|support| support.created_at);
    assert_eq!(loaded, examples);
}

pub async fn an_example_that_is_there_already_is_named_and_not_added(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let (known, new) = (fixture.labelled("a", "1"), fixture.labelled("b", "2"));
    let (again, twice) = (fixture.labelled("a", "1"), fixture.labelled("b", "2"));
    fixture.store.add_support(tenant, task, std::slice::from_ref(&known), &[], MANY, fixture.now()).await.unwrap();

    let batch = [again, new.clone(), twice];
    let added = fixture.store.add_support(tenant, task, &batch, &[], MANY, fixture.now()).await.unwrap();

    let duplicates = vec![(0, known.id), (2, new.id)];
    assert_eq!(added, Some(Added { added: vec![new.id], duplicates }));
    assert_eq!(fixture.store.support_len(tenant, task).await.unwrap(), 2);
}

pub async fn an_external_id_names_one_example(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (task, other) = (fixture.task(tenant).await.id, fixture.task(tenant).await.id);
    let named = |digest: &str| {
        let mut support = fixture.labelled("a", digest);
        support.example.external_id = Some("row 1".to_owned());
        support
    };
    let (one, same_name) = (named("1"), named("2"));
    fixture.store.add_support(tenant, task, std::slice::from_ref(&one), &[], MANY, fixture.now()).await.unwrap();

    let here =
        fixture.store.add_support(tenant, task, std::slice::from_ref(&same_name), &[], MANY, fixture.now()).await;
    let there = fixture.store.add_support(tenant, other, &[same_name], &[], MANY, fixture.now()).await;

    assert_eq!(here.unwrap().unwrap().duplicates, [(0, one.id)]);
    assert_eq!(there.unwrap().unwrap().duplicates, []);
}

pub async fn above_the_limit_nothing_is_added(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await;
    let one = [fixture.labelled("a", "1")];
    fixture.store.add_support(tenant, task.id, &one, &[], 2, fixture.now()).await.unwrap();
    let before = fixture.store.find_task(tenant, task.id).await.unwrap();

    let more = [fixture.labelled("a", "1"), fixture.labelled("a", "2"), fixture.labelled("c", "3")];
    let answer = fixture.store.add_support(tenant, task.id, &more, &["c".to_owned()], 2, fixture.now()).await;

    assert!(matches!(answer, Err(StoreError::Full { limit: 2, .. })), "{answer:?}");
    assert_eq!(fixture.store.support_len(tenant, task.id).await.unwrap(), 1);
    assert_eq!(fixture.store.find_task(tenant, task.id).await.unwrap(), before);
    let fitting = fixture.store.add_support(tenant, task.id, &more[..2], &[], 2, fixture.now()).await.unwrap();
    assert_eq!(fitting.unwrap().added.len(), 1); // a duplicate takes no room
}

pub async fn counts_follow_the_order_of_the_labels(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await;
    let examples = [fixture.labelled("Z", "1"), fixture.labelled("b", "2"), fixture.labelled("Z", "3")];
    let labels = ["b".to_owned(), "Z".to_owned()];
    let now = fixture.now();

    fixture.store.add_support(tenant, task.id, &examples, &labels, MANY, now).await.unwrap();

    let count = |name: &str, support_count| LabelCount { name: name.to_owned(), support_count };
    let counts = fixture.store.count_support(tenant, task.id).await.unwrap();
    assert_eq!(counts, [count("a", 0), count("b", 1), count("Z", 2)]);
    let after = fixture.store.find_task(tenant, task.id).await.unwrap().unwrap();
    assert_eq!((after.labels.len(), after.revision, after.updated_at), (3, task.revision + 1, now));
}

pub async fn a_regression_has_no_labels_to_count(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.new_task(Kind::Regression, &[]);
    let examples = [fixture.example(Target::Value(2.5), "1")];
    fixture.store.create_task(tenant, &task, &examples, MANY).await.unwrap();

    assert_eq!(fixture.store.count_support(tenant, task.id).await.unwrap(), []);
    assert_eq!(fixture.store.load_support(tenant, task.id).await.unwrap(), examples);
}

pub async fn pages_walk_all_examples_newest_first(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await.id;
    let mut ids: Vec<SupportId> = Vec::new();
    for digest in 0..5 {
        let support = fixture.labelled("a", &digest.to_string());
        ids.insert(0, support.id);
        fixture.store.add_support(tenant, task, &[support], &[], MANY, fixture.now()).await.unwrap();
    }

    let newest = fixture.store.list_support(tenant, task, &SupportFilter::default(), first(3)).await.unwrap();
    let after = newest.last().map(|last| (last.created_at, last.id));
    let rest =
        fixture.store.list_support(tenant, task, &SupportFilter::default(), Page { after, limit: 3 }).await.unwrap();

    let walked: Vec<SupportId> = newest.iter().chain(&rest).map(|support| support.id).collect();
    assert_eq!((newest.len(), walked), (3, ids));
}

pub async fn a_removed_example_is_gone_and_can_come_again(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let task = fixture.task(tenant).await;
    let support = fixture.labelled("a", "1");
    let one = std::slice::from_ref(&support);
    fixture.store.add_support(tenant, task.id, one, &[], MANY, fixture.now()).await.unwrap();

    assert!(fixture.store.delete_support(tenant, task.id, support.id, fixture.now()).await.unwrap());
    assert!(!fixture.store.delete_support(tenant, task.id, support.id, fixture.now()).await.unwrap());

    let revision = fixture.store.find_task(tenant, task.id).await.unwrap().unwrap().revision;
    assert_eq!(revision, task.revision + 2);
    let again = fixture.store.add_support(tenant, task.id, one, &[], MANY, fixture.now()).await.unwrap();
    assert_eq!(again.unwrap().added, [support.id]);
}
