//! What a receiver has to make of a stream (RFC 6455, sections 5 to 8), decided the slow and
//! obvious way: with the whole stream at hand, one pass, `std::str::from_utf8`, and no state that
//! survives a call. Compressed messages (RFC 7692) are inflated by
//! [`naive::inflate`](crate::naive::inflate).

use crate::endpoint::Seen;
use crate::naive::inflate::{End, Inflated, Inflation};
use crate::wire::{Fields, header_fault, masked, may_travel};
use framewright::connection::SMALL_FRAME;
use framewright::{Config, Delivery, Role};
use std::str;

/// What came of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream ended, and all of it was legal so far.
    Open,
    /// A Close frame was received; these many octets were read until then.
    Closed {
        /// Octets up to and including the Close frame.
        at: usize,
    },
    /// The connection has to be failed.
    Failed {
        /// The code of the Close frame that says so.
        code: u16,
        /// How many octets of the stream prove it.
        at: usize,
    },
}

/// The events of a stream, whole messages only, and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Messages and control frames in the order in which they were complete.
    pub events: Vec<Seen>,
    /// The payload of the message that was in progress at the end, and whether it is text.
    pub partial: Option<(bool, Vec<u8>)>,
    /// What came of it.
    pub verdict: Verdict,
}

/// The message in progress.
struct Partial {
    text: bool,
    compressed: bool,
    /// As it was received.
    payload: Vec<u8>,
    /// Where in the stream each octet of `payload` lies.
    places: Vec<usize>,
    announced: u128,
    small_frames: u32,
    /// All of its fragments have come.
    arrived: bool,
}

/// Reads all that the peer of `receiver` has sent.
#[must_use]
pub fn read(receiver: Role, config: &Config, bytes: &[u8]) -> Reading {
    read_compressed(receiver, config, None, bytes)
}

/// Reads all that the peer of `receiver` has sent, where permessage-deflate may have been negotiated:
/// `inflation` is that of the peer's messages. This decoder has no limit of the ratio.
#[must_use]
pub fn read_compressed(
    receiver: Role,
    config: &Config,
    mut inflation: Option<Inflation>,
    bytes: &[u8],
) -> Reading {
    let mut events = Vec::new();
    let mut message = None;
    let verdict = read_frames(receiver, config, &mut inflation, bytes, &mut events, &mut message);
    let partial = message.map(|message| match &inflation {
        Some(inflation) if message.compressed => {
            let inflate = if message.arrived { Inflation::received } else { Inflation::begun };
            (message.text, inflate(inflation, &message.payload, most(config)).octets)
        }
        _ => (message.text, message.payload),
    });
    Reading { events, partial, verdict }
}

fn read_frames(
    receiver: Role,
    config: &Config,
    inflation: &mut Option<Inflation>,
    bytes: &[u8],
    events: &mut Vec<Seen>,
    message: &mut Option<Partial>,
) -> Verdict {
    let mut at = 0;
    loop {
        let masked_by_peer = Some(receiver == Role::Server);
        if let Some(octets) = header_fault(&bytes[at..], masked_by_peer, inflation.is_some()) {
            return Verdict::Failed { code: 1002, at: at + octets };
        }
        let Some(header) = Fields::read(&bytes[at..]) else { return Verdict::Open };
        let start = at + header.header_len();
        if header.opcode < 8
            && let Some(code) = refusal(&header, message.as_ref(), config)
        {
            return Verdict::Failed { code, at: start };
        }
        let whole = header.len <= (bytes.len() - start) as u64;
        at = if whole { start + usize::try_from(header.len).expect("it is here") } else { bytes.len() };
        let payload = masked(&bytes[start..at], header.key.unwrap_or_default());
        if header.opcode >= 8 {
            if !whole {
                return Verdict::Open;
            }
            match control(header.opcode, payload) {
                Ok(Seen::CloseReceived { code, reason }) => {
                    events.push(Seen::CloseReceived { code, reason });
                    return Verdict::Closed { at };
                }
                Ok(event) => events.push(event),
                Err(code) => return Verdict::Failed { code, at },
            }
            continue;
        }
        let partial = message.get_or_insert_with(|| Partial {
            text: header.opcode == 1,
            compressed: header.rsv != 0,
            payload: Vec::new(),
            places: Vec::new(),
            announced: 0,
            small_frames: 0,
            arrived: false,
        });
        partial.announced += u128::from(header.len);
        partial.small_frames += u32::from(header.len < SMALL_FRAME && !header.fin);
        partial.places.extend(start..at);
        partial.payload.extend(payload);
        if let Some((code, octets)) = partial.fault(inflation.as_ref(), config) {
            return Verdict::Failed { code, at: partial.places[octets - 1] + 1 };
        }
        if !whole {
            return Verdict::Open;
        }
        if header.fin {
            partial.arrived = true;
            match partial.complete(inflation, config) {
                Ok(event) => events.push(event),
                Err(code) => return Verdict::Failed { code, at },
            }
            *message = None;
        }
    }
}

impl Partial {
    /// The code with which what has come of the payload fails the connection, and how many octets
    /// of it prove that.
    fn fault(&self, inflation: Option<&Inflation>, config: &Config) -> Option<(u16, usize)> {
        let Some(inflation) = inflation.filter(|_| self.compressed) else {
            let index = if self.text { first_invalid(&self.payload) } else { None };
            return index.map(|index| (1007, index + 1));
        };
        let fault = |octets: usize| {
            let (most, ahead) = (most(config), ahead(config, octets));
            let inflated = inflation.begun(&self.payload[..octets], most.min(ahead));
            if ahead > most || inflated.octets.len() < ahead {
                return inflated_fault(&inflated, self.text, most);
            }
            // It is inflated no further until more has come.
            let invalid = self.text && first_invalid(&inflated.octets[..ahead]).is_some();
            invalid.then_some(1007)
        };
        let code = fault(self.payload.len())?;
        // What proves a fault proves it with more behind it.
        let (mut fine, mut faulty) = (0, self.payload.len());
        while fine + 1 < faulty {
            let middle = fine.midpoint(faulty);
            if fault(middle).is_some() { faulty = middle } else { fine = middle }
        }
        Some((fault(faulty).unwrap_or(code), faulty))
    }

    /// The message with all its fragments, or the code with which it fails the connection.
    fn complete(&self, inflation: &mut Option<Inflation>, config: &Config) -> Result<Seen, u16> {
        let mut payload = self.payload.clone();
        if let Some(inflation) = inflation.as_mut().filter(|_| self.compressed) {
            let inflated = inflation.received(&payload, most(config));
            if let Some(code) = inflated_fault(&inflated, self.text, most(config)) {
                return Err(code);
            }
            if !inflated.is_whole() {
                return Err(1007);
            }
            inflation.learn(&inflated);
            payload = inflated.octets;
        }
        if self.text && str::from_utf8(&payload).is_err() {
            return Err(1007);
        }
        Ok(Seen::message(self.text, payload))
    }
}

/// The code with which this fails the connection: whatever comes first.
fn inflated_fault(inflated: &Inflated, text: bool, most: usize) -> Option<u16> {
    let within = &inflated.octets[..inflated.octets.len().min(most)];
    if text && first_invalid(within).is_some() {
        return Some(1007);
    }
    match inflated.end {
        End::TooLong => Some(1009),
        End::Corrupt => Some(1007),
        End::Between | End::Final | End::Within => None,
    }
}

/// The most octets of a message.
fn most(config: &Config) -> usize {
    usize::try_from(config.max_message).unwrap_or(usize::MAX)
}

/// How many octets of a message are inflated when so many of its payload have come, and more is to
/// come: a receiver that holds it looks no further.
fn ahead(config: &Config, come: usize) -> usize {
    match config.delivery {
        Delivery::Whole => (64 << 10) + 32 * come,
        Delivery::Chunks => usize::MAX,
    }
}

/// The close code, if a data frame with this header cannot come now.
fn refusal(header: &Fields, message: Option<&Partial>, config: &Config) -> Option<u16> {
    if (header.opcode == 0) != message.is_some() {
        return Some(1002);
    }
    if config.delivery == Delivery::Whole && header.len > config.max_frame {
        return Some(1009);
    }
    let (announced, small_frames) =
        message.map_or((0, 0), |partial| (partial.announced, partial.small_frames));
    let compressed = header.rsv != 0 || message.is_some_and(|partial| partial.compressed);
    // What does not compress gets longer.
    let longer = if compressed { config.max_message / 8 + 1024 } else { 0 };
    if announced + u128::from(header.len) > u128::from(config.max_message) + u128::from(longer) {
        return Some(1009);
    }
    (header.len < SMALL_FRAME && !header.fin && small_frames >= config.small_frame_budget).then_some(1008)
}

/// A control frame's event, or the code with which it fails the connection.
fn control(opcode: u8, payload: Vec<u8>) -> Result<Seen, u16> {
    if opcode == 9 {
        return Ok(Seen::Ping(payload));
    }
    if opcode == 10 {
        return Ok(Seen::Pong(payload));
    }
    if payload.is_empty() {
        return Ok(Seen::CloseReceived { code: None, reason: String::new() });
    }
    if payload.len() == 1 {
        return Err(1002);
    }
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    if !may_travel(code) {
        return Err(1002);
    }
    let reason = String::from_utf8(payload[2..].to_vec()).map_err(|_| 1007u16)?;
    Ok(Seen::CloseReceived { code: Some(code), reason })
}

/// The index of the first octet with which `bytes` can no longer become UTF-8, whatever follows.
fn first_invalid(bytes: &[u8]) -> Option<usize> {
    let is_hopeless = |end: usize| str::from_utf8(&bytes[..end]).is_err_and(|e| e.error_len().is_some());
    if !is_hopeless(bytes.len()) {
        return None;
    }
    let valid = str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    (valid..bytes.len()).find(|&index| is_hopeless(index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script;

    fn read_server(source: &str) -> Reading {
        read(Role::Server, &Config::default(), &script::bytes(Role::Client, source))
    }

    #[test]
    fn messages_and_control_frames_come_in_the_order_of_their_ends() {
        let reading = read_server(r#"text "Hel" !fin; ping "x"; cont "lo"; close 1000 "bye"; text "late""#);
        let expected = [
            Seen::Ping(b"x".to_vec()),
            Seen::Text("Hello".to_owned()),
            Seen::CloseReceived { code: Some(1000), reason: "bye".to_owned() },
        ];
        assert_eq!(reading.events, expected);
        assert_eq!(reading.verdict, Verdict::Closed { at: 9 + 7 + 8 + 11 });
    }

    #[test]
    fn compressed_messages_are_inflated_with_what_came_before() {
        let source = r#"
            text rsv1 deflate "Hello"
            text rsv1 hex "f2 00" !fin; ping; cont hex "11 00 00"
        "#;
        let stream = script::bytes(Role::Client, source);
        let read = |takeover| {
            let inflation = Some(Inflation::new(takeover, 1 << 15));
            read_compressed(Role::Server, &Config::default(), inflation, &stream)
        };
        let hello = Seen::Text("Hello".to_owned());
        assert_eq!(read(true).events, [hello.clone(), Seen::Ping(vec![]), hello.clone()]);
        assert_eq!(read(true).verdict, Verdict::Open);
        assert_eq!(read(false).events, [hello, Seen::Ping(vec![])]);
        // "H", and a distance that reaches too far: it ends with the first octet of the second
        // fragment.
        assert_eq!(read(false).verdict, Verdict::Failed { code: 1007, at: 13 + 8 + 6 + 7 });
    }

    #[test]
    fn a_fault_is_placed_at_the_octet_that_proves_it() {
        let cases = [
            ("hex 83 00", 1, 1002),
            ("hex 81 00", 2, 1002),
            ("hex 82 fe 00 7d 00", 4, 1002),
            (r#"text hex "61 ff 62""#, 6 + 2, 1007),
            (r#"text hex "e2 82""#, 6 + 2, 1007),
            (r#"cont "a""#, 6, 1002),
            ("close hex \"03\"", 7, 1002),
        ];
        for (source, at, code) in cases {
            assert_eq!(read_server(source).verdict, Verdict::Failed { code, at }, "{source}");
        }
    }
}
