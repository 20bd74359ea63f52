//! The blocking client as a whole: connects, sends, receives and closes on one thread.

use super::receiver::{Messages, ReceiveError, Receiver, receive_buffer};
use super::sender::Sender;
use super::shared::Shared;
use super::stopper::Stopper;
use super::{SOCKET, WAKE, until};
use crate::commands::commands;
use crate::connection::ClientConnection;
use crate::error::ConnectError;
use crate::opening::Opening;
use crate::options::Options;
#[cfg(unix)]
use crate::stream::{ClientStream, Pair, Whole};
use framewright::handshake::{ClientRequest, ServerResponse, WsUri};
use framewright::{CloseCode, Closure, Connection, Event, Message, SendError, Stats};
use mio::{Events, Poll, Registry, Waker};
use std::fmt;
use std::io;
#[cfg(unix)]
use std::io::{Read, Write};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client whose calls wait. See the [module's documentation](super).
pub struct Client {
    sender: Sender,
    receiver: Receiver,
}

commands!(Client);

impl Client {
    /// Connects with the default [`Options`].
    ///
    /// # Errors
    /// [`ConnectError`]: the URL is no WebSocket URI, or one of the steps of the opening handshake has failed.
    pub fn connect(url: &str) -> Result<Client, ConnectError> {
        Client::connect_with(ClientRequest::new(WsUri::parse(url)?), &Options::default())
    }

    /// Connects: resolves the host, connects to one of its addresses, asks for the upgrade, and
    /// checks the answer.
    ///
    /// # Errors
    /// [`ConnectError`]: which step has failed, and why.
    pub fn connect_with(request: ClientRequest, options: &Options) -> Result<Client, ConnectError> {
        Client::open(options, |now, registry, waker| {
            Opening::start(request, Arc::new(options.clone()), now, registry, SOCKET, waker)
        })
    }

    /// Does the opening handshake over a stream that leads to the server already: a Unix socket, a
    /// tunnel, a TCP connection that was made otherwise.
    ///
    /// The stream needs a descriptor ([`AsFd`]) that the system can wait for, as sockets, pipes and
    /// terminals have. A client never waits inside of a call to the stream, which nothing could
    /// end: it waits for the descriptor, so that all deadlines hold as they do over TCP and the
    /// halves can be in two threads. A stream without one, such as a buffer in memory, is for
    /// [`Connection`](framewright::Connection), which leaves the waiting to its caller; and this is
    /// there on Unix only, since elsewhere the system waits for nothing but sockets in this way.
    ///
    /// The stream is set not to block; other options, such as TCP_NODELAY, are the caller's. What
    /// wraps a descriptor, such as TLS, has to pass on at once what it takes, and to return
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where the descriptor does. One that takes 0 bytes
    /// has failed. Should it panic, so does the call, and the connection is dropped: the other half
    /// is told of the end.
    ///
    /// The request says what is asked for, and has the host that the server is told; a `wss:` URI
    /// is one where TLS is the stream's.
    ///
    /// ```
    /// use framewright_client::{ClientError, ClientRequest, blocking::Client};
    /// use std::os::unix::net::UnixStream;
    ///
    /// fn hello(path: &str) -> Result<(), ClientError> {
    ///     let request: ClientRequest = "ws://localhost/ws".parse()?;
    ///     let mut client = Client::over(UnixStream::connect(path)?, request)?;
    ///     client.send_text("hello")?;
    ///     Ok(())
    /// }
    /// # hello("/nobody/listens/here").unwrap_err();
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Io`] if the stream cannot be waited for; and those of the opening handshake.
    #[cfg(unix)]
    pub fn over<S>(stream: S, request: ClientRequest) -> Result<Client, ConnectError>
    where
        S: Read + Write + AsFd + Send + 'static,
    {
        Client::over_with(stream, request, &Options::default())
    }

    /// Does the opening handshake over a stream as [`over`](Client::over) does, with settings.
    ///
    /// Those of finding and reaching the server play no part: `connect_timeout`, `one_at_a_time`,
    /// `turn_timeout`, `addresses`, `proxy`, and `redirects`, of which none is followed.
    ///
    /// # Errors
    /// Those of [`over`](Client::over).
    #[cfg(unix)]
    pub fn over_with<S>(stream: S, request: ClientRequest, options: &Options) -> Result<Client, ConnectError>
    where
        S: Read + Write + AsFd + Send + 'static,
    {
        Client::over_stream(ClientStream::Brought(Box::new(Whole(stream))), request, options)
    }

    /// Does the opening handshake over a stream whose directions are apart, such as the output and
    /// the input of another program; what holds for [`over_with`](Client::over_with) holds for
    /// each.
    ///
    /// # Errors
    /// Those of [`over`](Client::over).
    #[cfg(unix)]
    pub fn over_pair<R, W>(
        reader: R,
        writer: W,
        request: ClientRequest,
        options: &Options,
    ) -> Result<Client, ConnectError>
    where
        R: Read + AsFd + Send + 'static,
        W: Write + AsFd + Send + 'static,
    {
        Client::over_stream(ClientStream::Brought(Box::new(Pair::new(reader, writer))), request, options)
    }

    #[cfg(unix)]
    fn over_stream(
        stream: ClientStream,
        request: ClientRequest,
        options: &Options,
    ) -> Result<Client, ConnectError> {
        Client::open(options, |now, registry, _| {
            Opening::over(stream, request, options, now, registry, SOCKET)
        })
    }

    /// Waits until the opening handshake is done that `start` begins.
    fn open(
        options: &Options,
        start: impl FnOnce(Instant, &Registry, &Arc<Waker>) -> Result<Opening, ConnectError>,
    ) -> Result<Client, ConnectError> {
        let mut poll = Poll::new().map_err(ConnectError::Io)?;
        let mut events = Events::with_capacity(16);
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(ConnectError::Io)?);
        let mut opening = start(Instant::now(), poll.registry(), &waker)?;
        let opened = loop {
            if let Some(opened) = opening.turn(Instant::now(), poll.registry())? {
                break opened;
            }
            match poll.poll(&mut events, until(opening.deadline())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(ConnectError::Io(error));
                }
                _ => {}
            }
        };
        let now = Instant::now();
        let mut rx = receive_buffer();
        let config = Arc::new(options.connection.clone());
        let client = ClientConnection::open(opened, config, Some(&mut rx), now);
        let shared = Shared::new(client, options.send_timeout, waker, now);
        let receiver = Receiver::new(Arc::clone(&shared), poll, events, rx);
        Ok(Client { sender: Sender::new(shared), receiver })
    }

    /// Waits for the next message: [`Receiver::receive`]. It borrows the client; to send while
    /// looking at it, see [`halves`](Client::halves).
    ///
    /// # Errors
    /// Those of [`Receiver::receive`].
    pub fn receive(&mut self) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receiver.receive()
    }

    /// Waits for the next message until `deadline` at the most: [`Receiver::receive_before`].
    ///
    /// # Errors
    /// Those of [`Receiver::receive_before`].
    pub fn receive_before(&mut self, deadline: Instant) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receiver.receive_before(deadline)
    }

    /// Waits for the next message, `timeout` at the most: [`Receiver::receive_timeout`].
    ///
    /// # Errors
    /// Those of [`Receiver::receive_timeout`].
    pub fn receive_timeout(&mut self, timeout: Duration) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receiver.receive_timeout(timeout)
    }

    /// Waits for the next event of any kind: [`Receiver::next_event`].
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.receiver.next_event()
    }

    /// Waits for the next event until `deadline` at the most: [`Receiver::next_event_before`].
    ///
    /// # Errors
    /// Those of [`Receiver::next_event_before`].
    pub fn next_event_before(&mut self, deadline: Instant) -> Result<Option<Event<'_>>, ReceiveError> {
        self.receiver.next_event_before(deadline)
    }

    /// Waits for the next event, `timeout` at the most: [`Receiver::next_event_timeout`].
    ///
    /// # Errors
    /// Those of [`Receiver::next_event_timeout`].
    pub fn next_event_timeout(&mut self, timeout: Duration) -> Result<Option<Event<'_>>, ReceiveError> {
        self.receiver.next_event_timeout(timeout)
    }

    /// The messages to come, each in memory of its own.
    pub fn messages(&mut self) -> Messages<'_> {
        self.receiver.messages()
    }

    /// Does the whole closing handshake: sends a Close frame behind what waits, drops messages that
    /// still come, and waits for the server's Close and for the end of the transport, for each at
    /// most [`Config::close_timeout`](framewright::Config::close_timeout) once the kernel has taken
    /// our Close. Where the closing handshake was begun before, it is completed. Returns how it
    /// ended, which need not be well: see [`Closure::clean`].
    ///
    /// The kernel takes our Close when the server has read enough: a server that reads slowly can
    /// make this last. [`close_and_wait_before`](Client::close_and_wait_before) has an end.
    ///
    /// # Errors
    /// [`SendError::CloseReason`] if the reason has more than 123 octets, or there is no code to go with it; nothing was sent then.
    pub fn close_and_wait(
        &mut self,
        code: impl Into<Option<CloseCode>>,
        reason: &str,
    ) -> Result<Closure, SendError> {
        self.close_until(code.into(), reason, None)
    }

    /// Does the whole closing handshake as [`close_and_wait`](Client::close_and_wait) does, until
    /// `deadline` at the latest: what has not happened by then is not waited for, and the
    /// connection is dropped. Where the server's Close has not come by then, [`Closure::cause`] is
    /// [`Error::Aborted`](framewright::Error::Aborted), or
    /// [`Timeout::Write`](framewright::Timeout::Write) if ours was not taken. With a deadline that
    /// has passed, our Close is sent if the kernel takes it at once.
    ///
    /// # Errors
    /// Those of [`close_and_wait`](Client::close_and_wait).
    pub fn close_and_wait_before(
        &mut self,
        code: impl Into<Option<CloseCode>>,
        reason: &str,
        deadline: Instant,
    ) -> Result<Closure, SendError> {
        self.close_until(code.into(), reason, Some(deadline))
    }

    fn close_until(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        deadline: Option<Instant>,
    ) -> Result<Closure, SendError> {
        match self.transmit_until(&mut |connection| connection.close(code, reason), deadline) {
            Ok(()) | Err(SendError::Closed) => {}
            Err(error) => return Err(error),
        }
        // A server that goes on sending does not put the end off.
        let is_over = || deadline.is_some_and(|deadline| deadline <= Instant::now());
        while let Ok(Some(_)) = self.receiver.event_until(deadline) {
            if is_over() {
                break;
            }
        }
        if !self.receiver.has_told_the_end() {
            self.receiver.abort();
            while self.receiver.next_event().is_some() {}
        }
        Ok(self.receiver.closure().expect("the last event is the end"))
    }

    /// Sets how long a call that sends may take: [`Sender::set_send_timeout`].
    pub fn set_send_timeout(&mut self, timeout: Option<Duration>) {
        self.sender.set_send_timeout(timeout);
    }

    /// The two halves, each for a thread of its own. If the sending one is dropped, the other one
    /// goes on. If the receiving one is dropped, nobody reads: Pings stay unanswered, and a server
    /// that sends much will stop reading sooner or later, so that sending fails after
    /// [`Config::write_timeout`](framewright::Config::write_timeout).
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// The two halves, to send while a received message is looked at.
    ///
    /// While such a call to send waits for the server to read, nothing is read from the server;
    /// [`send`](Client::send) of the whole client reads meanwhile.
    pub fn halves(&mut self) -> (&mut Sender, &mut Receiver) {
        (&mut self.sender, &mut self.receiver)
    }

    /// Drops the connection: no Close frame, nothing of what is queued. The next call that receives
    /// tells its end.
    pub fn abort(&mut self) {
        self.sender.abort();
    }

    /// Ends the connection from another thread, also while this one waits.
    pub fn stopper(&self) -> Stopper {
        self.sender.stopper()
    }

    /// How the connection ended; `None` before.
    pub fn closure(&self) -> Option<Closure> {
        self.receiver.closure()
    }

    /// Whether a message could be sent: the closing handshake has not begun.
    pub fn is_open(&self) -> bool {
        self.sender.is_open()
    }

    /// What went over the connection so far.
    pub fn stats(&self) -> Stats {
        self.receiver.stats()
    }

    /// The subprotocol that the server has chosen, if it has.
    pub fn subprotocol(&self) -> Option<&str> {
        self.receiver.subprotocol()
    }

    /// What was agreed on for permessage-deflate, if anything.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.receiver.deflate()
    }

    /// The server's answer to the opening handshake.
    pub fn response(&self) -> &ServerResponse {
        self.receiver.response()
    }

    /// Where the connection leads, after redirects.
    pub fn uri(&self) -> &WsUri {
        self.receiver.uri()
    }

    /// Which of the server's addresses, or of the proxy's, it is connected to; `None` once that is
    /// gone, and over a stream that has no such address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.receiver.peer_addr()
    }

    /// The address of this end; `None` once that is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.receiver.local_addr()
    }

    fn transmit(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        self.transmit_until(command, None)
    }

    fn transmit_until(
        &mut self,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        self.receiver.transmit(command, deadline)?;
        self.receiver.look();
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("uri", &self.uri().as_str()).finish_non_exhaustive()
    }
}
