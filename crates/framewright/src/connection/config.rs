//! What an application can set, each with a name, a default and a reason.

use crate::deflate::DeflateConfig;
use std::time::Duration;

/// How messages reach the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a whole or its parts")]
pub enum Delivery {
    /// Whole messages, contiguous in memory, as [`Event::Message`](crate::Event::Message). Costs up
    /// to [`Config::max_message`] octets for each connection that is in the middle of one.
    #[default]
    Whole,
    /// Pieces as they arrive, as [`Event::Chunk`](crate::Event::Chunk), in constant memory however
    /// large the message.
    Chunks,
}

/// The settings of a connection. Shared by all connections that use the same: it is held in an
/// `Arc`.
///
/// A release may add fields: end a literal with `..Config::default()`.
///
/// Deadlines are kept in milliseconds, rounded up. A `Duration` of 2^32 of them (49.7 days) or more
/// sets none.
///
/// ```
/// use framewright::Config;
/// let config = Config { max_message: 64 << 10, ..Config::default() };
/// assert_eq!(config.high_water, 1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct Config {
    /// Whole messages or chunks. Default: whole.
    pub delivery: Delivery,
    /// The most octets of payload in one message, added up over its fragments. Default 16 MiB: what
    /// browsers send in practice, and what one connection may make the receiver hold. Of a
    /// compressed message the inflated octets count. More fails the connection with 1009.
    pub max_message: u64,
    /// The most octets of payload in one frame, in whole delivery (chunks need no such limit).
    /// Default 16 MiB. Checked on the header, before any payload arrives. More fails the connection
    /// with 1009.
    pub max_frame: u64,
    /// How many fragments of fewer than [`SMALL_FRAME`](crate::connection::SMALL_FRAME) octets one
    /// message may have before its last, the empty ones too. Default 16384: empty ones cost this
    /// endpoint a pass through the decoder each and add nothing to the message, so that
    /// [`max_message`](Config::max_message) never ends them. More fails the connection with 1008.
    pub small_frame_budget: u32,
    /// While this many octets or more wait to be sent, `send_*` refuses with `Full`, and
    /// [`Connection::wants_read`](crate::Connection::wants_read) is false. Default 1 MiB. One
    /// message of any size is taken below the mark, so at most this much and one message are held.
    /// At least 1: 0 is taken as 1.
    pub high_water: usize,
    /// After the high-water mark was reached, sending and reading go on when no more than this many
    /// octets wait. Default 256 KiB: far enough below not to toggle with each write.
    pub low_water: usize,
    /// How long the peer may take nothing of what waits to be sent. Default 30 s; `None` waits for
    /// ever. Afterwards the connection is dropped without a Close frame, which could not be sent
    /// either.
    pub write_timeout: Option<Duration>,
    /// How long to wait for the peer's part of the closing handshake once our Close frame is sent,
    /// and, after the connection has failed, for the peer to take our last octets. Default 5 s.
    pub close_timeout: Duration,
    /// How often to send a Ping, counted from the opening handshake on, whatever is received and
    /// sent meanwhile. Default 2 minutes, as in ASP.NET Core; `None` sends none. One is left out
    /// while the one before it is still queued. Behind a proxy that ends silent connections it has
    /// to be shorter than the proxy's time: 45 s is, for nginx, haproxy, lighttpd, Varnish and
    /// nghttpx at their defaults of 50 to 61 s.
    pub keep_alive_interval: Option<Duration>,
    /// How long the peer may be silent after a keep-alive Ping was sent. Default 4 minutes, in
    /// which two Pings of the default interval go unanswered: a peer that has gone without a word
    /// would hold its place for ever. `None`, the default of ASP.NET Core, waits for no Pong.
    /// Afterwards the connection fails with 1011.
    ///
    /// Whatever arrives puts the deadline off, each frame and each piece of one: a peer answers a
    /// Ping behind what it is sending. So does a peer that takes some of what waits to be sent,
    /// since the Ping lies behind that. But after 20 times as long without the Pong the connection
    /// fails in any case. Neither deadline passes while nothing is read because too much waits to
    /// be sent.
    pub keep_alive_timeout: Option<Duration>,
    /// How long nothing of any frame may arrive. Default `None`: keep-alive finds out who is gone.
    /// Put off while nothing is read because too much waits to be sent. See
    /// [`Config::expect_message_every`].
    pub idle_timeout: Option<Duration>,
    /// How long a message that has begun may take over each
    /// [`message_progress`](Config::message_progress) octets of its payload. Default 60 s, against
    /// peers that hold memory with messages that they never end; `None` waits for ever. A message
    /// that goes on has no other limit on its time. Afterwards the connection fails with 1008. Put
    /// off while nothing is read because too much waits to be sent.
    ///
    /// A peer that sends one message in fragments for minutes, with pauses between them, needs a
    /// longer one, or `None`.
    pub message_timeout: Option<Duration>,
    /// How many octets of payload, as they are on the wire, a message has to grow by within each
    /// [`message_timeout`](Config::message_timeout). Default 1024: 17 octets a second, which any
    /// link carries. 0 is taken as 1. With `u32::MAX`, no progress but 4 GiB, `message_timeout`
    /// limits the time of a whole message.
    pub message_progress: u32,
    /// When and how messages are compressed, where permessage-deflate was agreed on.
    pub deflate: DeflateConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            delivery: Delivery::Whole,
            max_message: 16 << 20,
            max_frame: 16 << 20,
            small_frame_budget: 16 << 10,
            high_water: 1 << 20,
            low_water: 256 << 10,
            write_timeout: Some(Duration::from_secs(30)),
            close_timeout: Duration::from_secs(5),
            keep_alive_interval: Some(Duration::from_secs(120)),
            keep_alive_timeout: Some(Duration::from_secs(240)),
            idle_timeout: None,
            message_timeout: Some(Duration::from_secs(60)),
            message_progress: 1 << 10,
            deflate: DeflateConfig::default(),
        }
    }
}

impl Config {
    /// The rule that a client which promises a message every `interval` is gone when nothing came
    /// for twice as long: sets [`Config::idle_timeout`] to `2 * interval`. Any received frame
    /// counts, a Pong too: where such a client is to be found out, keep-alive Pings have to be
    /// further apart than that, or off.
    #[must_use]
    pub fn expect_message_every(mut self, interval: Duration) -> Config {
        self.idle_timeout = Some(interval.saturating_mul(2));
        self
    }
}
