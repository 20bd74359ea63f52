//! A loop that stops: connections handed to it meanwhile.

use crate::event_loop::EventLoop;
use crate::event_loop::mailbox::Command;
use crate::event_loop::stream::{Arrival, Stream};
#[cfg(target_os = "linux")]
use crate::event_loop::{FIRST_LISTENER, listener::Listener};
use crate::server::Server;
use mio::Poll;
#[cfg(target_os = "linux")]
use mio::Token;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3600);

/// The loops of a server, none of them running.
fn loops(count: usize) -> Vec<EventLoop> {
    let server = Server::builder().workers(count).listen("127.0.0.1:0").build().unwrap();
    let Server { shared, polls, mailboxes, walks, .. } = server;
    let event_loop = |(index, poll): (usize, Poll)| {
        let (shared, walks, loops) = (Arc::clone(&shared), Arc::clone(&walks), mailboxes.clone());
        EventLoop::new(poll, shared, (loops, index), walks, Vec::new()).unwrap()
    };
    polls.into_iter().enumerate().map(event_loop).collect()
}

/// A connection as a loop accepts it, and its client.
fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    (Stream::tcp(mio::net::TcpStream::from_std(accepted), peer), client)
}

/// Hands a connection over, as another loop would.
fn hand_over(to: &EventLoop) -> TcpStream {
    let (stream, client) = pair();
    let counted = to.context.server.totals.counters.count(None).unwrap();
    to.context.mailbox.load.fetch_add(1, Ordering::Relaxed);
    to.context.mailbox.post(Command::Adopt(stream, Arrival::default(), counted)).unwrap();
    client
}

#[track_caller]
fn expect_503(mut client: TcpStream) {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn who_is_handed_to_a_loop_that_has_begun_to_stop_is_told_so() {
    let mut event_loop = loops(1).remove(0);
    event_loop.stop(Instant::now() + LONG);
    let client = hand_over(&event_loop);
    event_loop.handle_commands(LONG);
    expect_503(client);
}

#[test]
fn who_is_handed_to_a_loop_before_it_ends_is_told_so() {
    let mut event_loop = loops(1).remove(0);
    event_loop.stop(Instant::now());
    let client = hand_over(&event_loop);
    event_loop.end();
    expect_503(client);
    assert_eq!((event_loop.context.server.totals.counters.open(), event_loop.context.mailbox.load()), (0, 0));
}

#[test]
fn a_loop_does_not_end_before_its_time_while_something_is_in_its_mailbox() {
    let mut event_loop = loops(1).remove(0);
    event_loop.stop(Instant::now() + LONG);
    let client = hand_over(&event_loop);
    assert!(!event_loop.is_done());
    event_loop.handle_commands(LONG);
    expect_503(client);
    assert!(!event_loop.is_done());
    event_loop.slots.keys().into_iter().for_each(|key| event_loop.remove(key));
    assert!(event_loop.is_done());
    let late = event_loop.context.mailbox.post(Command::Stop(Instant::now()));
    assert!(late.is_err(), "then nothing more can come");
}

/// Regression test: the loop polled continuously until then.
#[cfg(target_os = "linux")]
#[test]
fn a_loop_that_stops_at_once_sleeps_until_its_listeners_are_closed() {
    let mut event_loop = loops(1).remove(0);
    event_loop.listeners.push(Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    event_loop.listeners[0].register(event_loop.poll.registry(), Token(FIRST_LISTENER)).unwrap();
    event_loop.stop(Instant::now());
    event_loop.handle_walks(LONG);
    let (at, _) = event_loop.closing.as_ref().expect("those who had begun to connect are waited for");
    event_loop.context.now = *at - Duration::from_millis(5);
    assert_eq!(event_loop.wait(), Some(Duration::from_millis(5)));
    event_loop.context.now += Duration::from_millis(5);
    event_loop.close_listeners();
    assert!(event_loop.is_over(event_loop.context.now));
}

#[test]
fn who_cannot_be_handed_to_a_loop_that_has_ended_stays() {
    let mut loops = loops(2);
    loops.remove(1).end();
    let mut event_loop = loops.remove(0);
    // Its load is larger than that of the loop that has ended.
    event_loop.context.mailbox.load.fetch_add(1000, Ordering::Relaxed);
    let (stream, client) = pair();
    event_loop.admit(stream, Arrival::default());
    assert_eq!((event_loop.slots.len(), event_loop.context.mailbox.load()), (1, 1001));
    event_loop.stop(Instant::now() + LONG);
    event_loop.handle_walks(LONG);
    expect_503(client);
}

#[cfg(unix)]
mod failing {
    use super::super::still::stand_still;
    use crate::{Closed, Decision, Handler, Incoming};
    use std::io;
    use std::sync::mpsc::{self, Sender};

    /// Reports each end of a connection.
    struct Telling(Sender<()>);

    impl Handler for Telling {
        type State = ();

        fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
            request.accept(())
        }

        fn on_close(&self, _: &Closed<'_>, _: &mut ()) {
            self.0.send(()).expect("the test listens");
        }
    }

    /// Regression test: its connections ended without any notice.
    #[test]
    fn a_loop_whose_poll_fails_tells_everybody_of_the_end() {
        let (tell, told) = mpsc::channel();
        let mut event_loop = stand_still(|builder| builder.route("/ws", Telling(tell)));
        let (_, mut peer) = event_loop.open();
        let failed = event_loop.run_by(|_, _, _| Err(io::ErrorKind::OutOfMemory.into()));
        assert_eq!(failed.expect_err("a fault of the system").kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(told.iter().count(), 1, "the application");
        assert_eq!(peer.take()[2..4], 1001_u16.to_be_bytes(), "the peer");
    }
}
