//! An asynchronous stream as the transport of a turn: what would wait is `Blocked`, and the stream
//! wakes the task when it is ready.

use framewright_driver::{Io, Transport};
use std::future::{Future as _, poll_fn};
use std::io::IoSlice;
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

/// What is known of a stream between two polls.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Bytes that were read while the application did not receive.
    ahead: Vec<u8>,
    /// How many of them have been handed over.
    taken: usize,
    /// Whether the stream may hold written bytes until it is flushed.
    unflushed: bool,
    /// Whether flushing them has failed: the stream takes nothing any more.
    failed: bool,
    end: WriteEnd,
}

/// How far the end of our direction has progressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WriteEnd {
    #[default]
    Open,
    /// Asked for, and to be polled until it is done.
    Wanted,
    Done,
}

/// The most bytes that are read ahead to see whether the peer is alive.
const AHEAD: usize = 4 << 10;

impl Link {
    /// Whether bytes that were read wait for the application.
    pub(crate) fn is_ahead(&self) -> bool {
        self.taken < self.ahead.len()
    }

    /// Whether written bytes are lost, because the stream could not be flushed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the stream holds no written bytes.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed && self.end != WriteEnd::Wanted
    }
}

/// A stream during one poll.
pub(crate) struct Polled<'a, 'c, S> {
    pub(crate) stream: &'a mut S,
    pub(crate) link: &'a mut Link,
    pub(crate) context: &'a mut Context<'c>,
    /// Whether what the stream does now decides about the connection: a deadline has passed, or writing
    /// has failed. That the task has used up its budget must not count against the peer.
    pub(crate) judges: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Polled<'_, '_, S> {
    /// Polls the stream, without regard to the budget of the task if it [`judges`](Polled::judges).
    fn poll_stream<R>(&mut self, mut poll: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<R>) -> Poll<R> {
        let Polled { stream, context, judges, .. } = self;
        if !*judges {
            return poll(Pin::new(*stream), context);
        }
        pin!(coop::unconstrained(poll_fn(|context| poll(Pin::new(*stream), context)))).poll(context)
    }

    fn read_stream(&mut self, target: &mut [u8]) -> Io {
        let mut target = ReadBuf::new(target);
        match self.poll_stream(|stream, context| stream.poll_read(context, &mut target)) {
            Poll::Ready(Ok(())) => Io::Moved(target.filled().len()),
            Poll::Ready(Err(_)) => Io::Lost,
            Poll::Pending => Io::Blocked,
        }
    }

    /// Looks whether the peer has sent anything since the last look, while the application does not
    /// receive: reads a few bytes, which the next [`read`](Transport::read) returns. Where there is no
    /// room for more of them, nobody knows: then also true.
    pub(crate) fn look_ahead(&mut self) -> bool {
        self.link.ahead.drain(..self.link.taken);
        self.link.taken = 0;
        let mut fresh = [0; AHEAD];
        let fresh = &mut fresh[self.link.ahead.len()..];
        if fresh.is_empty() {
            return true;
        }
        match self.read_stream(fresh) {
            Io::Moved(count) => {
                self.link.ahead.extend_from_slice(&fresh[..count]);
                count > 0
            }
            // The next read reports the loss again.
            Io::Blocked | Io::Lost => false,
        }
    }

    /// Drives the end of our direction. Returns false while the stream takes its last bytes.
    fn poll_end(&mut self) -> bool {
        if self.link.end == WriteEnd::Wanted
            && Pin::new(&mut *self.stream).poll_shutdown(self.context).is_ready()
        {
            self.link.end = WriteEnd::Done;
        }
        self.link.end != WriteEnd::Wanted
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Polled<'_, '_, S> {
    fn read(&mut self, target: &mut [u8]) -> Io {
        if !self.link.is_ahead() {
            return self.read_stream(target);
        }
        let rest = &self.link.ahead[self.link.taken..];
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        self.link.taken += count;
        if !self.link.is_ahead() {
            (self.link.ahead, self.link.taken) = (Vec::new(), 0);
        }
        Io::Moved(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        if self.link.failed {
            return Io::Lost;
        }
        let written = self.poll_stream(|stream, context| match slices {
            [one] => stream.poll_write(context, one),
            several if stream.is_write_vectored() => stream.poll_write_vectored(context, several),
            several => {
                let first = several.iter().find(|slice| !slice.is_empty());
                stream.poll_write(context, first.map_or(&[], |slice| slice))
            }
        });
        match written {
            Poll::Ready(Ok(count)) => {
                self.link.unflushed = true;
                Io::Moved(count)
            }
            Poll::Ready(Err(_)) => {
                // What has arrived is read until a read finds nothing.
                self.judges = true;
                Io::Lost
            }
            Poll::Pending => Io::Blocked,
        }
    }

    fn shutdown(&mut self, how: Shutdown) {
        if how != Shutdown::Read && self.link.end == WriteEnd::Open {
            self.link.end = WriteEnd::Wanted;
            self.poll_end();
        }
    }

    /// A stream wakes its task only after it has returned `Pending`.
    fn short_read_empties(&self) -> bool {
        false
    }

    fn flush_own(&mut self) -> bool {
        if self.link.unflushed {
            match Pin::new(&mut *self.stream).poll_flush(self.context) {
                Poll::Pending => return false,
                Poll::Ready(flushed) => {
                    self.link.unflushed = false;
                    self.link.failed |= flushed.is_err();
                    // What has arrived is read until a read finds nothing.
                    self.judges |= self.link.failed;
                }
            }
        }
        self.poll_end()
    }
}
