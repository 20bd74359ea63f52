//! The *known fields*, which a rule of the opening handshake concerns, and their positions in a
//! head.
//!
//! A line is classified once, when it has been read, so the checks access a known field directly.
//! Most known fields are absent from most requests; finding that out costs a test of one number.

use super::span::Span;

/// A field for which RFC 6455, or HTTP around it, has a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Host,
    Origin,
    Expect,
    Upgrade,
    Connection,
    ContentLength,
    TransferEncoding,
    Key,
    Version,
    Subprotocols,
    Extensions,
    Accept,
}

/// The number of known fields.
const COUNT: usize = Known::Accept as usize + 1;

impl Known {
    /// The known field with this name, which is a token. Case is ignored.
    #[inline]
    pub(crate) fn of(name: &[u8]) -> Option<Known> {
        let known = match name.len() {
            4 if is(name, b"host") => Known::Host,
            6 if is(name, b"origin") => Known::Origin,
            6 if is(name, b"expect") => Known::Expect,
            7 if is(name, b"upgrade") => Known::Upgrade,
            10 if is(name, b"connection") => Known::Connection,
            14 if is(name, b"content-length") => Known::ContentLength,
            17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
            17 if is(name, b"sec-websocket-key") => Known::Key,
            20 if is(name, b"sec-websocket-accept") => Known::Accept,
            21 if is(name, b"sec-websocket-version") => Known::Version,
            22 if is(name, b"sec-websocket-protocol") => Known::Subprotocols,
            24 if is(name, b"sec-websocket-extensions") => Known::Extensions,
            _ => return None,
        };
        Some(known)
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Whether `name`, a token of `N` bytes, equals `lower`, which consists of lower-case letters and
/// hyphens. Case is ignored.
///
/// It compares four bytes at a time; the last four overlap others if `N` is not a multiple of four.
/// Setting the bit that makes a letter lower-case turns no other byte of a token into a letter or a
/// hyphen. (It would turn CR into a hyphen.)
#[inline]
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let four = |bytes: &[u8], at| u32::from_ne_bytes(*bytes[at..].first_chunk().expect("no name is shorter"));
    let differ = |at| (four(name, at) | 0x2020_2020) ^ four(lower, at);
    (0..N / 4).fold(differ(N - 4), |difference, index| difference | differ(4 * index)) == 0
}

/// The positions of the known fields of a head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KnownFields {
    /// The value of the first line of each field that is present.
    first: [Span; COUNT],
    /// One bit for each field that is present.
    present: u16,
    /// One bit for each field that is present more than once.
    repeated: u16,
}

impl KnownFields {
    /// Records a line, which must come after all lines recorded so far.
    pub(crate) fn note(&mut self, name: &[u8], value: Span) {
        let Some(known) = Known::of(name) else { return };
        if self.present & known.bit() == 0 {
            self.present |= known.bit();
            self.first[known as usize] = value;
        } else {
            self.repeated |= known.bit();
        }
    }

    /// The value of the first line of this field, if there is one.
    #[inline]
    pub(crate) fn first(&self, known: Known) -> Option<Span> {
        (self.present & known.bit() != 0).then_some(self.first[known as usize])
    }

    /// Whether there is more than one line of this field.
    #[inline]
    pub(crate) fn is_repeated(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::bytes::is_token;

    /// In the order of the enum.
    const NAMES: [&str; COUNT] = [
        "Host",
        "Origin",
        "Expect",
        "Upgrade",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Accept",
    ];

    #[test]
    fn each_known_field_is_found_by_its_name_in_any_case() {
        for (index, name) in NAMES.into_iter().enumerate() {
            for name in [name.to_owned(), name.to_uppercase(), name.to_lowercase()] {
                assert_eq!(Known::of(name.as_bytes()).map(|known| known as usize), Some(index), "{name}");
            }
        }
    }

    #[test]
    fn a_name_with_any_other_octet_in_it_is_not_known() {
        for name in NAMES {
            for place in 0..name.len() {
                for byte in (0..=u8::MAX).filter(|&byte| is_token(&[byte])) {
                    let mut other = name.as_bytes().to_owned();
                    other[place] = byte;
                    let same = other.eq_ignore_ascii_case(name.as_bytes());
                    assert_eq!(Known::of(&other).is_some(), same, "{}", other.escape_ascii());
                }
            }
            assert_eq!(Known::of(&name.as_bytes()[1..]), None);
            assert_eq!(Known::of(format!("{name}s").as_bytes()), None);
        }
    }
}
