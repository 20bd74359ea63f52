//! The sockets of a server's connections, behind one type.

#[cfg(feature = "tls")]
use crate::tls::info::TlsInfo;
#[cfg(feature = "tls")]
use crate::tls::session::Session;
use framewright_driver::{Io, Transport, moved};
use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerAddr {
    /// A TCP peer.
    Ip(SocketAddr),
    /// A peer on a Unix socket, which has no name of its own.
    Unix,
}

impl PeerAddr {
    /// The IP address; `None` for a peer on a Unix socket. An IPv4-mapped IPv6 address is returned
    /// as IPv4.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            PeerAddr::Ip(addr) => Some(addr.ip().to_canonical()),
            PeerAddr::Unix => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddr::Ip(addr) => fmt::Display::fmt(addr, f),
            PeerAddr::Unix => f.write_str("unix"),
        }
    }
}

/// The facts known about a connection when it is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) peer: Option<PeerAddr>,
    /// True if the peer is a trusted proxy: the connection is not counted for the proxy's address.
    pub(crate) by_proxy: bool,
    /// True if it begins with a header of the PROXY protocol.
    pub(crate) has_proxy_header: bool,
}

/// An accepted socket, with or without TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
    /// TLS over one of the others.
    #[cfg(feature = "tls")]
    Tls(Box<Session<Stream>>),
}

impl Stream {
    pub(crate) fn peer_addr(&self) -> Option<PeerAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok().map(PeerAddr::Ip),
            #[cfg(unix)]
            Stream::Unix(_) => Some(PeerAddr::Unix),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.stream().peer_addr(),
        }
    }

    /// Whether a TLS handshake is to be completed before anything can be sent.
    pub(crate) fn is_handshaking(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.is_handshaking(),
            _ => false,
        }
    }

    /// Bytes that the TLS session holds; 0 without one.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        match self {
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.held(),
            _ => 0,
        }
    }

    /// See [`Tls::flush_offered`](framewright_driver::tls::Tls::flush_offered).
    #[inline]
    pub(crate) fn flush_offered(&mut self) {
        #[cfg(feature = "tls")]
        if let Stream::Tls(session) = self {
            session.flush_offered();
        }
    }

    /// The TLS session, once its handshake is complete.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<TlsInfo<'_>> {
        match self {
            Stream::Tls(session) => session.info(),
            _ => None,
        }
    }
}

impl Transport for Stream {
    #[inline]
    fn read(&mut self, target: &mut [u8]) -> Io {
        match self {
            Stream::Tcp(stream) => moved(|| stream.read(target)),
            #[cfg(unix)]
            Stream::Unix(stream) => moved(|| stream.read(target)),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.read(target),
        }
    }

    #[inline]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match (self, slices) {
            (Stream::Tcp(stream), [one]) => moved(|| stream.write(one)),
            (Stream::Tcp(stream), slices) => moved(|| stream.write_vectored(slices)),
            #[cfg(unix)]
            (Stream::Unix(stream), [one]) => moved(|| stream.write(one)),
            #[cfg(unix)]
            (Stream::Unix(stream), slices) => moved(|| stream.write_vectored(slices)),
            #[cfg(feature = "tls")]
            (Stream::Tls(session), slices) => session.write(slices),
        }
    }

    #[cfg(feature = "tls")]
    fn write_last(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match self {
            Stream::Tls(session) => session.write_last(slices),
            stream => stream.write(slices),
        }
    }

    fn shutdown(&mut self, how: Shutdown) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(how),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => {
                session.shutdown(how);
                Ok(())
            }
        };
    }

    #[cfg(feature = "tls")]
    #[inline]
    fn short_read_empties(&self) -> bool {
        match self {
            Stream::Tls(session) => session.short_read_empties(),
            _ => framewright_driver::short_read_empties_a_socket(),
        }
    }

    #[cfg(feature = "tls")]
    #[inline]
    fn flush_own(&mut self) -> bool {
        match self {
            Stream::Tls(session) => session.flush_own(),
            _ => true,
        }
    }

    #[cfg(feature = "tls")]
    fn end(&mut self) -> bool {
        match self {
            Stream::Tls(session) => session.end(),
            _ => true,
        }
    }

    #[cfg(feature = "tls")]
    fn owes_reason(&self) -> bool {
        match self {
            Stream::Tls(session) => session.owes_reason(),
            _ => false,
        }
    }

    #[cfg(feature = "tls")]
    fn drop_queued(&mut self) {
        if let Stream::Tls(session) = self {
            session.drop_queued();
        }
    }

    #[cfg(feature = "tls")]
    fn discard(&mut self, scratch: &mut [u8]) -> Io {
        match self {
            Stream::Tls(session) => session.discard(scratch),
            stream => stream.read(scratch),
        }
    }
}

impl Stream {
    /// The socket, for the poll.
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            #[cfg(unix)]
            Stream::Unix(stream) => stream,
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.stream_mut().source(),
        }
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}
