//! A client that is dropped, in every state: its server sees the end of the transport, and never a
//! part of a frame with another one behind it.

use crate::common::{
    Command, DEADLINE, Kind, Listener, Loop, SOON, Server, plain, request, through_both_apis, upload,
};
use framewright::Config;
use framewright_client::Options;
use framewright_testkit::wire::{self, Fields};
use std::time::Instant;

#[test]
fn a_client_dropped_while_it_resolves_or_connects_leaves_nothing_behind() {
    for uri in ["ws://localhost:9/", "ws://name.invalid/", "ws://127.0.0.1:9/"] {
        let request: framewright_client::ClientRequest = uri.parse().expect("a URI");
        // One that is refused at once is gone by then.
        drop(Loop::start(request.clone(), &plain()));
        if let Ok(mut client) = Loop::start(request, &plain()) {
            let _ = client.turn(Instant::now());
        }
    }
}

#[test]
fn a_client_dropped_in_the_opening_handshake_ends_the_transport() {
    let listener = Listener::bind();
    let (client, mut peer) = Loop::asking(&listener);
    peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgr");
    drop(client);
    peer.expect_gone();
    // The next one is not kept waiting (RFC 6455, section 4.1).
    let next = listener.run(|listener| {
        listener.serve(|peer| peer.answer_with("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"));
    });
    let outcome = Kind::Blocking.connect(request(next.addr()), &plain());
    assert!(matches!(outcome, Err(framewright_client::ConnectError::Refused(_))));
    next.end();
}

#[test]
fn a_client_dropped_while_open_or_closing_ends_the_transport_without_a_word() {
    through_both_apis(|kind| {
        for closing in [false, true] {
            let server = Server::open(move |peer| {
                peer.expect_text("hello");
                if closing {
                    peer.expect_close(1000);
                }
                peer.expect_gone();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            client.send_text("hello").expect("an open connection");
            if closing {
                client.start_close(1000, "").expect("an open connection");
            }
            drop(client);
            server.end();
        }
    });
}

#[test]
fn a_client_dropped_inside_a_frame_sends_nothing_behind_it() {
    through_both_apis(|kind| {
        let len = upload();
        let (dropped, is_dropped) = std::sync::mpsc::channel::<()>();
        let server = Server::taking_little(move |peer| {
            let _ = is_dropped.recv_timeout(DEADLINE);
            peer.wait_gone();
            let begun = Fields::read(&peer.wire).expect("a header");
            assert_eq!((begun.opcode, begun.len), (2, len as u64));
            let key = begun.key.expect("a masked frame");
            let payload = wire::masked(&peer.wire[begun.header_len()..], key);
            assert!(payload.len() < len, "it was not dropped inside the frame");
            assert!(payload.iter().all(|&octet| octet == 7), "octets that are not the frame's");
            peer.forget();
        });
        // In time the blocking send comes back by itself.
        let connection = Config { write_timeout: Some(SOON), ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        let _ = client.send_binary(&vec![7; len]);
        let _ = client.command(Command::Ping(b"behind"));
        drop(client);
        dropped.send(()).expect("the server waits");
        server.end();
    });
}
