//! Requests that may be sent twice and must act once.

/// A request that carries an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// What it was sent to: a key is unique for each path.
    pub path: String,
    /// The caller's key.
    pub key: String,
    /// SHA-256 of what was sent, in hexadecimal.
    pub fingerprint: String,
}

/// What came of taking a request up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It is the caller's to answer.
    Taken {
        /// What its ids are drawn from: the same, whoever takes it up again.
        seed: [u8; 32],
        /// How often it was taken up: the fence.
        attempt: u32,
    },
    /// It was answered before.
    Answered(SavedResponse),
    /// Somebody is at it.
    Busy,
    /// The same key came with something else.
    Other,
}

/// An answer, kept to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedResponse {
    /// Its status.
    pub status: u16,
    /// Names and values of those headers that belong to the answer.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}
