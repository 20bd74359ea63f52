//! A server on a thread of its own.

use super::{Client, DEADLINE};
use framewright_server::{ListenAddr, Server, ServerBuilder, ServerHandle};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// A running server. Dropping it cuts what is left and waits for its end.
pub(crate) struct TestServer {
    addrs: Vec<ListenAddr>,
    handle: ServerHandle,
    /// What `run` returned; nothing comes if it panicked.
    ended: Receiver<io::Result<()>>,
    stopped: bool,
}

impl TestServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub(crate) fn start(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> TestServer {
        let builder = Server::builder().listen("127.0.0.1:0");
        TestServer::run(configure(builder).build().expect("a server"))
    }

    /// Runs this server.
    pub(crate) fn run(server: Server) -> TestServer {
        let (addrs, handle) = (server.local_addrs().to_vec(), server.handle());
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(server.run()));
        TestServer { addrs, handle, ended, stopped: false }
    }

    pub(crate) fn addrs(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// The first of its addresses.
    pub(crate) fn addr(&self) -> SocketAddr {
        match &self.addrs[0] {
            ListenAddr::Ip(addr) => *addr,
            other => panic!("{other} is no IP address"),
        }
    }

    pub(crate) fn handle(&self) -> &ServerHandle {
        &self.handle
    }

    /// A client that has said nothing yet.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    /// A client whose opening handshake for `path` was accepted.
    pub(crate) fn open(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.open(path);
        client
    }

    /// Stops it, and waits until `run` has returned.
    pub(crate) fn stop(mut self, grace: Duration) -> io::Result<()> {
        self.handle.stop(grace);
        self.wait()
    }

    /// Waits until `run` has returned, for whatever reason.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.stopped = true;
        self.ended.recv_timeout(DEADLINE).expect("the server ends before the deadline, without a panic")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if self.stopped || thread::panicking() {
            return self.handle.stop(Duration::ZERO);
        }
        self.handle.stop(Duration::ZERO);
        self.wait().expect("the server ends well");
    }
}
