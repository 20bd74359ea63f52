//! Reading and writing a socket that does not block.

use mio::net::TcpStream;
use std::io::{self, IoSlice, Read, Write};

/// What a read or write came to.
#[derive(Debug)]
pub(crate) enum Io {
    /// So many octets; 0 from a read is the end of the stream.
    Moved(usize),
    /// Not now: readiness will be announced.
    Blocked,
    /// The connection is gone.
    Lost(io::Error),
}

/// Reads once.
#[inline]
pub(crate) fn read(mut stream: &TcpStream, target: &mut [u8]) -> Io {
    outcome(|| stream.read(target))
}

/// Writes once. A plain write for one slice: it costs less than a vectored one.
#[inline]
pub(crate) fn write(mut stream: &TcpStream, slices: &[IoSlice<'_>]) -> Io {
    outcome(|| match slices {
        [one] => stream.write(one),
        slices => stream.write_vectored(slices),
    })
}

/// Repeats what a signal interrupted, and sorts the rest.
#[inline]
fn outcome(mut call: impl FnMut() -> io::Result<usize>) -> Io {
    loop {
        match call() {
            Ok(count) => return Io::Moved(count),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Io::Blocked,
                _ => return Io::Lost(error),
            },
        }
    }
}
