//! What counts as written: bytes whose record has left as a whole, no more and not much less.

use crate::bench::Write;
use crate::peer::{Ours, Peer, Setting, arrive};
use crate::wire::noise;
use framewright_driver::tls::Fault;
use framewright_driver::{Io, Transport};
use rustls::ProtocolVersion;
use std::io::IoSlice;

/// Writes `bytes`, of which the wire takes `at_once` with each write, and checks each report against
/// what the peer can read so far.
fn write_slowly(ours: &mut Ours, peer: &mut Peer, bytes: &[u8], at_once: usize) {
    let (mut reported, mut read, mut unread) = (0, Vec::new(), Vec::new());
    while reported < bytes.len() {
        ours.let_out(at_once);
        match ours.write(&[IoSlice::new(&bytes[reported..])]) {
            Io::Moved(count) => reported += count,
            Io::Blocked => {}
            Io::Lost => panic!("{:?}", ours.fault()),
        }
        unread.append(&mut ours.take_written());
        while let Some(len) = record_len(&unread).filter(|len| *len <= unread.len()) {
            read.append(&mut peer.hear(&unread[..len]).expect("no fault").0);
            unread.drain(..len);
        }
        assert!(reported <= read.len(), "no byte is reported early");
        assert!(reported + 8 >= read.len(), "{reported} of {}", read.len());
    }
    assert!(read == bytes, "what is reported has left");
    assert_eq!(ours.held(), 0);
}

fn record_len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<5>()?;
    Some(5 + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

#[test]
fn bytes_count_as_written_when_their_record_has_left() {
    for mut setting in Setting::all() {
        for (len, at_once, fragment) in [
            (1, 1, None),
            (300, 1, None),
            (40_000, 997, None),
            (200_000, 5000, None),
            (1000, 3, Some(64)),
            (150_000, 9999, Some(100)),
        ] {
            setting.server.max_fragment_size = fragment;
            setting.client.max_fragment_size = fragment;
            let (mut ours, mut peer) = setting.open();
            write_slowly(&mut ours, &mut peer, &noise(len), at_once);
            write_slowly(&mut ours, &mut peer, &noise(len), at_once);
        }
    }
}

#[test]
fn a_key_update_in_front_of_the_bytes_does_not_count() {
    for setting in Setting::of(&rustls::version::TLS13) {
        for (len, is_first) in [(100, true), (100, false), (50_000, false)] {
            let (mut ours, mut peer) = setting.open();
            if !is_first {
                write_slowly(&mut ours, &mut peer, b"first", 100);
            }
            let update = peer.update_keys();
            arrive(&mut ours, [&update[..]]);
            assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
            write_slowly(&mut ours, &mut peer, &noise(len), 1);
        }
    }
}

/// A long message leaves as far as the transport takes it: what is left would be copied into a queue.
#[test]
fn a_write_goes_on_until_the_transport_takes_no_more() {
    let bytes = noise(1_000_000);
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        let slices = [IoSlice::new(&bytes[..10]), IoSlice::new(&bytes[10..])];
        ours.let_all_out();
        assert_eq!(ours.write(&slices), Io::Moved(bytes.len()));
        assert!(peer.hear(&ours.take_written()).expect("no fault").0 == bytes);
        let takes = [usize::MAX, usize::MAX, 50_000].map(Write::Take);
        ours.wire().writes = takes.into_iter().chain([Write::Block]).collect();
        let Io::Moved(mut written) = ours.write(&slices) else { panic!("there was room") };
        assert!((570_000..580_000).contains(&written), "{written}");
        assert!(ours.held() < 270_000, "{} bytes of ciphertext are kept", ours.held());
        ours.let_all_out();
        while written < bytes.len() {
            let rest = [IoSlice::new(&bytes[written..])];
            let Io::Moved(count) = ours.write(&rest) else { panic!("there is room") };
            written += count;
        }
        assert!(peer.hear(&ours.take_written()).expect("no fault").0 == bytes);
        assert_eq!(ours.held(), 0);
    }
}

/// The session tickets of a server leave with its first reply, or when it has none.
#[test]
fn records_of_our_own_wait_for_the_reply_to_what_came_with_them() {
    for replies in [true, false] {
        let setting = Setting::of(&rustls::version::TLS13).into_iter().find(|setting| setting.serves);
        let (mut ours, mut peer) = setting.expect("both roles are there").start();
        arrive(&mut ours, [&peer.take()[..]]);
        assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
        peer.hear(&ours.take_written()).expect("no fault");
        // The end of its handshake, and a request.
        arrive(&mut ours, [&peer.say(b"request")[..]]);
        assert_eq!(ours.read(&mut [0; 100]), Io::Moved(7));
        assert!(ours.take_written().is_empty() && ours.held() > 0, "tickets wait");
        if replies {
            // The wire takes one write.
            ours.let_out(usize::MAX);
            assert_eq!(ours.write(&[IoSlice::new(b"reply")]), Io::Moved(5));
        } else {
            assert!(ours.flush_own());
        }
        let sent = ours.take_written();
        let first = record_len(&sent).expect("a record");
        assert_eq!(first < sent.len(), replies, "the reply is behind the tickets");
        let reply = if replies { &b"reply"[..] } else { b"" };
        assert_eq!(peer.hear(&sent), Ok((reply.to_vec(), false)));
        assert_eq!(ours.held(), 0);
    }
}

/// A connection may offer fewer bytes than before: those that a caller shows beside its queue.
#[test]
fn no_more_is_reported_than_was_offered() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        let bytes = noise(3000);
        ours.let_out(0);
        assert_eq!(ours.write(&[IoSlice::new(&bytes)]), Io::Blocked);
        ours.let_all_out();
        assert_eq!(ours.write(&[IoSlice::new(&bytes[..1000])]), Io::Moved(1000));
        assert_eq!(ours.write(&[IoSlice::new(&bytes[1000..1500])]), Io::Moved(500));
        assert_eq!(ours.write(&[IoSlice::new(&bytes[1500..])]), Io::Moved(1500));
        assert_eq!(peer.hear(&ours.take_written()), Ok((bytes, false)));
    }
}

/// No client waits for session tickets: they leave with the first reply, even if the end of the
/// handshake comes alone. What TLS 1.2 has behind the client's Finished is waited for.
#[test]
fn session_tickets_leave_with_the_first_reply() {
    for setting in Setting::all().filter(|setting| setting.serves) {
        let (mut ours, mut peer) = setting.start();
        while ours.is_handshaking() || peer.0.is_handshaking() {
            arrive(&mut ours, [&peer.take()[..]]);
            assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
            peer.hear(&ours.take_written()).expect("no fault");
        }
        let before = ours.wire().calls;
        let has_tickets = setting.version == ProtocolVersion::TLSv1_3;
        assert_eq!(ours.held() > 0, has_tickets);
        ours.flush_offered();
        assert_eq!(ours.wire().calls, before, "nobody has offered them");
        arrive(&mut ours, [&peer.say(b"request")[..]]);
        assert_eq!(ours.read(&mut [0; 100]), Io::Moved(7));
        assert_eq!(ours.write(&[IoSlice::new(b"reply")]), Io::Moved(5));
        assert_eq!(ours.wire().calls, before + 1, "one write");
        let sent = ours.take_written();
        assert_eq!(record_len(&sent).expect("a record") < sent.len(), has_tickets);
        assert_eq!(peer.hear(&sent), Ok((b"reply".to_vec(), false)));
        assert_eq!(ours.held(), 0);
    }
}

/// What the wire has not taken of them is not held back any longer.
#[test]
fn session_tickets_that_were_offered_are_flushed() {
    let setting = Setting::of(&rustls::version::TLS13).into_iter().find(|setting| setting.serves);
    let (mut ours, mut peer) = setting.expect("both roles are there").start();
    arrive(&mut ours, [&peer.take()[..]]);
    assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
    peer.hear(&ours.take_written()).expect("no fault");
    arrive(&mut ours, [&peer.take()[..]]);
    assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
    ours.let_out(10);
    assert!(!ours.flush_own());
    ours.let_all_out();
    ours.flush_offered();
    assert_eq!(peer.hear(&ours.take_written()), Ok((Vec::new(), false)));
    assert_eq!(ours.held(), 0);
}

/// Behind the header of a frame, full records lie in its payload: they are not gathered first.
#[test]
fn the_record_that_is_not_full_comes_first() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        assert_eq!(ours.write(&[IoSlice::new(b"a")]), Io::Moved(1));
        let overhead = ours.wire().written.len() - 1;
        for (header, payload, records) in [
            (2, 20, vec![22]),
            (4, 16_000, vec![16_004]),
            (4, 16_384, vec![4, 16_384]),
            (4, 20_000, vec![3620, 16_384]),
            (10, 32_768, vec![10, 16_384, 16_384]),
            (10, 1 << 20, [vec![10], vec![16_384; 64]].concat()),
        ] {
            peer.hear(&ours.take_written()).expect("no fault");
            let bytes = noise(header + payload);
            let (header, payload) = bytes.split_at(header);
            let io = ours.write(&[IoSlice::new(header), IoSlice::new(payload)]);
            assert_eq!(io, Io::Moved(bytes.len()));
            let sent = ours.take_written();
            let (mut rest, mut lens) = (&sent[..], Vec::new());
            while let Some(len) = record_len(rest) {
                lens.push(len - overhead);
                rest = &rest[len..];
            }
            assert_eq!(lens, records);
            assert_eq!(peer.hear(&sent), Ok((bytes, false)));
        }
    }
}

/// The last bytes and close_notify are one write, and the bytes count as those of any write.
#[test]
fn the_last_bytes_leave_with_close_notify() {
    for setting in Setting::all() {
        for len in [2, 16_384, 300_000] {
            let (mut ours, mut peer) = setting.open();
            let bytes = noise(len);
            let before = ours.wire().calls;
            assert_eq!(ours.write_last(&[IoSlice::new(&bytes)]), Io::Moved(len));
            let batches = len.div_ceil((256 << 10) + (16 << 10));
            assert_eq!(ours.wire().calls, before + batches);
            assert!(ours.end());
            assert_eq!(ours.wire().calls, before + batches, "nothing was left");
            assert_eq!(peer.hear(&ours.take_written()), Ok((bytes, true)));
            assert_eq!(ours.write(&[IoSlice::new(b"more")]), Io::Lost);
            assert!(ours.take_written().is_empty());
            assert_eq!(ours.held(), 0);
        }
    }
}

#[test]
fn the_last_bytes_are_reported_whatever_the_wire_takes() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        assert_eq!(ours.write_last(&[IoSlice::new(b"bye")]), Io::Moved(3));
        let len = ours.take_written().len();
        drop(peer);
        for at_once in 1..=len {
            (ours, peer) = setting.open();
            let (mut reported, mut sent) = (0, Vec::new());
            while reported < 3 {
                ours.let_out(at_once);
                match ours.write_last(&[IoSlice::new(&b"bye"[reported..])]) {
                    Io::Moved(count) => reported += count,
                    Io::Blocked => {}
                    Io::Lost => panic!("{:?}", ours.fault()),
                }
                sent.append(&mut ours.take_written());
            }
            ours.let_all_out();
            assert!(ours.end());
            sent.append(&mut ours.take_written());
            assert_eq!(sent.len(), len);
            assert_eq!(peer.hear(&sent), Ok((b"bye".to_vec(), true)));
            assert_eq!(ours.held(), 0);
        }
    }
}

/// Our close_notify lies behind the bytes, and does not hold their report back.
#[test]
fn bytes_are_reported_before_what_lies_behind_them_has_left() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        ours.let_out(0);
        assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Blocked);
        assert!(!ours.end());
        let record = peer.say(b"hello").len();
        ours.let_out(record);
        assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Moved(5));
        ours.let_all_out();
        assert!(ours.flush_own());
        assert_eq!(peer.hear(&ours.take_written()), Ok((b"hello".to_vec(), true)));
    }
}

#[test]
fn what_has_arrived_is_read_although_writing_has_failed() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        let (last, end) = (peer.say(b"why"), peer.notify());
        arrive(&mut ours, [&last[..], &end]);
        ours.wire().writes = [Write::Lose].into();
        assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Lost);
        assert_eq!(ours.fault(), Some(&Fault::Transport));
        assert_eq!(ours.read_all(100), (b"why".to_vec(), Io::Moved(0)));
        assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Lost);
        assert_eq!(ours.held(), 0, "nothing is kept that cannot be sent");
    }
}

/// What the server has said of a handshake that fails is worth more than that it is gone.
#[test]
fn an_alert_is_read_although_writing_has_failed() {
    for setting in Setting::all().filter(|setting| !setting.serves) {
        let (mut ours, _) = setting.start();
        ours.wire().writes = [Write::Lose].into();
        assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Lost);
        arrive(&mut ours, [&[21, 3, 3, 0, 2, 2, 40][..]]);
        assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
        assert_eq!(ours.fault(), Some(&Fault::Tls(alert)));
    }
}

/// The rest of a flight that was blocked, and a write behind it.
#[test]
fn a_write_during_the_handshake_waits_for_its_end() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.start();
        let mut reported = 0;
        let mut read = Vec::new();
        for _ in 0..100_000 {
            ours.let_out(10);
            match ours.write(&[IoSlice::new(&b"hello"[reported..])]) {
                Io::Moved(count) => reported += count,
                Io::Blocked => {}
                Io::Lost => panic!("{:?}", ours.fault()),
            }
            read.append(&mut peer.hear(&ours.take_written()).expect("no fault").0);
            arrive(&mut ours, [&peer.take()[..]]);
            if reported == 5 {
                break;
            }
        }
        assert_eq!(read, b"hello");
        assert_eq!(ours.held(), 0);
    }
}
