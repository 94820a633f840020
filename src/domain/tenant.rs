//! Tenants and the keys by which they are known.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{IdSource, KeyId, TenantId, Timestamp, hex};

/// An owner of keys, quota and data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The name that an operator gave it; unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a key may do; each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read, and ask for predictions.
    Predict,
    /// Change things, too: tasks, examples, adaptations.
    Adapt,
    /// Make and end keys, too.
    Admin,
}

impl Scope {
    /// The word in bodies and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Adapt => "adapt",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Predict, Self::Adapt, Self::Admin]
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| format!("`{text}` is none of `predict`, `adapt`, `admin`"))
    }
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose things it is about.
    pub tenant: TenantId,
    /// What it may do.
    pub scope: Scope,
    /// The key that it was known by, where keys are asked for.
    pub key: Option<KeyId>,
}

/// What is kept of an API key: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public half.
    pub id: KeyId,
    /// Whose key it is.
    pub tenant: TenantId,
    /// SHA-256 of the whole key.
    pub digest: [u8; 32],
    /// What its owner calls it.
    pub name: Option<String>,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; never, if none.
    pub expires_at: Option<Timestamp>,
}

/// An API key as its owner holds it: `imprint_<26 letters>_<64 hex digits>`.
///
/// The secret has 256 random bits, so a plain SHA-256 keeps it as well as a slow hash would.
#[derive(Clone)]
pub struct ApiKey {
    id: KeyId,
    text: String,
}

impl ApiKey {
    const PREFIX: &'static str = "imprint_";

    /// A fresh key.
    pub fn fresh(ids: &dyn IdSource) -> Self {
        let id = KeyId::fresh(ids);
        let secret = hex([ids.bits(), ids.bits()].as_flattened());
        let public = id.to_string();
        let public = public.trim_start_matches("key_");
        Self { id, text: format!("{}{public}_{secret}", Self::PREFIX) }
    }

    /// Reads what a caller sent; `None` if it has not the form of a key.
    pub fn parse(text: &str) -> Option<Self> {
        let (public, secret) = text.strip_prefix(Self::PREFIX)?.split_once('_')?;
        let well_formed = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = format!("{}_{public}", KeyId::PREFIX).parse().ok()?;
        well_formed.then(|| Self { id, text: text.to_owned() })
    }

    /// The public half, by which the record is found.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The whole key. It is shown once, when it is made, and never logged.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What the store keeps.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// Whether this is the key that `record` was made from, in constant time.
    pub fn matches(&self, record: &KeyRecord) -> bool {
        self.id == record.id && self.digest().ct_eq(&record.digest).into()
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({}, secret hidden)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededIds;

    fn record(key: &ApiKey) -> KeyRecord {
        KeyRecord {
            id: key.id(),
            tenant: TenantId::fresh(&SeededIds::new(1)),
            digest: key.digest(),
            name: None,
            scope: Scope::Admin,
            created_at: Timestamp::from_millis(0),
            expires_at: None,
        }
    }

    #[test]
    fn a_key_reads_back_and_matches_its_record() {
        let key = ApiKey::fresh(&SeededIds::new(3));
        let read = ApiKey::parse(key.reveal()).expect("the key's own text");

        assert!(read.matches(&record(&key)));
    }

    #[test]
    fn a_key_with_another_secret_does_not_match() {
        let key = ApiKey::fresh(&SeededIds::new(3));
        let mut forged = key.reveal().to_owned();
        let last = if forged.ends_with('0') { '1' } else { '0' };
        forged.pop();
        forged.push(last);

        assert!(!ApiKey::parse(&forged).expect("well formed").matches(&record(&key)));
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let key = ApiKey::fresh(&SeededIds::new(3));

        assert!(!format!("{key:?}").contains(&key.reveal()[key.reveal().len() - 64..]));
    }
}
