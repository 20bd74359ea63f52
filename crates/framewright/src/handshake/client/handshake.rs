//! The client's side of the opening handshake: writes a request, and waits for the answer until a
//! deadline (RFC 6455, section 4.1).
//!
//! [`ResponseReader`] reads the answers of servers and of proxies, and skips interim responses. The
//! rules of RFC 6455 for a server's answer are in `answer.rs`.

use std::time::{Duration, Instant};

use super::answer::{Answer, Offered, ResponseHead};
use super::error::ResponseError;
use super::request::ClientRequest;
use crate::entropy::Entropy;
use crate::handshake::accept::{accept_key, new_key};
use crate::http::head::{HeadLimits, HeadParser};
use crate::http::status_line::StatusLine;

/// The client's side of one opening handshake: it parses the answer to one request.
///
/// It stores no bytes: the caller sends the request, keeps the bytes received, and passes all of
/// them again each time more have been received.
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

impl ClientHandshake {
    /// Starts a handshake: appends the request to `out`, with a fresh key from `entropy`.
    ///
    /// The handshake fails unless the head of the answer is complete within `timeout`, counted from
    /// `now`. `Duration::MAX` means no deadline.
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

    /// Continues to parse `bytes`: everything received, from the first byte on. The bytes passed
    /// before must still be there unchanged; they are not read again.
    ///
    /// Returns `Ok(None)` until the head is complete, and then the answer. Later calls return the
    /// same answer. Interim responses (100, 103) are skipped, five at most.
    ///
    /// # Errors
    /// The first rule that the answer breaks, as soon as the bytes received prove it. Later calls
    /// return the same error. Close the transport.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<Answer>, ResponseError> {
        self.reader.parse(bytes, |response| self.offered.judge(&response))
    }

    /// The answer's head, once [`parse`](Self::parse) has returned an answer. `bytes` are the bytes
    /// passed to `parse`.
    ///
    /// # Panics
    /// If `parse` has not returned an answer, or if `bytes` is shorter than the answer's head.
    pub fn response<'a>(&'a self, bytes: &'a [u8]) -> ResponseHead<'a> {
        self.reader.response(bytes)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). `None` if there is no deadline, and
    /// once the answer is complete or has failed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// Checks the deadline at `now`. Once it has passed, returns [`ResponseError::Timeout`]: the
    /// handshake has failed.
    ///
    /// The deadline is fixed at the start and bytes received do not move it: a server that sends a
    /// byte a second gains nothing. Returns `None` before the deadline, and once the answer is
    /// complete or has failed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ResponseError> {
        self.reader.handle_timeout(now)
    }

    /// Reports that the stream ended before [`parse`](Self::parse) returned an answer: the
    /// handshake has failed. Returns [`ResponseError::Closed`] if nothing was received, and
    /// [`ResponseError::Truncated`] otherwise.
    pub fn handle_eof(&mut self) -> ResponseError {
        self.reader.handle_eof()
    }
}

/// The maximum number of interim responses skipped. Servers send one at most, a 100 or a 103.
const MAX_INTERIM_RESPONSES: usize = 5;

/// A reader of responses up to the final one, which `judge` turns into an `A`.
#[derive(Debug)]
pub(super) struct ResponseReader<A> {
    parser: HeadParser<StatusLine>,
    limits: HeadLimits,
    /// The number of interim responses skipped.
    interim: usize,
    /// `None` if the deadline is beyond what `Instant` can represent.
    deadline: Option<Instant>,
    state: ResponseState<A>,
}

#[derive(Debug)]
enum ResponseState<A> {
    Reading,
    Complete(A),
    Failed(ResponseError),
}

impl<A: Clone> ResponseReader<A> {
    /// Starts at `now`; the head of the final response must be complete within `timeout`.
    pub(super) fn new(limits: HeadLimits, now: Instant, timeout: Duration) -> Self {
        ResponseReader {
            parser: HeadParser::response(0, limits),
            limits,
            interim: 0,
            deadline: now.checked_add(timeout),
            state: ResponseState::Reading,
        }
    }

    /// Continues to parse `bytes`, which are all bytes received. Calls `judge` once, with the head
    /// of the final response.
    pub(super) fn parse(
        &mut self,
        bytes: &[u8],
        judge: impl FnOnce(ResponseHead<'_>) -> Result<A, ResponseError>,
    ) -> Result<Option<A>, ResponseError> {
        match &self.state {
            ResponseState::Reading => {}
            ResponseState::Complete(answer) => return Ok(Some(answer.clone())),
            ResponseState::Failed(error) => return Err(*error),
        }
        match self.read(bytes, judge) {
            Ok(None) => Ok(None),
            Ok(Some(answer)) => {
                self.state = ResponseState::Complete(answer.clone());
                Ok(Some(answer))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn read(
        &mut self,
        bytes: &[u8],
        judge: impl FnOnce(ResponseHead<'_>) -> Result<A, ResponseError>,
    ) -> Result<Option<A>, ResponseError> {
        loop {
            let Some(end) = self.parser.parse(bytes)? else { return Ok(None) };
            let head = ResponseHead::new(bytes, &self.parser);
            if !is_interim(head.status()) {
                return judge(head).map(Some);
            }
            if self.interim == MAX_INTERIM_RESPONSES {
                return Err(ResponseError::TooManyInterimResponses { limit: MAX_INTERIM_RESPONSES });
            }
            self.interim += 1;
            self.parser = HeadParser::response(end, self.limits);
        }
    }

    fn fail(&mut self, error: ResponseError) -> ResponseError {
        self.state = ResponseState::Failed(error);
        error
    }

    /// The head of the final response.
    pub(super) fn response<'a>(&'a self, bytes: &'a [u8]) -> ResponseHead<'a> {
        assert!(matches!(self.state, ResponseState::Complete(_)), "the answer is not complete");
        ResponseHead::new(bytes, &self.parser)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            ResponseState::Reading => self.deadline,
            _ => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ResponseError> {
        if self.poll_timeout()? > now {
            return None;
        }
        Some(self.fail(ResponseError::Timeout))
    }

    pub(super) fn handle_eof(&mut self) -> ResponseError {
        match self.state {
            ResponseState::Failed(error) => error,
            ResponseState::Complete(_) => ResponseError::Truncated,
            ResponseState::Reading if self.parser.pos() == 0 => self.fail(ResponseError::Closed),
            ResponseState::Reading => self.fail(ResponseError::Truncated),
        }
    }
}

/// Whether another response follows.
//= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
//# A client MUST be able to parse one or more 1xx responses received prior to a final response, even if the client
//# does not expect one.
fn is_interim(status: u16) -> bool {
    // After a 101 the connection no longer speaks HTTP.
    (100..200).contains(&status) && status != 101
}
