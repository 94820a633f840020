//! Time and ids as parameters, so that a test can fix both.

use std::sync::Mutex;

use rand::{Rng, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC to the millisecond: what databases hold and RFC 3339 texts show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds, `2026-11-23T18:41:00.250Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let moment =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).map_err(|_| std::fmt::Error)?;
        f.write_str(&moment.format(&Rfc3339).map_err(|_| std::fmt::Error)?)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    /// RFC 3339, in any zone.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| {
            serde::de::Error::custom(format!("`{text}` is no moment as RFC 3339 writes it: 2026-11-23T18:41:00Z"))
        })?;
        // From year 0 to 9999, which is far from where 64 bits end.
        let millis = i64::try_from(moment.unix_timestamp_nanos() / 1_000_000);
        millis.map(Self).map_err(serde::de::Error::custom)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// Where ids and secrets come from.
pub trait IdSource: Send + Sync {
    /// 128 fresh bits.
    fn bits(&self) -> [u8; 16];
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is passed in")]
    fn now(&self) -> Timestamp {
        let now = OffsetDateTime::now_utc();
        Timestamp(i64::try_from(now.unix_timestamp_nanos() / 1_000_000).expect("until the year 292 million"))
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn bits(&self) -> [u8; 16] {
        let mut bits = [0; 16];
        rand::rngs::SysRng.try_fill_bytes(&mut bits).expect("the operating system hands out random bytes");
        bits
    }
}

/// A source that gives the same ids each time: for tests, and for requests that may be taken up again.
pub struct SeededIds(Mutex<ChaCha8Rng>);

impl SeededIds {
    /// The source that `seed` names.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }

    /// The source that 256 random bits name.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Mutex::new(ChaCha8Rng::from_seed(seed)))
    }
}

impl IdSource for SeededIds {
    fn bits(&self) -> [u8; 16] {
        let mut bits = [0; 16];
        self.0.lock().expect("no holder of this lock can panic").fill_bytes(&mut bits);
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_millis(1_795_459_260_250).to_string(), "2026-11-23T18:41:00.25Z");
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_timestamp_is_read_in_any_zone() {
        let read = |text: &str| serde_json::from_str::<Timestamp>(&format!("\"{text}\""));

        assert_eq!(read("1970-01-01T01:00:00.25+01:00").expect("a moment"), Timestamp::from_millis(250));
        assert!(read("yesterday").is_err() && read("1970-01-01").is_err());
    }
}
