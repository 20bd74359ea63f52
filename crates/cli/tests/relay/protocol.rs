//! A relay alone: what clients ask for, and get.

use crate::{ask, expect_error, message, publish, relay, subscribe};
use framewright::CloseCode;

#[test]
fn one_publishes_and_all_subscribers_get_it() {
    let relay = relay(&[]);
    let (mut ann, mut bob) = (relay.connect(), relay.open("/ws"));
    let answer = ann.open_with("/ws", "Sec-WebSocket-Protocol: other, framewright.relay.v1\r\n");
    assert_eq!(answer.field("Sec-WebSocket-Protocol"), Some("framewright.relay.v1"));
    subscribe(&mut ann, "a/#");
    subscribe(&mut bob, "a/b");
    bob.send_text(r#"{"type":"publish","topic":"a/b","data":{"n":1.50},"key":"k"}"#);
    let expected = r#"{"type":"message","topic":"a/b","key":"k","data":{"n":1.50}}"#;
    ann.expect_text(expected);
    bob.expect_text(expected);
    ask(
        &mut bob,
        r#"{"type":"unsubscribe","topic":"a/b","request":"x"}"#,
        r#"{"type":"unsubscribed","topic":"a/b","request":"x"}"#,
    );
    publish(&mut bob, "a/b", "[]");
    ann.expect_text(&message("a/b", "[]"));
    // What came for the publisher would have come before this.
    publish(&mut bob, "other", "0");
}

#[test]
fn another_subprotocol_is_refused() {
    let relay = relay(&[]);
    let answer = relay.connect().upgrade("/ws", "Sec-WebSocket-Protocol: other\r\n");
    assert_eq!(answer.status, 400);
}

#[test]
fn wrong_requests_are_answered_with_their_code() {
    let relay = relay(&["--max-topics", "2", "--slow-consumer", "small=drop-oldest:100"]);
    let mut client = relay.open("/ws");
    let long = "x".repeat(257);
    for (request, code) in [
        ("hello", "bad_json"),
        (r#"{"type":"shout"}"#, "unknown_type"),
        (r#"{"type":"subscribe","topic":"a","data":1}"#, "unknown_field"),
        (r#"{"type":"publish","topic":"a"}"#, "missing_field"),
        (r#"{"type":"publish","topic":"a/#","data":1}"#, "bad_topic"),
        (r##"{"type":"subscribe","topic":"a#"}"##, "bad_topic"),
        (r#"{"type":"subscribe","topic":"small","policy":"latest","limit":101}"#, "bad_field"),
        (&format!(r#"{{"type":"subscribe","topic":"{long}"}}"#), "too_long"),
        (r#"{"type":"subscribe","topic":"a","after":"1-0"}"#, "not_durable"),
        (r#"{"type":"unsubscribe","topic":"a"}"#, "not_subscribed"),
    ] {
        client.send_text(request);
        expect_error(&mut client, code);
    }
    client.send_binary(b"{}");
    expect_error(&mut client, "not_text");
    subscribe(&mut client, "1");
    subscribe(&mut client, "2");
    client.send_text(r#"{"type":"subscribe","topic":"3"}"#);
    expect_error(&mut client, "too_many");
}

#[test]
fn too_many_mistakes_end_the_connection() {
    let relay = relay(&[]);
    let mut client = relay.open("/ws");
    // One mistake is forgotten each second, so a slow machine takes more of them.
    for count in 0.. {
        client.send_text("wrong");
        let frame = client.frame();
        if frame.opcode == framewright::frame::OpCode::Close {
            assert_eq!(frame.close(), (1008, "too many mistakes"));
            assert!(count >= 100, "{count}");
            return;
        }
    }
}

#[test]
fn the_retained_messages_come_first() {
    let relay = relay(&["--retain", "kept/#=2"]);
    let (mut feed, mut late) = (relay.open("/ws"), relay.open("/ws"));
    for data in ["1", "2", "3"] {
        publish(&mut feed, "kept/a", data);
        publish(&mut feed, "other", data);
    }
    subscribe(&mut late, "other");
    subscribe(&mut late, "kept/a");
    publish(&mut feed, "kept/a", "4");
    for data in ["2", "3", "4"] {
        late.expect_text(&message("kept/a", data));
    }
}

#[test]
fn a_client_that_does_not_read_is_ended_and_the_others_are_not() {
    let relay = relay(&["--slow-consumer", "#=disconnect:100000"]);
    let (mut feed, mut slow, mut quick) = (relay.open("/ws"), relay.open("/ws"), relay.open("/ws"));
    subscribe(&mut slow, "a");
    subscribe(&mut quick, "a");
    let data = format!("\"{}\"", "x".repeat(500_000));
    // More than the buffers of both systems hold.
    for _ in 0..40 {
        publish(&mut feed, "a", &data);
        assert_eq!(quick.message().1.len(), message("a", &data).len());
    }
    loop {
        let frame = slow.frame();
        if frame.opcode == framewright::frame::OpCode::Close {
            assert_eq!(frame.close().0, 1013);
            return;
        }
    }
}

#[test]
fn sigterm_tells_the_clients_and_counts() {
    let mut relay = relay(&[]);
    let mut client = relay.open("/ws");
    subscribe(&mut client, "a");
    client.send_text(r#"{"type":"publish","topic":"a","data":1}"#);
    client.expect_text(&message("a", "1"));
    relay.signal("-TERM");
    client.expect_close(1001);
    client.send_close(CloseCode::GOING_AWAY, "");
    client.expect_end();
    assert_eq!(relay.wait().code(), Some(0));
    let said: Vec<_> = relay.out.iter().collect();
    let counted = "published 1, received 0, delivered 1, dropped 0, replaced 0, too slow 0";
    assert_eq!(said[1..], [counted, "ended"]);
}
