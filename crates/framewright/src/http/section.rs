//! The field section of a complete head, as the views on requests and responses read it.

use super::bytes::{ascii, elements};
use super::field_lines::Fields;
use super::known::{Known, KnownFields, Values};

/// The field lines of a head whose syntax has been checked: a view, cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldSection<'a> {
    bytes: &'a [u8],
    /// Where the first field line starts.
    start: usize,
    known: &'a KnownFields,
}

impl<'a> FieldSection<'a> {
    /// The section that starts at `start` of the octets that were parsed.
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

    /// The values of all lines with that name, without regard to case, in the order received.
    pub(crate) fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let bytes = self.bytes;
        self.lines()
            .filter(move |field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(move |field| field.value.of(bytes))
    }

    /// The values of all lines of a field that there are rules for, in the order received, and where they are.
    pub(crate) fn spans(&self, known: Known) -> Values<'a> {
        self.known.values(known, self.lines(), self.bytes)
    }

    /// The values of all lines of a field that there are rules for, in the order received.
    pub(crate) fn values(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.spans(known).map(|(_, value)| value)
    }

    /// The elements of the comma-separated list that all lines of a field make together, empty ones left out (RFC 9110,
    /// section 5.6.1).
    pub(crate) fn list(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.values(known).flat_map(elements).filter(|element| !element.is_empty())
    }

    /// Where the first field line starts, and the fields that there are rules for: what an owned copy keeps.
    pub(crate) fn parts(&self) -> (usize, &'a KnownFields) {
        (self.start, self.known)
    }
}
