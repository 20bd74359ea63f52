//! A write that fails ends one direction: what the peer has said before is still handed over.

use crate::common::{TestServer, next, wait_until};
use crate::probe::{Probe, frame, reset};
use framewright::frame::OpCode;
use framewright::{CloseCode, Error};
use framewright_server::{Config, Message, Options};
use std::sync::Mutex;
use std::sync::mpsc;

/// The bytes that one read asks for: what has been said takes many turns.
const READ_SIZE: usize = 64;

#[test]
fn a_failed_write_loses_nothing_of_what_the_peer_has_said() {
    const MESSAGES: usize = 20;
    let (held, is_held) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (heard, hears) = mpsc::channel();
    let goes_on = Mutex::new(goes_on);
    // Holds its event loop until the peer has said everything and is gone; then answers each
    // message.
    let (probe, watch) = Probe::new(move |socket, message| {
        let Message::Text(text) = message else { panic!("text is sent") };
        if text == "hold" {
            held.send(()).expect("the test waits");
            goes_on.lock().expect("one loop").recv().expect("the test goes on");
        }
        heard.send(text.to_owned()).expect("the test listens");
        let _ = socket.send(message); // refused once the closing handshake has begun
    });
    let options = Options {
        receive_buffer_size: READ_SIZE,
        connection: Config { keep_alive_interval: None, ..Config::default() },
        ..Options::default()
    };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut client = server.open("/ws");
    client.send_text("hold");
    next(&is_held);
    let said: Vec<String> = (0..MESSAGES).map(|number| format!("message {number} of those")).collect();
    let mut bytes: Vec<u8> =
        said.iter().flat_map(|text| frame(true, OpCode::Text, text.as_bytes())).collect();
    bytes.extend(frame(true, OpCode::Close, &4000_u16.to_be_bytes()));
    client.send(bytes);
    reset(client);
    go_on.send(()).expect("the handler waits");

    assert_eq!(next(&hears), "hold");
    for text in &said {
        assert_eq!(&next(&hears), text);
    }
    let closure = next(&watch.closures);
    assert_eq!(closure.received.map(|frame| frame.code), Some(CloseCode::new(4000)));
    assert_eq!(closure.cause, Some(Error::TransportLost));
    wait_until("the connection is gone", || server.handle().connection_count() == 0);
}
