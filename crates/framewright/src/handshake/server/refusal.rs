//! The reasons to refuse a request, and the HTTP response for each: one variant for each rule, one
//! table for each question.

use std::fmt;
use std::time::Duration;

use super::response::{Response, StatusCode};
use crate::http::field::{FieldName, FieldValue};
use crate::http::field_lines::FieldLineError;
use crate::http::head::HeadError;
use crate::http::request_line::RequestLineError;

/// The reason why a request was refused. The server answers with it instead of switching protocols.
///
/// The `Display` text is one line that names the broken rule and its section, or the limit. It
/// contains nothing from the request, so it is safe to log and to send.
///
/// Close the connection after the response: bytes after a refused request are never read as frames.
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
//# If
//# the server, while reading the handshake, finds that the client did
//# not send a handshake that matches the description below (note that as
//# per [RFC2616], the order of the header fields is not important),
//# including but not limited to any violations of the ABNF grammar
//# specified for the components of the handshake, the server MUST stop
//# processing the client's handshake and return an HTTP response with an
//# appropriate error code (such as 400 Bad Request).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    // The syntax of the head.
    /// 400: the method is not a token followed by one space.
    InvalidMethod,
    /// 400: the target is not visible US-ASCII followed by one space, holds a `#`, or is neither a
    /// path nor an http or https URI.
    InvalidTarget,
    /// 400: the request line does not end in an HTTP-version.
    InvalidHttpVersion,
    /// 505: the major version is not 1.
    HttpVersionNotSupported,
    /// 400: CR without LF.
    BareCr,
    /// 400: LF without CR.
    BareLf,
    /// 400: a field name is not a token followed by a colon.
    InvalidFieldName,
    /// 400: whitespace between a field name and its colon.
    SpaceBeforeColon,
    /// 400: whitespace before the first field line.
    SpaceBeforeFirstField,
    /// 400: a field line continued on the next line.
    ObsoleteFolding,
    /// 400: a control character in a field value.
    InvalidFieldValue,

    // Limits.
    /// 501: the method is longer than any known one.
    MethodTooLong,
    /// 414: the request line exceeds the limit.
    RequestLineTooLong {
        /// [`HeadLimits::request_line`](crate::handshake::HeadLimits::request_line), in bytes.
        limit: usize,
    },
    /// 431: the head exceeds the limit.
    HeadTooLong {
        /// [`HeadLimits::head`](crate::handshake::HeadLimits::head), in bytes.
        limit: usize,
    },
    /// 431: more field lines than the limit.
    TooManyFields {
        /// [`HeadLimits::fields`](crate::handshake::HeadLimits::fields).
        limit: usize,
    },

    // The rules of HTTP for every request.
    /// 501: CONNECT is for proxies.
    ConnectNotImplemented,
    /// 400: an HTTP/1.1 request has no Host.
    MissingHost,
    /// 400: more than one Host.
    RepeatedHost,
    /// 400: Host is not a host with an optional port.
    InvalidHost,
    /// 400: Content-Length is not a number, or several of them differ.
    InvalidContentLength,
    /// 400: Transfer-Encoding is malformed or does not end in `chunked`.
    InvalidTransferEncoding,
    /// 501: a transfer coding besides `chunked`.
    UnknownTransferCoding,
    /// 400: both Transfer-Encoding and Content-Length.
    TransferEncodingAndContentLength,
    /// 400: Transfer-Encoding in an HTTP/1.0 request.
    TransferEncodingInHttp10,

    // The rules of RFC 6455 for an opening handshake.
    /// 405: the resource does not accept the method.
    MethodNotAllowed {
        /// The value of Allow: the methods that it accepts; `GET` for an opening handshake.
        allow: &'static str,
    },
    /// 400: Upgrade names `websocket` but is malformed.
    InvalidUpgrade,
    /// 400: Connection lacks the option `upgrade`, or is malformed.
    MissingConnectionUpgrade,
    /// 400: no Sec-WebSocket-Version.
    MissingVersion,
    /// 400: more than one Sec-WebSocket-Version.
    RepeatedVersion,
    /// 426: a Sec-WebSocket-Version other than 13.
    UnsupportedVersion,
    /// 400: no Sec-WebSocket-Key.
    MissingKey,
    /// 400: more than one Sec-WebSocket-Key.
    RepeatedKey,
    /// 400: Sec-WebSocket-Key is not the base64 of 16 bytes.
    InvalidKey,
    /// 400: Sec-WebSocket-Protocol is not a list of at least one token.
    InvalidSubprotocols,
    /// 400: Sec-WebSocket-Protocol names a subprotocol twice.
    RepeatedSubprotocol,
    /// 400: Sec-WebSocket-Protocol names more subprotocols than the limit.
    TooManySubprotocols {
        /// The largest number of subprotocols.
        limit: usize,
    },
    /// 400: Sec-WebSocket-Extensions violates its grammar.
    InvalidExtensions,
    /// 400: the upgrade request has content, which could be mistaken for frames.
    UpgradeWithBody,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed,

    // The server's decisions.
    /// 403: the server does not serve this origin.
    OriginNotAllowed,
    /// 421: the server does not serve this host.
    HostNotAllowed,
    /// 404: nothing is served at this path.
    NotFound,
    /// 400: an ordinary request names a path that serves only WebSocket.
    NotAWebSocketRequest,
    /// 408: the request was not complete in time.
    HandshakeTimeout,
    /// 503: the server has reached its limit of connections.
    TooManyConnections {
        /// When to try again. Sent as whole seconds, rounded up.
        retry_after: Duration,
    },
    /// 503: all connections together hold the maximum amount of memory.
    NoMemory {
        /// When to try again. Sent as whole seconds, rounded up.
        retry_after: Duration,
    },
    /// 503: the server is shutting down.
    Draining {
        /// When to try again. Sent as whole seconds, rounded up.
        retry_after: Duration,
    },
    /// 503: the application did not decide in time.
    DecisionTimeout,
    /// 500: the application failed.
    Internal,
}

impl Refusal {
    /// The status code of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::OriginNotAllowed => StatusCode::FORBIDDEN,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::HandshakeTimeout => StatusCode::REQUEST_TIMEOUT,
            Refusal::RequestLineTooLong { .. } => StatusCode::URI_TOO_LONG,
            Refusal::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Refusal::HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
            Refusal::UnsupportedVersion => StatusCode::UPGRADE_REQUIRED,
            Refusal::HeadTooLong { .. } | Refusal::TooManyFields { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Refusal::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::MethodTooLong | Refusal::ConnectNotImplemented | Refusal::UnknownTransferCoding => {
                StatusCode::NOT_IMPLEMENTED
            }
            Refusal::TooManyConnections { .. }
            | Refusal::NoMemory { .. }
            | Refusal::Draining { .. }
            | Refusal::DecisionTimeout => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::HttpVersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The HTTP response: the status, the fields that belong to it (Allow, Retry-After, Upgrade,
    /// Sec-WebSocket-Version), and this value's `Display` text as a `text/plain` body.
    pub fn to_response(&self) -> Response {
        let response = Response::text(self.status(), format!("{self}\n"));
        match self {
            //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6
            //# The origin server MUST generate an Allow header field in a 405 response containing a list of the target
            //# resource's currently supported methods.
            Refusal::MethodNotAllowed { allow } => {
                response.with_field(FieldName::from_static("Allow"), FieldValue::from_static(allow))
            }
            //= https://www.rfc-editor.org/rfc/rfc6455#section-4.4
            //# If the
            //# server doesn't support the requested version, it MUST respond with a
            //# |Sec-WebSocket-Version| header field (or multiple
            //# |Sec-WebSocket-Version| header fields) containing all versions it is
            //# willing to use.
            Refusal::UnsupportedVersion | Refusal::MissingVersion | Refusal::RepeatedVersion => {
                response.with_supported_versions()
            }
            Refusal::TooManyConnections { retry_after }
            | Refusal::NoMemory { retry_after }
            | Refusal::Draining { retry_after } => {
                let seconds = retry_after.as_secs().saturating_add(u64::from(retry_after.subsec_nanos() > 0));
                response.with_field(FieldName::from_static("Retry-After"), FieldValue::from(seconds))
            }
            _ => response,
        }
    }
}

impl From<HeadError<RequestLineError>> for Refusal {
    fn from(error: HeadError<RequestLineError>) -> Self {
        match error {
            HeadError::StartLine(error) => error.into(),
            HeadError::FieldLine(error) => error.into(),
            //= https://www.rfc-editor.org/rfc/rfc6585#section-5
            //# The 431 status code indicates that the server is unwilling to process the request because its header
            //# fields are too large.
            HeadError::TooLong { limit } => Refusal::HeadTooLong { limit },
        }
    }
}

impl From<RequestLineError> for Refusal {
    fn from(error: RequestLineError) -> Self {
        match error {
            RequestLineError::Method => Refusal::InvalidMethod,
            RequestLineError::MethodTooLong => Refusal::MethodTooLong,
            RequestLineError::Target => Refusal::InvalidTarget,
            RequestLineError::Version => Refusal::InvalidHttpVersion,
            RequestLineError::VersionNotSupported => Refusal::HttpVersionNotSupported,
            RequestLineError::BareCr => Refusal::BareCr,
            RequestLineError::BareLf => Refusal::BareLf,
            RequestLineError::TooLong { limit } => Refusal::RequestLineTooLong { limit },
        }
    }
}

impl From<FieldLineError> for Refusal {
    fn from(error: FieldLineError) -> Self {
        match error {
            FieldLineError::Name => Refusal::InvalidFieldName,
            FieldLineError::SpaceBeforeColon => Refusal::SpaceBeforeColon,
            FieldLineError::SpaceBeforeFirstField => Refusal::SpaceBeforeFirstField,
            FieldLineError::ObsoleteFolding => Refusal::ObsoleteFolding,
            FieldLineError::Value => Refusal::InvalidFieldValue,
            FieldLineError::BareCr => Refusal::BareCr,
            FieldLineError::BareLf => Refusal::BareLf,
            FieldLineError::TooMany { limit } => Refusal::TooManyFields { limit },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Refusal::RequestLineTooLong { limit } => {
                return write!(f, "request line longer than the limit of {limit} octets");
            }
            Refusal::HeadTooLong { limit } => {
                return write!(f, "request head longer than the limit of {limit} octets");
            }
            Refusal::TooManyFields { limit } => {
                return write!(f, "more than the limit of {limit} field lines");
            }
            Refusal::MethodNotAllowed { allow } => {
                return write!(
                    f,
                    "method not allowed, only {allow} (RFC 9110, section 15.5.6; RFC 6455, section 4.2.1)"
                );
            }
            Refusal::TooManySubprotocols { limit } => {
                return write!(f, "more than the limit of {limit} subprotocols in Sec-WebSocket-Protocol");
            }
            Refusal::InvalidMethod => "malformed method in the request line (RFC 9112, section 3.1)",
            Refusal::InvalidTarget => "malformed request target (RFC 9112, section 3.2)",
            Refusal::InvalidHttpVersion => "malformed HTTP version (RFC 9112, section 2.3)",
            Refusal::HttpVersionNotSupported => {
                "HTTP version not supported, only 1.x (RFC 9110, section 15.6.6)"
            }
            Refusal::BareCr => "CR without LF (RFC 9112, section 2.2)",
            Refusal::BareLf => "LF without CR (RFC 9112, section 2.2)",
            Refusal::InvalidFieldName => "malformed field name (RFC 9112, section 5)",
            Refusal::SpaceBeforeColon => "whitespace between field name and colon (RFC 9112, section 5.1)",
            Refusal::SpaceBeforeFirstField => {
                "whitespace before the first field line (RFC 9112, section 2.2)"
            }
            Refusal::ObsoleteFolding => "obsolete line folding (RFC 9112, section 5.2)",
            Refusal::InvalidFieldValue => "control character in a field value (RFC 9110, section 5.5)",
            Refusal::MethodTooLong => "method not implemented (RFC 9112, section 3)",
            Refusal::ConnectNotImplemented => "CONNECT is not implemented (RFC 9110, section 9.3.6)",
            Refusal::MissingHost => "Host is missing (RFC 9112, section 3.2)",
            Refusal::RepeatedHost => "more than one Host (RFC 9112, section 3.2)",
            Refusal::InvalidHost => "malformed Host (RFC 9112, section 3.2)",
            Refusal::InvalidContentLength => "invalid Content-Length (RFC 9112, section 6.3)",
            Refusal::InvalidTransferEncoding => {
                "Transfer-Encoding is malformed or does not end in chunked (RFC 9112, section 6.3)"
            }
            Refusal::UnknownTransferCoding => "transfer coding not implemented (RFC 9112, section 6.1)",
            Refusal::TransferEncodingAndContentLength => {
                "both Transfer-Encoding and Content-Length (RFC 9112, section 6.1)"
            }
            Refusal::TransferEncodingInHttp10 => "Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1)",
            Refusal::InvalidUpgrade => "malformed Upgrade (RFC 9110, section 7.8)",
            Refusal::MissingConnectionUpgrade => {
                "Connection without the option Upgrade (RFC 6455, section 4.2.1)"
            }
            Refusal::MissingVersion => "Sec-WebSocket-Version is missing (RFC 6455, section 4.2.1)",
            Refusal::RepeatedVersion => "more than one Sec-WebSocket-Version (RFC 6455, section 11.3.5)",
            Refusal::UnsupportedVersion => {
                "Sec-WebSocket-Version not supported, only 13 (RFC 6455, section 4.4)"
            }
            Refusal::MissingKey => "Sec-WebSocket-Key is missing (RFC 6455, section 4.2.1)",
            Refusal::RepeatedKey => "more than one Sec-WebSocket-Key (RFC 6455, section 11.3.1)",
            Refusal::InvalidKey => {
                "Sec-WebSocket-Key is not the base64 of 16 octets (RFC 6455, section 4.2.1)"
            }
            Refusal::InvalidSubprotocols => "malformed Sec-WebSocket-Protocol (RFC 6455, section 4.3)",
            Refusal::RepeatedSubprotocol => {
                "Sec-WebSocket-Protocol repeats a subprotocol (RFC 6455, section 4.1)"
            }
            Refusal::InvalidExtensions => "malformed Sec-WebSocket-Extensions (RFC 6455, section 9.1)",
            Refusal::UpgradeWithBody => "an opening handshake has no content (RFC 9110, section 7.8)",
            Refusal::ExpectationFailed => "expectation other than 100-continue (RFC 9110, section 10.1.1)",
            Refusal::OriginNotAllowed => "origin not allowed (RFC 6455, section 10.2)",
            Refusal::HostNotAllowed => "host not served here (RFC 9110, section 15.5.20)",
            Refusal::NotFound => "nothing is served at this path (RFC 6455, section 4.2.2)",
            Refusal::NotAWebSocketRequest => "not a WebSocket opening handshake (RFC 6455, section 4.2.1)",
            Refusal::HandshakeTimeout => "the request was not complete in time (RFC 9110, section 15.5.9)",
            Refusal::TooManyConnections { .. } => "too many connections, try again later",
            Refusal::NoMemory { .. } => "no memory, try again later",
            Refusal::Draining { .. } => "the server is shutting down, try again later",
            Refusal::DecisionTimeout => "the application did not answer in time",
            Refusal::Internal => "internal error",
        };
        f.write_str(text)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(refusal: Refusal) -> String {
        let mut out = Vec::new();
        refusal.to_response().encode("", false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn version_426_names_the_protocol_and_the_version() {
        let answer = encoded(Refusal::UnsupportedVersion);
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
        for line in ["Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: close, Upgrade"] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
        }
    }

    #[test]
    fn method_405_names_the_methods() {
        assert!(encoded(Refusal::MethodNotAllowed { allow: "GET" }).contains("\r\nAllow: GET\r\n"));
    }

    #[test]
    fn retry_after_is_rounded_up() {
        let retry_after = Duration::from_millis(1500);
        assert!(encoded(Refusal::Draining { retry_after }).contains("\r\nRetry-After: 2\r\n"));
        let retry_after = Duration::from_secs(1);
        assert!(encoded(Refusal::TooManyConnections { retry_after }).contains("\r\nRetry-After: 1\r\n"));
        assert!(encoded(Refusal::NoMemory { retry_after }).starts_with("HTTP/1.1 503 "));
        assert!(encoded(Refusal::NoMemory { retry_after }).contains("\r\nRetry-After: 1\r\n"));
    }

    #[test]
    fn body_is_the_display_text_with_its_exact_length() {
        let answer = encoded(Refusal::MissingHost);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "Host is missing (RFC 9112, section 3.2)\n");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
        assert!(head.contains("\r\nContent-Type: text/plain"));
    }
}
