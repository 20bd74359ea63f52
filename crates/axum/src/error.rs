//! Errors that have no other place.

use crate::CloseCode;
use std::error::Error;
use std::fmt;

/// The error for a Close frame with a code that must not be sent (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the code is all there is to say")]
pub struct InvalidCloseCode(pub CloseCode);

impl fmt::Display for InvalidCloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must not be sent in a Close frame (RFC 6455, section 7.4)", self.0)
    }
}

impl Error for InvalidCloseCode {}
