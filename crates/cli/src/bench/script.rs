//! What is sent, built before the first connection: a sequence of requests that repeats for ever,
//! masked and in one piece of memory, so that sending is copying a slice into a socket.
//!
//! ```text
//!   | request 0 | request 1 | ... | request n-1 | request 0 | re...
//!   |<------------- one period -------------->|<-- so that a write need not stop there -->|
//! ```
//! With context takeover a compressed message may refer to those before it, which it does from the
//! second time around:
//! ```text
//!   | n requests, each compressed by itself | the same messages, compressed as if they followed themselves | re...
//!      |<- connections begin in here          |<------------------------ one period ------------------->|
//! ```
//! At the start of every period the last 32 KiB of messages are then the same, and more than that
//! any message cannot refer to.

use super::compress;
use super::mix::Mix;
use super::payload::Kind;
use super::target::Protocol;
use framewright::deflate::WindowBits;
use framewright::frame::{Header, MAX_HEADER_LEN, OpCode, encode_frame};
use framewright_cli::Compress;
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
    /// Whether the content of all replies is compared.
    pub(super) verify: bool,
    pub(super) compress: Compress,
    /// What messages are compressed with.
    pub(super) window: WindowBits,
    pub(super) protocol: Protocol,
    /// Whether all connections begin with the same message.
    pub(super) in_step: bool,
}

/// The requests, and what their replies have to be.
#[derive(Debug)]
pub(super) struct Script {
    /// The requests up to the end of the first period, and more of the next.
    octets: Vec<u8>,
    /// Where that period ends.
    end: usize,
    messages: Vec<Message>,
    /// The message with which a period starts.
    again: usize,
    /// So many messages are there for connections to begin with.
    beginnings: usize,
    /// What the messages say, where replies are compared with it.
    payloads: Vec<u8>,
    pub(super) opcode: OpCode,
    pub(super) protocol: Protocol,
    pub(super) verify: bool,
    pub(super) compress: Compress,
    pub(super) window: WindowBits,
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// Where its frame starts in the octets, and how long that is.
    start: usize,
    pub(super) frame_len: usize,
    /// Where what it says lies among the payloads, and how long it is: longer than its frame, where
    /// that is compressed.
    payload_start: usize,
    pub(super) payload_len: usize,
    /// The reply in one frame that is not compressed: how long it is, and its first two octets.
    pub(super) reply_len: usize,
    pub(super) reply_start: [u8; 2],
}

impl Script {
    pub(super) fn new(recipe: Recipe<'_>) -> Script {
        let Recipe { kind, seed, in_flight, verify, compress, window, protocol, .. } = recipe;
        let payloads = recipe.payloads();
        let mut script = Script {
            octets: Vec::new(),
            end: 0,
            messages: Vec::new(),
            again: 0,
            beginnings: payloads.len(),
            payloads: Vec::new(),
            opcode: kind.opcode(),
            protocol,
            verify,
            compress,
            window,
        };
        let mut keys = StdRng::seed_from_u64(seed);
        if compress == Compress::Takeover {
            script.push(&payloads, &compress::compress(Compress::Shared, window, &payloads), &mut keys);
            script.again = payloads.len();
            script.beginnings = with_a_window_behind(&payloads);
        }
        script.push(&payloads, &compress::compress(compress, window, &payloads), &mut keys);
        if recipe.in_step {
            script.beginnings = 1;
        }
        if script.looks() {
            script.payloads = payloads.concat();
        }
        let longest = script.messages.iter().map(|message| message.frame_len).max().unwrap_or(0);
        let burst = longest.saturating_mul(in_flight).min(BURST);
        let start = script.start(script.again);
        while script.octets.len() < script.end + burst {
            let more = (script.end + burst - script.octets.len()).min(script.end - start);
            script.octets.extend_from_within(start..start + more);
        }
        script
    }

    /// Adds the frames of messages that say this, with what they carry of it.
    fn push(&mut self, payloads: &[Vec<u8>], carried: &[Vec<u8>], keys: &mut StdRng) {
        let mut payload_start = 0;
        for (payload, carried) in payloads.iter().zip(carried) {
            let start = self.octets.len();
            let payload_len = payload.len();
            let mut header = [0; MAX_HEADER_LEN];
            encode_frame(&mut self.octets, true, self.opcode, carried, Some(keys.random()));
            if self.compress != Compress::Off {
                self.octets[start] |= RSV1;
            }
            let reply = Header {
                fin: true,
                rsv: 0,
                opcode: self.opcode,
                mask: None,
                payload_len: payload_len as u64,
            };
            let reply_len = reply.encode(&mut header) + payload_len;
            let frame_len = self.octets.len() - start;
            let reply_start = [header[0], header[1]];
            self.messages.push(Message {
                start,
                frame_len,
                payload_start,
                payload_len,
                reply_len,
                reply_start,
            });
            payload_start += payload_len;
        }
        self.end = self.octets.len();
    }

    /// Whether replies are compared with what was sent, on some connection.
    fn looks(&self) -> bool {
        self.verify || self.compress != Compress::Off
    }

    /// The message at this place.
    #[inline]
    pub(super) fn message(&self, index: usize) -> Message {
        self.messages[index]
    }

    /// The place after this one.
    #[inline]
    pub(super) fn after(&self, index: usize) -> usize {
        if index + 1 == self.messages.len() { self.again } else { index + 1 }
    }

    /// A place to begin at for connection `number`: neighbours begin at different ones, so that
    /// long messages do not come in step, and a reply that went to the wrong connection shows.
    pub(super) fn place(&self, number: usize) -> usize {
        number.wrapping_mul(STRIDE) % self.beginnings
    }

    /// Where the requests start that begin with the message at this place.
    pub(super) fn start(&self, index: usize) -> usize {
        self.messages[index].start
    }

    /// How many messages there are before the first comes again, where there is no beginning that
    /// comes only once.
    pub(super) fn period(&self) -> usize {
        self.messages.len() - self.again
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

    /// The place of what comes after `count` octets that were sent from `at`.
    pub(super) fn behind(&self, at: usize, count: usize) -> usize {
        let start = self.start(self.again);
        match (at + count).checked_sub(self.end) {
            Some(beyond) => start + beyond % (self.end - start),
            None => at + count,
        }
    }

    /// How many octets from `at` complete the request that `at` is inside of; 0 between two
    /// requests.
    pub(super) fn rest_of_request(&self, at: usize) -> usize {
        let next = self.messages.partition_point(|message| message.start < at);
        self.messages.get(next).map_or(self.end, |message| message.start) - at
    }

    /// What a message says, where replies are compared.
    pub(super) fn payload(&self, message: Message) -> &[u8] {
        &self.payloads[message.payload_start..message.payload_start + message.payload_len]
    }

    /// The frame of a message.
    pub(super) fn frame(&self, message: Message) -> &[u8] {
        &self.octets[message.start..message.start + message.frame_len]
    }
}

impl Recipe<'_> {
    /// What the messages say.
    fn payloads(&self) -> Vec<Vec<u8>> {
        let Recipe { mix, kind, seed, verify, compress, .. } = *self;
        let order = mix.order(seed);
        let (mut payloads, mut octets) = (Vec::new(), 0);
        loop {
            for &size in &order {
                payloads.push(kind.content(size, seed, payloads.len() as u64));
                octets += size;
            }
            // Replies that are compared have to differ from each other, and so have messages that
            // are compressed; else one round will do.
            let varied = payloads.len() >= VARIED || octets >= VARIED_OCTETS;
            let enough = match compress {
                Compress::Off => !verify || (varied && payloads.len() > order.len()),
                Compress::Shared => varied && payloads.len() > order.len(),
                Compress::Takeover => varied && payloads.len() > order.len() && octets >= 2 * WINDOW,
            };
            if enough {
                return payloads;
            }
        }
    }
}

/// How many of the messages have so much behind them, or are so much themselves, that nothing
/// refers to what came before them when all are through.
fn with_a_window_behind(payloads: &[Vec<u8>]) -> usize {
    let mut octets = 0;
    let short = payloads.iter().rev().take_while(|payload| {
        octets += payload.len();
        octets < WINDOW
    });
    payloads.len() - short.count()
}

/// Messages that differ, where they have to: a prime, so that it has no common period with a mix.
const VARIED: usize = 251;
/// So many octets of them are enough.
const VARIED_OCTETS: usize = 1 << 20;
/// How far back a compressed message can refer at most.
const WINDOW: usize = WindowBits::MAX.size();
/// The bit that says that a message is compressed, in the first octet of its first frame (RFC 7692,
/// section 6).
const RSV1: u8 = 0x40;
/// The most octets of requests for one write. More do not make a write cheaper.
const BURST: usize = 256 << 10;
/// A prime that is larger than the sum of weights.
const STRIDE: usize = 10_007;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::inflated::Inflated;
    use framewright::Role;
    use framewright::frame::{Frame, Rules};
    use std::collections::BTreeSet;

    impl<'a> Recipe<'a> {
        /// A message in flight, nothing compared.
        pub(in crate::bench) fn simple(mix: &'a Mix, kind: Kind, compress: Compress) -> Recipe<'a> {
            let (window, protocol) = (WindowBits::MAX, Protocol::WebSocket);
            let (seed, in_flight, verify, in_step) = (1, 1, false, false);
            Recipe { mix, kind, seed, in_flight, verify, compress, window, protocol, in_step }
        }
    }

    fn script(mix: &str, in_flight: usize, verify: bool) -> Script {
        let mix = mix.parse().unwrap();
        let compress = Compress::Off;
        Script::new(Recipe { in_flight, verify, ..Recipe::simple(&mix, Kind::Ascii, compress) })
    }

    fn compressed(mix: &str, in_flight: usize, compress: Compress) -> Script {
        let mix = mix.parse().unwrap();
        Script::new(Recipe { in_flight, ..Recipe::simple(&mix, Kind::Json, compress) })
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

    #[test]
    fn compressed_messages_can_be_inflated_wherever_a_connection_begins_and_for_ever() {
        for (mix, compress) in [
            ("1K", Compress::Shared),
            ("1K", Compress::Takeover),
            ("100:5,20K", Compress::Takeover),
            ("40K", Compress::Takeover),
        ] {
            let script = compressed(mix, 3, compress);
            for place in [0, script.beginnings - 1] {
                let mut index = place;
                let (mut at, mut inflated) = (script.start(index), Inflated::new(compress));
                for _ in 0..2 * script.messages.len() {
                    let message = script.message(index);
                    let mut frame = script.to_send(at, message.frame_len).to_vec();
                    assert_eq!(frame, script.frame(message));
                    let rules = Rules { rsv: 0b100, ..Rules::for_receiver(Role::Server) };
                    let (frame, _) = Frame::decode(&mut frame, rules).unwrap().unwrap();
                    assert_eq!(frame.header.rsv, 0b100);
                    inflated.push(frame.payload);
                    assert_eq!(inflated.end(message.payload_len).unwrap(), script.payload(message));
                    at = script.behind(at, script.advance(&mut index, 1));
                }
            }
        }
    }

    #[test]
    fn messages_differ_when_they_are_compressed() {
        for compress in [Compress::Shared, Compress::Takeover] {
            for (mix, least) in [("128", 251), ("1K", 251), ("16K", 64)] {
                let script = compressed(mix, 1, compress);
                let messages = &script.messages[script.again..];
                let payloads: Vec<_> = messages.iter().map(|&message| script.payload(message)).collect();
                assert!(payloads.len() >= least, "{mix}");
                assert!((1..payloads.len()).all(|i| !payloads[..i].contains(&payloads[i])), "{mix}");
            }
        }
    }

    #[test]
    fn many_connections_begin_at_different_messages() {
        let script = compressed("1K", 1, Compress::Takeover);
        let places: BTreeSet<usize> = (0..64).map(|number| script.place(number)).collect();
        assert_eq!(places.len(), 64);
        assert!(places.iter().all(|&place| script.start(script.again) - script.start(place) > 4 << 10));
    }
}
