//! TLS by tokio-rustls over a stream, which knows for itself why it fails: it may be such a session
//! too, since `wss:` through an `https:` proxy is TLS over TLS.

use framewright_driver::opening::{self, ConnectError, Peer, TlsError, handshake_error, tls_error};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{FallibleConnect, TlsConnector, rustls};

/// A session whose handshake is complete.
pub(super) struct Secured<T> {
    session: TlsStream<Below<T>>,
    peer: Peer,
}

/// A session whose handshake is not complete.
pub(super) struct Shaking<T> {
    handshake: FallibleConnect<Below<T>>,
    peer: Peer,
}

/// The stream below a session.
pub(super) struct Below<T> {
    stream: T,
    /// The first bytes received, which tell another protocol from TLS.
    first: [u8; RECORD_HEADER],
    /// The number of bytes received, until the handshake is complete.
    received: usize,
    /// Whether the stream itself has failed, and not the session.
    has_failed: bool,
    is_shaking: bool,
}

/// The bytes before the content of a record: its type, a version, and its length (RFC 8446, section
/// 5.1).
const RECORD_HEADER: usize = 5;

impl<T: AsyncRead + AsyncWrite + Unpin> Shaking<T> {
    /// Starts a session. Nothing is sent before the first poll.
    pub(super) fn start(session: opening::Session, stream: T) -> Self {
        let below =
            Below { stream, first: [0; RECORD_HEADER], received: 0, has_failed: false, is_shaking: true };
        let connector = TlsConnector::from(session.config);
        Shaking { handshake: connector.connect(session.name, below).into_fallible(), peer: session.peer }
    }

    /// Goes on with the handshake. `why` tells why the stream below has failed.
    ///
    /// # Errors
    /// Why there is no session.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        why: impl FnOnce(&T, io::Error) -> ConnectError,
    ) -> Poll<Result<Secured<T>, ConnectError>> {
        let peer = self.peer;
        match Pin::new(&mut self.handshake).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(mut session)) => {
                session.get_mut().0.is_shaking = false;
                Poll::Ready(Ok(Secured { session, peer }))
            }
            Poll::Ready(Err((error, below))) if below.has_failed => {
                Poll::Ready(Err(why(&below.stream, error)))
            }
            Poll::Ready(Err((error, below))) => Poll::Ready(Err(below.handshake_failure(error, peer))),
        }
    }
}

impl<T> Secured<T> {
    pub(super) fn session(&self) -> &TlsStream<Below<T>> {
        &self.session
    }

    pub(super) fn session_mut(&mut self) -> &mut TlsStream<Below<T>> {
        &mut self.session
    }

    pub(super) fn below(&self) -> &T {
        &self.session.get_ref().0.stream
    }

    pub(super) fn below_mut(&mut self) -> &mut T {
        &mut self.session.get_mut().0.stream
    }

    /// What was agreed on with the server; `None` for a session with a proxy.
    pub(super) fn info(&self) -> Option<opening::TlsInfo> {
        match self.peer {
            Peer::Proxy => None,
            Peer::Server => opening::session_info(self.session.get_ref().1),
        }
    }

    /// Checks the protocol that the other end has selected.
    pub(super) fn check_protocol(&self) -> Result<(), ConnectError> {
        let checked = opening::check_protocol(self.session.get_ref().1);
        checked.map_err(|error| attributed(error, self.peer))
    }

    /// Why a read or a write has returned `error`. `why` tells why the stream below has failed.
    pub(super) fn failure(
        &self,
        error: io::Error,
        why: impl FnOnce(&T, io::Error) -> ConnectError,
    ) -> ConnectError {
        let below = self.session.get_ref().0;
        if below.has_failed {
            return why(&below.stream, error);
        }
        match of_rustls(&error) {
            Some(error) => attributed(tls_error(error.clone()), self.peer),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                attributed(TlsError::Truncated, self.peer)
            }
            None => ConnectError::Lost(error),
        }
    }
}

impl<T> Below<T> {
    /// Why the handshake has failed with `error`, over a stream that has not.
    fn handshake_failure(&self, error: io::Error, peer: Peer) -> ConnectError {
        let first = &self.first[..self.received.min(RECORD_HEADER)];
        match of_rustls(&error) {
            Some(error) => attributed(handshake_error(error.clone(), first), peer),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                attributed(if self.has_begun() { TlsError::Truncated } else { TlsError::NotBegun }, peer)
            }
            None => ConnectError::Lost(error),
        }
    }

    /// Whether the first record was received as a whole: the server begins with its ServerHello.
    fn has_begun(&self) -> bool {
        let content = usize::from(u16::from_be_bytes([self.first[3], self.first[4]]));
        self.received >= RECORD_HEADER + content && self.received > RECORD_HEADER
    }
}

fn attributed(error: TlsError, peer: Peer) -> ConnectError {
    match peer {
        Peer::Server => ConnectError::Tls(error),
        Peer::Proxy => ConnectError::Proxy(Box::new(ConnectError::Tls(error))),
    }
}

/// The error of rustls that tokio-rustls has put into another one.
fn of_rustls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Below<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = target.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, target);
        self.has_failed |= matches!(read, Poll::Ready(Err(_)));
        if self.is_shaking {
            let new = &target.filled()[before..];
            let at = self.received.min(RECORD_HEADER);
            for (kept, octet) in self.first[at..].iter_mut().zip(new) {
                *kept = *octet;
            }
            self.received += new.len();
        }
        read
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Below<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        self.heard_out(written, octets.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.heard_out(written, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<T> Below<T> {
    /// Reads on after a write of the handshake that has failed: what the server has said before is
    /// the better reason, an alert for instance. tokio-rustls would stop with the write. If nothing
    /// was said, the read fails too.
    fn heard_out(&mut self, written: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(_)) if self.is_shaking => Poll::Ready(Ok(offered)),
            Poll::Ready(Err(error)) => {
                self.has_failed = true;
                Poll::Ready(Err(error))
            }
            written => written,
        }
    }
}
