//! The sockets of a server's connections, behind one type.

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

/// An accepted socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

impl Stream {
    pub(crate) fn peer_addr(&self) -> Option<PeerAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok().map(PeerAddr::Ip),
            #[cfg(unix)]
            Stream::Unix(_) => Some(PeerAddr::Unix),
        }
    }
}

impl Transport for Stream {
    #[inline]
    fn read(&mut self, target: &mut [u8]) -> Io {
        moved(|| match self {
            Stream::Tcp(stream) => stream.read(target),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.read(target),
        })
    }

    #[inline]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        moved(|| match (&mut *self, slices) {
            (Stream::Tcp(stream), [one]) => stream.write(one),
            (Stream::Tcp(stream), slices) => stream.write_vectored(slices),
            #[cfg(unix)]
            (Stream::Unix(stream), [one]) => stream.write(one),
            #[cfg(unix)]
            (Stream::Unix(stream), slices) => stream.write_vectored(slices),
        })
    }

    fn shutdown(&mut self, how: Shutdown) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(how),
        };
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, interests),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.reregister(registry, token, interests),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.deregister(registry),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.deregister(registry),
        }
    }
}
