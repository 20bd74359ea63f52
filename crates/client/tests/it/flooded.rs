//! Servers that send without end: what has a deadline keeps it.

use crate::common::{
    AnyClient, DEADLINE, Loop, Peer, SOON, Server, plain, request, through_both_apis, upload,
};
use framewright::{CloseCode, Closure, Config, Error, SendError, Timeout};
use framewright_client::blocking::ReceiveError;
use framewright_client::{Options, blocking, event_loop};
use framewright_testkit::endpoint::Seen;
use std::time::{Duration, Instant};

/// Sends this until the client has gone. It ends at last, so that a client which does not leave is
/// told of that, where something else is expected.
fn send_without_end(peer: &mut Peer, octets: &[u8]) {
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until && peer.try_send(octets).is_ok() {}
}

/// A server that sends messages until the client has gone, and never answers.
fn flood() -> Server<()> {
    Server::open(|peer| send_without_end(peer, &[&[0x82, 16][..], &[7; 16]].concat().repeat(1000)))
}

/// The end, behind everything that comes before.
fn end(client: &mut dyn AnyClient) -> Closure {
    let closure = std::iter::from_fn(|| client.next()).find_map(|seen| match seen {
        Seen::Closed(closure) => Some(closure),
        _ => None,
    });
    closure.expect("an end")
}

fn options() -> Options {
    Options {
        connection: Config { close_timeout: Duration::from_millis(50), ..Config::default() },
        ..plain()
    }
}

#[test]
fn the_close_timeout_ends_a_closing_handshake_while_messages_keep_coming() {
    through_both_apis(|kind| {
        let server = flood();
        let mut client = kind.connect(request(server.addr()), &options()).expect("an open connection");
        client.start_close(1000, "").expect("an open connection");
        assert_eq!(end(&mut *client).cause, Some(Error::Timeout(Timeout::Close)));
        drop(client);
        server.end();
    });
}

#[test]
fn closing_as_a_whole_ends_too() {
    let server = flood();
    let mut client = blocking::Client::connect_with(request(server.addr()), &options()).expect("it accepts");
    let closure = client.close_and_wait(CloseCode::NORMAL, "").expect("a code");
    assert_eq!(closure.cause, Some(Error::Timeout(Timeout::Close)));
    drop(client);
    server.end();
}

/// A server that begins like this and goes on with Pongs of so many octets, until the client has
/// gone.
fn flood_of_pongs(beginning: &'static str, len: u8) -> Server {
    Server::open(move |peer| {
        peer.script(beginning);
        let pong = [&[0x8A, len][..], &vec![b'p'; usize::from(len)]].concat();
        send_without_end(peer, &pong.repeat((64 << 10) / pong.len()));
    })
}

// Control frames put the deadline off: it was looked at only when nothing was left to read.
#[test]
fn a_wait_for_a_message_ends_while_pongs_keep_coming() {
    // Small, so that the client never comes to the end of those that have come.
    let server = flood_of_pongs("", 0);
    let mut client = blocking::Client::connect_with(request(server.addr()), &plain()).expect("it accepts");
    for _ in 0..3 {
        let outcome = client.receive_before(Instant::now() + SOON);
        assert_eq!(outcome, Err(ReceiveError::TimedOut));
    }
    drop(client);
    server.end();
}

#[test]
fn the_message_timeout_ends_a_message_that_is_never_finished_while_pongs_keep_coming() {
    through_both_apis(|kind| {
        // So small that the client never comes to the end of them, and so large that it soon has
        // read much.
        let server = flood_of_pongs("text !fin \"a\"", 16);
        let connection = Config { message_timeout: Some(SOON), ..Config::default() };
        let options = Options { connection, ..plain() };
        let mut client = kind.connect(request(server.addr()), &options).expect("an open connection");
        assert_eq!(end(&mut *client).cause, Some(Error::Timeout(Timeout::Message)));
        drop(client);
        server.end();
    });
}

/// A server that reads nothing, and goes on sending as long as the client takes it.
fn flood_of_messages() -> Server {
    Server::taking_little(|peer| {
        let message = [&[0x82, 126, 0xEA, 0x60][..], &[7; 60_000]].concat();
        send_without_end(peer, &message);
    })
}

fn impatient() -> Options {
    Options { connection: Config { write_timeout: Some(SOON), ..Config::default() }, ..plain() }
}

#[test]
fn a_send_to_a_server_that_sends_but_does_not_read_ends_with_the_write_timeout() {
    let server = flood_of_messages();
    let mut client =
        blocking::Client::connect_with(request(server.addr()), &impatient()).expect("it accepts");
    assert_eq!(client.send_binary(&vec![7; upload()]), Err(SendError::Closed));
    assert_eq!(end(&mut client).cause, Some(Error::Timeout(Timeout::Write)));
    drop(client);
    server.end();
}

// The deadline was never acted on while something lay unread, and turn followed turn at once.
#[test]
fn an_event_loop_leaves_a_server_that_sends_but_does_not_read_and_does_not_spin_meanwhile() {
    let server = flood_of_messages();
    let mut client = Loop::connect(request(server.addr()), &impatient()).expect("an open connection");
    client.send_binary(&vec![7; upload()]).expect("it is queued");
    let (mut messages, mut idle, until) = (0, 0, Instant::now() + DEADLINE);
    while !client.client.is_done() {
        let before = (messages, client.unasked);
        let turn = client.turn_with(until, |_, event| {
            messages += usize::from(matches!(event, event_loop::Event::Message(_)));
        });
        turn.expect("an open connection");
        idle += usize::from(messages == before.0 && client.unasked > before.1);
        // A message has to be read in a few pieces, for some of which no event has to come. How
        // many events come is the kernel's affair.
        assert!(idle < 100 + 10 * messages, "it spins: {idle} turns for nothing, {messages} messages");
    }
    assert_eq!(client.closure().expect("an end").cause, Some(Error::Timeout(Timeout::Write)));
    drop(client);
    server.end();
}
