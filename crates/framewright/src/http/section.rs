//! The field section of a complete head, as the views of requests and responses read it: one known
//! field, any field by name, or all lines in order.

use super::bytes::{ascii, elements, is_token, trim_end, trim_start};
use super::known::{Known, KnownFields};
use super::scan;
use super::span::{FieldSpan, Span};

/// A view of the field lines of a head whose syntax has been checked, cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldSection<'a> {
    bytes: &'a [u8],
    /// The start of the first field line.
    start: usize,
    known: &'a KnownFields,
}

impl<'a> FieldSection<'a> {
    /// The section that starts at `start` of `bytes`, which were parsed.
    pub(crate) fn new(bytes: &'a [u8], start: usize, known: &'a KnownFields) -> Self {
        FieldSection { bytes, start, known }
    }

    fn lines(&self) -> Fields<'a> {
        Fields::new(self.bytes, self.start)
    }

    /// All field lines in the order received: names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.lines().map(move |field| (ascii(field.name.of(bytes)), field.value.of(bytes)))
    }

    /// The values of all lines with this name, in the order received. Case is ignored.
    pub(crate) fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let bytes = self.bytes;
        self.lines()
            .filter(move |field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(move |field| field.value.of(bytes))
    }

    /// The values of all lines of a known field, in the order received, and their positions.
    pub(crate) fn spans(&self, known: Known) -> Values<'a> {
        let repeated = self.known.is_repeated(known);
        let single = if repeated { None } else { self.known.first(known) };
        Values { bytes: self.bytes, known, single, several: repeated.then(|| self.lines()) }
    }

    /// The values of all lines of a known field, in the order received.
    pub(crate) fn values(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.spans(known).map(|(_, value)| value)
    }

    /// The elements of the comma-separated list that all lines of a field form together, without
    /// the empty ones (RFC 9110, section 5.6.1).
    pub(crate) fn list(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values(known).flat_map(elements).filter(|element| !element.is_empty())
    }

    /// Whether Connection has this option, in any letter case, and follows the grammar (RFC 9110,
    /// section 7.6.1).
    pub(crate) fn has_connection_option(&self, name: &[u8]) -> bool {
        let mut found = false;
        let mut well_formed = true;
        self.list(Known::Connection).for_each(|option| {
            well_formed &= is_token(option);
            found |= option.eq_ignore_ascii_case(name);
        });
        found && well_formed
    }

    /// The start of the first field line, and the known fields: the parts that an owned copy keeps.
    pub(crate) fn parts(&self) -> (usize, &'a KnownFields) {
        (self.start, self.known)
    }
}

/// The values of all lines of a known field, and their positions.
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    bytes: &'a [u8],
    known: Known,
    /// A field that occurs once, as each should, is found without reading the other lines.
    single: Option<Span>,
    several: Option<Fields<'a>>,
}

impl<'a> Iterator for Values<'a> {
    type Item = (Span, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(Span, &'a [u8])> {
        let value = match self.single.take() {
            Some(value) => value,
            None => {
                let is_called = |field: &FieldSpan| Known::of(field.name.of(self.bytes)) == Some(self.known);
                self.several.as_mut()?.find(is_called)?.value
            }
        };
        Some((value, value.of(self.bytes)))
    }
}

/// The field lines of a parsed section. They are parsed again at each use, which is rare. A table
/// of them would cost each handshake an allocation.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    /// The start of the next line.
    pos: usize,
}

impl<'a> Fields<'a> {
    /// The lines that start at `pos` and end with the empty line.
    pub(crate) fn new(bytes: &'a [u8], pos: usize) -> Self {
        Fields { bytes, pos }
    }
}

impl Iterator for Fields<'_> {
    type Item = FieldSpan;

    fn next(&mut self) -> Option<FieldSpan> {
        let colon = scan::token(self.bytes, self.pos);
        if colon == self.pos {
            return None; // the CR of the empty line
        }
        let cr = scan::value(self.bytes, colon + 1);
        let raw = self.bytes.get(colon + 1..cr)?;
        let start = cr - trim_start(raw).len();
        let name = Span::new(self.pos, colon);
        self.pos = cr + CRLF;
        Some(FieldSpan { name, value: Span::new(start, start + trim_end(&self.bytes[start..cr]).len()) })
    }
}

/// The length of CRLF.
const CRLF: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_all_lines_with_the_name() {
        let bytes = b"Host:1\r\na:2\r\nHOST: 3\r\nUpgrade:4\r\n\r\n";
        let mut known = KnownFields::default();
        for field in Fields::new(bytes, 0) {
            known.note(field.name.of(bytes), field.value);
        }
        let section = FieldSection::new(bytes, 0, &known);
        let values = |name| section.values(name).collect::<Vec<_>>();
        assert_eq!(values(Known::Host), [b"1", b"3"]);
        assert_eq!(values(Known::Upgrade), [b"4"]);
        assert!(values(Known::Origin).is_empty());
    }
}
