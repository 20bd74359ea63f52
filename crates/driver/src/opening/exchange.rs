//! From a TCP connection to a WebSocket connection: TLS with the proxy, the tunnel, TLS with the
//! server, as far as there are any of these; the request, and the response.
//!
//! The TLS handshake of the stream comes first, and then the request: nothing of it is sent before
//! the other end has selected its protocol.

use super::connecting::Connected;
use super::entropy::Csprng;
use super::error::ConnectError;
use super::gate::Ticket;
use super::network::Stream;
use super::proxy::Proxy;
use super::settings::Settings;
#[cfg(feature = "client-tls")]
use super::tls::Session;
use super::tls::{ClientTls, Peer, With};
use framewright::handshake::{
    Answer, BodyReader, ClientHandshake, ClientRequest, Negotiated, ProxyAnswer, ProxyHandshake,
    ResponseHead, ServerResponse, WsUri,
};
use std::io;
use std::time::{Duration, Instant};

/// The bytes that one read asks for. A response has a few hundred bytes; the first frames that
/// arrive with it are copied once.
const CHUNK: usize = 4 << 10;

/// The handshakes' own deadlines are not used: one deadline covers everything on this connection.
const NO_TIMEOUT: Duration = Duration::MAX;

/// The exchange on a connection until it is open.
#[derive(Debug)]
pub(super) struct Exchange<S> {
    stream: S,
    /// Held until the connection is open or has failed.
    _ticket: Option<Ticket>,
    /// `None` for a deadline too far off for the clock.
    deadline: Option<Instant>,
    outgoing: Vec<u8>,
    sent: usize,
    /// Why writing has failed. The response may have arrived before that, so it is still read.
    write_error: Option<io::Error>,
    peer: Speaker,
    /// The response of the current peer from its first byte on, without the body of a refusal.
    received: Vec<u8>,
    /// The body of a refusal that is being read.
    body: Option<BodyReader>,
}

/// A connection whose opening handshake is complete.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "a driver takes it apart")]
pub struct Opened<S> {
    /// The stream. There may be more to read that no event will announce.
    pub stream: S,
    /// What client and server have agreed on.
    pub negotiated: Negotiated,
    /// The bytes received behind the head of the response: the first frames.
    pub early: Vec<u8>,
    /// The 101 response.
    pub response: ServerResponse,
    /// The URI that the connection leads to, after redirects.
    pub uri: WsUri,
}

/// The peer that the client is talking to.
#[derive(Debug)]
enum Speaker {
    Proxy(ProxyHandshake),
    Server(ClientHandshake),
}

/// The request on this connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop<'a> {
    pub(super) request: &'a ClientRequest,
    pub(super) settings: &'a Settings,
    /// True while fewer redirects were followed than are allowed.
    pub(super) may_redirect: bool,
    /// True unless a redirect has led to another origin.
    pub(super) is_at_origin: bool,
    /// The stream was brought by the application, and may do TLS itself.
    pub(super) is_brought: bool,
}

impl<'a> Hop<'a> {
    /// Who the server is to the TLS settings.
    pub(super) fn tls_with_server(self) -> With {
        if self.is_at_origin { With::Origin } else { With::Others }
    }

    /// The TLS settings for an `https:` proxy, and who it is to them.
    pub(super) fn tls_with_proxy(self, proxy: &'a Proxy) -> (&'a ClientTls, With) {
        proxy.tls().map_or((&self.settings.tls, With::Others), |own| (own, With::Origin))
    }

    /// Starts TLS with the server if the URI asks for it.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If /secure/ is true, the client MUST perform a TLS handshake over
    //# the connection after opening the connection and before sending
    //# the handshake data [RFC2818].  If this fails (e.g., the server's
    //# certificate could not be verified), then the client MUST _Fail
    //# the WebSocket Connection_ and abort the connection.  Otherwise,
    //# all further communication on this channel MUST run through the
    //# encrypted tunnel [RFC5246].
    fn secured<S: Stream>(self, stream: S) -> Result<S, ConnectError> {
        let (uri, tls) = (self.request.uri(), &self.settings.tls);
        if !uri.is_secure() || (self.is_brought && tls.is_of_the_stream()) {
            return Ok(stream);
        }
        secured(stream, tls, self.tls_with_server(), Peer::Server, uri)
    }

    /// Starts TLS with the proxy if its URL asks for it.
    fn secured_to<S: Stream>(self, proxy: &Proxy, stream: S) -> Result<S, ConnectError> {
        if !proxy.place().is_secure() {
            return Ok(stream);
        }
        let (tls, with) = self.tls_with_proxy(proxy);
        let secured = secured(stream, tls, with, Peer::Proxy, proxy.place());
        secured.map_err(|error| ConnectError::Proxy(Box::new(error)))
    }
}

/// Checks that TLS with the host of `uri` can be set up over streams like `S`.
pub(super) fn check_tls<S: Stream>(
    tls: &ClientTls,
    with: With,
    peer: Peer,
    uri: &WsUri,
) -> Result<(), ConnectError> {
    if !S::DOES_TLS {
        return Err(ConnectError::TlsNotSupported);
    }
    session(tls, with, peer, uri).map(drop)
}

#[cfg(feature = "client-tls")]
fn session(tls: &ClientTls, with: With, peer: Peer, uri: &WsUri) -> Result<Session, ConnectError> {
    Session::with(tls, with, peer, uri)?.ok_or(ConnectError::TlsNotSupported)
}

#[cfg(feature = "client-tls")]
fn secured<S: Stream>(
    stream: S,
    tls: &ClientTls,
    with: With,
    peer: Peer,
    uri: &WsUri,
) -> Result<S, ConnectError> {
    stream.secured(session(tls, with, peer, uri)?)
}

/// There is no TLS in this build.
#[cfg(not(feature = "client-tls"))]
fn session(_: &ClientTls, _: With, _: Peer, _: &WsUri) -> Result<(), ConnectError> {
    Err(ConnectError::TlsNotSupported)
}

#[cfg(not(feature = "client-tls"))]
fn secured<S: Stream>(_: S, _: &ClientTls, _: With, _: Peer, _: &WsUri) -> Result<S, ConnectError> {
    Err(ConnectError::TlsNotSupported)
}

/// The result of a turn.
#[derive(Debug)]
pub(super) enum ExchangeTurn<S> {
    Wait(Box<Exchange<S>>),
    Open(Box<Opened<S>>),
    Redirect(ClientRequest),
}

/// How the body of a refusal ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// As its framing says, or with the stream.
    Well,
    /// Early: the deadline passed, or the connection failed.
    Cut,
}

/// The result of parsing the bytes received.
enum Taken {
    More,
    /// The proxy has opened the tunnel.
    Tunnel,
    Open {
        head_len: usize,
        negotiated: Negotiated,
    },
    Redirect(ClientRequest),
}

impl<S: Stream> Exchange<S> {
    /// # Errors
    /// If TLS cannot be set up.
    pub(super) fn start(connected: Connected<S>, hop: Hop<'_>, now: Instant) -> Result<Self, ConnectError> {
        let mut outgoing = Vec::with_capacity(512);
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# _Proxy Usage_: If the client is configured to use a proxy when
        //# using the WebSocket Protocol to connect to host /host/ and port
        //# /port/, then the client SHOULD connect to that proxy and ask it
        //# to open a TCP connection to the host given by /host/ and the
        //# port given by /port/.
        let (stream, peer) = match &hop.settings.proxy {
            Some(proxy) => {
                let handshake = ProxyHandshake::new(
                    hop.request.uri(),
                    proxy.credentials(),
                    hop.settings.head,
                    now,
                    NO_TIMEOUT,
                    &mut outgoing,
                );
                (hop.secured_to(proxy, connected.stream)?, Speaker::Proxy(handshake))
            }
            None => (hop.secured(connected.stream)?, server(hop, now, &mut outgoing)),
        };
        Ok(Exchange {
            stream,
            _ticket: connected.ticket,
            deadline: now.checked_add(hop.settings.handshake_timeout),
            outgoing,
            sent: 0,
            write_error: None,
            peer,
            received: Vec::new(),
            body: None,
        })
    }

    pub(super) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Does everything that can be done now.
    ///
    /// # Errors
    /// The error with which the exchange ended; a refusal is one.
    pub(super) fn turn(
        mut self: Box<Self>,
        now: Instant,
        hop: Hop<'_>,
    ) -> Result<ExchangeTurn<S>, ConnectError> {
        while self.write()? {
            let mut chunk = [0; CHUNK];
            match self.stream.read_once(&mut chunk) {
                Ok(0) => return Err(self.ended(hop)),
                Ok(count) => match self.take(&chunk[..count], hop)? {
                    Taken::More => {}
                    Taken::Tunnel => *self = (*self).through(now, hop)?,
                    Taken::Open { head_len, negotiated } => {
                        return Ok(ExchangeTurn::Open(Box::new(self.open(head_len, negotiated, hop))));
                    }
                    Taken::Redirect(request) => return Ok(ExchangeTurn::Redirect(request)),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(self.lost(error, hop)),
            }
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(self.refused(hop, Ended::Cut).unwrap_or(ConnectError::HandshakeTimeout));
        }
        Ok(ExchangeTurn::Wait(self))
    }

    /// Writes the bytes that the connection takes. Returns true when it is time to read: nothing is
    /// left to write, or writing has failed. A response to a request that is only partly written is
    /// read later: a server that refuses so early closes, and then writing fails.
    ///
    /// # Errors
    /// If the other end speaks another protocol than HTTP/1.1 within TLS.
    fn write(&mut self) -> Result<bool, ConnectError> {
        while self.write_error.is_none() && self.sent < self.outgoing.len() {
            // A server of another protocol does not see the request.
            match self.stream.handshake() {
                Ok(true) => self.stream.check_protocol()?,
                Ok(false) => return Ok(false),
                Err(error) => {
                    self.write_error = Some(error);
                    break;
                }
            }
            match self.stream.write_once(&self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => self.write_error = Some(error),
            }
        }
        // What TLS has to send for itself may have waited for room.
        self.stream.flush_own();
        Ok(true)
    }

    /// Parses the bytes received.
    fn take(&mut self, octets: &[u8], hop: Hop<'_>) -> Result<Taken, ConnectError> {
        if let Some(body) = &mut self.body {
            let complete = body.push(octets);
            return if complete {
                self.refused(hop, Ended::Well).map_or(Ok(Taken::More), Err)
            } else {
                Ok(Taken::More)
            };
        }
        self.received.extend_from_slice(octets);
        match &mut self.peer {
            Speaker::Proxy(handshake) => {
                match handshake.parse(&self.received).map_err(ConnectError::ProxyHandshake)? {
                    None => Ok(Taken::More),
                    // A server does not speak first: early bytes would be taken for its response,
                    // or for its part of the TLS handshake.
                    Some(ProxyAnswer::Tunnel { head_len }) if self.received.len() > head_len => {
                        Err(ConnectError::ProxyEarlyData)
                    }
                    Some(ProxyAnswer::Tunnel { .. }) => Ok(Taken::Tunnel),
                    Some(ProxyAnswer::Refused { head_len, body }) => self.refuse(head_len, body, hop),
                }
            }
            Speaker::Server(handshake) => {
                match handshake.parse(&self.received).map_err(ConnectError::Handshake)? {
                    None => Ok(Taken::More),
                    Some(Answer::Accepted { head_len, negotiated }) => {
                        Ok(Taken::Open { head_len, negotiated })
                    }
                    Some(Answer::Refused { head_len, body }) => self.refuse(head_len, body, hop),
                }
            }
        }
    }

    /// The proxy has opened the tunnel: starts the handshake with the server.
    fn through(mut self, now: Instant, hop: Hop<'_>) -> Result<Self, ConnectError> {
        self.received.clear();
        self.outgoing.clear();
        self.sent = 0;
        self.peer = server(hop, now, &mut self.outgoing);
        self.stream = hop.secured(self.stream)?;
        Ok(self)
    }

    /// Handles a refusal. A redirect that is followed needs no body.
    fn refuse(&mut self, head_len: usize, mut body: BodyReader, hop: Hop<'_>) -> Result<Taken, ConnectError> {
        if hop.may_redirect
            && let Speaker::Server(handshake) = &self.peer
            && let Some(next) = hop.request.redirected(&handshake.response(&self.received))
        {
            self.stream.end();
            return next.map(Taken::Redirect).map_err(ConnectError::Redirect);
        }
        let complete = body.push(&self.received[head_len..]);
        self.received.truncate(head_len);
        self.body = Some(body);
        if complete { self.refused(hop, Ended::Well).map_or(Ok(Taken::More), Err) } else { Ok(Taken::More) }
    }

    /// The refusal, with the part of its body that has arrived; `None` if no refusal has been
    /// received.
    fn refused(&mut self, hop: Hop<'_>, ended: Ended) -> Option<ConnectError> {
        let (body, truncated) = self.body.take()?.finish();
        // The stream ends with this: TLS has its end sent, if there is room.
        self.stream.end();
        let truncated = truncated || ended == Ended::Cut;
        let head = self.peer.response(&self.received);
        let response = Box::new(head.to_response(body, truncated));
        let limit = hop.settings.redirects;
        Some(match &self.peer {
            Speaker::Proxy(_) => ConnectError::ProxyRefused(response),
            Speaker::Server(_) if limit > 0 && hop.request.redirected(&head).is_some() => {
                ConnectError::TooManyRedirects { limit, response }
            }
            Speaker::Server(_) => ConnectError::Refused(response),
        })
    }

    /// The error after the end of the stream.
    fn ended(mut self, hop: Hop<'_>) -> ConnectError {
        if let Some(refused) = self.refused(hop, Ended::Well) {
            return refused;
        }
        match (self.write_error, self.peer) {
            (Some(error), _) => self.stream.failure(error),
            (None, Speaker::Proxy(mut handshake)) => ConnectError::ProxyHandshake(handshake.handle_eof()),
            (None, Speaker::Server(mut handshake)) => ConnectError::Handshake(handshake.handle_eof()),
        }
    }

    /// The error after the connection has failed.
    fn lost(mut self, error: io::Error, hop: Hop<'_>) -> ConnectError {
        match self.refused(hop, Ended::Cut) {
            Some(refused) => refused,
            None => self.stream.failure(error),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# Once the client's opening handshake has been sent, the client MUST
    //# wait for a response from the server before sending any further data.
    fn open(self, head_len: usize, negotiated: Negotiated, hop: Hop<'_>) -> Opened<S> {
        Opened {
            stream: self.stream,
            negotiated,
            early: self.received[head_len..].to_vec(),
            response: self.peer.response(&self.received).to_response(Vec::new(), false),
            uri: hop.request.uri().clone(),
        }
    }
}

impl Speaker {
    fn response<'a>(&'a self, received: &'a [u8]) -> ResponseHead<'a> {
        match self {
            Speaker::Proxy(handshake) => handshake.response(received),
            Speaker::Server(handshake) => handshake.response(received),
        }
    }
}

/// Starts the handshake with the server.
fn server(hop: Hop<'_>, now: Instant, out: &mut Vec<u8>) -> Speaker {
    Speaker::Server(ClientHandshake::new(hop.request, &mut Csprng, hop.settings.head, now, NO_TIMEOUT, out))
}

/// The progress.
impl<S> Exchange<S> {
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn has_asked(&self) -> bool {
        self.sent == self.outgoing.len()
    }

    /// True once the client talks to the server, and not, or no longer, to the proxy.
    pub(super) fn is_with_server(&self) -> bool {
        matches!(self.peer, Speaker::Server(_))
    }

    /// The number of bytes received of the response's head.
    pub(super) fn received(&self) -> usize {
        self.received.len()
    }

    /// Whether the body of a refusal is being read.
    pub(super) fn reads_refusal(&self) -> bool {
        self.body.is_some()
    }
}
