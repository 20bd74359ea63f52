//! Ciphertext on its way to the transport, and how many bytes of the writer's it stands for.

use crate::transport::{Io, Transport};
use rustls::unbuffered::EncryptError;
use std::io::IoSlice;

/// The most bytes of payload in a record (RFC 8446, section 5.1).
const RECORD: usize = 16 << 10;

/// The length of a record's header, whose last two bytes are the length of the rest.
const HEADER: usize = 5;

/// Ciphertext that the transport has not taken yet. Without capacity most of the time.
///
/// The bytes of a writer count as written when the record that holds them has left: see
/// [`report`](Outgoing::report).
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the records of the writer begin in `bytes`; records of our own come before.
    from: usize,
    /// Where the first record begins that has not left, at `from` or behind.
    record: usize,
    /// Bytes of the writer's that were encrypted and not reported.
    ahead: usize,
    /// Bytes that a record is longer than its payload.
    overhead: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The queue for records of our own. Append only.
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Queues `ciphertext`, which stands for `count` bytes of the writer, behind records of our own.
    /// With none, writes it at once, and keeps what the transport does not take.
    pub(super) fn queue(&mut self, count: usize, ciphertext: &[u8], transport: &mut impl Transport) {
        self.ahead = count;
        self.overhead = overhead(ciphertext, count);
        if !self.bytes.is_empty() {
            self.from = self.bytes.len();
            self.record = self.from;
            self.bytes.extend_from_slice(ciphertext);
            return;
        }
        (self.from, self.record) = (0, 0);
        match transport.write(&[IoSlice::new(ciphertext)]) {
            Io::Moved(sent) if sent == ciphertext.len() => {}
            io => {
                // What has failed fails again.
                self.sent = if let Io::Moved(sent) = io { sent } else { 0 };
                self.bytes = ciphertext.to_vec();
            }
        }
    }

    /// Writes what is queued until the transport takes no more. Returns [`Io::Moved`] when nothing
    /// is left.
    pub(super) fn send(&mut self, transport: &mut impl Transport) -> Io {
        while self.sent < self.bytes.len() {
            match transport.write(&[IoSlice::new(&self.bytes[self.sent..])]) {
                Io::Moved(0) | Io::Lost => return Io::Lost,
                Io::Moved(count) => self.sent += count,
                Io::Blocked => return Io::Blocked,
            }
        }
        let Outgoing { ahead, .. } = *self;
        *self = Outgoing { ahead, ..Outgoing::default() };
        Io::Moved(0)
    }

    /// Takes the number of bytes of the writer's whose records have left since the last call.
    pub(super) fn report(&mut self) -> usize {
        if self.bytes.is_empty() {
            return std::mem::take(&mut self.ahead);
        }
        let mut done = 0;
        while let Some(len) = record_len(&self.bytes[self.record.min(self.bytes.len())..])
            && self.record + len <= self.sent
        {
            done += len.saturating_sub(self.overhead);
            self.record += len;
        }
        // The last byte has left when everything has.
        let done = done.min(self.ahead.saturating_sub(1));
        self.ahead -= done;
        done
    }
}

/// The length of the record at the front of `ciphertext`, header included; `None` if its header is
/// not complete.
fn record_len(ciphertext: &[u8]) -> Option<usize> {
    let header = ciphertext.first_chunk::<HEADER>()?;
    Some(HEADER + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

/// The bytes that each record of `ciphertext` is longer than its payload; the payloads have `count`
/// bytes together.
fn overhead(ciphertext: &[u8], count: usize) -> usize {
    let (mut rest, mut records) = (ciphertext, 0);
    while let Some(len) = record_len(rest) {
        rest = rest.get(len..).unwrap_or_default();
        records += 1;
    }
    (ciphertext.len() - count.min(ciphertext.len())).div_ceil(records.max(1))
}

/// Encrypts up to `most` bytes from the front of `slices` into the front of `ciphertext`, in as few
/// records as possible. Returns the number of bytes, and of those of the ciphertext. `gather` is for
/// records whose payload lies in several slices.
///
/// # Errors
/// If the keys of the session are used up.
pub(super) fn encrypt(
    slices: &[IoSlice<'_>],
    most: usize,
    gather: &mut Vec<u8>,
    ciphertext: &mut Vec<u8>,
    mut record: impl FnMut(&[u8], &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(usize, usize), rustls::Error> {
    let total = slices.iter().map(|slice| slice.len()).sum::<usize>().min(most);
    let mut end = 0;
    let mut left = total;
    let mut slices = slices.iter().map(|slice| &**slice);
    let mut slice = slices.next().unwrap_or_default();
    while left > 0 {
        let whole = slice.len().min(left);
        let direct = if whole == left { whole } else { whole - whole % RECORD };
        let chunk = if direct > 0 {
            let (chunk, rest) = slice.split_at(direct);
            slice = rest;
            chunk
        } else {
            gather.clear();
            let wanted = left.min(RECORD);
            while gather.len() < wanted {
                let (part, rest) = slice.split_at(slice.len().min(wanted - gather.len()));
                gather.extend_from_slice(part);
                slice = if rest.is_empty() { slices.next().unwrap_or_default() } else { rest };
            }
            &gather[..]
        };
        left -= chunk.len();
        end += encrypt_chunk(chunk, ciphertext, end, &mut record)?;
    }
    Ok((total, end))
}

/// Encrypts `chunk` into `ciphertext[end..]`, and returns how many bytes that took.
fn encrypt_chunk(
    chunk: &[u8],
    ciphertext: &mut Vec<u8>,
    end: usize,
    record: &mut impl FnMut(&[u8], &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<usize, rustls::Error> {
    let mut room = chunk.len() + (chunk.len() / RECORD + 1) * 64;
    loop {
        if ciphertext.len() < end + room {
            ciphertext.resize(end + room, 0);
        }
        match record(chunk, &mut ciphertext[end..]) {
            Ok(len) => return Ok(len),
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}
