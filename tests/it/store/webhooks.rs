//! Webhooks, and messages on their way to them.

use std::time::Duration;

use futures_util::future::join_all;
use imprint::domain::{DeliveryStatus, Message, MessageId, Topic, Webhook, WebhookId, WebhookPatch, WebhookSecret};
use imprint::store::StoreError;
use imprint::store::webhooks::{Attempted, Next, Parcel};
use sqlx::Connection;

use super::Fixture;
use super::fixture::{LEASE, MANY, first};

fn webhook(fixture: &Fixture, topics: &[Topic]) -> Webhook {
    Webhook {
        id: WebhookId::fresh(fixture.ids()),
        url: "https://example.com/ü".to_owned(),
        topics: topics.to_vec(),
        secret: WebhookSecret::fresh(fixture.ids()),
        previous: None,
        is_enabled: true,
        disabled_reason: None,
        created_at: fixture.now(),
    }
}

fn message(fixture: &Fixture, topic: Topic) -> Message {
    Message::new(MessageId::fresh(fixture.ids()), topic, &"data", fixture.now())
}

const DONE: Attempted = Attempted { answered: Some(204), error: None, next: Next::Delivered };
const FAILED: Attempted = Attempted { answered: Some(500), error: None, next: Next::Again(LEASE) };

pub async fn a_webhook_reads_back_as_it_was_written(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let (made, store) = (webhook(fixture, &[Topic::Test]), &fixture.store);

    store.create_webhook(owner, &made, MANY).await.unwrap();
    store.create_webhook(owner, &made, MANY).await.unwrap(); // by the same request again

    assert_eq!(store.list_webhooks(owner).await.unwrap(), std::slice::from_ref(&made));
    let patch = WebhookPatch { is_enabled: Some(false), topics: Some(Vec::new()), url: None };
    let patched = store.update_webhook(owner, made.id, &patch).await.unwrap().unwrap();
    assert_eq!(patched, Webhook { is_enabled: false, topics: Vec::new(), ..made.clone() });
    let secret = WebhookSecret::fresh(fixture.ids());
    for _ in 0..2 {
        let rotated = store.rotate_webhook(owner, made.id, &secret, LEASE).await.unwrap().unwrap();
        assert_eq!((rotated.secret, rotated.previous.unwrap().0), (secret.clone(), made.secret.clone()));
    }
    assert_eq!(store.list_webhooks(stranger).await.unwrap(), []);
    assert_eq!(store.find_webhook(stranger, made.id).await.unwrap(), None);
    assert_eq!(store.update_webhook(stranger, made.id, &patch).await.unwrap(), None);
    assert_eq!(store.rotate_webhook(stranger, made.id, &secret, LEASE).await.unwrap(), None);
    assert!(!store.delete_webhook(stranger, made.id).await.unwrap());
    assert!(store.delete_webhook(owner, made.id).await.unwrap());
    assert_eq!(store.find_webhook(owner, made.id).await.unwrap(), None);
}

pub async fn a_tenant_has_no_more_webhooks_than_its_limit(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    fixture.store.create_webhook(tenant, &webhook(fixture, &[]), 1).await.unwrap();

    let second = fixture.store.create_webhook(tenant, &webhook(fixture, &[]), 1).await;

    assert!(matches!(second, Err(StoreError::Full { what: "webhooks", limit: 1 })), "{second:?}");
}

pub async fn a_message_goes_once_to_those_who_want_it(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let store = &fixture.store;
    let wants_all = webhook(fixture, &[]);
    let wants_failures = webhook(fixture, &[Topic::AdaptationFailed]);
    let is_off = Webhook { is_enabled: false, ..webhook(fixture, &[]) };
    for made in [&wants_all, &wants_failures, &is_off] {
        store.create_webhook(owner, made, MANY).await.unwrap();
    }
    let elsewhere = webhook(fixture, &[]);
    store.create_webhook(stranger, &elsewhere, MANY).await.unwrap();
    let told = message(fixture, Topic::AdaptationSucceeded);

    store.post(owner, &told, None).await.unwrap();
    store.post(owner, &told, None).await.unwrap();

    let parcel = store.take_delivery(LEASE).await.unwrap().unwrap();
    assert_eq!((parcel.tenant, parcel.webhook, parcel.attempt), (owner, wants_all.id, 1));
    assert_eq!((&parcel.message, &parcel.url, parcel.secrets.len()), (&told, &wants_all.url, 1));
    assert_eq!(store.take_delivery(LEASE).await.unwrap(), None, "there is one");
    let listed = store.list_deliveries(owner, wants_all.id, None, first(MANY)).await.unwrap();
    assert_eq!(listed.iter().map(|delivery| &delivery.message).collect::<Vec<_>>(), [&told]);
    let dead = Some(DeliveryStatus::Dead);
    assert_eq!(store.list_deliveries(owner, wants_all.id, dead, first(MANY)).await.unwrap(), []);
    assert_eq!(store.list_deliveries(stranger, wants_all.id, None, first(MANY)).await.unwrap(), []);
    assert_eq!(store.redeliver(stranger, wants_all.id, told.id).await.unwrap(), None);
    // What is for one goes to that one, whatever it wants.
    store.post(owner, &message(fixture, Topic::Test), Some(wants_failures.id)).await.unwrap();
    assert_eq!(store.take_delivery(LEASE).await.unwrap().unwrap().webhook, wants_failures.id);
}

pub async fn a_webhook_gets_one_delivery_after_the_other(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (slow, quick) = (webhook(fixture, &[]), webhook(fixture, &[]));
    for made in [&slow, &quick] {
        fixture.store.create_webhook(tenant, made, MANY).await.unwrap();
    }
    for _ in 0..3 {
        fixture.store.post(tenant, &message(fixture, Topic::Test), None).await.unwrap();
    }

    let held = [(); 3].map(|()| fixture.store.take_delivery(LEASE));
    let mut taken = Vec::new();
    for parcel in held {
        taken.push(parcel.await.unwrap());
    }

    assert!(taken[0].is_some() && taken[1].is_some() && taken[2].is_none(), "{taken:?}");
    assert_ne!(taken[0].as_ref().unwrap().webhook, taken[1].as_ref().unwrap().webhook);
    assert!(fixture.store.note_delivery(taken[0].as_ref().unwrap(), &DONE).await.unwrap());
    let next = fixture.store.take_delivery(LEASE).await.unwrap().unwrap();
    assert_eq!(next.webhook, taken[0].as_ref().unwrap().webhook);
}

pub async fn a_delivery_is_fenced_by_its_attempt_and_pauses(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let made = webhook(fixture, &[]);
    let store = &fixture.store;
    store.create_webhook(tenant, &made, MANY).await.unwrap();
    store.rotate_webhook(tenant, made.id, &WebhookSecret::fresh(fixture.ids()), LEASE).await.unwrap();
    let told = message(fixture, Topic::Test);
    store.post(tenant, &told, None).await.unwrap();

    let lost = store.take_delivery(Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(lost.secrets.len(), 2, "both sign while they overlap");
    fixture.end_pauses().await;
    let second = store.take_delivery(LEASE).await.unwrap().unwrap();
    assert_eq!((lost.attempt, second.attempt), (1, 2));
    assert!(!store.note_delivery(&lost, &FAILED).await.unwrap(), "another attempt has it");
    assert!(store.note_delivery(&second, &FAILED).await.unwrap());

    assert_eq!(store.take_delivery(LEASE).await.unwrap(), None, "it pauses");
    let listed = store.list_deliveries(tenant, made.id, None, first(MANY)).await.unwrap();
    assert_eq!((listed[0].status, listed[0].attempt, listed[0].answered), (DeliveryStatus::Pending, 2, Some(500)));
    assert!(listed[0].next_at.is_some());
    fixture.end_pauses().await;
    assert_eq!(store.take_delivery(LEASE).await.unwrap().unwrap().attempt, 3);
}

pub async fn a_webhook_that_takes_nothing_is_not_sent_to_any_more(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let made = webhook(fixture, &[]);
    let store = &fixture.store;
    store.create_webhook(tenant, &made, MANY).await.unwrap();
    let told = message(fixture, Topic::Test);
    store.post(tenant, &told, None).await.unwrap();
    let parcel = store.take_delivery(LEASE).await.unwrap().unwrap();
    let gone = Attempted { answered: None, error: Some("no connection".to_owned()), next: Next::Dead };

    assert!(store.note_delivery(&parcel, &gone).await.unwrap());

    let off = store.find_webhook(tenant, made.id).await.unwrap().unwrap();
    assert!(!off.is_enabled && off.disabled_reason.is_some(), "{off:?}");
    store.post(tenant, &message(fixture, Topic::Test), None).await.unwrap();
    assert_eq!(store.take_delivery(LEASE).await.unwrap(), None);
    let again = store.redeliver(tenant, made.id, told.id).await.unwrap().unwrap();
    assert_eq!((again.status, again.attempt), (DeliveryStatus::Pending, 1));
    let second = store.take_delivery(LEASE).await.unwrap().unwrap();
    assert_eq!((&second.message, second.attempt, second.round), (&told, 2, 1));
    assert!(!store.note_delivery(&parcel, &FAILED).await.unwrap(), "it is about an attempt of long ago");
    assert!(store.note_delivery(&second, &FAILED).await.unwrap());
}

pub async fn a_webhook_that_is_off_gets_tests_alone(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (made, store) = (webhook(fixture, &[]), &fixture.store);
    store.create_webhook(tenant, &made, MANY).await.unwrap();
    let (told, test) = (message(fixture, Topic::AdaptationFailed), message(fixture, Topic::Test));
    let is_enabled = |is_enabled| WebhookPatch { is_enabled: Some(is_enabled), ..WebhookPatch::default() };
    store.post(tenant, &told, None).await.unwrap();

    store.update_webhook(tenant, made.id, &is_enabled(false)).await.unwrap().unwrap();

    assert_eq!(store.take_delivery(LEASE).await.unwrap(), None);
    store.post(tenant, &test, Some(made.id)).await.unwrap();
    let parcel = store.take_delivery(LEASE).await.unwrap().unwrap();
    assert_eq!(parcel.message, test);
    assert!(store.note_delivery(&parcel, &DONE).await.unwrap());
    store.update_webhook(tenant, made.id, &is_enabled(true)).await.unwrap().unwrap();
    assert_eq!(store.take_delivery(LEASE).await.unwrap().unwrap().message, told);
}

pub async fn what_is_changed_while_a_webhook_is_switched_off_stays(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (made, store) = (webhook(fixture, &[]), &fixture.store);
    store.create_webhook(tenant, &made, MANY).await.unwrap();
    store.post(tenant, &message(fixture, Topic::Test), None).await.unwrap();
    let parcel = store.take_delivery(LEASE).await.unwrap().unwrap();
    let mut raw = fixture.raw().await;
    let mut change = raw.begin().await.unwrap();
    sqlx::query("UPDATE webhooks SET url = 'https://example.com/new'").execute(&mut *change).await.unwrap();

    let (gone, store) = (Attempted { answered: Some(410), ..FAILED }, store.clone());
    let noting = tokio::spawn(async move { store.note_delivery(&parcel, &gone).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await; // it waits for the row
    change.commit().await.unwrap();

    assert!(noting.await.unwrap());
    let off = fixture.store.find_webhook(tenant, made.id).await.unwrap().unwrap();
    assert_eq!((off.is_enabled, off.url.as_str()), (false, "https://example.com/new"));
}

pub async fn whoever_looks_a_webhook_gets_one_delivery_after_the_other(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (made, store) = (webhook(fixture, &[]), &fixture.store);
    store.create_webhook(tenant, &made, MANY).await.unwrap();
    for _ in 0..30 {
        store.post(tenant, &message(fixture, Topic::Test), None).await.unwrap();
    }

    for _ in 0..30 {
        let taken = join_all((0..4).map(|_| store.take_delivery(LEASE))).await;
        let taken: Vec<Parcel> = taken.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(taken.len(), 1, "{taken:?}");
        assert!(store.note_delivery(&taken[0], &DONE).await.unwrap());
    }
}

pub async fn a_tenant_with_slow_receivers_leaves_places_to_others(fixture: &Fixture) {
    let (slow, other) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let store = &fixture.store;
    for tenant in [slow; 10].into_iter().chain([other]) {
        store.create_webhook(tenant, &webhook(fixture, &[]), MANY).await.unwrap();
    }
    for tenant in [slow, other] {
        store.post(tenant, &message(fixture, Topic::Test), None).await.unwrap();
    }

    let mut taken = Vec::new();
    while let Some(parcel) = store.take_delivery(LEASE).await.unwrap() {
        taken.push(parcel);
    }

    let of = |tenant| taken.iter().filter(|parcel| parcel.tenant == tenant).count();
    assert_eq!((of(slow), of(other)), (4, 1));
    let first = taken.iter().find(|parcel| parcel.tenant == slow).unwrap();
    assert!(store.note_delivery(first, &DONE).await.unwrap());
    assert_eq!(store.take_delivery(LEASE).await.unwrap().unwrap().tenant, slow);
}

pub async fn a_delivery_that_cannot_be_read_holds_up_no_other(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let store = &fixture.store;
    let webhook = webhook(fixture, &[]);
    let made = webhook.id;
    store.create_webhook(tenant, &webhook, MANY).await.unwrap();
    let (unreadable, told) = (message(fixture, Topic::Test), message(fixture, Topic::Test));
    store.post(tenant, &unreadable, None).await.unwrap();
    let nonsense = "UPDATE deliveries SET topic = 'nonsense'";
    sqlx::query(nonsense).execute(&mut fixture.raw().await).await.unwrap();
    store.post(tenant, &told, None).await.unwrap();

    assert_eq!(store.take_delivery(LEASE).await.unwrap().unwrap().message, told);
    let listed = store.list_deliveries(tenant, made, None, first(1)).await.unwrap();
    assert_eq!(listed.iter().map(|delivery| &delivery.message).collect::<Vec<_>>(), [&told]);
    let all = store.list_deliveries(tenant, made, None, first(MANY)).await.unwrap();
    assert_eq!(all.len(), 1, "the one that cannot be read is left out");
}

/// However much waits for one that is off, nobody else waits for it.
pub async fn what_waits_for_a_webhook_that_is_off_is_not_walked_over(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (off, on, store) = (webhook(fixture, &[]), webhook(fixture, &[]), &fixture.store);
    for made in [&off, &on] {
        store.create_webhook(tenant, made, MANY).await.unwrap();
    }
    let told = message(fixture, Topic::AdaptationFailed);
    store.post(tenant, &told, Some(off.id)).await.unwrap();
    let parcel = store.take_delivery(LEASE).await.unwrap().unwrap();
    for _ in 0..3 {
        store.post(tenant, &message(fixture, Topic::AdaptationFailed), Some(off.id)).await.unwrap();
    }
    let due = async || -> i64 {
        let due = "SELECT COUNT(*) FROM deliveries WHERE status = 'pending' AND next_at < 9000000000000000000";
        sqlx::query_scalar(due).fetch_one(&mut fixture.raw().await).await.unwrap()
    };
    let is_enabled = |is_enabled| WebhookPatch { is_enabled: Some(is_enabled), ..WebhookPatch::default() };

    store.update_webhook(tenant, off.id, &is_enabled(false)).await.unwrap().unwrap();
    assert!(store.note_delivery(&parcel, &FAILED).await.unwrap());

    assert_eq!(due().await, 0);
    let listed = store.list_deliveries(tenant, off.id, None, first(MANY)).await.unwrap();
    assert!(listed.len() == 4 && listed.iter().all(|delivery| delivery.next_at.is_none()), "{listed:?}");
    store.update_webhook(tenant, off.id, &is_enabled(true)).await.unwrap().unwrap();
    assert_eq!(due().await, 4);
    let parcel = store.take_delivery(LEASE).await.unwrap().unwrap();
    store.note_delivery(&parcel, &Attempted { answered: Some(410), ..FAILED }).await.unwrap();
    assert_eq!(due().await, 0, "one that was switched off by its receiver is off, too");
    store.redeliver(tenant, off.id, parcel.message.id).await.unwrap().unwrap();
    assert_eq!(due().await, 0);
}
