//! Imprint: few-shot adaptation as a service.
//!
//! The layers, from the top; each imports only from below (`tests/house.rs` checks it):
//!
//! * [`cli`] puts everything together: arguments, environment, signals.
//! * [`http`] extracts, calls one use case, responds.
//! * [`service`] is the use cases: plain async functions over plain values.
//! * [`courier`] sends what goes out, to public addresses alone.
//! * [`engine`] is the bridge from async to tensors; [`store`] is what is remembered, in SQLite or Postgres.
//! * [`trainer`] is the outer loop: from a training file to a base model bundle.
//! * [`meta`] is the mathematics: learners, backbones, task distributions.
//! * [`nn`] is named parameters, functional layers and gradients.
//! * [`domain`] and [`config`] are plain values; [`faults`] are for tests.
//!
//! `ARCHITECTURE.md` follows one request through all of them.

pub mod cli;
pub mod config;
pub mod courier;
pub mod domain;
pub mod engine;
pub mod faults;
#[cfg(test)]
mod fuzz;
pub mod http;
pub mod meta;
pub mod nn;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod trainer;
