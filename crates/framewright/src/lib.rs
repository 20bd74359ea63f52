#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! ```text
//!            octets   +------------+  events   +-------------+
//!   socket ---------> | RecvBuffer | --------> |             |
//!                     +------------+           | application |
//!          <--------- | Connection | <-------- |             |
//!       poll_transmit +------------+   send    +-------------+
//!   clock  <--------> poll_timeout, handle_timeout
//! ```
//!
//! - [`frame`]: the wire format, usable alone.
//! - [`handshake`]: the opening handshake, with an incremental parser for the HTTP head.
//! - [`connection`]: everything after the opening handshake. [`Connection`] lists its methods, and
//!   the order in which they are called.
//! - `deflate`, with the feature of that name: compression.
//! - `sans_io`, with the feature `deflate`: how to write a driver, step by step.
//!
//! Time is an argument, and masking keys come from an [`Entropy`] that the driver provides. The
//! crate is tested on Linux; nothing in it depends on the system.

#![forbid(unsafe_code)]
// docs.rs shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod connection;
#[cfg(feature = "deflate")]
pub mod deflate;
/// permessage-deflate (RFC 7692), which this build does not include: the names that settings,
/// errors and drivers use with and without the feature.
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
    Prepared, RecvBuffer, State, Stats, TakenPayload, Transmit, TransmitBuffer, Unsent,
};
pub use entropy::Entropy;
pub use error::{Error, LimitExceeded, PeerMisbehaved, SendError, Timeout};
pub use frame::{CloseCode, CloseFrame};
pub use handshake::Negotiated;
pub use role::Role;

#[cfg(feature = "deflate")]
#[doc = include_str!("../SANS-IO.md")]
pub mod sans_io {}
