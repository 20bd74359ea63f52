//! All connections of a server at once: what a walk through them sees, and its result.

use crate::api::handle::{Handle, HandleError};
use crate::api::socket::OwnParts;
use crate::event_loop::mailbox::Mailbox;
use crate::event_loop::stream::{PeerAddr, Stream};
#[cfg(feature = "tls")]
use crate::tls::info::TlsInfo;
use framewright::{Connection, State, Stats};
use std::error;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// An open connection, as a walk through all connections sees it, on its event loop.
///
/// From [`ServerHandle::for_each`](crate::ServerHandle::for_each) and
/// [`ServerHandle::broadcast_where`](crate::ServerHandle::broadcast_where).
pub struct Connected<'a> {
    pub(crate) own: OwnParts<'a>,
    pub(crate) connection: &'a Connection,
    pub(crate) stream: &'a Stream,
    pub(crate) route: Option<&'a Arc<str>>,
}

impl fmt::Debug for Connected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("id", &self.id())
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

impl Connected<'_> {
    /// The number of the connection: see [`Socket::id`](crate::Socket::id).
    #[must_use]
    pub fn id(&self) -> u64 {
        self.own.id
    }

    /// The path of its route, as [`ServerBuilder::route`](crate::ServerBuilder::route) was given
    /// it; `None` for the fallback.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.route.map(|route| &**route)
    }

    /// The peer's address: that of a proxy, if one stands in front of the server.
    #[must_use]
    pub fn peer_addr(&self) -> PeerAddr {
        self.stream.peer_addr()
    }

    /// What was agreed on in the TLS handshake, and the client's certificates; `None` on an endpoint
    /// without [TLS](crate::Endpoint::with_tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsInfo<'_>> {
        self.stream.tls()
    }

    /// Whether the closing handshake has not begun.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.state() == State::Open
    }

    /// Messages and bytes sent and received so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// Returns a handle that sends from any thread. The first one costs a small allocation for as
    /// long as the connection lives.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.own.handle(self.connection)
    }

    pub(crate) fn info(&self) -> ConnectionInfo {
        ConnectionInfo { id: self.id(), route: self.route.cloned(), peer_addr: self.peer_addr() }
    }
}

/// An open connection's number, route and peer address.
///
/// From [`ServerHandle::connections`](crate::ServerHandle::connections).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The number of the connection: see [`Socket::id`](crate::Socket::id).
    pub id: u64,
    /// The path of its route, as [`ServerBuilder::route`](crate::ServerBuilder::route) was given
    /// it; `None` for the fallback.
    pub route: Option<Arc<str>>,
    /// The peer's address: that of a proxy, if one stands in front of the server.
    pub peer_addr: PeerAddr,
}

/// An iterator over the open connections, in no particular order.
///
/// From [`ServerHandle::connections`](crate::ServerHandle::connections). Dropping it ends the walk.
///
/// # Panics
/// [`next`](Iterator::next) panics on one of the server's own event loops, which would wait for
/// itself.
pub struct Connections {
    pub(crate) found: Receiver<ConnectionInfo>,
    pub(crate) mailboxes: Arc<[Arc<Mailbox>]>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Iterator for Connections {
    type Item = ConnectionInfo;

    fn next(&mut self) -> Option<ConnectionInfo> {
        assert_elsewhere(&self.mailboxes);
        // Each loop keeps the other end until it has walked through its connections.
        self.found.recv().ok()
    }
}

/// A message being sent to all connections. Dropping this does not stop it.
///
/// From [`ServerHandle::broadcast`](crate::ServerHandle::broadcast).
pub struct Broadcast {
    pub(crate) told: Receiver<Delivered>,
    pub(crate) mailboxes: Arc<[Arc<Mailbox>]>,
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast").finish_non_exhaustive()
    }
}

impl Broadcast {
    /// Waits until every event loop has done its part, and returns the number of connections by
    /// result.
    ///
    /// A loop that has ended has no connections. A server that does not run yet does its part once
    /// it runs.
    ///
    /// # Panics
    /// If it is called on one of the server's own event loops, which would wait for itself.
    #[must_use]
    pub fn wait(self) -> Delivered {
        assert_elsewhere(&self.mailboxes);
        self.told.iter().fold(Delivered::default(), |sum, part| Delivered {
            sent: sum.sent + part.sent,
            full: sum.full + part.full,
            closed: sum.closed + part.closed,
        })
    }
}

#[track_caller]
fn assert_elsewhere(mailboxes: &[Arc<Mailbox>]) {
    let is_here = mailboxes.iter().any(|mailbox| mailbox.is_here());
    assert!(!is_here, "an event loop cannot wait for its own part");
}

/// The number of connections of a [`Broadcast`], by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The message was queued, and written as far as the peer took it at once.
    pub sent: usize,
    /// Left out: [`Config::high_water`](crate::Config::high_water) bytes are queued for the
    /// peer, or there is no memory ([`HandleError::Full`]).
    pub full: usize,
    /// Left out: the closing handshake had begun, or the connection ended meanwhile.
    pub closed: usize,
}

impl Delivered {
    /// Counts one connection.
    pub(crate) fn count(&mut self, outcome: Option<Result<(), HandleError>>) {
        *match outcome {
            Some(Ok(())) => &mut self.sent,
            Some(Err(HandleError::Full)) => &mut self.full,
            Some(Err(_)) | None => &mut self.closed,
        } += 1;
    }
}

/// The pending messages and closures for all connections have reached 16 MiB. Nothing was begun.
///
/// From [`ServerHandle::broadcast`](crate::ServerHandle::broadcast),
/// [`broadcast_where`](crate::ServerHandle::broadcast_where),
/// [`connections`](crate::ServerHandle::connections) and
/// [`for_each`](crate::ServerHandle::for_each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerBusy;

impl fmt::Display for ServerBusy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much waits to be done for all connections of the server")
    }
}

impl error::Error for ServerBusy {}
