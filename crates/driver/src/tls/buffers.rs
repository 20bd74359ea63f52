//! The buffers that a thread lends for one read or one write, and what is left over from them.

use std::cell::RefCell;

/// The buffers of a thread. They are allocated when the thread first reads or writes TLS.
pub(super) struct Buffers {
    incoming: Vec<u8>,
    gather: Vec<u8>,
    ciphertext: Vec<u8>,
}

thread_local! {
    /// One for each TLS session that is inside another one on this thread.
    static FREE: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

impl Buffers {
    /// Lends the thread's buffers to `act`.
    pub(super) fn lend<R>(act: impl FnOnce(&mut Buffers) -> R) -> R {
        // A session may be dropped when the thread ends, after its buffers.
        let free = FREE.try_with(|free| free.borrow_mut().pop());
        let mut lent = free.ok().flatten().unwrap_or_else(|| Buffers {
            incoming: vec![0; INCOMING],
            gather: Vec::new(),
            ciphertext: Vec::new(),
        });
        let result = act(&mut lent);
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(lent);
            }
        });
        result
    }

    /// Lends the buffer for ciphertext that arrives, with `tail` at its front.
    pub(super) fn take_incoming(&mut self, tail: &mut Vec<u8>) -> Incoming<'_> {
        let len = tail.len();
        if len > 0 {
            if self.incoming.len() < len + INCOMING {
                self.incoming.resize(len + INCOMING, 0);
            }
            self.incoming[..len].copy_from_slice(tail);
            *tail = Vec::new();
        } else if self.incoming.len() > 2 * INCOMING {
            self.incoming.truncate(INCOMING);
            self.incoming.shrink_to_fit();
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

/// Decrypted bytes that nobody has read yet.
#[derive(Default)]
pub(super) struct Plain {
    bytes: Vec<u8>,
    read: usize,
}

impl Plain {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.read
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves as much as fits into `target`. Once everything is read, the memory is freed.
    pub(super) fn read(&mut self, target: &mut [u8]) -> usize {
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

/// The size of the buffer for ciphertext that arrives: several of the longest records.
const INCOMING: usize = 96 << 10;

/// The least room for one read: a ClientHello, or a record of short messages.
const LEAST: usize = 4 << 10;

/// Room for what a record has beside its payload, and a little more.
const OVERHEAD: usize = 256;

/// The most buffers that a thread keeps: a session, and one inside it.
const KEPT: usize = 2;
