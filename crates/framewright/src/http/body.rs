//! The body of a message (RFC 9112, section 6.3): the Content-Length of a request or a response,
//! the framing of a response's body, and its first bytes.

use super::bytes::{VALUE, decimal, elements, is, is_ows};
use super::known::Known;
use super::section::FieldSection;
use super::status_line::Status;

/// The most bytes of a body that are kept: enough of an error page to see the problem.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// The most bytes that may frame the content of a chunked body: four for each byte that may be
/// kept. Without a limit, chunk extensions and trailer fields could go on for ever without any
/// content.
const MAX_OVERHEAD: usize = 4 * MAX_BODY;

/// Reads the first 64 KiB of the body of a response.
///
/// Pass it the bytes after the head, and then further bytes received, until [`push`](Self::push)
/// returns `true` or the stream ends. Then call [`finish`](Self::finish). A deadline is up to the
/// caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyReader {
    body: Vec<u8>,
    framing: Framing,
    /// The number of bytes received that are not content.
    overhead: usize,
    truncated: bool,
}

/// The next expected part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Content until the stream ends.
    UntilEof,
    /// This many bytes of content; not 0.
    Length(u64),
    Chunked(ChunkedPhase),
    Done,
}

/// The next expected part of a chunked body (RFC 9112, section 7.1).
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
    /// A digit of the size, or the end of the size.
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
    /// This many bytes of content; not 0.
    Data(u64),
    DataCr,
    DataLf,
    /// A line of the trailer section; the empty line ends the body.
    Trailer {
        empty: bool,
    },
    TrailerLf {
        empty: bool,
    },
}

impl BodyReader {
    /// A reader of the body after the head of a response, which must not be the head of a tunnel.
    pub(crate) fn new(status: Status, fields: FieldSection<'_>) -> Self {
        let framing = Framing::of(status, fields);
        BodyReader {
            body: Vec::new(),
            framing: framing.unwrap_or(Framing::Done),
            overhead: 0,
            truncated: framing.is_err(),
        }
    }

    /// Takes the next bytes received, if any. Returns `true` once no more bytes are needed: the
    /// body is complete, or longer than the part that is kept, or its framing is invalid.
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

    /// Returns the bytes kept, and whether the body is truncated: longer than they are, incomplete,
    /// or with broken framing.
    ///
    /// Call it once the stream has ended or `push` has returned `true`. If the caller gives up
    /// earlier, a body that ends with the stream is not reported as truncated: only the caller
    /// knows that it is.
    pub fn finish(self) -> (Vec<u8>, bool) {
        let is_complete = matches!(self.framing, Framing::UntilEof | Framing::Done);
        (self.body, self.truncated || !is_complete)
    }

    /// Keeps the content in `bytes`, of which `left` bytes are expected, and returns its length.
    /// `None` if it does not all fit.
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

    /// Takes one byte of the framing. `None` if the byte is not allowed there, or exceeds the
    /// limit.
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
            // HTTP/1.0 has no transfer codings: a server that sends one closes the connection too.
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

    /// The part expected after `taken` bytes of content, which are no more than were expected.
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

    /// The part expected after a byte of the framing; `None` if the byte is not allowed there.
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

/// A Content-Length is not a number, or several of them differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidContentLength;

/// The common value of all Content-Length fields of a request or a response.
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
