//! TLS: its settings, the certificate for each name, and what a handler learns of a session.
//!
//! ```text
//! ServerTls::builder()  --build-->  ServerTls  --Endpoint::with_tls-->  the sessions of an endpoint
//!   PEM files (pem)                   |
//!   certificates by name (resolver)   +--ServerHandle::set_tls-->  its sessions from now on
//! ```
//!
//! The records are handled by [`framewright_driver::tls`], below the transport that a connection
//! sees: nothing here runs for each message.

pub(crate) mod endpoints;
pub(crate) mod error;
pub(crate) mod info;
pub(crate) mod pem;
pub(crate) mod resolver;
pub(crate) mod session;
pub(crate) mod settings;
