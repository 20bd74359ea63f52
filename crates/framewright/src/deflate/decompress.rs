//! Inflating (RFC 7692, section 7.2.2): from the payload of a compressed message to the message, up
//! to the room given.

use super::compress::step;
use super::history::History;
use super::{TAIL, WindowBits};
use std::fmt;
use zlib_rs::{Inflate, InflateFlush, Status};

/// The bytes that are inflated behind the payload: those that the sender has removed, and an empty
/// final block.
///
/// If the payload ended with a whole block, as it must, they end the stream. zlib shows it in no
/// other way.
const END: [u8; 9] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x01, 0x00, 0x00, 0xff, 0xff];

/// The bytes that are inflated behind a payload that ends with the tail which its sender should
/// have removed.
///
/// If that tail ends a block, the first five bytes are the header of a block without compression,
/// and the rest is its data. If the tail is the data of a block, another empty block follows, and
/// then the final one.
const END_BEHIND_TAIL: [u8; 14] = [
    TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x00, TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x01, 0x00, 0x00, 0xff,
    0xff,
];
/// Where the data of that block begins in [`END_BEHIND_TAIL`].
const DATA_BEHIND_TAIL: usize = TAIL.len() + 1;

/// The bytes of a decompressor without the history that it keeps: zlib's window of 32 KiB, which is
/// allocated for any window size, and 14.4 KiB of its state.
const FIXED_SIZE: usize = 47 << 10;

/// Why a payload cannot be inflated: it is not valid DEFLATE (RFC 1951), or it inflates to more
/// than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InflateError {
    /// The payload breaks RFC 1951: an invalid block or code, a distance beyond the bytes that the
    /// peer may refer to, or no end where the message ends.
    Corrupt,
    /// The message is longer than the limit.
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InflateError::Corrupt => f.write_str("not DEFLATE (RFC 7692 section 7.2.2)"),
            InflateError::TooLong { limit } => write!(f, "inflates to more than {limit} octets"),
        }
    }
}

impl std::error::Error for InflateError {}

/// A DEFLATE decompressor that keeps its LZ77 window from message to message until
/// [`reset`](Decompressor::reset).
pub struct Decompressor {
    inflate: Inflate,
    /// The bytes inflated last: of this message, and of those before it if it may refer to them.
    history: History,
    /// How many of the bytes behind the payload ([`END`], [`END_BEHIND_TAIL`]) were taken.
    of_end: usize,
    /// Overlooks faults that do no harm because the message stands on its own: a message without
    /// payload, and a tail that was not removed.
    lenient: bool,
    /// The last four bytes of payload, the newest the lowest; `None` if there was none.
    newest: Option<u32>,
    /// A final block has ended, and nothing behind it was inflated.
    ended: bool,
    /// The last call of zlib has filled all its room: there may be more to write.
    full: bool,
    /// The streams of blocks begun since the last call, and their history.
    begun: Begun,
}

/// zlib's message for a distance beyond the start of the inflated bytes.
const TOO_FAR: &str = "invalid distance too far back";
/// zlib's message for a fault of any kind that it finds while it has much to read and much room to
/// write.
const UNSAID: &str = "repeated call with bad state";

/// With no more than this room, in bytes, zlib names the fault: a match can be longer.
const LITTLE: usize = 64;

/// How often a stream of blocks was begun: for a message, or behind a final block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) times: usize,
    /// Bytes of history put before these streams, added up.
    pub(crate) history: usize,
}

/// The most streams of blocks that one call begins. An empty final block takes only a byte or two
/// of payload, but going on behind it takes a history.
const BEGINS: usize = 16;

/// The result of one call of [`Decompressor::inflate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of payload taken.
    pub(crate) read: usize,
    /// Bytes of the message written.
    pub(crate) written: usize,
    /// The message is complete.
    pub(crate) done: bool,
    /// The payload behind the bytes written is [`InflateError::Corrupt`].
    pub(crate) corrupt: bool,
    /// It is corrupt because it refers to bytes that are not in the window.
    pub(crate) too_far: bool,
    /// It is corrupt for that or any other reason: zlib does not say.
    pub(super) unsaid: bool,
    /// The streams of blocks begun in the call.
    pub(crate) begun: Begun,
}

impl Default for Decompressor {
    fn default() -> Decompressor {
        Decompressor::new()
    }
}

impl Decompressor {
    /// The most bytes that a decompressor holds, rounded up: zlib's state with its window, and the
    /// window kept outside it.
    pub const MAX_SIZE: usize = FIXED_SIZE + WindowBits::MAX.size();

    /// Makes a decompressor for windows of any size.
    #[must_use]
    pub fn new() -> Decompressor {
        Decompressor {
            inflate: Inflate::new(false, WindowBits::MAX.get()),
            history: History::new(WindowBits::MAX.size()),
            of_end: 0,
            lenient: false,
            newest: None,
            ended: false,
            full: false,
            begun: Begun::default(),
        }
    }

    /// Inflates `payload` and appends the message to `out`, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// [`InflateError`]. The bytes inflated before the error are in `out` then. Call
    /// [`reset`](Decompressor::reset) before inflating another message.
    pub fn decompress(
        &mut self,
        mut payload: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        self.begin(false);
        let start = out.len();
        let mut len = 0;
        loop {
            // Room for one byte more than the limit, to see whether the message exceeds it.
            let most = limit.saturating_add(1) - len;
            out.resize(start + len + (2 * payload.len()).clamp(64, 64 << 10).min(most), 0);
            let progress = self.inflate(payload, true, &mut out[start + len..]);
            len += progress.written;
            out.truncate(start + len);
            payload = &payload[progress.read..];
            if len > limit {
                return Err(InflateError::TooLong { limit });
            }
            if progress.corrupt {
                return Err(InflateError::Corrupt);
            }
            if progress.done {
                return Ok(());
            }
        }
    }

    /// Forgets the window: the next message may not refer to earlier ones.
    pub fn reset(&mut self) {
        self.history.clear();
    }

    /// The bytes inflated last, up to the largest window.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Exchanges the history for another one, such as that of another connection.
    pub(crate) fn swap_history(&mut self, history: &mut History) {
        std::mem::swap(&mut self.history, history);
    }

    /// Begins a message. With `lenient`, one without payload counts as empty, and the tail need not
    /// be removed.
    pub(crate) fn begin(&mut self, lenient: bool) {
        self.of_end = 0;
        (self.lenient, self.newest) = (lenient, None);
        self.full = false;
        self.restart();
    }

    /// Begins a new stream of blocks, which may refer to the history.
    fn restart(&mut self) {
        self.ended = false;
        self.begun.times += 1;
        self.begun.history += self.history.len();
        self.inflate.reset(false);
        for part in self.history.parts() {
            if !part.is_empty() {
                self.inflate.set_dictionary(part).expect("at the start of a stream without a header");
            }
        }
    }

    /// Inflates the next piece of a message's payload, and the message's end if the piece is the
    /// `last`. It stops when `out` is full, and after [`BEGINS`] streams of blocks.
    ///
    /// If `out` was filled, there may be more to write without further payload. To detect that a
    /// message is complete can take room for one byte more than the message has.
    pub(crate) fn inflate(&mut self, payload: &[u8], last: bool, out: &mut [u8]) -> Progress {
        let mut progress = Progress::default();
        while self.step(payload, last, out, &mut progress) {}
        progress.begun = std::mem::take(&mut self.begun);
        progress
    }

    /// Whether the fault of a message is a reference to bytes that are not there. The message,
    /// whose payload begins with `parts`, stands on its own.
    #[cold]
    pub(super) fn is_too_far(&mut self, parts: [&[u8]; 2], last: bool) -> bool {
        self.reset();
        self.begin(true);
        let mut room = [0; LITTLE];
        for (part, last) in parts.into_iter().zip([false, last]) {
            let mut rest = part;
            loop {
                let progress = self.inflate(rest, last, &mut room);
                rest = &rest[progress.read..];
                if progress.corrupt {
                    return progress.too_far;
                }
                if progress.read + progress.written == 0 {
                    break;
                }
            }
        }
        false
    }

    /// Makes one call of zlib. Returns whether another one is to follow.
    fn step(&mut self, payload: &[u8], last: bool, out: &mut [u8], progress: &mut Progress) -> bool {
        let rest = &payload[progress.read..];
        let within = !rest.is_empty();
        if self.ended && !within {
            // The stream may end with the payload, with the bytes that its sender has removed, or
            // with the block behind them.
            progress.done = last;
            progress.corrupt = ![0, TAIL.len(), self.end().len()].contains(&self.of_end);
            return false;
        }
        if last && !within && self.lenient && self.newest.is_none() {
            progress.done = true;
            return false;
        }
        if self.ended {
            if self.begun.times >= BEGINS {
                return false;
            }
            //= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.1
            //# The next DEFLATE block follows the padded data if any.
            self.restart();
        }
        let input = if within { rest } else { self.behind_payload(last) };
        let room = &mut out[progress.written..];
        if room.is_empty() || (input.is_empty() && !self.full) {
            progress.corrupt = last && !within && !room.is_empty();
            return false;
        }
        let (read, written, is_valid) = self.call(input, room);
        // The block behind the tail is not empty if it has written bytes.
        if self.of_end >= TAIL.len() && read > 0 && written > 0 {
            progress.done =
                self.has_tail() && END_BEHIND_TAIL[DATA_BEHIND_TAIL..].starts_with(&room[..written]);
            progress.corrupt = !progress.done;
            return false;
        }
        // Not earlier: the data of the block behind a tail that was not removed are not part of the
        // message, and later messages must not refer to them.
        self.history.push(&room[..written]);
        progress.written += written;
        if within {
            progress.read += read;
            self.note_newest(&rest[..read]);
        } else {
            // If a block has taken the tail as its own data, as it may, the tail is no fault.
            self.lenient &= read == 0 || written == 0;
            self.of_end += read;
        }
        progress.corrupt = !is_valid;
        let fault = self.inflate.error_message().filter(|_| !is_valid);
        (progress.too_far, progress.unsaid) = (fault == Some(TOO_FAR), fault == Some(UNSAID));
        is_valid
    }

    /// Calls zlib. Returns how many bytes it has read and written, and whether they are valid.
    fn call(&mut self, input: &[u8], room: &mut [u8]) -> (usize, usize, bool) {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.2
        //# Decompress the resulting data using DEFLATE.
        let status = self.inflate.decompress(input, room, InflateFlush::NoFlush);
        let (read, written) = (step(read, self.inflate.total_in()), step(written, self.inflate.total_out()));
        self.full = written == room.len();
        self.ended = status == Ok(Status::StreamEnd);
        (read, written, status.is_ok())
    }

    /// The bytes to inflate next, behind all of the payload.
    fn behind_payload(&self, last: bool) -> &'static [u8] {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.2.2
        //# Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the
        //# payload of the message.
        let end = self.end();
        match self.of_end {
            _ if !last => &[],
            // Which block has taken the bytes shows only when nothing is left to be written.
            taken if self.full && (taken >= TAIL.len() || self.has_tail()) => &[],
            taken if taken < TAIL.len() => &end[taken..TAIL.len()],
            taken => &end[taken..],
        }
    }

    fn end(&self) -> &'static [u8] {
        if self.has_tail() { &END_BEHIND_TAIL } else { &END }
    }

    /// Whether the payload ends as if its tail was not removed.
    fn has_tail(&self) -> bool {
        self.lenient && self.newest == Some(u32::from_be_bytes(TAIL))
    }

    fn note_newest(&mut self, payload: &[u8]) {
        if let Some(last) = payload.last_chunk() {
            self.newest = Some(u32::from_be_bytes(*last));
            return;
        }
        for &octet in payload {
            self.newest = Some(self.newest.unwrap_or(u32::MAX) << 8 | u32::from(octet));
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::{Compressor, Level};

    fn inflated(payload: &[u8]) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        Decompressor::new().decompress(payload, 1 << 20, &mut out).map(|()| out)
    }

    #[test]
    fn a_message_may_refer_to_what_came_before_a_final_block() {
        let mut decompressor = Decompressor::new();
        let mut out = Vec::new();
        // "Hello" with a final block, then a message that is a copy of the five bytes before it.
        decompressor.decompress(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], 100, &mut out).unwrap();
        decompressor.decompress(&[0xf2, 0x00, 0x11, 0x00, 0x00], 100, &mut out).unwrap();
        assert_eq!(out, b"HelloHello");
        decompressor.reset();
        assert_eq!(
            decompressor.decompress(&[0xf2, 0x00, 0x11, 0x00, 0x00], 100, &mut out),
            Err(InflateError::Corrupt)
        );
    }

    #[test]
    fn a_payload_that_ends_within_a_block_is_refused() {
        let mut payload = Vec::new();
        Compressor::new(Level::default(), WindowBits::MAX)
            .compress(&b"some text, some more text".repeat(9), &mut payload);
        assert_eq!(inflated(&payload).unwrap(), b"some text, some more text".repeat(9));
        for len in 0..payload.len() {
            assert_eq!(inflated(&payload[..len]), Err(InflateError::Corrupt), "cut after {len} octets");
        }
    }

    #[test]
    fn a_payload_that_takes_what_is_appended_for_its_own_is_refused() {
        // Blocks without compression that lack 1 to 12 bytes. Every sender removes four.
        for missing in 1..=12_u8 {
            for last in [0, 1] {
                let payload = [last, missing + 1, 0, !(missing + 1), 0xff, b'a'];
                match inflated(&payload) {
                    Ok(message) => assert_eq!((missing, &message[..]), (4, &[b'a', 0, 0, 0xff, 0xff][..])),
                    Err(error) => assert_eq!((error, missing == 4), (InflateError::Corrupt, false)),
                }
            }
        }
    }

    #[test]
    fn what_comes_before_a_fault_is_inflated() {
        let mut out = Vec::new();
        let payload = b"\x00\x05\x00\xfa\xffHello\x07";
        assert_eq!(Decompressor::new().decompress(payload, 5, &mut out), Err(InflateError::Corrupt));
        assert_eq!(out, b"Hello");
        let error = Decompressor::new().decompress(payload, 4, &mut out);
        assert_eq!(error, Err(InflateError::TooLong { limit: 4 }));
    }

    #[test]
    fn a_payload_may_end_with_an_empty_final_block() {
        assert_eq!(inflated(&[0x01]).unwrap(), b"");
        assert_eq!(inflated(b"\x00\x05\x00\xfa\xffHello\x01").unwrap(), b"Hello");
    }

    /// Inflates a message that stands on its own, at most `room` bytes at a time.
    fn inflated_in_steps(payload: &[u8], room: usize) -> Option<Vec<u8>> {
        let mut decompressor = Decompressor::new();
        decompressor.begin(true);
        let (mut rest, mut message) = (payload, Vec::new());
        let mut out = vec![0; room];
        loop {
            let progress = decompressor.inflate(rest, true, &mut out);
            message.extend_from_slice(&out[..progress.written]);
            rest = &rest[progress.read..];
            if progress.done || progress.corrupt {
                return (!progress.corrupt).then_some(message);
            }
        }
    }

    #[test]
    fn however_little_room_there_is_a_tail_that_was_left_on_is_told_from_data() {
        let kept = b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff";
        // Blocks of 8, 9 and 20 bytes that begin with the tail: only a block that lacks four bytes
        // is complete.
        let own = |len: u8| [&[0, len, 0, !len, 0xff][..], &TAIL].concat();
        for room in [1, 2, 3, 4, 5, 9, 64] {
            assert_eq!(inflated_in_steps(kept, room).as_deref(), Some(&b"Hello"[..]), "{room}");
            assert_eq!(inflated_in_steps(&own(8), room), Some([TAIL, TAIL].concat()), "{room}");
            for len in [5, 9, 10, 13, 18, 20] {
                assert_eq!(inflated_in_steps(&own(len), room), None, "{len} octets, room for {room}");
            }
            assert_eq!(inflated_in_steps(b"", room), Some(Vec::new()));
        }
    }

    #[test]
    fn the_limit_is_exact() {
        let message = vec![7; 5000];
        let mut payload = Vec::new();
        Compressor::new(Level::default(), WindowBits::MAX).compress(&message, &mut payload);
        for (limit, fits) in [(5000, true), (5001, true), (4999, false), (0, false)] {
            let mut out = Vec::new();
            let result = Decompressor::new().decompress(&payload, limit, &mut out);
            assert_eq!(result.is_ok(), fits, "limit {limit}");
            assert!(out.len() <= limit + 1);
        }
    }
}
