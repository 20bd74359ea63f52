//! The exchange with the blocking client, on one thread.

use super::Compress;
use super::messages::Messages;
use framewright_client::blocking::{Client, Event};
use framewright_client::{ClientRequest, CloseCode, Options};

pub(crate) fn exchange(url: &str, options: &Options, compress: Compress, mut messages: Messages) {
    let request = ClientRequest::try_from(url).expect("a URL");
    let mut client = Client::connect_with(request, options).expect("the server accepts");
    assert_eq!(client.deflate().is_some(), compress != Compress::Off);
    while let Some(message) = messages.current() {
        client.send(message).expect("the connection is open");
        let before = messages.current().map(framewright_client::Message::len);
        loop {
            match client.next_event().expect("the connection is open") {
                Event::Message(message) => messages.take(message),
                Event::Chunk(chunk) => {
                    messages.take_chunk(chunk);
                    if !chunk.last {
                        continue;
                    }
                }
                Event::Closed(closure) => panic!("{before:?} octets: {closure:?}"),
                _ => continue,
            }
            break;
        }
    }
    let closure = client.close_and_wait(CloseCode::NORMAL, "done").expect("a code and a reason");
    assert!(closure.clean, "{closure:?}");
    assert_eq!((closure.code(), closure.reason()), (1000, "done"));
}
