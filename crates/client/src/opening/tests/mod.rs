//! Openings against scripted servers on sockets of this machine. Time is an argument: no test waits
//! for a deadline.

mod answers;
mod connecting;
mod dropping;
mod proxies;
mod redirects;
mod server;

use super::resolve::Lookup;
use super::{Opened, Opening};
use crate::stream::ClientStream;
use crate::{ConnectError, Options};
use framewright::handshake::ClientRequest;
use framewright_driver::opening::Stage;
use mio::net::TcpStream;
use mio::{Events, Poll, Token, Waker};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// An event loop with a clock that stands still.
struct Driver {
    poll: Poll,
    waker: Arc<Waker>,
    start: Instant,
}

impl Driver {
    fn new() -> Driver {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
        Driver { poll, waker, start: Instant::now() }
    }

    #[allow(clippy::needless_pass_by_value, reason = "a literal for each test")]
    fn start(&self, request: ClientRequest, options: Options) -> Result<Opening, ConnectError> {
        Opening::start(request, &options, self.start, self.poll.registry(), SOCKET, &self.waker)
    }

    /// An opening for `ws://server.example/` at `addresses`.
    fn open(&self, addresses: &[SocketAddr]) -> Opening {
        self.start(request("ws://server.example/"), at(addresses)).unwrap()
    }

    /// A turn at the time `after` the start.
    fn turn(&self, opening: &mut Opening, after: Duration) -> Result<Option<Opened>, ConnectError> {
        opening.turn(self.start + after, self.poll.registry())
    }

    /// When the next turn is due, counted from the start.
    fn due(&self, opening: &Opening) -> Option<Duration> {
        opening.deadline().map(|deadline| deadline - self.start)
    }

    /// Does a turn after each event, until there is a result. No time passes meanwhile.
    fn finish(&mut self, opening: &mut Opening) -> Result<Opened, ConnectError> {
        loop {
            if let Some(opened) = self.turn(opening, Duration::ZERO)? {
                return Ok(opened);
            }
            self.wait();
        }
    }

    /// Does a turn after each event, until `reached` is true. No time passes meanwhile.
    fn until(&mut self, opening: &mut Opening, reached: impl Fn(&Opening) -> bool) {
        while !reached(opening) {
            self.wait();
            assert!(self.turn(opening, Duration::ZERO).unwrap().is_none());
        }
    }

    /// Waits for an event of the opening or of the waker.
    fn wait(&mut self) {
        let mut events = Events::with_capacity(16);
        self.poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty(), "nothing happens any more");
    }
}

fn request(uri: &str) -> ClientRequest {
    uri.parse().unwrap()
}

/// The default options, with the addresses to connect to.
fn at(addresses: &[SocketAddr]) -> Options {
    Options { addresses: Some(addresses.to_vec()), ..Options::default() }
}

/// Opens `ws://server.example/` at `address`.
fn open(address: SocketAddr) -> Result<Opened, ConnectError> {
    let mut driver = Driver::new();
    let mut opening = driver.open(&[address]);
    driver.finish(&mut opening)
}

/// True once the request, or the request for a tunnel to a proxy, has been written.
fn has_asked(opening: &Opening) -> bool {
    matches!(stage(opening), Stage::Exchange { has_asked: true, .. })
}

/// The number of bytes received of the response's head, and whether the body of a refusal is being
/// read.
fn progress(opening: &Opening) -> (usize, bool) {
    match stage(opening) {
        Stage::Exchange { received, reads_refusal, .. } => (received, reads_refusal),
        _ => (0, false),
    }
}

fn stage(opening: &Opening) -> Stage {
    reaching(opening).stage()
}

fn reaching(opening: &Opening) -> &framewright_driver::opening::Opening<Lookup, TcpStream, ClientStream> {
    match opening {
        Opening::Reaching(reaching) => &reaching.opening,
        #[cfg(unix)]
        Opening::Over(_) => panic!("it is over a stream"),
    }
}
