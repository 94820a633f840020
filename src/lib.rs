//! Imprint: few-shot adaptation as a service.
pub mod domain;
