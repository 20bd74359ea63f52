//! The server's side of the opening handshake: read a request, before a deadline, and accept it
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

/// A server that reads one request.
///
/// It holds no bytes: the caller keeps them, and gives all of them each time more have arrived. The
/// order of calls is [`parse`](Self::parse) until it returns a length, [`request`](Self::request),
/// [`Request::upgrade`], [`Upgrade::accept`]; any [`Refusal`] on the way is the answer to send
/// before closing.
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
    /// `None` for a deadline beyond the end of time.
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
    /// Starts at `now`; the request has to be complete `timeout` later. `Duration::MAX` is no
    /// deadline.
    pub fn new(limits: HeadLimits, now: Instant, timeout: Duration) -> Self {
        ServerHandshake {
            parser: HeadParser::request(limits),
            deadline: now.checked_add(timeout),
            state: RequestState::Reading,
        }
    }

    /// Reads on in `bytes`: everything received, from the first byte on. Bytes seen before must
    /// still be there, the same as before; they are not read again.
    ///
    /// `Ok(None)` until the head is complete. Then its length in bytes: what follows in `bytes`
    /// belongs to the connection. From then on the result stays as it is.
    ///
    /// # Errors
    /// The first rule of HTTP that the request breaks, as soon as that shows, and the same one ever
    /// after.
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

    /// The request, once [`parse`](Self::parse) has returned a length; `bytes` as they were given
    /// to it.
    ///
    /// # Panics
    /// If `parse` has not returned a length, or if `bytes` are fewer than that.
    pub fn request<'a>(&'a self, bytes: &'a [u8]) -> Request<'a> {
        let RequestState::Complete(_, facts) = &self.state else { panic!("the request is not complete") };
        Request::new(bytes, self.parser.head(), facts)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if there is no deadline, or
    /// nothing left to wait for because the request is complete or refused.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            RequestState::Reading => self.deadline,
            _ => None,
        }
    }

    /// Tells that it is `now`. After the deadline, the refusal to answer with:
    /// [`Refusal::HandshakeTimeout`].
    ///
    /// The deadline is the one set at the start, whatever has arrived since: a peer that sends a
    /// byte a second gains nothing. `None` before it, and once the request is complete or refused.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Refusal> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.state = RequestState::Refused(Refusal::HandshakeTimeout);
        Some(Refusal::HandshakeTimeout)
    }
}

/// What an application adds to the 101 with which it accepts an opening handshake.
///
/// ```
/// use framewright::handshake::{Accept, FieldName, FieldValue};
///
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
    /// No subprotocol, no extension and no fields.
    pub fn new() -> Self {
        Accept::default()
    }

    /// Speaks this subprotocol, which has to be one that the client offered: see
    /// [`choose_subprotocol`].
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: impl Into<Cow<'static, str>>) -> Self {
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// Adds a field line after those already there; a name may be given several times.
    #[must_use]
    pub fn with_field(mut self, name: FieldName, value: FieldValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// What it was told about permessage-deflate; `None` if nothing.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<DeflatePolicy> {
        self.deflate
    }

    /// Speaks permessage-deflate if the client offers it in a way that this policy can accept: see
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

    /// Whether the request waits for a 100 (Continue). [`accept`](Self::accept) writes one.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Accepts the opening handshake: appends the 101 to `out` and returns what was agreed.
    ///
    /// `request` is the one that this value came from. Once the bytes are on their way the
    /// connection is open.
    ///
    /// # Errors
    /// [`AcceptError`] if `accept` names a subprotocol that may not be answered; nothing is written
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

/// Appends the line that says which extension was accepted, if one was, and returns what was
/// agreed.
///
/// There is one extension to accept, so nothing else can claim the bit RSV1 that it uses.
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

/// Every extension is declined.
#[cfg(not(feature = "deflate"))]
fn answer_extensions(_: &Request<'_>, _: &Accept, _: &mut Vec<u8>) -> Negotiated {
    Negotiated::new()
}

/// Why an opening handshake cannot be accepted as the application asked: its mistake, not the
/// peer's.
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

/// The subprotocol to speak: the first of `supported`, which lists the server's most wanted first,
/// that the client offers. `None` if they have none in common; the 101 then has no
/// Sec-WebSocket-Protocol.
///
/// Names are compared byte for byte: subprotocols are case-sensitive.
pub fn choose_subprotocol<'s, S: AsRef<str>>(request: &Request<'_>, supported: &'s [S]) -> Option<&'s str> {
    supported.iter().map(AsRef::as_ref).find(|name| request.subprotocols().any(|offered| offered == *name))
}
