//! Sections 5.5, 5.5.2 and 5.5.3: control frames, Ping and Pong.

use crate::support::{ROLES, endpoint, fails, from_peer, misbehaved, receive, sent};
use framewright::frame::OpCode;
use framewright::{Config, PeerMisbehaved, SendError, State};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen};

const CONTROL: [(&str, OpCode); 3] =
    [("close", OpCode::Close), ("ping", OpCode::Ping), ("pong", OpCode::Pong)];

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5
//# All control frames MUST have a payload length of 125 bytes or less
//# and MUST NOT be fragmented.
#[test]
fn a_fragmented_control_frame_fails_the_connection() {
    for role in ROLES {
        for (name, opcode) in CONTROL {
            for source in [format!("{name} !fin"), format!("text \"a\" !fin; {name} !fin; cont")] {
                fails(role, &source, misbehaved(PeerMisbehaved::FragmentedControl(opcode)));
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5
//# All control frames MUST have a payload length of 125 bytes or less
//# and MUST NOT be fragmented.
#[test]
fn a_control_frame_over_125_octets_fails_the_connection_by_its_second_octet() {
    for role in ROLES {
        for (name, opcode) in CONTROL {
            for source in
                [format!("{name} len=126"), format!("{name} len=65536"), format!("{name} len=1 form=16")]
            {
                fails(role, &source, misbehaved(PeerMisbehaved::ControlTooLong(opcode)));
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2
//# Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
//# response, unless it already received a Close frame.
#[test]
fn every_ping_is_answered_with_its_own_application_data() {
    for role in ROLES {
        let data: [&[u8]; 4] = [b"", b"Hello", &[0xff, 0, 0xfe], &[b'p'; 125]];
        let source = "ping; ping \"Hello\"; ping hex \"ff 00 fe\"; ping \"p\" * 125";
        let endpoint = receive(role, source);
        assert_eq!(endpoint.events, data.map(|data| Seen::Ping(data.to_vec())));
        assert_eq!(sent(&endpoint), data.map(|data| (10, data.to_vec())));
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn ten_pings_at_once_have_ten_pongs() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 0; // none can be sent before the last is received
        endpoint.feed(&from_peer(role, &(0..10).map(|n| format!("ping \"{n}\";")).collect::<String>()));
        endpoint.make_room(usize::MAX);
        let expected: Vec<_> = (0..10).map(|n| (10, n.to_string().into_bytes())).collect();
        assert_eq!(sent(&endpoint), expected);
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.3
//# If an endpoint receives a Ping frame and has not yet sent Pong
//# frame(s) in response to previous Ping frame(s), the endpoint MAY
//# elect to send a Pong frame for only the most recently processed Ping
//# frame.
#[test]
fn a_flood_of_pings_costs_constant_memory_and_the_newest_is_answered() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 0;
        for n in 0..10_000u32 {
            endpoint.feed(&from_peer(role, &format!("ping \"{n}\" * 25")));
            assert!(endpoint.connection.buffered() < 2048);
        }
        assert!(endpoint.connection.wants_read(), "Pongs alone do not stop the reading");
        endpoint.make_room(usize::MAX);
        let pongs = sent(&endpoint);
        assert!(pongs.iter().all(|(opcode, _)| *opcode == 10));
        assert_eq!(pongs[0].1, b"0".repeat(25));
        assert_eq!(pongs.last().unwrap().1, b"9999".repeat(25), "the newest is the last");
        assert!(pongs.len() < 50);
    }
}

#[test]
fn pongs_keep_the_order_of_their_pings_when_some_are_left_out() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 0;
        for n in 0..3000u32 {
            endpoint.feed(&from_peer(role, &format!("ping \"{n:04}\" * 20")));
            // Room for one Pong when the slot is taken, and now and then for all of them.
            endpoint.make_room(match n % 30 {
                20 => 100,
                22 => 10_000 - endpoint.room,
                _ => 0,
            });
            if n % 30 == 22 {
                endpoint.room = 0;
            }
        }
        endpoint.make_room(usize::MAX);
        let pongs = sent(&endpoint);
        assert!(pongs.windows(2).all(|pair| pair[0].1 < pair[1].1));
        assert_eq!(pongs.last().unwrap().1, b"2999".repeat(20));
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2
//# Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
//# response, unless it already received a Close frame.
#[test]
fn a_ping_behind_a_close_is_not_answered() {
    for role in ROLES {
        let endpoint = receive(role, "close 1000; ping \"late\"");
        assert_eq!(sent(&endpoint), [(8, vec![3, 232])]);
        assert!(endpoint.events.iter().all(|event| !matches!(event, Seen::Ping(_))));
    }
}

#[test]
fn no_pong_follows_our_own_close() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.close(None, "").unwrap();
        endpoint.feed(&from_peer(role, "ping \"x\""));
        assert_eq!(endpoint.events, [Seen::Ping(b"x".to_vec())]);
        assert_eq!(sent(&endpoint), [(8, Vec::new())]);
    }
}

#[test]
fn a_pong_that_waits_in_the_slot_does_not_follow_a_close() {
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, Config::default(), 1, Behaviour::Silent);
        endpoint.room = 0;
        endpoint.feed(&from_peer(role, "repeat 20 { ping \"x\" * 125 }"));
        endpoint.connection.close(None, "").unwrap();
        endpoint.make_room(usize::MAX);
        assert_eq!(sent(&endpoint).last().unwrap().0, 8); // frames() has checked that it is the last
    }
}

#[test]
fn a_pong_that_waits_in_the_slot_is_not_sent_once_the_connection_has_ended() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.room = 0;
        endpoint.feed(&from_peer(role, "repeat 20 { ping \"x\" * 125 }"));
        let waiting = endpoint.connection.buffered();
        endpoint.eof();
        endpoint.make_room(usize::MAX);
        assert_eq!(endpoint.sent.len(), waiting);
    }
}

#[test]
fn unsolicited_pongs_are_seen_and_not_answered() {
    for role in ROLES {
        let endpoint = receive(role, "pong; pong \"never asked for\"; pong \"never asked for\"");
        assert_eq!(endpoint.events.len(), 3);
        assert!(endpoint.sent.is_empty());
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn pings_and_pongs_of_the_application_are_sent_as_they_are() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        endpoint.connection.ping(&[9; 125]).unwrap();
        endpoint.connection.pong(b"").unwrap();
        assert_eq!(endpoint.connection.ping(&[9; 126]), Err(SendError::ControlTooLong));
        assert_eq!(endpoint.connection.pong(&[9; 126]), Err(SendError::ControlTooLong));
        endpoint.drain();
        assert_eq!(sent(&endpoint), [(9, vec![9; 125]), (10, Vec::new())]);
    }
}
