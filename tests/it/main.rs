//! What the parts do together. One binary, because libtorch is slow to link; a module for each part.

#![expect(clippy::unwrap_used, reason = "clippy knows the functions that are tests, not those that tests call")]

mod bombs;
mod cli;
mod conversations;
mod courier;
mod data;
mod encoder;
mod http;
mod keys;
mod observability;
mod postgres;
mod proxy;
mod quality;
mod ranking_training;
mod store;
mod tagging_training;
mod text_training;
mod training;
mod workshop;
