//! Scripted servers.

use framewright::handshake::accept_key;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server that plays a script on each connection.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// How many connections there were, and how many there are.
    connections: watch::Receiver<[usize; 2]>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn playing<F, P>(script: F) -> Server
    where
        F: Fn(TcpStream) -> P + Send + Sync + 'static,
        P: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (counter, connections) = watch::channel([0, 0]);
        let counter = Arc::new(counter);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                counter.send_modify(|[all, now]| (*all, *now) = (*all + 1, *now + 1));
                let playing = script(stream);
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    // What happens after the client has left is of no interest.
                    let _ = playing.await;
                    counter.send_modify(|[_, now]| *now -= 1);
                });
            }
        });
        Server { address, connections, task }
    }

    /// A server that answers each request with `answer`, and closes.
    pub(crate) async fn answering(answer: &'static str) -> Server {
        Server::playing(move |mut stream| async move {
            read_head(&mut stream).await?;
            stream.write_all(answer.as_bytes()).await
        })
        .await
    }

    /// A server that accepts every request, and reads until the client ends.
    pub(crate) async fn accepting() -> Server {
        Server::playing(|mut stream| async move {
            accept_on(&mut stream).await?;
            read_to_end(&mut stream).await
        })
        .await
    }

    /// A server that says nothing.
    pub(crate) async fn silent() -> Server {
        Server::playing(|mut stream| async move { read_to_end(&mut stream).await }).await
    }

    /// Waits until this many connections were accepted.
    pub(crate) async fn accepted(&self, count: usize) {
        let mut connections = self.connections.clone();
        connections.wait_for(|[all, _]| *all >= count).await.expect("the server runs");
    }

    /// Waits until no client is connected.
    pub(crate) async fn deserted(&self) {
        self.connections.clone().wait_for(|[_, now]| *now == 0).await.expect("the server runs");
    }

    /// How many connections were accepted.
    pub(crate) fn count(&self) -> usize {
        self.connections.borrow()[0]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address without a listener, which no other program can take while this is held.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    _bound: socket2::Socket,
}

impl Nobody {
    pub(crate) fn new() -> Nobody {
        Nobody::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port")
    }

    pub(crate) fn at(address: SocketAddr) -> io::Result<Nobody> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().expect("an address of IP");
        Ok(Nobody { address, _bound: socket })
    }
}

/// An address whose SYNs are dropped, as if no host had it: the queue of connections to be accepted
/// is full.
#[cfg(target_os = "linux")]
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _full: (socket2::Socket, std::net::TcpStream),
}

#[cfg(target_os = "linux")]
impl BlackHole {
    pub(crate) fn new() -> BlackHole {
        let nobody = Nobody::new();
        let Nobody { address, _bound: socket } = nobody;
        socket.listen(0).expect("a listener"); // which Linux takes for a queue of one
        BlackHole { address, _full: (socket, std::net::TcpStream::connect(address).expect("the one")) }
    }
}

/// Reads up to the empty line, and nothing behind it.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).expect("ASCII"))
}

/// Reads until the client ends.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut octets = [0; 512];
    while stream.read(&mut octets).await? > 0 {}
    Ok(())
}

/// Reads the client's Close frame with a code alone, and ends.
pub(crate) async fn end_after_close(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut frame = [0; 8];
    stream.read_exact(&mut frame).await?;
    assert_eq!(frame[..2], [0x88, 0x82]);
    Ok(())
}

/// The 101 response that accepts the request with this head.
pub(crate) fn accept(head: &str) -> String {
    let accept = accept_key(field(head, "Sec-WebSocket-Key").expect("a key").as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        std::str::from_utf8(&accept).expect("base64")
    )
}

/// The value of a field.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(it, _)| *it == name).map(|(_, value)| value)
}

/// Reads a request and accepts it.
pub(crate) async fn accept_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<String> {
    let head = read_head(stream).await?;
    stream.write_all(accept(&head).as_bytes()).await?;
    stream.flush().await?;
    Ok(head)
}

/// A proxy that opens a tunnel to `target` for each request, whatever name it asks for.
pub(crate) async fn proxy_to(
    target: SocketAddr,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    assert!(head.starts_with("CONNECT "), "{head}");
    let mut beyond = TcpStream::connect(target).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    stream.flush().await?;
    tokio::io::copy_bidirectional(&mut stream, &mut beyond).await.map(drop)
}
