//! How a loop stops: the close for its connections, its listening sockets, and its end.

use crate::event_loop::EventLoop;
use crate::event_loop::listener::{ACCEPT_AT_ONCE, LONGEST_QUEUE, Listener};
use crate::event_loop::walk::{Job, Walk};
use std::time::{Duration, Instant};

/// The time limit at the end for walks requested before it. Only a server that stops without grace
/// has many left.
const LAST_WALKS: Duration = Duration::from_secs(1);

/// The time that connections whose TCP handshake has begun get to complete it when the server
/// stops. It exceeds a round trip inside a data centre. A peer that begins during this time gets no
/// answer, and retries after a second.
const HANDSHAKE_OF_TCP: Duration = Duration::from_millis(10);

impl EventLoop {
    /// Begins to stop: accepts no new connections, sends 1001 to the open ones after the walks
    /// already queued, and ends at `at`.
    pub(super) fn stop(&mut self, at: Instant) {
        if let Some(stop_at) = &mut self.stop_at {
            *stop_at = at.min(*stop_at);
            return;
        }
        self.stop_at = Some(at);
        self.context.draining = true;
        self.refuse_new();
        // Walks requested earlier come first, and so do publications.
        let mark = self.publications.mark();
        self.walks.push_back(Walk::new(Job::Drain(mark)));
    }

    /// Begins to close the listening sockets. Closing one resets the connections in its queue, so
    /// the queues are emptied first, and once more when the TCP handshakes under way have
    /// completed. A listener whose queue cannot be emptied for lack of descriptors stays until it
    /// can.
    fn refuse_new(&mut self) {
        let mut closing = Vec::new();
        for mut listener in std::mem::take(&mut self.listeners) {
            let _ = self.poll.registry().deregister(listener.source());
            if !listener.is_ours() {
                continue;
            }
            let is_empty = self.accept_queue(&mut listener);
            if listener.refuse_new() {
                closing.push(listener);
            } else if !is_empty {
                self.listeners.push(listener);
            }
        }
        self.closing = (!closing.is_empty()).then(|| (Instant::now() + HANDSHAKE_OF_TCP, closing));
    }

    /// Closes the listening sockets that admit no new peers, when it is time.
    pub(super) fn close_listeners(&mut self) {
        let Some((_, listeners)) = self.closing.take_if(|(at, _)| *at <= self.context.now) else { return };
        for mut listener in listeners {
            if !self.accept_queue(&mut listener) {
                self.listeners.push(listener);
            }
        }
    }

    /// Accepts all connections in the system's queue, but no more than the longest queue can hold,
    /// in case it is refilled meanwhile. Returns whether it is empty: false without free
    /// descriptors.
    fn accept_queue(&mut self, listener: &mut Listener) -> bool {
        listener.try_now();
        for _ in 0..LONGEST_QUEUE {
            self.accept_from(listener);
            if listener.wait(self.context.now) != Some(Duration::ZERO) {
                break;
            }
        }
        !listener.ready
    }

    /// Cuts all remaining connections.
    pub(super) fn end(&mut self) {
        // Another loop may have handed over connections that nobody has told of the stop yet.
        let taken = std::mem::take(&mut self.commands);
        for command in taken.into_iter().chain(self.context.mailbox.close()) {
            self.handle_command(command);
        }
        self.handle_publications(LAST_WALKS);
        self.handle_walks(LAST_WALKS);
        self.remove_all();
        // Their descriptors serve the connections that could not be accepted, as many at a time as
        // there are descriptors.
        for mut listener in std::mem::take(&mut self.listeners) {
            for _ in 0..LONGEST_QUEUE * ACCEPT_AT_ONCE {
                let is_empty = self.accept_queue(&mut listener);
                self.remove_all();
                if is_empty {
                    break;
                }
            }
        }
    }

    fn remove_all(&mut self) {
        for key in self.slots.keys() {
            self.remove(key);
        }
    }

    pub(super) fn is_over(&self, stop_at: Instant) -> bool {
        self.closing.is_none() && (self.context.now >= stop_at || self.is_done())
    }

    /// Whether a stopping loop has no work left. If so, its mailbox is closed, and no work can
    /// arrive.
    pub(super) fn is_done(&self) -> bool {
        let is_idle = self.slots.len() == 0 && self.listeners.is_empty() && self.commands.is_empty();
        is_idle && self.context.mailbox.close_if_empty()
    }
}
