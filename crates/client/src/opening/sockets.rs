//! The sockets of an opening in an event loop, and what wakes it.

use super::resolve::Lookup;
use crate::stream::{ClientStream, INTERESTS};
use framewright_driver::opening::{Attempted, Network};
use mio::net::TcpStream;
use mio::{Registry, Token};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// The event loop of an opening, during a turn.
pub(super) struct Loop<'a> {
    pub(super) registry: &'a Registry,
    pub(super) token: Token,
    pub(super) wakers: &'a Wakers,
}

/// What wakes an event loop, for those who know mio and for those who do not.
#[derive(Debug)]
pub(super) struct Wakers {
    of_loop: Arc<mio::Waker>,
    of_task: Waker,
}

impl Wakers {
    pub(super) fn new(waker: &Arc<mio::Waker>) -> Self {
        let of_task = Waker::from(Arc::new(LoopWaker(Arc::clone(waker))));
        Wakers { of_loop: Arc::clone(waker), of_task }
    }
}

struct LoopWaker(Arc<mio::Waker>);

impl Wake for LoopWaker {
    fn wake(self: Arc<Self>) {
        // This fails only for lack of kernel memory; the loop then sees what it is woken for with
        // its next event.
        let _ = self.0.wake();
    }
}

impl Network for Loop<'_> {
    type Lookup = Lookup;
    type Attempt = TcpStream;
    type Stream = ClientStream;

    fn resolve(&mut self, host: &str, port: u16) -> Lookup {
        Lookup::start(host, port, &self.wakers.of_loop)
    }

    fn answer(&mut self, lookup: &mut Lookup) -> Option<io::Result<Vec<SocketAddr>>> {
        lookup.take()
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        self.registry.register(&mut stream, self.token, INTERESTS)?;
        Ok(stream)
    }

    fn look_at(&mut self, attempt: TcpStream) -> io::Result<Attempted<TcpStream, ClientStream>> {
        if !is_connected(&attempt)? {
            return Ok(Attempted::Pending(attempt));
        }
        attempt.set_nodelay(true)?;
        Ok(Attempted::Connected(ClientStream::Tcp(attempt)))
    }

    fn waker(&self) -> &Waker {
        &self.wakers.of_task
    }
}

/// True once the connection is established.
///
/// # Errors
/// The error with which connecting failed.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    // In this order, as mio describes it: a pending error can be taken only once.
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    let peer = match stream.peer_addr() {
        Ok(peer) => peer,
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
        Err(error) => return Err(error),
    };
    // The system may choose, as the port of this end, the very port of this machine that the client
    // connects to, if nothing listens on it. TCP then connects the socket to itself (RFC 9293,
    // section 3.5, simultaneous open).
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_is_connected_with_itself_has_found_nobody() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        let error = is_connected(&TcpStream::from_std(socket.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
