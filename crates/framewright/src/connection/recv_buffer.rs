//! The buffer of received bytes that are not decoded yet, and of inflated bytes until their event
//! was handled. It also holds the decoder's position in the message.
//!
//! The driver owns it, so that one buffer can serve many connections, and a connection at rest
//! holds none of its memory.

use super::config::Delivery;
use super::fragment::ReceivingMessage;
use super::utf8::Invalid;
use crate::deflate::{Inflater, Progress};
use crate::frame::Header;
use std::mem;
use std::ops::Range;
use std::time::Instant;

/// A buffer of received bytes, which the driver reads into and the connection decodes.
///
/// ```text
///   0        held      held_end      read          end          capacity
///   | done    | payload   | gap        | not decoded | spare        |
///   |         | of the    | (headers,  | yet         | (initialised,|
///   |         | message   | control    |             |  to be read  |
///   |         | in parts  | frames)    |             |  into)       |
/// ```
/// `held` is the contiguous payload of a message in progress. Its fragments are moved down over the
/// headers between them; the first one is never moved. Between messages `held`, `held_end` and
/// `read` are equal.
///
/// A driver reads into [`spare`](RecvBuffer::spare), passes the number of bytes read to
/// [`filled`](RecvBuffer::filled), and decodes. If the buffer is then not
/// [empty](RecvBuffer::is_empty), the driver keeps the rest: [`park`](RecvBuffer::park) moves it
/// into a buffer of exactly its size, and [`absorb`](RecvBuffer::absorb) brings it back.
#[derive(Debug, Default)]
pub struct RecvBuffer {
    octets: Vec<u8>,
    held: usize,
    held_end: usize,
    read: usize,
    end: usize,
    /// Changes whenever ranges into the buffer get another meaning.
    serial: u32,
    /// The message in progress.
    pub(super) incoming: ReceivingMessage,
    /// The inflated bytes of that message if it is compressed. Its compressed payload is held only
    /// until it is inflated.
    inflated: Inflated,
}

/// The length in bytes from which a payload is taken with its memory, instead of being copied.
const TAKEN: usize = 16 << 10;

/// The place of a payload in a [`RecvBuffer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PayloadRange {
    range: Range<usize>,
    /// Whether the range is one of the inflated bytes.
    inflated: bool,
}

impl PayloadRange {
    /// A range of the received bytes.
    #[inline]
    pub(super) fn received(range: Range<usize>) -> PayloadRange {
        PayloadRange { range, inflated: false }
    }

    /// A range of the inflated bytes.
    pub(super) fn inflated(range: Range<usize>) -> PayloadRange {
        PayloadRange { range, inflated: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl RecvBuffer {
    /// Makes an empty buffer that has allocated nothing.
    #[must_use]
    pub fn new() -> RecvBuffer {
        RecvBuffer::default()
    }

    /// Makes an empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> RecvBuffer {
        RecvBuffer { octets: vec![0; capacity], ..RecvBuffer::default() }
    }

    /// Whether the buffer holds nothing that has to be kept: neither undecoded bytes nor a message
    /// in progress.
    ///
    /// False in the middle of a message, even if all its bytes received so far were delivered.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holds_nothing() && !self.incoming.in_message
    }

    #[inline]
    fn holds_nothing(&self) -> bool {
        self.held == self.held_end && self.read == self.end
    }

    /// The number of bytes that are not decoded yet.
    #[inline]
    #[must_use]
    pub fn unread(&self) -> usize {
        self.end - self.read
    }

    /// Whether decoding may give an event without more bytes: after
    /// [`wants_read`](super::Connection::wants_read) was false, or
    /// [`has_inflate_work`](super::DriverView::has_inflate_work) true.
    #[inline]
    #[must_use]
    pub fn has_undecoded(&self) -> bool {
        self.unread() > 0 || self.incoming.unfinished
    }

    /// The number of bytes kept: undecoded ones, and the held payload of a message in progress.
    ///
    /// It can be 0 while [`is_empty`](RecvBuffer::is_empty) is false: in the middle of a message
    /// whose bytes received so far were all delivered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held_end - self.held + self.unread()
    }

    /// The bytes of payload received of the message in progress; 0 between messages. For a
    /// compressed message, its compressed bytes.
    #[must_use]
    pub fn message_arrived(&self) -> u64 {
        self.incoming.announced - self.incoming.remaining
    }

    /// The number of bytes that fit without allocating.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.octets.len()
    }

    /// The bytes of memory that this buffer holds, for received and for inflated bytes. The memory
    /// of decompressors is counted by [`DeflateMemory`](crate::deflate::DeflateMemory).
    #[inline]
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.octets.len() + self.inflated.octets.len()
    }

    /// Returns all the room to read into, at least `least` bytes.
    ///
    /// If there is too little, it moves the bytes kept to the front. If that is not enough, the
    /// buffer grows.
    pub fn spare(&mut self, least: usize) -> &mut [u8] {
        self.changed();
        if self.holds_nothing() {
            (self.held, self.held_end, self.read, self.end) = (0, 0, 0, 0);
        }
        if self.octets.len() - self.end < least {
            self.close_gaps();
            if self.octets.len() - self.end < least {
                self.octets.resize(self.end + least, 0);
            }
        }
        &mut self.octets[self.end..]
    }

    /// Notes that the first `count` bytes of [`spare`](RecvBuffer::spare) were written.
    ///
    /// # Panics
    /// If `count` is more than the room there is.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.octets.len() - self.end, "more octets than there was room for");
        self.end += count;
        self.changed();
    }

    /// Appends a copy of `octets`, as if these bytes had been read.
    pub fn extend_from_slice(&mut self, octets: &[u8]) {
        self.spare(octets.len())[..octets.len()].copy_from_slice(octets);
        self.filled(octets.len());
    }

    /// The bytes of payload of the frame in progress that were not received yet; 0 between frames.
    ///
    /// A driver can use it to make room for a large frame. The room should grow with the bytes
    /// received: the length is only what the peer announced, up to
    /// [`Config::max_frame`](super::Config::max_frame).
    #[must_use]
    pub fn frame_remaining(&self) -> u64 {
        self.incoming.remaining
    }

    /// The bytes not received yet of the frame that is being decoded, or comes next; 0 if its
    /// length is not known.
    pub(super) fn unreceived(&self) -> u64 {
        let len = if self.incoming.in_frame {
            self.incoming.remaining
        } else {
            Header::frame_len(self.undecoded()).unwrap_or(0)
        };
        len.saturating_sub(self.unread() as u64)
    }

    /// Moves the bytes kept into a new buffer of exactly their size, and empties this one.
    #[must_use]
    pub fn park(&mut self) -> RecvBuffer {
        let mut parked = RecvBuffer::with_capacity(self.len());
        parked.absorb(self);
        parked
    }

    /// Moves the bytes that `other` keeps into this buffer, which is empty, and empties `other`.
    /// The bytes are copied.
    ///
    /// # Panics
    /// If this buffer is not empty.
    pub fn absorb(&mut self, other: &mut RecvBuffer) {
        assert!(self.is_empty(), "only an empty buffer can take over a stream");
        let (held, unread) = (other.held..other.held_end, other.read..other.end);
        let len = other.len();
        self.spare(len);
        self.held_end = held.len();
        self.read = held.len();
        self.end = len;
        self.octets[..self.held_end].copy_from_slice(&other.octets[held]);
        self.octets[self.read..self.end].copy_from_slice(&other.octets[unread]);
        self.incoming = mem::take(&mut other.incoming);
        if self.incoming.inflater.is_some() {
            self.inflated = mem::take(&mut other.inflated);
        }
        other.clear();
    }

    /// Drops everything that the buffer keeps.
    pub fn clear(&mut self) {
        (self.held, self.held_end, self.read, self.end) = (0, 0, 0, 0);
        self.incoming.end();
        self.inflated.clear();
        self.changed();
    }

    /// Frees the memory that only a large compressed message needed.
    ///
    /// For the end of a turn: the payload of the last event is gone afterwards.
    #[inline]
    pub fn shrink(&mut self) {
        if self.incoming.inflater.is_none() {
            self.changed();
            self.inflated.shrink();
        }
    }

    /// Takes the payload of a whole message that was just decoded: with the memory in which it lies if
    /// it is long and fills half of that, otherwise a copy. Returns the memory, and the payload's range
    /// in it.
    pub(super) fn take_at(&mut self, payload: PayloadRange) -> (Vec<u8>, Range<usize>) {
        let PayloadRange { range, inflated } = payload;
        let room = if inflated { self.inflated.octets.len() } else { self.octets.len() };
        if range.len() < TAKEN || range.len() < room / 2 || !self.holds_no_payload() {
            let octets = if inflated { self.inflated.bytes(range) } else { &self.octets[range] }.to_vec();
            let range = 0..octets.len();
            return (octets, range);
        }
        self.changed();
        let mut octets = if inflated {
            mem::take(&mut self.inflated).octets
        } else {
            let rest = self.undecoded().to_vec();
            (self.held, self.held_end, self.read, self.end) = (0, 0, 0, rest.len());
            mem::replace(&mut self.octets, rest)
        };
        octets.truncate(range.end);
        (octets, range)
    }

    /// Whether no payload of a message in parts is held.
    fn holds_no_payload(&self) -> bool {
        self.held == self.held_end
    }

    fn close_gaps(&mut self) {
        if self.held > 0 {
            self.octets.copy_within(self.held..self.held_end, 0);
            self.held_end -= self.held;
            self.held = 0;
        }
        if self.read > self.held_end {
            self.octets.copy_within(self.read..self.end, self.held_end);
            self.end -= self.read - self.held_end;
            self.read = self.held_end;
        }
    }

    fn changed(&mut self) {
        self.serial = self.serial.wrapping_add(1);
    }

    /// Identifies this buffer in its present state.
    pub(super) fn stamp(&self) -> (usize, u32) {
        (self.octets.as_ptr().addr(), self.serial)
    }

    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }

    #[inline]
    pub(super) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.octets[range]
    }

    /// The undecoded bytes.
    #[inline]
    pub(super) fn undecoded(&self) -> &[u8] {
        &self.octets[self.read..self.end]
    }

    /// The next `count` undecoded bytes, to be unmasked in place.
    #[inline]
    pub(super) fn undecoded_mut(&mut self, count: usize) -> &mut [u8] {
        &mut self.octets[self.read..self.read + count]
    }

    /// Skips `count` undecoded bytes: a header, or a control frame. Between messages no payload is
    /// held, so the start of the next message moves too.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) {
        let nothing_held = self.held == self.held_end;
        self.read += count;
        if nothing_held {
            self.held = self.read;
            self.held_end = self.read;
        }
        self.changed();
    }

    /// Takes the next `count` undecoded bytes, already unmasked, as a whole payload. Returns their
    /// range.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let range = self.read..self.read + count;
        self.skip(count);
        range
    }

    /// Takes a header and the payload behind it, while no payload is held. Returns the payload's
    /// range.
    #[inline]
    pub(super) fn take_frame(&mut self, header_len: usize, payload_len: usize) -> Range<usize> {
        debug_assert_eq!(self.held, self.held_end, "a message is in progress");
        let start = self.read + header_len;
        let end = start + payload_len;
        (self.held, self.held_end, self.read) = (end, end, end);
        self.changed();
        start..end
    }

    /// Appends the next `count` undecoded bytes, already unmasked, to the held payload. Returns
    /// their range there.
    pub(super) fn hold(&mut self, count: usize) -> Range<usize> {
        let from = self.read..self.read + count;
        let to = self.held_end;
        if from.start != to {
            self.octets.copy_within(from, to);
        }
        self.read += count;
        self.held_end += count;
        self.changed();
        to..self.held_end
    }

    /// The bytes of `payload`.
    #[inline]
    pub(super) fn at(&self, payload: &PayloadRange) -> &[u8] {
        if payload.inflated {
            return self.inflated.bytes(payload.range.clone());
        }
        &self.octets[payload.range.clone()]
    }

    /// Checks the newest piece of a text message in progress, whose bytes are at `payload`.
    pub(super) fn check_text(&mut self, payload: &PayloadRange) -> Result<(), Invalid> {
        let mut utf8 = self.incoming.utf8;
        let checked = utf8.push(self.at(payload));
        self.incoming.utf8 = utf8;
        checked
    }

    /// The range of the held payload.
    pub(super) fn held(&self) -> Range<usize> {
        self.held..self.held_end
    }

    /// Gives up the first `count` held bytes. Returns their range, which stays readable until bytes
    /// are added.
    pub(super) fn release(&mut self, count: usize) -> Range<usize> {
        let range = self.held..self.held + count;
        self.held += count;
        if self.held == self.held_end {
            self.held = self.read;
            self.held_end = self.read;
        }
        self.changed();
        range
    }
}

/// Payload is inflated in pieces of `INPUT` bytes, counted from its first byte. The result of each
/// is checked: a piece can inflate to nothing, or to a thousand times its size.
pub(super) const INPUT: usize = 4 << 10;

/// The result of one call of [`RecvBuffer::inflate`].
pub(super) struct Piece {
    pub(super) progress: Progress,
    /// The range of the inflated bytes that the call wrote.
    pub(super) range: Range<usize>,
    /// The held payload may inflate to more bytes.
    pub(super) more: bool,
    /// The call has filled its room.
    pub(super) full: bool,
}

/// Inflating: the held payload is consumed, and the result is added to the inflated bytes.
impl RecvBuffer {
    /// Begins to inflate the message in progress.
    pub(super) fn begin_inflating(&mut self, inflater: Box<Inflater>) {
        self.inflated.begin();
        self.incoming.inflater = Some(inflater);
    }

    /// Inflates some of the held payload to no more than `most` bytes. If the whole message has
    /// `arrived`, it inflates the end of the message too.
    ///
    /// `None` if the decompressor was taken back.
    pub(super) fn inflate(
        &mut self,
        delivery: Delivery,
        arrived: bool,
        limit: usize,
        most: usize,
        now: Instant,
    ) -> Option<Piece> {
        self.changed();
        let inflater = self.incoming.inflater.as_mut().expect("the message is being inflated");
        let held = self.held_end - self.held;
        let piece = INPUT - usize::try_from(inflater.consumed() % INPUT as u64).expect("less than a piece");
        let payload = &self.octets[self.held..][..held.min(piece)];
        let room = self.inflated.room(delivery, held, limit, most);
        inflater.note_arrived(arrived);
        let progress = inflater.inflate(payload, arrived && held <= piece, room, now)?;
        let full = progress.written == room.len();
        let range = self.inflated.written(progress.written);
        self.release(progress.read);
        Some(Piece { more: !progress.done && (full || progress.read < held), full, range, progress })
    }

    /// The bytes that the message in progress has inflated to so far, and the bytes of payload
    /// consumed for them.
    pub(super) fn inflated(&self) -> (u64, u64) {
        self.incoming.inflater.as_ref().map_or((0, 0), |inflater| (inflater.inflated(), inflater.consumed()))
    }

    /// Delivers the inflated bytes, except for the last `pending` ones.
    pub(super) fn release_inflated(&mut self, pending: usize) -> PayloadRange {
        let count = self.inflated.held().len() - pending;
        PayloadRange::inflated(self.inflated.release(count))
    }
}

/// The least room, in bytes, for a message to begin with, and for each step of one in chunks.
const FIRST: usize = 4 << 10;
/// The most bytes that one call inflates, so that each piece is checked while it is in cache.
const STEP: usize = 64 << 10;
/// Room of up to `KEEP` bytes is kept for the next message.
const KEEP: usize = 256 << 10;

/// The inflated part of the message in progress, and after it the message of the last event.
///
/// ```text
///   0        start              end           octets.len()
///   | given  | inflated, not    | room         |
///   | out    | given out yet    | (initialised)|
/// ```
#[derive(Debug, Default)]
struct Inflated {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inflated {
    /// Begins a message.
    fn begin(&mut self) {
        (self.start, self.end) = (0, 0);
        self.shrink();
    }

    /// Frees the room if it is larger than most messages need.
    #[inline]
    fn shrink(&mut self) {
        if self.octets.capacity() > KEEP {
            self.octets = Vec::new();
        }
    }

    /// Frees all room.
    fn clear(&mut self) {
        *self = Inflated::default();
    }

    /// The range of the bytes inflated and not delivered yet.
    fn held(&self) -> Range<usize> {
        self.start..self.end
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }

    /// Room for the bytes inflated next: at least one byte, and at most `most`, which is not 0.
    ///
    /// Whole delivery holds at most `limit` bytes and one more. Chunk delivery holds one step and
    /// the rest of the last step.
    fn room(&mut self, delivery: Delivery, payload: usize, limit: usize, most: usize) -> &mut [u8] {
        if self.end == self.octets.len() || (delivery == Delivery::Chunks && self.start > 0) {
            self.make_room(delivery, payload, limit);
        }
        let room = (self.octets.len() - self.end).min(STEP).min(most);
        &mut self.octets[self.end..][..room]
    }

    fn make_room(&mut self, delivery: Delivery, payload: usize, limit: usize) {
        let guess = payload.saturating_mul(4).clamp(FIRST, STEP);
        let wanted = match delivery {
            // One byte more than the limit, to see whether the message exceeds it.
            Delivery::Whole => (2 * self.octets.len()).max(guess).min(limit.saturating_add(1)),
            Delivery::Chunks => {
                self.octets.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
                guess.max(self.end + FIRST)
            }
        };
        if wanted > self.octets.len() {
            self.octets.reserve_exact(wanted - self.octets.len());
            self.octets.resize(wanted, 0);
        }
    }

    /// Notes that `count` bytes of [`room`](Inflated::room) were written. Returns their range.
    fn written(&mut self, count: usize) -> Range<usize> {
        self.end += count;
        self.end - count..self.end
    }

    /// Delivers the first `count` bytes. Returns their range, which stays readable until the next
    /// room is made.
    fn release(&mut self, count: usize) -> Range<usize> {
        self.start += count;
        self.start - count..self.start
    }
}
