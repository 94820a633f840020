//! The mathematical core against sources of its own: finite differences, closed forms, one task at a time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod gradients;
mod models;
