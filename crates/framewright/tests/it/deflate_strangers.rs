//! Peers that refer to earlier messages though they have agreed not to, beside strangers that hold
//! as much of the memory of compression as they can get.

use crate::deflate_support::{NO_TAKEOVER, deflating_with, eager, eager_chunks, frame};
use crate::support::{ROLES, binary, misbehaved};
use framewright::deflate::{Codec, Decompressor, DeflateMemory};
use framewright::{Config, PeerMisbehaved, Role, State};
use framewright_testkit::deflate::{Deflater, compressible, stored_block};
use framewright_testkit::endpoint::{Endpoint, join_chunks};
use framewright_testkit::rng::SplitMix64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The connections of an event loop.
struct Place {
    role: Role,
    config: Config,
    codec: Option<Box<Codec>>,
    memory: Arc<DeflateMemory>,
    now: Instant,
}

/// A peer that keeps its context, and what is seen of it.
struct Keeper {
    endpoint: Endpoint,
    deflater: Deflater,
    sent: usize,
}

/// Room for 26 windows beside the least of the others.
const MEMORY: usize = 16 * Decompressor::MAX_SIZE;

impl Place {
    fn new(role: Role) -> Place {
        let memory = DeflateMemory::new(MEMORY);
        let codec = Some(Box::new(Codec::new(Arc::clone(&memory))));
        Place { role, config: eager(), codec, memory, now: Instant::now() }
    }

    fn endpoint(&self) -> Endpoint {
        deflating_with(self.role, self.config.clone(), NO_TAKEOVER)
    }

    fn feed(&mut self, endpoint: &mut Endpoint, octets: &[u8]) {
        endpoint.set_time(self.now);
        endpoint.codec = self.codec.take();
        endpoint.feed(octets);
        self.codec = endpoint.codec.take();
        assert!(self.memory.stats().held <= MEMORY + Decompressor::MAX_SIZE, "{:?}", self.memory.stats());
    }

    /// A stranger that has sent this message.
    fn stranger(&mut self, message: &[u8]) -> Keeper {
        let mut stranger = Keeper { endpoint: self.endpoint(), deflater: Deflater::new(6), sent: 0 };
        stranger.send(self, message);
        stranger
    }

    /// As many as there can be, and more, each with one message of zeros: a few octets that come to
    /// 32 KiB. And as many with less, for what is left.
    fn strangers_with_zeros(&mut self) -> Vec<Keeper> {
        let lens = [32 << 10, 4 << 10, 1 << 10, 128, 64];
        lens.iter().flat_map(|len| [*len; 40]).map(|len| self.stranger(&vec![0; len])).collect()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

impl Keeper {
    fn new(place: &Place) -> Keeper {
        Keeper { endpoint: place.endpoint(), deflater: Deflater::new(6), sent: 0 }
    }

    fn send(&mut self, place: &mut Place, message: &[u8]) {
        let octets = frame(place.role, "binary rsv1", &self.deflater.message(message));
        place.feed(&mut self.endpoint, &octets);
    }

    /// Sends so many messages of 240 octets, each of which refers to the one before it: they
    /// arrive.
    fn talks(&mut self, place: &mut Place, messages: usize) {
        for _ in 0..messages {
            self.sent += 1;
            let mut message = format!("{{\"number\": {:>6}, \"text\": \"", self.sent).into_bytes();
            message.extend(compressible(&mut SplitMix64::new(240), 210));
            self.send(place, &message);
            let closure = self.endpoint.connection.closure();
            assert_eq!(self.endpoint.connection.state(), State::Open, "message {}: {closure:?}", self.sent);
            assert!(join_chunks(&self.endpoint.events).0.last() == Some(&binary(&message)));
        }
    }

    /// Sends a message that refers to an earlier one which is not there any more.
    fn has_lost_it(&mut self, place: &mut Place) {
        self.send(place, &compressible(&mut SplitMix64::new(240), 210));
        let closure = self.endpoint.closure();
        assert_eq!(closure.cause, Some(misbehaved(PeerMisbehaved::ForgottenContext)));
        let sent = closure.sent.expect("a Close frame");
        assert_eq!(sent.code.map(u16::from), Some(1007));
        assert_eq!(&*sent.reason, "reference to an earlier message, against no_context_takeover");
    }
}

/// 1,024 peers with one message of zeros held all that may be kept, and the second message of the
/// next peer ended its connection.
#[test]
fn strangers_with_a_message_of_zeros_take_nothing_from_who_refers_back() {
    for role in ROLES {
        let mut place = Place::new(role);
        let strangers = place.strangers_with_zeros();
        let mut keeper = Keeper::new(&place);
        keeper.talks(&mut place, 20);
        // Nor do those that come later, however many, until it has been silent for minutes.
        for _ in 0..20 {
            place.pass(10);
            drop(place.strangers_with_zeros());
            let _others = place.strangers_with_zeros();
            keeper.talks(&mut place, 1);
        }
        drop(strangers);
    }
}

/// Strangers that refer back to their own messages take nothing from others.
#[test]
fn strangers_that_refer_to_zeros_take_nothing_either() {
    for role in ROLES {
        let mut place = Place::new(role);
        let mut strangers = place.strangers_with_zeros();
        let mut keeper = Keeper::new(&place);
        keeper.talks(&mut place, 2);
        for _ in 0..5 {
            strangers.iter_mut().for_each(|stranger| stranger.send(&mut place, &[0; 32 << 10]));
            place.pass(10);
            keeper.talks(&mut place, 1);
        }
    }
}

/// So did 415 messages that were begun and never went on.
#[test]
fn messages_that_were_begun_take_nothing_from_who_refers_back() {
    for role in ROLES {
        let mut place = Place::new(role);
        let begun = frame(role, "binary rsv1 !fin", &stored_block(&[7; 20], false));
        let begin = |place: &mut Place| {
            let mut endpoint = place.endpoint();
            place.feed(&mut endpoint, &begun[..begun.len() - 5]);
            endpoint
        };
        let mut strangers: Vec<_> = (0..50).map(|_| begin(&mut place)).collect();
        let held = place.memory.stats().held;
        assert!(held >= MEMORY / 8 * 6 - Decompressor::MAX_SIZE, "they hold all that they can: {held}");
        let mut keeper = Keeper::new(&place);
        keeper.talks(&mut place, 200);
        // Nor does what is kept, of however many, keep a large message from being inflated as it
        // arrives.
        strangers.clear();
        let kept = place.strangers_with_zeros();
        place.config = eager_chunks();
        let mut endpoint = place.endpoint();
        let message = SplitMix64::new(9).octets(200_000);
        for piece in frame(role, "binary rsv1", &Deflater::new(0).message(&message)).chunks(8 << 10) {
            place.feed(&mut endpoint, piece);
        }
        assert!(join_chunks(&endpoint.events).0 == [binary(&message)]);
        drop(kept);
    }
}

#[test]
fn promised_takeover_takes_nothing_from_who_refers_back_nor_the_other_way_round() {
    for role in ROLES {
        let mut place = Place::new(role);
        let promise = |place: &Place| std::iter::from_fn(|| place.memory.reserve(1000)).collect::<Vec<_>>();
        let promised = promise(&place);
        let mut keeper = Keeper::new(&place);
        keeper.talks(&mut place, 200);
        drop(promised);
        let strangers = place.strangers_with_zeros();
        let promised = promise(&place);
        assert!(promised.len() * 1000 > MEMORY / 8 - 1000 - Decompressor::MAX_SIZE, "an eighth is left");
        keeper.talks(&mut place, 1);
        drop(strangers);
    }
}

/// Who has sent as much as can be kept and then is silent holds it until others need it: what it
/// has lost is told if it refers to it.
#[test]
fn who_has_been_silent_for_minutes_gives_way_and_is_told_why_it_fails() {
    for role in ROLES {
        let mut place = Place::new(role);
        let noise = |seed| SplitMix64::new(seed).octets(32 << 10);
        let mut first = Keeper::new(&place);
        first.talks(&mut place, 2);
        place.pass(1);
        let silent: Vec<_> = (0..40).map(|seed| place.stranger(&noise(seed))).collect();
        // They have sent more than others.
        let mut early = place.stranger(&[0; 30 << 10]);
        early.send(&mut place, &[0; 10]);
        assert_eq!(early.endpoint.closure().cause, Some(misbehaved(PeerMisbehaved::ForgottenContext)));
        place.pass(12 * 60);
        let mut busy = Keeper::new(&place);
        busy.talks(&mut place, 100);
        let zeros = place.strangers_with_zeros();
        busy.talks(&mut place, 100);
        first.has_lost_it(&mut place);
        // What comes next may refer to itself, and to what comes behind that.
        let mut again = silent.into_iter().next().expect("one of them");
        again.deflater = Deflater::new(6);
        again.endpoint.events.clear();
        again.talks(&mut place, 3);
        drop(zeros);
    }
}

/// 64 peers with an empty message, or with next to nothing, kept all that others held from
/// everybody: no more than so many were asked.
#[test]
fn who_holds_nothing_or_little_keeps_nobody_from_what_others_hold() {
    for role in ROLES {
        for message in [&b""[..], b"hi"] {
            let mut place = Place::new(role);
            let little: Vec<_> = (0..64).map(|_| place.stranger(message)).collect();
            place.pass(8 * 60);
            let zeros = place.strangers_with_zeros();
            Keeper::new(&place).talks(&mut place, 2);
            drop((little, zeros));
        }
    }
}

/// What was sent once was held for ever for an empty message each minute.
#[test]
fn what_was_sent_once_is_not_held_for_ever_by_empty_messages() {
    for role in ROLES {
        let mut place = Place::new(role);
        let noise = |place: &mut Place, len: usize| place.stranger(&SplitMix64::new(1).octets(len));
        let lens = [32 << 10, 4 << 10, 1 << 10, 400].into_iter().flat_map(|len| [len; 30]);
        let mut strangers: Vec<_> = lens.map(|len| noise(&mut place, len)).collect();
        for _ in 0..30 {
            place.pass(60);
            strangers.iter_mut().for_each(|stranger| stranger.send(&mut place, b""));
        }
        place.pass(5);
        Keeper::new(&place).talks(&mut place, 100);
    }
}

/// Who says a little now and then sends less than it has sent once, and is there all the same.
#[test]
fn a_conversation_of_a_message_each_minute_loses_nothing_to_silent_strangers_nor_to_zeros() {
    for role in ROLES {
        let mut place = Place::new(role);
        let silent: Vec<_> =
            (0..40).map(|seed| place.stranger(&SplitMix64::new(seed).octets(32 << 10))).collect();
        place.pass(10 * 60);
        let mut keeper = Keeper::new(&place);
        keeper.talks(&mut place, 150);
        for minute in 0..20 {
            place.pass(60);
            if minute % 10 == 0 {
                drop(place.strangers_with_zeros());
            }
            let _zeros = place.strangers_with_zeros();
            let mut other = Keeper::new(&place);
            other.talks(&mut place, 3);
            keeper.talks(&mut place, 1);
        }
        drop(silent);
    }
}

/// The decompressor has what the message may refer to, whatever becomes of the memory meanwhile.
#[test]
fn a_message_that_is_being_inflated_arrives_though_others_have_taken_what_is_kept() {
    for role in ROLES {
        for refers in [false, true] {
            let mut place = Place::new(role);
            place.config.message_timeout = None;
            let mut keeper = Keeper::new(&place);
            if refers {
                keeper.talks(&mut place, 100);
            } else {
                keeper.send(&mut place, &SplitMix64::new(1).octets(32 << 10));
            }
            let message = if refers {
                compressible(&mut SplitMix64::new(240), 210)
            } else {
                keeper.deflater = Deflater::new(6);
                b"like nothing before it".to_vec()
            };
            let octets = frame(role, "binary rsv1", &keeper.deflater.message(&message));
            let (most, rest) = octets.split_at(octets.len() - 2);
            place.feed(&mut keeper.endpoint, most);
            place.pass(60 * 60);
            let strangers = place.strangers_with_zeros();
            place.feed(&mut keeper.endpoint, rest);
            let closure = keeper.endpoint.connection.closure();
            let (events, _) = join_chunks(&keeper.endpoint.events);
            assert!(events.last() == Some(&binary(&message)), "{role:?}, {refers}: {closure:?}");
            // What comes from then on is kept again, and nothing before.
            if refers {
                keeper.has_lost_it(&mut place);
            } else {
                keeper.talks(&mut place, 2);
            }
            drop((keeper, strangers));
            place.codec = None;
            assert_eq!(place.memory.stats().held, 0);
        }
    }
}
