//! How messages go out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where webhooks may be, and how often they are tried.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Where webhooks may be: at public addresses by https, or anywhere, which is for development.
    #[arg(long, env = "IMPRINT_WEBHOOK_REACH", value_enum, default_value_t = Reach::Public)]
    pub webhook_reach: Reach,

    /// Certificates (PEM) of authorities that webhooks may have theirs from, beside those of the web.
    #[arg(long, env = "IMPRINT_WEBHOOK_CA")]
    pub webhook_ca: Option<PathBuf>,

    /// Longest time that a webhook may take to answer, in milliseconds.
    #[arg(long, env = "IMPRINT_WEBHOOK_TIMEOUT_MS", default_value_t = 10_000)]
    pub webhook_timeout_ms: u64,

    /// How often a message is sent before it is given up.
    #[arg(long, env = "IMPRINT_WEBHOOK_ATTEMPTS", default_value_t = 8)]
    pub webhook_attempts: u32,

    /// Pause before the second attempt, in milliseconds; each further one is six times as long, up to twelve hours.
    #[arg(long, env = "IMPRINT_WEBHOOK_PAUSE_MS", default_value_t = 5_000)]
    pub webhook_pause_ms: u64,

    /// Most webhooks of one tenant.
    #[arg(long, env = "IMPRINT_MAX_WEBHOOKS", default_value_t = 10)]
    pub max_webhooks: usize,
}

/// Where webhooks may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reach {
    /// At public addresses, by https.
    Public,
    /// Anywhere.
    Anywhere,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            webhook_reach: Reach::Public,
            webhook_ca: None,
            webhook_timeout_ms: 10_000,
            webhook_attempts: 8,
            webhook_pause_ms: 5_000,
            max_webhooks: 10,
        }
    }
}
