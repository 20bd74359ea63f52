//! Compressed messages, whose decompressors the threads lend.

use crate::support::{quiet, soon};
use framewright::deflate::WindowBits;
use framewright_tokio::{Config, DeflateParams, Delivery, Message, Negotiated, Role, WebSocket};
use tokio::io::DuplexStream;

const TAKEOVER: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: WindowBits::MAX,
    client_max_window_bits: WindowBits::MAX,
};
const SHARED: DeflateParams =
    DeflateParams { server_no_context_takeover: true, client_no_context_takeover: true, ..TAKEOVER };

fn pair(params: DeflateParams, config: &Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let open = |stream, role| {
        WebSocket::from_negotiated(stream, role, Negotiated::new().with_deflate(params), &[], config.clone())
    };
    (open(client, Role::Client), open(server, Role::Server))
}

/// Text that compresses to about a hundredth.
fn text(len: usize) -> String {
    let mut text = String::with_capacity(len + 64);
    for number in 0.. {
        if text.len() >= len {
            break;
        }
        text += &format!("{} words that come again and again; ", number / 20);
    }
    text.truncate(len);
    text
}

/// Sends a message in fragments of 1 MiB, each of which is compressed.
async fn send_in_parts(socket: &mut WebSocket<DuplexStream>, text: &str) {
    let parts = text.len().div_ceil(1 << 20);
    for (number, part) in text.as_bytes().chunks(1 << 20).enumerate() {
        let part = Message::Text(std::str::from_utf8(part).unwrap());
        socket.send_fragment(part, number + 1 == parts).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_takes_several_turns_to_inflate_needs_no_further_bytes() {
    let text = text(10 << 20);
    for then_ends in [false, true] {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let (mut client, mut server) = pair(SHARED, &Config { delivery, ..quiet() });
            send_in_parts(&mut client, &text).await;
            if then_ends {
                drop(client);
            }
            let mut received = String::new();
            loop {
                let chunk = soon(server.recv_chunk()).await.unwrap().unwrap();
                let Message::Text(part) = chunk.data else { panic!("it is text") };
                received.push_str(part);
                if chunk.last {
                    break;
                }
            }
            assert!(received == text);
        }
    }
}
