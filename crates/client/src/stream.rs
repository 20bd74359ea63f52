//! The stream of a client: a TCP connection of its own, a stream of bytes that the application
//! supplies, or TLS over one of these.

#[cfg(feature = "tls")]
use crate::layer::{self, Layer};
use framewright_driver::opening::{self, ConnectError};
#[cfg(feature = "tls")]
use framewright_driver::opening::{Session, TlsError, TlsInfo};
use framewright_driver::{Io, Transport, short_read_empties_a_socket, uninterrupted};
use mio::net::TcpStream;
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::thread;

/// A duplicate of a stream's descriptor, for another poll.
#[cfg(unix)]
pub(crate) type AnotherName = OwnedFd;
#[cfg(not(unix))]
pub(crate) type AnotherName = TcpStream;

/// The readiness that a socket is watched for, including TCP's urgent mark where possible
/// ([`Ready::more_behind`](framewright_driver::Ready::more_behind)).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The stream of a client, which does not block.
pub(crate) enum ClientStream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Brought(Box<dyn Brought>),
    #[cfg(feature = "tls")]
    Tls(Box<Layer<ClientStream>>),
}

impl Drop for ClientStream {
    /// Ends TLS (RFC 8446, section 6.1), as far as there is room, however the connection ends.
    fn drop(&mut self) {
        // A stream of the application's that panics here too would end the process.
        if !thread::panicking() {
            Transport::end(self);
        }
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientStream::Tcp(stream) => stream.fmt(f),
            #[cfg(unix)]
            ClientStream::Brought(_) => f.write_str("Brought"),
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => f.debug_tuple("Tls").field(layer.below()).finish(),
        }
    }
}

impl ClientStream {
    /// Registers a stream that the application supplied. A TCP connection of the client's own is
    /// registered as it connects.
    #[cfg(unix)]
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let ClientStream::Brought(brought) = self else { return Ok(()) };
        let reading = brought.reads_from();
        SockRef::from(&reading).set_nonblocking(true)?;
        let Some(writing) = brought.writes_to().filter(|fd| fd.as_raw_fd() != reading.as_raw_fd()) else {
            return registry.register(&mut SourceFd(&reading.as_raw_fd()), token, INTERESTS);
        };
        SockRef::from(&writing).set_nonblocking(true)?;
        registry.register(&mut SourceFd(&reading.as_raw_fd()), token, Interest::READABLE)?;
        registry.register(&mut SourceFd(&writing.as_raw_fd()), token, Interest::WRITABLE)
    }

    /// Registers the stream with another poll, for room to write, as long as the returned value
    /// lives. That poll can watch a stream of this one only through a duplicate descriptor.
    #[cfg(unix)]
    pub(crate) fn watch_writing(&self, registry: &Registry, token: Token) -> io::Result<AnotherName> {
        let another = match self {
            ClientStream::Tcp(stream) => SockRef::from(stream).try_clone()?.into(),
            ClientStream::Brought(brought) => {
                brought.writes_to().ok_or(io::ErrorKind::BrokenPipe)?.try_clone_to_owned()?
            }
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => return layer.below().watch_writing(registry, token),
        };
        registry.register(&mut SourceFd(&another.as_raw_fd()), token, Interest::WRITABLE)?;
        Ok(another)
    }

    /// Registers a duplicate of the TCP connection with another poll, for room to write, as long as
    /// the returned value lives.
    #[cfg(not(unix))]
    pub(crate) fn watch_writing(&self, registry: &Registry, token: Token) -> io::Result<AnotherName> {
        let stream = match self {
            ClientStream::Tcp(stream) => stream,
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => return layer.below().watch_writing(registry, token),
        };
        let mut another = TcpStream::from_std(SockRef::from(stream).try_clone()?.into());
        registry.register(&mut another, token, Interest::WRITABLE)?;
        Ok(another)
    }

    /// True if our direction may end only when no duplicate of its descriptor is left: a stream
    /// that the application supplied need not be a socket.
    pub(crate) fn ends_with_its_names(&self) -> bool {
        match self {
            ClientStream::Tcp(_) => false,
            #[cfg(unix)]
            ClientStream::Brought(_) => true,
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.below().ends_with_its_names(),
        }
    }

    /// Ends both directions of the stream at the bottom, without a word of the sessions over it.
    /// They do not touch it any more.
    pub(crate) fn cut(&mut self) {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.cut(),
            plain => plain.shutdown(Shutdown::Both),
        }
    }

    /// The address of the peer; `None` if it is gone, or has no such address.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            ClientStream::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(unix)]
            ClientStream::Brought(brought) => {
                SockRef::from(&brought.reads_from()).peer_addr().ok()?.as_socket()
            }
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.below().peer_addr(),
        }
    }

    /// The address of this end; `None` if it is gone, or there is none.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            ClientStream::Tcp(stream) => stream.local_addr().ok(),
            #[cfg(unix)]
            ClientStream::Brought(brought) => {
                SockRef::from(&brought.reads_from()).local_addr().ok()?.as_socket()
            }
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.below().local_addr(),
        }
    }
}

/// Reading and writing for those who want to know why it fails.
impl ClientStream {
    /// Reads once. 0 at the end of the stream.
    #[inline]
    pub(crate) fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            ClientStream::Tcp(stream) => uninterrupted(|| stream.read(target)),
            #[cfg(unix)]
            ClientStream::Brought(brought) => uninterrupted(|| brought.read(target)),
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => of_session(layer.session_mut().read(target)),
        }
    }

    /// Writes once, from one slice or more.
    #[inline]
    pub(crate) fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (ClientStream::Tcp(stream), [one]) => uninterrupted(|| stream.write(one)),
            (ClientStream::Tcp(stream), slices) => uninterrupted(|| stream.write_vectored(slices)),
            #[cfg(unix)]
            (ClientStream::Brought(brought), slices) => uninterrupted(|| brought.write(slices)),
            #[cfg(feature = "tls")]
            (ClientStream::Tls(layer), slices) => of_session(layer.session_mut().write(slices)),
        }
    }

    /// What TLS with the server has agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<TlsInfo> {
        match self {
            ClientStream::Tls(layer) => layer.info(),
            _ => None,
        }
    }

    /// Why TLS has failed; `None` if it has not.
    #[cfg(feature = "tls")]
    pub(crate) fn tls_error(&self) -> Option<TlsError> {
        match self {
            ClientStream::Tls(layer) => layer.tls_error(),
            _ => None,
        }
    }
}

impl opening::Stream for ClientStream {
    const DOES_TLS: bool = cfg!(feature = "tls");

    fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.read_once(target)
    }

    fn write_once(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.write_once(&[IoSlice::new(octets)])
    }

    fn handshake(&mut self) -> io::Result<bool> {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.handshake(),
            _ => Ok(true),
        }
    }

    fn check_protocol(&self) -> Result<(), ConnectError> {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.check_protocol(),
            _ => Ok(()),
        }
    }

    fn flush_own(&mut self) {
        Transport::flush_own(self);
    }

    fn end(&mut self) {
        Transport::end(self);
    }

    fn failure(&mut self, error: io::Error) -> ConnectError {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.failure(),
            _ => ConnectError::Lost(error),
        }
    }

    #[cfg(feature = "tls")]
    fn secured(self, session: Session) -> Result<Self, ConnectError> {
        Ok(ClientStream::Tls(Box::new(Layer::start(session, self)?)))
    }
}

#[cfg(feature = "tls")]
impl layer::Stream for ClientStream {
    #[inline]
    fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.read_once(target)
    }

    #[inline]
    fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_once(slices)
    }

    fn failure(&mut self, error: io::Error) -> ConnectError {
        opening::Stream::failure(self, error)
    }

    fn tls_error(&self) -> Option<TlsError> {
        self.tls_error()
    }

    fn cut(&mut self) {
        self.cut();
    }
}

/// The result of a read or a write of a stream without TLS.
#[inline]
fn of_plain(result: io::Result<usize>) -> Io {
    match result {
        Ok(count) => Io::Moved(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Io::Blocked,
        Err(_) => Io::Lost,
    }
}

/// The result of a read or a write of a session, which knows itself why it has failed.
#[cfg(feature = "tls")]
fn of_session(moved: Io) -> io::Result<usize> {
    match moved {
        Io::Moved(count) => Ok(count),
        Io::Blocked => Err(io::ErrorKind::WouldBlock.into()),
        Io::Lost => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

impl Transport for ClientStream {
    #[inline]
    fn read(&mut self, target: &mut [u8]) -> Io {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session_mut().read(target),
            plain => of_plain(plain.read_once(target)),
        }
    }

    #[inline]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session_mut().write(slices),
            plain => of_plain(plain.write_once(slices)),
        }
    }

    #[cfg(feature = "tls")]
    fn write_last(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match self {
            ClientStream::Tls(layer) => layer.session_mut().write_last(slices),
            plain => plain.write(slices),
        }
    }

    fn shutdown(&mut self, how: Shutdown) {
        match self {
            ClientStream::Tcp(stream) => drop(stream.shutdown(how)),
            #[cfg(unix)]
            ClientStream::Brought(brought) => brought.shutdown(how),
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session_mut().shutdown(how),
        }
    }

    fn short_read_empties(&self) -> bool {
        match self {
            ClientStream::Tcp(_) => short_read_empties_a_socket(),
            // The layers between the stream and its descriptor are unknown.
            #[cfg(unix)]
            ClientStream::Brought(_) => false,
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session().short_read_empties(),
        }
    }

    #[inline]
    fn flush_own(&mut self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session_mut().flush_own(),
            _ => true,
        }
    }

    fn end(&mut self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session_mut().end(),
            _ => true,
        }
    }

    fn discard(&mut self, scratch: &mut [u8]) -> Io {
        match self {
            #[cfg(feature = "tls")]
            ClientStream::Tls(layer) => layer.session_mut().discard(scratch),
            plain => plain.read(scratch),
        }
    }
}

/// A stream that the application supplies.
#[cfg(unix)]
pub(crate) trait Brought: Send {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize>;

    /// Writes once, from one slice or more.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The descriptor that signals bytes to read.
    fn reads_from(&self) -> BorrowedFd<'_>;

    /// The descriptor that signals room to write; `None` once our direction has ended.
    fn writes_to(&self) -> Option<BorrowedFd<'_>>;

    fn shutdown(&mut self, how: Shutdown);
}

/// One stream for both directions.
#[cfg(unix)]
pub(crate) struct Whole<S>(pub(crate) S);

#[cfg(unix)]
impl<S: Read + Write + AsFd + Send> Brought for Whole<S> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.0.read(target)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        write_once(&mut self.0, slices)
    }

    fn reads_from(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn writes_to(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn shutdown(&mut self, how: Shutdown) {
        // A stream that is not a socket ends when it is dropped.
        let _ = SockRef::from(&self.0).shutdown(how);
    }
}

/// One stream for each direction.
#[cfg(unix)]
pub(crate) struct Pair<R, W> {
    reader: R,
    /// `None` once our direction has ended.
    writer: Option<W>,
}

#[cfg(unix)]
impl<R, W> Pair<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Self {
        Pair { reader, writer: Some(writer) }
    }
}

#[cfg(unix)]
impl<R: Read + AsFd + Send, W: Write + AsFd + Send> Brought for Pair<R, W> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.reader.read(target)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        write_once(self.writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?, slices)
    }

    fn reads_from(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    fn writes_to(&self) -> Option<BorrowedFd<'_>> {
        self.writer.as_ref().map(AsFd::as_fd)
    }

    fn shutdown(&mut self, how: Shutdown) {
        if how != Shutdown::Read {
            self.writer = None;
        }
    }
}

/// Writes once. A writer that takes none of the given bytes will never take any.
#[cfg(unix)]
fn write_once(writer: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let taken = match slices {
        [one] => writer.write(one),
        slices => writer.write_vectored(slices),
    }?;
    if taken == 0 && slices.iter().any(|slice| !slice.is_empty()) {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(taken)
}
