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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};

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
///
/// It keeps the address of its peer: after a reset the system no longer knows it. Each connection
/// has a stream, whose size is that of a TLS session's box and a tag. An IPv4 address fits into the
/// rest of a TCP socket.
#[derive(Debug)]
pub(crate) enum Stream {
    TcpV4(mio::net::TcpStream, PeerV4),
    TcpV6(mio::net::TcpStream, Box<PeerV6>),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
    /// TLS over one of the others.
    #[cfg(feature = "tls")]
    Tls(Box<Session<Stream>>),
}

/// The address of an IPv4 peer, in seven bytes without alignment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerV4 {
    ip: [u8; 4],
    port: [u8; 2],
    /// A dual-stack socket reported it as `::ffff:a.b.c.d`.
    is_mapped: bool,
}

/// The address of an IPv6 peer, without the flow information, which an accepted socket reports as 0.
#[derive(Debug)]
pub(crate) struct PeerV6 {
    ip: Ipv6Addr,
    scope_id: u32,
    port: u16,
}

impl Stream {
    /// A TCP connection that was accepted from `peer`.
    pub(crate) fn tcp(stream: mio::net::TcpStream, peer: SocketAddr) -> Stream {
        let (ip, is_mapped) = match peer {
            SocketAddr::V4(peer) => (*peer.ip(), false),
            SocketAddr::V6(peer) => match peer.ip().to_ipv4_mapped() {
                Some(ip) => (ip, true),
                None => {
                    let (ip, scope_id, port) = (*peer.ip(), peer.scope_id(), peer.port());
                    return Stream::TcpV6(stream, Box::new(PeerV6 { ip, scope_id, port }));
                }
            },
        };
        Stream::TcpV4(stream, PeerV4 { ip: ip.octets(), port: peer.port().to_ne_bytes(), is_mapped })
    }

    pub(crate) fn peer_addr(&self) -> PeerAddr {
        match self {
            Stream::TcpV4(_, PeerV4 { ip, port, is_mapped }) => {
                let (ip, port) = (Ipv4Addr::from(*ip), u16::from_ne_bytes(*port));
                PeerAddr::Ip(if *is_mapped {
                    SocketAddrV6::new(ip.to_ipv6_mapped(), port, 0, 0).into()
                } else {
                    SocketAddrV4::new(ip, port).into()
                })
            }
            Stream::TcpV6(_, peer) => {
                PeerAddr::Ip(SocketAddrV6::new(peer.ip, peer.port, 0, peer.scope_id).into())
            }
            #[cfg(unix)]
            Stream::Unix(_) => PeerAddr::Unix,
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
            Stream::TcpV4(stream, _) | Stream::TcpV6(stream, _) => moved(|| stream.read(target)),
            #[cfg(unix)]
            Stream::Unix(stream) => moved(|| stream.read(target)),
            #[cfg(feature = "tls")]
            Stream::Tls(session) => session.read(target),
        }
    }

    #[inline]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match (self, slices) {
            (Stream::TcpV4(stream, _) | Stream::TcpV6(stream, _), [one]) => moved(|| stream.write(one)),
            (Stream::TcpV4(stream, _) | Stream::TcpV6(stream, _), slices) => {
                moved(|| stream.write_vectored(slices))
            }
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
            Stream::TcpV4(stream, _) | Stream::TcpV6(stream, _) => stream.shutdown(how),
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
            Stream::TcpV4(stream, _) | Stream::TcpV6(stream, _) => stream,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection from this address.
    #[track_caller]
    fn from(peer: &str) -> Stream {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a bound socket");
        let stream = mio::net::TcpStream::connect(addr).expect("it listens");
        Stream::tcp(stream, peer.parse().expect("an address"))
    }

    #[test]
    fn a_stream_knows_the_address_that_it_was_accepted_from() {
        for peer in [
            "192.0.2.1:65535",
            "0.0.0.0:1",
            "[::ffff:192.0.2.1]:258",
            "[::192.0.2.1]:513",
            "[2001:db8::1]:443",
            "[fe80::1%7]:80",
        ] {
            assert_eq!(from(peer).peer_addr(), PeerAddr::Ip(peer.parse().expect("an address")), "{peer}");
        }
    }

    /// Each connection has one.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_stream_takes_16_bytes() {
        // In builds with debug assertions mio keeps 12 bytes more of each socket.
        let most = if cfg!(debug_assertions) { 32 } else { 16 };
        assert!(size_of::<Stream>() <= most, "{}", size_of::<Stream>());
    }
}
