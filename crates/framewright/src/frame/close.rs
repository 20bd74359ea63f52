//! The body of a Close frame (RFC 6455, sections 5.5.1 and 7.4): a status code that may be sent,
//! and a reason.

use std::fmt;

/// The longest close reason in bytes of UTF-8: 125 less the two of the status code.
pub const MAX_CLOSE_REASON: usize = super::MAX_CONTROL_PAYLOAD - 2;

/// A status code that may be on the wire (section 7.4): 1000 to 1003, 1007 to 1014, 3000 to 4999.
///
/// 1005 (no code), 1006 (no Close frame) and 1015 (TLS) are never sent, so they are no values of
/// this type. [`Closure::code`](crate::Closure::code) returns them to report how a connection
/// ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server is going down, or the browser has left the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: the data is of a type that this endpoint cannot accept.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// 1007: the data does not match its type, such as text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// 1008: a message breaks this endpoint's policy.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 1009: a message is too big to process.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: the client expected an extension that the server did not negotiate.
    pub const MISSING_EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: an unexpected condition prevents the server from continuing.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the service restarts (IANA registry).
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: try again later (IANA registry).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// Returns `code` as a status code, or `None` if it must not be sent.
    ///
    /// ```
    /// # use framewright::CloseCode;
    /// assert_eq!(CloseCode::new(4000).map(CloseCode::get), Some(4000));
    /// assert_eq!(CloseCode::new(1005), None);
    /// ```
    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
    //# 1005 is a reserved value and MUST NOT be set as a status code in a
    //# Close control frame by an endpoint.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
    //# 1006 is a reserved value and MUST NOT be set as a status code in a
    //# Close control frame by an endpoint.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
    //# 1015 is a reserved value and MUST NOT be set as a status code in a
    //# Close control frame by an endpoint.
    #[must_use]
    pub const fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The value on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.0
    }
}

/// Compares with [`Closure::code`](crate::Closure::code), which may also be a code that is never
/// sent.
impl PartialEq<u16> for CloseCode {
    fn eq(&self, code: &u16) -> bool {
        self.0 == *code
    }
}

/// Compares [`Closure::code`](crate::Closure::code), which may also be a code that is never sent.
///
/// ```
/// # use framewright::CloseCode;
/// assert!(1000 == CloseCode::NORMAL && 1006 != CloseCode::NORMAL);
/// ```
impl PartialEq<CloseCode> for u16 {
    fn eq(&self, code: &CloseCode) -> bool {
        *self == code.0
    }
}

/// The body of a received Close frame: its status code, if it had a body, and its reason.
///
/// The reason is for logs and programs. Section 5.5.1 forbids a client to show it to end users as
/// it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseFrame {
    /// The status code; `None` if the frame had no body.
    pub code: Option<CloseCode>,
    /// The reason, at most [`MAX_CLOSE_REASON`] bytes; empty if the frame had none.
    pub reason: Box<str>,
}

impl CloseFrame {
    pub(crate) fn new(code: Option<CloseCode>, reason: &str) -> CloseFrame {
        CloseFrame { code, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_codes_that_may_travel_exist() {
        for code in 0..=u16::MAX {
            let may_travel = matches!(code, 1000..=1003 | 1007..=1014) || (3000..5000).contains(&code);
            assert_eq!(CloseCode::new(code).map(CloseCode::get), may_travel.then_some(code));
        }
    }
}
