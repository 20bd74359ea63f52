//! Frames around the end of the opening handshake: none of ours before the server's answer, and the
//! server's first ones however they come (RFC 6455, section 4.1).

use crate::common::{AnyClient, DEADLINE, Listener, Loop, SOON, Server, plain, request, through_both_apis};
use framewright::Role;
use framewright_testkit::endpoint::Seen;
use framewright_testkit::script;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What the server sends right behind its answer.
const EARLY: &str = "text \"first\"; ping \"p\"; binary \"x\" * 300; text \"l\" !fin; cont \"ast\"";

fn expect_early(client: &mut dyn AnyClient) {
    client.expect_text("first");
    assert_eq!(client.next(), Some(Seen::Ping(b"p".to_vec())));
    assert_eq!(client.next(), Some(Seen::Binary(vec![b'x'; 300])));
    client.expect_text("last");
}

// Every split, whether the kernel joins the two pieces or not.
#[test]
fn frames_that_come_with_the_answer_are_delivered_in_order_at_every_split() {
    through_both_apis(|kind| {
        let server = Listener::bind().run(|listener| {
            let mut at = 0;
            let mut end = 1;
            while at <= end {
                listener.serve(|peer| {
                    let all = [peer.answer("").as_bytes(), &script::bytes(Role::Server, EARLY)].concat();
                    let (before, behind) = all.split_at(at);
                    peer.send(before);
                    peer.send(behind);
                    peer.expect(10, b"p");
                    peer.answer_close();
                    end = all.len();
                });
                at += 1;
            }
        });
        let mut splits = 0;
        // The server leaves when it has tried all.
        while let Ok(mut client) = kind.connect(request(server.addr()), &plain()) {
            expect_early(&mut *client);
            client.start_close(1000, "").expect("an open connection");
            client.expect_close_received(Some(1000), "");
            assert!(client.expect_closed().clean);
            splits += 1;
        }
        assert!(splits > 400, "{splits}");
        server.end();
    });
}

// All there will ever be, in one segment, and then the end.
#[test]
fn a_whole_conversation_in_the_segment_of_the_answer_is_delivered() {
    through_both_apis(|kind| {
        for (end, clean) in [("close 1000 \"bye\"", true), ("", false)] {
            let server = Server::start(move |peer| {
                let frames = script::bytes(Role::Server, &format!("{EARLY}; {end}"));
                peer.send([peer.answer("").as_bytes(), &frames].concat());
                peer.shutdown_write();
                peer.wait_gone();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            expect_early(&mut *client);
            if clean {
                client.expect_close_received(Some(1000), "bye");
            }
            assert_eq!(client.expect_closed().clean, clean);
            server.end();
        }
    });
}

// The readiness for the end of the stream may be spent while the answer is read: a read that does
// not fill its buffer says nothing of what is behind it then.
#[test]
fn an_end_of_the_stream_that_came_with_the_answer_is_seen_behind_many_frames() {
    const MESSAGES: usize = 30;
    let frames = || script::bytes(Role::Server, "repeat 30 { binary \"x\" * 1000 }");
    // All of it is there before the client looks, or as much as the sockets of this machine hold.
    let listener = Listener::bind();
    let (mut client, mut peer) = Loop::asking(&listener);
    let (sent, is_sent) = mpsc::channel();
    let sending = thread::spawn(move || {
        peer.send([peer.answer("").as_bytes(), &frames()].concat());
        peer.shutdown_write();
        // By then the client may have gone on.
        let _ = sent.send(());
        peer
    });
    let _ = is_sent.recv_timeout(Duration::from_secs(1));
    assert_eq!(client.rest().len(), MESSAGES + 1);
    drop(sending.join().expect("no panic"));

    through_both_apis(|kind| {
        for _ in 0..10 {
            let server = Server::start(move |peer| {
                peer.send([peer.answer("").as_bytes(), &frames()].concat());
                peer.shutdown_write();
                peer.expect_gone();
            });
            let mut client = kind.connect(request(server.addr()), &plain()).expect("an open connection");
            assert_eq!(client.rest().len(), MESSAGES + 1);
            server.end();
        }
    });
}

// Conformance 18, 81, 145.
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# Once the client's opening handshake has been sent, the client MUST
//# wait for a response from the server before sending any further data.
#[test]
fn nothing_can_be_sent_before_the_server_has_answered() {
    // The blocking API has no client before that.
    let listener = Listener::bind();
    let mut client = Loop::start(request(listener.addr()), &plain()).expect("a request");
    assert!(client.client.socket(Instant::now(), &mut client.buffers).is_none());
    let until = Instant::now() + DEADLINE;
    let server = listener.run(|listener| {
        let mut peer = listener.accept();
        peer.read_request();
        peer.expect_silence(SOON);
        peer.upgrade();
        peer.expect_text("now");
    });
    while !client.is_open() {
        assert!(client.client.socket(Instant::now(), &mut client.buffers).is_none());
        client.turn(until).expect("an answer");
    }
    client.send_text("now").expect("an open connection");
    server.end();
}
