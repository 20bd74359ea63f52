//! From a host to a TCP connection: resolves its name, and tries its addresses in the order of
//! `race` as `gate` allows.

use super::gate::{Host, Ticket};
use super::race::Race;
use super::resolve::Lookup;
use crate::stream::{ClientStream, INTERESTS};
use crate::{ConnectError, Options};
use framewright::handshake::WsUri;
use mio::net::TcpStream;
use mio::{Registry, Token, Waker};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connects to one of the addresses of a host, or of the proxy for it.
#[derive(Debug)]
pub(super) struct Connecting {
    /// The turn at the gate for a host whose name a proxy resolves, taken before anything begins.
    /// Otherwise each attempt has its own ticket. Without [`Options::one_at_a_time`] there are
    /// none.
    ticket: Option<Ticket>,
    one_at_a_time: bool,
    lookup: Option<Lookup>,
    race: Race,
    attempts: Vec<Attempt>,
    failures: Vec<(SocketAddr, io::Error)>,
    budget: Budget,
}

/// A registered connection, with its turn at the gate, if it has one.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: ClientStream,
    pub(super) ticket: Option<Ticket>,
}

impl Connecting {
    /// Starts to look up the addresses to connect to for `uri`, unless they are given.
    pub(super) fn start(
        uri: &WsUri,
        options: &Options,
        addresses: Option<Vec<SocketAddr>>,
        now: Instant,
        waker: &Arc<Waker>,
    ) -> Connecting {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# If the client is not configured to use a proxy, then a direct TCP
        //# connection SHOULD be opened to the host given by /host/ and the
        //# port given by /port/.
        let place = options.proxy.as_ref().map_or(uri, |proxy| proxy.place());
        let literal = place.ip().map(|ip| vec![SocketAddr::new(ip, place.port())]);
        let (addresses, lookup) = match addresses.or(literal) {
            Some(addresses) => (addresses, None),
            None => (Vec::new(), Some(Lookup::start(place.host(), place.port(), waker))),
        };
        let resolves = options.proxy.as_ref().filter(|_| options.one_at_a_time);
        Connecting {
            ticket: resolves.map(|_| Ticket::queue(Host::of_uri(uri), waker)),
            one_at_a_time: options.one_at_a_time,
            lookup,
            race: Race::new(addresses),
            attempts: Vec::new(),
            failures: Vec::new(),
            budget: Budget::new(options.connect_timeout, options.turn_timeout, now),
        }
    }

    /// Does everything that can be done now. Returns the connection once it is established.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
    ) -> Result<Option<Connected>, ConnectError> {
        if let Some(connected) = self.advance(now, registry, token, waker)? {
            return Ok(Some(connected));
        }
        self.budget.spend(self.waits_for_turn(), now)?;
        Ok(None)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.budget.deadline().into_iter().chain(self.race.deadline()).min()
    }

    /// True if the only work left is to wait for other connections at the gate.
    fn waits_for_turn(&self) -> bool {
        match &self.ticket {
            Some(ticket) if !ticket.has_turn() => true,
            _ => {
                let waits = |attempt: &Attempt| attempt.stream.is_none();
                self.lookup.is_none() && !self.attempts.is_empty() && self.attempts.iter().all(waits)
            }
        }
    }

    fn advance(
        &mut self,
        now: Instant,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
    ) -> Result<Option<Connected>, ConnectError> {
        if self.ticket.as_ref().is_some_and(|ticket| !ticket.has_turn()) {
            return Ok(None);
        }
        if let Some(lookup) = &mut self.lookup {
            let Some(answer) = lookup.take() else { return Ok(None) };
            self.lookup = None;
            self.race = Race::new(answer.map_err(ConnectError::Resolve)?);
        }
        loop {
            if let Some(connected) = self.look_at_attempts(registry, token) {
                return Ok(Some(connected));
            }
            let Some(address) = self.race.next(now) else { break };
            let queues = self.one_at_a_time && self.ticket.is_none();
            let ticket = queues.then(|| Ticket::queue(Host::of_address(address), waker));
            self.attempts.push(Attempt { address, ticket, stream: None });
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# If the connection could not be opened, either because a direct
        //# connection failed or because any proxy used returned an error,
        //# then the client MUST _Fail the WebSocket Connection_ and abort
        //# the connection attempt.
        match (self.attempts.is_empty(), self.failures.is_empty()) {
            (false, _) => Ok(None),
            (true, true) => Err(ConnectError::NoAddress),
            (true, false) => Err(ConnectError::Connect(std::mem::take(&mut self.failures))),
        }
    }

    /// Takes the first attempt that is connected, and drops those that have failed.
    fn look_at_attempts(&mut self, registry: &Registry, token: Token) -> Option<Connected> {
        let mut at = 0;
        while let Some(attempt) = self.attempts.get_mut(at) {
            match attempt.advance(registry, token) {
                Ok(None) => at += 1,
                Ok(Some(stream)) => {
                    let ticket = self.attempts.swap_remove(at).ticket.or(self.ticket.take());
                    // The other attempts would only keep the server busy.
                    self.attempts.clear();
                    return Some(Connected { stream: ClientStream::Tcp(stream), ticket });
                }
                Err(error) => {
                    let attempt = self.attempts.remove(at);
                    self.failures.push((attempt.address, error));
                    self.race.hurry();
                }
            }
        }
        None
    }
}

/// How long connecting may take, and how long waiting for a turn. The time spent waiting for others
/// is no sign of a slow server, so it does not count as connecting.
#[derive(Debug)]
struct Budget {
    /// The rest of [`Options::connect_timeout`] at `since`.
    connecting: Duration,
    /// The rest of [`Options::turn_timeout`] at `since`.
    waiting: Duration,
    /// True while `waiting` is spent, false while `connecting` is.
    waits: bool,
    since: Instant,
}

impl Budget {
    fn new(connecting: Duration, waiting: Duration, now: Instant) -> Budget {
        Budget { connecting, waiting, waits: false, since: now }
    }

    /// Deducts the time up to now from the current budget, and selects the one to spend from now
    /// on.
    ///
    /// # Errors
    /// If nothing is left of the latter.
    fn spend(&mut self, waits: bool, now: Instant) -> Result<(), ConnectError> {
        let spent = now.saturating_duration_since(self.since);
        let purse = if self.waits { &mut self.waiting } else { &mut self.connecting };
        *purse = purse.saturating_sub(spent);
        (self.waits, self.since) = (waits, now);
        match (self.left(), waits) {
            (Duration::ZERO, true) => Err(ConnectError::TurnTimeout),
            (Duration::ZERO, false) => Err(ConnectError::ConnectTimeout),
            _ => Ok(()),
        }
    }

    fn left(&self) -> Duration {
        if self.waits { self.waiting } else { self.connecting }
    }

    /// `None` for a deadline too far off for the clock.
    fn deadline(&self) -> Option<Instant> {
        self.since.checked_add(self.left())
    }
}

/// One address, from its turn at the gate to its connection.
#[derive(Debug)]
struct Attempt {
    address: SocketAddr,
    ticket: Option<Ticket>,
    /// `None` while the attempt waits for its turn.
    stream: Option<TcpStream>,
}

impl Attempt {
    /// Returns the connection once it is established.
    fn advance(&mut self, registry: &Registry, token: Token) -> io::Result<Option<TcpStream>> {
        if self.stream.is_none() {
            if self.ticket.as_ref().is_some_and(|ticket| !ticket.has_turn()) {
                return Ok(None);
            }
            let mut stream = TcpStream::connect(self.address)?;
            registry.register(&mut stream, token, INTERESTS)?;
            self.stream = Some(stream);
        }
        match &self.stream {
            Some(stream) if is_connected(stream)? => stream.set_nodelay(true)?,
            _ => return Ok(None),
        }
        Ok(self.stream.take())
    }
}

/// True once the connection is established.
///
/// # Errors
/// The error with which connecting failed.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    // In this order, as mio describes it: a pending error can be taken only once.
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    let peer = match stream.peer_addr() {
        Ok(peer) => peer,
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
        Err(error) => return Err(error),
    };
    // The system may choose, as the port of this end, the very port of this machine that the client
    // connects to, if nothing listens on it. TCP then connects the socket to itself (RFC 9293,
    // section 3.5, simultaneous open).
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(true)
}

#[cfg(test)]
impl Connecting {
    /// An attempt that waits for `lookup`, with the default settings.
    pub(super) fn resolving(lookup: Lookup, now: Instant) -> Connecting {
        let Options { one_at_a_time, connect_timeout, turn_timeout, .. } = Options::default();
        Connecting {
            ticket: None,
            one_at_a_time,
            lookup: Some(lookup),
            race: Race::new(Vec::new()),
            attempts: Vec::new(),
            failures: Vec::new(),
            budget: Budget::new(connect_timeout, turn_timeout, now),
        }
    }

    /// The sockets of the attempts under way.
    pub(super) fn streams(&self) -> impl Iterator<Item = &TcpStream> {
        self.attempts.iter().filter_map(|attempt| attempt.stream.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_is_connected_with_itself_has_found_nobody() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        let error = is_connected(&TcpStream::from_std(socket.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
