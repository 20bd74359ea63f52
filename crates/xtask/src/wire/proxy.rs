//! A TCP proxy that forwards between peers and a server, and keeps the octets of both directions.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// A proxy in front of one server. Dropping it closes its listener; connections go on to their end.
#[derive(Debug)]
pub(crate) struct Proxy {
    addr: SocketAddr,
    ended: Receiver<Recording>,
    stopping: Arc<AtomicBool>,
}

/// The octets of a connection that has ended.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// What the client has sent.
    pub(crate) client: Vec<u8>,
    /// What the server has sent.
    pub(crate) server: Vec<u8>,
}

/// How long a connection may take to end once its peer is done with it.
const DEADLINE: Duration = Duration::from_secs(10);

/// How many octets are read at once.
const PIECE: usize = 64 << 10;

impl Proxy {
    /// Listens on a free port of the IPv4 loopback address, and forwards whoever connects to
    /// `server`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let sender = sender.clone();
                thread::spawn(move || {
                    // A server that cannot be reached closes the connection: the peer sees that.
                    // Nobody may want the recording.
                    let _ = relay(&client, server).map(|recording| sender.send(recording));
                });
            }
        });
        Ok(Self { addr, ended, stopping })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The next connection that has ended and was a WebSocket connection; requests of pages are
    /// passed over.
    ///
    /// # Errors
    /// If none has ended within the deadline.
    pub(crate) fn next_websocket(&self) -> anyhow::Result<Recording> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let recording = self.ended.recv_timeout(left).context("no WebSocket connection has ended")?;
            if recording.server.starts_with(b"HTTP/1.1 101 ") {
                return Ok(recording);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts. If that fails, it sleeps until this program ends.
        let _ = TcpStream::connect(self.addr);
    }
}

/// Forwards both directions of a connection until both have ended.
fn relay(client: &TcpStream, server: SocketAddr) -> io::Result<Recording> {
    let server = &TcpStream::connect(server)?;
    for stream in [client, server] {
        stream.set_nodelay(true)?;
    }
    Ok(thread::scope(|scope| {
        let from_server = scope.spawn(|| forward(server, client));
        let client = forward(client, server);
        Recording { client, server: from_server.join().expect("forwarding does not panic") }
    }))
}

/// Forwards one direction until it ends. What was read, of which the other side may have refused
/// the end.
fn forward(mut from: &TcpStream, mut to: &TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut piece = vec![0; PIECE];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        octets.extend_from_slice(&piece[..len]);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    // Fails where the connection has ended altogether.
    let _ = to.shutdown(Shutdown::Write);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_are_forwarded_and_recorded() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let proxy = Proxy::start(listener.local_addr().expect("it is bound")).expect("a free port");
        for answer in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 Switching Protocols\r\n"] {
            let mut client = TcpStream::connect(proxy.addr()).expect("the proxy listens");
            let (mut server, _) = listener.accept().expect("the proxy connects");
            client.write_all(b"question").expect("the proxy reads");
            client.shutdown(Shutdown::Write).expect("it is open");
            let (mut question, mut seen) = (String::new(), String::new());
            server.read_to_string(&mut question).expect("the proxy forwards");
            server.write_all(answer.as_bytes()).expect("the proxy reads");
            drop(server);
            client.read_to_string(&mut seen).expect("the proxy forwards");
            assert_eq!((question.as_str(), seen.as_str()), ("question", answer));
        }
        let recording = proxy.next_websocket().expect("the second connection was one");
        assert_eq!(recording.client, b"question");
        assert_eq!(recording.server, b"HTTP/1.1 101 Switching Protocols\r\n");
    }
}
