//! The server's side of the opening handshake: reads a request before a deadline and accepts it
//! (RFC 6455, section 4.2).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checks::RequestFacts;
use super::refusal::Refusal;
use super::request::Request;
use super::upgrade::Upgrade;
#[cfg(feature = "deflate")]
use crate::deflate::DeflatePolicy;
use crate::handshake::Negotiated;
use crate::http::bytes::is_token;
use crate::http::field::{FieldName, FieldValue, write_line};
use crate::http::head::{HeadLimits, HeadParser};
use crate::http::request_line::RequestLine;

/// The server's side of one opening handshake: it parses one request.
///
/// It stores no bytes: the caller keeps them, and passes all of them again each time more have been
/// received. Call [`parse`](Self::parse) until it returns a length, then
/// [`request`](Self::request), [`Request::upgrade`] and [`Upgrade::accept`]. If one of them returns
/// a [`Refusal`], send that as the response and close.
///
/// ```
/// use std::time::{Duration, Instant};
/// use framewright::handshake::{Accept, HeadLimits, ServerHandshake, choose_subprotocol};
///
/// let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::from_secs(10));
/// let received = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
///     Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";
///
/// let head_len = handshake.parse(received)?.expect("the head is complete");
/// let request = handshake.request(received);
/// assert_eq!(request.path(), "/chat");
///
/// let upgrade = request.upgrade()?.expect("this is an opening handshake");
/// let mut accept = Accept::new();
/// if let Some(subprotocol) = choose_subprotocol(&request, &["superchat"]) {
///     accept = accept.with_subprotocol(subprotocol.to_owned());
/// }
/// let mut answer = Vec::new();
/// let negotiated = upgrade.accept(&request, &accept, &mut answer)?;
/// assert_eq!(negotiated.subprotocol(), Some("superchat"));
/// // The frames start at `received[head_len..]`.
/// # assert_eq!(head_len, received.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServerHandshake {
    parser: HeadParser<RequestLine>,
    /// `None` if the deadline is beyond what `Instant` can represent.
    deadline: Option<Instant>,
    state: RequestState,
}

#[derive(Clone, Copy, Debug)]
enum RequestState {
    Reading,
    Complete(usize, RequestFacts),
    Refused(Refusal),
}

impl ServerHandshake {
    /// Starts a handshake at `now`, which fails unless the request is complete within `timeout`.
    /// `Duration::MAX` means no deadline.
    pub fn new(limits: HeadLimits, now: Instant, timeout: Duration) -> Self {
        ServerHandshake {
            parser: HeadParser::request(limits),
            deadline: now.checked_add(timeout),
            state: RequestState::Reading,
        }
    }

    /// Continues to parse `bytes`: everything received, from the first byte on. The bytes passed
    /// before must still be there unchanged; they are not read again.
    ///
    /// Returns `Ok(None)` until the head is complete, and then its length in bytes. The bytes after
    /// the head belong to the connection. Later calls return the same result.
    ///
    /// # Errors
    /// The first rule of HTTP that the request breaks, as soon as the bytes received prove it.
    /// Later calls return the same error.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        match self.state {
            RequestState::Reading => {}
            RequestState::Complete(length, _) => return Ok(Some(length)),
            RequestState::Refused(refusal) => return Err(refusal),
        }
        match self.read(bytes) {
            Ok(None) => Ok(None),
            Ok(Some((length, facts))) => {
                self.state = RequestState::Complete(length, facts);
                Ok(Some(length))
            }
            Err(refusal) => {
                self.state = RequestState::Refused(refusal);
                Err(refusal)
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, RequestFacts)>, Refusal> {
        let Some(length) = self.parser.parse(bytes)? else { return Ok(None) };
        Ok(Some((length, RequestFacts::of(&self.parser.head(), bytes)?)))
    }

    /// The request, once [`parse`](Self::parse) has returned a length. `bytes` are the bytes passed
    /// to `parse`.
    ///
    /// # Panics
    /// If `parse` has not returned a length, or if `bytes` is shorter than that length.
    pub fn request<'a>(&'a self, bytes: &'a [u8]) -> Request<'a> {
        let RequestState::Complete(_, facts) = &self.state else { panic!("the request is not complete") };
        Request::new(bytes, self.parser.head(), facts)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). `None` if there is no deadline, and
    /// once the request is complete or refused.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            RequestState::Reading => self.deadline,
            _ => None,
        }
    }

    /// Checks the deadline at `now`. Once it has passed, returns the refusal to answer with:
    /// [`Refusal::HandshakeTimeout`].
    ///
    /// The deadline is fixed at the start and bytes received do not move it: a peer that sends a
    /// byte a second gains nothing. Returns `None` before the deadline, and once the request is
    /// complete or refused.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Refusal> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.state = RequestState::Refused(Refusal::HandshakeTimeout);
        Some(Refusal::HandshakeTimeout)
    }
}

/// The application's part of the 101 that accepts an opening handshake.
///
/// ```
/// # use framewright::handshake::{Accept, FieldName, FieldValue};
/// let accept = Accept::new()
///     .with_subprotocol("chat")
///     .with_field(FieldName::from_static("Set-Cookie"), FieldValue::from_static("id=7"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    subprotocol: Option<Cow<'static, str>>,
    fields: Vec<(FieldName, FieldValue)>,
    #[cfg(feature = "deflate")]
    deflate: Option<DeflatePolicy>,
}

impl Accept {
    /// An answer without subprotocol, extension or additional fields.
    pub fn new() -> Self {
        Accept::default()
    }

    /// Selects this subprotocol, which must be one that the client offered: see
    /// [`choose_subprotocol`].
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: impl Into<Cow<'static, str>>) -> Self {
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// Adds a field line after those already added; a name may be repeated.
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The policy set with [`with_deflate`](Accept::with_deflate); `None` if none was set.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<DeflatePolicy> {
        self.deflate
    }

    /// Negotiates permessage-deflate if `policy` can accept one of the client's offers: see
    /// [`DeflatePolicy::accept`]. Without a policy every offer is declined.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn with_deflate(mut self, policy: DeflatePolicy) -> Self {
        self.deflate = Some(policy);
        self
    }
}

impl Upgrade {
    /// The value of Sec-WebSocket-Accept that answers the request.
    pub fn accept_key(&self) -> &[u8; 28] {
        &self.accept_key
    }

    /// Whether the client expects a 100 (Continue) first. [`accept`](Self::accept) writes it.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Accepts the opening handshake: appends the 101 to `out` and returns what was negotiated.
    ///
    /// `request` is the request that this value came from. The connection is open once the bytes
    /// have been sent.
    ///
    /// # Errors
    /// [`AcceptError`] if `accept` names a subprotocol that must not be sent; nothing is written
    /// then.
    pub fn accept(
        &self,
        request: &Request<'_>,
        accept: &Accept,
        out: &mut Vec<u8>,
    ) -> Result<Negotiated, AcceptError> {
        let subprotocol = check_subprotocol(request, accept)?;
        //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
        //# If a server receives both an Upgrade and an Expect header field with the "100-continue" expectation (Section
        //# 10.1.1), the server MUST send a 100 (Continue) response before sending a 101 (Switching Protocols) response.
        if self.expects_continue {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
        //# If the server chooses to accept the incoming connection, it MUST
        //# reply with a valid HTTP response indicating the following.
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        write_line(out, "Sec-WebSocket-Accept", &self.accept_key);
        if let Some(subprotocol) = subprotocol {
            write_line(out, "Sec-WebSocket-Protocol", subprotocol.as_bytes());
        }
        let mut negotiated = answer_extensions(request, accept, out);
        for (name, value) in &accept.fields {
            write_line(out, name.as_str(), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if let Some(subprotocol) = subprotocol {
            negotiated = negotiated.with_subprotocol(Arc::from(subprotocol));
        }
        Ok(negotiated)
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
//# The value chosen MUST be derived
//# from the client's handshake, specifically by selecting one of
//# the values from the |Sec-WebSocket-Protocol| field that the
//# server is willing to use for this connection (if any).
fn check_subprotocol<'a>(request: &Request<'_>, accept: &'a Accept) -> Result<Option<&'a str>, AcceptError> {
    let Some(subprotocol) = accept.subprotocol.as_deref() else { return Ok(None) };
    if !is_token(subprotocol.as_bytes()) {
        return Err(AcceptError::InvalidSubprotocol);
    }
    if !request.subprotocols().any(|offered| offered == subprotocol) {
        return Err(AcceptError::SubprotocolNotOffered);
    }
    Ok(Some(subprotocol))
}

/// Appends the line that names the accepted extension, if any, and returns what was negotiated.
///
/// permessage-deflate is the only extension to accept, so no other can claim its bit RSV1.
#[cfg(feature = "deflate")]
fn answer_extensions(request: &Request<'_>, accept: &Accept, out: &mut Vec<u8>) -> Negotiated {
    let negotiated = Negotiated::new();
    let Some(answer) = accept.deflate.and_then(|policy| policy.accept(request.extensions())) else {
        return negotiated;
    };
    out.extend_from_slice(b"Sec-WebSocket-Extensions: ");
    answer.write(out);
    out.extend_from_slice(b"\r\n");
    negotiated.with_deflate(answer.params())
}

/// Declines every extension.
#[cfg(not(feature = "deflate"))]
fn answer_extensions(_: &Request<'_>, _: &Accept, _: &mut Vec<u8>) -> Negotiated {
    Negotiated::new()
}

/// The reason why an opening handshake cannot be accepted as the application asked: the
/// application's mistake, not the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptError {
    /// The subprotocol is not a token.
    InvalidSubprotocol,
    /// The client did not offer the subprotocol.
    SubprotocolNotOffered,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcceptError::InvalidSubprotocol => "the subprotocol is not a token (RFC 6455, section 4.2.2)",
            AcceptError::SubprotocolNotOffered => {
                "the client did not offer the subprotocol (RFC 6455, section 4.2.2)"
            }
        })
    }
}

impl std::error::Error for AcceptError {}

/// Chooses the subprotocol: the first of `supported`, in the server's order of preference, that the
/// client offers. `None` if they have none in common; the 101 then has no Sec-WebSocket-Protocol.
///
/// Names are compared byte for byte: subprotocols are case-sensitive.
pub fn choose_subprotocol<'s, S: AsRef<str>>(request: &Request<'_>, supported: &'s [S]) -> Option<&'s str> {
    supported.iter().map(AsRef::as_ref).find(|name| request.subprotocols().any(|offered| offered == *name))
}
