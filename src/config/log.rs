//! The log's settings.

use clap::{Args, ValueEnum};

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
pub struct LogConfig {
    /// What is logged: a level, or directives such as `imprint=debug,sqlx=warn`.
    #[arg(long, env = "IMPRINT_LOG", default_value = "info,sqlx=warn")]
    pub log: String,

    /// Lines for people, or JSON for machines.
    #[arg(long, env = "IMPRINT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// An OpenTelemetry collector that spans are sent to, by OTLP over HTTP: its address, without a path. None are sent by
    /// default.
    #[arg(long, env = "IMPRINT_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
