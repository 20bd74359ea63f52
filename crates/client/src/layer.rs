//! A session of TLS over a stream of the client, which may itself be one: `wss:` through an
//! `https:` proxy is TLS over TLS.

use framewright_driver::opening::{
    ConnectError, Peer, Session, TlsError, TlsInfo, check_protocol, session_info, tls_error,
};
use framewright_driver::tls::{Fault, Tls};
use framewright_driver::{Io, Transport};
use rustls::client::UnbufferedClientConnection;
use std::io::{self, IoSlice};
use std::net::Shutdown;

/// A session over a stream.
pub(crate) struct Layer<T> {
    tls: Tls<UnbufferedClientConnection, Below<T>>,
    peer: Peer,
}

/// A stream that a session can be over: one that knows why it fails.
pub(crate) trait Stream: Transport {
    /// Reads once. 0 at the end of the stream.
    fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize>;

    /// Writes once, from one slice or more.
    fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Why the connection could not be opened, after a read or a write has returned `error`.
    fn failure(&mut self, error: io::Error) -> ConnectError;

    /// Why TLS has failed; `None` if it has not.
    fn tls_error(&self) -> Option<TlsError>;

    /// Ends both directions, without a word of the sessions within.
    fn cut(&mut self);
}

/// The stream below a session. A transport has no words for its failures, so they are kept.
struct Below<T> {
    stream: T,
    failure: Option<io::Error>,
    /// Nothing is read from it or written to it any more.
    is_cut: bool,
}

impl<T: Stream> Layer<T> {
    /// Starts a session. Nothing is sent before the first read or write.
    ///
    /// # Errors
    /// If rustls refuses the configuration.
    pub(crate) fn start(session: Session, stream: T) -> Result<Self, TlsError> {
        let below = Below { stream, failure: None, is_cut: false };
        let tls = Tls::client(session.config, session.name, below).map_err(TlsError::Protocol)?;
        Ok(Layer { tls, peer: session.peer })
    }

    pub(crate) fn below(&self) -> &T {
        &self.tls.transport().stream
    }

    /// Ends both directions of the stream at the bottom, which is neither read nor written any
    /// more.
    pub(crate) fn cut(&mut self) {
        let below = self.tls.transport_mut();
        below.is_cut = true;
        below.stream.cut();
    }

    /// The session as a stream of bytes.
    pub(crate) fn session(&self) -> &impl Transport {
        &self.tls
    }

    /// The session as a stream of bytes.
    pub(crate) fn session_mut(&mut self) -> &mut impl Transport {
        &mut self.tls
    }

    /// What was agreed on with the server; `None` for a session with a proxy, and before the
    /// handshake is complete.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        if self.peer == Peer::Proxy { None } else { session_info(self.tls.session()) }
    }

    /// Goes on with the handshake. Returns whether it is complete.
    ///
    /// # Errors
    /// If nothing more can be sent, or reading has failed: a read says why.
    pub(crate) fn handshake(&mut self) -> io::Result<bool> {
        if self.tls.is_handshaking() {
            self.tls.read(&mut []);
            if self.tls.fault().is_some() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(!self.tls.is_handshaking())
    }

    /// Checks, once the handshake is complete, the protocol that the other end has selected.
    pub(crate) fn check_protocol(&self) -> Result<(), ConnectError> {
        check_protocol(self.tls.session()).map_err(|error| self.error(error))
    }

    /// Why a read or a write has failed, in this session or below it.
    pub(crate) fn failure(&mut self) -> ConnectError {
        if let Some(fault) = self.fault() {
            return self.error(fault);
        }
        let Below { stream, failure, .. } = self.tls.transport_mut();
        let unknown = || io::ErrorKind::ConnectionAborted.into();
        stream.failure(failure.take().unwrap_or_else(unknown))
    }

    /// Why TLS has failed in this session; `None` if it has not.
    fn fault(&self) -> Option<TlsError> {
        match self.tls.fault()? {
            Fault::Tls(error) => Some(tls_error(error.clone())),
            Fault::NotTls { is_http } => Some(TlsError::NotTls { is_http: *is_http }),
            // The version is in the ServerHello.
            Fault::Truncated if self.tls.session().protocol_version().is_none() => Some(TlsError::NotBegun),
            Fault::Truncated => Some(TlsError::Truncated),
            _ => None,
        }
    }

    /// Why TLS has failed in this session or below it; `None` if it has not.
    pub(crate) fn tls_error(&self) -> Option<TlsError> {
        let named = |error| match self.peer {
            Peer::Server => error,
            Peer::Proxy => TlsError::Proxy(Box::new(error)),
        };
        self.fault().map(named).or_else(|| self.below().tls_error())
    }

    fn error(&self, error: TlsError) -> ConnectError {
        match self.peer {
            Peer::Server => ConnectError::Tls(error),
            Peer::Proxy => ConnectError::Proxy(Box::new(ConnectError::Tls(error))),
        }
    }
}

impl<T: Stream> Transport for Below<T> {
    fn read(&mut self, target: &mut [u8]) -> Io {
        if self.is_cut {
            return Io::Lost;
        }
        let result = self.stream.read_once(target);
        self.note(result)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        if self.is_cut {
            return Io::Lost;
        }
        let result = self.stream.write_once(slices);
        self.note(result)
    }

    fn shutdown(&mut self, how: Shutdown) {
        self.stream.shutdown(how);
    }

    fn short_read_empties(&self) -> bool {
        self.stream.short_read_empties()
    }

    fn flush_own(&mut self) -> bool {
        self.stream.flush_own()
    }

    fn end(&mut self) -> bool {
        self.stream.end()
    }

    fn discard(&mut self, scratch: &mut [u8]) -> Io {
        self.stream.discard(scratch)
    }
}

impl<T> Below<T> {
    #[inline]
    fn note(&mut self, result: io::Result<usize>) -> Io {
        match result {
            Ok(count) => Io::Moved(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Io::Blocked,
            Err(error) => {
                self.failure = Some(error);
                Io::Lost
            }
        }
    }
}
