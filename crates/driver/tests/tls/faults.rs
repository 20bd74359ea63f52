//! What a peer may do wrong, and what it is told.

use crate::peer::{Ours, Peer, Setting, arrive, shake_hands};
use framewright_driver::tls::Fault;
use framewright_driver::{Io, Transport};
use rustls::{AlertDescription, Error, InvalidMessage};
use std::io::IoSlice;

/// Our side has failed: the peer reads one alert, and nothing behind it.
#[track_caller]
fn assert_alert(ours: &mut Ours, peer: &mut Peer, alert: AlertDescription) {
    let sent = ours.take_written();
    assert_eq!(peer.hear(&sent), Err(Error::AlertReceived(alert)));
    let record = 5 + usize::from(u16::from_be_bytes([sent[3], sent[4]]));
    assert_eq!(sent.len(), record, "one alert");
    assert_eq!(ours.read(&mut [0; 100]), Io::Lost, "for ever");
    assert!(ours.flush_own() && ours.end(), "there is nothing more to send");
    assert!(ours.take_written().is_empty());
}

#[test]
fn a_broken_record_is_answered_with_one_alert() {
    for setting in Setting::all() {
        let (mut ours, mut peer) = setting.open();
        let before = peer.say(b"before");
        let mut broken = peer.say(b"broken");
        *broken.last_mut().expect("a record") ^= 1;
        arrive(&mut ours, [&[before, broken].concat()[..]]);
        assert_eq!(ours.read_all(100), (b"before".to_vec(), Io::Lost));
        assert_eq!(ours.fault(), Some(&Fault::Tls(Error::DecryptError)));
        assert_alert(&mut ours, &mut peer, AlertDescription::BadRecordMac);
    }
}

#[test]
fn a_broken_record_of_the_handshake_is_answered_with_an_alert() {
    for setting in Setting::all() {
        for is_last in [false, true] {
            let (mut ours, mut peer) = setting.start();
            let hello = peer.take();
            arrive(&mut ours, [&hello[..]]);
            assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
            peer.hear(&ours.take_written()).expect("no fault");
            // The server's first flight, or the client's second one.
            let mut flight = peer.take();
            let last = flight.len() - 1;
            if is_last && flight.ends_with(&[14, 0, 0, 0]) {
                continue; // ServerHelloDone, which has nothing to break
            }
            flight[if is_last { last } else { 5 }] ^= 1;
            arrive(&mut ours, [&flight[..]]);
            assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
            assert!(matches!(ours.fault(), Some(Fault::Tls(_))), "{:?}", ours.fault());
            let sent = ours.take_written();
            assert!(matches!(peer.hear(&sent), Err(Error::AlertReceived(_))), "{sent:?}");
            let fault = ours.fault().cloned();
            assert_eq!(ours.write(&[IoSlice::new(b"hello")]), Io::Lost, "for ever");
            assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
            assert_eq!(ours.fault(), fault.as_ref());
            assert!(ours.take_written().is_empty());
        }
    }
}

#[test]
fn what_is_not_tls_is_told_from_broken_tls_however_it_arrives() {
    for setting in Setting::all() {
        for (first, is_http) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], true),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            (b"POST / HTTP/1.0\r\n\r\n", true),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", false),
            (b"EHLO example.org\r\n", false),
            (b"get / HTTP/1.1\r\n\r\n", false),
            (b"\x05\x01\x00\x00", false),
            (b"\x80\x2e\x01\x03\x01", false),
        ] {
            for at_once in 1..5 {
                let (mut ours, _) = setting.start();
                assert_eq!(ours.read(&mut [0; 100]), Io::Blocked);
                ours.take_written();
                arrive(&mut ours, first.chunks(at_once));
                assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
                assert_eq!(ours.fault(), Some(&Fault::NotTls { is_http }), "{first:?} by {at_once}");
                assert!(ours.take_written().is_empty(), "no alert");
                assert!(ours.end() && ours.take_written().is_empty());
            }
        }
    }
}

#[test]
fn what_is_not_a_record_behind_records_is_broken_tls() {
    let expected = Error::InvalidMessage(InvalidMessage::InvalidContentType);
    for setting in Setting::all() {
        for in_handshake in [true, false] {
            let (mut ours, mut peer) = setting.start();
            if in_handshake {
                let first = peer.take();
                arrive(&mut ours, [&first[..]]);
                ours.read(&mut [0; 100]);
                peer.hear(&ours.take_written()).expect("no fault");
                arrive(&mut ours, [&peer.take()[..]]);
            } else {
                shake_hands(&mut ours, &mut peer);
            }
            arrive(&mut ours, [&b"GET / HTTP/1.1\r\n\r\n"[..]]);
            assert_eq!(ours.read(&mut [0; 100]), Io::Lost);
            assert_eq!(ours.fault(), Some(&Fault::Tls(expected.clone())));
            assert!(!ours.take_written().is_empty(), "an alert");
        }
    }
}
