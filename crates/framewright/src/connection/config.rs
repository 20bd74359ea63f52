//! The settings of a connection, each with a name, a default and a reason.

use crate::deflate::DeflateConfig;
use std::time::Duration;

/// How messages reach the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a whole or its parts")]
pub enum Delivery {
    /// Whole messages, contiguous in memory, as [`Event::Message`](crate::Event::Message). Costs up
    /// to [`Config::max_message`] bytes for each connection that is in the middle of one.
    #[default]
    Whole,
    /// Pieces as they arrive, as [`Event::Chunk`](crate::Event::Chunk), in constant memory however
    /// large the message is.
    Chunks,
}

/// The settings of a connection. Connections with the same settings share them through an `Arc`.
///
/// A release may add fields: end a literal with `..Config::default()`.
///
/// Deadlines are kept in milliseconds, rounded up. A `Duration` of 2^32 ms (49.7 days) or more sets
/// no deadline.
///
/// ```
/// # use framewright::Config;
/// let config = Config { max_message: 64 << 10, ..Config::default() };
/// assert_eq!(config.high_water, 1 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct Config {
    /// Whole messages or chunks. Default: whole.
    pub delivery: Delivery,
    /// The most bytes of payload in one message, added up over its fragments. Default 16 MiB: what
    /// browsers send in practice, and what one connection may make the receiver hold.
    ///
    /// For a compressed message the inflated bytes count. More fails the connection with 1009.
    pub max_message: u64,
    /// The most bytes of payload in one frame, in whole delivery (chunks need no such limit).
    /// Default 16 MiB.
    ///
    /// Checked on the header, before any payload arrives. More fails the connection with 1009.
    pub max_frame: u64,
    /// How many fragments of fewer than [`SMALL_FRAME`](crate::connection::SMALL_FRAME) bytes one
    /// message may have before its last fragment. Empty fragments count. Default 16384.
    ///
    /// Each empty fragment costs this endpoint a pass through the decoder and adds nothing to the
    /// message, so [`max_message`](Config::max_message) never ends them. More fails the connection
    /// with 1008.
    pub small_frame_budget: u32,
    /// The high-water mark of backpressure, in bytes queued. Default 1 MiB.
    ///
    /// At the mark or above it, `send_*` refuses with [`SendError::Full`](crate::SendError::Full),
    /// and nothing is read from the peer. Below it, one message of any size is accepted, so a
    /// connection queues at most `high_water` bytes and one message. 0 is taken as 1.
    pub high_water: usize,
    /// The low-water mark of backpressure, in bytes queued. Default 256 KiB: far enough below the
    /// high-water mark not to toggle with each write.
    ///
    /// After the high-water mark was reached, sending and reading go on once no more than
    /// `low_water` bytes are queued.
    pub low_water: usize,
    /// How long bytes may be queued while the peer takes none of them. Default 30 s; `None` waits
    /// forever.
    ///
    /// Afterwards the connection is dropped without a Close frame, which could not be sent either.
    pub write_timeout: Option<Duration>,
    /// How long to wait for the peer's part of the closing handshake once our Close frame is sent.
    /// Default 5 s.
    ///
    /// After the connection has failed: how long to wait for the peer to take our last bytes.
    pub close_timeout: Duration,
    /// How often to send a keep-alive Ping. Default 2 minutes, as in ASP.NET Core; `None` sends
    /// none.
    ///
    /// Counted from the opening handshake on, whatever is received and sent meanwhile. A Ping is
    /// left out while the previous one is still queued.
    ///
    /// Behind a proxy that ends silent connections, the interval has to be shorter than the proxy's
    /// timeout. 45 s is short enough for nginx, haproxy, lighttpd, Varnish and nghttpx at their
    /// defaults of 50 to 61 s.
    pub keep_alive_interval: Option<Duration>,
    /// How long the peer may be silent after a keep-alive Ping was sent. Default 4 minutes, in
    /// which two Pings of the default interval go unanswered. `None`, the default of ASP.NET Core,
    /// waits for no Pong.
    ///
    /// Afterwards the connection fails with 1011. Without this deadline, a peer that vanished
    /// silently would hold its connection forever.
    ///
    /// | what puts the deadline off | why |
    /// |---|---|
    /// | each frame received, and each piece of one | the Pong comes behind what is being sent |
    /// | the peer takes some of the bytes queued | the Ping is queued behind them |
    ///
    /// After 20 times `keep_alive_timeout` without the Pong, the connection fails in any case.
    /// Neither deadline passes while backpressure keeps the driver from reading.
    pub keep_alive_timeout: Option<Duration>,
    /// How long the peer may send nothing, not even a part of a frame. Default `None`: keep-alive
    /// detects a vanished peer.
    ///
    /// Put off while backpressure keeps the driver from reading. See
    /// [`Config::expect_message_every`].
    pub idle_timeout: Option<Duration>,
    /// How long a message in progress may take for each
    /// [`message_progress`](Config::message_progress) bytes of its payload. Default 60 s; `None`
    /// waits forever.
    ///
    /// It stops peers that hold memory with messages that they never end. A message that makes
    /// progress has no other time limit. Afterwards the connection fails with 1008. Put off while
    /// backpressure keeps the driver from reading.
    ///
    /// A peer that sends one message in fragments for minutes, with pauses between them, needs a
    /// longer timeout, or `None`.
    pub message_timeout: Option<Duration>,
    /// How many bytes of payload, counted on the wire, a message has to grow by within each
    /// [`message_timeout`](Config::message_timeout). Default 1024: 17 bytes a second, which any
    /// link carries.
    ///
    /// 0 is taken as 1. With `u32::MAX` only 4 GiB count as progress, so `message_timeout` limits
    /// the time of a whole message.
    pub message_progress: u32,
    /// When and how messages are compressed, if permessage-deflate was negotiated.
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
    /// Sets [`Config::idle_timeout`] to `2 * interval`, for a client that promises a message every
    /// `interval`: it is considered gone if nothing was received for twice as long.
    ///
    /// Any received frame counts, even a Pong. To detect such a client, keep-alive Pings have to be
    /// further apart than `2 * interval`, or off.
    #[must_use]
    pub fn expect_message_every(mut self, interval: Duration) -> Config {
        self.idle_timeout = Some(interval.saturating_mul(2));
        self
    }
}
