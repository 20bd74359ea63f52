//! A reference for the client's half of the opening handshake: the same law, written down as
//! plainly as possible.
//!
//! As [`naive::head`](crate::naive::head), with which it shares the field lines, it is given
//! everything at once. A response that refuses is read to its end: the stream ends with the data.

#[cfg(feature = "deflate")]
use framewright::deflate::{ClientWindow, DeflateOffer, DeflateParams, WindowBits};
use framewright::handshake::HeadLimits;

use crate::naive::fields::{Fault, Field, Line, elements, field_section, is_token, values};
#[cfg(feature = "deflate")]
use crate::naive::handshake::extensions;

/// The value of Sec-WebSocket-Accept that is right here: the one of the example in RFC 6455,
/// section 1.3.
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How much of a body is kept.
const MAX_BODY: usize = 64 * 1024;

/// How many octets between two octets of content are read.
const MAX_OVERHEAD: usize = 256 * 1024;

/// What a client makes of the octets received so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong yet; the final response is not complete.
    NeedMore,
    /// A rule is broken.
    Failed(Rule),
    /// Another status than the one that was hoped for.
    Refused(Box<Refusal>),
    /// The connection is open; through a proxy, the tunnel is.
    Open {
        /// In octets, with the interim responses before it.
        head_len: usize,
        /// Which one is spoken.
        subprotocol: Option<String>,
        /// How messages are compressed.
        #[cfg(feature = "deflate")]
        deflate: Option<DeflateParams>,
    },
}

/// The kind of a broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The grammar of HTTP/1.x.
    Syntax,
    /// Another version of HTTP.
    Version,
    /// The length of the head.
    Length,
    /// The number of field lines.
    Fields,
    /// The number of interim responses.
    Interim,
    /// What RFC 6455 demands of a 101.
    Handshake,
}

/// A response that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In octets, with the interim responses before it.
    pub head_len: usize,
    /// The status code.
    pub status: u16,
    /// `x` of `HTTP/1.x`.
    pub minor: u8,
    /// The reason phrase.
    pub reason: Vec<u8>,
    /// Names and values.
    pub fields: Vec<Field>,
    /// The first octets of the content.
    pub body: Vec<u8>,
    /// Whether there is more, or the framing is broken.
    pub truncated: bool,
}

/// What the client has asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The subprotocols it has offered.
    pub subprotocols: Vec<String>,
    /// The offers of permessage-deflate.
    #[cfg(feature = "deflate")]
    pub offers: Vec<DeflateOffer>,
    /// Whether it was a proxy that was asked, and for a tunnel.
    pub tunnel: bool,
}

/// Judges `data`, which starts with the first octet received.
pub fn parse(data: &[u8], limits: HeadLimits, asked: &Asked) -> Outcome {
    let window = &data[..data.len().min(limits.head)];
    let mut start = 0;
    for interim in 0.. {
        let mut head = match head(window, start, limits.fields) {
            Err(431) => return Outcome::Failed(Rule::Fields),
            Err(505) => return Outcome::Failed(Rule::Version),
            Err(_) => return Outcome::Failed(Rule::Syntax),
            Ok(None) if window.len() == limits.head => return Outcome::Failed(Rule::Length),
            Ok(None) => return Outcome::NeedMore,
            Ok(Some(head)) => head,
        };
        if head.status / 100 == 1 && head.status != 101 {
            if interim == 5 {
                return Outcome::Failed(Rule::Interim);
            }
            start = head.head_len;
            continue;
        }
        if asked.tunnel && head.status / 100 == 2 {
            return Outcome::Open {
                head_len: head.head_len,
                subprotocol: None,
                #[cfg(feature = "deflate")]
                deflate: None,
            };
        }
        if !asked.tunnel && head.status == 101 {
            return open(&head, asked).unwrap_or(Outcome::Failed(Rule::Handshake));
        }
        (head.body, head.truncated) = body(&head, &data[head.head_len..]);
        return Outcome::Refused(Box::new(head));
    }
    unreachable!("five interim responses are the most");
}

fn head(window: &[u8], start: usize, limit: usize) -> Result<Option<Refusal>, u16> {
    let line = Line::at(window, start);
    if !line.verdict(status_line_faults(&line))? {
        return Ok(None);
    }
    let text = line.text;
    let Some((fields, head_len)) = field_section(window, line.next(), limit)? else { return Ok(None) };
    Ok(Some(Refusal {
        head_len,
        status: std::str::from_utf8(&text[9..12]).unwrap().parse().unwrap(),
        minor: text[7] - b'0',
        reason: text.get(13..).unwrap_or_default().to_vec(),
        fields,
        body: Vec::new(),
        truncated: false,
    }))
}

fn status_line_faults(line: &Line<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, &byte) in line.text.iter().enumerate() {
        let is_right = match index {
            0..=4 => byte == b"HTTP/"[index],
            5 => byte == b'1',
            6 => byte == b'.',
            7 | 9..=11 => byte.is_ascii_digit(),
            8 | 12 => byte == b' ',
            _ => byte == b'\t' || (byte >= b' ' && byte != 0x7f),
        };
        if !is_right {
            faults.push((line.start + index, if index == 5 && byte.is_ascii_digit() { 505 } else { 400 }));
        }
    }
    if line.has_cr && line.text.len() < 12 {
        faults.push((line.cr(), 400));
    }
    faults
}

/// `None` if the 101 is not what RFC 6455 demands.
fn open(head: &Refusal, asked: &Asked) -> Option<Outcome> {
    let lower = |name: &str| -> Vec<Vec<u8>> {
        let all = elements(&head.fields, name);
        all.iter().filter(|e| !e.is_empty()).map(|e| e.to_ascii_lowercase()).collect()
    };
    let options = lower("connection");
    let is_correct = head.minor > 0
        && lower("upgrade") == [b"websocket"]
        && options.iter().any(|option| option == b"upgrade")
        && options.iter().all(|option| is_token(option))
        && values(&head.fields, "sec-websocket-accept") == [ACCEPT];
    let subprotocol = match values(&head.fields, "sec-websocket-protocol").as_slice() {
        [] => None,
        [one] => Some(asked.subprotocols.iter().find(|offered| offered.as_bytes() == one)?.clone()),
        _ => return None,
    };
    #[cfg(feature = "deflate")]
    let deflate = deflate(&head.fields, &asked.offers)?;
    #[cfg(not(feature = "deflate"))]
    if !values(&head.fields, "sec-websocket-extensions").is_empty() {
        return None;
    }
    is_correct.then_some(Outcome::Open {
        head_len: head.head_len,
        subprotocol,
        #[cfg(feature = "deflate")]
        deflate,
    })
}

/// What the fields of a 101 agree on for these offers of permessage-deflate; the outer `None` is an
/// answer to none of them.
#[cfg(feature = "deflate")]
#[must_use]
pub fn deflate(fields: &[Field], offers: &[DeflateOffer]) -> Option<Option<DeflateParams>> {
    match extensions(fields)?.as_slice() {
        [] => Some(None),
        [one] => agree(offers, one).map(Some),
        _ => None,
    }
}

/// What `answer`, which is written `name;param;param=value`, comes to for the first offer that it
/// is an answer to.
#[cfg(feature = "deflate")]
fn agree(offers: &[DeflateOffer], answer: &str) -> Option<DeflateParams> {
    let mut parts = answer.split(';');
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let (mut server_resets, mut client_resets, mut server_bits, mut client_bits) = (None, None, None, None);
    for part in parts {
        let is_new = match part.split_once('=').unwrap_or((part, "")) {
            ("server_no_context_takeover", _) if !part.contains('=') => server_resets.replace(()).is_none(),
            ("client_no_context_takeover", _) if !part.contains('=') => client_resets.replace(()).is_none(),
            ("server_max_window_bits", value) => server_bits.replace(bits(value)?).is_none(),
            ("client_max_window_bits", value) => client_bits.replace(bits(value)?).is_none(),
            _ => return None,
        };
        if !is_new {
            return None;
        }
    }
    let most = |offer: &DeflateOffer| match offer.client_max_window_bits {
        Some(ClientWindow::AtMost(most)) => most,
        _ => WindowBits::MAX,
    };
    let offer = offers.iter().find(|offer| {
        let server =
            offer.server_max_window_bits.is_none_or(|most| server_bits.is_some_and(|bits| bits <= most));
        let client =
            client_bits.is_none_or(|bits| offer.client_max_window_bits.is_some() && bits <= most(offer));
        server && client && (server_resets.is_some() || !offer.server_no_context_takeover)
    })?;
    Some(DeflateParams {
        server_no_context_takeover: server_resets.is_some(),
        client_no_context_takeover: client_resets.is_some() || offer.client_no_context_takeover,
        server_max_window_bits: server_bits.unwrap_or(WindowBits::MAX),
        client_max_window_bits: client_bits.unwrap_or(most(offer)),
    })
}

#[cfg(feature = "deflate")]
fn bits(value: &str) -> Option<WindowBits> {
    (8..=15).find(|bits| bits.to_string() == value).and_then(WindowBits::new)
}

/// The content of the body in `rest`, which is all there is, and whether it is not whole.
fn body(head: &Refusal, rest: &[u8]) -> (Vec<u8>, bool) {
    if matches!(head.status, 100..=199 | 204 | 304) {
        return (Vec::new(), false);
    }
    let codings = elements(&head.fields, "transfer-encoding");
    let last = codings.iter().rfind(|coding| !coding.is_empty());
    let lengths = elements(&head.fields, "content-length");
    let (mut content, mut truncated) = (rest.to_vec(), false);
    if !codings.is_empty() {
        if head.minor > 0 && last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            content.clear();
            truncated = chunks(rest, &mut content).is_none();
        }
    } else if let Some(first) = lengths.first() {
        let numbers: Option<Vec<u64>> = lengths.iter().map(|length| decimal(length)).collect();
        let Some(numbers) = numbers.filter(|numbers| numbers.iter().all(|&n| Some(n) == decimal(first)))
        else {
            return (Vec::new(), true);
        };
        truncated = (content.len() as u64) < numbers[0];
        content.truncate(usize::try_from(numbers[0]).unwrap_or(usize::MAX));
    }
    truncated |= content.len() > MAX_BODY;
    content.truncate(MAX_BODY);
    (content, truncated)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let is_decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_decimal.then(|| std::str::from_utf8(digits).unwrap().parse().ok()).flatten()
}

/// Appends the content of chunks. `None` if they do not come to their end.
fn chunks(mut rest: &[u8], content: &mut Vec<u8>) -> Option<()> {
    let mut overhead = 0;
    let line = |rest: &mut &[u8], overhead: &mut usize| -> Option<Vec<u8>> {
        let cr = rest.iter().position(|&byte| byte == b'\r')?;
        let (line, behind) = rest.split_at(cr);
        *rest = behind.strip_prefix(b"\r\n")?;
        *overhead += cr + 2;
        let is_text = line.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        (is_text && *overhead <= MAX_OVERHEAD).then(|| line.to_vec())
    };
    loop {
        let text = line(&mut rest, &mut overhead)?;
        let digits = text.iter().position(|byte| b"; \t".contains(byte)).unwrap_or(text.len());
        let digits = std::str::from_utf8(&text[..digits]).ok()?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()?;
        if size == 0 {
            while !line(&mut rest, &mut overhead)?.is_empty() {}
            return Some(());
        }
        let here = rest.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        content.extend_from_slice(&rest[..here]);
        if (here as u64) < size {
            return None;
        }
        overhead += 2;
        rest = rest[here..].strip_prefix(b"\r\n")?;
    }
}
