//! The tests of the protocol crate against its RFCs: one module for each topic.

mod handshake;
mod handshake_http;
mod handshake_properties;
