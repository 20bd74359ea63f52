//! The stream of a client, with TLS or without.

#[cfg(feature = "tls")]
use super::session::Secured;
#[cfg(feature = "tls")]
use framewright_driver::opening::ConnectError;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The stream of a client: `S` itself, or TLS over it by tokio-rustls, as the URI and the proxy ask
/// for.
pub struct MaybeTls<S = TcpStream> {
    kind: Kind<S>,
}

enum Kind<S> {
    Plain(S),
    #[cfg(feature = "tls")]
    Tls(Box<Secured<MaybeTls<S>>>),
}

impl<S> MaybeTls<S> {
    pub(super) fn plain(stream: S) -> Self {
        MaybeTls { kind: Kind::Plain(stream) }
    }

    #[cfg(feature = "tls")]
    pub(super) fn secured(secured: Secured<Self>) -> Self {
        MaybeTls { kind: Kind::Tls(Box::new(secured)) }
    }

    /// Whether a session of TLS is over the stream: with the server, or with an `https:` proxy.
    #[cfg(feature = "tls")]
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }

    /// Checks the protocol that the other end of a session has selected.
    #[cfg(feature = "tls")]
    pub(super) fn check_protocol(&self) -> Result<(), ConnectError> {
        match &self.kind {
            Kind::Plain(_) => Ok(()),
            Kind::Tls(secured) => secured.check_protocol(),
        }
    }

    /// Why a read or a write has returned `error`.
    #[cfg(feature = "tls")]
    pub(super) fn failure(&self, error: io::Error) -> ConnectError {
        match &self.kind {
            Kind::Plain(_) => ConnectError::Lost(error),
            Kind::Tls(secured) => secured.failure(error, MaybeTls::failure),
        }
    }

    /// The stream below all TLS.
    pub fn get_ref(&self) -> &S {
        match &self.kind {
            Kind::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => secured.below().get_ref(),
        }
    }

    /// The stream below all TLS. What is read from it or written to it breaks a TLS session.
    pub fn get_mut(&mut self) -> &mut S {
        match &mut self.kind {
            Kind::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => secured.below_mut().get_mut(),
        }
    }

    /// What TLS with the server has agreed on; `None` without it.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::TlsInfo> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(secured) => secured.info(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_read(context, target),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => Pin::new(secured.session_mut()).poll_read(context, target),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTls<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => Pin::new(secured.session_mut()).poll_write(context, octets),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => Pin::new(secured.session_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => secured.session().is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => Pin::new(secured.session_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => Pin::new(secured.session_mut()).poll_shutdown(context),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for MaybeTls<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Plain(stream) => f.debug_tuple("Plain").field(stream).finish(),
            #[cfg(feature = "tls")]
            Kind::Tls(secured) => f.debug_tuple("Tls").field(secured.below()).finish(),
        }
    }
}
