//! Requests with an `Idempotency-Key`.

use std::time::Duration;

use imprint::domain::{RequestKey, Reservation, SavedResponse};
use imprint::store::requests::RequestTimes;

use super::Fixture;

const HOUR: Duration = Duration::from_hours(1);
const TIMES: RequestTimes = RequestTimes { lease: HOUR, keep: HOUR };
const SEED: [u8; 32] = [7; 32];
const OTHER_SEED: [u8; 32] = [8; 32];

fn request(path: &str, fingerprint: &str) -> RequestKey {
    RequestKey { path: path.to_owned(), key: "k".to_owned(), fingerprint: fingerprint.to_owned() }
}

fn response() -> SavedResponse {
    let headers = vec![("location".to_owned(), "/v1/tasks/1".to_owned())];
    SavedResponse { status: 201, headers, body: b"{}".to_vec() }
}

pub async fn a_request_is_taken_up_by_one_answered_and_replayed(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let (one, other) = (request("/a", "1"), request("/a", "2"));
    let reserve = async |request| fixture.store.reserve_request(tenant, request, SEED, TIMES).await.unwrap();

    assert_eq!(reserve(&one).await, Reservation::Taken { seed: SEED, attempt: 1 });
    assert_eq!(reserve(&one).await, Reservation::Busy);
    assert_eq!(reserve(&other).await, Reservation::Other);
    assert!(fixture.store.save_response(tenant, &one, 1, &response()).await.unwrap());
    assert_eq!(reserve(&one).await, Reservation::Answered(response()));
    assert_eq!(reserve(&other).await, Reservation::Other);
    assert!(!fixture.store.save_response(tenant, &one, 1, &response()).await.unwrap(), "it is answered");
}

pub async fn a_request_that_lost_its_caller_is_taken_up_with_the_same_seed(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let request = request("/a", "1");
    let reserve = async |seed| fixture.store.reserve_request(tenant, &request, seed, TIMES).await.unwrap();
    reserve(SEED).await;
    assert!(fixture.store.renew_request(tenant, &request, 1, Duration::ZERO).await.unwrap());
    tokio::time::sleep(Duration::from_millis(5)).await; // its lock ended a millisecond ago, on the database's clock

    assert_eq!(reserve(OTHER_SEED).await, Reservation::Taken { seed: SEED, attempt: 2 });
    assert!(!fixture.store.renew_request(tenant, &request, 1, HOUR).await.unwrap());
    assert!(!fixture.store.save_response(tenant, &request, 1, &response()).await.unwrap());
    fixture.store.release_request(tenant, &request, 1).await.unwrap();
    assert_eq!(reserve(OTHER_SEED).await, Reservation::Busy);
    assert!(fixture.store.save_response(tenant, &request, 2, &response()).await.unwrap());
}

pub async fn a_request_that_was_given_up_is_free(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    fixture.store.reserve_request(tenant, &request("/a", "1"), SEED, TIMES).await.unwrap();

    fixture.store.release_request(tenant, &request("/a", "1"), 1).await.unwrap();

    let again = fixture.store.reserve_request(tenant, &request("/a", "2"), OTHER_SEED, TIMES).await.unwrap();
    assert_eq!(again, Reservation::Taken { seed: OTHER_SEED, attempt: 1 });
}

pub async fn a_key_is_one_for_each_path_and_tenant(fixture: &Fixture) {
    let (zoo, stranger) = (fixture.tenant("zoo").await, fixture.tenant("stranger").await);
    let taken = Reservation::Taken { seed: SEED, attempt: 1 };

    for (tenant, path) in [(zoo, "/a"), (zoo, "/b"), (stranger, "/a")] {
        let reserved = fixture.store.reserve_request(tenant, &request(path, "1"), SEED, TIMES).await.unwrap();
        assert_eq!(reserved, taken, "{path}");
    }
}

pub async fn an_expired_request_is_forgotten(fixture: &Fixture) {
    let tenant = fixture.tenant("zoo").await;
    let times = RequestTimes { lease: HOUR, keep: Duration::ZERO };
    fixture.store.reserve_request(tenant, &request("/a", "1"), SEED, times).await.unwrap();
    fixture.store.save_response(tenant, &request("/a", "1"), 1, &response()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await; // it expired then, on the database's clock

    let again = fixture.store.reserve_request(tenant, &request("/a", "2"), SEED, TIMES).await.unwrap();

    assert_eq!(again, Reservation::Taken { seed: SEED, attempt: 1 });
}
