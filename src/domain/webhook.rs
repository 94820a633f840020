//! Webhooks: whom to tell of what, and messages signed as [Standard Webhooks](https://www.standardwebhooks.com) says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AdaptationStatus, IdSource, MessageId, TenantId, Timestamp, TraceContext, WebhookId};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// An adaptation left an adapter.
    #[serde(rename = "adaptation.succeeded")]
    AdaptationSucceeded,
    /// An adaptation ended without one.
    #[serde(rename = "adaptation.failed")]
    AdaptationFailed,
    /// An adaptation was called off.
    #[serde(rename = "adaptation.cancelled")]
    AdaptationCancelled,
    /// A monitor saw that a label's share is no longer the usual one.
    #[serde(rename = "monitor.raised")]
    MonitorRaised,
    /// It is the usual one again.
    #[serde(rename = "monitor.cleared")]
    MonitorCleared,
    /// Somebody wants to see whether messages arrive.
    #[serde(rename = "webhook.test")]
    Test,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AdaptationSucceeded,
        Self::AdaptationFailed,
        Self::AdaptationCancelled,
        Self::MonitorRaised,
        Self::MonitorCleared,
        Self::Test,
    ];

    /// The word in bodies, messages and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdaptationSucceeded => "adaptation.succeeded",
            Self::AdaptationFailed => "adaptation.failed",
            Self::AdaptationCancelled => "adaptation.cancelled",
            Self::MonitorRaised => "monitor.raised",
            Self::MonitorCleared => "monitor.cleared",
            Self::Test => "webhook.test",
        }
    }

    /// What tells of an adaptation's end; none of one that has not ended.
    pub const fn of_end(status: AdaptationStatus) -> Option<Self> {
        match status {
            AdaptationStatus::Queued | AdaptationStatus::Running => None,
            AdaptationStatus::Succeeded => Some(Self::AdaptationSucceeded),
            AdaptationStatus::Failed => Some(Self::AdaptationFailed),
            AdaptationStatus::Cancelled => Some(Self::AdaptationCancelled),
        }
    }
}

impl std::str::FromStr for Topic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|topic| topic.name() == text).ok_or_else(|| format!("`{text}` is no topic"))
    }
}

/// What a webhook's messages are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    const PREFIX: &'static str = "whsec_";

    /// A fresh one, of 256 random bits.
    pub fn fresh(ids: &dyn IdSource) -> Self {
        Self([ids.bits(), ids.bits()].concat())
    }

    /// Reads what [`Self::reveal`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text.strip_prefix(Self::PREFIX)?).ok().map(Self)
    }

    /// As its owner holds it: `whsec_` and base64.
    pub fn reveal(&self) -> String {
        format!("{}{}", Self::PREFIX, STANDARD.encode(&self.0))
    }

    /// One signature of a message, `v1,` and base64.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    pub fn sign(&self, message: &str, timestamp_s: i64, body: &str) -> String {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{message}.{timestamp_s}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(hidden)")
    }
}

/// Somebody to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where messages go.
    pub url: String,
    /// What it is told of; everything, if empty.
    pub topics: Vec<Topic>,
    /// What messages are signed with.
    pub secret: WebhookSecret,
    /// What they are signed with as well, and until when: the one before.
    pub previous: Option<(WebhookSecret, Timestamp)>,
    /// Whether anything is sent.
    pub is_enabled: bool,
    /// Why nothing is sent, if the server decided so.
    pub disabled_reason: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Changes to a webhook; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookPatch {
    /// Another place.
    pub url: Option<String>,
    /// Other topics, whole.
    pub topics: Option<Vec<Topic>>,
    /// Whether anything is sent.
    pub is_enabled: Option<bool>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same each time that it is sent, to whomever.
    pub id: MessageId,
    /// What it is about.
    pub topic: Topic,
    /// Its body, byte for byte.
    pub payload: String,
    /// When what it tells of happened.
    pub created_at: Timestamp,
    /// The trace of what it tells of.
    pub trace: Option<TraceContext>,
}

impl Message {
    /// A message whose body has the form that Standard Webhooks recommends.
    ///
    /// # Panics
    /// If `data` has keys that are not texts.
    pub fn new(id: MessageId, topic: Topic, data: &impl Serialize, created_at: Timestamp) -> Self {
        #[derive(Serialize)]
        struct Body<'a, D> {
            r#type: Topic,
            timestamp: Timestamp,
            data: &'a D,
        }
        let body = Body { r#type: topic, timestamp: created_at, data };
        let payload = serde_json::to_string(&body).expect("a message is plain data");
        Self { id, topic, payload, created_at, trace: None }
    }

    /// The same, as part of a trace.
    #[must_use]
    pub fn traced(self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self }
    }

    /// The id of the message about a thing of a tenant's: the same, however often it is derived.
    pub fn id_about(tenant: TenantId, thing: &str) -> MessageId {
        let digest = Sha256::digest(format!("{tenant} {thing}"));
        let mut bits = [0; 16];
        bits.copy_from_slice(&digest[..16]);
        MessageId::from_bits(bits)
    }
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// It is still to be sent, or to be sent again.
    Pending,
    /// The other side took it.
    Delivered,
    /// It was sent as often as it is.
    Dead,
}

impl DeliveryStatus {
    /// The word in bodies and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl std::str::FromStr for DeliveryStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Pending, Self::Delivered, Self::Dead]
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("`{text}` is none of `pending`, `delivered`, `dead`"))
    }
}

/// A message on its way to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What is sent.
    pub message: Message,
    /// Where it is.
    pub status: DeliveryStatus,
    /// How often it was sent.
    pub attempt: u32,
    /// The status that the last attempt was answered with.
    pub answered: Option<u16>,
    /// Why the last attempt came to nothing.
    pub error: Option<String>,
    /// When it is sent next.
    pub next_at: Option<Timestamp>,
    /// When it was delivered or given up.
    pub finished_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededIds;

    #[test]
    fn a_signature_is_the_one_of_the_specifications_example() {
        // The example of the Standard Webhooks libraries' own tests.
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");

        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = WebhookSecret::fresh(&SeededIds::new(1));

        assert!(secret.reveal().starts_with("whsec_") && secret.reveal().len() == 50);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(hidden)");
    }

    #[test]
    fn a_message_about_the_same_thing_has_the_same_id_and_every_tenant_its_own() {
        let ids = SeededIds::new(1);
        let (one, other) = (TenantId::fresh(&ids), TenantId::fresh(&ids));

        assert_eq!(Message::id_about(one, "notice 1"), Message::id_about(one, "notice 1"));
        assert_ne!(Message::id_about(one, "notice 1"), Message::id_about(one, "notice 2"));
        assert_ne!(Message::id_about(one, "notice 1"), Message::id_about(other, "notice 1"));
    }
}
