//! The turn of a connection over TLS: what it sees, how it ends, and what is on the wire then.

use crate::bench::{Bench, Write, config};
use crate::glass::record;
use crate::peer::{Ours, Peer, Setting, arrive};
use crate::wire::noise;
use framewright::frame::OpCode;
use framewright::{Config, Error, Role, State};
use framewright_driver::{Leave, LingerNext, Lingering, Next, Rest, Transport};
use framewright_testkit::wire::{WireFrame, frames};
use rustls::{ContentType, ProtocolVersion};
use std::net::Shutdown;
use std::time::Duration;

/// A connection over TLS, and the peer.
struct Over {
    bench: Bench<Ours>,
    peer: Peer,
    /// What the peer has read.
    heard: Vec<u8>,
    /// Whether it has read close_notify.
    notified: bool,
}

impl Over {
    fn new(setting: &Setting, config: Config) -> Self {
        let (ours, peer) = setting.open();
        let role = if setting.serves { Role::Server } else { Role::Client };
        Over { bench: Bench::over(ours, role, config), peer, heard: Vec::new(), notified: false }
    }

    fn all() -> impl Iterator<Item = Over> {
        Setting::all().map(|setting| Over::new(&setting, config()))
    }

    /// A frame of the peer, in a record of its own.
    fn say(&mut self, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let frame = self.bench.frame(opcode, payload);
        self.peer.say(&frame)
    }

    /// These arrive, each in a read of its own, and readiness is announced.
    fn arrive<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) {
        arrive(&mut self.bench.transport, parts);
        self.bench.ready.read = true;
    }

    /// The peer ends its direction of the wire.
    fn cut(&mut self) {
        self.bench.transport.cut();
        (self.bench.ready.read, self.bench.ready.more_behind) = (true, true);
    }

    /// Turns until there is nothing left to do. The peer reads what is on the wire then.
    fn turns(&mut self) -> Next {
        let next = self.bench.turns();
        self.listen();
        next
    }

    fn listen(&mut self) {
        let sent = self.bench.transport.take_written();
        let (mut bytes, is_ended) = self.peer.hear(&sent).expect("no fault of ours");
        self.heard.append(&mut bytes);
        self.notified |= is_ended;
    }

    /// What the peer has received.
    fn frames(&self) -> Vec<WireFrame> {
        frames(&self.heard)
    }

    /// The last frame is a Close frame with this code.
    #[track_caller]
    fn assert_closed_with(&self, code: u16) {
        let frames = self.frames();
        let last = frames.last().expect("a frame");
        assert_eq!((last.header.opcode, &last.payload[..2]), (8, &code.to_be_bytes()[..]));
    }

    /// Turns of lingering until it waits or closes.
    fn linger(&mut self, lingering: &mut Lingering) -> LingerNext {
        let Bench { transport, ready, now, .. } = &mut self.bench;
        loop {
            let next = lingering.turn(transport, ready, &mut [0; 16 << 10], *now, || true);
            if next != LingerNext::Again {
                return next;
            }
        }
    }

    fn begin_to_linger(&mut self) -> Lingering {
        let Bench { turn, transport, ready, now, .. } = &mut self.bench;
        turn.linger(transport, ready, *now)
    }
}

#[test]
fn messages_are_echoed_whatever_the_records_are() {
    for setting in Setting::all() {
        for (records, reads, long) in
            [(1, 1000, 2000), (7, 1, 2000), (100_000, 1 << 20, 20_000), (16_384, 16_000, 40_000)]
        {
            let mut over = Over::new(&setting, config());
            let messages = [&b"a"[..], &noise(300), b"", &noise(long)];
            let mut sent = Vec::new();
            for message in messages {
                sent.extend(over.bench.frame(OpCode::Binary, message));
            }
            let mut bytes = Vec::new();
            for (count, part) in sent.chunks(records).enumerate() {
                bytes.extend(over.peer.say(part));
                if count % 100 == 1 && setting.version == ProtocolVersion::TLSv1_3 {
                    bytes.extend(over.peer.update_keys());
                }
            }
            for part in bytes.chunks(reads.min(bytes.len())) {
                over.arrive([part]);
                assert_eq!(over.turns(), Next::Wait);
            }
            let echoes = over.frames();
            assert!(echoes.iter().map(|frame| &frame.payload[..]).eq(messages), "{:?}", over.bench.seen);
            assert_eq!((over.bench.transport.held(), over.bench.turn.connection.buffered()), (0, 0));
        }
    }
}

#[test]
fn a_server_sends_close_notify_in_one_write_with_its_close_frame() {
    for setting in Setting::all().filter(|setting| setting.serves) {
        let mut over = Over::new(&setting, config());
        let close = over.say(OpCode::Close, &1000_u16.to_be_bytes());
        over.arrive([&close[..]]);
        let before = over.bench.transport.wire().calls;
        assert_eq!(over.turns(), Next::Leave(Leave::Close));
        assert_eq!(over.bench.transport.wire().calls, before + 1);
        over.assert_closed_with(1000);
        assert!(over.notified);
    }
}

/// rustls is not asked for records that arrive while the end of our direction is blocked.
#[test]
fn a_peer_that_breaks_tls_is_not_heard_while_our_end_is_blocked() {
    for mut over in Over::all() {
        let mut frame = over.bench.frame(OpCode::Binary, b"");
        frame[0] = 0x83; // a reserved opcode
        let wrong = over.peer.say(&frame);
        let mut broken = over.say(OpCode::Binary, b"y");
        *broken.last_mut().expect("a record") ^= 1;
        over.bench.transport.let_out(0);
        over.arrive([&wrong[..]]);
        assert_eq!(over.bench.turns(), Next::Wait);
        over.arrive([&broken[..]]);
        assert_eq!(over.bench.turns(), Next::Wait);
        assert_eq!(over.bench.transport.fault(), None);
        over.bench.transport.let_all_out();
        over.bench.ready.write = true;
        assert_eq!(over.turns(), Next::Leave(Leave::Linger));
        over.assert_closed_with(1002);
        assert!(over.notified);
    }
}

/// A ticket and a KeyUpdate in the middle of a frame.
#[test]
fn records_of_tls_itself_lie_between_the_bytes_of_a_message() {
    for setting in Setting::of_glass().filter(|setting| setting.version == ProtocolVersion::TLSv1_3) {
        for cut in 1..100 {
            let mut over = Over::new(&setting, config());
            let frame = over.bench.frame(OpCode::Binary, &noise(100));
            let mut bytes = over.peer.say(&frame[..cut]);
            if over.bench.role == Role::Client {
                let ticket = [4, 0, 0, 16, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 2, 8, 8, 0, 0];
                bytes.extend(record(setting.version, ContentType::Handshake, &ticket, cut));
            }
            bytes.extend(over.peer.update_keys());
            bytes.extend(over.peer.say(&frame[cut..]));
            for part in bytes.chunks(cut) {
                over.arrive([part]);
                assert_eq!(over.turns(), Next::Wait);
            }
            assert_eq!(over.bench.seen, ["100 bytes"]);
            assert_eq!(over.frames()[0].payload, noise(100), "the echo");
            assert_eq!(over.bench.transport.held(), 0);
        }
    }
}

/// The peer ends the stream before the Close frames, in the middle of a message or not, with
/// close_notify or without.
#[test]
fn an_end_before_the_close_frames_is_no_clean_end() {
    for setting in Setting::all() {
        for (in_message, notifies) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut over = Over::new(&setting, config());
            let mut bytes = over.say(OpCode::Text, b"hello");
            if in_message {
                let frame = over.bench.frame(OpCode::Text, b"cut off");
                bytes.extend(over.peer.say(&frame[..frame.len() - 1]));
            }
            if notifies {
                bytes.extend(over.peer.notify());
            }
            over.arrive([&bytes[..]]);
            over.cut();
            assert_eq!(over.turns(), Next::Leave(Leave::Close));
            over.bench.assert_ended(1006, false, Some(&Error::TransportLost));
            assert_eq!(over.bench.seen[0], "hello");
            assert_eq!(over.bench.seen.len(), 2, "no part of a message is told");
            assert!(over.notified, "our own direction ends as it should");
        }
    }
}

/// The end of the wire at each byte of a message and a Close frame.
#[test]
fn an_end_of_the_wire_anywhere_is_clean_only_behind_the_close_frame() {
    for setting in Setting::of_glass() {
        let len = {
            let mut over = Over::new(&setting, config());
            over.say(OpCode::Text, b"hello").len() + over.say(OpCode::Close, &1000_u16.to_be_bytes()).len()
        };
        for end in 0..=len {
            let mut over = Over::new(&setting, config());
            let mut bytes = over.say(OpCode::Text, b"hello");
            let message = bytes.len();
            bytes.extend(over.say(OpCode::Close, &1000_u16.to_be_bytes()));
            over.arrive([&bytes[..end]]);
            over.cut();
            assert!(matches!(over.turns(), Next::Leave(_)));
            if end == len {
                over.bench.assert_ended(1000, true, None);
                over.assert_closed_with(1000);
            } else {
                over.bench.assert_ended(1006, false, Some(&Error::TransportLost));
            }
            assert_eq!(
                over.bench.seen.iter().filter(|seen| *seen == "hello").count(),
                usize::from(end >= message)
            );
        }
    }
}

/// Chromium and Java never send close_notify: behind the Close frames nobody asks for it.
#[test]
fn behind_the_close_frames_a_truncation_is_a_clean_end() {
    for mut over in Over::all() {
        let close = over.say(OpCode::Close, &1000_u16.to_be_bytes());
        over.arrive([&close[..]]);
        let next = over.turns();
        over.assert_closed_with(1000);
        if over.bench.role == Role::Server {
            assert_eq!(next, Next::Leave(Leave::Close));
            assert!(over.notified, "our close_notify is behind our Close frame");
        } else {
            // The server is to end the transport (RFC 6455, section 7.1.1).
            assert_eq!(next, Next::Wait);
            over.cut();
            assert_eq!(over.turns(), Next::Leave(Leave::Close));
        }
        over.bench.assert_ended(1000, true, None);
    }
}

/// A Close frame and the end of the wire, which a transport reads at once where a short read proves
/// nothing: our Close frame is still sent.
#[test]
fn a_close_frame_is_answered_although_the_end_was_read_with_it() {
    for mut over in Over::all() {
        // It just fills the room of a read, so that there may be more.
        let close = over.bench.frame(OpCode::Close, &1000_u16.to_be_bytes());
        let mut bytes = over.peer.say(&close[..1]);
        bytes.extend(over.peer.say(&close[1..]));
        over.arrive([&bytes[..bytes.len() - 1], &bytes[bytes.len() - 1..]]);
        over.bench.ready.more_behind = true;
        over.cut();
        let next = over.turns();
        assert!(matches!(next, Next::Leave(_)), "{next:?}");
        over.bench.assert_ended(1000, true, None);
        over.assert_closed_with(1000);
        assert!(over.notified);
    }
}

/// The peer's close_notify behind its Close frame, in the same read: the end of the wire may be behind
/// it, and bytes that would be answered by a reset.
#[test]
fn a_close_notify_behind_the_close_frame_is_no_fault() {
    for mut over in Over::all() {
        let mut bytes = over.say(OpCode::Close, &1000_u16.to_be_bytes());
        bytes.extend(over.peer.notify());
        over.arrive([&bytes[..]]);
        let next = over.turns();
        over.bench.assert_ended(1000, true, None);
        over.assert_closed_with(1000);
        assert!(over.notified);
        if over.bench.role == Role::Client {
            assert_eq!(next, Next::Leave(Leave::Close));
            continue;
        }
        assert_eq!(next, Next::Leave(Leave::Linger));
        let mut lingering = over.begin_to_linger();
        assert_eq!(over.bench.transport.wire().shutdowns, [Shutdown::Write]);
        assert_eq!(over.linger(&mut lingering), LingerNext::Wait);
        over.cut();
        assert_eq!(over.linger(&mut lingering), LingerNext::Close);
    }
}

/// Our Close frame and close_notify, of which the wire takes a byte at a time, however the peer ends.
#[test]
fn a_blocked_end_leaves_before_the_transport_ends() {
    let mut lingered = 0;
    for setting in Setting::all().filter(|setting| setting.serves) {
        for (notifies, ends) in [(false, false), (true, false), (true, true)] {
            for room in [1, 28, 29, 30, 40] {
                let mut over = Over::new(&setting, config());
                let mut bytes = over.say(OpCode::Close, &1000_u16.to_be_bytes());
                if notifies {
                    bytes.extend(over.peer.notify());
                }
                over.bench.transport.let_out(0);
                over.arrive([&bytes[..]]);
                let mut next = over.turns();
                for _ in 0..1000 {
                    if next != Next::Wait {
                        break;
                    }
                    over.bench.transport.let_out(room);
                    over.bench.ready.write = true;
                    next = over.turns();
                }
                over.bench.assert_ended(1000, true, None);
                over.assert_closed_with(1000);
                if !over.notified {
                    assert_eq!(next, Next::Leave(Leave::Linger));
                    lingered += 1;
                    let mut lingering = over.begin_to_linger();
                    if ends {
                        over.cut();
                    }
                    for _ in 0..1000 {
                        over.bench.transport.let_out(0);
                        assert_eq!(over.linger(&mut lingering), LingerNext::Wait, "{notifies} {ends} {room}");
                        over.bench.transport.let_out(room);
                        let next = over.linger(&mut lingering);
                        over.listen();
                        if over.notified {
                            assert_eq!(next, if ends { LingerNext::Close } else { LingerNext::Wait });
                            break;
                        }
                    }
                }
                assert!(over.notified, "{notifies} {ends} {room}");
            }
        }
    }
    assert!(lingered > 10, "{lingered}");
}

/// What lingers reads raw bytes: nobody wants to know what they say.
#[test]
fn lingering_drops_raw_bytes() {
    for mut over in Over::all() {
        let mut broken = over.bench.frame(OpCode::Text, &noise(3000));
        broken[0] |= 0x40;
        let bytes = over.peer.say(&broken);
        over.arrive([&bytes[..100 + bytes.len() / 2]]);
        // Half a record has not been decrypted: no fault is seen yet.
        assert_eq!(over.turns(), Next::Wait);
        over.arrive([&bytes[100 + bytes.len() / 2..]]);
        assert_eq!(over.turns(), Next::Leave(Leave::Linger));
        over.assert_closed_with(1002);
        assert!(over.notified, "close_notify is behind the Close frame");
        let mut lingering = over.begin_to_linger();
        assert_eq!(over.linger(&mut lingering), LingerNext::Wait);
        over.arrive([&b"garbage"[..]]);
        assert_eq!(over.linger(&mut lingering), LingerNext::Wait);
        assert_eq!(over.bench.transport.fault(), None);
        over.cut();
        assert_eq!(over.linger(&mut lingering), LingerNext::Close);
        assert_eq!(over.bench.transport.held(), 0);
    }
}

/// An end of the peer's is answered with ours, also where bytes are dropped and nothing is said.
#[test]
fn a_peer_that_ends_while_we_linger_is_told_that_nothing_is_missing() {
    for mut over in Over::all() {
        let bytes = over.peer.notify();
        over.arrive([&bytes[..]]);
        over.cut();
        let rest = Rest { announced: 0, most: 0, time: Duration::from_secs(60) };
        let Bench { transport, ready, now, .. } = &mut over.bench;
        let mut lingering = Lingering::begin(transport, ready, rest, *now);
        assert_eq!(over.linger(&mut lingering), LingerNext::Close);
        over.listen();
        assert!(over.notified, "our close_notify");
    }
}

/// Who gives way holds no ciphertext: nothing of it can be sent any more.
#[test]
fn ciphertext_that_the_transport_does_not_take_is_dropped_by_who_gives_way() {
    for mut over in Over::all() {
        over.bench.transport.let_out(1000);
        over.bench.turn.connection.send_binary(&noise(100_000)).expect("room");
        over.bench.turns();
        assert!(over.bench.transport.held() > 50_000, "{}", over.bench.transport.held());
        let Bench { turn, transport, ready, now, .. } = &mut over.bench;
        turn.give_way(transport, ready, *now);
        assert_eq!((turn.held(), transport.held()), (0, 0));
        transport.let_all_out();
        assert_eq!(over.bench.turns(), Next::Leave(Leave::Linger));
        let mut lingering = over.begin_to_linger();
        assert_eq!(over.linger(&mut lingering), LingerNext::Wait);
        assert_eq!(over.bench.transport.wire().written.len(), 1000, "no part of a record follows another");
    }
}

/// A broken record is the end of everything; the alert is all that is still said.
#[test]
fn a_broken_record_ends_the_connection() {
    for mut over in Over::all() {
        let before = over.say(OpCode::Text, b"before");
        let mut broken = over.say(OpCode::Text, b"broken");
        *broken.last_mut().expect("a record") ^= 1;
        over.arrive([&[before, broken].concat()[..]]);
        // Closing on what the peer still sends would be a reset.
        assert_eq!(over.bench.turns(), Next::Leave(Leave::Linger));
        over.bench.assert_ended(1006, false, Some(&Error::TransportLost));
        assert_eq!(over.bench.seen[0], "before");
        let sent = over.bench.transport.take_written();
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac);
        assert_eq!(over.peer.hear(&sent), Err(alert));
    }
}

/// A failed write ends our direction only: what the peer has said before is handed over.
#[test]
fn the_last_messages_are_read_although_writing_has_failed() {
    for mut over in Over::all() {
        let one = over.say(OpCode::Text, b"one");
        let mut rest = over.say(OpCode::Text, b"two");
        rest.extend(over.say(OpCode::Close, &1001_u16.to_be_bytes()));
        rest.extend(over.peer.notify());
        over.bench.transport.wire().writes = [Write::Lose].into();
        over.arrive([&one[..], &rest]);
        over.cut();
        assert_eq!(over.bench.turns(), Next::Leave(Leave::Close));
        assert_eq!(over.bench.seen[..3], ["one", "two", "close 1001"]);
        over.bench.assert_ended(1001, false, Some(&Error::TransportLost));
    }
}

/// A server's application that sends while the queue waits for the transport: no more is reported
/// than is shown.
#[test]
fn a_message_is_written_through_behind_a_blocked_queue() {
    for setting in Setting::all().filter(|setting| setting.serves) {
        let mut over = Over::new(&setting, config());
        let blocks = noise(5000);
        over.bench.transport.let_out(0);
        for _ in 0..8 {
            let message = framewright::Message::Binary(&blocks);
            let prepared = framewright::Prepared::new(message);
            over.bench.turn.connection.send_prepared(&prepared).expect("room");
        }
        assert_eq!(over.turns(), Next::Wait);
        over.bench.transport.let_all_out();
        let long = noise(100_000);
        let Bench { turn, transport, now, .. } = &mut over.bench;
        let sent =
            turn.connection.driver().send_with_writer(framewright::Message::Binary(&long), &mut |slices| {
                match transport.write(slices) {
                    framewright_driver::Io::Moved(count) => count,
                    _ => 0,
                }
            });
        sent.expect("room");
        turn.connection.transmitted(*now, 0);
        over.bench.ready.write = true;
        assert_eq!(over.turns(), Next::Wait);
        let lens: Vec<_> = over.frames().iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(lens, [5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 100_000]);
    }
}

/// A peer that takes a record within the time of the write timeout lives.
#[test]
fn a_slow_reader_lives_as_long_as_it_takes_records() {
    let timeout = Duration::from_secs(10);
    for setting in Setting::all() {
        let config = Config { write_timeout: Some(timeout), keep_alive_interval: None, ..Config::default() };
        let mut over = Over::new(&setting, config);
        let bytes = noise(100_000);
        over.bench.turn.connection.send(framewright::Message::Binary(&bytes)).expect("room");
        over.bench.transport.let_out(0);
        assert_eq!(over.turns(), Next::Wait);
        for _ in 0..7 {
            over.bench.later(timeout - Duration::from_millis(1));
            over.bench.transport.let_out(16_500);
            over.bench.ready.write = true;
            assert_eq!(over.turns(), Next::Wait);
            assert_eq!(over.bench.turn.connection.state(), State::Open);
        }
        assert_eq!(over.frames().len(), 1);
        // And one that takes none ends.
        over.bench.turn.connection.send(framewright::Message::Binary(&bytes)).expect("room");
        over.bench.transport.let_out(0);
        assert_eq!(over.turns(), Next::Wait);
        over.bench.later(timeout);
        over.turns();
        assert_eq!(over.bench.turn.connection.state(), State::Closed);
    }
}
