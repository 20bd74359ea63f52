//! The stream of a connection: a socket, or TLS over one.

use super::tls;
use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;

#[derive(Debug)]
pub(super) enum Link {
    Plain(TcpStream),
    Tls(tls::Stream),
}

impl Link {
    /// Over a socket that connects.
    pub(super) fn new(socket: TcpStream, client: Option<&tls::Client>) -> io::Result<Link> {
        Ok(match client {
            Some(client) => Link::Tls(tls::Stream::new(socket, client)?),
            None => Link::Plain(socket),
        })
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Link::Plain(socket) => socket,
            Link::Tls(stream) => stream.socket(),
        }
    }

    /// Whether octets can go both ways, once the socket is connected.
    pub(super) fn is_established(&self) -> bool {
        match self {
            Link::Plain(_) => true,
            Link::Tls(stream) => stream.is_established(),
        }
    }

    /// The session, if it is one of TLS.
    pub(super) fn tls(&self) -> Option<&tls::Stream> {
        match self {
            Link::Plain(_) => None,
            Link::Tls(stream) => Some(stream),
        }
    }

    /// Whether octets that nobody wants to see can be dropped unread.
    #[inline]
    pub(super) fn can_drop(&self) -> bool {
        cfg!(target_os = "linux") && matches!(self, Link::Plain(_))
    }

    /// Drops so many octets at most, where [`can_drop`](Self::can_drop) says that it can.
    pub(super) fn drop_unread(&mut self, dropped: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        SockRef::from(&*self.socket()).recv_with_flags(dropped, MSG_TRUNC)
    }

    #[inline]
    pub(super) fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.read(target),
            Link::Tls(stream) => stream.read(target),
        }
    }

    /// Whether a read of so many octets, which had room for `wanted`, has left nothing: an event
    /// announces what comes next.
    #[inline]
    pub(super) fn is_emptied(&self, count: usize, wanted: usize) -> bool {
        match self {
            Link::Plain(_) => count < wanted,
            Link::Tls(stream) => stream.is_emptied(),
        }
    }

    #[inline]
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(socket) => socket.write(octets),
            Link::Tls(stream) => stream.write(octets),
        }
    }

    /// Whether a write of so many octets out of `wanted` has filled it: an event announces room.
    #[inline]
    pub(super) fn is_filled(&self, count: usize, wanted: usize) -> bool {
        matches!(self, Link::Plain(_)) && count < wanted
    }

    /// Writes what the stream has to say by itself. Says whether all of it has left.
    #[inline]
    pub(super) fn flush(&mut self) -> bool {
        match self {
            Link::Plain(_) => true,
            Link::Tls(stream) => stream.flush(),
        }
    }
}

/// On a TCP socket under Linux: drop the octets. See tcp(7).
const MSG_TRUNC: i32 = 0x20;
