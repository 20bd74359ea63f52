//! The reasons why a client gives up after the answer of a server or a proxy: one variant for each
//! rule that can be broken.

use std::fmt;

use crate::deflate::AnswerError;
use crate::http::field_lines::FieldLineError;
use crate::http::head::HeadError;
use crate::http::status_line::StatusLineError;

/// The reason why the answer to a client's opening handshake fails it. The client sends nothing in
/// reply; it closes the transport.
///
/// A refusal in well-formed HTTP is not an error: see
/// [`Answer::Refused`](crate::handshake::Answer::Refused).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseError {
    /// The first bytes are not `HTTP/`.
    NotHttp,
    /// The major version of HTTP is not 1.
    HttpVersionNotSupported,
    /// The status line is malformed.
    InvalidStatusLine,
    /// The answer is a 101 in HTTP/1.0.
    UpgradeInHttp10,
    /// The head, with the interim responses before it, is longer than
    /// [`HeadLimits::head`](crate::handshake::HeadLimits::head).
    HeadTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// There are more field lines than
    /// [`HeadLimits::fields`](crate::handshake::HeadLimits::fields).
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// There are more interim responses than the limit.
    TooManyInterimResponses {
        /// The number of interim responses that are skipped.
        limit: usize,
    },
    /// A field name is not a token.
    InvalidFieldName,
    /// Whitespace between a field name and the colon.
    SpaceBeforeColon,
    /// Whitespace before the first field line.
    SpaceBeforeFirstField,
    /// A field line continued on the next line.
    ObsoleteFolding,
    /// A control character in a field value.
    InvalidFieldValue,
    /// CR without LF.
    BareCr,
    /// LF without CR.
    BareLf,
    /// The 101 has no Upgrade.
    MissingUpgrade,
    /// The Upgrade of the 101 is not `websocket` alone.
    InvalidUpgrade,
    /// The Connection of the 101 does not name Upgrade, is missing, or is malformed.
    MissingConnectionUpgrade,
    /// The 101 has no Sec-WebSocket-Accept.
    MissingAccept,
    /// The 101 has more than one Sec-WebSocket-Accept.
    RepeatedAccept,
    /// Sec-WebSocket-Accept does not answer the key that was sent.
    WrongAccept,
    /// The 101 has more than one Sec-WebSocket-Protocol.
    RepeatedSubprotocol,
    /// Sec-WebSocket-Protocol is not one token.
    InvalidSubprotocol,
    /// The subprotocol is not one of those that were offered.
    SubprotocolNotOffered,
    /// The client cannot accept the Sec-WebSocket-Extensions of the 101.
    Extensions(AnswerError),
    /// The stream ended before the first byte of an answer.
    Closed,
    /// The stream ended inside the answer's head.
    Truncated,
    /// The answer was not complete in time.
    Timeout,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResponseError::NotHttp => "the answer is not HTTP (RFC 9112, section 4)",
            ResponseError::HttpVersionNotSupported => "the answer is not HTTP/1.x (RFC 9112, section 2.3)",
            ResponseError::InvalidStatusLine => "the status line is malformed (RFC 9112, section 4)",
            ResponseError::UpgradeInHttp10 => "a 101 in HTTP/1.0 (RFC 6455, section 4.2.2)",
            ResponseError::HeadTooLong { limit } => {
                return write!(f, "the answer's head is longer than {limit} octets (RFC 9110, section 5.4)");
            }
            ResponseError::TooManyFields { limit } => {
                return write!(f, "the answer has more than {limit} field lines (RFC 9110, section 5.4)");
            }
            ResponseError::TooManyInterimResponses { limit } => {
                return write!(f, "more than {limit} interim responses (RFC 9110, section 15.2)");
            }
            ResponseError::InvalidFieldName => "a field name is no token (RFC 9110, section 5.1)",
            ResponseError::SpaceBeforeColon => {
                "whitespace between a field name and its colon (RFC 9112, section 5.1)"
            }
            ResponseError::SpaceBeforeFirstField => {
                "whitespace before the first field line (RFC 9112, section 2.2)"
            }
            ResponseError::ObsoleteFolding => "a folded field line (RFC 9112, section 5.2)",
            ResponseError::InvalidFieldValue => {
                "a control character in a field value (RFC 9110, section 5.5)"
            }
            ResponseError::BareCr => "a CR without LF (RFC 9112, section 2.2)",
            ResponseError::BareLf => "an LF without CR (RFC 9112, section 2.2)",
            ResponseError::MissingUpgrade => "the 101 has no Upgrade (RFC 6455, section 4.1)",
            ResponseError::InvalidUpgrade => {
                "the 101 upgrades to something else than websocket (RFC 6455, section 4.1)"
            }
            ResponseError::MissingConnectionUpgrade => {
                "the Connection of the 101 does not name Upgrade (RFC 6455, section 4.1)"
            }
            ResponseError::MissingAccept => "the 101 has no Sec-WebSocket-Accept (RFC 6455, section 4.1)",
            ResponseError::RepeatedAccept => {
                "the 101 has several Sec-WebSocket-Accept (RFC 6455, section 11.3.3)"
            }
            ResponseError::WrongAccept => {
                "Sec-WebSocket-Accept does not answer the key that was sent (RFC 6455, section 4.1)"
            }
            ResponseError::RepeatedSubprotocol => {
                "the 101 has several Sec-WebSocket-Protocol (RFC 6455, section 11.3.4)"
            }
            ResponseError::InvalidSubprotocol => {
                "Sec-WebSocket-Protocol is not one token (RFC 6455, section 4.3)"
            }
            ResponseError::SubprotocolNotOffered => {
                "the subprotocol is not one that was offered (RFC 6455, section 4.1)"
            }
            ResponseError::Extensions(error) => return error.fmt(f),
            ResponseError::Closed => "the connection was closed without an answer (RFC 6455, section 4.1)",
            ResponseError::Truncated => "the connection was closed inside the answer (RFC 9112, section 8)",
            ResponseError::Timeout => "no complete answer in time (RFC 6455, section 4.1)",
        })
    }
}

impl std::error::Error for ResponseError {}

impl From<AnswerError> for ResponseError {
    fn from(error: AnswerError) -> Self {
        ResponseError::Extensions(error)
    }
}

impl From<HeadError<StatusLineError>> for ResponseError {
    fn from(error: HeadError<StatusLineError>) -> Self {
        match error {
            HeadError::StartLine(error) => error.into(),
            HeadError::FieldLine(error) => error.into(),
            HeadError::TooLong { limit } => ResponseError::HeadTooLong { limit },
        }
    }
}

impl From<StatusLineError> for ResponseError {
    fn from(error: StatusLineError) -> Self {
        match error {
            StatusLineError::NotHttp => ResponseError::NotHttp,
            StatusLineError::VersionNotSupported => ResponseError::HttpVersionNotSupported,
            StatusLineError::Malformed => ResponseError::InvalidStatusLine,
            StatusLineError::BareCr => ResponseError::BareCr,
            StatusLineError::BareLf => ResponseError::BareLf,
        }
    }
}

impl From<FieldLineError> for ResponseError {
    fn from(error: FieldLineError) -> Self {
        match error {
            FieldLineError::Name => ResponseError::InvalidFieldName,
            FieldLineError::SpaceBeforeColon => ResponseError::SpaceBeforeColon,
            FieldLineError::SpaceBeforeFirstField => ResponseError::SpaceBeforeFirstField,
            // A user agent is required to replace the folding with spaces. No server folds the
            // lines of a 101, and no field of the handshake needs an inner SP, so that would gain
            // nothing.
            FieldLineError::ObsoleteFolding => ResponseError::ObsoleteFolding,
            FieldLineError::Value => ResponseError::InvalidFieldValue,
            FieldLineError::BareCr => ResponseError::BareCr,
            FieldLineError::BareLf => ResponseError::BareLf,
            FieldLineError::TooMany { limit } => ResponseError::TooManyFields { limit },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_which_section_was_broken() {
        for error in [
            ResponseError::NotHttp,
            ResponseError::HttpVersionNotSupported,
            ResponseError::InvalidStatusLine,
            ResponseError::UpgradeInHttp10,
            ResponseError::HeadTooLong { limit: 16384 },
            ResponseError::TooManyFields { limit: 100 },
            ResponseError::TooManyInterimResponses { limit: 5 },
            ResponseError::InvalidFieldName,
            ResponseError::SpaceBeforeColon,
            ResponseError::SpaceBeforeFirstField,
            ResponseError::ObsoleteFolding,
            ResponseError::InvalidFieldValue,
            ResponseError::BareCr,
            ResponseError::BareLf,
            ResponseError::MissingUpgrade,
            ResponseError::InvalidUpgrade,
            ResponseError::MissingConnectionUpgrade,
            ResponseError::MissingAccept,
            ResponseError::RepeatedAccept,
            ResponseError::WrongAccept,
            ResponseError::RepeatedSubprotocol,
            ResponseError::InvalidSubprotocol,
            ResponseError::SubprotocolNotOffered,
            ResponseError::Extensions(AnswerError::NotOffered),
            ResponseError::Closed,
            ResponseError::Truncated,
            ResponseError::Timeout,
        ] {
            assert!(error.to_string().contains("(RFC "), "{error}");
        }
    }
}
