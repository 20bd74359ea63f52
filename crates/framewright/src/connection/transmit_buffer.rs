//! The bytes queued: one contiguous vector of encoded frames, and between them blocks stored
//! elsewhere: shared frames, and payloads passed by value.

use crate::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, OpCode, SHORT_FRAME, encode_short};
use framewright_simd::copy_masked;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Deref;
use std::sync::Arc;

/// A block of fewer bytes is copied into the vector: a copy is cheaper than one more slice to
/// write.
const SHARE_FROM: usize = 4096;

/// The number of blocks whose room is kept once all blocks are sent.
const KEPT_BLOCKS: usize = 32;

/// Pongs are queued while fewer bytes than this are queued up to the end of the last one. Beyond
/// that, one slot holds the answer to the newest Ping.
const PONGS_QUEUED: u64 = 1024;

/// The outgoing bytes of one connection.
///
/// A driver can lend one buffer to each connection in turn
/// ([`DriverAccess::lend_transmit_buffer`](super::DriverAccess::lend_transmit_buffer)), so that a
/// connection at rest holds none. Without that, a connection makes its own when it first sends, and
/// keeps it.
///
/// ```text
///   octets:  | sent | frame frame |        | frame frame | room (initialised) |
///                                 ^ shared frame (an Arc), or a payload  ^ end
/// ```
#[derive(Debug, Default)]
pub struct TransmitBuffer {
    octets: Vec<u8>,
    /// How many of `octets` were transmitted.
    sent: usize,
    /// Where the bytes queued in `octets` end.
    end: usize,
    blocks: VecDeque<Block>,
    /// The newest Pong that was not queued, as too many were.
    pong: Option<PongSlot>,
    /// Bytes queued and transmitted since this buffer was made.
    queued_total: u64,
    sent_total: u64,
    /// Where the last queued Pong ends, as a value of `queued_total`.
    pongs_end: u64,
    /// Where the last keep-alive Ping ends, as a value of `queued_total`.
    ping_end: u64,
    /// `sent_total` at the last call of [`has_progressed`](TransmitBuffer::has_progressed).
    sent_before: u64,
}

/// Bytes stored elsewhere, to be sent before the buffer's `octets[before..]`.
#[derive(Debug)]
struct Block {
    before: usize,
    octets: Elsewhere,
    sent: usize,
}

#[derive(Debug)]
enum Elsewhere {
    /// A frame that several connections send.
    Shared(Arc<[u8]>),
    /// The payload of a frame, passed by value by the application.
    Owned(Vec<u8>),
}

impl Deref for Elsewhere {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Elsewhere::Shared(octets) => octets,
            Elsewhere::Owned(octets) => octets,
        }
    }
}

#[derive(Debug)]
struct PongSlot {
    len: u8,
    data: [u8; MAX_CONTROL_PAYLOAD],
}

impl TransmitBuffer {
    /// Makes an empty buffer that has allocated nothing.
    #[must_use]
    pub fn new() -> TransmitBuffer {
        TransmitBuffer::default()
    }

    /// Makes an empty buffer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> TransmitBuffer {
        TransmitBuffer { octets: vec![0; capacity], ..TransmitBuffer::default() }
    }

    /// The buffer of a connection, made now if it was lent none.
    #[inline]
    pub(super) fn made(buffer: &mut Option<Box<TransmitBuffer>>) -> &mut TransmitBuffer {
        buffer.get_or_insert_with(TransmitBuffer::boxed)
    }

    #[cold]
    fn boxed() -> Box<TransmitBuffer> {
        Box::default()
    }

    /// The number of bytes that fit without allocating.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// The bytes of memory that this buffer holds. A frame that several connections send is divided
    /// among those that still hold it.
    pub(super) fn allocated(&self) -> usize {
        let elsewhere = self.blocks.iter().map(|block| match &block.octets {
            Elsewhere::Shared(octets) => octets.len() / Arc::strong_count(octets),
            Elsewhere::Owned(octets) => octets.capacity(),
        });
        self.octets.capacity() + elsewhere.sum::<usize>()
    }

    /// Whether no bytes are queued, and no Pong is pending.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued_total == self.sent_total && self.pong.is_none()
    }

    /// The number of bytes queued.
    #[inline]
    pub(super) fn len(&self) -> usize {
        // The difference counts bytes in memory, so it fits.
        usize::try_from(self.queued_total - self.sent_total).unwrap_or(usize::MAX)
    }

    /// Whether all bytes queued before `mark` were transmitted.
    fn has_sent(&self, mark: u64) -> bool {
        self.sent_total >= mark
    }

    /// Appends a frame without RSV bits.
    #[inline]
    pub(super) fn push(&mut self, fin: bool, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
        self.push_frame(fin, 0, opcode, payload, mask);
    }

    /// Appends a frame.
    #[inline(never)]
    pub(super) fn push_frame(
        &mut self,
        fin: bool,
        rsv: u8,
        opcode: OpCode,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) {
        let header = Header { fin, rsv, opcode, mask, payload_len: payload.len() as u64 };
        let room = self.room(MAX_HEADER_LEN + payload.len());
        let (head, _) = room.split_first_chunk_mut().expect("there is room for any header");
        let header_len = header.encode(head);
        let target = &mut room[header_len..header_len + payload.len()];
        match mask {
            None => target.copy_from_slice(payload),
            Some(key) => {
                copy_masked(target, payload, key, 0);
            }
        }
        self.end += header_len + payload.len();
        self.queued_total += (header_len + payload.len()) as u64;
    }

    /// Appends a whole message, unmasked.
    #[inline]
    pub(super) fn push_message(&mut self, opcode: OpCode, payload: &[u8]) {
        if let Some(room) = self.octets.get_mut(self.end..)
            && let Some(target) = room.first_chunk_mut::<SHORT_FRAME>()
            && let Some(written) = encode_short(target, opcode, payload)
        {
            self.end += written;
            self.queued_total += written as u64;
        } else {
            self.push(true, opcode, payload, None);
        }
    }

    fn append(&mut self, octets: &[u8]) {
        let end = self.end + octets.len();
        match self.octets.get_mut(self.end..end) {
            Some(room) => room.copy_from_slice(octets),
            None => {
                // This does not fill the new room with zeros first.
                self.octets.truncate(self.end);
                self.octets.extend_from_slice(octets);
            }
        }
        self.end = end;
    }

    /// Room for `len` bytes behind the bytes queued.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.end + len;
        if self.octets.len() < end {
            self.octets.resize(end, 0);
        }
        &mut self.octets[self.end..end]
    }

    /// Appends a frame that is already encoded and shared with other connections.
    pub(super) fn push_shared(&mut self, frame: &Arc<[u8]>) {
        self.queued_total += frame.len() as u64;
        if frame.len() < SHARE_FROM {
            self.append(frame);
            return;
        }
        self.push_block(Elsewhere::Shared(Arc::clone(frame)));
    }

    /// Appends the bytes of a shared frame behind the first `sent`, which the transport has taken.
    pub(super) fn push_shared_rest(&mut self, frame: &Arc<[u8]>, sent: usize) {
        let rest = &frame[sent..];
        if rest.len() < SHARE_FROM {
            return self.push_rest(rest);
        }
        self.queued_total += rest.len() as u64;
        let octets = Elsewhere::Shared(Arc::clone(frame));
        self.blocks.push_back(Block { before: self.end, octets, sent });
    }

    /// Appends the rest of encoded frames.
    pub(super) fn push_rest(&mut self, rest: &[u8]) {
        self.queued_total += rest.len() as u64;
        self.append(rest);
    }

    /// Appends a frame whose payload is passed by value, already masked if it has to be.
    pub(super) fn push_owned(&mut self, header: &Header, payload: Vec<u8>) {
        let mut octets = [0; MAX_HEADER_LEN];
        let header_len = header.encode(&mut octets);
        self.append(&octets[..header_len]);
        self.queued_total += (header_len + payload.len()) as u64;
        if payload.len() < SHARE_FROM {
            self.append(&payload);
        } else {
            self.push_block(Elsewhere::Owned(payload));
        }
    }

    fn push_block(&mut self, octets: Elsewhere) {
        self.blocks.push_back(Block { before: self.end, octets, sent: 0 });
    }

    /// Appends a frame, but offers its payload to `write` first, behind the bytes queued: only the
    /// bytes that `write` does not take are copied. `write` returns the number of bytes it took.
    pub(super) fn push_through(
        &mut self,
        header: &Header,
        payload: &[u8],
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> usize,
    ) {
        let mut octets = [0; MAX_HEADER_LEN];
        let header_len = header.encode(&mut octets);
        let frame_header = &octets[..header_len];
        let mut slices = [IoSlice::new(&[]); 8];
        let (mut used, mut shown) = self.slices(&mut slices[..6]);
        let waiting = self.len();
        if shown == waiting {
            slices[used] = IoSlice::new(frame_header);
            slices[used + 1] = IoSlice::new(payload);
            used += 2;
            shown += header_len + payload.len();
        }
        // The frame is queued only after `write`: if `write` panics, no header is left without its
        // payload.
        let taken = write(&slices[..used]);
        assert!(taken <= shown, "more octets taken than were shown");
        let of_frame = taken.saturating_sub(waiting);
        self.advance(taken - of_frame);
        let of_header = of_frame.min(header_len);
        let of_payload = of_frame - of_header;
        self.queued_total += (header_len + payload.len()) as u64;
        self.sent_total += of_frame as u64;
        self.append(&frame_header[of_header..]);
        self.append(&payload[of_payload..]);
    }

    /// Appends a keep-alive Ping.
    pub(super) fn push_ping(&mut self, data: &[u8], mask: Option<[u8; 4]>) {
        self.push(true, OpCode::Ping, data, mask);
        self.ping_end = self.queued_total;
    }

    /// Whether the last keep-alive Ping is still queued.
    pub(super) fn holds_ping(&self) -> bool {
        !self.has_sent(self.ping_end)
    }

    /// Answers a Ping. The Pong is queued while few bytes of Pongs are. Otherwise, or if the slot
    /// is taken, it goes into the slot and replaces an older Pong there.
    pub(super) fn push_pong(&mut self, data: &[u8], mask: impl FnOnce() -> Option<[u8; 4]>) {
        let few_wait = self.pongs_end.saturating_sub(self.sent_total) < PONGS_QUEUED;
        if few_wait && !self.holds_pong() {
            self.push(true, OpCode::Pong, data, mask());
            self.pongs_end = self.queued_total;
            return;
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.3
        //# If an endpoint receives a Ping frame and has not yet sent Pong
        //# frame(s) in response to previous Ping frame(s), the endpoint MAY
        //# elect to send a Pong frame for only the most recently processed Ping
        //# frame.
        let slot = self.pong.get_or_insert(PongSlot { len: 0, data: [0; MAX_CONTROL_PAYLOAD] });
        slot.len = u8::try_from(data.len()).expect("a control frame");
        slot.data[..data.len()].copy_from_slice(data);
    }

    /// Queues the Pong in the slot, once the queued Pongs were transmitted.
    pub(super) fn release_pong(&mut self, mask: impl FnOnce() -> Option<[u8; 4]>) {
        if !self.has_sent(self.pongs_end) {
            return;
        }
        let Some(slot) = self.pong.take() else { return };
        self.push(true, OpCode::Pong, &slot.data[..usize::from(slot.len)], mask());
        self.pongs_end = self.queued_total;
    }

    /// Drops the Pong in the slot: nothing may follow a Close.
    pub(super) fn drop_pong(&mut self) {
        self.pong = None;
    }

    /// Whether the slot holds a Pong for [`release_pong`](TransmitBuffer::release_pong).
    #[inline]
    pub(super) fn holds_pong(&self) -> bool {
        self.pong.is_some()
    }

    /// Fills `slices` with the bytes queued, in order. Returns how many slices were used, and how
    /// many bytes they cover.
    #[inline]
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> (usize, usize) {
        let (mut used, mut covered, mut from) = (0, 0, self.sent);
        let mut add = |octets: &'a [u8]| {
            if !octets.is_empty() && used < slices.len() {
                slices[used] = IoSlice::new(octets);
                used += 1;
                covered += octets.len();
            }
        };
        for item in &self.blocks {
            add(&self.octets[from..item.before]);
            add(&item.octets[item.sent..]);
            from = item.before;
        }
        add(&self.octets[from..self.end]);
        (used, covered)
    }

    /// Notes that `count` bytes were transmitted.
    ///
    /// # Panics
    /// If `count` is more than [`len`](TransmitBuffer::len).
    #[inline]
    pub(super) fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "more octets transmitted than wait");
        self.sent_total += count as u64;
        if !self.blocks.is_empty() {
            count = self.advance_blocks(count);
        }
        self.sent += count;
        if self.sent == self.end && self.blocks.is_empty() {
            (self.sent, self.end) = (0, 0);
        } else if self.sent >= 64 << 10 && self.sent >= self.end / 2 {
            self.give_up_sent();
        }
    }

    /// Notes that `count` bytes were transmitted, up to the end of the last block. Returns how many
    /// of them lie behind it.
    fn advance_blocks(&mut self, mut count: usize) -> usize {
        while let Some(item) = self.blocks.front_mut() {
            let of_octets = count.min(item.before - self.sent);
            self.sent += of_octets;
            count -= of_octets;
            let of_frame = count.min(item.octets.len() - item.sent);
            item.sent += of_frame;
            count -= of_frame;
            if item.sent < item.octets.len() {
                return 0;
            }
            self.blocks.pop_front();
        }
        if self.blocks.capacity() > KEPT_BLOCKS {
            self.blocks = VecDeque::new();
        }
        count
    }

    /// Moves the bytes queued to the front of the vector.
    fn give_up_sent(&mut self) {
        self.octets.copy_within(self.sent..self.end, 0);
        self.end -= self.sent;
        for item in &mut self.blocks {
            item.before -= self.sent;
        }
        self.sent = 0;
    }

    /// Whether any bytes were transmitted since the last call.
    #[inline]
    pub(super) fn has_progressed(&mut self) -> bool {
        std::mem::replace(&mut self.sent_before, self.sent_total) != self.sent_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode_frame;
    use proptest::prelude::*;

    fn join(slices: &[IoSlice<'_>]) -> Vec<u8> {
        slices.iter().flat_map(|slice| slice.iter().copied()).collect()
    }

    /// Transmits everything in steps of `step` bytes.
    #[expect(
        clippy::len_zero,
        reason = "with a Pong in the slot it is not empty, but nothing can be shown yet"
    )]
    fn transmit(outbox: &mut TransmitBuffer, step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while outbox.len() > 0 {
            let mut slices = [IoSlice::new(&[]); 4];
            let (used, covered) = outbox.slices(&mut slices);
            let joined = join(&slices[..used]);
            assert_eq!(joined.len(), covered);
            assert!(covered > 0, "something waits, so something is shown");
            let count = covered.min(step);
            wire.extend_from_slice(&joined[..count]);
            outbox.advance(count);
        }
        wire
    }

    proptest! {
        #[test]
        fn frames_of_all_kinds_leave_in_order_however_they_are_taken(
            frames in proptest::collection::vec((0..3u8, 0usize..9000), 1..20),
            step in 1usize..10_000,
            taken_at_once in 0usize..20_000,
        ) {
            let mut outbox = TransmitBuffer::default();
            let (mut expected, mut wire) = (Vec::new(), Vec::new());
            for (index, &(kind, len)) in frames.iter().enumerate() {
                let payload = vec![u8::try_from(index).unwrap(); len];
                let before = expected.len();
                encode_frame(&mut expected, true, OpCode::Binary, &payload, None);
                let header = Header { fin: true, rsv: 0, opcode: OpCode::Binary, mask: None, payload_len: len as u64 };
                match kind {
                    0 => outbox.push_shared(&Arc::from(&expected[before..])),
                    1 => outbox.push_owned(&header, payload),
                    _ => outbox.push_through(&header, &payload, &mut |slices| {
                        let shown = join(slices);
                        let taken = shown.len().min(taken_at_once);
                        wire.extend_from_slice(&shown[..taken]);
                        taken
                    }),
                }
                prop_assert_eq!(outbox.len(), expected.len() - wire.len());
            }
            wire.extend(transmit(&mut outbox, step));
            prop_assert_eq!(wire, expected);
            prop_assert!(outbox.end == 0 && outbox.blocks.is_empty());
        }
    }

    #[test]
    fn a_flood_of_pings_costs_a_kibibyte_and_a_slot_and_the_newest_wins() {
        let mut outbox = TransmitBuffer::default();
        for index in 0..100_000u32 {
            outbox.push_pong(&index.to_be_bytes(), || None);
        }
        assert!(outbox.len() < 2048);
        outbox.release_pong(|| None);
        transmit(&mut outbox, 7);
        outbox.release_pong(|| None);
        assert_eq!(transmit(&mut outbox, 64), [&[0x8A, 4][..], &99_999u32.to_be_bytes()].concat());
    }

    #[test]
    fn a_newer_pong_does_not_overtake_the_one_in_the_slot() {
        let mut outbox = TransmitBuffer::default();
        for index in 0..20u8 {
            outbox.push_pong(&[index; 125], || None);
        }
        assert!(outbox.holds_pong());
        outbox.advance(500); // there would be room again behind the bytes queued
        outbox.push_pong(b"newest", || None);
        let mut wire = transmit(&mut outbox, 100);
        outbox.release_pong(|| None);
        wire.extend(transmit(&mut outbox, 100));
        assert!(wire.ends_with(b"\x8A\x06newest"));
    }

    #[test]
    fn what_was_sent_is_given_up_though_a_shared_frame_always_waits() {
        let frame: Arc<[u8]> = vec![0; SHARE_FROM].into();
        let mut outbox = TransmitBuffer::default();
        outbox.push_shared(&frame);
        for index in 0..1000u16 {
            outbox.push(true, OpCode::Binary, &index.to_be_bytes().repeat(511), None);
            outbox.push_shared(&frame);
            let mut slices = [IoSlice::new(&[]); 3];
            outbox.slices(&mut slices);
            assert_eq!(slices[0].len() + slices[1].len(), SHARE_FROM + 1026);
            assert!(slices[1].ends_with(&index.to_be_bytes()));
            outbox.advance(SHARE_FROM + 1026);
        }
        assert_eq!(outbox.len(), SHARE_FROM);
        assert!(outbox.octets.capacity() < 1 << 20, "{} octets are held", outbox.octets.capacity());
    }

    #[test]
    fn a_shared_frame_is_shared_out_among_those_that_hold_it() {
        let frame: Arc<[u8]> = vec![0; 1 << 20].into();
        let [mut first, mut second] = [1000, 0].map(TransmitBuffer::with_capacity);
        assert_eq!((first.allocated(), second.allocated()), (1000, 0));
        first.push_shared(&frame);
        second.push_shared(&frame);
        assert_eq!((first.allocated(), second.allocated()), (1000 + (1 << 20) / 3, (1 << 20) / 3));
        drop((frame, second));
        assert_eq!(first.allocated(), 1000 + (1 << 20));
        first.advance(1 << 20);
        assert_eq!(first.allocated(), 1000);
    }

    #[test]
    fn the_room_that_was_made_stays_whatever_is_queued() {
        let mut outbox = TransmitBuffer::with_capacity(1000);
        for _ in 0..10 {
            outbox.push_pong(b"pong", || None);
            outbox.push(true, OpCode::Binary, &[1; 100], Some([1, 2, 3, 4]));
            outbox.push_message(OpCode::Text, b"short");
            outbox.push_message(OpCode::Text, &[b'x'; 300]);
            transmit(&mut outbox, 50);
            assert_eq!((outbox.octets.len(), outbox.end), (1000, 0));
        }
    }
}
