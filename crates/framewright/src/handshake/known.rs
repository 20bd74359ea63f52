//! The fields that a rule of the opening handshake is about, and on which lines of a head they are.
//!
//! A line is sorted once, when its name has been read. The checks then go straight to what they ask for; that a field is
//! absent, as most of them are in most requests, costs a look at one number.

use super::head::{FieldSpan, Span};

/// A field that RFC 6455, or HTTP around it, has a rule for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
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
}

/// How many there are.
const COUNT: usize = Known::Extensions as usize + 1;

impl Known {
    /// The field with this name, which is a token, without regard to case.
    #[inline]
    fn of(name: &[u8]) -> Option<Known> {
        let known = match name.len() {
            4 if is(name, b"host") => Known::Host,
            6 if is(name, b"origin") => Known::Origin,
            6 if is(name, b"expect") => Known::Expect,
            7 if is(name, b"upgrade") => Known::Upgrade,
            10 if is(name, b"connection") => Known::Connection,
            14 if is(name, b"content-length") => Known::ContentLength,
            17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
            17 if is(name, b"sec-websocket-key") => Known::Key,
            21 if is(name, b"sec-websocket-version") => Known::Version,
            22 if is(name, b"sec-websocket-protocol") => Known::Subprotocols,
            24 if is(name, b"sec-websocket-extensions") => Known::Extensions,
            _ => return None,
        };
        Some(known)
    }
}

/// Whether `name`, which is a token, starts with `lower`, which is all letters and hyphens.
///
/// The bit that makes a letter small makes no octet of a token a letter or a hyphen that was none before. (It would make a hyphen of CR.)
#[inline]
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    name.first_chunk().is_some_and(|name: &[u8; N]| name.map(|byte| byte | 0x20) == *lower)
}

/// On which lines the known fields are.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownLines {
    /// The number of the first line of each, `NONE` without one.
    first: [u32; COUNT],
    /// A bit for each that is on a later line too.
    repeated: u16,
}

const NONE: u32 = u32::MAX;

impl KnownLines {
    pub(super) fn new() -> Self {
        KnownLines { first: [NONE; COUNT], repeated: 0 }
    }

    /// Notes that line number `line`, later than all noted so far, has this name.
    pub(super) fn note(&mut self, name: &[u8], line: usize) {
        let Some(known) = Known::of(name) else { return };
        let first = &mut self.first[known as usize];
        if *first == NONE {
            *first = u32::try_from(line).expect("a head has fewer lines than octets");
        } else {
            self.repeated |= 1 << known as u16;
        }
    }

    /// The values of the lines with that name. `fields` are all lines of the head that starts `bytes`.
    pub(super) fn values<'a>(
        &self,
        known: Known,
        fields: &'a [FieldSpan],
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (Span, &'a [u8])> + use<'a> {
        let repeated = self.repeated & (1 << known as u16) != 0;
        let lines = match self.first[known as usize] {
            NONE => &[],
            first if repeated => &fields[first as usize..],
            first => &fields[first as usize..=first as usize],
        };
        lines
            .iter()
            .filter(move |field| !repeated || Known::of(field.name.of(bytes)) == Some(known))
            .map(move |field| (field.value, field.value.of(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::is_token;

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

    #[test]
    fn values_are_those_of_all_lines_with_the_name() {
        let bytes = b"Host:1 a:2 HOST:3 Upgrade:4";
        let field = |start, colon: usize| FieldSpan {
            name: Span::new(start, colon),
            value: Span::new(colon + 1, colon + 2),
        };
        let fields = [field(0, 4), field(7, 8), field(11, 15), field(18, 25)];
        let mut lines = KnownLines::new();
        for (line, field) in fields.iter().enumerate() {
            lines.note(field.name.of(bytes), line);
        }
        let values =
            |known| -> Vec<&[u8]> { lines.values(known, &fields, bytes).map(|(_, value)| value).collect() };
        assert_eq!(values(Known::Host), [b"1", b"3"]);
        assert_eq!(values(Known::Upgrade), [b"4"]);
        assert!(values(Known::Origin).is_empty());
    }
}
