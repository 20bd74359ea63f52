//! The state that the two halves of a blocking client share: the connection on its socket, behind a
//! lock that is never held while a half waits.

use crate::connection::{ClientConnection, OpenClient};
use framewright::handshake::{ServerResponse, WsUri};
use framewright::{CloseCode, Closure, Connection, SendError, Stats};
use mio::Waker;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

pub(super) struct Shared {
    watched: Mutex<Watched>,
    /// Wakes the receiving half while it waits.
    waker: Arc<Waker>,
    pub(super) uri: WsUri,
    pub(super) response: ServerResponse,
    pub(super) subprotocol: Option<Box<str>>,
}

/// A connection, and the time when a half last drove it.
pub(super) struct Watched {
    pub(super) connection: ClientConnection,
    looked: Instant,
    /// The receiving half waits for events.
    waiting: bool,
    /// The idle deadline was extended once since the last event: see [`Watched::look`].
    excused: bool,
    /// How long a call that sends may take.
    send_timeout: Option<Duration>,
    /// Wakes the sending half while it waits for room in the socket.
    sender: Option<Arc<Waker>>,
}

/// The connection, while one half has locked it. If that half panics meanwhile, the other one is
/// woken and reports the end.
pub(super) struct Locked<'a> {
    shared: &'a Shared,
    /// `None` only while this is being dropped.
    watched: Option<MutexGuard<'a, Watched>>,
    was_panicking: bool,
}

impl Deref for Locked<'_> {
    type Target = Watched;

    #[inline]
    fn deref(&self) -> &Watched {
        self.watched.as_ref().expect("it is locked")
    }
}

impl DerefMut for Locked<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Watched {
        self.watched.as_mut().expect("it is locked")
    }
}

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.watched = None;
        if !self.was_panicking && thread::panicking() {
            self.shared.abort();
        }
    }
}

/// An application that returns within this time has not been away: the server's silence counts.
const AWAY: Duration = Duration::from_secs(1);

impl Watched {
    /// Notes that the application looks at the events. If it was away for long, the idle deadline
    /// is extended by that time: without Pings from here the server had no reason to send anything.
    pub(super) fn look(&mut self, now: Instant) {
        let away = now.saturating_duration_since(self.looked);
        // Once only: a Ping that is due leaves when the application returns, and the server can
        // answer that.
        if !std::mem::take(&mut self.waiting) && away > AWAY && !self.excused {
            self.connection.turn.connection.driver().extend_idle_deadline(away);
            self.excused = true;
        }
        self.looked = now;
    }

    /// Notes that an event has arrived.
    pub(super) fn note_event(&mut self) {
        self.excused = false;
    }

    /// Notes that an event has arrived that the application was not waiting for. A silence of the
    /// server counts from here.
    pub(super) fn note_kept(&mut self, now: Instant) {
        self.excused = false;
        self.looked = now;
    }

    /// Notes that the receiving half goes on to wait for events.
    pub(super) fn wait(&mut self) {
        self.waiting = true;
    }

    /// Writes the bytes that the kernel takes. If this call writes what the sending half waits to
    /// write, no event of the socket wakes that half, so this call does.
    pub(super) fn flush(&mut self, now: Instant) {
        self.connection.flush(now);
        self.release_sender();
    }

    /// Wakes the sending half if it has nothing to wait for any more.
    pub(super) fn release_sender(&mut self) {
        if !self.has_to_write()
            && let Some(sender) = self.sender.take()
        {
            // If this fails, that half returns at its own deadline.
            let _ = sender.wake();
        }
    }

    /// Notes that the sending half goes on to wait for room. Returns false if there is nothing to
    /// wait for any more.
    pub(super) fn wait_for_room(&mut self, waker: Option<Arc<Waker>>) -> bool {
        self.sender = waker;
        self.has_to_write()
    }

    /// Notes that the sending half has waited. Returns true if it has to drop its duplicate of the
    /// descriptor.
    pub(super) fn end_wait(&mut self) -> bool {
        self.sender = None;
        self.connection.stream().ends_with_its_names()
    }

    /// True while the sending half waits for room.
    #[cfg(test)]
    pub(super) fn is_awaited(&self) -> bool {
        self.sender.is_some()
    }

    fn has_to_write(&self) -> bool {
        self.connection.turn.connection.buffered() > 0 && !self.connection.turn.is_broken()
    }
}

impl Shared {
    pub(super) fn new(
        client: OpenClient,
        send_timeout: Option<Duration>,
        waker: Arc<Waker>,
        now: Instant,
    ) -> Arc<Shared> {
        let OpenClient { connection, uri, response } = client;
        let subprotocol = connection.turn.connection.subprotocol().map(Box::from);
        let watched =
            Watched { connection, looked: now, waiting: false, excused: false, send_timeout, sender: None };
        Arc::new(Shared { watched: Mutex::new(watched), waker, uri, response, subprotocol })
    }

    /// A stream that the application supplied may panic under the lock, which leaves it in an
    /// unknown state. The connection is then dropped.
    pub(super) fn lock(&self) -> Locked<'_> {
        let watched = self.watched.lock().unwrap_or_else(|poisoned| {
            let mut watched = poisoned.into_inner();
            self.watched.clear_poison();
            watched.connection.cut_now(Instant::now());
            watched.release_sender();
            watched
        });
        Locked { shared: self, watched: Some(watched), was_panicking: thread::panicking() }
    }

    pub(super) fn set_send_timeout(&self, timeout: Option<Duration>) {
        self.lock().send_timeout = timeout;
    }

    /// Queues the message of `command`, and writes until the kernel has taken all queued bytes.
    /// While the kernel takes no more, calls `wait` with the latest time to return. After the send
    /// timeout, or at `deadline` if that is earlier, gives up writing for good.
    pub(super) fn transmit(
        &self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
        deadline: Option<Instant>,
        wait: &mut dyn FnMut(Option<Instant>),
    ) -> Result<(), SendError> {
        let begun = Instant::now();
        let mut queued = None;
        loop {
            let come_back = {
                let mut watched = self.lock();
                let now = Instant::now();
                let timeout = watched.send_timeout.and_then(|timeout| begun.checked_add(timeout));
                let last = timeout.into_iter().chain(deadline).min();
                let client = &mut watched.connection;
                let state =
                    |client: &ClientConnection| (client.turn.connection.state(), client.turn.is_broken());
                let before = state(client);
                client.flush(now);
                client.handle_send_timeout(now);
                if queued.is_none() && !client.turn.is_broken() {
                    match command(&mut client.turn.connection) {
                        Ok(()) => queued = Some(client.turn.connection.buffered()),
                        Err(SendError::Full) => {}
                        Err(error) => return Err(error),
                    }
                }
                watched.flush(now);
                let client = &mut watched.connection;
                if before != state(client) {
                    // The other half waits for an earlier state: for old deadlines, or for too
                    // little.
                    self.wake();
                }
                if client.turn.is_broken() {
                    return Err(SendError::Closed);
                }
                if client.turn.connection.buffered() == 0
                    && let Some(bytes) = queued
                {
                    client.trim(bytes);
                    // The connection may have ended meanwhile, and the queued bytes been dropped.
                    return if client.turn.has_dropped() { Err(SendError::Closed) } else { Ok(()) };
                }
                if last.is_some_and(|last| last <= now) {
                    client.give_up_sending(now);
                    self.wake();
                    return Err(SendError::Closed);
                }
                client.turn.connection.driver_view().poll_send_timeout().into_iter().chain(last).min()
            };
            wait(come_back);
        }
    }

    /// Drops the connection, and wakes every half that waits.
    pub(super) fn abort(&self) {
        let mut watched = self.lock();
        watched.connection.drop_now(Instant::now());
        watched.release_sender();
        drop(watched);
        self.wake();
    }

    /// Queues a Close frame behind the bytes queued, and writes as much as the kernel takes at
    /// once.
    pub(super) fn start_to_close(&self, code: Option<CloseCode>, reason: &str) -> Result<(), SendError> {
        let mut watched = self.lock();
        let now = Instant::now();
        watched.connection.turn.connection.close(code, reason)?;
        watched.connection.flush(now);
        drop(watched);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // If this fails, the other half returns at its own deadline.
        let _ = self.waker.wake();
    }

    pub(super) fn closure(&self) -> Option<Closure> {
        self.lock().connection.closure()
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().connection.turn.connection.stats()
    }
}
