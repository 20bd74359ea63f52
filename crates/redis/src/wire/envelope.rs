//! What a message looks like in Redis: in a channel, and in the field `m` of a stream's entry.
//!
//! ```text
//!  0       2       3       4                20         28         36      38
//!  +-------+-------+-------+----------------+----------+----------+-------+--------+---------+-----+---------+
//!  | "FW"  |version| flags | publisher      | sequence | previous | len   | topic  | len     | key | payload |
//!  |       | 1     |       | 16 bytes       | 64 bits  | 64 bits  | 16 b. | UTF-8  | 16 bits |     |         |
//!  +-------+-------+-------+----------------+----------+----------+-------+--------+---------+-----+---------+
//!                                                                                   only with the flag KEY
//! ```
//!
//! Numbers are in network byte order. `publisher` is drawn at random when a backplane is built.
//! `sequence` counts what that publisher has sent, from 1 on, over all topics. `previous` is the
//! sequence of its message before this one on the same topic; 0 if it does not remember one. So a
//! reader knows a message that it has seen, and notices one that it has missed.
//!
//! A reader drops an envelope of another version, and one with a flag that it does not know.

use framewright::Message;
use std::fmt;

/// Who has published: drawn at random.
pub(crate) type Publisher = [u8; 16];

/// A message with what a reader has to know about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    pub(crate) publisher: Publisher,
    pub(crate) sequence: u64,
    /// The sequence of the publisher's message before this one on the topic, or 0.
    pub(crate) previous: u64,
    /// Whether this may be in Redis twice: the connection was lost before Redis had answered.
    pub(crate) again: bool,
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) text: bool,
    pub(crate) payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let key_len = self.key.map_or(0, |key| 2 + key.len());
        let mut out = Vec::with_capacity(FIXED + self.topic.len() + key_len + self.payload.len());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.push(flag(self.text, TEXT) | flag(self.key.is_some(), KEY) | flag(self.again, AGAIN));
        out.extend_from_slice(&self.publisher);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.previous.to_be_bytes());
        push_short(&mut out, self.topic);
        if let Some(key) = self.key {
            push_short(&mut out, key);
        }
        out.extend_from_slice(self.payload);
        out
    }

    /// Reads an envelope. The payload of a text message is not yet known to be UTF-8:
    /// [`Envelope::message`] checks it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Broken> {
        let mut rest = bytes;
        if take(&mut rest, 2)? != MAGIC {
            return Err(Broken::Foreign);
        }
        let version = take(&mut rest, 1)?[0];
        if version != VERSION {
            return Err(Broken::Version(version));
        }
        let flags = take(&mut rest, 1)?[0];
        if flags & !(TEXT | KEY | AGAIN) != 0 {
            return Err(Broken::Flags(flags));
        }
        let publisher = array(&mut rest)?;
        let sequence = u64::from_be_bytes(array(&mut rest)?);
        let previous = u64::from_be_bytes(array(&mut rest)?);
        if sequence == 0 || previous >= sequence {
            return Err(Broken::Sequence);
        }
        let topic = short(&mut rest)?;
        let key = if flags & KEY != 0 { Some(short(&mut rest)?) } else { None };
        let (text, again) = (flags & TEXT != 0, flags & AGAIN != 0);
        Ok(Self { publisher, sequence, previous, again, topic, key, text, payload: rest })
    }

    pub(crate) fn message(&self) -> Result<Message<'a>, Broken> {
        if self.text {
            std::str::from_utf8(self.payload).map(Message::Text).map_err(|_| Broken::Utf8)
        } else {
            Ok(Message::Binary(self.payload))
        }
    }
}

/// The longest topic and the longest key, in bytes.
pub(crate) const LONGEST_NAME: usize = u16::MAX as usize;

fn push_short(out: &mut Vec<u8>, name: &str) {
    let len = u16::try_from(name.len()).expect("names are checked against LONGEST_NAME");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Broken> {
    let (taken, left) = rest.split_at_checked(len).ok_or(Broken::Short)?;
    *rest = left;
    Ok(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Broken> {
    let taken = take(rest, N)?;
    Ok(taken.try_into().expect("`take` returns as many bytes as it was asked for"))
}

fn short<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Broken> {
    let len = u16::from_be_bytes(array(rest)?);
    std::str::from_utf8(take(rest, usize::from(len))?).map_err(|_| Broken::Utf8)
}

/// Why something in Redis is no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Foreign,
    Version(u8),
    Flags(u8),
    Short,
    Sequence,
    Utf8,
    /// It is in the channel or the stream of another topic.
    Place,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Foreign => f.write_str("it does not begin as one"),
            Broken::Version(version) => write!(f, "its version is {version}, and this is {VERSION}"),
            Broken::Flags(flags) => write!(f, "it has unknown flags: {flags:#04x}"),
            Broken::Short => f.write_str("it ends too early"),
            Broken::Sequence => f.write_str("its sequence numbers do not ascend"),
            Broken::Utf8 => f.write_str("a text of it is not UTF-8"),
            Broken::Place => f.write_str("it names another topic than the place where it lies"),
        }
    }
}

/// Bytes of an envelope without topic, key and payload.
pub(crate) const FIXED: usize = 2 + 1 + 1 + 16 + 8 + 8 + 2;
const MAGIC: [u8; 2] = *b"FW";
const VERSION: u8 = 1;
const TEXT: u8 = 1;
const KEY: u8 = 2;
const AGAIN: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope<'static> {
        Envelope {
            publisher: *b"0123456789abcdef",
            sequence: 7,
            previous: 5,
            again: false,
            topic: "prices/EUR",
            key: None,
            text: true,
            payload: "1,1 \u{20ac}".as_bytes(),
        }
    }

    #[test]
    fn an_envelope_has_the_documented_bytes() {
        let mut expected = b"FW\x01\x03".to_vec();
        expected.extend_from_slice(b"0123456789abcdef");
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5]);
        expected.extend_from_slice(b"\0\x0aprices/EUR\0\x03EURhi");
        assert_eq!(Envelope { key: Some("EUR"), payload: b"hi", ..envelope() }.encode(), expected);
    }

    #[test]
    fn whatever_is_encoded_is_decoded_as_it_was() {
        let cases = [
            envelope(),
            Envelope { text: false, payload: &[0, 0xff, 0xfe], ..envelope() },
            Envelope { key: Some(""), payload: b"", ..envelope() },
            Envelope { key: Some("k"), again: true, topic: "", ..envelope() },
            Envelope { sequence: u64::MAX, previous: 0, ..envelope() },
        ];
        for case in cases {
            let bytes = case.encode();
            assert_eq!(Envelope::decode(&bytes), Ok(case));
        }
    }

    #[test]
    fn every_envelope_cut_short_within_its_head_is_refused() {
        let case = Envelope { key: Some("EUR"), payload: b"", ..envelope() };
        let bytes = case.encode();
        for len in 0..bytes.len() {
            assert_eq!(Envelope::decode(&bytes[..len]), Err(Broken::Short), "{len} bytes");
        }
    }

    #[test]
    fn what_another_version_or_another_program_wrote_is_refused() {
        let bytes = envelope().encode();
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            Envelope::decode(&bytes).err()
        };
        assert_eq!(changed(0, b'{'), Some(Broken::Foreign));
        assert_eq!(changed(2, 2), Some(Broken::Version(2)));
        assert_eq!(changed(3, 0x81), Some(Broken::Flags(0x81)));
        assert_eq!(changed(27, 0), Some(Broken::Sequence));
        assert_eq!(changed(38, 0xff), Some(Broken::Utf8));
    }

    #[test]
    fn a_text_that_is_not_utf8_is_no_message() {
        let broken = Envelope { payload: &[0xff], ..envelope() };
        assert_eq!(broken.message(), Err(Broken::Utf8));
        assert_eq!(Envelope { text: false, ..broken }.message(), Ok(Message::Binary(&[0xff])));
    }
}
