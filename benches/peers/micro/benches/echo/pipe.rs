//! A stream in memory that is always ready: it gives the same octets again and again, and drops
//! what is written.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream. No read goes beyond the end of the octets: the next one begins at their start.
#[derive(Debug)]
pub(crate) struct Pipe {
    octets: Vec<u8>,
    at: usize,
    seen: Option<Seen>,
}

/// What was written.
pub(crate) type Seen = Rc<RefCell<Vec<u8>>>;

impl Pipe {
    pub(crate) fn new(octets: &[u8]) -> Pipe {
        Pipe { octets: octets.to_vec(), at: 0, seen: None }
    }

    /// A stream that keeps what is written.
    pub(crate) fn watched(octets: &[u8]) -> (Pipe, Seen) {
        let seen = Seen::default();
        (Pipe { seen: Some(Rc::clone(&seen)), ..Pipe::new(octets) }, seen)
    }

    /// At most `most` octets, which are counted as read.
    fn give(&mut self, most: usize) -> &[u8] {
        let from = self.at;
        let to = self.octets.len().min(from + most);
        self.at = to % self.octets.len();
        &self.octets[from..to]
    }
}

impl Read for Pipe {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let taken = self.give(target.len());
        target[..taken.len()].copy_from_slice(taken);
        Ok(taken.len())
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if let Some(seen) = &self.seen {
            seen.borrow_mut().extend_from_slice(octets);
        }
        Ok(octets.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(slice)).sum()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        target.put_slice(self.give(target.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(octets))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
