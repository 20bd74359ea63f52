//! Names, addresses, the race between them, and the gate before them.

use super::super::Reaching;
use super::super::resolve::{Lookup, Resolver};
use super::super::sockets::{Loop, Wakers};
use super::server::{Nobody, Server, accept_on, listener, read_head, read_to_end};
use super::{Driver, Opening, SOCKET, at, has_asked, reaching, request};
use crate::stream::ClientStream;
use crate::{ClientTls, ConnectError, Options, Proxy};
use framewright_driver::opening::{self, Attempted, Network};
use mio::net::TcpStream;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::task::Waker;
use std::time::Duration;

#[test]
fn secure_uri_is_refused_before_anything_is_done() {
    let options = Options { tls: ClientTls::of_the_stream(), ..Options::default() };
    let result = Driver::new().start(request("wss://localhost/"), options.clone());
    assert!(matches!(result, Err(ConnectError::TlsNotSupported)));
    let proxy = Some(Proxy::new("https://localhost").unwrap());
    let result = Driver::new().start(request("ws://localhost/"), Options { proxy, ..options });
    let Err(ConnectError::Proxy(error)) = result else { panic!() };
    assert!(matches!(*error, ConnectError::TlsNotSupported));
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_the_feature_the_error_says_what_is_missing() {
    let error = Driver::new().start(request("wss://localhost/"), Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "wss: this build has no TLS: turn on the feature tls");
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# If the client is not configured to use a proxy, then a direct TCP
//# connection SHOULD be opened to the host given by /host/ and the
//# port given by /port/.
#[test]
fn addresses_in_a_uri_need_no_resolver_and_names_are_resolved() {
    let server = Server::new(|listener| {
        for _ in 0..2 {
            accept_on(&mut listener.accept().unwrap().0);
        }
    });
    for host in ["127.0.0.1", "localhost"] {
        let uri = format!("ws://{host}:{}/", server.address.port());
        let mut driver = Driver::new();
        let mut opening = driver.start(request(&uri), Options::default()).unwrap();
        let opened = driver.finish(&mut opening).unwrap();
        assert_eq!(opened.stream.peer_addr().unwrap(), server.address);
    }
    server.join();
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# If the connection could not be opened, either because a direct
//# connection failed or because any proxy used returned an error,
//# then the client MUST _Fail the WebSocket Connection_ and abort
//# the connection attempt.
#[test]
fn every_address_that_refuses_is_told() {
    let nobody = [Nobody::new(), Nobody::new()];
    let addresses = nobody.each_ref().map(|it| it.address);
    let mut driver = Driver::new();
    let result = driver.start(request("ws://server.example/"), at(&addresses));
    let result = result.and_then(|mut opening| driver.finish(&mut opening));
    let Err(ConnectError::Connect(failures)) = result else { panic!("{result:?}") };
    assert_eq!(failures.iter().map(|(address, _)| *address).collect::<Vec<_>>(), addresses);
    assert!(failures.iter().all(|(_, error)| error.kind() == io::ErrorKind::ConnectionRefused));
}

#[test]
fn a_refused_connection_begins_the_next_attempt_at_once() {
    let server = Server::once(|mut stream| drop(accept_on(&mut stream)));
    let nobody = Nobody::new();
    let mut driver = Driver::new();
    let mut opening = driver.open(&[nobody.address, server.address]);
    // No time passes during this call.
    assert_eq!(driver.finish(&mut opening).unwrap().stream.peer_addr().unwrap(), server.address);
    server.join();
}

#[test]
fn no_address_is_an_error_of_its_own() {
    let result = Driver::new().start(request("ws://server.example/"), at(&[]));
    assert!(matches!(result, Err(ConnectError::NoAddress)));
}

/// An opening whose name is resolved when the test sends the answer.
pub(super) fn resolving(driver: &Driver) -> (Opening, mpsc::Sender<io::Result<Vec<SocketAddr>>>) {
    static RESOLVER: Resolver =
        Resolver::new(64, 64, |work| std::thread::Builder::new().spawn(work).map(drop));
    let (answer, answers) = mpsc::channel();
    let resolve = move || answers.recv().unwrap();
    let lookup = RESOLVER.lookup("server.example", &driver.waker, resolve);
    let request = request("ws://server.example/");
    let wakers = Wakers::new(&driver.waker);
    let below = Loop { registry: driver.poll.registry(), token: SOCKET, wakers: &wakers };
    let mut network = Resolving { lookup: Some(lookup), below };
    let opening = opening::Opening::start(request, (&Options::default()).into(), driver.start, &mut network);
    let reaching = Reaching { opening: opening.unwrap(), token: SOCKET, wakers };
    (Opening::Reaching(Box::new(reaching)), answer)
}

/// A network with another resolver.
struct Resolving<'a> {
    lookup: Option<Lookup>,
    below: Loop<'a>,
}

impl Network for Resolving<'_> {
    type Lookup = Lookup;
    type Attempt = TcpStream;
    type Stream = ClientStream;

    fn resolve(&mut self, host: &str, port: u16) -> Lookup {
        assert_eq!((host, port), ("server.example", 80));
        self.lookup.take().unwrap()
    }

    fn answer(&mut self, lookup: &mut Lookup) -> Option<io::Result<Vec<SocketAddr>>> {
        lookup.take()
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        self.below.connect(address)
    }

    fn look_at(&mut self, attempt: TcpStream) -> io::Result<Attempted<TcpStream, ClientStream>> {
        self.below.look_at(attempt)
    }

    fn waker(&self) -> &Waker {
        self.below.waker()
    }
}

#[test]
fn what_a_name_comes_to_is_connected_to() {
    let server = Server::once(|mut stream| drop(accept_on(&mut stream)));
    let mut driver = Driver::new();
    let (mut opening, answer) = resolving(&driver);
    assert!(driver.turn(&mut opening, Duration::ZERO).unwrap().is_none());
    answer.send(Ok(vec![server.address])).unwrap();
    driver.finish(&mut opening).unwrap();
    server.join();
}

#[test]
fn a_name_that_cannot_be_resolved_or_has_no_address_is_an_error() {
    let mut driver = Driver::new();
    let (mut opening, answer) = resolving(&driver);
    answer.send(Err(io::Error::other("no such name"))).unwrap();
    assert!(matches!(driver.finish(&mut opening), Err(ConnectError::Resolve(_))));
    let (mut opening, answer) = resolving(&driver);
    answer.send(Ok(Vec::new())).unwrap();
    assert!(matches!(driver.finish(&mut opening), Err(ConnectError::NoAddress)));
}

#[test]
fn resolving_a_name_counts_to_the_connect_timeout() {
    let driver = Driver::new();
    let (mut opening, answer) = resolving(&driver);
    assert_eq!(driver.due(&opening), Some(Duration::from_secs(30)));
    assert!(driver.turn(&mut opening, Duration::from_millis(29_999)).unwrap().is_none());
    let result = driver.turn(&mut opening, Duration::from_secs(30));
    assert!(matches!(result, Err(ConnectError::ConnectTimeout)));
    answer.send(Ok(Vec::new())).unwrap(); // which nobody waits for any more
}

/// An address whose SYNs are dropped, as if no host had it: the queue of connections to be accepted
/// is full.
#[cfg(target_os = "linux")]
pub(super) struct BlackHole {
    pub(super) address: SocketAddr,
    _full: (socket2::Socket, std::net::TcpStream),
}

#[cfg(target_os = "linux")]
impl BlackHole {
    pub(super) fn new() -> BlackHole {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap(); // which Linux takes for a queue of one
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        BlackHole { address, _full: (socket, std::net::TcpStream::connect(address).unwrap()) }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn behind_a_black_hole_the_next_address_is_tried_after_a_quarter_of_a_second() {
    let hole = BlackHole::new();
    let server = Server::once(|mut stream| {
        accept_on(&mut stream);
        read_to_end(&mut stream);
    });
    let driver = Driver::new();
    let mut opening = driver.open(&[hole.address, server.address]);
    assert_eq!(driver.due(&opening), Some(Duration::from_millis(250)));
    assert!(driver.turn(&mut opening, Duration::from_millis(249)).unwrap().is_none());
    assert_eq!(sockets(&opening), 1);
    let mut opened = None;
    while opened.is_none() {
        opened = driver.turn(&mut opening, Duration::from_millis(250)).unwrap();
    }
    assert_eq!(opened.unwrap().stream.peer_addr().unwrap(), server.address);
    server.join();
}

#[cfg(target_os = "linux")]
#[test]
fn connecting_ends_at_the_connect_timeout() {
    let hole = BlackHole::new();
    let driver = Driver::new();
    let options = Options { connect_timeout: Duration::from_secs(2), ..at(&[hole.address]) };
    let mut opening = driver.start(request("ws://server.example/"), options).unwrap();
    assert_eq!(driver.due(&opening), Some(Duration::from_secs(2)));
    assert!(driver.turn(&mut opening, Duration::from_millis(1999)).unwrap().is_none());
    let result = driver.turn(&mut opening, Duration::from_secs(2));
    assert!(matches!(result, Err(ConnectError::ConnectTimeout)));
    assert_eq!(driver.due(&opening), None);
}

/// The second opening waits although it uses another name.
#[test]
fn openings_to_one_address_are_one_after_the_other() {
    let server = Server::new(|listener| {
        let (mut first, _) = listener.accept().unwrap();
        accept_on(&mut first);
        let (mut second, _) = listener.accept().unwrap();
        accept_on(&mut second);
        read_to_end(&mut first);
        read_to_end(&mut second);
    });
    let (mut one, mut other) = (Driver::new(), Driver::new());
    let mut first = one.open(&[server.address]);
    let mut second = other.start(request("ws://alias.example/"), at(&[server.address])).unwrap();
    assert!(other.turn(&mut second, Duration::ZERO).unwrap().is_none());
    assert_eq!(sockets(&second), 0, "it has not begun to connect");
    let opened = one.finish(&mut first).unwrap();
    // The first connection is open, which wakes the second opening.
    other.finish(&mut second).unwrap();
    drop(opened);
    server.join();
}

#[test]
fn an_opening_that_fails_or_is_given_up_lets_the_next_one_go() {
    let server = Server::new(|listener| {
        let (mut first, _) = listener.accept().unwrap();
        read_head(&mut first);
        drop(first);
        let (mut second, _) = listener.accept().unwrap();
        read_to_end(&mut second);
        accept_on(&mut listener.accept().unwrap().0);
    });
    let (mut one, mut other, mut another) = (Driver::new(), Driver::new(), Driver::new());
    let mut first = one.open(&[server.address]);
    let mut second = other.open(&[server.address]);
    let mut third = another.open(&[server.address]);
    assert!(matches!(one.finish(&mut first), Err(ConnectError::Handshake(_))));
    other.until(&mut second, has_asked);
    assert_eq!(sockets(&third), 0);
    drop(second);
    another.finish(&mut third).unwrap();
    server.join();
}

#[test]
fn waiting_for_a_turn_does_not_keep_the_other_addresses_waiting_and_has_a_timeout_of_its_own() {
    let silent = listener();
    let busy = silent.local_addr().unwrap();
    let server = Server::once(|mut stream| drop(accept_on(&mut stream)));
    let (holder, driver) = (Driver::new(), Driver::new());
    let _first = holder.open(&[busy]);
    let mut both = driver.open(&[busy, server.address]);
    let mut only = driver.open(&[busy]);
    assert!(driver.turn(&mut both, Duration::ZERO).unwrap().is_none());
    assert_eq!(driver.due(&both), Some(Duration::from_millis(250)));
    let mut opened = None;
    while opened.is_none() {
        opened = driver.turn(&mut both, Duration::from_millis(250)).unwrap();
    }
    assert_eq!(opened.unwrap().stream.peer_addr().unwrap(), server.address);
    assert!(driver.turn(&mut only, Duration::from_secs(119)).unwrap().is_none());
    assert_eq!(driver.due(&only), Some(Duration::from_secs(120)), "nothing to do until then");
    let result = driver.turn(&mut only, Duration::from_secs(120));
    assert!(matches!(result, Err(ConnectError::TurnTimeout)));
    server.join();
}

/// Time spent waiting for other openings is no sign of a slow server.
#[test]
fn the_time_for_connecting_begins_with_the_turn() {
    let server = Server::new(|listener| {
        let (first, _) = listener.accept().unwrap();
        accept_on(&mut listener.accept().unwrap().0);
        drop(first);
    });
    let (holder, mut driver) = (Driver::new(), Driver::new());
    let first = holder.open(&[server.address]);
    let mut second = driver.open(&[server.address]);
    let turn = Duration::from_secs(119);
    assert!(driver.turn(&mut second, turn).unwrap().is_none());
    drop(first);
    // The waker announces the turn.
    driver.wait();
    while driver.turn(&mut second, turn).unwrap().is_none() {
        driver.wait();
    }
    server.join();
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_has_had_its_turn_and_meets_nobody_ends_with_the_connect_timeout() {
    let hole = BlackHole::new();
    let (holder, driver) = (Driver::new(), Driver::new());
    let first = holder.open(&[hole.address]);
    let mut second = driver.open(&[hole.address]);
    let after = Duration::from_secs;
    assert!(driver.turn(&mut second, after(60)).unwrap().is_none());
    drop(first);
    assert!(driver.turn(&mut second, after(70)).unwrap().is_none());
    assert_eq!(sockets(&second), 1);
    assert_eq!(driver.due(&second), Some(after(100)));
    assert!(driver.turn(&mut second, after(99)).unwrap().is_none());
    assert!(matches!(driver.turn(&mut second, after(100)), Err(ConnectError::ConnectTimeout)));
}

#[test]
fn without_the_gate_openings_to_one_address_neither_wait_nor_keep_others_waiting() {
    let silent = listener();
    let address = silent.local_addr().unwrap();
    let driver = Driver::new();
    let start = |one_at_a_time| {
        let options = Options { one_at_a_time, ..at(&[address]) };
        driver.start(request("ws://server.example/"), options).unwrap()
    };
    let at_once = [start(false), start(false)];
    let first = start(true);
    let others = [start(false), start(true)];
    for (opening, begun) in at_once.iter().chain([&first]).chain(&others).zip([1, 1, 1, 1, 0]) {
        assert_eq!(sockets(opening), begun);
    }
}

/// The number of sockets that an opening has.
fn sockets(opening: &Opening) -> usize {
    let opening = reaching(opening);
    opening.attempts().count() + usize::from(opening.stream().is_some())
}
