//! Who gives way where the memory of compression is used up: whoever holds some of it and sends nothing.

use crate::deflate_support::{NO_TAKEOVER, TAKEOVER, deflating_with, eager_chunks, frame};
use crate::support::{ROLES, binary, limit};
use framewright::deflate::{Codec, Decompressor, DeflateMemory, DeflateParams};
use framewright::{LimitExceeded, Role, State};
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

    /// A connection that has sent so many octets of a message of 200 KB that does not compress; and the rest of it.
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

/// Nothing but a few octets of a message that never goes on. Once as many as there was memory for had every large compressed message
/// of everybody else refused.
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
