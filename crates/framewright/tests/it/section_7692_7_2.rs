//! RFC 7692, section 7.2: compressed messages, octet for octet.

use framewright::deflate::DeflateParams;
use framewright::{Config, Connection, Event, Message, Negotiated, RecvBuffer, Transmit};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

fn server(params: DeflateParams) -> Connection {
    let mut config = Config::default();
    config.deflate.threshold = 0;
    Connection::server(Arc::new(config), Negotiated::new().with_deflate(params), Instant::now())
}

fn sent(connection: &mut Connection) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 4];
    let Transmit::Bytes { octets, slices: used } = connection.poll_transmit(&mut slices) else {
        return Vec::new();
    };
    let wire: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
    connection.transmitted(Instant::now(), octets);
    wire
}

#[test]
fn smoke() {
    let mut connection = server(DeflateParams::default());
    let mut rx = RecvBuffer::new();
    let now = Instant::now();
    let mut feed = |connection: &mut Connection, octets: &[u8]| {
        rx.extend_from_slice(octets);
        let mut seen = Vec::new();
        while let Some(event) = connection.next_event(now, &mut rx) {
            match event {
                Event::Message(Message::Text(text)) => seen.push(text.to_owned()),
                other => seen.push(format!("{other:?}")),
            }
        }
        seen
    };
    for _ in 0..2 {
        assert_eq!(
            feed(&mut connection, &[0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
            ["Hello"]
        );
    }
    assert_eq!(feed(&mut connection, &[0xc1, 0x85, 0, 0, 0, 0, 0xf2, 0x00, 0x11, 0x00, 0x00]), ["Hello"]);
    let text = "Hello, Hello, Hello, Hello, Hello";
    connection.send_text(text).unwrap();
    let wire = sent(&mut connection);
    assert_eq!(wire[0], 0xc1);
    assert!(usize::from(wire[1]) < text.len());
    connection.send_text(text).unwrap();
    let again = sent(&mut connection);
    assert!(again.len() < wire.len());
}
