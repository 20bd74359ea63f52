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
    /// The field with this name, without regard to case.
    fn of(name: &[u8]) -> Option<Known> {
        let candidates: &[Known] = match name.len() {
            4 => &[Known::Host],
            6 => &[Known::Origin, Known::Expect],
            7 => &[Known::Upgrade],
            10 => &[Known::Connection],
            14 => &[Known::ContentLength],
            17 => &[Known::Key, Known::TransferEncoding],
            21 => &[Known::Version],
            22 => &[Known::Subprotocols],
            24 => &[Known::Extensions],
            _ => &[],
        };
        candidates.iter().copied().find(|known| name.eq_ignore_ascii_case(known.name().as_bytes()))
    }

    fn name(self) -> &'static str {
        match self {
            Known::Host => "Host",
            Known::Origin => "Origin",
            Known::Expect => "Expect",
            Known::Upgrade => "Upgrade",
            Known::Connection => "Connection",
            Known::ContentLength => "Content-Length",
            Known::TransferEncoding => "Transfer-Encoding",
            Known::Key => "Sec-WebSocket-Key",
            Known::Version => "Sec-WebSocket-Version",
            Known::Subprotocols => "Sec-WebSocket-Protocol",
            Known::Extensions => "Sec-WebSocket-Extensions",
        }
    }
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
            .filter(move |field| {
                !repeated || field.name.of(bytes).eq_ignore_ascii_case(known.name().as_bytes())
            })
            .map(move |field| (field.value, field.value.of(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Known; COUNT] = [
        Known::Host,
        Known::Origin,
        Known::Expect,
        Known::Upgrade,
        Known::Connection,
        Known::ContentLength,
        Known::TransferEncoding,
        Known::Key,
        Known::Version,
        Known::Subprotocols,
        Known::Extensions,
    ];

    #[test]
    fn each_known_field_is_found_by_its_name_in_any_case() {
        for (index, known) in ALL.into_iter().enumerate() {
            assert_eq!(known as usize, index);
            for name in [known.name().to_owned(), known.name().to_uppercase(), known.name().to_lowercase()] {
                assert_eq!(Known::of(name.as_bytes()), Some(known), "{name}");
            }
        }
    }

    #[test]
    fn other_names_are_not_known() {
        for name in ["", "Hose", "Hos", "Hosts", "Sec-WebSocket-Kez", "Sec\u{d}WebSocket-Key", "Cookie"] {
            assert_eq!(Known::of(name.as_bytes()), None, "{name}");
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
