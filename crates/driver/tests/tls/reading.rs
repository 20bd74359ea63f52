//! What arrives, however it is cut, and what is held of it.

use crate::glass::record;
use crate::peer::{Ours, Peer, Setting, arrive, shake_hands};
use crate::wire::noise;
use framewright_driver::tls::Fault;
use framewright_driver::{Io, Transport};
use rustls::{ContentType, Error, InvalidMessage, PeerMisbehaved, ProtocolVersion};
use std::io::IoSlice;
use std::net::Shutdown;

/// Feeds what `peer` has sent, the parts of a handshake too, in pieces of `at_once` bytes.
fn shake_hands_by(ours: &mut Ours, peer: &mut Peer, at_once: usize) {
    for _ in 0..10 {
        assert_eq!(ours.read(&mut [0; 100]), Io::Blocked, "{:?}", ours.fault());
        assert!(ours.flush_own());
        peer.hear(&ours.take_written()).expect("no fault of ours");
        arrive(ours, peer.take().chunks(at_once));
    }
    assert!(!ours.is_handshaking() && !peer.0.is_handshaking());
}

/// A short exchange: bytes, a ticket or a KeyUpdate, bytes, and the end.
fn exchange(peer: &mut Peer, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = peer.say(b"one");
    if version == ProtocolVersion::TLSv1_3 {
        bytes.extend(peer.update_keys());
    }
    bytes.extend(peer.say(b"twenty-two"));
    bytes.extend(record(version, ContentType::ApplicationData, b"", 0));
    bytes.extend(peer.say(b"three"));
    bytes.extend(peer.notify());
    bytes
}

const SAID: &[u8] = b"onetwenty-twothree";

#[test]
fn every_cut_of_an_exchange_reads_the_same() {
    for setting in Setting::of_glass() {
        let (mut ours, mut peer) = setting.open();
        let bytes = exchange(&mut peer, setting.version);
        arrive(&mut ours, [&bytes[..]]);
        assert_eq!(ours.read_all(100), (SAID.to_vec(), Io::Moved(0)));
        for cut in 1..bytes.len() {
            let (mut ours, mut peer) = setting.open();
            let bytes = exchange(&mut peer, setting.version);
            arrive(&mut ours, [&bytes[..cut]]);
            let (mut read, io) = ours.read_all(100);
            assert_eq!(io, Io::Blocked);
            arrive(&mut ours, [&bytes[cut..]]);
            let (rest, io) = ours.read_all(1 + cut % 7);
            read.extend(rest);
            assert_eq!((&read[..], io), (SAID, Io::Moved(0)), "cut at {cut}");
            assert_eq!((ours.fault(), ours.held()), (None, 0));
        }
    }
}

#[test]
fn every_size_of_pieces_reads_the_same() {
    for setting in Setting::of_glass() {
        for at_once in [1, 2, 3, 5, 6, 20, 21, 22, 23, 100, 1000] {
            let (mut ours, mut peer) = setting.start();
            shake_hands_by(&mut ours, &mut peer, at_once);
            let bytes = exchange(&mut peer, setting.version);
            arrive(&mut ours, bytes.chunks(at_once));
            assert_eq!(ours.read_all(at_once), (SAID.to_vec(), Io::Moved(0)));
            assert_eq!(ours.held(), 0);
        }
    }
}

/// A record of 16 KiB across reads, several records a read, and rooms of all sizes.
#[test]
fn long_records_are_read_in_any_room() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        for (room, at_once) in [(1, 100_000), (100, 1), (4000, 1000), (16_000, 16_500), (1 << 20, 1 << 20)] {
            let bytes = noise(60_000);
            arrive(&mut ours, peer.say(&bytes).chunks(at_once));
            let (read, io) = ours.read_all(room);
            assert!(read == bytes && io == Io::Blocked);
            assert_eq!(ours.held(), 0, "nothing rests");
        }
    }
}

/// A read does not stop behind what had no room in the one before.
#[test]
fn what_had_no_room_is_read_with_what_came_behind_it() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        arrive(&mut ours, [&peer.say(&[1; 100])[..]]);
        assert_eq!(ours.read(&mut [0; 60]), Io::Moved(60));
        arrive(&mut ours, [&peer.say(&[2; 50])[..]]);
        let mut buffer = [0; 200];
        assert_eq!(ours.read(&mut buffer), Io::Moved(90));
        assert_eq!(buffer[..90], [[1; 40].as_slice(), &[2; 50]].concat());
        assert_eq!(ours.held(), 0);
        // A fault and an end are told by the next read.
        arrive(&mut ours, [&peer.say(&[3; 100])[..], &peer.notify()]);
        assert_eq!(ours.read(&mut [0; 60]), Io::Moved(60));
        assert_eq!(ours.read(&mut buffer), Io::Moved(40));
        assert_eq!(ours.read(&mut buffer), Io::Moved(0));
    }
}

/// The end of the wire at each byte of the handshake.
#[test]
fn a_handshake_that_is_cut_off_is_truncated() {
    for setting in Setting::of_glass() {
        let flights = flights(&setting);
        for end in 0..flights.concat().len() {
            let (mut ours, _) = setting.start();
            let mut left = end;
            for flight in &flights {
                let part = &flight[..left.min(flight.len())];
                left -= part.len();
                arrive(&mut ours, [part]);
            }
            ours.cut();
            assert_eq!(ours.read_all(100), (Vec::new(), Io::Lost), "cut at {end}");
            assert_eq!(ours.fault(), Some(&Fault::Truncated));
            if ours.is_handshaking() {
                assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Lost);
                assert_eq!(ours.held(), 0);
            }
        }
    }
}

/// What a peer sends in a handshake: the same each time, with cryptography of glass.
fn flights(setting: &Setting) -> Vec<Vec<u8>> {
    let (mut ours, mut peer) = setting.start();
    let mut flights = Vec::new();
    for _ in 0..10 {
        ours.read(&mut [0; 100]);
        peer.hear(&ours.take_written()).expect("no fault");
        let flight = peer.take();
        arrive(&mut ours, [&flight[..]]);
        flights.push(flight);
    }
    flights
}

/// The end of the wire at each byte of an exchange: what was complete is read, and only close_notify
/// ends the stream.
#[test]
fn a_stream_that_is_cut_off_is_truncated_unless_its_end_was_announced() {
    for setting in Setting::of_glass() {
        let len = exchange(&mut setting.open().1, setting.version).len();
        for end in 0..=len {
            let (mut ours, mut peer) = setting.open();
            let bytes = exchange(&mut peer, setting.version);
            arrive(&mut ours, [&bytes[..end]]);
            ours.cut();
            let (read, io) = ours.read_all(100);
            assert!(SAID.starts_with(&read));
            if end == len {
                assert_eq!((&read[..], io, ours.fault()), (SAID, Io::Moved(0), None));
            } else {
                assert_eq!((io, ours.fault()), (Io::Lost, Some(&Fault::Truncated)), "cut at {end}");
            }
            // Our own direction is open until it ends.
            assert_eq!(ours.write(&[IoSlice::new(b"so long")]), Io::Moved(7));
            assert!(ours.end());
            assert_eq!(peer.hear(&ours.take_written()), Ok((b"so long".to_vec(), true)));
            assert_eq!(ours.held(), 0);
        }
    }
}

/// The end of the wire within a message of the handshake, which a session goes on to hold a part of.
#[test]
fn a_stream_that_is_cut_off_within_a_key_update_can_still_be_written_to() {
    for setting in Setting::of_glass().filter(|setting| setting.version == ProtocolVersion::TLSv1_3) {
        let (mut ours, mut peer) = setting.open();
        arrive(&mut ours, [&record(setting.version, ContentType::Handshake, &[24, 0], 0)[..]]);
        ours.cut();
        assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
        assert_eq!(ours.write(&[IoSlice::new(b"so long")]), Io::Moved(7));
        assert!(ours.end());
        assert_eq!(ours.write(&[IoSlice::new(b"behind the end")]), Io::Lost);
        assert_eq!(peer.hear(&ours.take_written()), Ok((b"so long".to_vec(), true)));
        assert_eq!(ours.held(), 0);
    }
}

/// A message of a handshake of 64 KiB, in many records of one byte each, in plain text or padded.
#[test]
fn a_message_of_the_handshake_that_never_ends_is_held_within_bounds() {
    let limit = Fault::Tls(InvalidMessage::HandshakePayloadTooLarge.into());
    for setting in Setting::of_glass() {
        for (opened, padding) in [(false, 0), (true, 0), (true, 10_000)] {
            for at_once in [1 << 20, 5000, 333] {
                let (mut ours, mut peer) = setting.start();
                if opened {
                    shake_hands(&mut ours, &mut peer);
                } else {
                    ours.read(&mut [0; 100]);
                }
                let header = if setting.serves { [1, 0, 0xff, 0xff] } else { [2, 0, 0xff, 0xff] };
                let mut bytes = Vec::new();
                for part in header.iter().chain(&[0; 65_000]) {
                    if opened {
                        bytes.extend(record(setting.version, ContentType::Handshake, &[*part], padding));
                    } else {
                        bytes.extend_from_slice(&[22, 3, 3, 0, 1, *part]);
                    }
                    if bytes.len() > 200_000 {
                        break;
                    }
                }
                let mut most = 0;
                for part in bytes.chunks(at_once) {
                    arrive(&mut ours, [part]);
                    let io = ours.read(&mut [0; 100]);
                    most = most.max(ours.held());
                    if io == Io::Lost {
                        break;
                    }
                }
                assert_eq!(ours.fault(), Some(&limit), "{opened} {padding} {at_once}");
                assert!(most <= 100 << 10, "{most}");
                assert_eq!(ours.held(), 0, "nothing is held of what has failed");
            }
        }
    }
}

#[test]
fn the_longest_message_of_a_handshake_is_taken() {
    for setting in Setting::of_glass().filter(|setting| setting.serves) {
        let (mut ours, _) = setting.start();
        let mut message = vec![1, 0, 0xff, 0xff];
        message.resize(4 + 0xffff, 0);
        for part in message.chunks(1000) {
            let len = u16::try_from(part.len()).expect("short").to_be_bytes();
            arrive(&mut ours, [&[&[22, 3, 3], &len[..], part].concat()[..]]);
        }
        assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
        let limit = Fault::Tls(InvalidMessage::HandshakePayloadTooLarge.into());
        assert_ne!(ours.fault(), Some(&limit), "the whole message was looked at");
        assert!(matches!(ours.fault(), Some(Fault::Tls(Error::InvalidMessage(_)))));
    }
}

/// Records without data are no reason to go on for ever.
#[test]
fn a_flood_of_records_without_data_ends_the_session() {
    for setting in Setting::of_glass() {
        let floods = [(ContentType::ApplicationData, &[][..]), (ContentType::Handshake, &[24, 0, 0, 1, 1])];
        for (kind, payload) in floods {
            if kind == ContentType::Handshake && setting.version != ProtocolVersion::TLSv1_3 {
                continue;
            }
            let (mut ours, _) = setting.open();
            for _ in 0..40 {
                arrive(&mut ours, [&record(setting.version, kind, payload, 0)[..]]);
            }
            assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
            let fault = match kind {
                ContentType::Handshake => PeerMisbehaved::TooManyKeyUpdateRequests,
                _ => PeerMisbehaved::TooManyEmptyFragments,
            };
            assert_eq!(ours.fault(), Some(&Fault::Tls(fault.into())));
            assert_eq!(ours.held(), 0);
        }
    }
}

/// A server may send as many tickets as it likes; a client has other connections to see to.
#[test]
fn a_flood_of_tickets_ends_the_session() {
    let mut ticket = vec![4, 0, 0, 4 + 4 + 2 + 2 + 200 + 2, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 200];
    ticket.extend([8; 200]);
    ticket.extend([0, 0]);
    let ticket = record(ProtocolVersion::TLSv1_3, ContentType::Handshake, &ticket, 0);
    for setting in Setting::of_glass() {
        if setting.serves || setting.version != ProtocolVersion::TLSv1_3 {
            continue;
        }
        for (count, is_flood) in [(1000, false), (10_000, true)] {
            let (mut ours, mut peer) = setting.open();
            for _ in 0..count {
                arrive(&mut ours, [&ticket[..]]);
            }
            if is_flood {
                assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
                assert!(matches!(ours.fault(), Some(Fault::Tls(Error::General(_)))), "{:?}", ours.fault());
                assert!(ours.wire().read < count * ticket.len(), "not all of it was read");
            } else {
                arrive(&mut ours, [&peer.say(b"data")[..]]);
                assert_eq!(ours.read(&mut [0; 100]), Io::Moved(4), "{:?}", ours.fault());
            }
        }
    }
}

/// A message that lies in no record of its own keeps the records before it.
#[test]
fn a_long_flight_of_the_handshake_is_held_within_bounds() {
    for mut setting in Setting::of_glass() {
        if setting.serves || setting.version != ProtocolVersion::TLSv1_3 {
            continue;
        }
        for (tickets, fits) in [(600, true), (10_000, false)] {
            setting.server.send_tls13_tickets = tickets;
            let (mut ours, mut peer) = setting.start();
            ours.read(&mut [0; 100]);
            peer.hear(&ours.take_written()).expect("no fault");
            arrive(&mut ours, [&peer.take()[..]]);
            assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
            peer.hear(&ours.take_written()).expect("no fault");
            arrive(&mut ours, [&peer.take()[..]]);
            let io = ours.read(&mut [0; 100]);
            assert_eq!(io, if fits { Io::Blocked } else { Io::Lost });
            let limit = Fault::Tls(InvalidMessage::HandshakePayloadTooLarge.into());
            assert_eq!(ours.fault(), (!fits).then_some(&limit));
        }
    }
}

/// A ticket and KeyUpdates of both kinds in the middle of the data.
#[test]
fn keys_change_in_the_middle_of_the_data() {
    for setting in Setting::of(&rustls::version::TLS13) {
        let (mut ours, mut peer) = setting.open();
        for round in 0..100 {
            let mut bytes = peer.say(b"before ");
            bytes.extend(peer.update_keys());
            bytes.extend(peer.update_keys());
            bytes.extend(peer.say(b"behind"));
            arrive(&mut ours, bytes.chunks(1 + round % 50));
            assert_eq!(ours.read_all(20), (b"before behind".to_vec(), Io::Blocked));
            assert_eq!(ours.write(&[IoSlice::new(b"ours")]), Io::Moved(4));
            // Our answer does not ask for another one.
            assert_eq!(peer.hear(&ours.take_written()), Ok((b"ours".to_vec(), false)));
            assert!(peer.take().is_empty());
            assert_eq!(ours.held(), 0);
        }
    }
}

/// A key that has encrypted as much as it may is changed by ourselves (TLS 1.3), or the session ends
/// behind what was encrypted (TLS 1.2).
#[test]
fn a_used_up_key_is_changed_or_ends_the_session() {
    let bytes = noise(100_000);
    for setting in Setting::limited(30) {
        let (mut ours, mut peer) = setting.open();
        let (mut written, mut read) = (0, Vec::new());
        let slices = [IoSlice::new(&bytes[..10]), IoSlice::new(&bytes[10..])];
        let mut is_ended = false;
        for _ in 0..20 {
            match ours.write(&slices) {
                Io::Moved(count) => {
                    written += count;
                    read.extend_from_slice(&bytes[..count]);
                }
                io => {
                    assert_eq!(io, Io::Lost);
                    break;
                }
            }
            let (part, end) = peer.hear(&ours.take_written()).expect("no fault");
            assert!(part == read, "what is written arrives");
            read.clear();
            is_ended = end;
        }
        if setting.version == ProtocolVersion::TLSv1_3 {
            assert_eq!((written, ours.fault()), (20 * bytes.len(), None));
            continue;
        }
        assert!(!is_ended && written < 20 * bytes.len());
        assert_eq!(peer.hear(&ours.take_written()), Ok((Vec::new(), true)), "close_notify");
        assert!(matches!(ours.fault(), Some(Fault::Tls(_))));
    }
}

/// Bytes behind the peer's close_notify are not looked at (RFC 8446, section 6.1).
#[test]
fn what_lies_behind_the_end_is_not_read() {
    for setting in Setting::of_glass() {
        let (mut ours, mut peer) = setting.open();
        let mut bytes = peer.say(b"last");
        bytes.extend(peer.notify());
        bytes.extend(record(setting.version, ContentType::ApplicationData, b"behind", 0));
        bytes.extend(b"garbage");
        arrive(&mut ours, [&bytes[..]]);
        assert_eq!(ours.read_all(100), (b"last".to_vec(), Io::Moved(0)));
        assert_eq!((ours.fault(), ours.held()), (None, 0));
        assert_eq!(ours.read(&mut [0; 100]), Io::Moved(0), "for ever");
        // Our direction is open.
        assert_eq!(ours.write(&[IoSlice::new(b"so long")]), Io::Moved(7));
        assert!(ours.end());
        assert_eq!(peer.hear(&ours.take_written()), Ok((b"so long".to_vec(), true)));
    }
}

/// Bytes that were received before the session began: behind the header of a PROXY protocol.
#[test]
fn bytes_received_before_the_session_belong_to_it() {
    for setting in Setting::of_glass().filter(|setting| setting.serves) {
        let len = setting.start().1.take().len();
        for cut in [1, 4, 5, len - 1, len] {
            let (mut ours, mut peer) = setting.start();
            let hello = peer.take();
            let Ours::Server(server) = &mut ours else { unreachable!("it serves") };
            server.push_received(&hello[..cut]);
            if cut < len {
                assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
                assert!(ours.take_written().is_empty());
                arrive(&mut ours, [&hello[cut..]]);
            }
            // No event announces what was received before.
            assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
            assert!(peer.hear(&ours.take_written()).is_ok());
            arrive(&mut ours, [&peer.take()[..]]);
            shake_hands(&mut ours, &mut peer);
        }
    }
}

/// Both directions have ended: there is nothing more to say, and nothing more to read.
#[test]
fn a_close_notify_behind_our_own_ends_both_directions() {
    for setting in Setting::of_glass() {
        let (mut ours, mut peer) = setting.open();
        assert!(ours.end());
        assert_eq!(peer.hear(&ours.take_written()), Ok((Vec::new(), true)));
        assert_eq!(ours.write(&[IoSlice::new(b"behind the end")]), Io::Lost);
        let mut bytes = peer.say(b"last");
        bytes.extend(peer.notify());
        arrive(&mut ours, [&bytes[..]]);
        assert_eq!(ours.read_all(100), (b"last".to_vec(), Io::Moved(0)));
        assert!(ours.end() && ours.flush_own() && ours.take_written().is_empty(), "once");
        ours.shutdown(Shutdown::Write);
        ours.shutdown(Shutdown::Both);
        assert_eq!(ours.wire().shutdowns, [Shutdown::Write, Shutdown::Both]);
        assert!(ours.take_written().is_empty());
        assert_eq!((ours.fault(), ours.held()), (None, 0));
    }
}

/// close_notify is worth nothing before the handshake is complete: anyone could have sent it.
#[test]
fn a_close_notify_before_the_end_of_the_handshake_is_no_end() {
    for setting in Setting::of_glass() {
        let (mut ours, _) = setting.start();
        ours.read(&mut [0; 100]);
        arrive(&mut ours, [&[21, 3, 3, 0, 2, 1, 0][..]]);
        ours.cut();
        assert_eq!(ours.read_all(100), (Vec::new(), Io::Lost));
        assert!(ours.fault().is_some());
    }
}

/// A reader that drops what it reads gets raw bytes, and is told of those that were held.
#[test]
fn what_is_discarded_is_not_decrypted() {
    for setting in Setting::of_glass() {
        let (mut ours, mut peer) = setting.open();
        let record = peer.say(b"0123456789");
        arrive(&mut ours, [&record[..], &record[..7]]);
        assert_eq!(ours.read(&mut [0; 4]), Io::Moved(4));
        assert_eq!(ours.read(&mut [0; 4]), Io::Moved(4));
        let mut scratch = [0; 100];
        assert_eq!(ours.discard(&mut scratch), Io::Moved(2), "of what is decrypted");
        assert_eq!(ours.held(), 0);
        assert!(!ours.short_read_empties(), "there may be more");
        arrive(&mut ours, [&b"garbage"[..]]);
        assert_eq!(ours.discard(&mut scratch), Io::Moved(7));
        assert_eq!(ours.discard(&mut scratch), Io::Moved(7));
        assert_eq!(ours.fault(), None);
        assert_eq!(ours.short_read_empties(), ours.wire().short_read_empties());
        ours.cut();
        assert_eq!(ours.discard(&mut scratch), Io::Moved(0));
    }
}
