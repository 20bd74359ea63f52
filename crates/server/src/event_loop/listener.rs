//! Listening sockets, and accepting without a fall when descriptors run out.

use crate::event_loop::stream::{PeerAddr, Stream};
use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long accepting pauses after the system had nothing to give: descriptors, memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections one round of the loop accepts, so that a flood of them does not keep it
/// from the others.
pub(crate) const ACCEPT_AT_ONCE: usize = 64;

/// How often that many are accepted until the longest queue is empty.
pub(crate) const LONGEST_QUEUE: usize = 1 + BACKLOG as usize / ACCEPT_AT_ONCE;

/// How many connections the system may hold that are not accepted yet; it may hold fewer by its own
/// limit. With the 128 that mio asks for, a burst makes it drop the peers' handshakes, which then
/// take seconds, or leave them with half a connection.
const BACKLOG: i32 = 4096;

/// A frame should leave when it is written. Where accepted sockets have the option `TCP_NODELAY`
/// from the one that listens, setting it there saves a system call for each connection.
const INHERITS_NODELAY: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A filter that lets all segments of TCP pass but those that ask for a new connection: all others
/// have the flag ACK, except for a reset of one that is not established. The flags are the octet 13
/// of the header (RFC 9293, section 3.1).
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

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// A TCP socket.
    Ip(SocketAddr),
    /// A Unix socket at this path; `None` for one without a name.
    #[cfg(unix)]
    Unix(Option<PathBuf>),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Ip(addr) => fmt::Display::fmt(addr, f),
            #[cfg(unix)]
            ListenAddr::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            #[cfg(unix)]
            ListenAddr::Unix(None) => f.write_str("unix"),
        }
    }
}

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
    /// Bound here, so that its queue is ours; else somebody else may have the socket too, and go on
    /// with it.
    is_ours: bool,
    /// The socket's file, which is ours to remove.
    #[cfg(unix)]
    file: Option<PathBuf>,
    /// Connections begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// There may be connections to accept.
    pub(crate) ready: bool,
    paused_until: Option<Instant>,
    /// Nothing could be accepted the last time: said once, not every tenth of a second.
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
            ready: true,
            paused_until: None,
            cannot_accept: false,
        })
    }

    /// Binds a socket at `path`. A file there that nobody listens on any more, left by a server
    /// that was killed, is replaced.
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

    /// So many more sockets on this one's port, among which the system shares out the connections:
    /// none where the system does not, nor for a Unix socket, nor for one that is not ours, whose
    /// connections may be for somebody else.
    ///
    /// Nobody shares a port by mistake: this socket was bound and listens without the option
    /// `SO_REUSEPORT`, which fails where anybody else listens, with the option or not. The option
    /// is set only now.
    pub(crate) fn siblings(&self, count: usize) -> Vec<Listener> {
        let ListenAddr::Ip(addr) = self.addr else { return Vec::new() };
        if count == 0 || !self.is_ours || self.set_shared(true).is_err() {
            return Vec::new();
        }
        let sibling = |_| {
            let mut sibling = Listener::bind_tcp(addr, true)?;
            sibling.proxy_protocol = self.proxy_protocol;
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

    /// Lets nobody new in; those who are already in the queue, or have begun to connect, can still
    /// be accepted. Returns whether it could be done. Only for sockets that are ours: whoever else
    /// has the socket would get nobody any more.
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
            // Somebody may have removed it before.
            let _ = std::fs::remove_file(file);
        }
    }

    /// The next try is not to be put off, though nothing could be accepted the last time.
    pub(crate) fn try_now(&mut self) {
        (self.ready, self.paused_until) = (true, None);
    }

    /// How long to wait before the next try; `None` if an event tells.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let pause = self.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.ready.then_some(pause)
    }

    /// Accepts what there is, up to a number, and hands it to `admit`: nothing during the pause
    /// behind a failure.
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
                    // The connection died before it was accepted; the next one may be well.
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

    fn accept_one(&self) -> io::Result<(Stream, Option<PeerAddr>)> {
        match &self.socket {
            ListenSocket::Tcp(listener) => {
                let (stream, addr) = listener.accept()?;
                if !INHERITS_NODELAY {
                    // An error means that the connection is gone already.
                    let _ = stream.set_nodelay(true);
                }
                Ok((Stream::Tcp(stream), Some(PeerAddr::Ip(addr))))
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
    // Connections of a server that has just ended must not keep its successor from the port.
    // Elsewhere the option would let two servers share it.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // On every system the same: 0.0.0.0 and [::] on one port are two listeners.
        socket.set_only_v6(true)?;
    }
    if shared {
        set_shared(&socket, true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets sockets that have the option listen on one port, where each then gets its share of the
/// connections.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_shared(socket: &socket2::Socket, shared: bool) -> io::Result<()> {
    socket.set_reuse_port(shared)
}

/// FreeBSD shares evenly too, but its option has to be set before binding, so that nobody would
/// notice a second server. Others have the option and give all connections to one socket.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_shared(_: &socket2::Socket, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether this is a socket that nobody listens on. A file that is no socket refuses connections
/// too, and is not ours.
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
            assert!(matches!(&accepted[..], [Stream::Tcp(stream)] if stream.nodelay().unwrap()));
        }
    }

    #[track_caller]
    fn ip(listener: &Listener) -> SocketAddr {
        let ListenAddr::Ip(addr) = *listener.addr() else { panic!("a TCP socket") };
        addr
    }

    /// How many connections are in the queue.
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
            // By a hash over both addresses: less than half of an even share is less likely than
            // one in 10^8.
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
        // One of a group that goes leaves the port to the others, and all of them leave it to
        // anybody.
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
