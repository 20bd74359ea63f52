//! Backpressure: what waits is bounded, and whoever was refused is told when there is room.

use crate::support::{ROLES, binary, endpoint, from_peer, sent};
use framewright::{Config, Event, Message, Prepared, Role, SendError};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen};
use framewright_testkit::net::{Net, Settings};
use std::time::Duration;

/// An endpoint with marks at 1000 and 100 octets whose transport takes nothing.
fn blocked(role: Role, behaviour: Behaviour) -> Endpoint {
    let config = Config { high_water: 1000, low_water: 100, ..Config::default() };
    let mut endpoint = Endpoint::new(role, config, 1, behaviour);
    endpoint.room = 0;
    endpoint
}

fn writables(endpoint: &Endpoint) -> usize {
    endpoint.events.iter().filter(|event| **event == Seen::Writable).count()
}

#[test]
fn above_the_high_water_mark_everything_but_a_close_is_refused_and_nothing_queued() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        let connection = &mut endpoint.connection;
        connection.send_binary(&[0; 990]).unwrap(); // with its header above 990 and below 1000
        assert!(connection.is_writable() && connection.wants_read());
        connection.send_binary(&[0; 5000]).unwrap(); // one message of any size is taken below the mark
        assert!(!connection.is_writable() && !connection.wants_read());
        let waiting = connection.buffered();
        assert_eq!(connection.send_text("x"), Err(SendError::Full));
        assert_eq!(connection.send_fragment(Message::Text("x"), false), Err(SendError::Full));
        assert_eq!(connection.send_prepared(&Prepared::new(Message::Text("x"))), Err(SendError::Full));
        assert_eq!(
            connection.driver().send_with_writer(Message::Text("x"), &mut |_| unreachable!()),
            Err(SendError::Full)
        );
        assert_eq!(connection.ping(b"x"), Err(SendError::Full));
        assert_eq!(connection.pong(b"x"), Err(SendError::Full));
        assert_eq!(connection.buffered(), waiting);
        connection.close(None, "").unwrap();
        endpoint.make_room(usize::MAX);
        let opcodes: Vec<_> = sent(&endpoint).iter().map(|(opcode, _)| *opcode).collect();
        assert_eq!(opcodes, [2, 2, 8]);
        assert_eq!(writables(&endpoint), 0, "nothing can be sent behind a Close");
        assert_eq!(endpoint.connection.stats().messages_sent, 2);
    }
}

#[test]
fn the_high_water_mark_is_exact() {
    for role in ROLES {
        for (waiting, room) in [(999, true), (1000, false), (1001, false)] {
            let mut endpoint = blocked(role, Behaviour::Silent);
            let header = if role == Role::Client { 8 } else { 4 };
            endpoint.connection.send_binary(&vec![0; waiting - header]).unwrap();
            assert_eq!(endpoint.connection.buffered(), waiting);
            assert_eq!((endpoint.connection.is_writable(), endpoint.connection.wants_read()), (room, room));
            assert_eq!(endpoint.connection.send_text("x").is_ok(), room);
        }
    }
}

#[test]
fn writable_comes_once_when_what_waits_has_fallen_to_the_low_water_mark() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        for round in 1..4 {
            endpoint.connection.send_binary(&[0; 2000]).unwrap();
            endpoint.drain();
            let waiting = endpoint.connection.buffered();
            endpoint.make_room(waiting - 101);
            assert_eq!(writables(&endpoint), round - 1);
            assert!(!endpoint.connection.wants_read() && endpoint.connection.is_writable());
            endpoint.make_room(1);
            assert_eq!(writables(&endpoint), round);
            assert!(endpoint.connection.wants_read());
            endpoint.make_room(100);
            assert_eq!((writables(&endpoint), endpoint.connection.buffered()), (round, 0));
        }
    }
}

#[test]
fn no_writable_comes_once_the_connection_has_ended() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        endpoint.connection.send_binary(&[0; 2000]).unwrap();
        endpoint.room = usize::MAX;
        endpoint.transmit();
        assert!(endpoint.connection.has_event(), "it is due");
        endpoint.connection.abort(endpoint.now);
        endpoint.drain();
        assert_eq!(endpoint.events.len(), 1);
        let _ = endpoint.closure();
    }
}

#[test]
fn no_writable_comes_once_a_close_is_queued() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        endpoint.connection.send_binary(&[0; 2000]).unwrap();
        endpoint.room = usize::MAX;
        endpoint.transmit();
        assert!(endpoint.connection.has_event(), "it is due");
        endpoint.connection.close(None, "").unwrap();
        endpoint.drain();
        assert_eq!(endpoint.events, [], "nothing could be written any more");
    }
}

#[test]
fn a_high_water_mark_of_zero_counts_as_one() {
    for role in ROLES {
        let config = Config { high_water: 0, low_water: 0, ..Config::default() };
        let mut endpoint = Endpoint::new(role, config, 1, Behaviour::Silent);
        endpoint.room = 0;
        assert_eq!(endpoint.connection.send_text("one"), Ok(()));
        assert_eq!(endpoint.connection.send_text("two"), Err(SendError::Full));
        endpoint.make_room(usize::MAX);
        assert_eq!(writables(&endpoint), 1);
        assert!(endpoint.connection.wants_read() && endpoint.connection.is_writable());
    }
}

#[test]
fn a_write_that_panics_leaves_no_header_without_its_payload() {
    let mut endpoint = blocked(Role::Server, Behaviour::Silent);
    let connection = &mut endpoint.connection;
    let through = std::panic::AssertUnwindSafe(|| {
        connection.driver().send_with_writer(Message::Binary(&[7; 20]), &mut |_| panic!("the writer's own"))
    });
    assert!(std::panic::catch_unwind(through).is_err());
    assert_eq!(endpoint.connection.buffered(), 0);
}

#[test]
fn no_writable_comes_where_the_high_water_mark_was_not_reached() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        endpoint.connection.send_binary(&[0; 900]).unwrap();
        endpoint.make_room(usize::MAX);
        assert_eq!(endpoint.events, []);
    }
}

#[test]
fn whoever_fills_the_queue_with_control_frames_is_owed_a_writable_too() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        while endpoint.connection.ping(&[0; 125]).is_ok() {}
        assert_eq!(endpoint.connection.send_text("x"), Err(SendError::Full));
        assert!(!endpoint.connection.wants_read());
        endpoint.make_room(usize::MAX);
        assert_eq!(writables(&endpoint), 1, "after Pings of the application");

        let mut endpoint = blocked(role, Behaviour::Silent);
        endpoint.connection.send_binary(&[0; 900]).unwrap();
        endpoint.feed(&from_peer(role, "ping \"x\" * 125"));
        assert_eq!(endpoint.connection.send_text("x"), Err(SendError::Full));
        endpoint.make_room(usize::MAX);
        assert_eq!(writables(&endpoint), 1, "after a Pong");
    }
}

#[test]
fn marks_that_are_the_same_or_swapped_still_leave_room_when_writable_comes() {
    for role in ROLES {
        for low_water in [1000, 5000] {
            let config = Config { high_water: 1000, low_water, ..Config::default() };
            let mut endpoint = Endpoint::new(role, config, 1, Behaviour::Silent);
            endpoint.room = 0;
            endpoint.connection.send_binary(&[0; 1996]).unwrap();
            let waiting = endpoint.connection.buffered();
            endpoint.make_room(waiting - 1000);
            assert_eq!(writables(&endpoint), 0);
            endpoint.make_room(1);
            assert_eq!(writables(&endpoint), 1);
            endpoint.connection.send_text("x").unwrap();
        }
    }
}

#[test]
fn an_echo_of_a_peer_that_does_not_read_stops_reading_and_loses_nothing() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Echo);
        let stream =
            from_peer(role, &(0..50).map(|n| format!("binary \"{n:02}\" * 50;")).collect::<String>());
        endpoint.feed(&stream);
        assert!(endpoint.connection.buffered() < 1000 + 110);
        assert!(endpoint.rx.unread() > 3000, "the rest is left undecoded");
        while endpoint.connection.buffered() > 0 {
            endpoint.make_room(77);
            assert!(endpoint.connection.buffered() < 1000 + 110);
        }
        let expected: Vec<_> = (0..50).map(|n| (2, format!("{n:02}").repeat(50).into_bytes())).collect();
        assert_eq!(sent(&endpoint), expected);
        assert!(endpoint.rx.is_empty());
    }
}

#[test]
fn partial_writes_at_every_offset_resume_exactly() {
    for role in ROLES {
        let prepared = Prepared::new(Message::Binary(&[5; 6000]));
        let send_all = |endpoint: &mut Endpoint| {
            endpoint.connection.send_text("before").unwrap();
            endpoint.connection.send_prepared(&prepared).unwrap();
            endpoint.connection.send_fragment(Message::Binary(b"between"), true).unwrap();
            endpoint.connection.send_prepared(&prepared).unwrap();
            endpoint.connection.ping(b"behind").unwrap();
        };
        let mut whole = endpoint(role);
        send_all(&mut whole);
        whole.drain();
        for step in [1, 2, 3, 7, 1000, 6000, 6010] {
            let mut endpoint = endpoint(role);
            endpoint.room = 0;
            send_all(&mut endpoint);
            while endpoint.connection.buffered() > 0 {
                endpoint.make_room(step);
            }
            assert!(endpoint.sent == whole.sent, "in steps of {step}");
        }
        assert_eq!(whole.frames().len(), 5);
    }
}

#[test]
fn a_long_queue_of_shared_and_own_messages_leaves_in_order() {
    for role in ROLES {
        for step in [999, 3000, 70_000] {
            let prepared = Prepared::new(Message::Binary(&[0xFF; 5000]));
            let mut endpoint = endpoint(role);
            endpoint.room = 0;
            for n in 0..100u8 {
                endpoint.connection.send_binary(&[n; 2000]).unwrap();
                endpoint.connection.send_prepared(&prepared).unwrap();
            }
            while endpoint.connection.buffered() > 0 {
                endpoint.make_room(step);
            }
            let frames = sent(&endpoint);
            let expected = (0..100u8).flat_map(|n| [(2, vec![n; 2000]), (2, vec![0xFF; 5000])]);
            assert!(frames.into_iter().eq(expected), "in steps of {step}");
        }
    }
}

/// Both ends send without reading: each waits for the other one to read. The write timeout frees
/// them.
#[test]
fn two_ends_that_both_stop_reading_are_freed_by_the_write_timeout() {
    let config = Config { high_water: 1000, low_water: 100, ..Config::default() };
    let settings = Settings {
        capacity: 500,
        client: (config.clone(), Behaviour::Silent),
        server: (config, Behaviour::Echo),
        ..Settings::default()
    };
    let mut net = Net::new(settings);
    let mut refused = 0;
    while refused < 1000 {
        match net.command(Role::Client, |client| client.send_binary(&[0; 200])) {
            Ok(()) => {}
            Err(SendError::Full) => {
                net.run_for(Duration::from_millis(5));
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!net.client.connection.wants_read() && !net.server.connection.wants_read());
    net.run_until_closed(Duration::from_secs(60));
    assert!(net.client.closure().cause.is_some() && net.server.closure().cause.is_some());
}

#[test]
fn a_message_is_received_while_the_transport_is_blocked_below_the_mark() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        endpoint.connection.send_binary(&[0; 500]).unwrap();
        endpoint.feed(&from_peer(role, "binary \"in\""));
        assert_eq!(endpoint.events, [binary(b"in")]);
    }
}

#[test]
fn what_needs_no_octets_is_given_without_a_buffer_each_once() {
    for role in ROLES {
        let mut endpoint = blocked(role, Behaviour::Silent);
        assert_eq!(endpoint.connection.driver().pending_event(), None);
        endpoint.connection.send_binary(&[0; 2000]).unwrap();
        endpoint.room = usize::MAX;
        endpoint.transmit();
        assert_eq!(endpoint.connection.driver().pending_event(), Some(Event::Writable));
        assert_eq!(endpoint.connection.driver().pending_event(), None);
        endpoint.connection.abort(endpoint.now);
        let Some(Event::Closed(closure)) = endpoint.connection.driver().pending_event() else {
            panic!("the end")
        };
        assert_eq!(Some(&closure), endpoint.connection.closure().as_ref());
        assert_eq!(endpoint.connection.driver().pending_event(), None);
    }
}
