//! What is offered and agreed on (RFC 7692, section 7.1).

/// The base-2 logarithm of the size of an LZ77 sliding window (section 7.1.2): 8 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 8: a window of 256 octets.
    pub const MIN: WindowBits = WindowBits(8);
    /// 15: a window of 32 KiB.
    pub const MAX: WindowBits = WindowBits(15);

    /// `None` if it is not from 8 to 15.
    #[must_use]
    pub const fn new(bits: u8) -> Option<WindowBits> {
        if bits >= 8 && bits <= 15 { Some(WindowBits(bits)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The window in octets.
    #[must_use]
    pub const fn size(self) -> usize {
        1 << self.0
    }
}

impl Default for WindowBits {
    fn default() -> WindowBits {
        WindowBits::MAX
    }
}
