//! Names and TCP connections, by tokio.

use super::polled::Polled;
use framewright_driver::opening::{self, Attempted};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::net::{TcpStream, lookup_host};

/// The network during one poll of an opening.
pub(super) struct Network<'a, 'c> {
    pub(super) context: &'a mut Context<'c>,
}

/// A lookup under way.
pub(super) type Lookup = Work<Vec<SocketAddr>>;

/// A TCP connection that is being established.
pub(super) type Attempt = Work<TcpStream>;

type Work<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl opening::Network for Network<'_, '_> {
    type Lookup = Lookup;
    type Attempt = Attempt;
    type Stream = Polled<TcpStream>;

    fn resolve(&mut self, host: &str, port: u16) -> Lookup {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn answer(&mut self, lookup: &mut Lookup) -> Option<io::Result<Vec<SocketAddr>>> {
        match lookup.as_mut().poll(self.context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Attempt> {
        Ok(Box::pin(connect(address)))
    }

    fn look_at(&mut self, mut attempt: Attempt) -> io::Result<Attempted<Attempt, Polled<TcpStream>>> {
        match attempt.as_mut().poll(self.context) {
            Poll::Ready(stream) => Ok(Attempted::Connected(Polled::new(stream?))),
            Poll::Pending => Ok(Attempted::Pending(attempt)),
        }
    }

    fn waker(&self) -> &Waker {
        self.context.waker()
    }

    fn attend(&mut self, stream: &mut Polled<TcpStream>) {
        stream.wake_by(self.context.waker());
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // The system may choose, as the port of this end, the very port of this machine that the client
    // connects to, if nothing listens on it. TCP then connects the socket to itself (RFC 9293,
    // section 3.5, simultaneous open).
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}
