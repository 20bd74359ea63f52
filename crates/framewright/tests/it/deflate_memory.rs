//! Who gives way where the memory of compression is used up: whoever holds some of it and sends
//! nothing.

use crate::deflate_support::{NO_TAKEOVER, TAKEOVER, deflating_with, eager, eager_chunks, frame};
use crate::support::{ROLES, binary, limit, misbehaved};
use framewright::deflate::{Codec, Decompressor, DeflateMemory, DeflateParams};
use framewright::{LimitExceeded, PeerMisbehaved, Role, State};
use framewright_testkit::deflate::{Deflater, stored_block};
use framewright_testkit::endpoint::{Endpoint, join_chunks};
use framewright_testkit::rng::SplitMix64;
use std::sync::Arc;

/// Connections in chunk delivery that share a codec, with memory for three messages in parts.
struct Crowd {
    role: Role,
    params: DeflateParams,
    codec: Option<Box<Codec>>,
    memory: Arc<DeflateMemory>,
}

/// How many messages in parts there is memory for.
const PLACES: usize = 3;

impl Crowd {
    fn new(role: Role, params: DeflateParams) -> Crowd {
        let memory = DeflateMemory::new((PLACES + 1) * Decompressor::MAX_SIZE);
        Crowd { role, params, codec: Some(Box::new(Codec::new(Arc::clone(&memory)))), memory }
    }

    fn feed(&mut self, endpoint: &mut Endpoint, octets: &[u8]) {
        endpoint.codec = self.codec.take();
        endpoint.feed(octets);
        self.codec = endpoint.codec.take();
    }

    /// A connection that has sent so many octets of a message of 200 KB that does not compress; and
    /// the rest of it.
    fn sender(&mut self, sent: usize) -> (Endpoint, Sending) {
        let mut endpoint = deflating_with(self.role, eager_chunks(), self.params);
        let message = SplitMix64::new(9).octets(200_000);
        let octets = frame(self.role, "binary rsv1", &Deflater::new(0).message(&message));
        let mut sending = Sending { octets, sent: 0, message };
        sending.go_on(self, &mut endpoint, sent);
        (endpoint, sending)
    }
}

struct Sending {
    octets: Vec<u8>,
    sent: usize,
    message: Vec<u8>,
}

impl Sending {
    /// Sends so many octets more.
    fn go_on(&mut self, crowd: &mut Crowd, endpoint: &mut Endpoint, more: usize) {
        for piece in self.octets[self.sent..][..more].chunks(8 << 10) {
            crowd.feed(endpoint, piece);
        }
        self.sent += more;
    }

    fn finish(&mut self, crowd: &mut Crowd, endpoint: &mut Endpoint) {
        self.go_on(crowd, endpoint, self.octets.len() - self.sent);
        assert_eq!(endpoint.connection.state(), State::Open);
        assert!(join_chunks(&endpoint.events).0 == [binary(&self.message)], "it arrives as it was");
    }
}

/// Nothing but a few octets of a message that never goes on. Once as many as there was memory for
/// had every large compressed message of everybody else refused.
#[test]
fn who_sends_a_little_of_a_message_and_no_more_takes_nothing_from_others() {
    for role in ROLES {
        for params in [TAKEOVER, NO_TAKEOVER] {
            let mut crowd = Crowd::new(role, params);
            let begun = frame(role, "binary rsv1 !fin", &stored_block(&[7; 20], false));
            let (few, rest) = begun.split_at(begun.len() - 5);
            let mut idle: Vec<Endpoint> = (0..2 * PLACES)
                .map(|_| {
                    let mut endpoint = deflating_with(role, eager_chunks(), params);
                    crowd.feed(&mut endpoint, few);
                    endpoint
                })
                .collect();
            for _ in 0..2 * PLACES {
                let (mut endpoint, mut sending) = crowd.sender(100_000);
                sending.finish(&mut crowd, &mut endpoint);
            }
            assert!(crowd.memory.stats().held <= crowd.memory.stats().cap);
            // One has lost what it held, which is told when it goes on. The others wait as before.
            let mut lost = 0;
            for endpoint in &mut idle {
                crowd.feed(endpoint, rest);
                if endpoint.connection.state() == State::Closed {
                    let closure = endpoint.closure();
                    assert_eq!(closure.cause, Some(limit(LimitExceeded::DeflateMemory)));
                    assert_eq!(closure.sent.and_then(|frame| frame.code).map(u16::from), Some(1013));
                    lost += 1;
                }
            }
            assert_eq!(lost, 1, "the place of one was enough for messages that came one after the other");
        }
    }
}

#[test]
fn who_goes_on_sending_keeps_what_it_holds() {
    for role in ROLES {
        let mut crowd = Crowd::new(role, NO_TAKEOVER);
        let mut busy = [0; PLACES].map(|_| crowd.sender(70_000));
        // All have sent enough: whoever comes now finds no place, and nobody is hurt.
        let (late, _) = crowd.sender(80_000);
        assert_eq!(late.closure().cause, Some(limit(LimitExceeded::DeflateMemory)));
        // The second one sends nothing between that and the next who needs a place.
        for index in [0, 2] {
            let (endpoint, sending) = &mut busy[index];
            sending.go_on(&mut crowd, endpoint, 20_000);
        }
        let (mut next, mut next_sending) = crowd.sender(80_000);
        let [(first, first_sending), (second, second_sending), (third, third_sending)] = &mut busy;
        first_sending.finish(&mut crowd, first);
        third_sending.finish(&mut crowd, third);
        next_sending.finish(&mut crowd, &mut next);
        second_sending.go_on(&mut crowd, second, 1);
        assert_eq!(second.closure().cause, Some(limit(LimitExceeded::DeflateMemory)));
    }
}

#[test]
fn a_place_that_was_lost_is_free_again_when_its_message_ends() {
    for role in ROLES {
        let mut crowd = Crowd::new(role, NO_TAKEOVER);
        let idle: Vec<_> = (0..PLACES).map(|_| crowd.sender(10)).collect();
        let all: Vec<_> = (0..PLACES).map(|_| crowd.sender(80_000)).collect();
        drop(idle);
        for (mut endpoint, mut sending) in all {
            sending.finish(&mut crowd, &mut endpoint);
        }
        let Crowd { codec, memory, .. } = crowd;
        drop(codec);
        assert_eq!(memory.stats().held, 0);
    }
}

impl Crowd {
    /// A connection that waits for the rest of a message, of which a few octets have come.
    fn idle(&mut self) -> Endpoint {
        self.sender(20).0
    }

    /// A connection to which all of a message has come that takes many turns to inflate, after its
    /// first turn; and the message.
    fn arrived(&mut self) -> (Endpoint, Vec<u8>) {
        let message = vec![0; 12 << 20];
        let mut endpoint = deflating_with(self.role, eager_chunks(), self.params);
        endpoint.rx.extend_from_slice(&frame(self.role, "binary rsv1", &Deflater::new(6).message(&message)));
        endpoint.codec = self.codec.take();
        endpoint.turn();
        self.codec = endpoint.codec.take();
        assert!(endpoint.connection.driver_view().has_inflate_work());
        (endpoint, message)
    }

    /// Has it told that its peer does not read. Whether it fails for that.
    fn gives_way(&mut self, endpoint: &mut Endpoint) -> bool {
        let refused = endpoint.connection.driver().lend_codec(self.codec.take().expect("it is with nobody"));
        assert!(refused.is_none());
        let fails = endpoint.connection.driver().yield_inflater(endpoint.now, &mut endpoint.rx);
        self.codec = endpoint.connection.driver().reclaim_codec();
        fails
    }

    /// So many large messages, of which each needs a decompressor while others hold all that there
    /// are. Whether one got it.
    fn needs(&mut self, times: usize) -> bool {
        (0..times).all(|_| {
            let idle: Vec<_> = (0..PLACES).map(|_| self.idle()).collect();
            let (endpoint, _) = self.sender(100_000);
            drop(idle);
            endpoint.connection.state() == State::Open
        })
    }
}

/// It waits for its turn, and not for its peer. It was taken for one of a peer that sends nothing.
#[test]
fn a_message_that_has_arrived_loses_nothing_while_it_waits_for_its_turns() {
    for role in ROLES {
        let mut crowd = Crowd::new(role, NO_TAKEOVER);
        let (mut endpoint, message) = crowd.arrived();
        assert!(crowd.needs(3 * PLACES));
        crowd.feed(&mut endpoint, b"");
        assert_eq!(endpoint.connection.state(), State::Open, "{:?}", endpoint.connection.closure());
        assert!(join_chunks(&endpoint.events).0 == [binary(&message)]);
    }
}

/// Until its peer does not read: then nobody knows when it goes on.
#[test]
fn a_message_that_has_arrived_gives_way_when_its_peer_does_not_read() {
    for role in ROLES {
        let mut crowd = Crowd::new(role, NO_TAKEOVER);
        let stuck: Vec<_> = (0..PLACES)
            .map(|_| {
                let (mut endpoint, _) = crowd.arrived();
                assert!(!crowd.gives_way(&mut endpoint));
                endpoint
            })
            .collect();
        for _ in 0..2 {
            let (mut endpoint, mut sending) = crowd.sender(100_000);
            sending.finish(&mut crowd, &mut endpoint);
        }
        drop(stuck);
    }
}

/// Who does not read must not keep the decompressor that there is for all, nor get another one from
/// those who send. Its peer is told when it reads, so what it still sends is known.
#[test]
fn a_peer_that_does_not_read_takes_nothing_from_others() {
    for role in ROLES {
        let mut crowd = Crowd::new(role, NO_TAKEOVER);
        let others = [0; PLACES].map(|_| crowd.sender(20));
        let (mut endpoint, _) = crowd.arrived();
        let next = frame(role, "binary", &[0; 1000]);
        endpoint.rx.extend_from_slice(&next[..next.len() - 900]);
        assert!(crowd.gives_way(&mut endpoint), "there is no memory for one of its own");
        let closure = endpoint.connection.closure().expect("it has failed");
        assert_eq!(closure.cause, Some(limit(LimitExceeded::DeflateMemory)));
        assert_eq!(endpoint.connection.driver_view().unreceived(), 900);
        for (mut endpoint, mut sending) in others {
            sending.finish(&mut crowd, &mut endpoint);
        }
    }
}

/// A peer that is still sending reads the Close frame only then: what its frame has announced is
/// read and dropped.
#[test]
fn what_is_left_of_a_compressed_frame_is_known_when_it_is_not_deflate() {
    for role in ROLES {
        for config in [eager(), eager_chunks()] {
            let mut endpoint = deflating_with(role, config, NO_TAKEOVER);
            let octets = frame(role, "binary rsv1", &[0xff; 1000]);
            endpoint.feed(&octets[..octets.len() - 900]);
            assert_eq!(endpoint.closure().cause, Some(misbehaved(PeerMisbehaved::InvalidDeflate)));
            assert_eq!(endpoint.connection.driver_view().unreceived(), 900);
        }
    }
}
