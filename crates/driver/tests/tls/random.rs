//! Two connections over TLS, with a wire between them that moves as many bytes as it likes whenever it
//! likes, and announces only what is new, as epoll does. Nobody may wait for what has arrived.

use crate::bench::{Bench, config, shown};
use crate::peer::{Ours, Setting};
use crate::wire::noise;
use framewright::{Error, Event, Message, Role, State};
use framewright_driver::{Application, Current, Io, Next, Transport};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Shutdown;

/// A socket: what has arrived, and what waits to be sent.
#[derive(Debug)]
struct Socket {
    incoming: VecDeque<u8>,
    incoming_ended: bool,
    outgoing: VecDeque<u8>,
    outgoing_ended: bool,
    /// The most bytes that wait to be sent.
    room: usize,
    /// Whether a write was refused: then room is announced.
    refused: bool,
    short_read_empties: bool,
    lost: Option<Loss>,
}

/// How the wire ends before its time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// Both directions end without close_notify. What is written is taken as long as there is room.
    Ends,
    /// Nothing is taken any more, and what had arrived is read up to a failure.
    Resets,
}

impl Transport for Socket {
    fn read(&mut self, target: &mut [u8]) -> Io {
        assert!(!target.is_empty(), "a read into nothing looks like the end");
        let count = self.incoming.len().min(target.len());
        if count == 0 {
            return match self.lost {
                Some(Loss::Resets) => Io::Lost,
                Some(Loss::Ends) => Io::Moved(0),
                None if self.incoming_ended => Io::Moved(0),
                None => Io::Blocked,
            };
        }
        for (slot, byte) in target.iter_mut().zip(self.incoming.drain(..count)) {
            *slot = byte;
        }
        Io::Moved(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        assert!(!self.outgoing_ended, "a write behind the end");
        if self.lost == Some(Loss::Resets) {
            return Io::Lost;
        }
        let before = self.outgoing.len();
        for slice in slices {
            let room = self.room - self.outgoing.len();
            self.outgoing.extend(&slice[..slice.len().min(room)]);
        }
        if self.outgoing.len() == before {
            // Nobody takes the bytes that fill it: a kernel learns of that from a reset.
            if self.lost.is_some() {
                return Io::Lost;
            }
            self.refused = true;
            return Io::Blocked;
        }
        Io::Moved(self.outgoing.len() - before)
    }

    fn shutdown(&mut self, how: Shutdown) {
        assert_ne!(how, Shutdown::Read);
        self.outgoing_ended = true;
    }

    fn short_read_empties(&self) -> bool {
        self.short_read_empties
    }
}

/// The choices of a run.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    /// Often a few bytes, sometimes many, now and then everything.
    fn count(&mut self, most: usize) -> usize {
        let bound = [1, 30, 400, 20_000, most + 1][self.below(5)];
        self.below(bound.min(most) + 1)
    }
}

/// An application that writes down what it sees.
struct Echo<'a> {
    echoes: bool,
    read_size: usize,
    seen: &'a mut Vec<String>,
}

impl Application<Ours<Socket>> for Echo<'_> {
    fn read_size(&self) -> usize {
        self.read_size
    }

    fn on_event(&mut self, current: &mut Current<'_, Ours<Socket>>, event: Event<'_>) {
        if let Event::Message(message) = event
            && self.echoes
        {
            current.connection.send(message).expect("room");
        }
        self.seen.push(shown(&event));
    }
}

/// One side.
struct Side {
    bench: Bench<Ours<Socket>>,
    /// Messages still to be sent.
    queue: VecDeque<Vec<u8>>,
    /// Whether it begins the closing handshake when they are sent.
    closes: bool,
    read_size: usize,
    next: Next,
}

impl Side {
    /// Moves some of what waits to be sent to the other side. Returns whether anything has moved.
    fn carry(&mut self, other: &mut Side, choices: &mut Choices) -> bool {
        let (from, to) = (self.bench.transport.wire(), other.bench.transport.wire());
        if from.lost.is_some() {
            return false;
        }
        let count = choices.count(from.outgoing.len());
        to.incoming.extend(from.outgoing.drain(..count));
        let ends = from.outgoing_ended && from.outgoing.is_empty() && !to.incoming_ended;
        to.incoming_ended |= ends;
        other.bench.ready.read |= count > 0 || ends;
        // As the flag of epoll that tells of an end.
        other.bench.ready.more_behind |= ends;
        if count > 0 && from.refused {
            from.refused = false;
            self.bench.ready.write = true;
        }
        count > 0 || ends
    }

    fn run(&mut self) {
        let Bench { role, turn, transport, ready, lent, now, seen } = &mut self.bench;
        let mut echo = Echo { echoes: *role == Role::Server, read_size: self.read_size, seen };
        self.next = turn.run(transport, ready, lent, *now, &mut echo);
    }

    /// The wire is lost, as the poll announces.
    fn lose(&mut self, loss: Loss) {
        self.bench.transport.wire().lost = Some(loss);
        let ready = &mut self.bench.ready;
        (ready.read, ready.more_behind, ready.write) = (true, true, true);
    }

    /// A turn, if there is work. Returns whether there was.
    fn turn(&mut self) -> bool {
        let connection = &mut self.bench.turn.connection;
        while connection.state() == State::Open
            && connection.is_writable()
            && let Some(message) = self.queue.pop_front()
        {
            connection.send(Message::Binary(&message)).expect("it is writable");
            self.next = Next::Again;
        }
        if self.closes && self.queue.is_empty() && connection.state() == State::Open {
            connection.close(None, "").expect("it is open");
            self.next = Next::Again;
        }
        let has_work = self.next == Next::Again || self.bench.ready.read || self.bench.ready.write;
        if has_work && !matches!(self.next, Next::Leave(_)) {
            self.run();
            if matches!(self.next, Next::Leave(_)) {
                // Both lingering and closing end our direction behind what is queued.
                self.bench.transport.shutdown(Shutdown::Write);
            }
            return true;
        }
        // What is left of the end.
        matches!(self.next, Next::Leave(_))
            && std::mem::take(&mut self.bench.ready.write)
            && !self.bench.transport.flush_own()
    }
}

fn side(setting: &Setting, choices: &mut Choices, short_read_empties: bool) -> Bench<Ours<Socket>> {
    let room = [40, 3000, 200_000][choices.below(3)];
    let socket = Socket {
        incoming: VecDeque::new(),
        incoming_ended: false,
        outgoing: VecDeque::new(),
        outgoing_ended: false,
        room,
        refused: false,
        short_read_empties,
        lost: None,
    };
    let role = if setting.serves { Role::Server } else { Role::Client };
    Bench::over(setting.ours(socket), role, config())
}

/// What a side has to have seen.
fn bytes_seen(messages: &[usize]) -> Vec<String> {
    messages.iter().map(|len| format!("{len} bytes")).collect()
}

/// Runs a conversation to its end, which may be the loss of the wire after so many steps. Returns
/// client and server.
fn run(
    version: usize,
    seed: u64,
    short_read_empties: bool,
    messages: &[usize],
    loss: Option<(usize, Loss)>,
) -> [Side; 2] {
    let settings: Vec<_> = Setting::of_glass().collect();
    let mut choices = Choices(seed);
    let mut client = Side {
        bench: side(&settings[2 * version], &mut choices, short_read_empties),
        queue: messages.iter().map(|len| noise(*len)).collect(),
        closes: false,
        read_size: [10, 1000, 128 << 10][choices.below(3)],
        next: Next::Again,
    };
    let mut server = Side {
        bench: side(&settings[2 * version + 1], &mut choices, short_read_empties),
        queue: VecDeque::new(),
        closes: false,
        read_size: [10, 1000, 128 << 10][choices.below(3)],
        next: Next::Again,
    };
    for step in 0..2_000_000 {
        if let Some((at, loss)) = loss
            && at == step
        {
            client.lose(loss);
            server.lose(loss);
        }
        let work = match choices.below(4) {
            0 => client.carry(&mut server, &mut choices),
            1 => server.carry(&mut client, &mut choices),
            2 => client.turn(),
            _ => server.turn(),
        };
        client.closes |= client.bench.seen.len() >= messages.len() && client.queue.is_empty();
        let is_over = |side: &Side| {
            let is_empty = side.bench.transport.held() == 0 || loss.is_some();
            matches!(side.next, Next::Leave(_)) && is_empty
        };
        if !work && is_over(&client) && is_over(&server) && loss.is_none_or(|(at, _)| step > at) {
            return [client, server];
        }
    }
    panic!("somebody waits: {:?} {:?}", client.bench.transport, server.bench.transport);
}

#[test]
fn a_side_whose_socket_is_full_when_the_wire_is_lost_does_not_wait_for_room() {
    for side in run(1, 13_554_953_600_615_144_565, false, &[], Some((223, Loss::Ends))) {
        assert_eq!(side.bench.turn.closure().expect("it has ended").cause, Some(Error::TransportLost));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_whatever_the_wire_does(
        version in 0..2_usize,
        seed: u64,
        short_read_empties: bool,
        messages in proptest::collection::vec(prop_oneof![4 => 0..200_usize, 1 => 16_000..17_000_usize, 1 => 0..40_000_usize], 0..5),
    ) {
        let expected = bytes_seen(&messages);
        for side in run(version, seed, short_read_empties, &messages, None) {
            let seen = &side.bench.seen;
            prop_assert!(seen.len() > expected.len() && seen[..expected.len()] == expected[..], "{seen:?}");
            side.bench.assert_ended(1005, true, None::<&Error>);
            prop_assert_eq!(side.bench.transport.held(), 0);
            prop_assert_eq!(side.bench.turn.connection.buffered(), 0);
        }
    }

    #[test]
    fn nobody_waits_when_the_wire_is_lost(
        version in 0..2_usize,
        seed: u64,
        short_read_empties: bool,
        messages in proptest::collection::vec(prop_oneof![4 => 0..200_usize, 1 => 0..40_000_usize], 0..5),
        at in prop_oneof![0..100_usize, 0..2000_usize],
        loss in prop_oneof![Just(Loss::Ends), Just(Loss::Resets)],
    ) {
        let expected = bytes_seen(&messages);
        for side in run(version, seed, short_read_empties, &messages, Some((at, loss))) {
            let seen = &side.bench.seen;
            let told = seen.iter().filter(|seen| seen.ends_with("bytes")).count();
            prop_assert!(told <= expected.len() && seen[..told] == expected[..told], "{seen:?}");
            let closure = side.bench.turn.closure().expect("it has ended");
            side.bench.assert_ended(closure.code(), closure.clean, closure.cause.as_ref());
            let was_lost = closure.cause == Some(Error::TransportLost);
            prop_assert!(closure.clean || was_lost, "{closure:?}");
        }
    }
}
