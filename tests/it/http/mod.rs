//! The HTTP API over everything below it, with the real engine and a real database.

mod access;
mod accounts;
mod adaptations;
mod adapters;
mod app;
mod away;
pub mod bases;
mod compat;
mod contract;
mod crowd;
mod events;
mod feedback;
mod idempotency;
mod life;
mod listen;
mod malformed;
mod monitors;
mod predictions;
pub mod samples;
mod story;
mod support;
mod tasks;
mod tenants;
mod texts;
pub mod tiny_encoder;
mod uploads;
mod webhooks;
