//! One thread for both directions of an object whose calls return in bounded time.

use super::shared::{Called, PAUSE, PIECE, Shared, THREAD, call, panic_error, takes_nothing};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Starts the thread. The returned channel is disconnected when it ends.
pub(super) fn start<S>(stream: S, shared: &Arc<Shared>) -> io::Result<Receiver<()>>
where
    S: Read + Write + Send + 'static,
{
    shared.socket.set_nonblocking(true)?;
    let poll = Poll::new()?;
    let interests = Interest::READABLE.add(Interest::WRITABLE);
    poll.registry().register(&mut SourceFd(&shared.socket.as_raw_fd()), Token(0), interests)?;
    let mover = Mover {
        poll,
        events: Events::with_capacity(4),
        sent: Piece::new(),
        is_flushed: true,
        refusals: 0,
        received: Piece::new(),
        sends: true,
        receives: true,
        shared: Arc::clone(shared),
        stream,
    };
    let (moving, moved) = channel::<()>();
    thread::Builder::new().name(THREAD.into()).spawn(move || {
        mover.run();
        drop(moving);
    })?;
    Ok(moved)
}

/// Moves bytes in both directions.
struct Mover<S> {
    poll: Poll,
    events: Events,
    /// Bytes of the client that the stream has not taken.
    sent: Piece,
    /// The stream was flushed since the last write.
    is_flushed: bool,
    /// How many writes in a row have taken 0 bytes while nothing was received.
    refusals: u32,
    /// Bytes of the stream that the client has not taken.
    received: Piece,
    /// The client may send more.
    sends: bool,
    /// The stream may return more, and the client wants it.
    receives: bool,
    shared: Arc<Shared>,
    stream: S,
}

/// The most pieces that are moved in one direction before the other one, where a call may wait.
const PIECES: u32 = 64;
/// A session of rustls takes 0 bytes if its buffer is still full after a write that has timed out:
/// for as long as it has received something instead, or has written a part. A stream that takes 0
/// bytes this often without receiving anything has failed.
const REFUSALS: u32 = 100;

/// Bytes on their way.
struct Piece {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Piece {
    fn new() -> Self {
        Piece { bytes: vec![0; PIECE], begin: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn left(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    fn fill(&mut self, length: usize) {
        (self.begin, self.end) = (0, length);
    }

    fn take(&mut self, length: usize) {
        self.begin += length;
    }

    fn clear(&mut self) {
        (self.begin, self.end) = (0, 0);
    }
}

/// What a step towards the client has done.
enum Received {
    /// Bytes were moved, or an end was.
    Something,
    /// The stream has waited, and returned nothing.
    Waited,
    Nothing,
}

impl<S> Drop for Mover<S> {
    /// Ends the client's directions before the stream is dropped, which may wait.
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.stop_sending(panic_error());
        }
        self.shared.stop_receiving(panic_error());
    }
}

impl<S: Read + Write> Mover<S> {
    fn run(mut self) {
        while !self.is_done() {
            let has_sent = (0..PIECES).take_while(|_| self.send()).count() > 0;
            let has_received = self.receive_pieces();
            if self.shared.is_dropped() {
                self.forget_client();
            } else if !self.sends {
                // The client's end of the other direction.
                self.wait(Some(Duration::ZERO));
            }
            if !(has_sent || has_received || self.is_done()) {
                self.wait_for_client();
            }
        }
    }

    fn is_done(&self) -> bool {
        let has_sent = !self.sends && self.sent.is_empty() && self.is_flushed;
        let has_received = !self.receives && self.received.is_empty();
        has_sent && has_received || self.shared.is_over()
    }

    /// Nobody receives any more.
    fn forget_client(&mut self) {
        self.receives = false;
        self.received.clear();
    }

    /// Moves a piece from the client to the stream. Returns whether something was done.
    fn send(&mut self) -> bool {
        if self.sent.is_empty() && self.sends {
            match (&self.shared.socket).read(&mut self.sent.bytes) {
                Ok(length) => {
                    self.sent.fill(length);
                    self.sends = length > 0;
                }
                Err(error) => self.sends = is_temporary(&error),
            }
        }
        let Mover { stream, sent, .. } = self;
        let called = if !sent.is_empty() {
            call(|| stream.write(sent.left()), drop)
        } else if !self.is_flushed {
            call(|| stream.flush().map(|()| 1), drop)
        } else {
            return false;
        };
        match called {
            Called::Moved(_) if self.sent.is_empty() => self.is_flushed = true,
            Called::Moved(length) => {
                self.sent.take(length);
                self.is_flushed = false;
                self.refusals = 0;
            }
            Called::Nothing => return false,
            Called::Ended(None) if self.refusals < REFUSALS => {
                self.refusals += 1;
                return false;
            }
            Called::Ended(error) => {
                self.sent.clear();
                self.is_flushed = true;
                self.sends = false;
                self.shared.stop_sending(Some(error.unwrap_or_else(takes_nothing)));
            }
        }
        true
    }

    /// Moves pieces from the stream to the client, until a read has waited. Returns whether
    /// something was done, or the stream itself has waited.
    fn receive_pieces(&mut self) -> bool {
        let begun = Instant::now();
        let mut has_received = false;
        for _ in 0..PIECES {
            match self.receive() {
                Received::Something if self.received.is_empty() && begun.elapsed() >= PAUSE => return true,
                Received::Something => has_received = true,
                Received::Waited => return true,
                Received::Nothing => break,
            }
        }
        has_received
    }

    /// Moves a piece from the stream, or to the client.
    fn receive(&mut self) -> Received {
        if !self.received.is_empty() {
            return match (&self.shared.socket).write(self.received.left()) {
                Ok(length) => {
                    self.received.take(length);
                    Received::Something
                }
                Err(error) if is_temporary(&error) => Received::Nothing,
                Err(_) => {
                    self.forget_client();
                    Received::Something
                }
            };
        }
        if !self.receives {
            return Received::Nothing;
        }
        let mut nothing = Received::Waited;
        match call(|| self.stream.read(&mut self.received.bytes), |_| nothing = Received::Nothing) {
            Called::Moved(length) => {
                self.received.fill(length);
                self.refusals = 0;
            }
            Called::Nothing => return nothing,
            Called::Ended(error) => {
                self.receives = false;
                self.shared.stop_receiving(error);
            }
        }
        Received::Something
    }

    /// Waits until the client sends, receives or ends, or the stream may be asked again.
    fn wait_for_client(&mut self) {
        let asks = self.receives && self.received.is_empty() || !self.sent.is_empty() || !self.is_flushed;
        self.wait(asks.then_some(PAUSE));
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        // After an interruption the caller goes on as after an event.
        let _ = self.poll.poll(&mut self.events, timeout);
        if self.events.iter().any(mio::event::Event::is_write_closed) {
            self.forget_client();
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
