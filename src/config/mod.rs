//! Settings, one struct for each layer: every field is a flag, an environment variable and a default at once.
//!
//! Deliberately absent: reading arguments or the environment (clap does, for `cli`), and what a setting does (that
//! is written in the layer that obeys it).

mod engine;
mod http;
mod log;
mod origins;
mod service;
mod store;
mod webhooks;

pub use engine::{DeviceSetting, EngineConfig, PrecisionSetting};
pub use http::HttpConfig;
pub use log::{LogConfig, LogFormat};
pub use origins::Origins;
pub use service::ServiceConfig;
pub use store::StoreConfig;
pub use webhooks::{Reach, WebhookConfig};
