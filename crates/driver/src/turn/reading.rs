//! Reading and decoding in a turn.

use super::Turn;
use super::application::{Application, Current};
use crate::lent::Lent;
use crate::parking::{self, SHORT_TAIL};
use crate::transport::{Io, Ready, Transport};
use framewright::{Decoded, Event, RecvBuffer, Role, State};
use std::time::Instant;

impl Turn {
    /// Reads once and hands over all decoded events.
    pub(super) fn receive<T: Transport, A: Application<T>>(
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
        let Lent { rx: shared, large, tails, read, share, stood, .. } = lent;
        let mut own = self.parked.take();
        if let Some(parked) = &own {
            *stood = Some(self.stands(parked));
        }
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
            // The application is notified of the end once queued bytes have been written.
            let Turn { connection, broken, .. } = self;
            let mut current = Current { connection, transport, now, broken, share };
            let has_room = current.hand_over(rx, application);
            // Room is reported after the events of what has arrived: an application that fills it
            // at once would otherwise never hear its peer. There is no room once writing has
            // failed.
            if has_room && current.connection.is_writable() && !*current.broken {
                application.on_event(&mut current, Event::Writable);
            }
        }
        if self.connection.state() == State::Closed {
            self.connection.driver().note_rest(rx);
            rx.clear();
        }
        self.undecoded = rx.has_undecoded()
            && (!self.connection.wants_read() || self.connection.driver_view().has_inflate_work());
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

    /// Whether [`receive`](Turn::receive) has work.
    #[inline]
    pub(super) fn may_receive(&self, ready: &Ready) -> bool {
        if self.connection.wants_read() {
            return self.undecoded || self.eof || ready.read;
        }
        self.may_read_ahead(ready, self.parked.as_ref().map_or(0, |parked| parked.unread()))
    }

    /// Reads once. `least` is the room in bytes that there must be, `most` the most bytes to ask
    /// for. Returns the number of bytes read.
    pub(super) fn read<T: Transport>(
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
                // After a failed write, only a read that finds nothing ends reading.
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

    /// Reads a part of what has arrived without decoding it, while the send queue is full.
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

    /// Whether more may be read ahead, given that `undecoded` bytes are held already.
    ///
    /// Only a client reads ahead. If both sides stopped reading until the other side reads, both
    /// would wait for ever. So the client reads on, up to the size of a message. A server has many
    /// clients, which it need not trust: it applies backpressure to them.
    #[inline]
    fn may_read_ahead(&self, ready: &Ready, undecoded: usize) -> bool {
        ready.read
            && !self.eof
            && self.connection.role() == Role::Client
            && self.connection.state() != State::Closed
            && undecoded as u64 <= self.connection.config().max_message.min(READ_AHEAD)
    }

    /// Returns the next event, and reads into `rx` as far as that takes: for a driver that hands
    /// over one event at a time, from a buffer that the connection keeps.
    ///
    /// `None` if there is no event without waiting. Also `None` so that other connections have their
    /// turns:
    ///
    /// - if 1 MiB was read without an event; [`Ready::read`] then stays set;
    /// - if decoding has stopped in the middle of a compressed message
    ///   ([`DriverView::has_inflate_work`](framewright::connection::DriverView::has_inflate_work)).
    pub fn next_event<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        read_size: usize,
        now: Instant,
    ) -> Option<Decoded> {
        self.next_event_reaching(transport, ready, rx, now, |rx| own_reach(rx, read_size))
    }

    /// Returns the next event, as [`next_event`](Turn::next_event) does, with the read size of `lent`.
    /// A message for which `rx` has no room is moved to a larger buffer of `lent`, if there is one,
    /// instead of growing this one.
    pub fn next_event_pooled<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        lent: &mut Lent,
        now: Instant,
    ) -> Option<Decoded> {
        let read_size = lent.read_size();
        self.next_event_reaching(transport, ready, rx, now, |rx| {
            let reach = own_reach(rx, read_size);
            if !rx.is_empty() {
                parking::grow(rx, reach.0, &mut lent.large, now);
            }
            reach
        })
    }

    /// The next event. `reach` says how far the next read goes, and makes room for it.
    #[inline]
    fn next_event_reaching<T: Transport>(
        &mut self,
        transport: &mut T,
        ready: &mut Ready,
        rx: &mut RecvBuffer,
        now: Instant,
        mut reach: impl FnMut(&mut RecvBuffer) -> (usize, usize),
    ) -> Option<Decoded> {
        let mut read = 0;
        loop {
            if let Some(decoded) = self.connection.decode(now, rx) {
                if self.connection.state() == State::Closed {
                    self.connection.driver().note_rest(rx);
                }
                return Some(decoded);
            }
            if self.connection.state() == State::Closed || self.connection.driver_view().has_inflate_work() {
                return None;
            }
            if self.eof {
                self.connection.handle_eof(now);
            } else if ready.read && read < LOOK {
                let reach = reach(rx);
                read += self.read(transport, ready, rx, reach);
            } else {
                return None;
            }
        }
    }

    /// Reads ahead into `rx` while a sender waits for the peer to accept bytes. Returns whether
    /// there is more to read.
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
}

/// The least room for the next read into the connection's own buffer, and the most bytes to ask
/// for: never just a few bytes at the end of the buffer.
fn own_reach(rx: &RecvBuffer, read_size: usize) -> (usize, usize) {
    let (least, most) = parking::reach(rx, true, read_size);
    (least.max(SHORT_TAIL), most)
}

/// The most bytes that are read at once without an event, before other connections have their
/// turns.
const LOOK: usize = 1 << 20;

/// The most bytes that are read ahead, even if a message may be longer.
const READ_AHEAD: u64 = 64 << 20;
