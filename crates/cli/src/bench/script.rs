//! What is sent, built before the first connection: a sequence of requests that repeats for ever, masked and in one piece
//! of memory, so that sending is copying a slice into a socket.
//!
//! ```text
//!   | request 0 | request 1 | ... | request n-1 | request 0 | re...
//!   |<------------- one period -------------->|<-- so that a write need not stop there -->|
//! ```

use super::mix::Mix;
use super::payload::Kind;
use super::target::Protocol;
use framewright::frame::{Header, MAX_HEADER_LEN, OpCode, encode_frame};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What a script is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe<'a> {
    pub(super) mix: &'a Mix,
    pub(super) kind: Kind,
    pub(super) seed: u64,
    /// Messages that may leave in one write.
    pub(super) in_flight: usize,
    /// Whether the content of replies is compared.
    pub(super) verify: bool,
    pub(super) protocol: Protocol,
}

/// The requests, and what their replies have to be.
#[derive(Debug)]
pub(super) struct Script {
    /// The requests of one period, and more of the next.
    octets: Vec<u8>,
    /// Octets of a period.
    period: usize,
    messages: Vec<Message>,
    /// The payloads of a period, unmasked, where replies are compared with them.
    payloads: Vec<u8>,
    pub(super) opcode: OpCode,
    pub(super) protocol: Protocol,
    pub(super) verify: bool,
}

/// One message of a period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// Where its frame starts in the octets of the period, and how long that is.
    start: usize,
    pub(super) frame_len: usize,
    /// Where its payload lies among the payloads.
    payload_start: usize,
    pub(super) payload_len: usize,
    /// The reply in one frame: how long it is, and its first two octets.
    pub(super) reply_len: usize,
    pub(super) reply_start: [u8; 2],
}

impl Script {
    pub(super) fn new(recipe: Recipe<'_>) -> Script {
        let Recipe { mix, kind, seed, in_flight, verify, protocol } = recipe;
        let mut script = Script {
            octets: Vec::new(),
            period: 0,
            messages: Vec::new(),
            payloads: Vec::new(),
            opcode: kind.opcode(),
            protocol,
            verify,
        };
        let mut keys = StdRng::seed_from_u64(seed);
        let order = mix.order(seed);
        loop {
            for &size in &order {
                let payload = kind.content(size, seed, script.messages.len() as u64);
                script.push(&payload, keys.random());
            }
            // Replies that are compared have to differ from each other; else one round will do.
            let varied = script.messages.len() >= VARIED || script.period >= VARIED_OCTETS;
            if !verify || (varied && script.messages.len() > order.len()) {
                break;
            }
        }
        let longest = script.messages.iter().map(|message| message.frame_len).max().unwrap_or(0);
        let burst = longest.saturating_mul(in_flight).min(BURST);
        while script.octets.len() < script.period + burst {
            let more = (script.period + burst - script.octets.len()).min(script.period);
            script.octets.extend_from_within(..more);
        }
        script
    }

    fn push(&mut self, payload: &[u8], key: [u8; 4]) {
        let start = self.octets.len();
        encode_frame(&mut self.octets, true, self.opcode, payload, Some(key));
        let frame_len = self.octets.len() - start;
        self.period = self.octets.len();
        let payload_len = payload.len() as u64;
        let reply = Header { fin: true, rsv: 0, opcode: self.opcode, mask: None, payload_len };
        let mut reply_header = [0; MAX_HEADER_LEN];
        let reply_len = reply.encode(&mut reply_header) + payload.len();
        self.messages.push(Message {
            start,
            frame_len,
            payload_start: self.payloads.len(),
            payload_len: payload.len(),
            reply_len,
            reply_start: [reply_header[0], reply_header[1]],
        });
        if self.verify {
            self.payloads.extend_from_slice(payload);
        }
    }

    /// The message at this place of the period.
    #[inline]
    pub(super) fn message(&self, index: usize) -> Message {
        self.messages[index]
    }

    /// The place after this one.
    #[inline]
    pub(super) fn after(&self, index: usize) -> usize {
        if index + 1 == self.messages.len() { 0 } else { index + 1 }
    }

    /// A place of the period for connection `number`: neighbours start at different ones, so that long messages do not
    /// come in step, and a reply that went to the wrong connection shows.
    pub(super) fn place(&self, number: usize) -> usize {
        number.wrapping_mul(STRIDE) % self.messages.len()
    }

    /// Where the requests start that begin with the message at this place.
    pub(super) fn start(&self, index: usize) -> usize {
        self.messages[index].start
    }

    /// The octets of `count` requests from the place `index` on, which is moved behind them.
    pub(super) fn advance(&self, index: &mut usize, count: usize) -> usize {
        if let [only] = self.messages[..] {
            return only.frame_len * count;
        }
        let mut octets = 0;
        for _ in 0..count {
            octets += self.messages[*index].frame_len;
            *index = self.after(*index);
        }
        octets
    }

    /// At most `most` octets to send from `at` on.
    pub(super) fn to_send(&self, at: usize, most: usize) -> &[u8] {
        &self.octets[at..self.octets.len().min(at.saturating_add(most))]
    }

    /// The place in the period of what comes after `count` octets that were sent from `at`.
    pub(super) fn behind(&self, at: usize, count: usize) -> usize {
        (at + count) % self.period
    }

    /// How many octets from `at` complete the request that `at` is inside of; 0 between two requests.
    pub(super) fn rest_of_request(&self, at: usize) -> usize {
        let next = self.messages.partition_point(|message| message.start < at);
        self.messages.get(next).map_or(self.period, |message| message.start) - at
    }

    /// The payload of a message, where replies are compared.
    pub(super) fn payload(&self, message: Message) -> &[u8] {
        &self.payloads[message.payload_start..message.payload_start + message.payload_len]
    }

    /// The frame of a message.
    pub(super) fn frame(&self, message: Message) -> &[u8] {
        &self.octets[message.start..message.start + message.frame_len]
    }
}

/// Messages that differ, when replies are compared: a prime, so that it has no common period with a mix.
const VARIED: usize = 251;
/// So many octets of them are enough.
const VARIED_OCTETS: usize = 1 << 20;
/// The most octets of requests for one write. More do not make a write cheaper.
const BURST: usize = 256 << 10;
/// A prime that is larger than the sum of weights.
const STRIDE: usize = 10_007;

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::Role;
    use framewright::frame::{Frame, Rules};

    fn script(mix: &str, in_flight: usize, verify: bool) -> Script {
        let mix = mix.parse().unwrap();
        let (kind, protocol) = (Kind::Ascii, Protocol::WebSocket);
        Script::new(Recipe { mix: &mix, kind, seed: 1, in_flight, verify, protocol })
    }

    #[test]
    fn the_octets_are_masked_frames_that_repeat() {
        let script = script("0,20:3,300", 7, false);
        let mut octets = script.octets.clone();
        let mut rest = &mut octets[..];
        let (mut index, mut frames) = (0, 0);
        while let Some((frame, behind)) = Frame::decode(rest, Rules::for_receiver(Role::Server)).unwrap() {
            assert_eq!(frame.payload.len(), script.message(index).payload_len);
            assert!(frame.payload.is_ascii() && frame.header.fin && frame.header.opcode == OpCode::Text);
            (index, frames, rest) = (script.after(index), frames + 1, behind);
        }
        assert!(frames >= 5 + 7);
    }

    #[test]
    fn a_write_of_all_that_may_be_in_flight_need_not_stop_at_the_end_of_the_period() {
        for (mix, in_flight) in [("20", 1), ("20", 64), ("0", 3), ("20,500", 16), ("20,1M", 4)] {
            let script = script(mix, in_flight, false);
            let last = script.start(script.messages.len() - 1);
            let mut index = script.messages.len() - 1;
            let octets = script.advance(&mut index, in_flight);
            assert!(script.to_send(last, octets).len() >= octets.min(BURST), "{mix} {in_flight}");
            assert_eq!(script.behind(last, octets), script.start(index));
        }
    }

    #[test]
    fn it_knows_where_requests_end() {
        let script = script("20", 4, false);
        assert_eq!(script.rest_of_request(0), 0);
        assert_eq!(script.rest_of_request(1), 25);
        assert_eq!(script.rest_of_request(25), 1);
    }

    #[test]
    fn messages_differ_when_replies_are_compared() {
        let script = script("20", 1, true);
        assert!(script.messages.len() >= VARIED);
        let payloads: Vec<_> = script.messages.iter().map(|&message| script.payload(message)).collect();
        assert!((1..payloads.len()).all(|i| !payloads[..i].contains(&payloads[i])));
        let large = self::script("1M", 1, true);
        assert_eq!(large.messages.len(), 2);
    }
}
