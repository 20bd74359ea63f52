//! The client's side: from a URI to an open connection, or over a stream that leads to the server
//! already. What it does is [`framewright_driver::opening`], as in every client; here are the
//! sockets, names and timers of tokio for it.
//!
//! | file | topic |
//! |---|---|
//! | `options` | the settings |
//! | `network` | names and TCP connections |
//! | `polled` | a stream that is polled, as an opening uses it |
//! | `maybe_tls` | the stream of a client, with TLS or without |
//! | `session` | TLS by tokio-rustls, and why it failed |

mod maybe_tls;
mod network;
mod options;
mod polled;
#[cfg(feature = "tls")]
mod session;

use crate::entropy::Csprng;
use crate::websocket::WebSocket;
use crate::work::now;
use framewright::Connection;
use framewright::handshake::{ClientRequest, ServerResponse, WsUri};
use framewright_driver::opening::{ConnectError, Opened, Opening, Over};
pub use maybe_tls::MaybeTls;
use network::{Attempt, Lookup, Network};
pub use options::ConnectOptions;
use polled::Polled;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

/// Connects to a `ws:` or `wss:` URI with the default [`ConnectOptions`].
///
/// ```no_run
/// # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
/// let mut socket = framewright_tokio::connect("wss://localhost/chat").await?;
/// socket.send_text("hello").await?;
/// while let Some(message) = socket.recv().await {
///     println!("{:?}", message?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// *Cancel safety*: dropping the future gives up the attempt, and leaves nothing behind.
///
/// # Errors
/// [`ConnectError`]: the text is not a WebSocket URI, or a step of the opening handshake has failed.
pub async fn connect(uri: &str) -> Result<WebSocket<MaybeTls>, ConnectError> {
    let request = ClientRequest::new(WsUri::parse(uri)?);
    Ok(connect_with(request, &ConnectOptions::default()).await?.websocket)
}

/// Connects with settings: resolves the host, connects to one of its addresses (RFC 8305), goes
/// through a proxy and does TLS where these are asked for, requests the upgrade, and checks the
/// response.
///
/// ```no_run
/// use framewright_tokio::{ClientRequest, ConnectOptions, Connected, Proxy, connect_with};
///
/// # async fn hello() -> Result<(), Box<dyn std::error::Error>> {
/// let request = ClientRequest::try_from("wss://chat.example/")?.with_subprotocol("chat")?;
/// let proxy = Proxy::from_env(request.uri())?;
/// let options = ConnectOptions { proxy, redirects: 5, ..ConnectOptions::default() };
/// let Connected { websocket: mut socket, response, .. } = connect_with(request, &options).await?;
/// println!("{:?}", response.field("Server"));
/// socket.send_text("hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// The first `wss:` URI or `https:` proxy with the default TLS settings reads the platform's
/// certificate authorities from files, which takes some 4 ms, on the thread of the task.
/// [`ClientTls`](crate::ClientTls) says how to do it before.
///
/// *Cancel safety*: dropping the future gives up the attempt. Its sockets are closed, and the next
/// connection to the address has its turn. A name that is being looked up keeps a thread of tokio's
/// until the system has answered.
///
/// # Errors
/// [`ConnectError`]: which step has failed, and why.
///
/// # Panics
/// Outside of a tokio runtime, and in one without its drivers for I/O and time.
pub async fn connect_with(
    request: ClientRequest,
    options: &ConnectOptions,
) -> Result<Connected<MaybeTls>, ConnectError> {
    let opened = drive(Way::Begun(Some(Box::new((request, options.into()))))).await?;
    Ok(open(opened, options))
}

/// Does the opening handshake over a stream that already leads to the server: a stream in memory, a
/// tunnel, a Unix socket, a TCP connection made elsewhere.
///
/// ```
/// use framewright_tokio::{AcceptOptions, ClientRequest, ConnectOptions, accept, client_over};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = tokio::io::duplex(4096);
/// let request: ClientRequest = "ws://localhost/chat".parse()?;
/// let (options, accepting) = (ConnectOptions::default(), AcceptOptions::default());
/// let (client, server) = tokio::join!(client_over(ours, request, &options), accept(theirs, &accepting));
/// let (mut client, mut server) = (client?.websocket, server?);
/// client.send_text("hello").await?;
/// assert_eq!(server.recv().await.expect("a message")?.as_bytes(), b"hello");
/// # Ok(())
/// # }
/// ```
///
/// The request names the resource, and the host that is sent to the server. With a `wss:` URI the
/// client does TLS over the stream, with the host's certificate; if the stream does it already, say
/// so with [`ClientTls::of_the_stream`](crate::ClientTls::of_the_stream).
///
/// The settings for finding and reaching the server have no effect: `connect_timeout`,
/// `one_at_a_time`, `turn_timeout`, `addresses`, `proxy`, and `redirects`; no redirect is followed.
///
/// *Cancel safety*: dropping the future drops the stream.
///
/// # Errors
/// [`ConnectError`]: the errors of the opening handshake.
pub async fn client_over<S>(
    stream: S,
    request: ClientRequest,
    options: &ConnectOptions,
) -> Result<Connected<MaybeTls<S>>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let over = Over::start(Polled::new(stream), request, options.into(), now())?;
    Ok(open(drive(over).await?, options))
}

/// A connection that was opened, with what the server has answered.
///
/// A release may add fields: end a pattern with `..`.
#[non_exhaustive]
pub struct Connected<S> {
    /// The connection.
    pub websocket: WebSocket<S>,
    /// The server's response, a 101, with its fields.
    pub response: ServerResponse,
    /// The URI that the connection leads to, after redirects.
    pub uri: WsUri,
    #[cfg(feature = "tls")]
    tls: Option<crate::TlsInfo>,
}

impl<S> Connected<S> {
    /// What TLS with the server has agreed on: version, cipher suite, certificates. `None` for a
    /// connection without TLS, and if the application's stream does it.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&crate::TlsInfo> {
        self.tls.as_ref()
    }
}

impl<S> fmt::Debug for Connected<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Makes the connection of an opening handshake that is complete.
fn open<S>(opened: Opened<Polled<S>>, options: &ConnectOptions) -> Connected<MaybeTls<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Opened { stream, negotiated, early, response, uri } = opened;
    let stream = stream.into_stream();
    let connection = Connection::client(Arc::clone(&options.connection), negotiated, Box::new(Csprng), now());
    #[cfg(feature = "tls")]
    let tls = stream.tls();
    let websocket = WebSocket::of(counted(connection), stream, &early);
    Connected {
        websocket,
        response,
        uri,
        #[cfg(feature = "tls")]
        tls,
    }
}

/// Reserves the memory of context takeover. If there is no room for it, it is taken all the same:
/// the server compresses as was agreed.
#[cfg(feature = "deflate")]
fn counted(mut connection: Connection) -> Connection {
    if let Some(params) = connection.deflate()
        && let Some(reservation) =
            crate::lent::MEMORY.reserve(params.takeover_size(connection.role(), &connection.config().deflate))
    {
        connection.driver().set_deflate_reservation(reservation);
    }
    connection
}

#[cfg(not(feature = "deflate"))]
fn counted(connection: Connection) -> Connection {
    connection
}

/// An opening that gets turns.
trait Turns {
    type Stream: AsyncRead + AsyncWrite + Unpin;

    fn turn(
        &mut self,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<Option<Opened<Polled<Self::Stream>>>, ConnectError>;

    fn deadline(&self) -> Option<Instant>;
}

/// The way to the host of a URI.
enum Way {
    /// What is needed to start, until the first turn.
    Begun(Option<Box<(ClientRequest, framewright_driver::opening::Settings)>>),
    Opening(Box<Opening<Lookup, Attempt, Polled<TcpStream>>>),
}

impl Turns for Way {
    type Stream = TcpStream;

    fn turn(
        &mut self,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<Option<Opened<Polled<TcpStream>>>, ConnectError> {
        let mut network = Network { context };
        if let Way::Begun(begun) = self {
            let (request, settings) = *begun.take().expect("it is taken once");
            *self = Way::Opening(Box::new(Opening::start(request, settings, now, &mut network)?));
        }
        let Way::Opening(opening) = self else { return Ok(None) };
        opening.turn(now, &mut network)
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Way::Begun(_) => None,
            Way::Opening(opening) => opening.deadline(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Turns for Over<Polled<S>> {
    type Stream = S;

    fn turn(
        &mut self,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<Option<Opened<Polled<S>>>, ConnectError> {
        if let Some(stream) = self.stream_mut() {
            stream.wake_by(context.waker());
        }
        Over::turn(self, now)
    }

    fn deadline(&self) -> Option<Instant> {
        Over::deadline(self)
    }
}

/// Gives an opening its turns until it has ended.
async fn drive<T: Turns>(mut opening: T) -> Result<Opened<Polled<T::Stream>>, ConnectError> {
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    poll_fn(|context| {
        loop {
            if let Some(opened) = opening.turn(now(), context)? {
                return Poll::Ready(Ok(opened));
            }
            let Some(deadline) = opening.deadline() else { return Poll::Pending };
            let deadline = tokio::time::Instant::from_std(deadline);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            std::task::ready!(timer.as_mut().poll(context));
        }
    })
    .await
}
