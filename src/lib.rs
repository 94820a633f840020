//! Imprint: few-shot adaptation as a service.

pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod meta;
pub mod nn;
pub mod service;
pub mod store;
pub mod trainer;
