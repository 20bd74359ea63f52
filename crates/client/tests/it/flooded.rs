//! Servers that send without end: what has a deadline keeps it.

use crate::common::{Server, plain, request, through_both_faces};
use framewright::{CloseCode, Config, Error, Timeout};
use framewright_client::{Options, blocking};
use framewright_testkit::endpoint::Seen;
use std::time::Duration;

/// A server that sends messages until the client has gone, and never answers.
fn flood() -> Server<()> {
    Server::open(|peer| while peer.try_send([0x82, 1, 0].repeat(1000)).is_ok() {})
}

fn options() -> Options {
    Options {
        connection: Config { close_timeout: Duration::from_millis(50), ..Config::default() },
        ..plain()
    }
}

// CLI-047, with a server that is not silent.
#[test]
fn the_close_timeout_ends_a_closing_handshake_while_messages_keep_coming() {
    through_both_faces(|kind| {
        let server = flood();
        let mut client = kind.connect(request(server.addr()), &options()).expect("an open connection");
        client.start_close(1000, "").expect("an open connection");
        let closure = std::iter::from_fn(|| client.next()).find_map(|seen| match seen {
            Seen::Closed(closure) => Some(closure),
            _ => None,
        });
        assert_eq!(closure.expect("an end").cause, Some(Error::Timeout(Timeout::Close)));
        drop(client);
        server.end();
    });
}

#[test]
fn closing_as_a_whole_ends_too() {
    let server = flood();
    let mut client = blocking::Client::connect_with(request(server.addr()), &options()).expect("it accepts");
    let closure = client.close(CloseCode::NORMAL, "").expect("a code");
    assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
    drop(client);
    server.end();
}
