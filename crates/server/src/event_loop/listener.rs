//! Listening sockets, and accepting that survives a lack of descriptors.

use crate::event_loop::listen_addr::ListenAddr;
use crate::event_loop::stream::{PeerAddr, Stream};
#[cfg(feature = "tls")]
use crate::tls::session::Session;
#[cfg(feature = "tls")]
use crate::tls::settings::TlsSettings;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause in accepting after the system ran out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections accepted from a listener in one round of the loop, so that a flood of new ones does
/// not keep the loop from the others.
pub(crate) const ACCEPT_AT_ONCE: usize = 64;

/// The number of batches of [`ACCEPT_AT_ONCE`] that empties the longest queue.
pub(crate) const LONGEST_QUEUE: usize = 1 + BACKLOG as usize / ACCEPT_AT_ONCE;

/// Connections that the system may queue before they are accepted; its own limit may be lower. With
/// the 128 that mio requests, a burst makes the system drop the peers' handshakes, which then take
/// seconds, or leave peers with half a connection.
const BACKLOG: i32 = 4096;

/// Whether accepted sockets inherit `TCP_NODELAY` from the listening one. A frame should leave when
/// it is written; setting the option on the listener saves a system call for each connection.
const INHERITS_NODELAY: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A filter that passes all TCP segments except those that request a new connection. All others
/// have the ACK flag, except a reset of a connection that is not established. The flags are octet
/// 13 of the header (RFC 9293, section 3.1).
#[cfg(any(target_os = "linux", target_os = "android"))]
const WITHOUT_SYN: [socket2::SockFilter; 4] = {
    use socket2::SockFilter;
    const LOAD_OCTET: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_OCTET, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, ACK),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};

#[derive(Debug)]
enum ListenSocket {
    Tcp(mio::net::TcpListener),
    #[cfg(unix)]
    Unix(mio::net::UnixListener),
}

#[derive(Debug)]
pub(crate) struct Listener {
    socket: ListenSocket,
    addr: ListenAddr,
    /// True if the socket was bound here, so that this server alone uses its queue. Otherwise
    /// another process may have the socket too, and continue to accept from it.
    is_ours: bool,
    /// The socket's file, which this listener removes.
    #[cfg(unix)]
    file: Option<PathBuf>,
    /// True if connections begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The TLS settings of connections; `None` for connections without TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<TlsSettings>>,
    /// True if there may be connections to accept.
    pub(crate) ready: bool,
    paused_until: Option<Instant>,
    /// True after a failed attempt, so that it is logged once and not every tenth of a second.
    cannot_accept: bool,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Listener> {
        Listener::bind_tcp(addr, false)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
    }

    fn bind_tcp(addr: SocketAddr, shared: bool) -> io::Result<Listener> {
        let mut listener = Listener::from_tcp(bind_tcp(addr, shared)?)?;
        listener.is_ours = true;
        Ok(listener)
    }

    pub(crate) fn from_tcp(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        if INHERITS_NODELAY {
            socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
        }
        Listener::tcp(mio::net::TcpListener::from_std(listener))
    }

    fn tcp(socket: mio::net::TcpListener) -> io::Result<Listener> {
        let addr = ListenAddr::Ip(socket.local_addr()?);
        Ok(Listener {
            socket: ListenSocket::Tcp(socket),
            addr,
            is_ours: false,
            #[cfg(unix)]
            file: None,
            proxy_protocol: false,
            #[cfg(feature = "tls")]
            tls: None,
            ready: true,
            paused_until: None,
            cannot_accept: false,
        })
    }

    /// Binds a socket at `path`. Replaces a socket file that no process listens on any more, such
    /// as one left by a server that was killed.
    #[cfg(unix)]
    pub(crate) fn bind_unix(path: &Path) -> io::Result<Listener> {
        Listener::bind_path(path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on unix:{}: {error}", path.display()))
        })
    }

    #[cfg(unix)]
    fn bind_path(path: &Path) -> io::Result<Listener> {
        let socket = match std::os::unix::net::UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                std::fs::remove_file(path)?;
                std::os::unix::net::UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let mut listener = Listener::from_unix(socket)?;
        (listener.is_ours, listener.file) = (true, Some(path.to_owned()));
        Ok(listener)
    }

    #[cfg(unix)]
    pub(crate) fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        Ok(Listener {
            socket: ListenSocket::Unix(mio::net::UnixListener::from_std(listener)),
            addr: ListenAddr::Unix(path),
            is_ours: false,
            file: None,
            proxy_protocol: false,
            #[cfg(feature = "tls")]
            tls: None,
            ready: true,
            paused_until: None,
            cannot_accept: false,
        })
    }

    pub(crate) fn addr(&self) -> &ListenAddr {
        &self.addr
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            ListenSocket::Tcp(listener) => listener,
            #[cfg(unix)]
            ListenSocket::Unix(listener) => listener,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(self.source(), token, Interest::READABLE)
    }

    /// Binds `count` more sockets to this one's port, among which the system distributes the
    /// connections. The result is empty in these cases:
    /// - the system does not distribute connections,
    /// - this is a Unix socket,
    /// - the socket is not ours, and its connections may belong to another process,
    /// - `count` is 0, or binding fails.
    ///
    /// A port is never shared by mistake. This socket was bound and listens without the option
    /// `SO_REUSEPORT`, which fails if any other socket listens there, with the option or not. The
    /// option is set only now.
    pub(crate) fn siblings(&self, count: usize) -> Vec<Listener> {
        let ListenAddr::Ip(addr) = self.addr else { return Vec::new() };
        if count == 0 || !self.is_ours || self.set_shared(true).is_err() {
            return Vec::new();
        }
        let sibling = |_| {
            let mut sibling = Listener::bind_tcp(addr, true)?;
            sibling.proxy_protocol = self.proxy_protocol;
            #[cfg(feature = "tls")]
            sibling.tls.clone_from(&self.tls);
            Ok(sibling)
        };
        let siblings: io::Result<Vec<_>> = (0..count).map(sibling).collect();
        siblings.unwrap_or_else(|error| {
            tracing::warn!(%error, listener = %self.addr, "one worker accepts for all");
            let _ = self.set_shared(false);
            Vec::new()
        })
    }

    fn set_shared(&self, shared: bool) -> io::Result<()> {
        match &self.socket {
            ListenSocket::Tcp(listener) => set_shared(&socket2::SockRef::from(listener), shared),
            #[cfg(unix)]
            ListenSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Stops admitting new peers. Connections that are queued, or whose TCP handshake has begun,
    /// can still be accepted. Returns whether that succeeded. Call it only if `is_ours`: any other
    /// process that has the socket would get no connections any more.
    pub(crate) fn refuse_new(&mut self) -> bool {
        match &self.socket {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            ListenSocket::Tcp(listener) => {
                socket2::SockRef::from(listener).attach_filter(&WITHOUT_SYN).is_ok()
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            ListenSocket::Tcp(_) => false,
            #[cfg(unix)]
            ListenSocket::Unix(_) => {
                self.remove_file();
                true
            }
        }
    }

    #[cfg(unix)]
    fn remove_file(&mut self) {
        if let Some(file) = self.file.take() {
            // It may have been removed already.
            let _ = std::fs::remove_file(file);
        }
    }

    /// Ends the pause after a failure: the next attempt is made at once.
    pub(crate) fn try_now(&mut self) {
        (self.ready, self.paused_until) = (true, None);
    }

    /// The time until the next attempt; `None` if an event will announce it.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let pause = self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.ready.then_some(pause)
    }

    /// Accepts queued connections, up to [`ACCEPT_AT_ONCE`], and passes each to `admit`. Accepts
    /// none during the pause after a failure.
    pub(crate) fn accept(&mut self, now: Instant, mut admit: impl FnMut(Stream, Option<PeerAddr>)) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        for _ in 0..ACCEPT_AT_ONCE {
            if !self.ready {
                return;
            }
            match self.accept_one() {
                Ok((stream, peer)) => {
                    self.cannot_accept = false;
                    admit(stream, peer);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.ready = false,
                    // The connection ended before it was accepted; the next one may be fine.
                    io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::TimedOut => {}
                    _ => {
                        if !std::mem::replace(&mut self.cannot_accept, true) {
                            tracing::warn!(%error, listener = %self.addr, "cannot accept connections; trying again");
                        }
                        self.paused_until = Some(now + PAUSE);
                        return;
                    }
                },
            }
        }
    }

    /// Puts TLS over an accepted socket, where it is spoken here. A session behind a header of the
    /// PROXY protocol begins when that is read.
    #[cfg(feature = "tls")]
    pub(crate) fn secure(&self, stream: Stream) -> Option<Stream> {
        let Some(settings) = &self.tls else { return Some(stream) };
        match Session::new(settings.config(), stream, self.proxy_protocol) {
            Ok(session) => Some(Stream::Tls(session)),
            Err(error) => {
                tracing::error!(%error, listener = %self.addr, "the TLS settings cannot be used");
                None
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn secure(&self, stream: Stream) -> Option<Stream> {
        Some(stream)
    }

    fn accept_one(&self) -> io::Result<(Stream, Option<PeerAddr>)> {
        match &self.socket {
            ListenSocket::Tcp(listener) => {
                let (stream, addr) = listener.accept()?;
                if !INHERITS_NODELAY {
                    // An error means that the connection has ended already.
                    let _ = stream.set_nodelay(true);
                }
                Ok((Stream::tcp(stream, addr), Some(PeerAddr::Ip(addr))))
            }
            #[cfg(unix)]
            ListenSocket::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream), Some(PeerAddr::Unix)))
            }
        }
    }
}

fn bind_tcp(addr: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that has just ended must not keep its successor from the port. On
    // other systems the option would let two servers share it.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // So that 0.0.0.0 and [::] on one port are two listeners on every system.
        socket.set_only_v6(true)?;
    }
    if shared {
        set_shared(&socket, true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets or clears the option that lets several sockets listen on one port, each with its share of
/// the connections.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_shared(socket: &socket2::Socket, shared: bool) -> io::Result<()> {
    socket.set_reuse_port(shared)
}

/// Fails: FreeBSD distributes evenly too, but requires the option before binding, so a second
/// server would go unnoticed. Other systems have the option and give all connections to one socket.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_shared(_: &socket2::Socket, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether `path` is a socket that no process listens on. A file that is not a socket refuses
/// connections too, but is not ours to remove.
#[cfg(unix)]
fn is_stale(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return false;
    }
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    std::os::unix::net::UnixStream::connect(path).err().is_some_and(refused)
}

#[cfg(unix)]
impl Drop for Listener {
    fn drop(&mut self) {
        self.remove_file();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_send_at_once() {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for mut listener in
            [Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(), Listener::from_tcp(given).unwrap()]
        {
            let ListenAddr::Ip(addr) = *listener.addr() else { panic!("a TCP socket") };
            let _client = std::net::TcpStream::connect(addr).unwrap();
            let mut accepted = Vec::new();
            while accepted.is_empty() {
                listener.ready = true;
                listener.accept(Instant::now(), |stream, _| accepted.push(stream));
            }
            assert!(matches!(&accepted[..], [Stream::TcpV4(stream, _)] if stream.nodelay().unwrap()));
        }
    }

    #[track_caller]
    fn ip(listener: &Listener) -> SocketAddr {
        let ListenAddr::Ip(addr) = *listener.addr() else { panic!("a TCP socket") };
        addr
    }

    /// Accepts all queued connections, and returns their number.
    #[cfg(target_os = "linux")]
    fn waiting(listener: &mut Listener) -> usize {
        let mut count = 0;
        listener.ready = true;
        while listener.ready {
            listener.accept(Instant::now(), |_, _| count += 1);
        }
        count
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn siblings_listen_on_one_port_and_each_gets_its_share() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let first = Listener::bind(addr.parse().unwrap()).unwrap();
            let mut all = first.siblings(3);
            all.push(first);
            let addr = ip(&all[0]);
            assert!(all.iter().all(|listener| ip(listener) == addr));
            let _clients: Vec<_> = (0..400).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
            let counts: Vec<_> = all.iter_mut().map(waiting).collect();
            assert_eq!(counts.iter().sum::<usize>(), 400);
            // The system hashes both addresses. Less than half of an even share has a probability
            // below one in 10^8.
            assert!(counts.iter().all(|&count| count > 50), "{counts:?}");
        }
    }

    #[test]
    fn nobody_else_listens_on_a_port_that_is_shared() {
        let addr = "127.0.0.1:0".parse().unwrap();
        let first = Listener::bind(addr).unwrap();
        let siblings = first.siblings(2);
        let second = Listener::bind(ip(&first)).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let without = std::net::TcpListener::bind(ip(&first)).unwrap_err();
        assert_eq!(without.kind(), io::ErrorKind::AddrInUse);
        // One socket of a group that closes leaves the port to the others; when all have closed,
        // any socket can bind it.
        let addr = ip(&first);
        drop(first);
        assert_eq!(Listener::bind(addr).is_ok(), siblings.is_empty());
        drop(siblings);
        Listener::bind(addr).unwrap();
    }

    #[test]
    fn a_socket_that_was_handed_over_is_not_shared() {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Listener::from_tcp(given).unwrap().siblings(3).is_empty());
    }
}
