//! One connection with all that a driver has: a receive buffer, a clock that is told the time, and
//! a record of what was sent and seen.

use crate::app::{App, Behaviour};
use crate::naive::inflate::Inflation;
use crate::rng::SplitMix64;
use crate::wire::{self, WireFrame};
#[cfg(feature = "deflate")]
use framewright::deflate::{Codec, DeflateParams};
use framewright::{
    CloseCode, Closure, Config, Connection, Event, Message, Negotiated, RecvBuffer, Role, State, Transmit,
};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An event that owns its payload, to be compared later.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A piece of a message.
    Chunk {
        /// Whether the message is text.
        text: bool,
        /// The piece.
        data: Vec<u8>,
        /// The first piece of its message.
        first: bool,
        /// The last piece of its message.
        last: bool,
    },
    /// A Ping.
    Ping(Vec<u8>),
    /// A Pong.
    Pong(Vec<u8>),
    /// A Close frame.
    CloseReceived {
        /// Its code, if it had a body.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// `Event::Writable`.
    Writable,
    /// `Event::Closed`.
    Closed(Closure),
}

impl Seen {
    /// A whole message.
    #[must_use]
    pub fn message(text: bool, payload: Vec<u8>) -> Seen {
        match text {
            true => Seen::Text(String::from_utf8(payload).expect("the text of a message is UTF-8")),
            false => Seen::Binary(payload),
        }
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Message(Message::Text(text)) => Seen::Text(text.to_owned()),
            Event::Message(Message::Binary(payload)) => Seen::Binary(payload.to_vec()),
            Event::Chunk(chunk) => Seen::Chunk {
                text: chunk.data.is_text(),
                data: chunk.data.as_bytes().to_vec(),
                first: chunk.first,
                last: chunk.last,
            },
            Event::Ping(data) => Seen::Ping(data.to_vec()),
            Event::Pong(data) => Seen::Pong(data.to_vec()),
            Event::CloseReceived { code, reason } => {
                Seen::CloseReceived { code: code.map(CloseCode::get), reason: reason.to_owned() }
            }
            Event::Writable => Seen::Writable,
            Event::Closed(closure) => Seen::Closed(closure),
            other => unreachable!("an event that the kit does not know: {other:?}"),
        }
    }
}

/// Joins the chunks of each message: the message stands where its last chunk stood. Also gives the
/// payload of a message whose last chunk did not come, and whether it is text.
///
/// # Panics
/// If the marks of the chunks do not fit: a first one inside a message, another one outside, or a
/// change of type.
#[must_use]
pub fn join_chunks(events: &[Seen]) -> (Vec<Seen>, Option<(bool, Vec<u8>)>) {
    let mut joined = Vec::new();
    let mut open: Option<(bool, Vec<u8>)> = None;
    for event in events {
        let Seen::Chunk { text, data, first, last } = event else {
            joined.push(event.clone());
            continue;
        };
        assert_eq!(*first, open.is_none(), "exactly the first chunk of a message is marked so");
        assert!(*last || !data.is_empty(), "only the last chunk may be empty");
        let (of_text, payload) = open.get_or_insert_with(|| (*text, Vec::new()));
        assert_eq!(of_text, text, "all chunks of a message are of one type");
        payload.extend_from_slice(data);
        if *last {
            let (text, payload) = open.take().expect("there is at least this chunk");
            joined.push(Seen::message(text, payload));
        }
    }
    (joined, open)
}

/// A connection and its driver.
#[derive(Debug)]
pub struct Endpoint {
    /// The connection.
    pub connection: Connection,
    /// What was received.
    pub rx: RecvBuffer,
    /// The time.
    pub now: Instant,
    /// Every event, in order.
    pub events: Vec<Seen>,
    /// Every octet that the transport took.
    pub sent: Vec<u8>,
    /// How many octets the transport still takes.
    pub room: usize,
    /// The connection has asked for the end of this direction.
    pub shutdown: bool,
    /// What answers the events.
    pub app: App,
    /// What is lent for each turn; without it the connection has its own.
    #[cfg(feature = "deflate")]
    pub codec: Option<Box<Codec>>,
}

impl Endpoint {
    /// An endpoint whose transport takes everything. A client's keys come from [`SplitMix64`] with
    /// this seed.
    #[must_use]
    pub fn new(role: Role, config: Config, seed: u64, behaviour: Behaviour) -> Endpoint {
        Endpoint::starting_at(Instant::now(), role, config, seed, behaviour)
    }

    /// An endpoint as [`new`](Endpoint::new) makes it, whose connection opened at `now`.
    #[must_use]
    pub fn starting_at(
        now: Instant,
        role: Role,
        config: Config,
        seed: u64,
        behaviour: Behaviour,
    ) -> Endpoint {
        Endpoint::negotiated(now, role, config, Negotiated::default(), seed, behaviour)
    }

    /// An endpoint that has agreed on permessage-deflate, if there are parameters.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflating(
        role: Role,
        config: Config,
        params: impl Into<Option<DeflateParams>>,
        seed: u64,
        behaviour: Behaviour,
    ) -> Endpoint {
        let negotiated = params.into().map_or_else(Negotiated::new, |it| Negotiated::new().with_deflate(it));
        Endpoint::negotiated(Instant::now(), role, config, negotiated, seed, behaviour)
    }

    fn negotiated(
        now: Instant,
        role: Role,
        config: Config,
        negotiated: Negotiated,
        seed: u64,
        behaviour: Behaviour,
    ) -> Endpoint {
        let config = Arc::new(config);
        let connection = match role {
            Role::Server => Connection::server(config, negotiated, now),
            Role::Client => Connection::client(config, negotiated, Box::new(SplitMix64::new(seed)), now),
        };
        Endpoint {
            connection,
            rx: RecvBuffer::new(),
            now,
            events: Vec::new(),
            sent: Vec::new(),
            room: usize::MAX,
            shutdown: false,
            app: App::new(behaviour),
            #[cfg(feature = "deflate")]
            codec: None,
        }
    }

    /// Gives the endpoint a codec, which it lends to its connection.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Endpoint {
        self.codec = Some(Box::new(codec));
        self
    }

    /// Receives these octets and does all that follows from them.
    pub fn feed(&mut self, octets: &[u8]) {
        self.rx.extend_from_slice(octets);
        self.drain();
    }

    /// The peer has ended its direction.
    pub fn eof(&mut self) {
        self.connection.handle_eof(self.now);
        self.drain();
    }

    /// Lets this much time pass.
    pub fn advance(&mut self, time: Duration) {
        self.set_time(self.now + time);
    }

    /// Lets the time be this.
    pub fn set_time(&mut self, now: Instant) {
        self.now = now;
        self.connection.handle_timeout(now);
        self.drain();
    }

    /// The transport takes so many octets more.
    pub fn make_room(&mut self, octets: usize) {
        self.room = self.room.saturating_add(octets);
        self.drain();
    }

    /// Takes every event that there is and transmits after each, as far as there is room; in as
    /// many turns as it takes.
    pub fn drain(&mut self) {
        loop {
            self.turn();
            let paused =
                self.connection.driver_view().has_inflate_work() && self.connection.state() != State::Closed;
            if !paused || !self.connection.wants_read() {
                return;
            }
        }
    }

    /// One turn of it.
    pub fn turn(&mut self) {
        #[cfg(feature = "deflate")]
        if let Some(codec) = self.codec.take() {
            self.codec = self.connection.driver().lend_codec(codec);
            self.take_events();
            self.codec = self.codec.take().or_else(|| self.connection.driver().reclaim_codec());
            return;
        }
        self.take_events();
    }

    fn take_events(&mut self) {
        loop {
            self.transmit();
            let congested = !self.connection.wants_read() && self.connection.state() != State::Closed;
            if congested && !self.connection.has_event() {
                return;
            }
            let Some(event) = self.connection.next_event(self.now, &mut self.rx) else { return };
            self.app.handle(&mut self.connection, &event);
            self.events.push(event.into());
        }
    }

    /// Writes as much as there is room for.
    pub fn transmit(&mut self) {
        loop {
            let mut slices = [IoSlice::new(&[]); 4];
            let (octets, used) = match self.connection.poll_transmit(&mut slices) {
                Transmit::Idle => return,
                Transmit::Shutdown => {
                    self.shutdown = true;
                    return;
                }
                Transmit::Bytes { octets, slices } => (octets, slices),
            };
            assert!(!self.shutdown, "octets after the end of the transport");
            let before = self.sent.len();
            for slice in &slices[..used] {
                let room = self.room - (self.sent.len() - before);
                self.sent.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            let taken = self.sent.len() - before;
            self.room -= if self.room == usize::MAX { 0 } else { taken };
            self.connection.transmitted(self.now, taken);
            if taken < octets {
                return;
            }
        }
    }

    /// The frames of all that was sent.
    ///
    /// # Panics
    /// If the sent octets break a rule (see [`wire::check_compressed_output`]).
    #[must_use]
    pub fn frames(&self) -> Vec<WireFrame> {
        let role = self.connection.role();
        wire::check_compressed_output(role, self.inflation_of(role), &self.sent)
            .unwrap_or_else(|rule| panic!("{rule}"))
    }

    /// The messages of all that was sent, and what was sent of the one in progress.
    #[must_use]
    pub fn messages(&self) -> (Vec<wire::Message>, Option<wire::Message>) {
        wire::messages(&self.frames(), self.inflation_of(self.connection.role()))
    }

    /// What was agreed on for the compressed messages of this sender, if anything was.
    #[must_use]
    pub fn inflation_of(&self, sender: Role) -> Option<Inflation> {
        #[cfg(feature = "deflate")]
        {
            let agreed = Inflation::of(&self.connection.deflate()?, sender);
            // What is sent has to be as agreed; the peer is met half-way.
            Some(if sender == self.connection.role() { agreed } else { agreed.doubting() })
        }
        #[cfg(not(feature = "deflate"))]
        {
            let _ = sender;
            None
        }
    }

    /// The time until the next deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.connection.poll_timeout().map(|at| at.saturating_duration_since(self.now))
    }

    /// How the connection ended.
    ///
    /// # Panics
    /// If it has not, or if it was told otherwise than once and last.
    #[must_use]
    pub fn closure(&self) -> Closure {
        assert_eq!(self.connection.state(), State::Closed);
        let told: Vec<_> = self.events.iter().filter(|event| matches!(event, Seen::Closed(_))).collect();
        assert_eq!(told.len(), 1, "Closed comes exactly once");
        let Some(Seen::Closed(closure)) = self.events.last() else { panic!("Closed comes last") };
        assert_eq!(self.connection.closure().as_ref(), Some(closure));
        closure.clone()
    }
}
