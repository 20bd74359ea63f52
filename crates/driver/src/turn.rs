//! The turn of an open connection: read once, hand over every event, write once (RFC 6455, sections 5
//! to 7, as [`Connection`] keeps them). What holds for every driver is decided here:
//!
//! | question | decision |
//! |---|---|
//! | how much is read | once a turn, into the event loop's buffer or one of the connection's own (`parking`); a client that reads ahead, up to 1 MiB |
//! | how much is written | up to [`SHARE`] in a turn, then others have theirs |
//! | a short read | has emptied a transport that says so, unless its end may lie behind ([`Ready::note_read`]) |
//! | a failed write | ends our direction: what is queued is dropped, what has arrived is handed over |
//! | a deadline | is judged after what has arrived was read, up to [`LAST_LOOK`]; that of writing after one more write |
//! | a full send queue | a server stops reading; a client reads ahead, up to a message |
//! | a panic of the application | fails its connection with 1011, and drops what it was lent |
//! | the end | the transport is closed at once, or after [`Lingering`] ([`Turn::leave`]) |

use crate::lent::Lent;
use crate::linger::{Lingering, Rest};
use crate::parking::{self, SHORT_TAIL};
use crate::transport::{Io, Ready, Transport};
use framewright::{
    CloseCode, Closure, Connection, Decoded, Error, Event, Message, RecvBuffer, Role, SendError, State,
    Timeout, Transmit,
};
use std::io::IoSlice;
use std::time::Instant;

/// An open connection between its turns.
#[derive(Debug)]
pub struct Turn {
    /// The state of the protocol. For looking at it and for commands; a driver leaves its input and
    /// output to the turn.
    pub connection: Connection,
    /// Bytes of an incomplete frame or message, or undecoded ones. `None` at rest.
    parked: Option<Box<RecvBuffer>>,
    /// KiB read since a deadline has passed, or since writing has failed; each read is rounded up.
    looked: u16,
    /// `parked` may hold whole frames: decoding has stopped because the send queue is full, or for the
    /// sake of other connections.
    undecoded: bool,
    /// Nothing more will be read: the end of the stream was, or the transport has failed. What is
    /// undecoded comes before that.
    eof: bool,
    /// Writing has failed. What had arrived before is still read.
    broken: bool,
    /// Writing was given up since the peer has taken nothing for too long.
    late: bool,
    /// Queued bytes were dropped.
    dropped: bool,
    /// The last turn has moved [`BULK`] bytes or more.
    bulk: bool,
}

/// What takes the events of a connection: a closure, or a type that also has something to send.
pub trait Application<T> {
    /// Whether the end is told before the last bytes are written, our Close frame among them.
    ///
    /// Then whoever sees the Close frame finds that the application knows of it: a client that comes
    /// back finds its place free. Otherwise the end is told with what became of the Close frame:
    /// [`Closure::clean`] says that it has left.
    const KNOWS_THE_END_FIRST: bool = false;

    /// The most bytes that a read of short frames asks for.
    fn read_size(&self) -> usize {
        128 << 10
    }

    /// Called at the beginning of each turn.
    fn on_turn(&mut self, current: &mut Current<'_, T>) {
        let _ = current;
    }

    /// Takes an event. A payload lies in the receive buffer, so the connection can send meanwhile.
    fn on_event(&mut self, current: &mut Current<'_, T>, event: Event<'_>);

    /// Takes a whole message: the usual event, apart from the others so that its way is straight.
    #[inline]
    fn on_message(&mut self, current: &mut Current<'_, T>, message: Message<'_>) {
        self.on_event(current, Event::Message(message));
    }

    /// Queues what was left for this connection elsewhere. Once a turn, before its last write.
    fn queue(&mut self, connection: &mut Connection, now: Instant) {
        let _ = (connection, now);
    }

    /// Called before a write that may tell the peer what has become of the connection.
    fn before_write(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// Whether [`queue`](Application::queue) has something that `connection` would take now.
    fn has_queued(&self, connection: &Connection) -> bool {
        let _ = connection;
        false
    }
}

impl<T, F: FnMut(&mut Current<'_, T>, Event<'_>)> Application<T> for F {
    #[inline]
    fn on_event(&mut self, current: &mut Current<'_, T>, event: Event<'_>) {
        self(current, event);
    }
}

/// The connection whose turn it is, and its transport.
#[derive(Debug)]
pub struct Current<'a, T> {
    /// The connection, for commands.
    pub connection: &'a mut Connection,
    /// Its transport.
    pub transport: &'a mut T,
    /// The time of the turn.
    pub now: Instant,
    broken: &'a mut bool,
    /// Bytes that this turn may still write.
    share: &'a mut usize,
}

impl<T> Current<'_, T> {
    /// Lends the same for a shorter time, by value.
    #[inline]
    pub fn reborrow(&mut self) -> Current<'_, T> {
        let Current { connection, transport, now, broken, share } = self;
        Current { connection, transport, now: *now, broken, share }
    }

    /// Hands over everything decoded. Returns whether there is room to send, which is told later.
    //
    // A function by itself: the registers are the messages' own.
    #[inline(never)]
    fn hand_over(&mut self, rx: &mut RecvBuffer, application: &mut impl Application<T>) -> bool {
        let mut has_room = false;
        while self.connection.wants_read() {
            match self.connection.next_event(self.now, rx) {
                Some(Event::Message(message)) => application.on_message(self, message),
                Some(Event::Writable) => has_room = true,
                Some(event) => application.on_event(self, event),
                None => break,
            }
        }
        has_room
    }
}

impl<T: Transport> Current<'_, T> {
    /// Sends a long message from where it lies: `send` queues it with
    /// [`Connection::send_through`] or [`Connection::send_fragment_through`], which write what the
    /// kernel takes at once and copy the rest. All of it is copied once the turn has written its share.
    ///
    /// # Errors
    /// Those of `send`.
    #[inline(never)]
    pub fn write_through(
        &mut self,
        send: impl FnOnce(&mut Connection, &mut dyn FnMut(&[IoSlice<'_>]) -> usize) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Current { connection, transport, now, broken, share } = self;
        send(connection, &mut |slices| {
            if **broken || **share == 0 {
                return 0;
            }
            match transport.write(slices) {
                Io::Moved(count) => {
                    **share = share.saturating_sub(count);
                    count
                }
                Io::Blocked => 0,
                Io::Lost => {
                    **broken = true;
                    0
                }
            }
        })?;
        connection.transmitted(*now, 0);
        Ok(())
    }
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Next {
    /// Wait for readiness or for [`Turn::deadline`].
    Wait,
    /// Another turn: there is work left that no event announces. Others may have theirs before.
    Again,
    /// The connection has ended, the application knows, and everything is sent: end the transport.
    Leave(Leave),
}

/// How a transport ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Leave {
    /// Close it.
    Close,
    /// Close it after [`Turn::linger`].
    Linger,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Flushed {
    /// Nothing is queued.
    All,
    /// The transport takes no more for now.
    Blocked,
    /// The turn has written its share: the transport may take more in the next one.
    Paused,
    /// Nothing is queued and nothing will be: the transport is to be ended.
    Shutdown,
}

impl Turn {
    /// A connection whose opening handshake is done. `early` arrived behind the handshake.
    #[must_use]
    pub fn new(connection: Connection, early: &[u8]) -> Self {
        let parked = (!early.is_empty()).then(|| {
            let mut parked = RecvBuffer::with_capacity(early.len());
            parked.extend_from_slice(early);
            Box::new(parked)
        });
        let undecoded = parked.is_some();
        Turn {
            connection,
            parked,
            looked: 0,
            undecoded,
            eof: false,
            broken: false,
            late: false,
            dropped: false,
            bulk: false,
        }
    }

    /// Does all there is to do without waiting.
    ///
    /// What is lent stays lent when the application panics: see [`after_panic`](Turn::after_panic).
    #[inline]
    pub fn run<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        lent: &mut Lent,
        now: Instant,
        application: &mut A,
    ) -> Next {
        lent.lend(&mut self.connection, self.parked.as_deref(), now);
        let flushed = self.work(transport, ready, lent, now, application);
        lent.reclaim(&mut self.connection, now);
        self.bulk = lent.read + (SHARE - lent.share) >= BULK;
        match flushed {
            Flushed::Shutdown => Next::Leave(self.leave(ready)),
            Flushed::Paused => Next::Again,
            Flushed::All | Flushed::Blocked if self.has_work(ready, application) => Next::Again,
            Flushed::All | Flushed::Blocked => Next::Wait,
        }
    }

    #[inline]
    fn work<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        lent: &mut Lent,
        now: Instant,
        application: &mut A,
    ) -> Flushed {
        let Turn { connection, broken, .. } = self;
        (lent.read, lent.share) = (0, SHARE);
        application.on_turn(&mut Current { connection, transport, now, broken, share: &mut lent.share });
        if std::mem::take(&mut ready.write) && self.connection.buffered() > 0 {
            self.settle(transport, ready, now, &mut lent.share, application);
        }
        if ready.due && self.is_overdue(ready) {
            self.handle_timeout(transport, ready, now);
        }
        self.receive(transport, ready, lent, now, application);
        application.before_write(&self.connection);
        if ready.due && !(ready.read && self.connection.wants_read()) {
            self.handle_timeout(transport, ready, now);
        }
        application.queue(&mut self.connection, now);
        let flushed = self.settle(transport, ready, now, &mut lent.share, application);
        if self.is_over() && flushed != Flushed::Paused {
            if let Some(parked) = self.parked.take() {
                self.connection.note_rest(&parked);
            }
            return self.await_end(transport, ready, &mut lent.rx, now);
        }
        // What is undecoded waits for the peer to read: others must not wait with it.
        if self.undecoded
            && !self.connection.wants_read()
            && let Some(parked) = &mut self.parked
            && self.connection.give_way(now, parked)
        {
            return self.settle(transport, ready, now, &mut lent.share, application);
        }
        flushed
    }

    /// Reads once and hands over everything decoded.
    fn receive<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        lent: &mut Lent,
        now: Instant,
        application: &mut A,
    ) {
        if !self.may_receive(ready) {
            return;
        }
        let Lent { rx: shared, large, tails, read, share, .. } = lent;
        let mut own = self.parked.take();
        if let Some(mut short) = own.take_if(|own| own.len() <= SHORT_TAIL) {
            shared.absorb(&mut short);
            tails.put_cleared(now, short);
        }
        let direct = own.is_some();
        let rx = own.as_deref_mut().unwrap_or(shared);
        if !self.connection.wants_read() {
            self.read_ahead(transport, ready, rx, application.read_size());
        } else {
            if !self.undecoded && ready.read && !self.eof {
                let reach = parking::reach(rx, direct, application.read_size());
                if direct {
                    parking::grow(rx, reach.0, large, now);
                }
                *read += self.read(transport, ready, rx, reach);
            }
            // The end is told when what is queued has been written.
            let Turn { connection, broken, .. } = self;
            let mut current = Current { connection, transport, now, broken, share };
            let has_room = current.hand_over(rx, application);
            // Room is told behind what has arrived: an application that fills it at once would never
            // hear its peer. There is none where nothing leaves any more.
            if has_room && current.connection.is_writable() && !*current.broken {
                application.on_event(&mut current, Event::Writable);
            }
        }
        if self.connection.state() == State::Closed {
            self.connection.note_rest(rx);
            rx.clear();
        }
        self.undecoded = rx.has_undecoded() && (!self.connection.wants_read() || self.connection.is_paused());
        if self.eof && !self.undecoded {
            self.connection.handle_eof(now);
        }
        rx.shrink();
        match own {
            Some(own) if parking::pays_for(&own) => self.parked = Some(own),
            Some(mut own) => {
                self.parked = parking::park(&mut own, large, tails);
                large.put_cleared(now, own);
            }
            None => self.parked = parking::park(shared, large, tails),
        }
    }

    /// Whether [`receive`](Turn::receive) has something to do.
    #[inline]
    fn may_receive(&self, ready: &Ready) -> bool {
        if self.connection.wants_read() {
            return self.undecoded || self.eof || ready.read;
        }
        self.may_read_ahead(ready, self.parked.as_ref().map_or(0, |parked| parked.unread()))
    }

    /// Reads once. `reach`: the room that there has to be, and the most to ask for.
    fn read<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        (least, most): (usize, usize),
    ) -> usize {
        let spare = rx.spare(least);
        let room = spare.len().min(most);
        match transport.read(&mut spare[..room]) {
            Io::Moved(0) => self.eof = true,
            Io::Moved(count) => {
                rx.filled(count);
                // After a failure a read tells when there is nothing more.
                if !self.broken {
                    ready.note_read(transport, count, room);
                }
                if ready.due || self.broken {
                    self.note_look(count);
                }
                return count;
            }
            // All that arrived before the failure has been read.
            Io::Blocked if self.broken => self.eof = true,
            Io::Blocked => ready.note_blocked(),
            Io::Lost => (self.eof, self.broken) = (true, true),
        }
        0
    }

    /// Notes bytes that were read though a deadline has passed, or writing has failed.
    #[cold]
    fn note_look(&mut self, count: usize) {
        self.looked = self.looked.saturating_add(u16::try_from(count.div_ceil(1 << 10)).unwrap_or(u16::MAX));
        if self.broken && self.looked >= LAST_LOOK {
            self.eof = true;
        }
    }

    /// Whether so much was read since a deadline has passed that it is acted on, whatever else comes.
    fn is_overdue(&self, ready: &Ready) -> bool {
        ready.due && self.looked >= LAST_LOOK
    }

    /// Reads some of what has arrived without decoding it, while the send queue is full.
    fn read_ahead<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        read_size: usize,
    ) {
        let mut read = 0;
        while read < LOOK && self.may_read_ahead(ready, rx.unread()) {
            read += self.read(transport, ready, rx, own_reach(rx, read_size));
        }
    }

    /// Whether more may be read ahead where `undecoded` bytes are held already.
    ///
    /// Only by a client. A server that waits for its client to read, before it reads on itself, would
    /// keep a client that does the same waiting for ever; so the client reads, as much as a message may
    /// have. A server has many clients, whom it need not trust: it holds them back.
    #[inline]
    fn may_read_ahead(&self, ready: &Ready, undecoded: usize) -> bool {
        ready.read
            && !self.eof
            && self.connection.role() == Role::Client
            && self.connection.state() != State::Closed
            && undecoded as u64 <= self.connection.config().max_message.min(READ_AHEAD)
    }

    /// Tells what needs no bytes, and writes what is queued. That there is room again is told before
    /// the write: the room that this write makes is told in the next turn, so that others have theirs
    /// in between.
    fn settle<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        share: &mut usize,
        application: &mut A,
    ) -> Flushed {
        // Room first; and the end too, if the application has made it when it was told of room.
        while self.connection.has_event()
            && (A::KNOWS_THE_END_FIRST || self.connection.state() != State::Closed)
        {
            self.tell(transport, now, share, application);
        }
        application.before_write(&self.connection);
        let flushed = self.write_share(transport, ready, now, share);
        // The write may have dropped the Close frame.
        if !self.connection.has_event() || self.connection.state() != State::Closed || self.holds_end() {
            return flushed;
        }
        self.tell(transport, now, share, application);
        self.write_share(transport, ready, now, share)
    }

    /// Hands over the event that needs no bytes.
    fn tell<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        now: Instant,
        share: &mut usize,
        application: &mut A,
    ) {
        let Some(event) = self.connection.pending_event() else { return };
        let event = match event {
            Event::Writable if self.broken => return,
            Event::Closed(closure) => Event::Closed(self.corrected(closure)),
            event => event,
        };
        let Turn { connection, broken, .. } = self;
        application.on_event(&mut Current { connection, transport, now, broken, share }, event);
    }

    /// Whether the end cannot be told yet: the closing handshake is complete when our Close frame has
    /// left.
    fn holds_end(&self) -> bool {
        self.connection.buffered() > 0 && self.closure().is_some_and(|closure| closure.clean)
    }

    /// Whether there is something to do that no event announces.
    fn has_work<T, A: Application<T>>(&self, ready: &Ready, application: &A) -> bool {
        if self.is_over() {
            return self.drops_what_arrives() && ready.read;
        }
        self.may_receive(ready)
            || (self.connection.has_event() && (A::KNOWS_THE_END_FIRST || !self.holds_end()))
            // What the application has to send may have waited for the room that the write has made.
            || application.has_queued(&self.connection)
    }

    /// Writes what is queued until the transport takes no more. Where it never will, drops it.
    pub fn flush<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) -> Flushed {
        let mut no_bound = usize::MAX;
        self.write_share(transport, ready, now, &mut no_bound)
    }

    /// Writes what is queued, up to `share` bytes, which it takes off. [`Ready::write`] says that there
    /// is more.
    fn write_share<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        share: &mut usize,
    ) -> Flushed {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (used, bytes) = match self.connection.poll_transmit(&mut slices) {
                Transmit::Idle => return Flushed::All,
                Transmit::Shutdown => return Flushed::Shutdown,
                Transmit::Bytes { slices, octets } => (slices, octets),
            };
            if self.broken {
                // Writing may have failed in a callback: what the peer has said is read up to its end.
                if !std::mem::replace(&mut self.dropped, true) {
                    self.looked = 0;
                }
                ready.read = true;
                self.connection.transmitted(now, bytes);
                continue;
            }
            if *share == 0 {
                ready.write = true;
                return Flushed::Paused;
            }
            let slices = &slices[..used];
            let moved =
                if bytes <= *share { transport.write(slices) } else { write_part(transport, slices, *share) };
            match moved {
                Io::Moved(count) => {
                    *share = share.saturating_sub(count);
                    self.connection.transmitted(now, count);
                }
                Io::Blocked => {
                    self.connection.transmitted(now, 0);
                    return Flushed::Blocked;
                }
                Io::Lost => self.give_up_writing(ready),
            }
        }
    }

    /// Nothing will be written any more. What has arrived is worth as much as before: it may say why.
    #[cold]
    fn give_up_writing(&mut self, ready: &mut Ready) {
        (self.broken, ready.read) = (true, true);
        self.looked = 0;
    }

    /// Acts on deadlines that have passed. What has arrived has been read before.
    ///
    /// While the send queue was full nothing was read. If it is not any more, or writing is given up,
    /// the deadlines that depend on what arrives wait for another turn: [`Ready::due`] stays set.
    #[cold]
    pub fn handle_timeout<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        let was_reading = self.connection.wants_read() && !self.broken;
        self.handle_write_timeout(transport, ready, now);
        let reads_now = self.connection.wants_read() && (ready.read || self.undecoded) && !self.eof;
        if reads_now && !was_reading && self.looked < LAST_LOOK {
            return;
        }
        ready.due = false;
        if !self.broken {
            self.looked = 0;
        }
        // A peer that has failed, and reads slowly, may have made room for our last bytes.
        if self.connection.state() == State::Closed && self.connection.buffered() > 0 {
            self.flush(transport, ready, now);
        }
        self.with_drops(|connection| connection.handle_timeout(now));
    }

    /// Acts on deadlines of sending alone: for a thread that only sends, and knows nothing of what has
    /// arrived.
    pub fn handle_send_timeout<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.handle_write_timeout(transport, ready, now);
        self.with_drops(|connection| connection.handle_send_timeout(now));
    }

    /// Gives up writing to a peer that has taken nothing for
    /// [`Config::write_timeout`](framewright::Config::write_timeout): not before one more write, since
    /// a kernel announces room late. The peer may have said why it takes nothing.
    fn handle_write_timeout<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        let has_passed =
            |turn: &Turn| turn.connection.poll_write_timeout().is_some_and(|deadline| deadline <= now);
        if !has_passed(self) {
            return;
        }
        self.flush(transport, ready, now);
        if has_passed(self) {
            self.give_up(transport, ready, now);
        }
    }

    /// Gives up writing to a peer that is too slow, as after
    /// [`Config::write_timeout`](framewright::Config::write_timeout): for a driver whose caller waits no
    /// longer. What is queued is dropped; what has arrived is still read.
    pub fn give_up<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.late = true;
        self.give_up_writing(ready);
        self.flush(transport, ready, now);
    }

    /// Notes what `act` drops of what is queued.
    fn with_drops(&mut self, act: impl FnOnce(&mut Connection)) {
        let before = self.connection.buffered();
        act(&mut self.connection);
        self.dropped |= self.connection.buffered() < before;
    }

    /// After the end of the connection: tells it of the transport's end, and as long as a client waits
    /// for that (section 7.1.1), or our last bytes for a peer that has failed, reads and drops what still
    /// comes. A bounded piece of that work.
    pub fn await_end<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        scratch: &mut RecvBuffer,
        now: Instant,
    ) -> Flushed {
        self.connection.note_rest(scratch);
        let mut flushed = self.flush_at_the_end(transport, ready, now);
        if flushed == Flushed::Shutdown || !self.drops_what_arrives() || !ready.read {
            return flushed;
        }
        scratch.clear();
        let mut reads = 0;
        while self.drops_what_arrives() && ready.read && reads < READS {
            match transport.read(scratch.spare(SHORT_TAIL)) {
                Io::Moved(count @ 1..) => {
                    reads += 1;
                    self.connection.note_dropped(count as u64);
                }
                Io::Blocked => ready.note_blocked(),
                Io::Moved(_) | Io::Lost => {
                    self.eof = true;
                    flushed = self.flush_at_the_end(transport, ready, now);
                }
            }
        }
        flushed
    }

    /// Tells the connection of the transport's end, if it has come, and writes what is queued.
    fn flush_at_the_end<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
    ) -> Flushed {
        if self.eof || self.broken {
            self.connection.handle_eof(now);
        }
        self.flush(transport, ready, now)
    }

    /// Whether what still comes is read and dropped: the peer is to end the transport, or it has failed,
    /// and may write to its end before it reads our last bytes.
    fn drops_what_arrives(&self) -> bool {
        let waits = || self.connection.buffered() > 0 && !self.eof && !self.broken;
        self.awaits_end() || (waits() && self.connection.closure().is_some_and(|closure| !closure.clean))
    }

    /// Whether the peer is to end the transport: it is a server, and has not.
    fn awaits_end(&self) -> bool {
        self.connection.role() == Role::Client && !self.eof && !self.broken
    }

    /// How the transport ends, now that [`flush`](Turn::flush) has said
    /// [`Shutdown`](Flushed::Shutdown).
    ///
    /// Lingering is for a peer that may still send, and has something to read. It is left out where the
    /// peer has ended its direction, or is gone, or is given up; and after a clean end, unless a client
    /// has sent more behind its Close frame: closing on that would reset it.
    #[must_use]
    pub fn leave(&self, ready: &Ready) -> Leave {
        let Some(closure) = self.connection.closure() else { return Leave::Close };
        let gone = matches!(
            closure.cause,
            Some(Error::TransportLost | Error::Aborted | Error::Timeout(Timeout::Write | Timeout::Close))
        );
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1
        //# The underlying TCP connection, in most normal cases, SHOULD be closed
        //# first by the server, so that it holds the TIME_WAIT state and not the
        //# client
        let is_clean = closure.clean && (self.connection.role() == Role::Client || !ready.read);
        if gone || is_clean || self.eof || self.broken { Leave::Close } else { Leave::Linger }
    }

    /// Begins to linger, after [`Leave::Linger`]: for a peer that has failed, until the frame has come in
    /// which it did.
    ///
    /// A client's application waits for the end of the transport: it lingers for
    /// [`Config::close_timeout`](framewright::Config::close_timeout) at the most, a server for a minute.
    pub fn linger<T: Transport>(&self, transport: &mut T, ready: &Ready, now: Instant) -> Lingering {
        if self.connection.closure().is_some_and(|closure| closure.clean) {
            return Lingering::briefly(transport, now);
        }
        let config = self.connection.config();
        let rest = Rest {
            announced: self.connection.unreceived(),
            most: config.max_message.saturating_mul(2).saturating_add(BEHIND_A_FRAME),
            time: match self.connection.role() {
                Role::Server => Rest::TIME,
                Role::Client => config.close_timeout,
            },
        };
        Lingering::begin(transport, ready, rest, now)
    }

    /// The application has panicked in [`run`](Turn::run): fails the connection with 1011 (section
    /// 7.4.1). What it was lent is dropped, but for a transmit buffer in which something is queued.
    /// What had arrived is lost: where the next frame begins is unknown. Other connections lose
    /// nothing.
    #[cold]
    pub fn after_panic(&mut self, lent: &mut Lent, now: Instant) {
        lent.discard(&mut self.connection);
        self.parked = None;
        self.undecoded = false;
        self.connection.fail(now, CloseCode::INTERNAL_ERROR, "internal error");
    }

    /// Tells the application what it has not been told, and writes what can be written: for a driver
    /// that has failed or aborted the connection outside a turn.
    pub fn finish<T: Transport, A: Application<T>>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        now: Instant,
        application: &mut A,
    ) -> Flushed {
        let mut no_bound = usize::MAX;
        self.settle(transport, ready, now, &mut no_bound, application)
    }

    /// Bytes of memory that the connection holds between its turns: what has come of an incomplete frame
    /// or message, what waits to be sent, and the room around both. What compression holds is counted
    /// elsewhere ([`DeflateMemory`](framewright::deflate::DeflateMemory)).
    #[inline]
    #[must_use]
    pub fn held(&self) -> usize {
        self.parked.as_ref().map_or(0, |parked| parked.allocated()) + self.connection.allocated()
    }

    /// Bytes that the turn before has moved towards letting go of what is [`held`](Turn::held): read, or
    /// written where more is held to be sent. `lent` is what that turn had, and no other has had since.
    #[must_use]
    pub fn progress(&self, lent: &Lent) -> usize {
        let received = self.parked.as_ref().map_or(0, |parked| parked.allocated());
        if self.connection.allocated() > received { SHARE - lent.share } else { lent.read }
    }

    /// Ends the connection, since others need what it holds: with 1013
    /// ([`LimitExceeded::Memory`](framewright::LimitExceeded::Memory)). What has come of a message is
    /// dropped, and what the transport does not take at once of what waits, the Close frame too. The
    /// application hears of it in the next turn.
    #[cold]
    pub fn give_way<T: Transport>(&mut self, transport: &mut T, ready: &mut Ready, now: Instant) {
        self.connection.fail_for_memory(now);
        if let Some(parked) = self.parked.take() {
            self.connection.note_rest(&parked);
        }
        self.undecoded = false;
        if self.flush(transport, ready, now) == Flushed::Blocked {
            self.with_drops(|connection| connection.handle_transport_error(now));
        }
    }

    /// What follows a turn that ended with a panic.
    #[must_use]
    pub fn after(&self, flushed: Flushed, ready: &Ready) -> Next {
        match flushed {
            Flushed::Shutdown => Next::Leave(self.leave(ready)),
            Flushed::Paused => Next::Again,
            // The peer may have to write all before it reads.
            Flushed::Blocked if self.is_over() && self.drops_what_arrives() && ready.read => Next::Again,
            Flushed::All | Flushed::Blocked => Next::Wait,
        }
    }

    /// The next event of what has arrived, reading into `rx` as far as that takes: for a driver that
    /// hands over one event at a time, from a buffer that the connection keeps.
    ///
    /// `None`: there is none without waiting; or a mebibyte was read that came to none, others want
    /// their turn, and [`Ready::read`] is still set.
    pub fn next_event<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        read_size: usize,
        now: Instant,
    ) -> Option<Decoded> {
        let mut read = 0;
        loop {
            if let Some(decoded) = self.connection.decode(now, rx) {
                if self.connection.state() == State::Closed {
                    self.connection.note_rest(rx);
                }
                return Some(decoded);
            }
            if self.connection.state() == State::Closed {
                return None;
            }
            if self.eof {
                self.connection.handle_eof(now);
            } else if ready.read && read < LOOK {
                read += self.read(transport, ready, rx, own_reach(rx, read_size));
            } else {
                return None;
            }
        }
    }

    /// Reads ahead into `rx` while a sender waits for the peer to take something. Returns whether there
    /// is more to read.
    pub fn read_on<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        read_size: usize,
    ) -> bool {
        self.read_ahead(transport, ready, rx, read_size);
        self.may_read_ahead(ready, rx.unread())
    }

    /// Sets [`Ready::due`] by the time, for a driver that has no timers: whether a deadline of the
    /// connection has passed. Returns whether so much was read since that it has to be acted on now.
    pub fn note_time(&mut self, ready: &mut Ready, now: Instant) -> bool {
        ready.due = self.deadline().is_some_and(|deadline| deadline <= now);
        if !ready.due && !self.broken {
            self.looked = 0;
        }
        self.is_overdue(ready)
    }

    /// When the next turn is due at the latest; `None` if there is no deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// Whether the last turn has moved 64 KiB or more, or has left something unsent or a large message
    /// incomplete: the next one is likely to be a long one, and nobody waits for the answer to a short
    /// message. Bytes tell, and not the time that a turn took: a thread whose write wakes its peer may
    /// lose its processor to it.
    #[must_use]
    pub fn is_in_bulk(&self) -> bool {
        self.bulk
            || self.connection.buffered() > 0
            || self.parked.as_ref().is_some_and(|parked| parked.len() > SHORT_TAIL)
    }

    /// Whether writing has failed, or was given up.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether nothing more will be read: the end of the stream was, or the transport has failed.
    #[must_use]
    pub fn has_eof(&self) -> bool {
        self.eof
    }

    /// Whether queued bytes were dropped.
    #[must_use]
    pub fn has_dropped(&self) -> bool {
        self.dropped
    }

    /// Whether the connection has ended and the application has been told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connection.state() == State::Closed && !self.connection.has_event()
    }

    /// How the connection has ended; `None` before.
    ///
    /// A closing handshake of which our Close frame was dropped was not completed.
    #[must_use]
    pub fn closure(&self) -> Option<Closure> {
        self.connection.closure().map(|closure| self.corrected(closure))
    }

    fn corrected(&self, mut closure: Closure) -> Closure {
        if closure.clean && (self.dropped || (self.broken && self.connection.buffered() > 0)) {
            closure.clean = false;
            closure.cause = Some(Error::TransportLost);
        }
        if self.late && closure.cause == Some(Error::TransportLost) {
            closure.cause = Some(Error::Timeout(Timeout::Write));
        }
        closure
    }
}

/// What the next read into a buffer of the connection's own needs, and asks for at most: never a few
/// bytes at the end of the buffer.
fn own_reach(rx: &RecvBuffer, read_size: usize) -> (usize, usize) {
    let (least, most) = parking::reach(rx, true, read_size);
    (least.max(SHORT_TAIL), most)
}

/// What a peer may send behind a frame of twice the largest message, while it lingers: its Close frame,
/// and what else lay in its queue.
const BEHIND_A_FRAME: u64 = 256 << 10;

/// Writes the first `len` bytes of `slices`, which hold more.
#[cold]
fn write_part<T: Transport>(transport: &mut T, slices: &[IoSlice<'_>], mut len: usize) -> Io {
    let mut part = [IoSlice::new(&[]); SLICES];
    let mut used = 0;
    for (slot, slice) in part.iter_mut().zip(slices) {
        let count = slice.len().min(len);
        *slot = IoSlice::new(&slice[..count]);
        len -= count;
        used += 1;
        if len == 0 {
            break;
        }
    }
    transport.write(&part[..used])
}

/// How many slices one write offers to the transport.
const SLICES: usize = 8;

/// The most bytes that a turn writes: about a millisecond of work, and as much as a socket takes at
/// once. With a quarter of it messages of 16 MiB cost 3 % more. A long message that is written
/// through is offered whole, for what is not taken is copied; when the share is used up all of it is.
const SHARE: usize = 4 << 20;

/// A turn that moves as many bytes takes as long as many small ones.
const BULK: usize = 64 << 10;

/// What has arrived is read before a deadline, or a transport that takes nothing more, ends the
/// connection. This many KiB are read then at the most, more than a socket holds: a peer that goes on
/// sending does not put the end off for ever.
const LAST_LOOK: u16 = 8 << 10;

/// The most bytes that are read without an event in one go: others want their turn.
const LOOK: usize = 1 << 20;

/// The most bytes that are read ahead, where a message may be longer.
const READ_AHEAD: u64 = 64 << 20;

/// How many reads of a client that waits for the transport's end one turn makes.
const READS: usize = 16;
