//! The client's side of the opening handshake: write a request, and check the answer, before a deadline (RFC 6455, section 4.1).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::ResponseHead;
use super::error::ResponseError;
use super::request::ClientRequest;
use super::response_reader::ResponseReader;
#[cfg(feature = "deflate")]
use crate::deflate::{AnswerError, DeflateOffer, check_answer};
use crate::entropy::Entropy;
use crate::handshake::Negotiated;
use crate::handshake::accept::{accept_key, new_key};
use crate::http::body::BodyReader;
use crate::http::bytes::is_token;
use crate::http::head::HeadLimits;
use crate::http::known::Known;

/// A client that waits for the answer to its opening handshake.
///
/// It holds no octets: the caller sends those of the request, keeps the ones that come back, and gives all of them each time more
/// have arrived.
///
/// ```
/// use std::time::{Duration, Instant};
/// use framewright::handshake::{Answer, ClientHandshake, ClientRequest, HeadLimits};
///
/// let request: ClientRequest = "ws://server.example.com/chat".parse()?;
/// let request = request.with_subprotocol("chat")?;
/// // Not a source for a program: a key has to be unpredictable.
/// let mut entropy = |target: &mut [u8]| target.copy_from_slice(b"the sample nonce");
/// let (now, timeout) = (Instant::now(), Duration::from_secs(10));
/// let mut out = Vec::new();
/// let mut handshake = ClientHandshake::new(&request, &mut entropy, HeadLimits::default(), now, timeout, &mut out);
/// assert!(out.starts_with(b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\n"));
///
/// let received = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
/// let Some(Answer::Accepted { head_len, negotiated }) = handshake.parse(received)? else { panic!() };
/// assert_eq!(negotiated.subprotocol(), Some("chat"));
/// // The frames start at `received[head_len..]`.
/// # assert_eq!(head_len, received.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientHandshake {
    reader: ResponseReader<Answer>,
    offered: Offered,
}

/// What an answer is held against.
#[derive(Debug)]
struct Offered {
    accept_key: [u8; 28],
    subprotocols: Vec<Cow<'static, str>>,
    #[cfg(feature = "deflate")]
    deflate: Vec<DeflateOffer>,
}

/// What a server has answered.
///
/// These are the only two: anything else is a [`ResponseError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A correct 101: the connection is open.
    Accepted {
        /// Where the head ends, counted from the first octet received: frames start there.
        head_len: usize,
        /// What was agreed on.
        negotiated: Negotiated,
    },
    /// Any other status, in any version of HTTP/1. There is no connection.
    Refused {
        /// Where the head ends, counted from the first octet received: the body starts there.
        head_len: usize,
        /// Reads the body, for who wants to see it.
        body: BodyReader,
    },
}

impl ClientHandshake {
    /// Appends the octets of the request to `out`, with a fresh key from `entropy`, and starts to wait at `now`; the head of the answer
    /// has to be complete `timeout` later. `Duration::MAX` is no deadline.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# Once a connection to the server has been established (including a
    //# connection via a proxy or over a TLS-encrypted tunnel), the client
    //# MUST send an opening handshake to the server.
    pub fn new(
        request: &ClientRequest,
        entropy: &mut dyn Entropy,
        limits: HeadLimits,
        now: Instant,
        timeout: Duration,
        out: &mut Vec<u8>,
    ) -> Self {
        let key = new_key(entropy);
        request.encode(&key, out);
        ClientHandshake {
            reader: ResponseReader::new(limits, now, timeout),
            offered: Offered {
                accept_key: accept_key(&key),
                subprotocols: request.offered_subprotocols().to_vec(),
                #[cfg(feature = "deflate")]
                deflate: request.offers().to_vec(),
            },
        }
    }

    /// Reads on in `bytes`: everything received, from the first octet on. Octets seen before must still be there, the
    /// same as before; they are not read again.
    ///
    /// `Ok(None)` until the head is complete. Then the answer, which from then on stays as it is. Interim responses (100, 103) are
    /// skipped, five at most.
    ///
    /// # Errors
    /// The first rule that the answer breaks, as soon as that shows, and the same one ever after: close the transport.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<Answer>, ResponseError> {
        self.reader.parse(bytes, |response| self.offered.judge(&response))
    }

    /// The answer's head, once [`parse`](Self::parse) has returned an answer; `bytes` as they were given to it.
    ///
    /// # Panics
    /// If `parse` has not returned an answer, or if `bytes` are fewer than its head has.
    pub fn response<'a>(&'a self, bytes: &'a [u8]) -> ResponseHead<'a> {
        self.reader.response(bytes)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if there is no deadline, or nothing left to wait for because the
    /// answer is complete or has failed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// Tells that it is `now`. After the deadline, [`ResponseError::Timeout`]: the handshake has failed.
    ///
    /// The deadline is the one set at the start, whatever has arrived since: a server that sends an octet a second gains nothing.
    /// `None` before it, and once the answer is complete or has failed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ResponseError> {
        self.reader.handle_timeout(now)
    }

    /// Tells that the stream has ended before [`parse`](Self::parse) returned an answer. The handshake has failed:
    /// [`ResponseError::Closed`] if nothing had arrived, [`ResponseError::Truncated`] otherwise.
    pub fn handle_eof(&mut self) -> ResponseError {
        self.reader.handle_eof()
    }
}

impl Offered {
    /// The rules for the answer, in the order of section 4.1.
    fn judge(&self, response: &ResponseHead<'_>) -> Result<Answer, ResponseError> {
        let head_len = response.end();
        if response.status() != 101 {
            return Ok(Answer::Refused { head_len, body: response.body_reader() });
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
        //# If the server chooses to accept the incoming connection, it MUST
        //# reply with a valid HTTP response indicating the following.
        // HTTP/1.0 has no upgrade.
        if response.http_minor() == 0 {
            return Err(ResponseError::UpgradeInHttp10);
        }
        check_upgrade(response)?;
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# If the response lacks a |Connection| header field or the
        //# |Connection| header field doesn't contain a token that is an
        //# ASCII case-insensitive match for the value "Upgrade", the client
        //# MUST _Fail the WebSocket Connection_.
        if !response.section().has_connection_option(b"upgrade") {
            return Err(ResponseError::MissingConnectionUpgrade);
        }
        self.check_accept(response)?;
        let mut negotiated = self.extensions(response)?;
        if let Some(subprotocol) = self.subprotocol(response)? {
            negotiated = negotiated.with_subprotocol(Arc::from(subprotocol));
        }
        Ok(Answer::Accepted { head_len, negotiated })
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response lacks a |Sec-WebSocket-Accept| header field or
    //# the |Sec-WebSocket-Accept| contains a value other than the
    //# base64-encoded SHA-1 of the concatenation of the |Sec-WebSocket-
    //# Key| (as a string, not base64-decoded) with the string "258EAFA5-
    //# E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and
    //# trailing whitespace, the client MUST _Fail the WebSocket
    //# Connection_.
    fn check_accept(&self, response: &ResponseHead<'_>) -> Result<(), ResponseError> {
        let mut lines = response.values(Known::Accept);
        let accept = lines.next().ok_or(ResponseError::MissingAccept)?;
        //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.3
        //# The |Sec-WebSocket-Accept| header MUST NOT appear more than once in
        //# an HTTP response.
        if lines.next().is_some() {
            return Err(ResponseError::RepeatedAccept);
        }
        if accept == self.accept_key { Ok(()) } else { Err(ResponseError::WrongAccept) }
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the response includes a |Sec-WebSocket-Protocol| header field
    //# and this header field indicates the use of a subprotocol that was
    //# not present in the client's handshake (the server has indicated a
    //# subprotocol not requested by the client), the client MUST _Fail
    //# the WebSocket Connection_.
    fn subprotocol(&self, response: &ResponseHead<'_>) -> Result<Option<&str>, ResponseError> {
        let mut lines = response.values(Known::Subprotocols);
        let Some(chosen) = lines.next() else { return Ok(None) };
        //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.4
        //# However, the |Sec-WebSocket-Protocol| header field MUST NOT appear
        //# more than once in an HTTP response.
        if lines.next().is_some() {
            return Err(ResponseError::RepeatedSubprotocol);
        }
        if !is_token(chosen) {
            return Err(ResponseError::InvalidSubprotocol);
        }
        let mut offered = self.subprotocols.iter().map(AsRef::as_ref);
        let found = offered.find(|offered: &&str| offered.as_bytes() == chosen);
        found.map(Some).ok_or(ResponseError::SubprotocolNotOffered)
    }

    /// What the extensions of the answer come to. They may come on several lines, as in a request: erratum 3433.
    #[cfg(feature = "deflate")]
    fn extensions(&self, response: &ResponseHead<'_>) -> Result<Negotiated, ResponseError> {
        let mut lines = response.values(Known::Extensions).peekable();
        if lines.peek().is_none() {
            return Ok(Negotiated::new());
        }
        // `extension-list = 1#extension`: at least one.
        let params = check_answer(&self.deflate, lines)?.ok_or(AnswerError::Malformed)?;
        Ok(Negotiated::new().with_deflate(params))
    }

    /// None can have been offered.
    #[cfg(not(feature = "deflate"))]
    #[allow(clippy::unused_self, reason = "as with the feature deflate")]
    fn extensions(&self, response: &ResponseHead<'_>) -> Result<Negotiated, ResponseError> {
        match response.values(Known::Extensions).next() {
            None => Ok(Negotiated::new()),
            Some(_) => Err(ResponseError::ExtensionNotOffered),
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# If the response lacks an |Upgrade| header field or the |Upgrade|
//# header field contains a value that is not an ASCII case-
//# insensitive match for the value "websocket", the client MUST
//# _Fail the WebSocket Connection_.
fn check_upgrade(response: &ResponseHead<'_>) -> Result<(), ResponseError> {
    if response.values(Known::Upgrade).next().is_none() {
        return Err(ResponseError::MissingUpgrade);
    }
    let mut protocols = response.section().list(Known::Upgrade);
    let is_websocket = protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    // Several would be layers of protocols, of which WebSocket were only one.
    if is_websocket && protocols.next().is_none() { Ok(()) } else { Err(ResponseError::InvalidUpgrade) }
}
