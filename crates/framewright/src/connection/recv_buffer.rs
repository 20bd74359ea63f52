//! Where received octets lie until they are decoded, with how far decoding has come. Owned by the
//! driver, so that one buffer can serve many connections, and that a connection at rest holds
//! nothing of it. And where inflated octets lie until their event has been looked at.

use super::config::Delivery;
use super::fragment::ReceivingMessage;
use super::utf8::Invalid;
use crate::deflate::{Inflater, Progress};
use crate::frame::Header;
use std::ops::Range;
use std::time::Instant;

/// A receive buffer.
///
/// ```text
///   0        held      held_end      read          end          capacity
///   | done    | payload   | gap        | not decoded | spare        |
///   |         | of the    | (headers,  | yet         | (initialised,|
///   |         | message   | control    |             |  to be read  |
///   |         | in parts  | frames)    |             |  into)       |
/// ```
/// `held` is the payload of a message whose end has not come, contiguous: fragments are moved down over the headers between
/// them, the first one is never moved. Between messages `held`, `held_end` and `read` are the same.
///
/// A driver reads into [`spare`](RecvBuffer::spare), says how much with
/// [`filled`](RecvBuffer::filled), decodes, and then keeps what [`is_empty`](RecvBuffer::is_empty)
/// denies: with [`park`](RecvBuffer::park) in a buffer of exactly that size, to be brought back
/// with [`absorb`](RecvBuffer::absorb).
#[derive(Debug, Default)]
pub struct RecvBuffer {
    octets: Vec<u8>,
    held: usize,
    held_end: usize,
    read: usize,
    end: usize,
    /// Changes with each change of what ranges into the buffer mean.
    serial: u32,
    /// The message in progress.
    pub(super) incoming: ReceivingMessage,
    /// What is inflated of it if it is compressed. Its payload is held only until then.
    inflated: Inflated,
}

/// Where a payload lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PayloadRange {
    range: Range<usize>,
    /// Among the inflated octets.
    inflated: bool,
}

impl PayloadRange {
    /// Among the received octets.
    #[inline]
    pub(super) fn received(range: Range<usize>) -> PayloadRange {
        PayloadRange { range, inflated: false }
    }

    /// Among the inflated octets.
    pub(super) fn inflated(range: Range<usize>) -> PayloadRange {
        PayloadRange { range, inflated: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl RecvBuffer {
    /// An empty buffer that has allocated nothing.
    #[must_use]
    pub fn new() -> RecvBuffer {
        RecvBuffer::default()
    }

    /// A buffer with room for this many octets.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> RecvBuffer {
        RecvBuffer { octets: vec![0; capacity], ..RecvBuffer::default() }
    }

    /// Whether nothing is left here that has to be kept: neither undecoded octets nor a message in
    /// parts, even if all that has come of it was delivered.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holds_nothing() && !self.incoming.in_message
    }

    #[inline]
    fn holds_nothing(&self) -> bool {
        self.held == self.held_end && self.read == self.end
    }

    /// Octets that are not decoded yet.
    #[inline]
    #[must_use]
    pub fn unread(&self) -> usize {
        self.end - self.read
    }

    /// Whether decoding on could give an event without more octets: after
    /// [`wants_read`](super::Connection::wants_read) had been false, or
    /// [`has_inflate_work`](super::DriverView::has_inflate_work) true.
    #[inline]
    #[must_use]
    pub fn has_undecoded(&self) -> bool {
        self.unread() > 0 || self.incoming.unfinished
    }

    /// Octets that are kept: undecoded ones and the payload of a message in parts. Can be 0 in the
    /// middle of a message of which all that came was delivered, when
    /// [`is_empty`](RecvBuffer::is_empty) is false.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held_end - self.held + self.unread()
    }

    /// Octets of payload that have come of the message in progress, compressed if it is; 0 between
    /// messages.
    #[must_use]
    pub fn message_arrived(&self) -> u64 {
        self.incoming.announced - self.incoming.remaining
    }

    /// Octets that fit without allocating.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.octets.len()
    }

    /// Octets of memory that this buffer holds: its room, and that of what is inflated. What
    /// inflates is counted elsewhere ([`DeflateMemory`](crate::deflate::DeflateMemory)).
    #[inline]
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.octets.len() + self.inflated.octets.len()
    }

    /// Room to read into: at least `least` octets, as many as there are. Moves what is kept to the
    /// front if that makes the room, and grows if it does not.
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

    /// Says that the first `count` octets of [`spare`](RecvBuffer::spare) were written.
    ///
    /// # Panics
    /// If there is not so much room.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.octets.len() - self.end, "more octets than there was room for");
        self.end += count;
        self.changed();
    }

    /// Appends a copy of these octets, as if they had been read.
    pub fn extend_from_slice(&mut self, octets: &[u8]) {
        self.spare(octets.len())[..octets.len()].copy_from_slice(octets);
        self.filled(octets.len());
    }

    /// How many payload octets of the frame in progress have not arrived yet; 0 between frames. A
    /// driver can use it to make room for a large frame, growing with what arrives: it is the
    /// peer's word, up to [`Config::max_frame`](super::Config::max_frame).
    #[must_use]
    pub fn frame_remaining(&self) -> u64 {
        self.incoming.remaining
    }

    /// How many octets of the frame that is being decoded, or comes next, have not arrived, as far
    /// as that is known.
    pub(super) fn unreceived(&self) -> u64 {
        let len = if self.incoming.in_frame {
            self.incoming.remaining
        } else {
            Header::frame_len(self.undecoded()).unwrap_or(0)
        };
        len.saturating_sub(self.unread() as u64)
    }

    /// Moves what is kept into a buffer of its own, which has room for exactly that, and empties
    /// this one.
    #[must_use]
    pub fn park(&mut self) -> RecvBuffer {
        let mut parked = RecvBuffer::with_capacity(self.len());
        parked.absorb(self);
        parked
    }

    /// Moves what `other` keeps into this buffer, which is empty, and empties the other. Copies
    /// those octets.
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
        self.incoming = std::mem::take(&mut other.incoming);
        if self.incoming.inflater.is_some() {
            self.inflated = std::mem::take(&mut other.inflated);
        }
        other.clear();
    }

    /// Drops everything that is kept.
    pub fn clear(&mut self) {
        (self.held, self.held_end, self.read, self.end) = (0, 0, 0, 0);
        self.incoming.end();
        self.inflated.clear();
        self.changed();
    }

    /// Frees the room that only a large compressed message has needed. For the end of a turn: what
    /// the last event named is gone.
    #[inline]
    pub fn shrink(&mut self) {
        if self.incoming.inflater.is_none() {
            self.changed();
            self.inflated.shrink();
        }
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

    /// Tells this buffer in its present state from others.
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

    /// The undecoded octets.
    #[inline]
    pub(super) fn undecoded(&self) -> &[u8] {
        &self.octets[self.read..self.end]
    }

    /// The next `count` undecoded octets, to be unmasked in place.
    #[inline]
    pub(super) fn undecoded_mut(&mut self, count: usize) -> &mut [u8] {
        &mut self.octets[self.read..self.read + count]
    }

    /// Passes over `count` undecoded octets: a header, or a control frame. Between messages nothing
    /// is held, and the place where the next message begins moves along.
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

    /// Takes the next `count` undecoded octets, unmasked already, as a whole message: their range.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let range = self.read..self.read + count;
        self.skip(count);
        range
    }

    /// Takes a header and the payload behind it, where nothing is held: the payload's range.
    #[inline]
    pub(super) fn take_frame(&mut self, header_len: usize, payload_len: usize) -> Range<usize> {
        debug_assert_eq!(self.held, self.held_end, "a message is in progress");
        let start = self.read + header_len;
        let end = start + payload_len;
        (self.held, self.held_end, self.read) = (end, end, end);
        self.changed();
        start..end
    }

    /// Appends the next `count` undecoded octets, unmasked already, to the held payload: the range
    /// where they lie now.
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

    /// The payload at this place.
    #[inline]
    pub(super) fn at(&self, payload: &PayloadRange) -> &[u8] {
        if payload.inflated {
            return self.inflated.bytes(payload.range.clone());
        }
        &self.octets[payload.range.clone()]
    }

    /// Checks the newest piece of a text in parts, which lies at this place.
    pub(super) fn check_text(&mut self, payload: &PayloadRange) -> Result<(), Invalid> {
        let mut utf8 = self.incoming.utf8;
        let checked = utf8.push(self.at(payload));
        self.incoming.utf8 = utf8;
        checked
    }

    /// The held payload.
    pub(super) fn held(&self) -> Range<usize> {
        self.held..self.held_end
    }

    /// Gives up the first `count` held octets: their range, which stays readable until octets are
    /// added.
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

/// Payload is inflated in pieces of so many octets, counted from its first one, with a look at what
/// each took: they can come to nothing, and to a thousand times as much.
pub(super) const INPUT: usize = 4 << 10;

/// What one call of [`RecvBuffer::inflate`] came to.
pub(super) struct Piece {
    pub(super) progress: Progress,
    /// Where it lies among the inflated octets.
    pub(super) range: Range<usize>,
    /// There may be more of what is held.
    pub(super) more: bool,
    /// It has filled its room.
    pub(super) full: bool,
}

/// Inflating: the payload that is held goes, and what it comes to is added to the inflated octets.
impl RecvBuffer {
    /// Begins to inflate the message in progress.
    pub(super) fn begin_inflating(&mut self, inflater: Box<Inflater>) {
        self.inflated.begin();
        self.incoming.inflater = Some(inflater);
    }

    /// Inflates some of what is held, and the end of the message if all of it has `arrived`, to no
    /// more than `most` octets: how far that came, where it lies, whether there is more to be had,
    /// and whether there was no room for that. `None` if what inflates it was taken back.
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

    /// How many octets of the message in progress were inflated so far, and from how many.
    pub(super) fn inflated(&self) -> (u64, u64) {
        self.incoming.inflater.as_ref().map_or((0, 0), |inflater| (inflater.inflated(), inflater.consumed()))
    }

    /// Gives out what is inflated, but for the last `pending` octets.
    pub(super) fn release_inflated(&mut self, pending: usize) -> PayloadRange {
        let count = self.inflated.held().len() - pending;
        PayloadRange::inflated(self.inflated.release(count))
    }
}

/// The room that a message gets first, and by how much a text in chunks is inflated at a time.
const FIRST: usize = 4 << 10;
/// The most octets that one call inflates, so that each piece is checked while it is in cache.
const STEP: usize = 64 << 10;
/// Room up to this size is kept for the next message.
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

    /// Frees room that few messages need.
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

    /// What is inflated and not given out.
    fn held(&self) -> Range<usize> {
        self.start..self.end
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.octets[range]
    }

    /// Room for what is inflated next: at least one octet, and at most `most`, which is not 0. Of a
    /// whole message no more than `limit` octets and one are ever held, of chunks one step and what
    /// the last one has left over.
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
            // One octet more than the limit, to see whether there are more.
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

    /// Notes that so many octets of [`room`](Inflated::room) were written: where they lie.
    fn written(&mut self, count: usize) -> Range<usize> {
        self.end += count;
        self.end - count..self.end
    }

    /// Gives out the first `count` octets: their range, which stays readable until the next room is
    /// made.
    fn release(&mut self, count: usize) -> Range<usize> {
        self.start += count;
        self.start - count..self.start
    }
}
