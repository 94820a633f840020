//! The HTTP API over everything below it, with the real engine and a real database.

mod adaptations;
mod app;
pub mod bases;
mod contract;
mod crowd;
mod events;
mod life;
mod malformed;
mod predictions;
pub mod samples;
mod story;
mod support;
mod tasks;
mod tenants;
