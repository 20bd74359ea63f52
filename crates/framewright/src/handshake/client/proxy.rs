//! The request with which a client asks an HTTP proxy for a tunnel to the server: `CONNECT` (RFC
//! 9110, section 9.3.6; RFC 6455, section 4.1).

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::ResponseHead;
use super::error::ResponseError;
use super::handshake::ResponseReader;
use super::uri::WsUri;
use crate::http::body::BodyReader;
use crate::http::field::{FieldValue, write_line};
use crate::http::head::HeadLimits;

/// The client's side of a request to a proxy. Its methods work as those of
/// [`ClientHandshake`](crate::handshake::ClientHandshake), and it comes before that.
#[derive(Debug)]
pub struct ProxyHandshake {
    reader: ResponseReader<ProxyAnswer>,
}

/// A proxy's answer to a request for a tunnel.
///
/// There are only these two: anything else is a [`ResponseError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is a tunnel, or there is none")]
pub enum ProxyAnswer {
    /// A status of 200 to 299: all further bytes are exchanged between the client and the server.
    Tunnel {
        /// The end of the head, in bytes from the first byte received. A WebSocket server sends
        /// nothing before the client's request, so bytes after the head are from the proxy, and an
        /// error.
        head_len: usize,
    },
    /// Any other status: 407 if the proxy requires credentials.
    Refused {
        /// The end of the head, in bytes from the first byte received: the body starts there.
        head_len: usize,
        /// Reads the response body.
        body: BodyReader,
    },
}

impl ProxyHandshake {
    /// Starts a request for a tunnel to `target`: appends the request to `out`, with the
    /// `credentials` if there are any.
    ///
    /// The request fails unless the head of the answer is complete within `timeout`, counted from
    /// `now`. `Duration::MAX` means no deadline.
    pub fn new(
        target: &WsUri,
        credentials: Option<&BasicCredentials>,
        limits: HeadLimits,
        now: Instant,
        timeout: Duration,
        out: &mut Vec<u8>,
    ) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
        //# A client MUST send the port number even if the CONNECT request is based on a URI reference that contains an
        //# authority component with an elided port
        let authority = target.host_and_port();
        out.extend_from_slice(format!("CONNECT {authority} HTTP/1.1\r\n").as_bytes());
        write_line(out, "Host", authority.as_bytes());
        if let Some(credentials) = credentials {
            write_line(out, "Proxy-Authorization", credentials.as_field_value().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        ProxyHandshake { reader: ResponseReader::new(limits, now, timeout) }
    }

    /// Continues to parse the answer, as
    /// [`ClientHandshake::parse`](crate::handshake::ClientHandshake::parse) does.
    ///
    /// # Errors
    /// The first rule of HTTP that the answer breaks, as soon as the bytes received prove it. Later
    /// calls return the same error. Close the transport.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<ProxyAnswer>, ResponseError> {
        self.reader.parse(bytes, |response| Ok(judge(&response)))
    }

    /// The answer's head, as
    /// [`ClientHandshake::response`](crate::handshake::ClientHandshake::response) returns it.
    ///
    /// # Panics
    /// If [`parse`](Self::parse) has not returned an answer, or if `bytes` is shorter than the
    /// answer's head.
    pub fn response<'a>(&'a self, bytes: &'a [u8]) -> ResponseHead<'a> {
        self.reader.response(bytes)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), as
    /// [`ClientHandshake::poll_timeout`](crate::handshake::ClientHandshake::poll_timeout) returns
    /// it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reader.poll_timeout()
    }

    /// Checks the deadline at `now`, as
    /// [`ClientHandshake::handle_timeout`](crate::handshake::ClientHandshake::handle_timeout) does.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ResponseError> {
        self.reader.handle_timeout(now)
    }

    /// Reports the end of the stream, as
    /// [`ClientHandshake::handle_eof`](crate::handshake::ClientHandshake::handle_eof) does.
    pub fn handle_eof(&mut self) -> ResponseError {
        self.reader.handle_eof()
    }
}

fn judge(response: &ResponseHead<'_>) -> ProxyAnswer {
    let head_len = response.end();
    //= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
    //# Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch to tunnel mode
    //# immediately after the response header section; data received after that header section is from the server
    //# identified by the request target.
    // Content-Length and Transfer-Encoding of such a response are ignored.
    if (200..300).contains(&response.status()) {
        return ProxyAnswer::Tunnel { head_len };
    }
    ProxyAnswer::Refused { head_len, body: response.body_reader() }
}

/// A user name and a password for a proxy or a server (RFC 7617).
///
/// ```
/// # use framewright::handshake::{BasicCredentials, ClientRequest, FieldName};
/// let credentials = BasicCredentials::new("Aladdin", "open sesame")?;
/// let request: ClientRequest = "wss://example.com/".parse()?;
/// let request = request.with_field(FieldName::from_static("Authorization"), credentials.as_field_value());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BasicCredentials {
    /// `user ":" password`, in UTF-8.
    pair: String,
}

impl BasicCredentials {
    /// Checks a user name and a password.
    ///
    /// # Errors
    /// [`CredentialsError`] if the name contains a colon, or if either contains a control
    /// character.
    pub fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        //= https://www.rfc-editor.org/rfc/rfc7617#section-2
        //# Furthermore, a user-id containing a colon character is invalid, as the first colon in a user-pass string
        //# separates user-id and password from one another; text after the first colon is part of the password.
        if user.contains(':') {
            return Err(CredentialsError::Colon);
        }
        //= https://www.rfc-editor.org/rfc/rfc7617#section-2
        //# The user-id and password MUST NOT contain any control characters (see "CTL" in Appendix B.1 of [RFC5234]).
        if [user, password].iter().any(|part| part.bytes().any(|byte| byte.is_ascii_control())) {
            return Err(CredentialsError::ControlCharacter);
        }
        Ok(BasicCredentials { pair: format!("{user}:{password}") })
    }

    /// The value for the field Authorization or Proxy-Authorization.
    pub fn as_field_value(&self) -> FieldValue {
        let mut value = b"Basic ".to_vec();
        let start = value.len();
        let length = base64::encoded_len(self.pair.len(), true).expect("what is in memory has a length");
        value.resize(start + length, 0);
        STANDARD.encode_slice(&self.pair, &mut value[start..]).expect("that is its length");
        FieldValue::from_bytes(value).expect("base64 is visible US-ASCII")
    }
}

/// Shows neither the user name nor the password.
impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicCredentials").finish_non_exhaustive()
    }
}

/// The reason why a user name and a password cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The user name contains a colon.
    Colon,
    /// The user name or the password contains a control character.
    ControlCharacter,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CredentialsError::Colon => "the user name has a colon (RFC 7617, section 2)",
            CredentialsError::ControlCharacter => {
                "the user name or the password has a control character (RFC 7617, section 2)"
            }
        })
    }
}

impl std::error::Error for CredentialsError {}
