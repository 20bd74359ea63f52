//! A server on a thread of its own, which does what a test says.

use super::{DEADLINE, Peer};
#[cfg(feature = "tls")]
use framewright_client::rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};

/// A socket that clients connect to.
pub(crate) struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// On a free port of 127.0.0.1.
    pub(crate) fn bind() -> Listener {
        Listener { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port") }
    }

    /// A listener whose connections have a receive buffer of about this size, so that little fits
    /// under way.
    pub(crate) fn with_receive_buffer(octets: usize) -> Listener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(octets).expect("an option of the socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        socket.listen(16).expect("a listener");
        Listener { listener: socket.into() }
    }

    /// A listener whose connections have so small a receive buffer that they take little before
    /// they are read.
    pub(crate) fn taking_little() -> Listener {
        Listener::with_receive_buffer(4 << 10)
    }

    /// Another name of the listening socket, for one who comes after.
    pub(crate) fn try_clone(&self) -> Listener {
        Listener { listener: self.listener.try_clone().expect("another descriptor") }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket")
    }

    /// Waits for the next client.
    pub(crate) fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().expect("a client").0)
    }

    /// A client that has come already, if one has.
    pub(crate) fn try_accept(&self) -> Option<Peer> {
        self.listener.set_nonblocking(true).expect("an option of the socket");
        let accepted = self.listener.accept().ok();
        self.listener.set_nonblocking(false).expect("an option of the socket");
        accepted.map(|(stream, _)| {
            stream.set_nonblocking(false).expect("an option of the socket");
            Peer::new(stream)
        })
    }

    /// Plays `play` on a thread of its own.
    pub(crate) fn run<T: Send + 'static>(
        self,
        play: impl FnOnce(&Listener) -> T + Send + 'static,
    ) -> Server<T> {
        let addr = self.addr();
        let (sender, ended) = mpsc::channel();
        let builder = thread::Builder::new().name("server".to_owned());
        let thread = builder.spawn(move || {
            let result = play(&self);
            // A test that has failed does not listen.
            let _ = sender.send(());
            result
        });
        let thread = thread.expect("a thread");
        Server { addr, ended, thread }
    }
}

/// A server that is at work.
pub(crate) struct Server<T = ()> {
    addr: SocketAddr,
    ended: Receiver<()>,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    /// Accepts one client, reads its request, and plays the rest. What the client has sent is
    /// judged at the end.
    pub(crate) fn start(play: impl FnOnce(&mut Peer) -> T + Send + 'static) -> Server<T> {
        Listener::bind().run(move |listener| listener.serve(play))
    }

    /// Plays a server behind an accepted opening handshake.
    pub(crate) fn open(play: impl FnOnce(&mut Peer) -> T + Send + 'static) -> Server<T> {
        Server::start(move |peer| {
            peer.upgrade();
            play(peer)
        })
    }

    /// Plays a server over TLS, which is to read the request first.
    #[cfg(feature = "tls")]
    pub(crate) fn start_tls(
        config: Arc<ServerConfig>,
        play: impl FnOnce(&mut Peer) -> T + Send + 'static,
    ) -> Server<T> {
        Listener::bind().run(move |listener| listener.serve_tls(&config, play))
    }

    /// Plays a server over TLS, which has read nothing yet, and does not judge.
    #[cfg(feature = "tls")]
    pub(crate) fn start_raw(
        config: Arc<ServerConfig>,
        play: impl FnOnce(&mut Peer) -> T + Send + 'static,
    ) -> Server<T> {
        Listener::bind().run(move |listener| {
            let mut peer = listener.accept();
            peer.start_tls(config);
            play(&mut peer)
        })
    }

    /// Plays a server over TLS behind an accepted opening handshake.
    #[cfg(feature = "tls")]
    pub(crate) fn open_tls(
        config: Arc<ServerConfig>,
        play: impl FnOnce(&mut Peer) -> T + Send + 'static,
    ) -> Server<T> {
        Server::start_tls(config, move |peer| {
            peer.upgrade();
            play(peer)
        })
    }

    /// Plays a server that takes little before it reads.
    pub(crate) fn taking_little(play: impl FnOnce(&mut Peer) -> T + Send + 'static) -> Server<T> {
        Listener::taking_little().run(move |listener| {
            listener.serve(|peer| {
                peer.upgrade();
                play(peer)
            })
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the end of the script, and returns what that gives. Panics as the script has.
    pub(crate) fn end(self) -> T {
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(DEADLINE) {
            panic!("the server's script has not come to its end");
        }
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Listener {
    /// Accepts one client, reads its request, plays the rest, and judges what the client has sent.
    pub(crate) fn serve<T>(&self, play: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peer = self.accept();
        self.play(&mut peer, play)
    }

    /// Does what [`serve`](Self::serve) does, over TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn serve_tls<T>(&self, config: &Arc<ServerConfig>, play: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peer = self.accept();
        peer.start_tls(Arc::clone(config));
        self.play(&mut peer, play)
    }

    fn play<T>(&self, peer: &mut Peer, play: impl FnOnce(&mut Peer) -> T) -> T {
        peer.read_request();
        let result = play(peer);
        peer.judge();
        result
    }
}
