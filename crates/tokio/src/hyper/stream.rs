//! hyper's upgraded connection as a stream of tokio's.

use ::hyper::rt::{Read as _, ReadBuf as Target, Write as _};
use http::Version;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream of an upgraded connection: the connection itself with HTTP/1.1, one of its streams
/// with HTTP/2.
///
/// Made from hyper's own type, it takes at most 64 KiB in one write, because that type does not tell
/// its version.
pub struct Upgraded {
    inner: ::hyper::upgrade::Upgraded,
    /// The most bytes that one write takes.
    largest_write: usize,
}

/// The most bytes of one write with HTTP/2. There hyper copies all bytes of a write before it looks
/// for room in the window, and holds a few such copies: without a limit, these would be as large as
/// the messages.
const LARGEST_WRITE: usize = 64 << 10;

impl Upgraded {
    /// Makes one of a connection whose version is known.
    pub(crate) fn of(inner: ::hyper::upgrade::Upgraded, version: Version) -> Self {
        let largest_write = if version <= Version::HTTP_11 { usize::MAX } else { LARGEST_WRITE };
        Upgraded { inner, largest_write }
    }

    /// Returns hyper's own type, which can be
    /// [downcast](::hyper::upgrade::Upgraded::downcast).
    pub fn into_inner(self) -> ::hyper::upgrade::Upgraded {
        self.inner
    }
}

impl From<::hyper::upgrade::Upgraded> for Upgraded {
    fn from(inner: ::hyper::upgrade::Upgraded) -> Self {
        Upgraded { inner, largest_write: LARGEST_WRITE }
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = Target::new(target.initialize_unfilled());
        ready!(Pin::new(&mut self.inner).poll_read(context, read.unfilled()))?;
        let count = read.filled().len();
        target.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(self.largest_write);
        Pin::new(&mut self.inner).poll_write(context, &bytes[..count])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().fold(0_usize, |total, slice| total.saturating_add(slice.len()));
        if total <= self.largest_write {
            return Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        self.poll_write(context, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}
