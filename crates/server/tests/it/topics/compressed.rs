//! Publications over permessage-deflate: compressed once, and right for each set of parameters.

use crate::common::{Deflating, TestServer, wait_until};
use crate::scripted::Scripted;
use framewright::frame::OpCode;
use framewright_server::{DeflatePolicy, Options, Stats};

const OFFERS: [&str; 4] = [
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits",
];

/// A message of JSON that compresses, which no other one resembles as a whole.
fn json(number: usize, len: usize) -> String {
    let items: Vec<String> =
        (0..len / 30).map(|item| format!(r#"{{"item":{item},"price":{}}}"#, item * number)).collect();
    format!("[{number},{}]", items.join(","))
}

fn board() -> TestServer {
    // Subscribes, and echoes what it gets.
    let handler = || {
        Scripted::new()
            .0
            .open(|socket| socket.subscribe("topic").expect("room"))
            .message(|socket, message| socket.send(message).expect("room"))
    };
    let takeover =
        Options { compression: Some(DeflatePolicy::default().with_takeover()), ..Options::default() };
    TestServer::start(|builder| {
        builder.route("/plain", handler()).route_with("/takeover", takeover, handler())
    })
}

#[test]
fn everybody_inflates_what_was_compressed_for_many() {
    let server = board();
    let mut clients: Vec<Deflating> = ["/plain", "/takeover"]
        .iter()
        .flat_map(|path| OFFERS.map(|offer| Deflating::open(server.addr(), path, offer)))
        .collect();
    let mut plain = server.open("/plain");
    wait_until("they are subscribed", || server.handle().subscribers("topic") == clients.len() + 1);
    server.handle().publish("topic", "begin").expect("room");
    plain.expect_text("begin");
    clients.iter_mut().for_each(|client| assert_eq!(client.receive().message, b"begin"));
    for number in 1..30 {
        let texts: Vec<String> = (0..number % 5).map(|part| json(number * 5 + part, 100 * number)).collect();
        for text in &texts {
            server.handle().publish("topic", &**text).expect("room");
        }
        for (index, client) in clients.iter_mut().enumerate() {
            for text in &texts {
                let received = client.receive();
                assert_eq!(String::from_utf8_lossy(&received.message), *text, "client {index}");
                assert_eq!(received.compressed, text.len() >= 128, "{} bytes", text.len());
            }
            // What is said to one alone may refer to what came before.
            client.echo(OpCode::Text, json(number, 300).as_bytes());
        }
        texts.iter().for_each(|text| plain.expect_text(text));
    }
}

#[test]
fn what_is_published_is_counted_as_sent_and_as_compressed() {
    let server = board();
    let mut clients: Vec<Deflating> =
        (0..3).map(|_| Deflating::open(server.addr(), "/plain", OFFERS[1])).collect();
    wait_until("they are subscribed", || server.handle().subscribers("topic") == clients.len());
    let (short, long) = ("short", json(1, 1000));
    for text in [short, &long] {
        server.handle().publish("topic", text).expect("room");
        clients.iter_mut().for_each(|client| assert_eq!(client.receive().message, text.as_bytes()));
    }
    clients.iter_mut().for_each(|client| drop(client.echo(OpCode::Text, b"a turn")));
    let totals = server.handle().stats().totals();
    let Stats { messages_sent, bytes_sent, .. } = totals.traffic;
    assert_eq!(messages_sent, 3 * 3);
    assert_eq!(bytes_sent, 3 * (short.len() + long.len() + b"a turn".len()) as u64);
    assert_eq!(totals.compression.messages_sent, 3);
    assert_eq!(totals.compression.bytes_sent, 3 * long.len() as u64);
    assert_eq!(server.handle().topic_stats().delivered, 6);
    assert_eq!(server.handle().stats().topics, server.handle().topic_stats());
}
