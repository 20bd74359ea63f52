//! What a driver brings to an opening: names, sockets, and the streams over them.

use super::error::ConnectError;
#[cfg(feature = "client-tls")]
use super::tls::Session;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

/// The way of a driver to resolve names and to connect. Nothing here blocks: what is not done yet
/// wakes the driver when it can go on, which then gives the opening another turn.
pub trait Network {
    /// A lookup under way. Dropping it gives it up.
    type Lookup;
    /// A TCP connection that is being established. Dropping it gives it up.
    type Attempt;
    /// An established connection.
    type Stream: Stream;

    /// Starts to look up the addresses of a host.
    fn resolve(&mut self, host: &str, port: u16) -> Self::Lookup;

    /// Takes the answer of a lookup; `None` before it is there.
    fn answer(&mut self, lookup: &mut Self::Lookup) -> Option<io::Result<Vec<SocketAddr>>>;

    /// Starts to connect to an address.
    ///
    /// # Errors
    /// The error with which connecting failed at once.
    fn connect(&mut self, address: SocketAddr) -> io::Result<Self::Attempt>;

    /// Looks at a connection that is being established.
    ///
    /// # Errors
    /// The error with which connecting failed.
    fn look_at(&mut self, attempt: Self::Attempt) -> io::Result<Attempted<Self::Attempt, Self::Stream>>;

    /// Wakes the driver. Each turn may have another one.
    fn waker(&self) -> &Waker;

    /// Is called with the connection before it is used in a turn: reads and writes that find nothing
    /// to do wake the driver of this turn.
    ///
    /// The default is for connections that need no such call.
    fn attend(&mut self, stream: &mut Self::Stream) {
        let _ = stream;
    }
}

/// How far a connection is.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "an opening handles each")]
pub enum Attempted<A, S> {
    /// It is not established yet.
    Pending(A),
    /// It is established.
    Connected(S),
}

/// The stream that a connection is opened over: TCP, anything that the application brings, or TLS
/// over one of these. Nothing here blocks.
pub trait Stream: Sized {
    /// Whether `secured` can start a session.
    const DOES_TLS: bool = false;

    /// Reads once. 0 at the end of the stream.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing can be read now; other errors if the
    /// stream has failed.
    fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize>;

    /// Writes once.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing can be written now; other errors if the
    /// stream has failed.
    fn write_once(&mut self, octets: &[u8]) -> io::Result<usize>;

    /// Goes on with the TLS handshake, if there is one. Returns whether it is complete.
    ///
    /// # Errors
    /// If it has failed: a read says why.
    fn handshake(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Checks, once a TLS handshake is complete, that the other end speaks HTTP/1.1 within it.
    ///
    /// # Errors
    /// If it speaks another protocol.
    fn check_protocol(&self) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Writes what the stream has queued itself, as far as there is room.
    fn flush_own(&mut self) {}

    /// Ends our direction, as far as there is room: a TLS session sends close_notify.
    fn end(&mut self) {}

    /// Why the connection could not be opened, after a read or a write has returned `error`.
    fn failure(&mut self, error: io::Error) -> ConnectError {
        ConnectError::Lost(error)
    }

    /// Starts a TLS session over this stream. Nothing is sent before the first read, write or
    /// [`handshake`](Stream::handshake).
    ///
    /// # Errors
    /// If rustls refuses the configuration. The default is for streams without TLS.
    #[cfg(feature = "client-tls")]
    fn secured(self, session: Session) -> Result<Self, ConnectError> {
        let _ = session;
        Err(ConnectError::TlsNotSupported)
    }
}
