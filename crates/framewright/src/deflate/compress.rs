//! Compressing (RFC 7692, section 7.2.1): from a message, or a fragment of one, to the payload of
//! its frame.

use super::{Level, TAIL, WindowBits};
use std::fmt;
use zlib_rs::{Deflate, DeflateConfig as ZlibConfig, DeflateFlush, Status};

/// The base-2 logarithm of the number of symbols in a block, less 6. A level of 4 takes 7 KiB.
/// zlib's default of 8 takes 112 KiB, and makes messages at most 0.5 % shorter. Messages of up to
/// 1 KiB then take longer to compress.
const MEM_LEVEL: i32 = 4;

/// The bytes that a compressor holds besides its window and the chains through it: the table of
/// hashes, the symbols and codes of a block, and its own state.
const FIXED_SIZE: usize = (128 + 7 + 6) << 10;

/// A DEFLATE compressor that keeps its LZ77 window from message to message until
/// [`reset`](Compressor::reset).
///
/// ```
/// use framewright::deflate::{Compressor, Decompressor, Level, WindowBits};
///
/// let mut payload = Vec::new();
/// Compressor::new(Level::default(), WindowBits::MAX).compress(b"Hello", &mut payload);
/// assert_eq!(payload, [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]); // RFC 7692, section 7.2.3.1
///
/// let mut message = Vec::new();
/// Decompressor::new().decompress(&payload, 1 << 20, &mut message)?;
/// assert_eq!(message, b"Hello");
/// # Ok::<(), framewright::deflate::InflateError>(())
/// ```
pub struct Compressor {
    deflate: Deflate,
    window: WindowBits,
    level: Level,
    /// The window is to be forgotten before the next compression. That is put off because it clears
    /// 128 KiB.
    stale: bool,
}

impl Compressor {
    /// Makes a compressor with a window of size `window`. It allocates [`size`](Compressor::size)
    /// bytes.
    ///
    /// # Panics
    /// If the window is of 2^8 bytes: zlib would use one of 2^9.
    #[must_use]
    pub fn new(level: Level, window: WindowBits) -> Compressor {
        assert!(window > WindowBits::MIN, "there is no compressor with a window of 256 octets");
        let config = ZlibConfig {
            level: i32::from(level.get()),
            window_bits: -i32::from(window.get()),
            mem_level: MEM_LEVEL,
            ..ZlibConfig::default()
        };
        Compressor { deflate: Deflate::new_with_config(config), window, level, stale: false }
    }

    /// The bytes of memory that a compressor with a window of size `window` holds, rounded up.
    #[must_use]
    pub const fn size(window: WindowBits) -> usize {
        // The window twice, and two bytes of chain for each byte of it.
        FIXED_SIZE + 4 * window.size()
    }

    /// The size of the window.
    #[must_use]
    pub fn window(&self) -> WindowBits {
        self.window
    }

    /// The level of the compressor.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Appends the payload of a compressed message to `out`.
    pub fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.compress_part(message, true, out);
    }

    /// Appends the payload of one fragment of a compressed message to `out`. `last` ends the
    /// message.
    ///
    /// A fragment can be inflated after those before it, without those that follow.
    pub fn compress_part(&mut self, data: &[u8], last: bool, out: &mut Vec<u8>) {
        if data.is_empty() {
            // The payload so far ends behind a block, at the boundary of a byte. zlib would not
            // write another empty block.
            //= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.3.6
            //# The single octet 0x00 contains the header bits with "BFINAL" set to 0 and "BTYPE" set to 00, and 5 padding bits of 0.
            if last {
                out.push(0);
            }
            return;
        }
        if std::mem::take(&mut self.stale) {
            self.deflate.reset();
        }
        self.flush(data, out);
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.1
        //# Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end.
        if last {
            debug_assert!(out.ends_with(&TAIL));
            out.truncate(out.len() - TAIL.len());
        }
    }

    /// Lets the next message refer to the bytes of `parts`, in this order, and to nothing before
    /// them.
    pub(crate) fn begin_after(&mut self, parts: [&[u8]; 2]) {
        self.stale = false;
        self.deflate.reset();
        for part in parts {
            if !part.is_empty() {
                self.deflate.set_dictionary(part).expect("at the start of a stream without a header");
            }
        }
    }

    /// Compresses all of `data` and ends it with an empty block.
    fn flush(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        let mut end = out.len();
        loop {
            // Room for the payload of most data; data that does not shrink takes another turn.
            out.resize(end + data.len() / 2 + 128, 0);
            let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.compress(data, &mut out[end..], DeflateFlush::SyncFlush);
            // No stream ends with this flush, and there is always room to write to.
            assert!(
                matches!(status, Ok(Status::Ok | Status::BufError)),
                "zlib's compressor fails on no data"
            );
            data = &data[step(read, self.deflate.total_in())..];
            end += step(written, self.deflate.total_out());
            if end < out.len() {
                break;
            }
        }
        debug_assert!(data.is_empty(), "with room left over all data was taken");
        out.truncate(end);
    }

    /// Forgets the window, so that the next message is compressed on its own.
    pub fn reset(&mut self) {
        self.stale = self.deflate.total_in() > 0;
    }
}

/// How far a counter of zlib has advanced in one call.
pub(super) fn step(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("within a slice")
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("level", &self.level)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
