//! The body of a message (RFC 9112, section 6.3): what Content-Length says, of a request or of a
//! response; how the body of a response is framed, and its first bytes.

use super::bytes::{VALUE, decimal, elements, is, is_ows};
use super::known::Known;
use super::section::FieldSection;
use super::status_line::Status;

/// How much of a body is kept, in bytes: enough of an error page to see what is wrong.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How many bytes may frame the content of a body in chunks: four for each byte that is kept.
/// Without a limit, chunk extensions and trailer fields could go on for ever without anything to
/// show for it.
const MAX_OVERHEAD: usize = 4 * MAX_BODY;

/// Reads the body of a response as far as it is kept: the first 64 KiB of content.
///
/// Give it the bytes behind the head, then what arrives, until [`push`](Self::push) returns `true`
/// or the stream ends; then [`finish`](Self::finish) it. A deadline is the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyReader {
    body: Vec<u8>,
    framing: Framing,
    /// How many bytes without content came.
    overhead: usize,
    truncated: bool,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Content until the stream ends.
    UntilEof,
    /// That many bytes of content; not 0.
    Length(u64),
    Chunked(ChunkedPhase),
    Done,
}

/// What is expected next of a body in chunks (RFC 9112, section 7.1).
///
/// ```text
///         +-- ";" --> Extension -- CR --+
///         |                             v
///   Size -+----------- CR ----------> SizeLf -- LF -> Data -> DataCr -> DataLf -+
///     ^                                 |                                       |
///     +-------------------------------- | -- LF --------------------------------+
///                                       +- LF -> Trailer <-> TrailerLf -> (done)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkedPhase {
    /// A digit of the size, or what ends it.
    Size {
        size: u64,
        has_digits: bool,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    /// That many bytes of content; not 0.
    Data(u64),
    DataCr,
    DataLf,
    /// A line of the trailer section; the empty one ends the body.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
}

impl BodyReader {
    /// A reader of the body that follows the head of a response, which is not the head of a tunnel.
    pub(crate) fn new(status: Status, fields: FieldSection<'_>) -> Self {
        let framing = Framing::of(status, fields);
        BodyReader {
            body: Vec::new(),
            framing: framing.unwrap_or(Framing::Done),
            overhead: 0,
            truncated: framing.is_err(),
        }
    }

    /// Takes the next bytes, if any. `true` once there is nothing more to wait for: the body is
    /// complete, or longer than what is kept, or framed in a way that cannot be read on.
    pub fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.framing != Framing::Done {
            let Some(&byte) = bytes.first() else { return false };
            let taken = match self.framing {
                Framing::UntilEof => self.keep(bytes, u64::MAX),
                Framing::Length(left) | Framing::Chunked(ChunkedPhase::Data(left)) => self.keep(bytes, left),
                Framing::Chunked(chunk) => self.delimit(chunk, byte),
                Framing::Done => None,
            };
            let Some(taken) = taken else {
                self.truncated = true;
                self.framing = Framing::Done;
                break;
            };
            bytes = &bytes[taken..];
        }
        true
    }

    /// What was read of the body, and whether that is not all of it. The stream has ended, or
    /// `push` has returned `true`; a caller that gives up before either knows more than this can
    /// tell where the body goes on until the stream ends.
    pub fn finish(self) -> (Vec<u8>, bool) {
        let is_complete = matches!(self.framing, Framing::UntilEof | Framing::Done);
        (self.body, self.truncated || !is_complete)
    }

    /// Keeps what `bytes` have of `left` bytes of content, and says how much that was. `None` if
    /// there is no room for it all.
    fn keep(&mut self, bytes: &[u8], left: u64) -> Option<usize> {
        let content = &bytes[..usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())];
        let room = MAX_BODY - self.body.len();
        self.body.extend_from_slice(&content[..content.len().min(room)]);
        if content.len() > room {
            return None;
        }
        self.framing = self.framing.without(content.len() as u64);
        Some(content.len())
    }

    /// One byte between the bytes of content. `None` if it may not stand there.
    fn delimit(&mut self, chunk: ChunkedPhase, byte: u8) -> Option<usize> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            return None;
        }
        self.framing = chunk.next(byte)?;
        Some(1)
    }
}

impl Framing {
    fn of(status: Status, fields: FieldSection<'_>) -> Result<Framing, InvalidContentLength> {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        //# Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304 (Not
        //# Modified) status code is always terminated by the first empty line after the header fields, regardless of
        //# the header fields present in the message, and thus cannot contain a message body or trailer section.
        if matches!(status.code, 100..200 | 204 | 304) {
            return Ok(Framing::Done);
        }
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        //# If a message is received with both a Transfer-Encoding and a Content-Length header field, the
        //# Transfer-Encoding overrides the Content-Length.
        if fields.values(Known::TransferEncoding).next().is_some() {
            let last = fields.list(Known::TransferEncoding).last();
            let is_chunked = last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
            //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
            //# If a Transfer-Encoding header field is present in a response and the chunked transfer coding is not the
            //# final encoding, the message body length is determined by reading the connection until it is closed by
            //# the server.
            // HTTP/1.0 has no transfer codings: whoever sends one closes the connection too.
            let chunked = Framing::Chunked(ChunkedPhase::START);
            return Ok(if is_chunked && status.minor > 0 { chunked } else { Framing::UntilEof });
        }
        Ok(match content_length(fields)? {
            Some(0) => Framing::Done,
            Some(length) => Framing::Length(length),
            //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
            //# Otherwise, this is a response message without a declared message body length, so the message body length
            //# is determined by the number of octets received prior to the server closing the connection.
            None => Framing::UntilEof,
        })
    }

    /// What is expected after `taken` bytes of content, which are no more than were expected.
    fn without(self, taken: u64) -> Framing {
        match self {
            Framing::Length(left) if left == taken => Framing::Done,
            Framing::Length(left) => Framing::Length(left - taken),
            Framing::Chunked(ChunkedPhase::Data(left)) if left == taken => {
                Framing::Chunked(ChunkedPhase::DataCr)
            }
            Framing::Chunked(ChunkedPhase::Data(left)) => Framing::Chunked(ChunkedPhase::Data(left - taken)),
            other => other,
        }
    }
}

impl ChunkedPhase {
    const START: ChunkedPhase = ChunkedPhase::Size { size: 0, has_digits: false };

    /// What follows a byte that is no content; `None` if it may not stand there.
    fn next(self, byte: u8) -> Option<Framing> {
        Some(Framing::Chunked(match (self, byte) {
            (ChunkedPhase::Size { size, has_digits: true } | ChunkedPhase::Extension { size }, b'\r') => {
                ChunkedPhase::SizeLf { size }
            }
            (ChunkedPhase::Size { size, has_digits: true }, b';') => ChunkedPhase::Extension { size },
            (ChunkedPhase::Size { size, has_digits: true }, byte) if is_ows(byte) => {
                ChunkedPhase::Extension { size }
            }
            (ChunkedPhase::Size { size, .. }, byte) => {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                ChunkedPhase::Size { size: size.checked_mul(16)?.checked_add(digit)?, has_digits: true }
            }
            (ChunkedPhase::Extension { size }, byte) if is(byte, VALUE) => ChunkedPhase::Extension { size },
            (ChunkedPhase::SizeLf { size: 0 }, b'\n') => ChunkedPhase::Trailer { empty: true },
            (ChunkedPhase::SizeLf { size }, b'\n') => ChunkedPhase::Data(size),
            (ChunkedPhase::DataCr, b'\r') => ChunkedPhase::DataLf,
            (ChunkedPhase::DataLf, b'\n') => ChunkedPhase::START,
            (ChunkedPhase::Trailer { empty }, b'\r') => ChunkedPhase::TrailerLf { empty },
            (ChunkedPhase::Trailer { .. }, byte) if is(byte, VALUE) => ChunkedPhase::Trailer { empty: false },
            (ChunkedPhase::TrailerLf { empty: true }, b'\n') => return Some(Framing::Done),
            (ChunkedPhase::TrailerLf { empty: false }, b'\n') => ChunkedPhase::Trailer { empty: true },
            _ => return None,
        }))
    }
}

/// A Content-Length is no number, or several differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidContentLength;

/// The one value of all Content-Length fields, of a request or of a response.
pub(crate) fn content_length(fields: FieldSection<'_>) -> Result<Option<u64>, InvalidContentLength> {
    let mut length = None;
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //# If a message is received without Transfer-Encoding and with an invalid Content-Length header field, then the
    //# message framing is invalid and the recipient MUST treat it as an unrecoverable error, unless the field value
    //# can be successfully parsed as a comma-separated list (Section 5.6.1 of [HTTP]), all values in the list are
    //# valid, and all values in the list are the same
    for value in fields.values(Known::ContentLength).flat_map(elements) {
        let value = decimal(value).ok_or(InvalidContentLength)?;
        if *length.get_or_insert(value) != value {
            return Err(InvalidContentLength);
        }
    }
    Ok(length)
}
