//! hyper's upgraded connection as a stream of tokio's.

use ::hyper::rt::{Read as _, ReadBuf as Target, Write as _};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream of an upgraded connection: the connection itself with HTTP/1.1, one of its streams
/// with HTTP/2.
pub struct Upgraded(::hyper::upgrade::Upgraded);

impl Upgraded {
    /// Returns hyper's own type, which can be
    /// [downcast](::hyper::upgrade::Upgraded::downcast).
    pub fn into_inner(self) -> ::hyper::upgrade::Upgraded {
        self.0
    }
}

impl From<::hyper::upgrade::Upgraded> for Upgraded {
    fn from(upgraded: ::hyper::upgrade::Upgraded) -> Self {
        Upgraded(upgraded)
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = Target::new(target.initialize_unfilled());
        ready!(Pin::new(&mut self.0).poll_read(context, read.unfilled()))?;
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
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}
