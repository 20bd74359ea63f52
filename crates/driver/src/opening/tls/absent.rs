//! The error of TLS in a build without it. [`ConnectError`](crate::opening::ConnectError) has the same
//! variants in every build.

use std::fmt;

/// Why there is no TLS: without the feature `tls` there is no such value, since there is never any.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {}

impl TlsError {
    pub(in super::super) fn is_permanent(&self) -> bool {
        match *self {}
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for TlsError {}
