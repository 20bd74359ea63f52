//! What an application does with a connection of its event loop.

use super::buffers::Buffers;
use crate::commands::commands;
use framewright::{CloseCode, Connection, SendError, State, Stats};
use std::time::Instant;

/// An open connection, for the length of a callback, or between two turns
/// ([`Client::socket`](super::Client::socket)). Nothing here waits: what is sent is collected, and
/// written at the end of the turn. Sending is refused, and nothing queued, when
/// [`Config::high_water`](framewright::Config::high_water) octets wait ([`SendError::Full`], then
/// [`Event::Writable`](super::Event::Writable) follows), or when the connection is closing.
#[derive(Debug)]
pub struct Socket<'a> {
    connection: &'a mut Connection,
    now: Instant,
    /// `None` in a callback.
    between: Option<BetweenTurns<'a>>,
}

/// What a socket has between two turns that in a turn the client has.
#[derive(Debug)]
struct BetweenTurns<'a> {
    /// Set when there is something to do for the next turn.
    used: &'a mut bool,
    /// Who has lent what the connection sends with.
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

    /// Between two turns; `used` is set when there is something to do for the next one.
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

    /// Ends the connection with this code, without waiting for the server: for one that broke the
    /// application's rules (1003,
    /// 1008) or when the application cannot go on. A reason over 123 octets is cut between characters.
    pub fn fail(&mut self, code: CloseCode, reason: &str) {
        self.note_use();
        self.connection.fail(self.now, code, reason);
    }

    /// Drops the connection: no Close frame, nothing of what waits.
    pub fn abort(&mut self) {
        self.note_use();
        self.connection.abort(self.now);
    }

    /// Whether a message would be taken now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.connection.is_writable()
    }

    /// Whether the closing handshake has not begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.state() == State::Open
    }

    /// Octets that wait to be sent.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.connection.buffered()
    }

    /// The subprotocol that the server has chosen, if it has.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.subprotocol()
    }

    /// What was agreed on for permessage-deflate, if anything.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.connection.deflate()
    }

    /// What went over the connection so far.
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
