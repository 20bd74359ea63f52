//! What the two halves of a blocking client share: the connection on its socket, behind a lock that nobody holds while waiting.

use crate::link::Link;
use framewright::handshake::{ServerResponse, WsUri};
use framewright::{Closure, Connection, SendError, State, Stats};
use mio::Waker;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

pub(super) struct Shared {
    watched: Mutex<Watched>,
    /// Wakes the receiving half where it waits.
    waker: Arc<Waker>,
    pub(super) uri: WsUri,
    pub(super) response: ServerResponse,
    pub(super) subprotocol: Option<Box<str>>,
}

/// A connection, and whether somebody looks at what comes.
pub(super) struct Watched {
    pub(super) link: Link,
    /// When somebody last did.
    looked: Instant,
    /// Somebody waits for it now.
    waiting: bool,
}

impl Watched {
    /// Somebody looks: until now nobody did, unless somebody waited. For that time the server's silence means nothing.
    pub(super) fn look(&mut self, now: Instant) {
        if !std::mem::take(&mut self.waiting) {
            let away = now.saturating_duration_since(self.looked);
            if away.as_millis() == 0 {
                return; // too short to count; it is added to the next
            }
            self.link.connection.excuse(away);
        }
        self.looked = now;
    }

    /// Somebody goes on to wait for what comes.
    pub(super) fn wait(&mut self) {
        self.waiting = true;
    }

    /// For whoever only sends: deadlines are kept, without a look at what came.
    fn handle_timeout(&mut self, now: Instant) {
        if !self.waiting {
            self.look(now);
        }
        self.link.handle_timeout(now);
    }
}

impl Shared {
    pub(super) fn new(
        link: Link,
        waker: Arc<Waker>,
        uri: WsUri,
        response: ServerResponse,
        now: Instant,
    ) -> Arc<Shared> {
        let subprotocol = link.connection.subprotocol().map(Box::from);
        let watched = Mutex::new(Watched { link, looked: now, waiting: false });
        Arc::new(Shared { watched, waker, uri, response, subprotocol })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().expect("nothing panics while it holds the lock")
    }

    /// Queues what `command` says, and writes until the kernel has taken everything that waits. While it takes no more, `wait` is
    /// called with the time when to come back at the latest.
    pub(super) fn transmit(
        &self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
        wait: &mut dyn FnMut(Option<Instant>),
    ) -> Result<(), SendError> {
        let mut queued = None;
        loop {
            let deadline = {
                let mut watched = self.lock();
                let now = Instant::now();
                watched.handle_timeout(now);
                let link = &mut watched.link;
                let was_open = link.connection.state() == State::Open;
                if queued.is_none() {
                    match command(&mut link.connection) {
                        Ok(()) => queued = Some(link.connection.buffered()),
                        Err(SendError::Full) => {}
                        Err(error) => return Err(error),
                    }
                }
                link.flush(now);
                if was_open && link.connection.state() != State::Open {
                    // There are other deadlines now than the ones with which the other half waits.
                    self.wake();
                }
                if link.connection.buffered() == 0
                    && let Some(octets) = queued
                {
                    link.trim(octets);
                    return outcome(&link.connection);
                }
                link.deadline()
            };
            wait(deadline);
        }
    }

    fn wake(&self) {
        // Without it the other half comes back at its own deadline.
        let _ = self.waker.wake();
    }

    pub(super) fn closure(&self) -> Option<Closure> {
        self.lock().link.connection.closure()
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().link.connection.stats()
    }
}

/// Nothing waits: was it sent, or dropped since the connection has failed?
fn outcome(connection: &Connection) -> Result<(), SendError> {
    match connection.closure() {
        Some(Closure { cause: Some(_), .. }) => Err(SendError::Closed),
        _ => Ok(()),
    }
}
