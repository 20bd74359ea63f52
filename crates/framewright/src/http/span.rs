//! A position in a head, stored not as a slice but as a [`Span`], which outlives the bytes lent to
//! the parser.

/// A range of the head's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The bytes `start..end`.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a head is at most MAX_HEAD octets")]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= MAX_HEAD);
        Span { start: start as u32, end: end as u32 }
    }

    /// The bytes of `head` in this range.
    pub(crate) fn of(self, head: &[u8]) -> &[u8] {
        &head[self.start as usize..self.end as usize]
    }

    /// The sub-range `part`, which is relative to the start of this span.
    pub(crate) fn part(self, part: std::ops::Range<usize>) -> Span {
        let start = self.start as usize;
        Span::new(start + part.start, start + part.end)
    }
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldSpan {
    pub(crate) name: Span,
    /// The value, without the whitespace around it.
    pub(crate) value: Span,
}

/// The longest head in bytes, since offsets are 32 bits wide. A larger limit is reduced to this.
pub(crate) const MAX_HEAD: usize = 0x7fff_ffff;
