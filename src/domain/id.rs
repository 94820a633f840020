//! Typed ids: a prefix that says what it names, and 128 random bits.

use std::fmt;
use std::str::FromStr;

use super::IdSource;

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters that 128 bits need, five bits each.
const LETTERS: usize = 26;

/// A text that is not an id of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of this type is written `{prefix}_` and {LETTERS} letters or digits")]
pub struct InvalidId {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

fn encode(prefix: &str, bits: u128) -> String {
    let mut text = String::with_capacity(prefix.len() + 1 + LETTERS);
    text.push_str(prefix);
    text.push('_');
    for place in (0..LETTERS).rev() {
        let digit = usize::try_from((bits >> (5 * place)) & 31).expect("five bits fit");
        text.push(char::from(ALPHABET[digit]));
    }
    text
}

fn decode(prefix: &'static str, text: &str) -> Result<u128, InvalidId> {
    let invalid = InvalidId { prefix };
    let body = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or_else(|| invalid.clone())?;
    if body.len() != LETTERS {
        return Err(invalid);
    }
    let mut bits: u128 = 0;
    for (place, letter) in body.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&known| known == letter).ok_or_else(|| invalid.clone())?;
        if place == 0 && digit > 7 {
            return Err(invalid); // more than 128 bits
        }
        bits = (bits << 5) | digit as u128;
    }
    Ok(bits)
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this type starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id from `ids`.
            pub fn fresh(ids: &dyn IdSource) -> Self {
                Self::from_bits(ids.bits())
            }

            /// The id of these bits.
            pub const fn from_bits(bits: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode(Self::PREFIX, self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                decode(Self::PREFIX, text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id!(
    /// The owner of keys, quota and data.
    TenantId, "ten"
);
typed_id!(
    /// The public half of an API key.
    KeyId, "key"
);
typed_id!(
    /// One problem of one tenant.
    TaskId, "task"
);
typed_id!(
    /// One labelled example of a task.
    SupportId, "sup"
);
typed_id!(
    /// One run of the inner loop.
    AdaptationId, "adpt"
);
typed_id!(
    /// What an adaptation leaves.
    AdapterId, "ada"
);
typed_id!(
    /// One answer.
    PredictionId, "pred"
);
typed_id!(
    /// Many predictions that nobody waits for.
    BulkId, "bulk"
);
typed_id!(
    /// What looks at a task's predictions.
    MonitorId, "mon"
);
typed_id!(
    /// Somebody who is to be told.
    WebhookId, "wh"
);
typed_id!(
    /// Something that somebody did.
    AuditId, "aud"
);
typed_id!(
    /// That something was erased.
    ReceiptId, "rcpt"
);
typed_id!(
    /// Something to tell.
    MessageId, "msg"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededIds;

    #[test]
    fn an_id_reads_back_from_its_own_text() {
        let ids = SeededIds::new(7);
        for _ in 0..100 {
            let id = TaskId::fresh(&ids);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn an_id_of_another_type_is_refused() {
        let task = TaskId::fresh(&SeededIds::new(7)).to_string();

        assert_eq!(task.parse::<AdapterId>(), Err(InvalidId { prefix: "ada" }));
    }

    #[test]
    fn a_text_of_more_than_128_bits_is_refused() {
        assert!("task_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<TaskId>().is_err());
        assert!("task_7zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<TaskId>().is_ok());
    }

    #[test]
    fn letters_outside_the_alphabet_are_refused() {
        assert!("task_0000000000000000000000000u".parse::<TaskId>().is_err());
        assert!("task_0000000000000000000000000A".parse::<TaskId>().is_err());
        assert!("task_".parse::<TaskId>().is_err());
    }
}
