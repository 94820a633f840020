//! Bulk predictions: pieces in, answers out, whatever becomes of those who answer.

use std::time::Duration;

use imprint::domain::{Bulk, BulkId, BulkPiece, BulkStatus, Failure, TaskId, TenantId};
use imprint::store::StoreError;
use imprint::store::bulk::{BulkAnswers, BulkClaim, BulkEnd, BulkLimits};

use super::Fixture;
use super::fixture::{LEASE, MANY, first};

const HOUR: Duration = Duration::from_hours(1);
const LIMITS: BulkLimits = BulkLimits { open: 3, bytes: 1_000 };

fn new(fixture: &Fixture, task: TaskId) -> Bulk {
    Bulk {
        id: BulkId::fresh(fixture.ids()),
        task,
        version: 1,
        top_k: 2,
        abstain: true,
        status: BulkStatus::Receiving,
        lines: 0,
        answered: 0,
        refused: 0,
        bytes: 0,
        failure: None,
        created_at: fixture.now(),
        started_at: None,
        finished_at: None,
        expires_at: None,
    }
}

fn piece(number: u64) -> BulkPiece {
    BulkPiece { number, first: 2 * number, lines: 2, text: format!("inputs {number}, ü") }
}

fn answers(number: u64) -> BulkAnswers {
    BulkAnswers { number, text: format!("answers {number}"), answered: 1, refused: 1 }
}

/// One of so many pieces that waits.
async fn submitted(fixture: &Fixture, tenant: TenantId, task: TaskId, pieces: u64) -> Bulk {
    let (store, bulk) = (&fixture.store, new(fixture, task));
    assert!(store.begin_bulk(tenant, &bulk, LIMITS, HOUR).await.unwrap());
    for number in 0..pieces {
        assert!(store.add_bulk_piece(tenant, bulk.id, &piece(number), LIMITS).await.unwrap());
    }
    store.submit_bulk(tenant, bulk.id).await.unwrap().unwrap()
}

async fn claim(fixture: &Fixture) -> Option<BulkClaim> {
    fixture.store.claim_bulk("worker", LEASE, HOUR).await.unwrap()
}

async fn expire(fixture: &Fixture) {
    sqlx::query("UPDATE bulks SET lease_until = 1 WHERE status = 'running'")
        .execute(&mut fixture.raw().await)
        .await
        .unwrap();
}

async fn found(fixture: &Fixture, tenant: TenantId, id: BulkId) -> Bulk {
    fixture.store.find_bulk(tenant, id).await.unwrap().unwrap()
}

pub async fn inputs_become_answers_piece_by_piece(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let (store, task) = (&fixture.store, fixture.task(owner).await.id);
    let bulk = submitted(fixture, owner, task, 2).await;
    let inputs: u64 = (0..2).map(|number| piece(number).text.len() as u64).sum();
    assert_eq!((bulk.status, bulk.lines, bulk.bytes), (BulkStatus::Queued, 4, inputs));
    assert_eq!((bulk.top_k, bulk.abstain, bulk.expires_at), (2, true, None));
    assert_eq!(store.next_bulk_answers(owner, bulk.id, 0).await.unwrap(), None);

    let held = claim(fixture).await.unwrap();
    assert_eq!((held.tenant, held.bulk.id, held.bulk.status), (owner, bulk.id, BulkStatus::Running));
    assert_eq!(claim(fixture).await, None, "one holds it");
    for number in 0..2 {
        assert_eq!(store.next_bulk_piece(owner, bulk.id).await.unwrap(), Some(piece(number)));
        assert!(store.keep_bulk_answers(&held, &answers(number), LEASE, LIMITS).await.unwrap());
    }
    assert_eq!(store.next_bulk_piece(owner, bulk.id).await.unwrap(), None);
    assert!(store.end_bulk_turn(&held, &BulkEnd::Done, HOUR).await.unwrap());

    let done = found(fixture, owner, bulk.id).await;
    let bytes: u64 = (0..2).map(|number| answers(number).text.len() as u64).sum();
    assert_eq!((done.status, done.answered, done.refused, done.bytes), (BulkStatus::Succeeded, 2, 2, bytes));
    assert!(done.started_at.is_some() && done.finished_at.is_some() && done.expires_at > done.finished_at);
    for (from, number) in [(0, Some(0)), (1, Some(0)), (2, Some(1)), (3, Some(1)), (4, None)] {
        let piece = store.next_bulk_answers(owner, bulk.id, from).await.unwrap();
        let expected = number.map(|number| (number, 2 * number, format!("answers {number}")));
        assert_eq!(piece.map(|piece| (piece.number, piece.first, piece.text)), expected, "{from}");
    }
    assert_eq!(store.list_bulks(owner, task, first(MANY)).await.unwrap(), [done]);
    assert_eq!(store.holdings(owner).await.unwrap().bulk_bytes, bytes);
}

pub async fn a_turn_that_is_lost_goes_on_where_it_was_and_the_old_attempt_is_fenced_out(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let (store, task) = (&fixture.store, fixture.task(owner).await.id);
    let bulk = submitted(fixture, owner, task, 3).await;
    let lost = claim(fixture).await.unwrap();
    assert!(store.keep_bulk_answers(&lost, &answers(0), LEASE, LIMITS).await.unwrap());
    expire(fixture).await;

    let next = claim(fixture).await.unwrap();

    assert_eq!((next.bulk.id, next.attempt), (bulk.id, lost.attempt + 1));
    assert!(!store.keep_bulk_answers(&lost, &answers(1), LEASE, LIMITS).await.unwrap());
    assert!(!store.renew_bulk(&lost, LEASE).await.unwrap());
    assert!(!store.end_bulk_turn(&lost, &BulkEnd::Done, HOUR).await.unwrap());
    assert_eq!(store.next_bulk_piece(owner, bulk.id).await.unwrap(), Some(piece(1)), "one is answered, and only one");
    assert!(store.renew_bulk(&next, LEASE).await.unwrap());
    assert!(store.end_bulk_turn(&next, &BulkEnd::Turn, HOUR).await.unwrap());
    assert_eq!(found(fixture, owner, bulk.id).await.status, BulkStatus::Queued);
    assert!(claim(fixture).await.is_some(), "a turn that ended in order is followed by another");
}

pub async fn what_is_lost_three_times_without_an_answer_in_between_fails(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let (store, task) = (&fixture.store, fixture.task(owner).await.id);
    let bulk = submitted(fixture, owner, task, 9).await;
    for number in 0..4 {
        let held = claim(fixture).await.unwrap();
        assert!(store.keep_bulk_answers(&held, &answers(number), LEASE, LIMITS).await.unwrap());
        expire(fixture).await;
    }
    for _ in 0..3 {
        assert!(claim(fixture).await.is_some());
        expire(fixture).await;
    }

    assert_eq!(claim(fixture).await, None);

    let failed = found(fixture, owner, bulk.id).await;
    assert_eq!((failed.status, failed.answered), (BulkStatus::Failed, 4), "what was answered stays");
    assert_eq!(failed.failure.unwrap().code, "lease_expired");
    let lost = Failure { code: "lost".to_owned(), detail: "lost".to_owned() };
    let bulk = submitted(fixture, owner, task, 1).await;
    for _ in 0..3 {
        let held = claim(fixture).await.unwrap();
        assert!(store.end_bulk_turn(&held, &BulkEnd::Retry(lost.clone(), Duration::ZERO), HOUR).await.unwrap());
    }
    assert_eq!(found(fixture, owner, bulk.id).await.failure, Some(lost));
}

pub async fn tenants_take_turns_with_bulk_predictions(fixture: &Fixture) {
    let (flood, one) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let (task, other) = (fixture.task(flood).await.id, fixture.task(one).await.id);
    for _ in 0..3 {
        submitted(fixture, flood, task, 1).await;
    }
    submitted(fixture, one, other, 1).await;

    let mut turns = Vec::new();
    for _ in 0..4 {
        let held = claim(fixture).await.unwrap();
        turns.push(held.tenant == flood);
        assert!(fixture.store.end_bulk_turn(&held, &BulkEnd::Done, HOUR).await.unwrap());
    }

    assert!(!turns[0] || !turns[1], "{turns:?}");
}

pub async fn bulk_predictions_have_limits(fixture: &Fixture) {
    let owner = fixture.tenant("zoo").await;
    let (store, task) = (&fixture.store, fixture.task(owner).await.id);
    let full = |error: StoreError| matches!(error, StoreError::Full { .. });
    for _ in 0..LIMITS.open {
        submitted(fixture, owner, task, 1).await;
    }
    assert!(full(store.begin_bulk(owner, &new(fixture, task), LIMITS, HOUR).await.unwrap_err()));

    let small =
        BulkLimits { bytes: found(fixture, owner, claim(fixture).await.unwrap().bulk.id).await.bytes, ..LIMITS };
    let held = store.list_bulks(owner, task, first(MANY)).await.unwrap();
    let held = held.iter().find(|bulk| bulk.status == BulkStatus::Running).unwrap().clone();
    let claim = BulkClaim { tenant: owner, bulk: held, attempt: 1 };
    let kept = store.keep_bulk_answers(&claim, &answers(0), LEASE, small).await;
    assert!(full(kept.unwrap_err()));
    assert_eq!(found(fixture, owner, claim.bulk.id).await.answered, 0, "nothing of it is kept");
    store.cancel_bulk(owner, claim.bulk.id, HOUR).await.unwrap().unwrap();
    let bulk = new(fixture, task);
    assert!(full(store.begin_bulk(owner, &bulk, small, HOUR).await.unwrap_err()));
    assert!(store.begin_bulk(owner, &bulk, LIMITS, HOUR).await.unwrap());
    assert!(full(store.add_bulk_piece(owner, bulk.id, &piece(0), small).await.unwrap_err()));
}

pub async fn what_was_called_off_or_broken_off_or_has_expired_goes(fixture: &Fixture) {
    let (owner, stranger) = (fixture.tenant("zoo").await, fixture.tenant("museum").await);
    let (store, task) = (&fixture.store, fixture.task(owner).await.id);
    let bulk = new(fixture, task);
    assert!(store.begin_bulk(owner, &bulk, LIMITS, HOUR).await.unwrap());
    assert!(store.add_bulk_piece(owner, bulk.id, &piece(0), LIMITS).await.unwrap());
    // The same request again: it begins anew, until it was submitted.
    assert!(store.begin_bulk(owner, &bulk, LIMITS, HOUR).await.unwrap());
    assert!(store.add_bulk_piece(owner, bulk.id, &piece(0), LIMITS).await.unwrap());
    assert_eq!(store.submit_bulk(owner, bulk.id).await.unwrap().unwrap().lines, 2);
    assert!(!store.begin_bulk(owner, &bulk, LIMITS, HOUR).await.unwrap());
    assert!(!store.add_bulk_piece(owner, bulk.id, &piece(1), LIMITS).await.unwrap());

    let held = claim(fixture).await.unwrap();
    assert_eq!(store.cancel_bulk(stranger, bulk.id, HOUR).await.unwrap(), None);
    assert_eq!(store.find_bulk(stranger, bulk.id).await.unwrap(), None);
    assert_eq!(store.submit_bulk(stranger, bulk.id).await.unwrap(), None);
    assert_eq!(store.list_bulks(stranger, task, first(MANY)).await.unwrap(), []);
    assert_eq!(store.next_bulk_answers(stranger, bulk.id, 0).await.unwrap(), None);
    assert!(!store.delete_bulk(stranger, bulk.id).await.unwrap());
    assert!(!store.begin_bulk(stranger, &new(fixture, task), LIMITS, HOUR).await.unwrap());
    let cancelled = store.cancel_bulk(owner, bulk.id, HOUR).await.unwrap().unwrap();
    assert_eq!((cancelled.status, cancelled.expires_at.is_some()), (BulkStatus::Cancelled, true));
    assert!(!store.keep_bulk_answers(&held, &answers(0), LEASE, LIMITS).await.unwrap());
    assert!(!store.end_bulk_turn(&held, &BulkEnd::Turn, HOUR).await.unwrap());
    assert_eq!(found(fixture, owner, bulk.id).await, cancelled);

    assert_eq!(store.forget_bulks().await.unwrap(), 0);
    sqlx::query("UPDATE bulks SET expires_at = 1").execute(&mut fixture.raw().await).await.unwrap();
    assert_eq!(store.forget_bulks().await.unwrap(), 1);
    assert_eq!(store.find_bulk(owner, bulk.id).await.unwrap(), None);
    let deleted = submitted(fixture, owner, task, 1).await;
    assert!(store.delete_bulk(owner, deleted.id).await.unwrap());
    assert!(!store.delete_bulk(owner, deleted.id).await.unwrap());
}
