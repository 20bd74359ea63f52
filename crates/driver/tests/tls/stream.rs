//! The TLS transport against itself: what one side writes the other one reads, whatever the wire takes
//! and hands out at once.

use crate::wire::{End, VERSIONS, noise, sessions};
use framewright_driver::tls::{Fault, Session, Tls};
use framewright_driver::{Io, Transport};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use std::fmt::Debug;
use std::io::IoSlice;
use std::net::Shutdown;

pub(crate) fn shake_hands<T: Transport + Debug, U: Transport + Debug>(
    client: &mut Tls<UnbufferedClientConnection, T>,
    server: &mut Tls<UnbufferedServerConnection, U>,
) {
    for _ in 0..100_000 {
        if !client.is_handshaking() && !server.is_handshaking() {
            // Session tickets.
            server.flush_own();
            return;
        }
        assert_eq!(client.read(&mut [0; 16]), Io::Blocked);
        assert_eq!(server.read(&mut [0; 16]), Io::Blocked);
    }
    panic!("the handshake does not end: {client:?} {server:?}");
}

/// Moves `bytes` from one side to the other, with the given room on the wire for each write.
fn carry<A: Session, B: Session>(
    from: &mut Tls<A, End>,
    to: &mut Tls<B, End>,
    bytes: &[u8],
    room: usize,
    target: usize,
) {
    let (mut sent, mut received) = (0, Vec::new());
    let mut buffer = vec![0; target];
    while received.len() < bytes.len() {
        from.transport().outgoing.borrow_mut().room = room;
        if sent < bytes.len() {
            let rest = &bytes[sent..];
            let (head, tail) = rest.split_at(rest.len().min(7));
            match from.write(&[IoSlice::new(head), IoSlice::new(tail)]) {
                Io::Moved(count) => sent += count,
                Io::Blocked => {}
                Io::Lost => panic!("{:?}", from.fault()),
            }
        }
        loop {
            match to.read(&mut buffer) {
                Io::Moved(count) => received.extend_from_slice(&buffer[..count]),
                Io::Blocked => break,
                Io::Lost => panic!("{:?}", to.fault()),
            }
        }
        assert!(received.len() >= sent, "what counts as written has left");
    }
    while sent < bytes.len() {
        match from.write(&[IoSlice::new(&bytes[sent..])]) {
            Io::Moved(count) => sent += count,
            io => panic!("{io:?} {:?}", from.fault()),
        }
    }
    assert!(received == bytes);
    assert_eq!((from.held(), to.held()), (0, 0), "nothing rests");
    from.transport().outgoing.borrow_mut().room = usize::MAX;
}

#[test]
fn bytes_arrive_as_they_were_sent_whatever_the_wire_takes_at_once() {
    for version in VERSIONS {
        for (at_once, room, target) in
            [(usize::MAX, usize::MAX, 1 << 17), (1, 100, 10), (1000, 17, 1 << 16), (20_000, 40_000, 300)]
        {
            let (mut client, mut server) = sessions(version, at_once);
            shake_hands(&mut client, &mut server);
            for len in [1, 20, 16_384, 16_385, 300_000] {
                let bytes = noise(len);
                carry(&mut client, &mut server, &bytes, room, target);
                carry(&mut server, &mut client, &bytes, room, target);
            }
        }
    }
}

#[test]
fn slices_of_a_write_share_a_record_and_leave_in_one_write() {
    let (mut client, mut server) = sessions(&rustls::version::TLS13, usize::MAX);
    shake_hands(&mut client, &mut server);
    let before = client.transport().outgoing.borrow().writes;
    let slices: Vec<_> = (0..20).map(|_| IoSlice::new(b"a short message")).collect();
    assert_eq!(client.write(&slices), Io::Moved(20 * 15));
    let wire = client.transport().outgoing.borrow();
    assert_eq!(wire.writes, before + 1);
    assert_eq!(wire.bytes.len(), 5 + 20 * 15 + 17, "one record");
    drop(wire);
    let mut buffer = [0; 1000];
    assert_eq!(server.read(&mut buffer), Io::Moved(300));
}

#[test]
fn a_close_notify_ends_a_stream_and_a_missing_one_is_a_truncation() {
    for version in VERSIONS {
        for notifies in [false, true] {
            let (mut client, mut server) = sessions(version, usize::MAX);
            shake_hands(&mut client, &mut server);
            assert_eq!(server.write(&[IoSlice::new(b"bye")]), Io::Moved(3));
            if notifies {
                server.shutdown(Shutdown::Write);
            } else {
                server.transport_mut().shutdown(Shutdown::Write);
            }
            let mut buffer = [0; 100];
            assert_eq!(client.read(&mut buffer), Io::Moved(3));
            if notifies {
                assert_eq!(client.read(&mut buffer), Io::Moved(0));
                assert_eq!(client.fault(), None);
                // Only one direction has ended.
                assert_eq!(client.write(&[IoSlice::new(b"so long")]), Io::Moved(7));
                assert_eq!(server.read(&mut buffer), Io::Moved(7));
            } else {
                assert_eq!(client.read(&mut buffer), Io::Lost);
                assert_eq!(client.fault(), Some(&Fault::Truncated));
            }
        }
    }
}

#[test]
fn an_end_that_is_blocked_comes_before_that_of_the_transport() {
    let (mut client, mut server) = sessions(&rustls::version::TLS13, usize::MAX);
    shake_hands(&mut client, &mut server);
    server.transport().outgoing.borrow_mut().room = 5;
    assert!(!server.end());
    server.shutdown(Shutdown::Write);
    assert!(!server.transport().outgoing.borrow().ended);
    assert!(!server.flush_own());
    server.transport().outgoing.borrow_mut().room = 100;
    assert!(server.flush_own());
    assert!(server.transport().outgoing.borrow().ended);
    assert_eq!(client.read(&mut [0; 10]), Io::Moved(0));
    assert_eq!(client.fault(), None);
}

#[test]
fn a_broken_hello_is_answered_with_an_alert() {
    let (mut client, mut server) = sessions(&rustls::version::TLS13, usize::MAX);
    client.transport_mut().write(&[IoSlice::new(b"\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd")]);
    assert_eq!(server.read(&mut [0; 100]), Io::Lost);
    assert!(matches!(server.fault(), Some(Fault::Tls(_))), "{:?}", server.fault());
    let alert = server.transport().outgoing.borrow().bytes.iter().copied().collect::<Vec<_>>();
    assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");
}

/// The record was looked at once more behind its alert, which a build with assertions of rustls does
/// not survive.
#[test]
fn a_record_that_does_not_decrypt_is_answered_by_an_alert() {
    for version in VERSIONS {
        let (mut client, mut server) = sessions(version, usize::MAX);
        shake_hands(&mut client, &mut server);
        // The tickets.
        while client.read(&mut [0; 16]) != Io::Blocked {}
        let record = [&b"\x17\x03\x03\x00\x40"[..], &[7; 64]].concat();
        assert_eq!(client.transport_mut().write(&[IoSlice::new(&record)]), Io::Moved(record.len()));
        assert_eq!(server.read(&mut [0; 16]), Io::Lost);
        assert_eq!(server.fault(), Some(&Fault::Tls(rustls::Error::DecryptError)));
        assert_eq!(client.read(&mut [0; 16]), Io::Lost);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac);
        assert_eq!(client.fault(), Some(&Fault::Tls(alert)));
    }
}
