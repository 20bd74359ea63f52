//! The buffers that a thread lends for one read or one write, and what is left over from them.

use super::outgoing::Outgoing;
use std::cell::RefCell;

/// The buffers of a thread. They are allocated when the thread first reads or writes TLS.
pub(super) struct Buffers {
    incoming: Vec<u8>,
    gather: Vec<u8>,
    ciphertext: Vec<u8>,
}

thread_local! {
    /// One for each TLS session that is inside another one on this thread.
    #[allow(clippy::vec_box, reason = "a box is lent and taken back by its address")]
    static FREE: RefCell<Vec<Box<Buffers>>> = const { RefCell::new(Vec::new()) };
}

impl Buffers {
    /// Lends the thread's buffers to `act`.
    pub(super) fn lend<R>(act: impl FnOnce(&mut Buffers) -> R) -> R {
        // A session may be dropped when the thread ends, after its buffers.
        let free = FREE.try_with(|free| free.borrow_mut().pop());
        let mut lent = free.ok().flatten().unwrap_or_else(Buffers::make);
        let result = act(&mut lent);
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(lent);
            }
        });
        result
    }

    #[cold]
    fn make() -> Box<Buffers> {
        Box::new(Buffers { incoming: vec![0; INCOMING], gather: Vec::new(), ciphertext: Vec::new() })
    }

    /// Lends the buffer for ciphertext that arrives, with `tail` at its front.
    pub(super) fn take_incoming(&mut self, tail: &[u8]) -> Incoming<'_> {
        let len = tail.len();
        if len > 0 {
            if self.incoming.len() < len + INCOMING {
                self.incoming.resize(len + INCOMING, 0);
            }
            self.incoming[..len].copy_from_slice(tail);
        }
        Incoming { buffer: &mut self.incoming, start: 0, end: len }
    }

    /// The buffer to gather short slices in, and the one for ciphertext.
    pub(super) fn for_writing(&mut self) -> (&mut Vec<u8>, &mut Vec<u8>) {
        (&mut self.gather, &mut self.ciphertext)
    }
}

/// Ciphertext that has arrived, in the buffer of the thread.
pub(super) struct Incoming<'a> {
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl Incoming<'_> {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// Room for what the transport has, but not for much more than the ciphertext of `wanted`
    /// bytes: what is decrypted beyond them has to be kept.
    pub(super) fn room(&mut self, wanted: usize) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let size = (wanted + wanted / 512 + OVERHEAD).max(LEAST).min(self.buffer.len() - self.end);
        &mut self.buffer[self.end..self.end + size]
    }

    pub(super) fn add(&mut self, count: usize) {
        self.end += count;
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// What is left: part of a record. Without capacity if there is nothing.
    pub(super) fn rest(self) -> Vec<u8> {
        self.buffer[self.start..self.end].to_vec()
    }
}

/// What a session keeps from one call to the next, in one box. At rest there is nothing, and no box.
#[derive(Default)]
pub(super) struct Kept(Option<Box<Parts>>);

#[derive(Default)]
struct Parts {
    /// Ciphertext received that is not complete yet.
    tail: Vec<u8>,
    plain: Plain,
    outgoing: Outgoing,
}

impl Kept {
    fn parts(&mut self) -> &mut Parts {
        self.0.get_or_insert_default()
    }

    /// Frees the box if there is nothing in it.
    pub(super) fn tidy(&mut self) {
        self.0.take_if(|parts| parts.tail.is_empty() && parts.plain.is_empty() && parts.outgoing.is_idle());
    }

    /// The bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| {
            size_of::<Parts>() + parts.tail.capacity() + parts.plain.bytes.capacity() + parts.outgoing.held()
        })
    }

    /// Ciphertext received that is not complete yet.
    pub(super) fn tail(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |parts| &parts.tail)
    }

    pub(super) fn take_tail(&mut self) -> Vec<u8> {
        self.0.as_mut().map(|parts| std::mem::take(&mut parts.tail)).unwrap_or_default()
    }

    pub(super) fn set_tail(&mut self, tail: Vec<u8>) {
        if !tail.is_empty() {
            self.parts().tail = tail;
        }
    }

    /// Appends ciphertext received.
    pub(super) fn push_tail(&mut self, ciphertext: &[u8]) {
        if !ciphertext.is_empty() {
            self.parts().tail.extend_from_slice(ciphertext);
        }
    }

    /// The number of decrypted bytes that nobody has read yet.
    pub(super) fn plain_len(&self) -> usize {
        self.0.as_ref().map_or(0, |parts| parts.plain.len())
    }

    pub(super) fn push_plain(&mut self, bytes: &[u8]) {
        self.parts().plain.push(bytes);
    }

    /// Moves as many decrypted bytes as fit into `target`.
    pub(super) fn read_plain(&mut self, target: &mut [u8]) -> usize {
        self.0.as_mut().map_or(0, |parts| parts.plain.read(target))
    }

    /// Drops what was received and not read.
    pub(super) fn drop_received(&mut self) {
        if let Some(parts) = &mut self.0 {
            (parts.tail, parts.plain) = (Vec::new(), Plain::default());
        }
    }

    /// Ciphertext that has not left; `None` if there is none.
    pub(super) fn outgoing(&mut self) -> Option<&mut Outgoing> {
        self.0.as_mut().map(|parts| &mut parts.outgoing).filter(|outgoing| !outgoing.is_idle())
    }

    /// Whether there is ciphertext that has not left.
    pub(super) fn has_ciphertext_to_send(&self) -> bool {
        self.0.as_ref().is_some_and(|parts| !parts.outgoing.is_empty())
    }

    /// Drops ciphertext that has not left: nothing can be sent any more.
    pub(super) fn drop_outgoing(&mut self) {
        if let Some(parts) = &mut self.0 {
            parts.outgoing.drop_all();
        }
    }

    /// The queue for ciphertext that has not left.
    pub(super) fn make_outgoing(&mut self) -> &mut Outgoing {
        &mut self.parts().outgoing
    }
}

/// Decrypted bytes that nobody has read yet.
#[derive(Default)]
struct Plain {
    bytes: Vec<u8>,
    read: usize,
}

impl Plain {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.read
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves as much as fits into `target`. Once everything is read, the memory is freed.
    fn read(&mut self, target: &mut [u8]) -> usize {
        let rest = &self.bytes[self.read..];
        let count = rest.len().min(target.len());
        target[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        if self.read == self.bytes.len() {
            *self = Plain::default();
        }
        count
    }
}

/// The size of the buffer for ciphertext that arrives: what a turn reads of a long message at once,
/// and a record.
const INCOMING: usize = 272 << 10;

/// The least room for one read: a ClientHello, or a record of short messages.
const LEAST: usize = 4 << 10;

/// Room for what a record has beside its payload, and a little more.
const OVERHEAD: usize = 256;

/// The most buffers that a thread keeps: a session, and one inside it.
const KEPT: usize = 2;
