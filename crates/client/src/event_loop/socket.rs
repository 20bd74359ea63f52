//! The interface to an open connection of an event loop.

use super::buffers::Buffers;
use crate::commands::commands;
use framewright::{CloseCode, Connection, SendError, State, Stats};
use std::time::Instant;

/// An open connection, for the duration of a callback, or between two turns
/// ([`Client::socket`](super::Client::socket)).
///
/// No call waits: the bytes sent are collected, and written at the end of the turn. A message is
/// refused, and not queued, when:
///
/// - [`Config::high_water`](crate::Config::high_water) bytes are queued
///   ([`SendError::Full`]); [`Event::Writable`](super::Event::Writable) follows.
/// - the connection is closing.
#[derive(Debug)]
pub struct Socket<'a> {
    connection: &'a mut Connection,
    now: Instant,
    /// `None` in a callback.
    between: Option<BetweenTurns<'a>>,
}

/// The references that a socket needs between two turns; in a turn, the client has them.
#[derive(Debug)]
struct BetweenTurns<'a> {
    /// Set when the next turn has work to do.
    used: &'a mut bool,
    /// The lender of the buffers that the connection sends with.
    buffers: &'a mut Buffers,
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        if let Some(between) = &mut self.between {
            between.buffers.lent.reclaim(self.connection, self.now);
        }
    }
}

commands!(Socket<'_>);

impl<'a> Socket<'a> {
    pub(super) fn new(connection: &'a mut Connection, now: Instant) -> Self {
        Socket { connection, now, between: None }
    }

    /// A socket between two turns; `used` is set when the next turn has work to do.
    pub(super) fn between_turns(
        connection: &'a mut Connection,
        now: Instant,
        used: &'a mut bool,
        buffers: &'a mut Buffers,
    ) -> Self {
        buffers.lent.lend(connection, None, now);
        Socket { connection, now, between: Some(BetweenTurns { used, buffers }) }
    }

    fn note_use(&mut self) {
        if let Some(between) = &mut self.between {
            *between.used = true;
        }
    }

    /// Ends the connection with `code`, without waiting for the server. Use it if the server broke
    /// the application's rules (1003, 1008), or if the application cannot continue. A `reason` over
    /// 123 bytes is cut between characters.
    pub fn fail(&mut self, code: CloseCode, reason: &str) {
        self.note_use();
        self.connection.fail(self.now, code, reason);
    }

    /// Drops the connection: no Close frame is sent, and the bytes queued are discarded.
    pub fn abort(&mut self) {
        self.note_use();
        self.connection.abort(self.now);
    }

    /// True if a message would be accepted now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.connection.is_writable()
    }

    /// True while messages can be sent: the closing handshake has not begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.state() == State::Open
    }

    /// The number of bytes queued.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.connection.buffered()
    }

    /// The subprotocol that the server selected, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.subprotocol()
    }

    /// The negotiated parameters of permessage-deflate, if it was negotiated.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.connection.deflate()
    }

    /// Statistics of the connection so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    #[inline]
    fn transmit(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        self.note_use();
        command(self.connection)
    }
}
