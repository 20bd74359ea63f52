//! A TLS session over an accepted socket, whatever its type.

use super::info::TlsInfo;
use super::resolver::take_server_name;
use framewright_driver::tls::{Fault, Tls};
use framewright_driver::{Io, Transport};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use std::fmt;
use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::Arc;

/// The session of one connection, in a box: a connection without TLS holds a pointer's room for it
/// and no more.
pub(crate) struct Session<T> {
    tls: Tls<UnbufferedServerConnection, T>,
    /// Whether bytes go through as they are: before the session begins, behind the header of the
    /// PROXY protocol, and for a peer that does not speak TLS.
    is_plain: bool,
    /// The name that the client has sent (SNI).
    server_name: Option<Box<str>>,
    /// Bytes of the client's certificates.
    certificates: usize,
}

/// What rustls holds on the heap for each session: 2.4 KB once it is idle, and about as much during
/// the handshake.
const SESSION: usize = 2400;

impl<T: fmt::Debug> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("tls", &self.tls).finish_non_exhaustive()
    }
}

impl<T: Transport> Session<T> {
    /// Makes the session of a socket. The session begins with the first
    /// read, or with [`begin`](Session::begin) if `later`.
    pub(crate) fn new(config: Arc<ServerConfig>, stream: T, later: bool) -> Result<Box<Self>, rustls::Error> {
        let tls = Tls::server(config, stream)?;
        Ok(Box::new(Session { tls, is_plain: later, server_name: None, certificates: 0 }))
    }

    /// Begins the session with these bytes, which were received already.
    pub(crate) fn begin(&mut self, received: &[u8]) {
        self.is_plain = false;
        self.tls.push_received(received);
    }

    /// Lets bytes through as they are, for an answer to a peer that does not speak TLS.
    pub(crate) fn give_up(&mut self) {
        self.is_plain = true;
    }

    /// Why reading or writing has failed.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.tls.fault()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        !self.is_plain && self.tls.is_handshaking()
    }

    /// Whether the handshake is complete.
    fn is_established(&self) -> bool {
        !self.tls.is_handshaking()
    }

    /// What was agreed on, once the handshake is complete.
    pub(crate) fn info(&self) -> Option<TlsInfo<'_>> {
        self.is_established().then(|| TlsInfo::new(self.tls.session(), self.server_name.as_deref()))
    }

    pub(crate) fn stream(&self) -> &T {
        self.tls.transport()
    }

    pub(crate) fn stream_mut(&mut self) -> &mut T {
        self.tls.transport_mut()
    }

    /// Bytes that the session holds.
    pub(crate) fn held(&self) -> usize {
        size_of::<Self>() + SESSION + self.certificates + self.tls.held()
    }

    #[inline]
    pub(crate) fn read(&mut self, target: &mut [u8]) -> Io {
        if self.is_plain || self.tls.is_handshaking() {
            self.read_early(target)
        } else {
            self.tls.read(target)
        }
    }

    #[inline]
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        if self.is_plain || self.tls.is_handshaking() {
            self.write_early(slices)
        } else {
            self.tls.write(slices)
        }
    }

    #[inline]
    pub(crate) fn write_last(&mut self, slices: &[IoSlice<'_>]) -> Io {
        if self.is_plain || self.tls.is_handshaking() {
            self.write_early(slices)
        } else {
            self.tls.write_last(slices)
        }
    }

    #[cold]
    fn read_early(&mut self, target: &mut [u8]) -> Io {
        if self.is_plain { self.stream_mut().read(target) } else { self.shake_hands(|tls| tls.read(target)) }
    }

    #[cold]
    fn write_early(&mut self, slices: &[IoSlice<'_>]) -> Io {
        if self.is_plain {
            self.stream_mut().write(slices)
        } else {
            self.shake_hands(|tls| tls.write(slices))
        }
    }

    /// Goes on with the handshake, and notes what the client has said in it.
    fn shake_hands<R>(&mut self, act: impl FnOnce(&mut Tls<UnbufferedServerConnection, T>) -> R) -> R {
        let result = act(&mut self.tls);
        if let Some(name) = take_server_name() {
            self.server_name = Some(name);
        }
        if self.is_established() {
            let chain = self.tls.session().peer_certificates().unwrap_or_default();
            self.certificates = chain.iter().map(|certificate| certificate.len()).sum();
        }
        result
    }

    pub(crate) fn shutdown(&mut self, how: Shutdown) {
        if self.is_plain { self.stream_mut().shutdown(how) } else { self.tls.shutdown(how) }
    }

    pub(crate) fn short_read_empties(&self) -> bool {
        if self.is_plain { self.stream().short_read_empties() } else { self.tls.short_read_empties() }
    }

    /// See [`Tls::flush_offered`].
    pub(crate) fn flush_offered(&mut self) {
        if !self.is_plain {
            self.tls.flush_offered();
        }
    }

    pub(crate) fn flush_own(&mut self) -> bool {
        self.is_plain || self.tls.flush_own()
    }

    pub(crate) fn end(&mut self) -> bool {
        self.is_plain || self.tls.end()
    }

    pub(crate) fn owes_reason(&self) -> bool {
        self.tls.owes_reason()
    }

    pub(crate) fn drop_queued(&mut self) {
        self.tls.drop_queued();
    }

    pub(crate) fn discard(&mut self, scratch: &mut [u8]) -> Io {
        self.tls.discard(scratch)
    }
}
