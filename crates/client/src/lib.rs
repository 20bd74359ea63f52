//! A WebSocket client (RFC 6455).

#![forbid(unsafe_code)]

mod backoff;
mod entropy;
mod gate;
mod race;
mod resolve;

pub use backoff::Backoff;
