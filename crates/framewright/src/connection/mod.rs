//! A WebSocket connection after its opening handshake (RFC 6455, sections 5 to 7): state and
//! outgoing bytes, nothing else.
//!
//! A driver owns the socket, the clock and the [`RecvBuffer`]. [`Connection`] lists the methods
//! that the driver calls, and their order; `docs/SANS-IO.md` walks through writing a driver.
//!
//! ```
//! use framewright::{Config, Connection, Event, Message, Negotiated, RecvBuffer, Transmit};
//! use std::{io::IoSlice, sync::Arc, time::Instant};
//!
//! let now = Instant::now();
//! let mut connection = Connection::server(Arc::new(Config::default()), Negotiated::default(), now);
//! let mut rx = RecvBuffer::new();
//! // Section 5.7: a single-frame masked text message, "Hello".
//! rx.extend_from_slice(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
//! while let Some(event) = connection.next_event(now, &mut rx) {
//!     if let Event::Message(message) = event {
//!         assert_eq!(message, Message::Text("Hello"));
//!         connection.send(message)?; // the event borrows `rx`, not the connection
//!     }
//! }
//! let mut slices = [IoSlice::new(&[]); 4];
//! let Transmit::Bytes { octets, slices: 1 } = connection.poll_transmit(&mut slices) else { panic!() };
//! assert_eq!(&*slices[0], b"\x81\x05Hello");
//! connection.transmitted(now, octets);
//! # Ok::<(), framewright::SendError>(())
//! ```

// The files that add methods to `Connection` import it from here, and this file imports the types
// of its fields from them. That is the only import cycle between these files.
mod batch;
mod closing;
mod config;
mod deadlines;
mod deflate;
mod driver;
mod event;
mod fragment;
mod inflate;
mod receive;
mod recv_buffer;
mod send;
mod stats;
mod transmit;
mod transmit_buffer;
mod utf8;

pub use batch::{Batch, BatchRefused, BatchSent};
pub use closing::State;
pub use config::{Config, Delivery};
pub use driver::{DriverAccess, DriverView};
pub use event::{Chunk, Closure, Decoded, Event, Message, TakenPayload};
pub use fragment::SMALL_FRAME;
pub use recv_buffer::RecvBuffer;
pub use send::{OwnedMessage, Prepared, Unsent};
pub use stats::{CompressionStats, Stats};
pub use transmit::Transmit;
pub use transmit_buffer::TransmitBuffer;

use crate::deflate::{DeflateParams, DeflateState};
use crate::entropy::Entropy;
use crate::handshake::Negotiated;
use crate::role::Role;
use closing::{CurrentState, Ending};
use deadlines::{Timer, Timers};
use stats::Counts;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A WebSocket connection: state and outgoing bytes, without I/O and without a clock.
///
/// Its methods come in four groups.
///
/// | group | what | methods |
/// |---|---|---|
/// | **inputs** | what has arrived or happened | [`next_event`](Self::next_event), or [`decode`](Self::decode) and [`Decoded::resolve`]; [`handle_eof`](Self::handle_eof), [`handle_transport_error`](Self::handle_transport_error), [`handle_timeout`](Self::handle_timeout) |
/// | **commands** | what the application wants | [`send`](Self::send), [`send_text`](Self::send_text), [`send_binary`](Self::send_binary), [`send_uncompressed`](Self::send_uncompressed), [`send_owned`](Self::send_owned), [`send_prepared`](Self::send_prepared), [`send_fragment`](Self::send_fragment), [`ping`](Self::ping), [`pong`](Self::pong), [`close`](Self::close), [`fail`](Self::fail), [`abort`](Self::abort) |
/// | **outputs** | what the driver does next | [`poll_transmit`](Self::poll_transmit), [`transmitted`](Self::transmitted), [`poll_timeout`](Self::poll_timeout), [`has_event`](Self::has_event) |
/// | **getters** | what may be asked at any time | [`state`](Self::state), [`closure`](Self::closure), [`role`](Self::role), [`subprotocol`](Self::subprotocol), [`deflate`](Self::deflate), [`config`](Self::config), [`wants_read`](Self::wants_read), [`is_writable`](Self::is_writable), [`is_fragmenting`](Self::is_fragmenting), [`buffered`](Self::buffered), [`stats`](Self::stats) |
///
/// # The order of calls
///
/// After any input, and after any command:
///
/// 1. **Drain.** Call `next_event` until it returns `None`. While `wants_read` is false, neither
///    read nor decode; an event that needs no received bytes (`has_event`) is drained nevertheless.
/// 2. **Transmit.** Write the slices of `poll_transmit`, and pass the number of bytes that the
///    transport took to `transmitted`, even if it is 0. Transmitting can make an event: then drain
///    again.
/// 3. **Ask for the timeout.** Wait for bytes to read, for room to write if bytes are still queued,
///    and until the time that `poll_timeout` returns. Call `handle_timeout` at that time.
///
/// The connection is over when `poll_transmit` has returned [`Transmit::Shutdown`] and
/// [`Event::Closed`] was delivered.
///
/// No method returns a peer's fault as an error: the Close frame is queued, and [`Event::Closed`]
/// carries the cause. A command that is refused has queued nothing.
///
/// The methods that only drivers of many connections need are behind [`driver`](Self::driver) and
/// [`driver_view`](Self::driver_view).
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    extra: Option<Box<Extra>>,
    /// `Some` if permessage-deflate was negotiated.
    deflate: Option<DeflateState>,
    /// The bytes queued, in a buffer that was lent or was made when the first bytes were queued.
    transmit_buffer: Option<Box<TransmitBuffer>>,
    timers: Timers,
    counts: Counts,
    /// The application data of the newest keep-alive Ping.
    ping_serial: u16,
    /// Keep-alive Pings sent since the newest answered one.
    unanswered: u8,
    role: Role,
    state: CurrentState,
    /// `Some` while a message is being sent in fragments; true if that message is text.
    outgoing_text: Option<bool>,
    /// The bytes queued have reached the high-water mark and not yet fallen to the low one.
    congested: bool,
    /// `Event::Writable` is due.
    writable: bool,
}

/// The fields that a server's connection at rest does not need, unless it has a subprotocol.
#[derive(Debug, Default)]
struct Extra {
    /// The source of masking keys: `Some` for a client, `None` for a server.
    masker: Option<Masker>,
    subprotocol: Option<Arc<str>>,
    ending: Option<Ending>,
    /// The counts carried over from `counts`, which has 32 bits each.
    carried: Stats,
}

/// # Making one
impl Connection {
    /// Makes the server's end of a connection whose opening handshake resulted in `negotiated`.
    /// Bytes received behind the request's head go into the [`RecvBuffer`] first.
    #[must_use]
    pub fn server(config: Arc<Config>, negotiated: Negotiated, now: Instant) -> Connection {
        Connection::new(config, negotiated, None, now)
    }

    /// Makes the client's end of a connection whose opening handshake resulted in `negotiated`.
    /// `entropy` has to be cryptographically strong (section 10.3).
    #[must_use]
    pub fn client(
        config: Arc<Config>,
        negotiated: Negotiated,
        entropy: Box<dyn Entropy>,
        now: Instant,
    ) -> Connection {
        let masker = Masker { entropy, keys: [0; KEYS], used: KEYS };
        Connection::new(config, negotiated, Some(masker), now)
    }
}

/// # Getters
///
/// They may be called at any time.
impl Connection {
    /// Where the connection is between its two handshakes.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        self.state.get()
    }

    /// How the connection ended; `None` before [`State::Closed`].
    #[must_use]
    pub fn closure(&self) -> Option<Closure> {
        self.ended_with()
    }

    /// The number of bytes queued and not yet transmitted.
    #[inline]
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.transmit_buffer.as_ref().map_or(0, |buffer| buffer.len())
    }

    /// The parameters of permessage-deflate, or `None` if it was not negotiated.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(DeflateState::params)
    }

    /// Which end of the connection this is.
    #[inline]
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The settings of the connection.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The subprotocol negotiated in the opening handshake, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.extra.as_ref()?.subprotocol.as_deref()
    }

    /// Whether the connection is open and the bytes queued are below the high-water mark, so that
    /// there is room for a message.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.is_open() && !self.is_full()
    }

    /// Whether a message is being sent in fragments, so that no other message may be sent.
    #[must_use]
    pub fn is_fragmenting(&self) -> bool {
        self.outgoing_text.is_some()
    }

    /// Whether the driver should read and decode. False once the connection has ended, and under
    /// backpressure: after the bytes queued reach the high-water mark, until they fall to the low
    /// one.
    #[inline]
    #[must_use]
    pub fn wants_read(&self) -> bool {
        !self.is_closed() && !self.congested
    }

    /// The counts of messages and payload bytes received and queued so far.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.extra.as_ref().map_or(Stats::default(), |extra| extra.carried).with(self.counts)
    }
}

impl Connection {
    fn new(config: Arc<Config>, negotiated: Negotiated, masker: Option<Masker>, now: Instant) -> Connection {
        let role = if masker.is_some() { Role::Client } else { Role::Server };
        let deflate = negotiated.deflate().map(DeflateState::new);
        let subprotocol = negotiated.into_subprotocol();
        let extra = (masker.is_some() || subprotocol.is_some())
            .then(|| Box::new(Extra { masker, subprotocol, ..Extra::default() }));
        let mut timers = Timers::new(now);
        timers.arm_if(Timer::KeepAlive, now, config.keep_alive_interval);
        timers.arm_if(Timer::Idle, now, config.idle_timeout);
        Connection {
            config,
            extra,
            deflate,
            transmit_buffer: None,
            timers,
            counts: Counts::default(),
            ping_serial: 0,
            unanswered: 0,
            role,
            state: CurrentState::OPEN,
            outgoing_text: None,
            congested: false,
            writable: false,
        }
    }

    #[inline]
    fn count_received(&mut self, octets: usize, whole: bool) {
        if !self.counts.received(octets, whole) {
            self.carry_counts();
            self.extra_mut().carried.received(octets, whole);
        }
    }

    #[inline]
    fn count_sent(&mut self, octets: usize, whole: bool) {
        if !self.counts.sent(octets, whole) {
            self.carry_counts();
            self.extra_mut().carried.sent(octets, whole);
        }
    }

    #[cold]
    fn carry_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let extra = self.extra_mut();
        extra.carried = extra.carried.with(counts);
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The key for the next frame: a fresh one for a client, none for a server.
    #[inline]
    fn next_mask(&mut self) -> Option<[u8; 4]> {
        Connection::mask_from(&mut self.extra)
    }

    /// Does what [`next_mask`](Connection::next_mask) does, while another field of the connection
    /// is borrowed.
    #[inline]
    fn mask_from(extra: &mut Option<Box<Extra>>) -> Option<[u8; 4]> {
        extra.as_mut()?.masker.as_mut().map(Masker::next_key)
    }
}

/// Bytes of masking keys drawn at once: one call of the CSPRNG for every 16 frames.
const KEYS: usize = 64;

/// A client's masking keys.
struct Masker {
    entropy: Box<dyn Entropy>,
    keys: [u8; KEYS],
    used: usize,
}

impl Masker {
    fn next_key(&mut self) -> [u8; 4] {
        if self.used == KEYS {
            self.entropy.fill(&mut self.keys);
            self.used = 0;
        }
        let key = self.keys[self.used..self.used + 4].try_into().expect("four octets");
        self.used += 4;
        key
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker") // the keys not used yet are secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_over_a_connection_is_counted_beyond_32_bits() {
        let config = Arc::new(Config::default());
        let mut connection = Connection::server(config, Negotiated::default(), Instant::now());
        let most = u32::MAX as usize;
        let mut expected = Stats::default();
        for (octets, whole) in
            [(most - 5, true), (5, false), (1, true), (most, false), (7, true), (most, true)]
        {
            connection.count_received(octets, whole);
            expected.bytes_received += octets as u64;
            expected.messages_received += u64::from(whole);
            assert_eq!(connection.stats(), expected);
            connection.count_sent(octets / 2 + 1, !whole);
            expected.bytes_sent += octets as u64 / 2 + 1;
            expected.messages_sent += u64::from(!whole);
            assert_eq!(connection.stats(), expected);
        }
        connection.count_sent(most, true);
        expected.bytes_sent += most as u64;
        expected.messages_sent += 1;
        assert_eq!(connection.stats(), expected);
        assert!(expected.bytes_received > 2 << 32 && expected.bytes_sent > 2 << 32);
    }
}
