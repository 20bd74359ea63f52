//! The WebSocket protocol (RFC 6455) without I/O: frames, the opening handshake, and connections as
//! values.
//!
//! - [`frame`]: the wire format, usable alone.
//! - [`handshake`]: the opening handshake, an incremental parser for the HTTP head with no framework under it.
//! - [`connection`]: everything after it, as a state machine that a driver feeds with octets and with the time.
//!
//! Nothing here reads a clock, draws randomness, opens a socket or logs: time is an argument, and
//! masking keys come from an [`Entropy`] that the driver gives.

#![forbid(unsafe_code)]
// Says at each item which feature it needs, where docs.rs builds the pages.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod connection;
#[cfg(feature = "deflate")]
pub mod deflate;
/// permessage-deflate (RFC 7692), which this build is without: what settings, errors and drivers
/// name of it in both.
#[cfg(not(feature = "deflate"))]
pub mod deflate {
    mod absent;
    mod config;

    pub use absent::{
        AnswerError, Codec, DeflateMemory, DeflateOffer, DeflateParams, DeflatePolicy, Reservation,
    };
    pub(crate) use absent::{DeflateState, Form, Inflater, Need, Progress};
    pub use config::{DeflateConfig, Level};
}
mod entropy;
mod error;
pub mod frame;
pub mod handshake;
mod http;
mod role;

pub use connection::{
    Chunk, Closure, CompressionStats, Config, Connection, Decoded, Delivery, Event, Message, OwnedMessage,
    Prepared, RecvBuffer, State, Stats, Transmit, TransmitBuffer, Unsent,
};
pub use entropy::Entropy;
pub use error::{Error, LimitExceeded, PeerMisbehaved, SendError, Timeout};
pub use frame::{CloseCode, CloseFrame};
pub use handshake::Negotiated;
pub use role::Role;

/// The examples of the page about drivers, some of which compress.
#[cfg(all(doctest, feature = "deflate"))]
#[doc = include_str!("../SANS-IO.md")]
struct SansIo;

/// The program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
