//! `framewright relay`: a server of topics for clients in any language. docs/RELAY.md is its
//! protocol.

mod access;
mod answer;
mod callback;
mod error;
mod faults;
mod request;
mod rights;
mod settings;
