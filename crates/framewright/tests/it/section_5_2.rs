//! Section 5.2: the header.

use crate::support::{ROLES, binary, endpoint, fails, from_peer, misbehaved, receive, sent, text};
use framewright::{PeerMisbehaved, Role, State};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::Endpoint;
use framewright_testkit::split::Split;
use framewright_testkit::wire;

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
//# If a nonzero value is
//# received and none of the negotiated extensions defines the meaning
//# of such a nonzero value, the receiving endpoint MUST _Fail the
//# WebSocket Connection_.
#[test]
fn any_reserved_bit_on_any_frame_fails_the_connection() {
    for role in ROLES {
        for bits in 1..8u8 {
            let marks: String = [(4, " rsv1"), (2, " rsv2"), (1, " rsv3")]
                .iter()
                .filter(|(bit, _)| bits & bit != 0)
                .map(|(_, mark)| *mark)
                .collect();
            for statement in ["text \"a\"", "binary", "ping", "pong", "close", "cont"] {
                fails(role, &format!("{statement}{marks}"), misbehaved(PeerMisbehaved::ReservedBits(bits)));
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
//# If an unknown
//# opcode is received, the receiving endpoint MUST _Fail the
//# WebSocket Connection_.
#[test]
fn each_reserved_opcode_fails_the_connection() {
    for role in ROLES {
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            let unknown = || misbehaved(PeerMisbehaved::UnknownOpcode(opcode));
            fails(role, &format!("op {opcode}"), unknown());
            fails(role, &format!("op {opcode} \"payload\" !fin"), unknown());
            fails(role, &format!("text \"a\" !fin; op {opcode}"), unknown());
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
//# If 127, the following 8 bytes interpreted as a
//# 64-bit unsigned integer (the most significant bit MUST be 0) are
//# the payload length.
#[test]
fn a_64_bit_length_with_its_top_bit_set_fails_the_connection() {
    for role in ROLES {
        for len in ["0x8000000000000000", "0x8000000000000001", "0xffffffffffffffff"] {
            fails(role, &format!("binary len={len}"), misbehaved(PeerMisbehaved::LengthTopBit));
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
//# Note that in all cases, the minimal number of bytes MUST be used to encode
//# the length
#[test]
fn a_length_in_a_longer_form_than_it_needs_fails_the_connection() {
    for role in ROLES {
        for len in [0u64, 1, 125] {
            fails(
                role,
                &format!("binary len={len} form=16"),
                misbehaved(PeerMisbehaved::NonMinimalLength(len)),
            );
        }
        for len in [0u64, 125, 126, 65535] {
            fails(
                role,
                &format!("binary len={len} form=64"),
                misbehaved(PeerMisbehaved::NonMinimalLength(len)),
            );
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
//# Note that in all cases, the minimal number of bytes MUST be used to encode
//# the length
#[test]
fn every_length_is_sent_in_its_shortest_form_and_network_byte_order() {
    for role in ROLES {
        for (len, head) in [
            (0usize, &[0u8][..]),
            (125, &[125]),
            (126, &[126, 0, 126]),
            (300, &[126, 1, 44]),
            (65535, &[126, 255, 255]),
            (65536, &[127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (70000, &[127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ] {
            let mut endpoint = endpoint(role);
            let payload: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect();
            endpoint.connection.send_binary(&payload).unwrap();
            endpoint.drain();
            let mask_bit = if role == Role::Client { 0x80 } else { 0 };
            assert_eq!(endpoint.sent[..2], [0x82, mask_bit | head[0]]);
            assert_eq!(endpoint.sent[2..=head.len()], head[1..]);
            assert_eq!(sent(&endpoint), [(2, payload)]);
        }
    }
}

#[test]
fn messages_of_every_length_form_are_received() {
    for role in ROLES {
        for len in [0usize, 1, 125, 126, 127, 65535, 65536, 70000] {
            let bytes = from_peer(role, &format!("binary \"x\" * {len}; text \"end\""));
            let frame = wire::frames(&bytes)[0].clone();
            let points = [frame.header.header_len(), frame.header.header_len() + len / 2, frame.at.end];
            for split in Split::around(&points, bytes.len()) {
                let mut endpoint = endpoint(role);
                split.pieces(&bytes).iter().for_each(|piece| endpoint.feed(piece));
                assert_eq!(
                    endpoint.events,
                    [binary(&vec![b'x'; len]), text("end")],
                    "{len} octets, {split:?}"
                );
                assert_eq!(endpoint.connection.state(), State::Open);
            }
        }
    }
}

#[test]
fn a_header_alone_is_no_event() {
    for role in ROLES {
        for source in ["text len=5", "ping len=1", "binary !fin", "text len=70000"] {
            let endpoint = receive(role, source);
            assert_eq!((endpoint.events.len(), endpoint.sent.len()), (0, 0));
            assert_eq!(endpoint.connection.state(), State::Open);
        }
    }
}

#[test]
fn the_octets_still_to_come_of_a_frame_are_told() {
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, framewright::Config::default(), 0, Behaviour::Silent);
        assert_eq!(endpoint.rx.frame_remaining(), 0);
        endpoint.feed(&from_peer(role, "binary \"abc\" len=70000"));
        assert_eq!(endpoint.rx.frame_remaining(), 69997);
    }
}
