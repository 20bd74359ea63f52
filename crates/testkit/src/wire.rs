//! An independent reader of frames (RFC 6455, section 5.2): a header taken apart as numbers, a
//! whole stream taken apart as frames, and a judge of what an endpoint has sent. Shares no code
//! with the crate under test.

use crate::naive::inflate::Inflation;
use framewright::Role;
use std::ops::Range;
use std::str;

/// The fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// FIN.
    pub fin: bool,
    /// RSV1 to RSV3, in bits 2 to 0.
    pub rsv: u8,
    /// The opcode's number.
    pub opcode: u8,
    /// The masking key, if the MASK bit is set.
    pub key: Option<[u8; 4]>,
    /// Octets of payload announced.
    pub len: u64,
    /// Octets of extended payload length: 0, 2 or 8.
    pub len_octets: usize,
}

impl Fields {
    /// The header at the start of `bytes`, whatever it says; `None` if it is not whole.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Fields> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let len_octets = match second % 128 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let extended = bytes.get(2..2 + len_octets)?;
        let len = match len_octets {
            0 => u64::from(second % 128),
            _ => extended.iter().fold(0, |len, &octet| len * 256 + u64::from(octet)),
        };
        let key = match second / 128 {
            0 => None,
            _ => {
                let at = 2 + len_octets;
                Some([*bytes.get(at)?, *bytes.get(at + 1)?, *bytes.get(at + 2)?, *bytes.get(at + 3)?])
            }
        };
        let rsv = first / 16 % 8;
        Some(Fields { fin: first >= 128, rsv, opcode: first % 16, key, len, len_octets })
    }

    /// Octets of the header.
    #[must_use]
    pub fn header_len(&self) -> usize {
        2 + self.len_octets + if self.key.is_some() { 4 } else { 0 }
    }

    /// Whether a shorter form would have done for the length.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        match self.len_octets {
            0 => true,
            2 => self.len >= 126,
            _ => self.len >= 65536,
        }
    }
}

/// How many octets at the start of `bytes` prove that a header is malformed, if any do. `masked` is
/// what the MASK bit has to be, or `None` where both will do. RSV1 may be set on the first frame of
/// a message with `rsv1`.
#[must_use]
pub fn header_fault(bytes: &[u8], masked: Option<bool>, rsv1: bool) -> Option<usize> {
    let &first = bytes.first()?;
    let (control, reserved) = (first % 16 >= 8, matches!(first % 16, 3..=7 | 11..=15));
    let rsv_fault = match first / 16 % 8 {
        0 => false,
        4 => !rsv1 || !matches!(first % 16, 1 | 2),
        _ => true,
    };
    if rsv_fault || reserved || (control && first < 128) {
        return Some(1);
    }
    let &second = bytes.get(1)?;
    if masked.is_some_and(|masked| masked != (second >= 128)) || (control && second % 128 > 125) {
        return Some(2);
    }
    // The length is looked at once all its octets are there; the masking key need not be.
    let bare = [&[first, second % 128], &bytes[2..bytes.len().min(10)]].concat();
    let fields = Fields::read(&bare)?;
    if !fields.is_minimal() || fields.len >= 1 << 63 { Some(2 + fields.len_octets) } else { None }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireFrame {
    /// Its header.
    pub header: Fields,
    /// The payload data, unmasked.
    pub payload: Vec<u8>,
    /// Where it lies in the stream.
    pub at: Range<usize>,
}

impl WireFrame {
    /// The frame at the start of `bytes`, whatever it says; `None` if it is not whole.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<WireFrame> {
        let header = Fields::read(bytes)?;
        let start = header.header_len();
        let end = start.checked_add(usize::try_from(header.len).ok()?)?;
        let payload = bytes.get(start..end)?;
        let payload = header.key.map_or_else(|| payload.to_vec(), |key| masked(payload, key));
        Some(WireFrame { header, payload, at: 0..end })
    }

    /// Whether the opcode is that of a control frame.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.header.opcode >= 8
    }

    /// The code of a Close frame's body.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        let body = (self.header.opcode == 8).then_some(&self.payload)?;
        Some(u16::from_be_bytes([*body.first()?, *body.get(1)?]))
    }
}

/// `payload` masked or unmasked, octet by octet, as section 5.3 says it.
#[must_use]
pub fn masked(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    payload.iter().enumerate().map(|(i, octet)| octet ^ key[i % 4]).collect()
}

/// The whole frames at the start of `bytes`, whatever they say. The last one's `at.end` tells where
/// the rest begins.
#[must_use]
pub fn frames(bytes: &[u8]) -> Vec<WireFrame> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(mut frame) = WireFrame::read(&bytes[at..]) {
        frame.at = at..at + frame.at.end;
        at = frame.at.end;
        frames.push(frame);
    }
    frames
}

/// The frames of all that an endpoint has sent, or which rule of RFC 6455 a frame breaks.
///
/// # Errors
/// A sentence that names the rule and the frame.
pub fn check_output(sender: Role, bytes: &[u8]) -> Result<Vec<WireFrame>, String> {
    check_compressed_output(sender, None, bytes)
}

/// The frames of all that an endpoint has sent, or which rule a frame breaks. If permessage-deflate
/// was negotiated, its compressed messages have to inflate with `inflation`.
///
/// # Errors
/// A sentence that names the rule and the frame.
pub fn check_compressed_output(
    sender: Role,
    inflation: Option<Inflation>,
    bytes: &[u8],
) -> Result<Vec<WireFrame>, String> {
    read_output(sender, inflation, bytes).map(|(frames, _)| frames)
}

/// The frames of all that an endpoint has sent, and its messages; the last one may be incomplete,
/// and is not among them.
///
/// # Errors
/// A sentence that names the rule of RFC 6455 or RFC 7692 that a frame breaks, and the frame.
pub fn read_output(
    sender: Role,
    mut inflation: Option<Inflation>,
    bytes: &[u8],
) -> Result<(Vec<WireFrame>, Vec<Message>), String> {
    let frames = frames(bytes);
    let end = frames.last().map_or(0, |frame| frame.at.end);
    if end != bytes.len() {
        return Err(format!("{} octets behind the last whole frame", bytes.len() - end));
    }
    let (mut messages, mut message) = (Vec::new(), None::<Message>);
    for (index, frame) in frames.iter().enumerate() {
        let because = |rule: &str| format!("frame {index} {rule}: {:?}", frame.header);
        let masked = Some(sender == Role::Client);
        if header_fault(&bytes[frame.at.clone()], masked, inflation.is_some()).is_some() {
            return Err(because("has a malformed header"));
        }
        match (frame.header.opcode, &mut message) {
            (8, _) if index + 1 < frames.len() => return Err(because("is a Close and not the last frame")),
            (8, _) => check_close_body(&frame.payload).map_err(because)?,
            (9 | 10, _) => {}
            (0, None) => return Err(because("continues no message")),
            (1 | 2, Some(_)) => return Err(because("begins a message inside another one")),
            (0, Some(message)) => message.payload.extend_from_slice(&frame.payload),
            (_, none) => *none = Some(Message::begun(frame)),
        }
        if frame.is_control() || !frame.header.fin {
            continue;
        }
        let message = message.take().expect("a message ends").inflated(&mut inflation).map_err(because)?;
        if message.text && str::from_utf8(&message.payload).is_err() {
            return Err(because("ends a text message that is not UTF-8"));
        }
        messages.push(message);
    }
    Ok((frames, messages))
}

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether it is text.
    pub text: bool,
    /// Whether it was compressed.
    pub compressed: bool,
    /// The payload of its fragments, inflated.
    pub payload: Vec<u8>,
}

impl Message {
    fn begun(frame: &WireFrame) -> Message {
        let Fields { opcode, rsv, .. } = frame.header;
        Message { text: opcode == 1, compressed: rsv != 0, payload: frame.payload.clone() }
    }

    fn inflated(mut self, inflation: &mut Option<Inflation>) -> Result<Message, &'static str> {
        if let (Some(inflation), true) = (inflation, self.compressed) {
            let inflated = inflation.complete(&self.payload, usize::MAX);
            if !inflated.is_whole() {
                return Err("ends a compressed message that is none");
            }
            if inflated.farthest > inflation.window() {
                return Err("ends a compressed message that refers to what is behind its window");
            }
            inflation.learn(&inflated);
            self.payload = inflated.octets;
        }
        Ok(self)
    }
}

/// The messages of these frames, and the one that is not complete, as far as it has come.
///
/// # Panics
/// If [`check_compressed_output`] finds a fault in them.
#[must_use]
pub fn messages(frames: &[WireFrame], mut inflation: Option<Inflation>) -> (Vec<Message>, Option<Message>) {
    let mut messages = Vec::new();
    let mut partial: Option<Message> = None;
    for frame in frames.iter().filter(|frame| !frame.is_control()) {
        match &mut partial {
            Some(message) => message.payload.extend_from_slice(&frame.payload),
            none => *none = Some(Message::begun(frame)),
        }
        if frame.header.fin {
            let whole = partial.take().expect("a message ends").inflated(&mut inflation);
            messages.push(whole.unwrap_or_else(|rule| panic!("a frame {rule}")));
        }
    }
    if let (Some(message), Some(inflation)) = (&mut partial, &inflation)
        && message.compressed
    {
        message.payload = inflation.begun(&message.payload, usize::MAX).octets;
    }
    (messages, partial)
}

/// Whether a Close frame may have this body.
fn check_close_body(body: &[u8]) -> Result<(), &'static str> {
    match *body {
        [] => Ok(()),
        [_] => Err("is a Close with a body of one octet"),
        [high, low, ref reason @ ..] => {
            if !may_travel(u16::from_be_bytes([high, low])) {
                return Err("is a Close with a code that must not travel");
            }
            str::from_utf8(reason).map(|_| ()).map_err(|_| "is a Close whose reason is not UTF-8")
        }
    }
}

/// Whether a close code may be on the wire (section 7.4, and the IANA registry for 1012 to 1014).
#[must_use]
pub fn may_travel(code: u16) -> bool {
    match code {
        1000..=2999 => {
            [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].contains(&code)
        }
        _ => (3000..=4999).contains(&code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_section_5_7_are_read() {
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let frame = &check_output(Role::Client, &masked).unwrap()[0];
        assert_eq!((frame.header.opcode, &frame.payload[..]), (1, &b"Hello"[..]));
        let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
        assert_eq!(check_output(Role::Server, &fragments).unwrap().len(), 2);
    }

    #[test]
    fn compressed_messages_are_inflated_and_judged() {
        let inflation = |window| Some(Inflation::new(true, window));
        // Section 7.2.3.2 of RFC 7692, with a message between that is not compressed.
        let hello = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let again = [0xc1, 0x05, 0xf2, 0x00, 0x11, 0x00, 0x00];
        let sent = [&hello[..], &[0x81, 0x01, b'x'], &again].concat();
        let frames = check_compressed_output(Role::Server, inflation(256), &sent).unwrap();
        let (messages, partial) = messages(&frames, inflation(256));
        let texts: Vec<_> =
            messages.iter().map(|message| (message.compressed, &message.payload[..])).collect();
        assert_eq!(texts, [(true, &b"Hello"[..]), (false, b"x"), (true, b"Hello")]);
        assert_eq!(partial, None);
        for (window, sent, part) in [
            (4, &sent[..], "behind its window"),
            (256, &again, "that is none"),
            (256, &[0xc9, 0], "malformed"),
        ] {
            let error = check_compressed_output(Role::Server, inflation(window), sent).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(check_output(Role::Server, &hello).unwrap_err().contains("malformed"));
    }

    #[test]
    fn each_fault_of_a_sender_is_named() {
        let cases: [(&[u8], &str); 9] = [
            (&[0x81, 0x80, 1, 2, 3, 4], "malformed"),
            (&[0x82, 126, 0, 1, 0], "malformed"),
            (&[0x09, 0], "malformed"),
            (&[0x80, 0], "continues no message"),
            (&[0x01, 0, 0x82, 0], "inside another"),
            (&[0x88, 0, 0x8A, 0], "not the last"),
            (&[0x88, 2, 3, 0xED], "must not travel"),
            (&[0x81, 1, 0xff], "not UTF-8"),
            (&[0x81, 1], "behind the last whole frame"),
        ];
        for (bytes, part) in cases {
            let error = check_output(Role::Server, bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
