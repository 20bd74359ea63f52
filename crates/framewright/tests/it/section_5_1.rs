//! Section 5.1: a client masks every frame, a server none, and each refuses the other's mistake.

use crate::support::{ROLES, endpoint, fails, misbehaved, sent};
use framewright::{Message, PeerMisbehaved, Prepared, Role};

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.1
//# The server MUST close the connection upon receiving a
//# frame that is not masked.
#[test]
fn server_fails_connection_on_an_unmasked_frame_of_any_type() {
    for statement in ["text \"a\"", "binary", "ping", "pong \"x\"", "close 1000", "text !fin"] {
        let unmasked = format!("{statement} !mask");
        fails(Role::Server, &unmasked, misbehaved(PeerMisbehaved::UnmaskedFrame));
        fails(
            Role::Server,
            &format!("text \"fine\" !fin; ping; {unmasked}"),
            misbehaved(PeerMisbehaved::UnmaskedFrame),
        );
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-5.1
//# A client MUST close a connection if it detects a masked
//# frame.
#[test]
fn client_fails_connection_on_a_masked_frame_of_any_type() {
    for statement in ["text \"a\"", "binary", "ping", "pong \"x\"", "close 1000", "text !fin"] {
        fails(Role::Client, &format!("{statement} mask"), misbehaved(PeerMisbehaved::MaskedFrame));
        fails(Role::Client, &format!("{statement} mask=00000000"), misbehaved(PeerMisbehaved::MaskedFrame));
    }
}

#[test]
fn a_client_masks_every_frame_and_a_server_none() {
    for role in ROLES {
        let mut endpoint = endpoint(role);
        let connection = &mut endpoint.connection;
        connection.send_text("text").unwrap();
        connection.send_binary(&[]).unwrap();
        connection.send_fragment(Message::Text("one"), false).unwrap();
        connection.ping(b"ping").unwrap();
        connection.pong(b"").unwrap();
        connection.send_fragment(Message::Text("two"), true).unwrap();
        connection.send_prepared(&Prepared::new(Message::Binary(&[7; 5000]))).unwrap();
        connection.driver().send_with_writer(Message::Text("through"), &mut |_| 0).unwrap();
        endpoint.feed(&crate::support::from_peer(role, "ping \"x\""));
        endpoint.connection.close(None, "").unwrap();
        endpoint.drain();
        let frames = endpoint.frames();
        assert_eq!(frames.len(), 10);
        assert!(frames.iter().all(|frame| frame.header.key.is_some() == (role == Role::Client)));
        let payloads: Vec<_> = sent(&endpoint).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(payloads[..6], [&b"text"[..], b"", b"one", b"ping", b"", b"two"]);
        assert_eq!(payloads[6], [7; 5000]);
        assert_eq!(payloads[7..], [&b"through"[..], b"x", b""]);
    }
}
