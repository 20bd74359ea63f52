//! A client in an event loop: its turns, from the first byte of the opening handshake to the end of
//! the transport.

use super::buffers::{Buffers, READ_SIZE};
use super::event::Event;
use super::socket::Socket;
use crate::ConnectError;
use crate::connection::{ClientConnection, OpenClient};
use crate::opening::Opening;
use crate::options::Options;
use crate::stream::ClientStream;
#[cfg(unix)]
use crate::stream::Whole;
use framewright::handshake::{ClientRequest, ServerResponse, WsUri};
use framewright::{Closure, Config};
use framewright_driver::{Application, Current};
use mio::{Registry, Token, Waker};
use std::fmt;
#[cfg(unix)]
use std::io::{Read, Write};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client in an event loop. See the [module's documentation](super) for how it is driven.
pub struct Client {
    phase: ClientPhase,
    config: Arc<Config>,
    /// There is work left that no event will announce.
    again: bool,
}

enum ClientPhase {
    Opening(Box<Opening>),
    Open(Box<DrivenClient>),
    Done(Ended),
}

/// What is left of a client that has ended.
#[derive(Default)]
struct Ended {
    /// `None` if there never was a connection.
    closure: Option<Closure>,
    #[cfg(feature = "tls")]
    tls_error: Option<Box<crate::TlsError>>,
}

struct DrivenClient {
    client: OpenClient,
    /// The application was notified that the connection is open.
    told: bool,
    /// True during a turn. If it is true before one, the last turn has panicked.
    in_turn: bool,
}

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a loop has to handle each")]
pub enum Turn {
    /// There is more to do. Give other clients their turn first.
    Again,
    /// There is nothing to do until an event of the client's token, or its deadline.
    Wait,
    /// The client has ended: no more events follow.
    Done,
}

impl Client {
    /// Begins to connect; the first turn continues. The sockets of this client are registered with
    /// `token`. Host names are resolved on a separate thread, which wakes the loop with `waker`.
    /// The `waker` has to belong to the same poll.
    ///
    /// The first `wss:` URI or `https:` proxy with the default TLS settings reads the platform's
    /// certificate authorities from files, in this call, or in a [`turn`](Client::turn) that
    /// follows a redirect. [`ClientTls`](crate::ClientTls) says how long that takes, and how to do
    /// it before.
    ///
    /// # Errors
    /// [`ConnectError`] for an error that is found at once; later errors come from
    /// [`turn`](Client::turn).
    pub fn connect(
        request: ClientRequest,
        options: &Options,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
    ) -> Result<Client, ConnectError> {
        let config = Arc::new(options.connection.clone());
        let opening = Opening::start(request, options, Instant::now(), registry, token, waker)?;
        Ok(Client { phase: ClientPhase::Opening(Box::new(opening)), config, again: true })
    }

    /// Begins the opening handshake over a stream that already leads to the server, as
    /// [`blocking::Client::over_with`](crate::blocking::Client::over_with) does. The stream is
    /// registered with `token`, and deregistered when the client is dropped. Unix only, since the
    /// stream needs a descriptor; [`BlockingStream`](crate::BlockingStream) gives one to any stream.
    ///
    /// # Errors
    /// [`ConnectError::Io`] if the system cannot wait for the stream; later errors come from
    /// [`turn`](Client::turn).
    #[cfg(unix)]
    pub fn over<S>(
        stream: S,
        request: ClientRequest,
        options: &Options,
        registry: &Registry,
        token: Token,
    ) -> Result<Client, ConnectError>
    where
        S: Read + Write + AsFd + Send + 'static,
    {
        let config = Arc::new(options.connection.clone());
        let stream = ClientStream::Brought(Box::new(Whole(stream)));
        let opening = Opening::over(stream, request, options, Instant::now(), registry, token)?;
        Ok(Client { phase: ClientPhase::Opening(Box::new(opening)), config, again: true })
    }

    /// Notes an event of this client's token.
    pub fn note(&mut self, event: &mio::event::Event) {
        match &mut self.phase {
            ClientPhase::Open(open) => open.client.connection.note(event),
            ClientPhase::Opening(_) => self.again = true,
            ClientPhase::Done(_) => {}
        }
    }

    /// Does everything that can be done without waiting: connects, reads once, passes every event
    /// to `handler`, and writes once.
    ///
    /// Files are read only by a redirect to the first `wss:` URI of the process, for the
    /// certificate authorities of the default settings: see [`connect`](Client::connect).
    ///
    /// # Errors
    /// [`ConnectError`], once, if the opening handshake has failed. The client is done then.
    pub fn turn(
        &mut self,
        now: Instant,
        registry: &Registry,
        buffers: &mut Buffers,
        mut handler: impl FnMut(&mut Socket<'_>, Event<'_>),
    ) -> Result<Turn, ConnectError> {
        if let ClientPhase::Opening(opening) = &mut self.phase {
            match opening.turn(now, registry) {
                Ok(None) => {
                    self.again = false;
                    return Ok(Turn::Wait);
                }
                Ok(Some(opened)) => {
                    let mut client = ClientConnection::open(opened, Arc::clone(&self.config), None, now);
                    buffers.count_takeover(&mut client.connection.turn.connection);
                    let open = DrivenClient { client, told: false, in_turn: false };
                    self.phase = ClientPhase::Open(Box::new(open));
                }
                Err(error) => {
                    self.phase = ClientPhase::Done(Ended::default());
                    self.again = false;
                    return Err(error);
                }
            }
        }
        let ClientPhase::Open(open) = &mut self.phase else { return Ok(Turn::Done) };
        // If the handler panics, the next turn is due at once.
        self.again = true;
        let OpenClient { connection, response, .. } = &mut open.client;
        if std::mem::replace(&mut open.in_turn, true) {
            connection.turn.after_panic(&mut buffers.lent, now);
        }
        let mut callbacks = Callbacks { handler: &mut handler, response, told: &mut open.told };
        self.again = connection.run(&mut buffers.lent, now, &mut callbacks);
        open.in_turn = false;
        if connection.is_done() {
            self.phase = ClientPhase::Done(Ended {
                closure: connection.closure(),
                #[cfg(feature = "tls")]
                tls_error: connection.tls_error().map(Box::new),
            });
            return Ok(Turn::Done);
        }
        Ok(if self.again { Turn::Again } else { Turn::Wait })
    }

    /// The open connection, to send between two turns. `None` unless the connection is open.
    ///
    /// Once something was sent, [`timeout`](Client::timeout) is zero until the next turn, which
    /// writes it. Drop the socket before that turn.
    pub fn socket<'a>(&'a mut self, now: Instant, buffers: &'a mut Buffers) -> Option<Socket<'a>> {
        match &mut self.phase {
            ClientPhase::Open(open) if open.told && !open.in_turn && !open.client.connection.is_closed() => {
                let connection = &mut open.client.connection.turn.connection;
                Some(Socket::between_turns(connection, now, &mut self.again, buffers))
            }
            _ => None,
        }
    }

    /// The longest time to wait for events before the next turn: zero if there is work left, `None`
    /// if there is no deadline.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.again {
            return Some(Duration::ZERO);
        }
        let deadline = match &self.phase {
            ClientPhase::Opening(opening) => opening.deadline(),
            ClientPhase::Open(open) => open.client.connection.deadline(),
            ClientPhase::Done(_) => None,
        };
        deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// True once the client has ended: its token is free.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, ClientPhase::Done(_))
    }

    /// How the connection ended; `None` while it has not, and if there never was one.
    pub fn closure(&self) -> Option<Closure> {
        match &self.phase {
            ClientPhase::Opening(_) => None,
            ClientPhase::Open(open) => open.client.connection.closure(),
            ClientPhase::Done(ended) => ended.closure.clone(),
        }
    }

    /// The server's response to the opening handshake; `None` unless the connection is open.
    pub fn response(&self) -> Option<&ServerResponse> {
        self.open().map(|open| &open.response)
    }

    /// The URI that the connection leads to, after redirects; `None` unless it is open.
    pub fn uri(&self) -> Option<&WsUri> {
        self.open().map(|open| &open.uri)
    }

    /// What TLS with the server has agreed on: version, cipher suite, certificates. `None` unless
    /// the connection is open, for one without TLS, and if the application's stream does it.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::TlsInfo> {
        self.open()?.connection.stream().tls()
    }

    /// Why TLS has ended the connection, in which case [`Closure::cause`] is
    /// [`Error::TransportLost`](framewright::Error::TransportLost): the end of the stream without
    /// `close_notify` ([`TlsError::Truncated`](crate::TlsError::Truncated)), a record that was altered,
    /// an alert. `None` until the client [is done](Client::is_done), and for an end that has another
    /// reason.
    #[cfg(feature = "tls")]
    pub fn tls_error(&self) -> Option<&crate::TlsError> {
        match &self.phase {
            ClientPhase::Done(ended) => ended.tls_error.as_deref(),
            _ => None,
        }
    }

    /// The address of the server, or of the proxy, that the client is connected to; `None` unless
    /// the connection is open, and over a stream without such an address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.open()?.connection.stream().peer_addr()
    }

    /// The address of this end; `None` unless the connection is open, and over a stream without
    /// such an address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.open()?.connection.stream().local_addr()
    }

    fn open(&self) -> Option<&OpenClient> {
        match &self.phase {
            ClientPhase::Open(open) => Some(&open.client),
            _ => None,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match &self.phase {
            ClientPhase::Opening(_) => "opening",
            ClientPhase::Open(_) => "open",
            ClientPhase::Done(_) => "done",
        };
        f.debug_struct("Client").field("phase", &phase).finish_non_exhaustive()
    }
}

/// The handler of a turn.
struct Callbacks<'a> {
    handler: &'a mut dyn FnMut(&mut Socket<'_>, Event<'_>),
    response: &'a ServerResponse,
    told: &'a mut bool,
}

impl Application<ClientStream> for Callbacks<'_> {
    fn read_size(&self) -> usize {
        READ_SIZE
    }

    fn on_turn(&mut self, current: &mut Current<'_, ClientStream>) {
        if !std::mem::replace(self.told, true) {
            (self.handler)(&mut Socket::new(current.connection, current.now), Event::Open(self.response));
        }
    }

    #[inline]
    fn on_event(&mut self, current: &mut Current<'_, ClientStream>, event: framewright::Event<'_>) {
        if let Some(event) = Event::of(event) {
            (self.handler)(&mut Socket::new(current.connection, current.now), event);
        }
    }
}
