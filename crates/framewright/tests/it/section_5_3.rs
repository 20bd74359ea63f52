//! Section 5.3: masking.

use crate::support::{endpoint, from_peer, receive, text};
use framewright::{Config, Connection, Entropy, Message, Negotiated, Prepared, Role, Transmit};
use framewright_testkit::rng::SplitMix64;
use framewright_testkit::wire;
use std::collections::HashSet;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

const SEED: u64 = 53;

fn client() -> Connection {
    Connection::client(Arc::default(), Negotiated::default(), Box::new(SplitMix64::new(SEED)), Instant::now())
}

fn transmit(connection: &mut Connection, wire: &mut Vec<u8>) {
    let mut slices = [IoSlice::new(&[]); 4];
    while let Transmit::Bytes { octets, slices: used } = connection.poll_transmit(&mut slices) {
        slices[..used].iter().for_each(|slice| wire.extend_from_slice(slice));
        connection.transmitted(Instant::now(), octets);
        slices = [IoSlice::new(&[]); 4];
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.3
//# The masking key needs to be unpredictable; thus, the masking key MUST
//# be derived from a strong source of entropy, and the masking key for a
//# given frame MUST NOT make it simple for a server/proxy to predict the
//# masking key for a subsequent frame.
#[test]
fn every_frame_of_a_client_takes_the_next_four_octets_of_entropy() {
    const FRAMES: usize = 100_000;
    let mut connection = client();
    let mut wire = Vec::new();
    for index in 0..FRAMES {
        match index % 6 {
            0 => connection.send_text("").unwrap(),
            1 => connection.send_binary(b"x").unwrap(),
            2 => connection.ping(b"").unwrap(),
            3 => connection.pong(b"pong").unwrap(),
            4 => connection.send_fragment(Message::Binary(b"frag"), false).unwrap(),
            _ => connection.send_fragment(Message::Binary(b""), true).unwrap(),
        }
        transmit(&mut connection, &mut wire);
    }
    let keys: Vec<_> = wire::frames(&wire).iter().map(|frame| frame.header.key.expect("masked")).collect();
    assert_eq!(keys.len(), FRAMES);
    let mut entropy = vec![0; FRAMES * 4];
    SplitMix64::new(SEED).fill(&mut entropy);
    assert_eq!(keys.concat(), entropy, "the keys are the entropy, in order, and nothing else");
    let different: HashSet<_> = keys.into_iter().collect();
    assert!(different.len() > FRAMES - 10, "no key is used again but by chance");
}

#[test]
fn pongs_and_the_close_of_a_client_have_fresh_keys_too() {
    let mut endpoint = endpoint(Role::Client);
    endpoint.feed(&from_peer(Role::Client, "ping \"a\"; ping \"b\"; close 1000"));
    let frames = endpoint.frames();
    let keys: HashSet<_> = frames.iter().filter_map(|frame| frame.header.key).collect();
    assert_eq!((frames.len(), keys.len()), (3, 3));
}

#[test]
fn the_callers_octets_are_not_changed() {
    let payload: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let copy = payload.clone();
    let prepared = Prepared::new(Message::Binary(&payload));
    let mut connection = client();
    let mut wire = Vec::new();
    for _ in 0..2 {
        connection.send_binary(&payload).unwrap();
        connection.send_prepared(&prepared).unwrap();
        connection
            .driver()
            .send_with_writer(Message::Binary(&payload), &mut |_| unreachable!("a client masks"))
            .unwrap();
        transmit(&mut connection, &mut wire);
    }
    assert_eq!(payload, copy);
    let frames = wire::check_output(Role::Client, &wire).unwrap();
    assert_eq!(frames.len(), 6);
    assert!(frames.iter().all(|frame| frame.payload == copy), "a prepared message can be sent again");
    assert!(frames.iter().all(|frame| wire[frame.at.end - 5000..frame.at.end] != copy), "masked on the wire");
}

#[test]
fn a_server_unmasks_with_octet_i_modulo_4_of_the_key() {
    let endpoint =
        receive(Role::Server, "text \"Hello, w\\u{f6}rld\" mask=00ff17a5; text \"again\" mask=00000000");
    assert_eq!(endpoint.events, [text("Hello, w\u{f6}rld"), text("again")]);
}

#[test]
fn an_entropy_of_zeros_is_used_as_it_is() {
    let config = Arc::new(Config::default());
    let zeros = Box::new(|target: &mut [u8]| target.fill(0));
    let mut connection = Connection::client(config, Negotiated::default(), zeros, Instant::now());
    connection.send_text("Hello").unwrap();
    let mut wire = Vec::new();
    transmit(&mut connection, &mut wire);
    assert_eq!(wire, b"\x81\x85\0\0\0\0Hello");
}
