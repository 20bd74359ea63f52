//! What a driver knows of a transport: how to move bytes over it, and its readiness as the poll
//! reports it.

use std::io::{self, IoSlice};
use std::net::Shutdown;

/// A stream of bytes that never blocks: a socket, or TLS over one.
pub trait Transport {
    /// Reads once into `target`, which is not empty.
    fn read(&mut self, target: &mut [u8]) -> Io;

    /// Writes once from `slices`: at least one byte, unless the transport is blocked or lost. A
    /// write that moves 0 bytes counts as lost. For a single slice, use a plain write: it costs
    /// less than a vectored one.
    ///
    /// The next write begins with the bytes that this one was offered and has not moved: a TLS
    /// session may have encrypted them.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io;

    /// Writes as [`write`](Transport::write), the last bytes of our direction: a TLS session sends
    /// close_notify with them. Bytes that were not moved are offered to `write` or `write_last`
    /// again, and nothing follows them. [`end`](Transport::end) follows as well.
    ///
    /// The default is for a transport that has nothing to send behind the bytes.
    #[inline]
    fn write_last(&mut self, slices: &[IoSlice<'_>]) -> Io {
        self.write(slices)
    }

    /// Ends our direction of the transport, or both. A failure means that the transport is gone,
    /// which the next read reports.
    fn shutdown(&mut self, how: Shutdown);

    /// Whether a short read has emptied the transport, so that an event announces the next bytes. A
    /// short read returns fewer bytes than there was room for.
    ///
    /// The default is right for a plain socket: [`short_read_empties_a_socket`].
    fn short_read_empties(&self) -> bool {
        short_read_empties_a_socket()
    }

    /// Writes bytes of the transport's own: of a TLS handshake, a session ticket, an alert. Returns
    /// false while they are blocked; an event announces room for them.
    ///
    /// The default is for a transport that has none.
    #[inline]
    fn flush_own(&mut self) -> bool {
        true
    }

    /// Prepares the end of our direction: a TLS session sends close_notify. Returns false while
    /// that is blocked.
    ///
    /// The default is for a transport that needs none.
    #[inline]
    fn end(&mut self) -> bool {
        true
    }

    /// Whether the transport has failed, and has told the peer why: a TLS session sends an alert. A
    /// peer that is still writing reads it only if the transport is not closed at once.
    ///
    /// The default is for a transport that tells nothing.
    #[inline]
    fn owes_reason(&self) -> bool {
        false
    }

    /// Drops bytes that are queued in the transport itself: of a TLS session, ciphertext. Nothing can
    /// be sent any more. For a connection that gives up its memory.
    ///
    /// The default is for a transport that queues none.
    #[inline]
    fn drop_queued(&mut self) {}

    /// Reads once into `scratch`, for a reader that drops what it reads. A TLS session does not
    /// decrypt it: nothing can be read behind it.
    #[inline]
    fn discard(&mut self, scratch: &mut [u8]) -> Io {
        self.read(scratch)
    }
}

/// Whether a read of fewer bytes than there was room for has emptied a plain socket. It has where
/// readiness comes from epoll or kqueue, which announce bytes as they arrive. Elsewhere the poll
/// announces nothing more until a read has been refused.
#[must_use]
pub const fn short_read_empties_a_socket() -> bool {
    cfg!(any(
        target_os = "linux",
        target_os = "android",
        target_os = "macos",
        target_os = "ios",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly",
    ))
}

/// The result of a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum Io {
    /// This many bytes were moved; 0 from a read is the end of the stream.
    Moved(usize),
    /// No bytes can be moved now; an event will announce readiness.
    Blocked,
    /// The transport has failed.
    Lost,
}

/// Calls a system call again while a signal interrupts it.
///
/// # Errors
/// Those of the call, but for [`Interrupted`](io::ErrorKind::Interrupted).
#[inline]
pub fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Calls a system call again while a signal interrupts it, and converts its result.
#[inline]
pub fn moved(call: impl FnMut() -> io::Result<usize>) -> Io {
    match uninterrupted(call) {
        Ok(count) => Io::Moved(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Io::Blocked,
        Err(_) => Io::Lost,
    }
}

/// The possible work on a transport: each flag is set when the poll reports an edge, and cleared
/// when the work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a driver makes and sets it")]
pub struct Ready {
    /// There may be bytes to read, or the end of the stream.
    pub read: bool,
    /// A short read does not mean that nothing more is there. The end of the stream may follow it,
    /// or TCP's urgent mark (RFC 9293, section 3.8.5), at which a read stops.
    pub more_behind: bool,
    /// There may be room to write again.
    pub write: bool,
    /// A deadline of the connection may have passed.
    pub due: bool,
}

impl Ready {
    /// Records a read of `count` bytes that had room for `room`.
    #[inline]
    pub fn note_read(&mut self, transport: &impl Transport, count: usize, room: usize) {
        if count < room && !self.more_behind && transport.short_read_empties() {
            self.read = false;
        }
    }

    /// Records a read that found nothing: an event announces the next bytes, or the end of the
    /// stream.
    #[inline]
    pub fn note_blocked(&mut self) {
        (self.read, self.more_behind) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Socket;

    impl Transport for Socket {
        fn read(&mut self, _: &mut [u8]) -> Io {
            Io::Blocked
        }

        fn write(&mut self, _: &[IoSlice<'_>]) -> Io {
            Io::Blocked
        }

        fn shutdown(&mut self, _: Shutdown) {}
    }

    /// Bytes arrive a record at a time: a short read proves nothing.
    struct Records;

    impl Transport for Records {
        fn read(&mut self, _: &mut [u8]) -> Io {
            Io::Blocked
        }

        fn write(&mut self, _: &[IoSlice<'_>]) -> Io {
            Io::Blocked
        }

        fn shutdown(&mut self, _: Shutdown) {}

        fn short_read_empties(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_short_read_empties_a_socket_unless_its_end_or_an_urgent_mark_is_near() {
        let after = |more_behind, count| {
            let mut ready = Ready { read: true, more_behind, ..Ready::default() };
            ready.note_read(&Socket, count, 10);
            ready.read
        };
        assert!(after(false, 10), "there may be more");
        assert_eq!(after(false, 9), !Socket.short_read_empties());
        assert!(after(true, 9), "what lies behind is still to be read");
    }

    #[test]
    fn a_transport_of_records_is_read_until_it_refuses() {
        let mut ready = Ready { read: true, more_behind: true, ..Ready::default() };
        ready.note_read(&Records, 9, 10);
        assert!(ready.read);
        ready.note_blocked();
        assert_eq!(ready, Ready::default());
    }

    #[test]
    fn an_interrupted_call_is_repeated() {
        let mut calls = [Err(io::ErrorKind::Interrupted), Ok(3)].into_iter();
        let interrupted = || calls.next().expect("two calls").map_err(io::Error::from);
        assert_eq!(moved(interrupted), Io::Moved(3));
        assert_eq!(moved(|| Err(io::ErrorKind::WouldBlock.into())), Io::Blocked);
        assert_eq!(moved(|| Err(io::ErrorKind::BrokenPipe.into())), Io::Lost);
    }
}
