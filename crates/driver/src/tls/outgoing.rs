//! Ciphertext on its way to the transport, and how many bytes of the writer's it stands for.

use crate::transport::{Io, Transport};
use rustls::unbuffered::EncryptError;
use std::io::IoSlice;

/// The most bytes of payload in a record (RFC 8446, section 5.1).
const RECORD: usize = 16 << 10;

/// The length of a record's header, whose last two bytes are the length of the rest.
const HEADER: usize = 5;

/// Ciphertext that the transport has not taken yet.
///
/// ```text
///   bytes:  | records of our own | records of the writer | records of our own |
///                                ^ record                ^ until
/// ```
/// The bytes of a writer count as written when the record that holds them has left as a whole: see
/// [`report`](Outgoing::report).
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether the transport was asked to take them, and did not take all.
    is_offered: bool,
    /// Where the first record of the writer's begins that has not left as a whole.
    record: usize,
    /// Where the records of the writer end.
    until: usize,
    /// Payload in records before `record`, and that of records of our own among those of the writer.
    passed: usize,
    own: usize,
    /// Bytes of the writer's in the records, and how many of them were reported.
    count: usize,
    reported: usize,
    /// Bytes that a record of the writer's is longer than its payload.
    overhead: usize,
}

/// Records of a writer's, and the bytes that they stand for.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) ciphertext: &'a [u8],
    /// Where the records of the writer end in `ciphertext`. close_notify may lie behind them.
    pub(super) len: usize,
    /// The number of bytes of the writer's.
    pub(super) count: usize,
    /// Bytes that a record is longer than its payload.
    pub(super) overhead: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether there is nothing to send, and nothing to report.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.count == self.reported
    }

    /// Whether it has records of our own, and none of them has been offered to the transport.
    pub(super) fn is_new(&self) -> bool {
        self.until == 0 && self.sent == 0 && !self.is_offered && !self.bytes.is_empty()
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The queue for records of our own. Append only.
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Queues `records`, of which the transport has taken `sent` bytes, behind records of our own.
    /// If there are any of those, `sent` is 0.
    pub(super) fn queue(&mut self, records: Records<'_>, sent: usize) {
        let Records { ciphertext, len, count, overhead } = records;
        self.record = self.bytes.len();
        self.until = self.record + len;
        (self.passed, self.count, self.reported) = (0, count, 0);
        (self.sent, self.overhead) = (self.sent + sent, overhead);
        self.own = payload(&ciphertext[..len], overhead).saturating_sub(count);
        self.bytes.extend_from_slice(ciphertext);
    }

    /// Writes what is queued until the transport takes no more. Returns [`Io::Moved`] when nothing
    /// is left. When the transport is lost, drops it.
    pub(super) fn send(&mut self, transport: &mut impl Transport) -> Io {
        while self.sent < self.bytes.len() {
            match transport.write(&[IoSlice::new(&self.bytes[self.sent..])]) {
                Io::Moved(0) | Io::Lost => {
                    self.drop_all();
                    return Io::Lost;
                }
                Io::Moved(count) => self.sent += count,
                Io::Blocked => {
                    self.is_offered = true;
                    return Io::Blocked;
                }
            }
        }
        (self.bytes, self.sent, self.record, self.until) = (Vec::new(), 0, 0, 0);
        self.is_offered = false;
        Io::Moved(0)
    }

    /// Drops everything: nothing can be sent any more.
    pub(super) fn drop_all(&mut self) {
        *self = Outgoing::default();
    }

    /// Takes the number of bytes of the writer's that have left since the last call, `most` at the
    /// most.
    ///
    /// A record of our own between those of the writer makes the number too small until everything
    /// has left, never too large.
    pub(super) fn report(&mut self, most: usize) -> usize {
        let left = if self.sent >= self.until { self.count } else { self.left() };
        let news = left.saturating_sub(self.reported).min(most);
        self.reported += news;
        news
    }

    /// The number of bytes of the writer's that have left.
    fn left(&mut self) -> usize {
        while let Some(len) = record_len(&self.bytes[self.record..self.until])
            && self.record + len <= self.sent
        {
            self.passed += len.saturating_sub(self.overhead);
            self.record += len;
        }
        self.passed.saturating_sub(self.own).min(self.count)
    }
}

/// The payload of all records of `ciphertext`, whose records are longer by `overhead` bytes.
fn payload(mut ciphertext: &[u8], overhead: usize) -> usize {
    let mut payload = 0;
    while let Some(len) = record_len(ciphertext) {
        payload += len.saturating_sub(overhead);
        ciphertext = ciphertext.get(len..).unwrap_or_default();
    }
    payload
}

/// The length of the record at the front of `ciphertext`, header included; `None` if its header is
/// not complete.
fn record_len(ciphertext: &[u8]) -> Option<usize> {
    let header = ciphertext.first_chunk::<HEADER>()?;
    Some(HEADER + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

/// Encrypts bytes of `slices`, behind the first `skip`, into the front of `ciphertext`, in as few
/// records as possible: all of them, or about `most`. Returns the number of bytes, and of those of
/// the ciphertext. `gather` is for records whose payload lies in several slices.
///
/// The first record is the one that is not full. So behind the header of a frame, full records lie
/// in its payload and need not be gathered.
///
/// # Errors
/// If the keys of the session are used up, and nothing could be encrypted.
pub(super) fn encrypt(
    slices: &[IoSlice<'_>],
    mut skip: usize,
    most: usize,
    gather: &mut Vec<u8>,
    ciphertext: &mut Vec<u8>,
    mut record: impl FnMut(&[u8], &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(usize, usize), rustls::Error> {
    // Short frames, or a part of a payload.
    if let [one] = slices
        && let chunk = &one[skip..]
        && chunk.len() <= RECORD.min(most)
    {
        return Ok((chunk.len(), encrypt_chunk(chunk, ciphertext, 0, &mut record)?));
    }
    let all = slices.iter().map(|slice| slice.len()).sum::<usize>() - skip;
    let odd = all % RECORD;
    let total = all.min(odd + most);
    let mut end = 0;
    let mut left = total;
    let mut slices = slices.iter().map(|slice| &**slice);
    let mut slice = slices.next().unwrap_or_default();
    while skip > 0 {
        let (skipped, rest) = slice.split_at(slice.len().min(skip));
        skip -= skipped.len();
        slice = if rest.is_empty() { slices.next().unwrap_or_default() } else { rest };
    }
    while left > 0 {
        while slice.is_empty() {
            slice = slices.next().unwrap_or_default();
        }
        // Of full records those that follow each other in a slice, or the next one.
        let len = if left == total && odd > 0 { odd } else { left };
        let whole = slice.len().min(len);
        let direct = if whole == len { whole } else { whole - whole % RECORD };
        let chunk = if direct > 0 {
            let (chunk, rest) = slice.split_at(direct);
            slice = rest;
            chunk
        } else {
            gather.clear();
            let wanted = len.min(RECORD);
            while gather.len() < wanted {
                let (part, rest) = slice.split_at(slice.len().min(wanted - gather.len()));
                gather.extend_from_slice(part);
                slice = if rest.is_empty() { slices.next().unwrap_or_default() } else { rest };
            }
            &gather[..]
        };
        match encrypt_chunk(chunk, ciphertext, end, &mut record) {
            Ok(len) => end += len,
            // What is encrypted has its place in the stream.
            Err(_) if left < total => break,
            Err(error) => return Err(error),
        }
        left -= chunk.len();
    }
    Ok((total - left, end))
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
