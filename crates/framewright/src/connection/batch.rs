//! Messages that leave together on many connections: the frames are joined once, and each
//! connection writes them as they are, without a buffer of its own.

use super::send::Prepared;
use super::{CompressionStats, Connection};
use crate::deflate::{DeflateState, Form};
use crate::role::Role;
use std::sync::Arc;
use std::time::Instant;

/// Prepared messages that many connections of a server send together, each in one write.
///
/// For [`DriverAccess::send_batch`](super::DriverAccess::send_batch). The frames are joined when
/// the first connection sends them, and once more for each set of negotiated parameters that
/// compresses them differently. A single message is not copied at all.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Prepared>,
    /// Bytes of all payloads.
    payload: u64,
    /// Bytes of all frames, uncompressed.
    octets: usize,
    /// The uncompressed frames, if there are several; empty until they are needed.
    plain: Vec<u8>,
    compressed: Vec<Joined>,
}

/// The frames of a batch for connections that compress them in these forms.
#[derive(Debug)]
struct Joined {
    /// For each message; `None` if it is not compressed.
    forms: Box<[Option<Form>]>,
    /// For each message: whether its compressed form is the shorter one, and is sent.
    compressed: Box<[bool]>,
    frames: Frames,
    counted: CompressionStats,
}

#[derive(Debug)]
enum Frames {
    One(Arc<[u8]>),
    Several(Vec<u8>),
}

/// The result of [`DriverAccess::send_batch`](super::DriverAccess::send_batch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "what a driver has to handle")]
pub struct BatchSent {
    /// Bytes are left that the writer has not taken. They are queued.
    pub left: bool,
    /// The messages that are sent compressed, and their sizes.
    pub compression: CompressionStats,
}

/// Why a connection does not send a batch as it is. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a driver has to handle each")]
pub enum BatchRefused {
    /// Bytes are queued, a message is being sent in fragments, the connection is not open or is a
    /// client's, or several messages exceed its high-water mark together: send them one by one.
    NotNow,
    /// The first connection with its parameters compresses the messages: lend it a codec, and try
    /// again.
    NeedsCodec,
}

impl Batch {
    /// Makes an empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a message behind the others.
    pub fn push(&mut self, message: Prepared) {
        self.octets += message.plain.frame.len();
        self.payload += message.payload_len() as u64;
        self.messages.push(message);
        self.plain.clear();
        self.compressed.clear();
    }

    /// Removes all messages, and keeps the memory.
    pub fn clear(&mut self) {
        (self.octets, self.payload) = (0, 0);
        self.messages.clear();
        self.plain.clear();
        self.compressed.clear();
    }

    /// The messages, in order.
    #[must_use]
    pub fn messages(&self) -> &[Prepared] {
        &self.messages
    }

    /// Bytes of all frames, uncompressed.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Bytes of all payloads, uncompressed.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Bytes of memory that the joined frames hold.
    #[must_use]
    pub fn allocated(&self) -> usize {
        let compressed = self.compressed.iter().map(|joined| match &joined.frames {
            Frames::One(_) => 0,
            Frames::Several(frames) => frames.capacity(),
        });
        self.plain.capacity() + compressed.sum::<usize>()
    }

    /// The uncompressed frames, one behind the other.
    #[inline]
    fn plain(&mut self) -> (&[u8], Option<&Arc<[u8]>>) {
        let Batch { messages, octets, plain, .. } = self;
        if let [one] = &messages[..] {
            return (&one.plain.frame, Some(&one.plain.frame));
        }
        if plain.len() != *octets {
            join(messages, plain);
        }
        (plain, None)
    }

    /// The index of the frames for a connection that compresses.
    fn joined_for(
        &mut self,
        deflate: &mut DeflateState,
        forms: impl Fn(&DeflateState, &Prepared) -> Option<Form>,
    ) -> Result<usize, BatchRefused> {
        let is_for = |joined: &Joined| {
            let mut wanted = self.messages.iter().map(|message| forms(deflate, message));
            joined.forms.iter().all(|form| wanted.next() == Some(*form))
        };
        if let Some(found) = self.compressed.iter().position(is_for) {
            return Ok(found);
        }
        let forms = self.messages.iter().map(|message| forms(deflate, message)).collect();
        let joined = Joined::new(&self.messages, forms, deflate)?;
        self.compressed.push(joined);
        Ok(self.compressed.len() - 1)
    }
}

fn join(messages: &[Prepared], plain: &mut Vec<u8>) {
    plain.clear();
    messages.iter().for_each(|message| plain.extend_from_slice(&message.plain.frame));
}

impl Joined {
    fn new(
        messages: &[Prepared],
        forms: Box<[Option<Form>]>,
        deflate: &mut DeflateState,
    ) -> Result<Joined, BatchRefused> {
        let mut counted = CompressionStats::default();
        let mut frames = Vec::with_capacity(messages.len());
        let mut compressed = Vec::with_capacity(messages.len());
        for (message, form) in messages.iter().zip(&forms) {
            let encoded = match form {
                Some(form) if message.has_form(*form) || deflate.has_codec() => {
                    message.in_form(*form, deflate)
                }
                Some(_) => return Err(BatchRefused::NeedsCodec),
                None => None,
            };
            if let Some(encoded) = &encoded {
                counted.messages_sent += 1;
                counted.bytes_sent += message.payload_len() as u64;
                counted.compressed_bytes_sent += encoded.payload().len() as u64;
            }
            compressed.push(encoded.is_some());
            frames.push(encoded.map_or_else(|| Arc::clone(&message.plain.frame), |encoded| encoded.frame));
        }
        let frames = match &frames[..] {
            [one] => Frames::One(Arc::clone(one)),
            several => Frames::Several(several.concat()),
        };
        Ok(Joined { forms, compressed: compressed.into(), frames, counted })
    }
}

impl Connection {
    /// See [`DriverAccess::send_batch`](super::DriverAccess::send_batch).
    #[inline]
    pub(super) fn send_batch(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        write: impl FnOnce(&[u8]) -> usize,
    ) -> Result<BatchSent, BatchRefused> {
        let is_free = self.role == Role::Server
            && self.check_message().is_ok()
            && self.transmit_buffer.as_ref().is_none_or(|buffer| buffer.is_empty())
            && (batch.messages.len() == 1 || batch.octets <= self.config.high_water);
        if !is_free {
            return Err(BatchRefused::NotNow);
        }
        if self.deflate.is_some() {
            return self.send_compressed_batch(now, batch, write);
        }
        let (frames, shared) = batch.plain();
        let taken = write(frames);
        let left = taken < frames.len();
        if left {
            self.queue_rest(frames, shared, taken);
        }
        self.count_batch(batch);
        if left {
            self.rest_is_queued(now);
        }
        Ok(BatchSent { left, compression: CompressionStats::default() })
    }

    fn send_compressed_batch(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        write: impl FnOnce(&[u8]) -> usize,
    ) -> Result<BatchSent, BatchRefused> {
        let Connection { deflate: Some(deflate), config, role, .. } = self else {
            return Err(BatchRefused::NotNow);
        };
        let form = |deflate: &DeflateState, message: &Prepared| {
            message.forms.as_ref().and_then(|_| deflate.prepared_form(message.payload_len(), *role, config))
        };
        let index = batch.joined_for(deflate, form)?;
        let Joined { compressed, frames, counted, .. } = &batch.compressed[index];
        for (message, _) in batch.messages.iter().zip(compressed).filter(|(_, compressed)| **compressed) {
            deflate.remember_prepared(message.plain.payload(), *role, config);
        }
        let (frames, shared) = match frames {
            Frames::One(frame) => (&**frame, Some(frame)),
            Frames::Several(frames) => (&frames[..], None),
        };
        let sent = BatchSent { left: false, compression: *counted };
        let taken = write(frames);
        if taken == frames.len() {
            self.count_batch(batch);
            return Ok(sent);
        }
        self.queue_rest(frames, shared, taken);
        self.count_batch(batch);
        self.rest_is_queued(now);
        Ok(BatchSent { left: true, ..sent })
    }

    #[inline]
    fn count_batch(&mut self, batch: &Batch) {
        batch.messages.iter().for_each(|message| self.count_sent(message.payload_len(), true));
    }

    /// Queues the bytes of `frames` behind the first `taken`, which the transport has.
    #[cold]
    fn queue_rest(&mut self, frames: &[u8], shared: Option<&Arc<[u8]>>, taken: usize) {
        assert!(taken <= frames.len(), "more octets taken than were shown");
        match shared {
            Some(frame) => self.buffer_mut().push_shared_rest(frame, taken),
            None => self.buffer_mut().push_rest(&frames[taken..]),
        }
    }

    #[cold]
    fn rest_is_queued(&mut self, now: Instant) {
        self.note_queued();
        self.transmitted(now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Config, Message, State, Transmit};
    use crate::handshake::Negotiated;
    use std::io::IoSlice;

    fn server(config: Config) -> Connection {
        Connection::server(Arc::new(config), Negotiated::default(), Instant::now())
    }

    fn batch(messages: &[&str]) -> Batch {
        let mut batch = Batch::new();
        messages.iter().for_each(|text| batch.push(Prepared::from(*text)));
        batch
    }

    /// What the connection has queued.
    fn queued(connection: &mut Connection) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 4];
        match connection.poll_transmit(&mut slices) {
            Transmit::Bytes { slices: used, .. } => {
                slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The frames of these messages, sent one by one.
    fn one_by_one(messages: &[&str]) -> Vec<u8> {
        let mut connection = server(Config::default());
        messages.iter().for_each(|text| connection.send_text(text).unwrap());
        queued(&mut connection)
    }

    #[test]
    fn a_batch_is_what_its_messages_are_one_by_one_whatever_the_writer_takes() {
        let long = "x".repeat(5000);
        for messages in [&["one"][..], &["one", "two", "three"], &[""], &[&long], &["a", &long, "b"]] {
            let wanted = one_by_one(messages);
            for most in [0, 1, 3, 7, 4100, usize::MAX] {
                let mut connection = server(Config::default());
                let mut wire = Vec::new();
                let sent = connection.send_batch(Instant::now(), &mut batch(messages), |frames| {
                    let taken = frames.len().min(most);
                    wire.extend_from_slice(&frames[..taken]);
                    taken
                });
                let left = wire.len() < wanted.len();
                assert_eq!(sent, Ok(BatchSent { left, compression: CompressionStats::default() }));
                assert_eq!(connection.buffered(), wanted.len() - wire.len());
                let deadline = connection.driver_view().poll_write_timeout();
                assert_eq!(deadline.is_some(), left, "the deadline of a slow peer");
                wire.extend(queued(&mut connection));
                assert_eq!(wire, wanted);
                let bytes = messages.iter().map(|text| text.len() as u64).sum();
                assert_eq!(connection.stats().messages_sent, messages.len() as u64);
                assert_eq!(connection.stats().bytes_sent, bytes);
            }
        }
    }

    #[test]
    fn a_connection_with_anything_else_to_send_takes_no_batch() {
        let now = Instant::now();
        let small = Config { high_water: 8, ..Config::default() };
        let mut several = batch(&["one", "two", "three"]);
        let refused = |connection: &mut Connection, batch: &mut Batch| {
            let sent = connection.send_batch(now, batch, |_| panic!("nothing is written"));
            assert_eq!(sent, Err(BatchRefused::NotNow));
        };
        let mut queues = server(Config::default());
        queues.send_text("before").unwrap();
        refused(&mut queues, &mut several);
        let mut fragments = server(Config::default());
        fragments.send_fragment(Message::Text("begun"), false).unwrap();
        let count = fragments.buffered();
        fragments.transmitted(now, count);
        refused(&mut fragments, &mut several);
        let mut closing = server(Config::default());
        closing.close(None, "").unwrap();
        let count = closing.buffered();
        closing.transmitted(now, count);
        assert_eq!(closing.state(), State::Closing);
        refused(&mut closing, &mut several);
        refused(&mut server(small.clone()), &mut several);
        assert!(server(small).send_batch(now, &mut batch(&["one that is long"]), <[u8]>::len).is_ok());
    }

    #[test]
    fn a_batch_serves_again_when_it_is_cleared() {
        let mut connection = server(Config::default());
        let mut batch = batch(&["one", "two"]);
        for messages in [&["one", "two"][..], &["three", "four", "five"], &["six"]] {
            batch.clear();
            messages.iter().for_each(|text| batch.push(Prepared::from(*text)));
            assert_eq!(batch.octets(), one_by_one(messages).len());
            let mut wire = Vec::new();
            let write = |frames: &[u8]| {
                wire.extend_from_slice(frames);
                frames.len()
            };
            connection.send_batch(Instant::now(), &mut batch, write).unwrap();
            assert_eq!(wire, one_by_one(messages));
        }
    }
}
