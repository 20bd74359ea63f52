#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! - [`RedisBackplane`] is the backplane; [`RedisBackplane::builder`] begins with its settings.
//! - [`RedisStats`] says what has happened.
//!
//! # What a message looks like in Redis
//!
//! The payload of a channel's message, and the field `m` of a stream's entry, are an envelope. Numbers
//! are in network byte order.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | `FW` |
//! | 1 | version: 1 |
//! | 1 | flags: 1 text, 2 has a key, 4 may be in Redis twice |
//! | 16 | publisher, drawn at random when a backplane is built |
//! | 8 | sequence: counts what the publisher has sent, from 1 on |
//! | 8 | the sequence of the publisher's message before this one on the topic; 0 if unknown |
//! | 2, n | length of the topic, and the topic |
//! | 2, n | length of the key, and the key: only with the flag 2 |
//! | the rest | payload |
//!
//! An envelope of another version, or with another flag, is dropped and counted
//! ([`broken`](RedisStats::broken)). So are other programs' messages in these channels.
//!
//! The names are `framewright:0:t:TOPIC` for channels and `framewright:0:s:TOPIC` for streams: the
//! prefix, the number of the database, and a letter. In a cluster they are
//! `framewright:0:t:{PART}:TOPIC`, where the part is the CRC-16 of the topic modulo 16.

#![forbid(unsafe_code)]
// docs.rs shows at each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod backplane;
mod builder;
mod link;
mod settings;
mod state;
mod stats;
mod tasks;
mod wire;

pub use backplane::{CheckError, RedisBackplane};
pub use builder::{BuildError, RedisBackplaneBuilder};
pub use stats::RedisStats;
