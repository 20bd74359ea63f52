//! What a callback can do with its connection.

use crate::api::handle::{Handle, HandleError, Remote};
use crate::event_loop::mailbox::Mailbox;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{PeerAddr, Stream};
use crate::event_loop::timers::{Timers, TooManyTimers};
use crate::memory::ledger::Ledger;
use crate::stats::RouteCounters;
#[cfg(feature = "tls")]
use crate::tls::info::TlsInfo;
use crate::topics::subscriptions::Subscriptions;
use framewright::{CloseCode, Config, Connection, Message, Prepared, SendError, State, Stats};
use framewright_driver::Current;
use std::any::Any;
use std::cell::{OnceCell, RefCell, RefMut};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages of at least this many bytes are written from where they lie, behind the queued bytes.
/// Below it, copying is cheaper: one contiguous write costs less than a vectored one.
pub(crate) const WRITE_THROUGH: usize = 16 << 10;

/// The connection that a callback is called for. Nothing here blocks.
///
/// Messages are queued, and written once everything that has arrived is handled. A message is
/// refused, and not queued, if [`Config::high_water`] bytes are queued or the connection is
/// closing.
///
/// Messages that this thread has sent through handles of the connection come before those it sends
/// here. If the connection has no room for all of them:
///
/// - Sending here fails with [`SendError::Full`], even if [`is_writable`](Socket::is_writable) has
///   returned true.
/// - [`close`](Socket::close) queues its Close frame behind them.
/// - [`fail`](Socket::fail) and [`abort`](Socket::abort) do not wait.
///
/// While a message is being sent in fragments, the messages of handles wait for its end. Fragments,
/// Pings and a Close frame overtake them.
pub struct Socket<'a> {
    pub(crate) current: Current<'a, Stream>,
    pub(crate) own: &'a OwnParts<'a>,
}

impl fmt::Debug for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The server's own parts of a connection that callbacks reach.
pub(crate) struct OwnParts<'b> {
    pub(crate) remote: &'b OnceCell<Arc<Remote>>,
    pub(crate) of_loop: &'b LoopParts,
    pub(crate) ledger: &'b Arc<Ledger>,
    pub(crate) counted: &'b RouteCounters,
    pub(crate) key: Key,
    pub(crate) id: u64,
}

/// The parts of their event loop that callbacks reach.
pub(crate) struct LoopParts {
    pub(crate) mailbox: Arc<Mailbox>,
    /// No callback of the application runs while this is borrowed.
    pub(crate) timers: RefCell<Timers>,
    /// Messages for the connection whose turn it is, if it has that errand.
    pub(crate) parcels: RefCell<Vec<Parcel>>,
    /// What the connections are subscribed to. No callback of the application runs while this is
    /// borrowed.
    pub(crate) topics: RefCell<Subscriptions>,
    /// The server's handle, once the loop belongs to a server. Its type is left out, because the
    /// handle's methods lead back to what a callback can do: this file and that of the handle would
    /// depend on each other.
    pub(crate) server: Option<Box<dyn Any + Send>>,
}

/// A message for all connections.
pub(crate) struct Parcel {
    pub(crate) message: Prepared,
    /// The index of the message among those being sent to all connections.
    pub(crate) number: usize,
    /// The result of sending it; `None` if the turn did not reach it.
    pub(crate) outcome: Option<Result<(), HandleError>>,
    /// There was no room for it after those sent in the same turn.
    pub(crate) waits_for_room: bool,
}

impl OwnParts<'_> {
    /// Sends the messages that this thread has sent through handles, as far as there is room.
    #[inline]
    pub(crate) fn catch_up(&self, connection: &mut Connection, now: Instant) {
        if let Some(remote) = self.remote.get()
            && remote.has_own()
        {
            remote.send_own(connection, now);
        }
    }

    pub(crate) fn timers(&self) -> RefMut<'_, Timers> {
        self.of_loop.timers.borrow_mut()
    }

    pub(crate) fn forget_timers(&self) {
        self.timers().forget(self.key);
    }

    /// The handle of the connection, created with the first call.
    pub(crate) fn handle(&self, connection: &Connection) -> Handle {
        let OwnParts { remote, of_loop, ledger, key, id, .. } = self;
        let most = connection.config().high_water;
        let make =
            || Arc::new(Remote::new(*key, *id, Arc::clone(&of_loop.mailbox), Arc::clone(ledger), most));
        remote.get_or_init(make).handle()
    }

    /// Sends the loop's parcels, behind the items that handles have queued. Parcels for which the
    /// first ones leave no room wait for the next turn, since nothing is written yet.
    pub(crate) fn send_parcels(&self, connection: &mut Connection) {
        let mut is_first = true;
        for parcel in &mut *self.of_loop.parcels.borrow_mut() {
            let outcome = self.send_behind_handles(connection, &parcel.message);
            parcel.waits_for_room = outcome == Err(HandleError::Full) && !is_first;
            if parcel.waits_for_room {
                break;
            }
            is_first &= outcome != Ok(());
            parcel.outcome = Some(outcome);
        }
    }

    fn send_behind_handles(
        &self,
        connection: &mut Connection,
        message: &Prepared,
    ) -> Result<(), HandleError> {
        if connection.state() != State::Open {
            return Err(HandleError::Closed);
        }
        if connection.is_fragmenting() || self.remote.get().is_some_and(|remote| remote.has_queued()) {
            return self.handle(connection).send_prepared(message);
        }
        connection.send_prepared(message).map_err(|error| match error {
            SendError::Full => HandleError::Full,
            _ => HandleError::Closed,
        })
    }

    /// Closes the handles if the connection is no longer open.
    pub(crate) fn close_handles(&self, connection: &Connection) {
        if let Some(remote) = self.remote.get() {
            remote.close_with(connection);
        }
    }

    /// The handle queue, if it holds items that have to go before a Close frame and cannot go yet.
    fn owing(&self, connection: &Connection) -> Option<&Remote> {
        let remote = self.remote.get()?;
        let owes = remote.has_own() && connection.state() == State::Open && !connection.is_fragmenting();
        owes.then_some(remote)
    }
}

impl<'a> Socket<'a> {
    #[inline]
    pub(crate) fn new(current: &'a mut Current<'_, Stream>, own: &'a OwnParts<'a>) -> Self {
        Socket { current: current.reborrow(), own }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::FragmentInProgress`].
    #[inline]
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.catch_up();
        if message.len() < WRITE_THROUGH {
            self.current.connection.send(message)
        } else {
            self.current
                .write_through(|connection, write| connection.driver().send_with_writer(message, write))
        }
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// As for [`send`](Socket::send).
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send(Message::Text(text))
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// As for [`send`](Socket::send).
    pub fn send_binary(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.send(Message::Binary(payload))
    }

    /// Sends a message uncompressed, even if permessage-deflate was negotiated. Use it for
    /// incompressible data, and for secrets next to text that a stranger chose.
    ///
    /// # Errors
    /// As for [`send`](Socket::send).
    pub fn send_uncompressed(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.catch_up();
        self.current.connection.send_uncompressed(message)
    }

    /// Sends one fragment of a message, the last one with `last`.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::FragmentType`].
    pub fn send_fragment(&mut self, data: Message<'_>, last: bool) -> Result<(), SendError> {
        self.catch_up();
        if data.len() < WRITE_THROUGH {
            self.current.connection.send_fragment(data, last)
        } else {
            self.current.write_through(|connection, write| {
                connection.driver().send_fragment_with_writer(data, last, write)
            })
        }
    }

    /// Sends a message that was encoded once for many connections.
    ///
    /// # Errors
    /// As for [`send`](Socket::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.catch_up();
        self.current.connection.send_prepared(prepared)
    }

    /// Sends a Ping with at most 125 bytes.
    ///
    /// # Errors
    /// [`SendError::Closed`], [`SendError::Full`], or [`SendError::ControlTooLong`].
    pub fn ping(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.catch_up();
        self.current.connection.ping(data)
    }

    /// Starts the closing handshake. Messages still arrive until the peer has answered. If there is
    /// no room for the messages that this thread has sent through handles, the Close frame is
    /// queued behind them.
    ///
    /// # Errors
    /// [`SendError::Closed`], or [`SendError::CloseReason`] if `reason` has more than 123 bytes, or
    /// is not empty without a `code`. Never `Full`.
    pub fn close(&mut self, code: impl Into<Option<CloseCode>>, reason: &str) -> Result<(), SendError> {
        let code = code.into();
        self.catch_up();
        let Some(remote) = self.own.owing(self.current.connection) else {
            self.current.connection.close(code, reason)?;
            self.own.close_handles(self.current.connection);
            return Ok(());
        };
        remote.push_close(code, reason.to_owned()).map_err(|error| match error {
            HandleError::CloseReason => SendError::CloseReason,
            _ => SendError::Closed,
        })
    }

    /// Sends the messages that this thread has sent through handles before this one.
    #[inline]
    fn catch_up(&mut self) {
        self.own.catch_up(self.current.connection, self.current.now);
    }

    /// Ends the connection with `code`, without waiting for the peer. Use it if the peer broke the
    /// application's rules (1003, 1008) or if the application cannot go on (1011).
    pub fn fail(&mut self, code: CloseCode, reason: &str) {
        self.catch_up();
        self.current.connection.fail(self.current.now, code, reason);
        self.own.close_handles(self.current.connection);
    }

    /// Drops the connection without a Close frame and without sending queued bytes.
    pub fn abort(&mut self) {
        self.current.connection.abort(self.current.now);
        self.own.close_handles(self.current.connection);
    }

    /// Returns a handle that sends from any thread.
    pub fn handle(&mut self) -> Handle {
        self.own.handle(self.current.connection)
    }

    /// Sets a timer: [`Handler::on_timer`](crate::Handler::on_timer) is called with `token` when
    /// `after` has passed, once.
    ///
    /// For a repeated timer, set it again in the callback. Setting a `token` that already has a
    /// timer replaces that timer. The handler decides what a token means; each connection has its
    /// own tokens.
    ///
    /// | | |
    /// |---|---|
    /// | when | never early; late by a tick of 17 ms, and by what else the event loop has to do |
    /// | what has arrived | is handed over before, as far as one read takes it: a message in the socket can still put the timer off |
    /// | a deadline of the connection that has passed too | comes before, and can end the connection |
    /// | several that are due | in the order of their times, then of setting |
    /// | zero, or set in the callback of a timer | with the next tick |
    /// | too long for the clock | never |
    /// | the closing handshake, a server that stops | timers go on until [`on_close`](crate::Handler::on_close), and none comes after it |
    ///
    /// A connection without timers holds no memory for them. One with up to four holds about 250
    /// bytes, and 32 more for each further timer.
    ///
    /// ```
    /// use framewright_server::{CloseCode, Decision, Handler, Incoming, Message, Socket};
    /// use std::time::Duration;
    ///
    /// /// Ends connections that say nothing for a minute.
    /// struct Impatient;
    ///
    /// const SILENT: u64 = 1;
    ///
    /// impl Handler for Impatient {
    ///     type State = ();
    ///
    ///     fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
    ///         request.accept(())
    ///     }
    ///
    ///     fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
    ///         let _ = socket.set_timer(SILENT, Duration::from_secs(60)); // far from 64 timers
    ///     }
    ///
    ///     fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), _: Message<'_>) {
    ///         let _ = socket.set_timer(SILENT, Duration::from_secs(60));
    ///     }
    ///
    ///     fn on_timer(&self, socket: &mut Socket<'_>, _: &mut (), _token: u64) {
    ///         let _ = socket.close(CloseCode::POLICY_VIOLATION, "say something");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TooManyTimers`] if there are 64 with other tokens.
    pub fn set_timer(&mut self, token: u64, after: Duration) -> Result<(), TooManyTimers> {
        // The time of the turn is its beginning, and earlier callbacks may have taken long.
        let deadline = self.current.now.max(Instant::now()).checked_add(after);
        let mut timers = self.own.timers();
        match deadline {
            Some(deadline) => timers.set(self.own.key, token, deadline),
            None => {
                timers.cancel(self.own.key, token);
                Ok(())
            }
        }
    }

    /// Cancels the timer with this `token`, even if it is due. Returns whether there was one.
    pub fn cancel_timer(&mut self, token: u64) -> bool {
        self.own.timers().cancel(self.own.key, token)
    }

    /// Whether the connection would take a message now.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.current.connection.is_writable()
    }

    /// Bytes queued for the peer.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.current.connection.buffered()
    }

    /// Whether the closing handshake has not begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.current.connection.state() == State::Open
    }

    /// The peer's address: that of a proxy, if one stands in front of the server.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.current.transport.peer_addr()
    }

    /// What was agreed on in the TLS handshake, and the client's certificates; `None` on an endpoint
    /// without [TLS](crate::Endpoint::with_tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo<'_>> {
        self.current.transport.tls()
    }

    /// The negotiated subprotocol, if any.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.current.connection.subprotocol()
    }

    /// The negotiated parameters of permessage-deflate, if any.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.current.connection.deflate()
    }

    /// The connection's settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.current.connection.config()
    }

    /// Messages and bytes sent and received so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.current.connection.stats()
    }

    /// The number of the connection, counted from 1. A server never uses a number twice.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.own.id
    }
}
