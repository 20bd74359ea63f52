//! The blocking client as a whole: connects, sends, receives and closes on one thread.

use super::receiver::{Messages, ReceiveError, Receiver, receive_buffer};
use super::sender::Sender;
use super::shared::Shared;
use super::stopper::Stopper;
use super::{SOCKET, WAKE, until};
use crate::ConnectError;
use crate::commands::commands;
use crate::connection::ClientConnection;
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

/// A client whose calls block. See the [module's documentation](super).
pub struct Client {
    sender: Sender,
    receiver: Receiver,
}

commands!(Client);

impl Client {
    /// Connects with the default [`Options`].
    ///
    /// # Errors
    /// [`ConnectError`]: the URL is not a WebSocket URI, or a step of the opening handshake has
    /// failed.
    pub fn connect(url: &str) -> Result<Client, ConnectError> {
        Client::connect_with(ClientRequest::new(WsUri::parse(url)?), &Options::default())
    }

    /// Connects with settings: resolves the host, connects to one of its addresses, requests the
    /// upgrade, and checks the response.
    ///
    /// # Errors
    /// [`ConnectError`]: which step has failed, and why.
    pub fn connect_with(request: ClientRequest, options: &Options) -> Result<Client, ConnectError> {
        Client::open(options, |now, registry, waker| {
            Opening::start(request, options, now, registry, SOCKET, waker)
        })
    }

    /// Does the opening handshake over a stream that already leads to the server: a Unix socket, a
    /// tunnel, a TCP connection made elsewhere.
    ///
    /// The stream needs a descriptor ([`AsFd`]) that the system can wait for, as sockets, pipes and
    /// terminals have. A client never blocks inside a call to the stream, because nothing could end
    /// that wait. It waits for the descriptor instead, so all deadlines hold as they do over TCP,
    /// and the halves can be in two threads. A stream without a descriptor, or one whose calls only
    /// block, gets one from [`BlockingStream`](crate::BlockingStream). This function exists on Unix
    /// only: elsewhere the system waits in this way for sockets only.
    ///
    /// The stream is set to non-blocking mode. Other options, such as TCP_NODELAY, are left to the
    /// caller. A wrapper around a descriptor has to pass on at once the bytes it
    /// takes, and to return [`WouldBlock`](io::ErrorKind::WouldBlock) where the descriptor does. A
    /// stream that takes 0 bytes has failed. If the stream panics, so does the call: the connection
    /// is dropped, and the other half reports its end.
    ///
    /// The request names the resource, and the host that is sent to the server. With a `wss:` URI
    /// the client does TLS over the stream, with the host's certificate; if the stream does it
    /// already, say so with [`ClientTls::of_the_stream`](crate::ClientTls::of_the_stream).
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
    /// [`ConnectError::Io`] if the system cannot wait for the stream; and the errors of the opening
    /// handshake.
    #[cfg(unix)]
    pub fn over<S>(stream: S, request: ClientRequest) -> Result<Client, ConnectError>
    where
        S: Read + Write + AsFd + Send + 'static,
    {
        Client::over_with(stream, request, &Options::default())
    }

    /// Does the opening handshake over a stream as [`over`](Client::over) does, with settings.
    ///
    /// The settings for finding and reaching the server have no effect: `connect_timeout`,
    /// `one_at_a_time`, `turn_timeout`, `addresses`, `proxy`, and `redirects`; no redirect is
    /// followed.
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

    /// Does the opening handshake over a stream with separate objects for its two directions, such
    /// as the output and the input of another program. The rules of
    /// [`over_with`](Client::over_with) hold for each of them.
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

    /// Begins an opening handshake with `start`, and waits until it is done.
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

    /// Waits for the next message: [`Receiver::receive`]. The message borrows the client; to send
    /// while looking at it, see [`halves`](Client::halves).
    ///
    /// # Errors
    /// Those of [`Receiver::receive`].
    pub fn receive(&mut self) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receiver.receive()
    }

    /// Waits for the next message, until `deadline` at the latest: [`Receiver::receive_before`].
    ///
    /// # Errors
    /// Those of [`Receiver::receive_before`].
    pub fn receive_before(&mut self, deadline: Instant) -> Result<Option<Message<'_>>, ReceiveError> {
        self.receiver.receive_before(deadline)
    }

    /// Waits for the next message, for `timeout` at most: [`Receiver::receive_timeout`].
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

    /// Waits for the next event, until `deadline` at the latest: [`Receiver::next_event_before`].
    ///
    /// # Errors
    /// Those of [`Receiver::next_event_before`].
    pub fn next_event_before(&mut self, deadline: Instant) -> Result<Option<Event<'_>>, ReceiveError> {
        self.receiver.next_event_before(deadline)
    }

    /// Waits for the next event, for `timeout` at most: [`Receiver::next_event_timeout`].
    ///
    /// # Errors
    /// Those of [`Receiver::next_event_timeout`].
    pub fn next_event_timeout(&mut self, timeout: Duration) -> Result<Option<Event<'_>>, ReceiveError> {
        self.receiver.next_event_timeout(timeout)
    }

    /// Returns an iterator over the messages to come, each of them owned.
    pub fn messages(&mut self) -> Messages<'_> {
        self.receiver.messages()
    }

    /// Does the whole closing handshake, and waits for the end of the connection. Returns how it
    /// ended, which need not be clean: see [`Closure::clean`].
    ///
    /// It sends a Close frame behind the bytes queued, and drops messages that still arrive. Then
    /// it waits for the server's Close and for the end of the transport, for each at most
    /// [`Config::close_timeout`](crate::Config::close_timeout) once the kernel has taken our
    /// Close. If the closing handshake has begun already, this call completes it.
    ///
    /// The kernel takes our Close when the server has read enough: a server that reads slowly can
    /// prolong this call. [`close_and_wait_before`](Client::close_and_wait_before) has a deadline.
    ///
    /// # Errors
    /// [`SendError::CloseReason`] if the reason has more than 123 bytes, or if there is a reason
    /// without a code; nothing was sent then.
    pub fn close_and_wait(
        &mut self,
        code: impl Into<Option<CloseCode>>,
        reason: &str,
    ) -> Result<Closure, SendError> {
        self.close_until(code.into(), reason, None)
    }

    /// Does the whole closing handshake as [`close_and_wait`](Client::close_and_wait) does, until
    /// `deadline` at the latest. Then the connection is dropped, however far the handshake is. If
    /// the server's Close has not arrived by then, [`Closure::cause`] is
    /// [`Error::Aborted`](crate::Error::Aborted), or
    /// [`Timeout::Write`](crate::Timeout::Write) if the kernel has not taken ours. With a
    /// `deadline` in the past, our Close is sent if the kernel takes it at once.
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
        // A server that goes on sending does not postpone the end.
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

    /// Sets the longest time that a call that sends may take: [`Sender::set_send_timeout`].
    pub fn set_send_timeout(&mut self, timeout: Option<Duration>) {
        self.sender.set_send_timeout(timeout);
    }

    /// Splits the client into its two halves, each for a thread of its own. If the sending half is
    /// dropped, the receiving one goes on. If the receiving half is dropped, nothing reads: Pings
    /// stay unanswered. A server that sends much will stop reading sooner or later, so that sending
    /// fails after [`Config::write_timeout`](crate::Config::write_timeout).
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Borrows the two halves, to send while a received message is looked at.
    ///
    /// While a call of this sending half waits for the server to read, nothing is read from the
    /// server; [`send`](Client::send) of the whole client reads meanwhile.
    pub fn halves(&mut self) -> (&mut Sender, &mut Receiver) {
        (&mut self.sender, &mut self.receiver)
    }

    /// Drops the connection: no Close frame is sent, and the bytes queued are discarded. The next
    /// call that receives reports the end.
    pub fn abort(&mut self) {
        self.sender.abort();
    }

    /// Returns a handle that ends the connection from another thread, even while this one waits.
    pub fn stopper(&self) -> Stopper {
        self.sender.stopper()
    }

    /// How the connection ended; `None` while it has not.
    pub fn closure(&self) -> Option<Closure> {
        self.receiver.closure()
    }

    /// True while messages can be sent: the closing handshake has not begun.
    pub fn is_open(&self) -> bool {
        self.sender.is_open()
    }

    /// Statistics of the connection so far.
    pub fn stats(&self) -> Stats {
        self.receiver.stats()
    }

    /// The subprotocol that the server selected, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.receiver.subprotocol()
    }

    /// The negotiated parameters of permessage-deflate, if it was negotiated.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
        self.receiver.deflate()
    }

    /// The server's response to the opening handshake.
    pub fn response(&self) -> &ServerResponse {
        self.receiver.response()
    }

    /// The URI that the connection leads to, after redirects.
    pub fn uri(&self) -> &WsUri {
        self.receiver.uri()
    }

    /// What TLS with the server has agreed on: version, cipher suite, certificates. `None` for a
    /// connection without TLS, and if the application's stream does it.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::TlsInfo> {
        self.receiver.tls()
    }

    /// Why TLS has ended the connection, in which case [`Closure::cause`] is
    /// [`Error::TransportLost`](framewright::Error::TransportLost): the end of the stream without
    /// `close_notify` ([`TlsError::Truncated`](crate::TlsError::Truncated)), a record that was altered,
    /// an alert. `None` before the end, and for an end that has another reason.
    #[cfg(feature = "tls")]
    pub fn tls_error(&self) -> Option<crate::TlsError> {
        self.receiver.tls_error()
    }

    /// The address of the server, or of the proxy, that the client is connected to. `None` once the
    /// connection is gone, and over a stream without such an address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.receiver.peer_addr()
    }

    /// The address of this end; `None` once the connection is gone.
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
