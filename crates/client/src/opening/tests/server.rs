//! Scripted servers.

use framewright::handshake::accept_key;
use socket2::{Domain, Socket, Type};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// A server on a thread of its own.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// A server that plays `script`.
    pub(super) fn new(script: impl FnOnce(&TcpListener) + Send + 'static) -> Server {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        Server { address, thread: thread::spawn(move || script(&listener)) }
    }

    /// A server that plays `script` on the one connection it accepts.
    pub(super) fn once(script: impl FnOnce(TcpStream) + Send + 'static) -> Server {
        Server::new(move |listener| script(listener.accept().unwrap().0))
    }

    /// A server that answers one request with `answer`, and closes.
    pub(super) fn answering(answer: impl Into<Vec<u8>>) -> Server {
        let answer = answer.into();
        Server::once(move |mut stream| {
            read_head(&mut stream);
            stream.write_all(&answer).unwrap();
        })
    }

    /// Waits until the script has ended, and panics if it has panicked.
    pub(super) fn join(self) {
        self.thread.join().unwrap();
    }
}

pub(super) fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// An address without a listener, which no other program can take while this is held.
pub(super) struct Nobody {
    pub(super) address: SocketAddr,
    _bound: Socket,
}

impl Nobody {
    pub(super) fn new() -> Nobody {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Nobody { address, _bound: socket }
    }
}

/// Reads up to the empty line, and nothing behind it.
pub(super) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut octet).unwrap();
        head.push(octet[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads until the client closes.
pub(super) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets); // a reset is an end too
    octets
}

/// The 101 response that accepts the request with this head.
pub(super) fn accept(head: &str) -> String {
    let key = field(head, "Sec-WebSocket-Key").unwrap();
    let accept = accept_key(key.as_bytes());
    let accept = std::str::from_utf8(&accept).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The value of a field.
pub(super) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(it, _)| *it == name).map(|(_, value)| value)
}

/// Reads a request and accepts it.
pub(super) fn accept_on(stream: &mut TcpStream) -> String {
    let head = read_head(stream);
    stream.write_all(accept(&head).as_bytes()).unwrap();
    head
}
