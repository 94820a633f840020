//! The mathematical core against sources outside it: PyTorch, finite differences, closed forms, one task at a time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod by_hand;
mod conformance;
mod golden;
mod gradients;
mod memory;
mod models;
mod preference;
mod tags;
