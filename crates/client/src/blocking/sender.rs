//! The sending half: a thread of its own can have it.

use super::shared::Shared;
use super::stopper::Stopper;
use super::{SOCKET, until};
use crate::commands::commands;
use framewright::{Closure, Connection, SendError, State, Stats};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll};
use socket2::SockRef;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The half of a blocking client that sends. Each call returns when the kernel has taken what was
/// sent, and everything before it; it never waits for the server's answers. While the kernel takes
/// no more it waits, so that no call is refused as [`Full`](SendError::Full): as long as the server
/// takes something now and then ([`Config::write_timeout`](framewright::Config::write_timeout)),
/// unless there is a [send timeout](Sender::set_send_timeout). The order of two calls is the order
/// on the wire.
pub struct Sender {
    shared: Arc<Shared>,
    waiter: Option<Waiter>,
}

commands!(Sender);

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Sender {
        Sender { shared, waiter: None }
    }

    /// Sets how long a call that sends may take, of either half;
    /// [`Options::send_timeout`](crate::Options::send_timeout) is what it is at first. `None`: as
    /// long as the server takes something now and then. It holds for the calls that follow.
    ///
    /// When it passes, the call returns [`SendError::Closed`], and the connection has failed
    /// ([`Timeout::Write`](framewright::Timeout::Write)): a frame of which a part was sent cannot
    /// be taken back. What the server has sent before can still be received. With zero a call sends
    /// what the kernel takes at once, or fails.
    pub fn set_send_timeout(&mut self, timeout: Option<Duration>) {
        self.shared.set_send_timeout(timeout);
    }

    /// Drops the connection: no Close frame, nothing of what is queued. The receiving half is told
    /// of its end.
    pub fn abort(&mut self) {
        self.shared.abort();
    }

    /// Ends the connection from another thread, also while this one waits.
    pub fn stopper(&self) -> Stopper {
        Stopper::new(&self.shared)
    }

    /// Whether a message could be sent: the closing handshake has not begun.
    pub fn is_open(&self) -> bool {
        self.shared.lock().connection.turn.connection.state() == State::Open
    }

    /// How the connection ended; `None` before.
    pub fn closure(&self) -> Option<Closure> {
        self.shared.closure()
    }

    /// What went over the connection so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn transmit(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Sender { shared, waiter } = self;
        shared.transmit(command, None, &mut |deadline| wait(shared, waiter, deadline))
    }
}

/// Waits for room in a socket, beside the other half, which waits for octets.
struct Waiter {
    poll: Poll,
    events: Events,
    /// A poll can tell of a socket that another one has only by another name of it.
    _stream: TcpStream,
}

impl Waiter {
    fn new(stream: &TcpStream) -> io::Result<Waiter> {
        let mut stream = TcpStream::from_std(SockRef::from(stream).try_clone()?.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut stream, SOCKET, Interest::WRITABLE)?;
        Ok(Waiter { poll, events: Events::with_capacity(4), _stream: stream })
    }
}

/// Where there are no descriptors to wait with.
const PAUSE: Duration = Duration::from_millis(5);

/// Made when the socket is full for the first time.
fn wait(shared: &Shared, waiter: &mut Option<Waiter>, deadline: Option<Instant>) {
    if waiter.is_none() {
        *waiter = Waiter::new(shared.lock().connection.stream()).ok();
    }
    // After an interruption, or any other error, whoever waits looks again.
    let waited = waiter.as_mut().map(|Waiter { poll, events, .. }| poll.poll(events, until(deadline)));
    if !matches!(waited, Some(Ok(()))) {
        thread::sleep(PAUSE);
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("uri", &self.shared.uri.as_str()).finish_non_exhaustive()
    }
}
