//! From a host to a TCP connection: resolves its name, and tries its addresses in the order of
//! `race` as `gate` allows.

use super::error::ConnectError;
use super::gate::{Host, Ticket};
use super::network::{Attempted, Network};
use super::race::Race;
use super::settings::Settings;
use framewright::handshake::WsUri;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connects to one of the addresses of a host, or of the proxy for it.
#[derive(Debug)]
pub(super) struct Connecting<L, A> {
    /// The turn at the gate for a host whose name a proxy resolves, taken before anything begins.
    /// Otherwise each attempt has its own ticket. Without [`Settings::one_at_a_time`] there are
    /// none.
    ticket: Option<Ticket>,
    one_at_a_time: bool,
    lookup: Option<L>,
    race: Race,
    attempts: Vec<Attempt<A>>,
    failures: Vec<(SocketAddr, io::Error)>,
    budget: Budget,
}

/// An established connection, with its turn at the gate, if it has one.
#[derive(Debug)]
pub(super) struct Connected<S> {
    pub(super) stream: S,
    pub(super) ticket: Option<Ticket>,
}

impl<L, A> Connecting<L, A> {
    /// Starts to look up the addresses to connect to for `uri`, unless they are given.
    pub(super) fn start<N>(
        uri: &WsUri,
        settings: &Settings,
        addresses: Option<Vec<SocketAddr>>,
        now: Instant,
        network: &mut N,
    ) -> Self
    where
        N: Network<Lookup = L, Attempt = A>,
    {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# If the client is not configured to use a proxy, then a direct TCP
        //# connection SHOULD be opened to the host given by /host/ and the
        //# port given by /port/.
        let place = settings.proxy.as_ref().map_or(uri, |proxy| proxy.place());
        let literal = place.ip().map(|ip| vec![SocketAddr::new(ip, place.port())]);
        let (addresses, lookup) = match addresses.or(literal) {
            Some(addresses) => (addresses, None),
            None => (Vec::new(), Some(network.resolve(place.host(), place.port()))),
        };
        let resolves = settings.proxy.as_ref().filter(|_| settings.one_at_a_time);
        Connecting {
            ticket: resolves.map(|_| Ticket::queue(Host::of_uri(uri), network.waker())),
            one_at_a_time: settings.one_at_a_time,
            lookup,
            race: Race::new(addresses),
            attempts: Vec::new(),
            failures: Vec::new(),
            budget: Budget::new(settings.connect_timeout, settings.turn_timeout, now),
        }
    }

    /// Does everything that can be done now. Returns the connection once it is established.
    pub(super) fn turn<N>(
        &mut self,
        now: Instant,
        network: &mut N,
    ) -> Result<Option<Connected<N::Stream>>, ConnectError>
    where
        N: Network<Lookup = L, Attempt = A>,
    {
        if let Some(connected) = self.advance(now, network)? {
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
                let waits = |attempt: &Attempt<A>| attempt.under_way.is_none();
                self.lookup.is_none() && !self.attempts.is_empty() && self.attempts.iter().all(waits)
            }
        }
    }

    fn advance<N>(
        &mut self,
        now: Instant,
        network: &mut N,
    ) -> Result<Option<Connected<N::Stream>>, ConnectError>
    where
        N: Network<Lookup = L, Attempt = A>,
    {
        if self.ticket.as_ref().is_some_and(|ticket| !ticket.poll_turn(network.waker())) {
            return Ok(None);
        }
        if let Some(lookup) = &mut self.lookup {
            let Some(answer) = network.answer(lookup) else { return Ok(None) };
            self.lookup = None;
            self.race = Race::new(answer.map_err(ConnectError::Resolve)?);
        }
        loop {
            if let Some(connected) = self.look_at_attempts(network) {
                return Ok(Some(connected));
            }
            let Some(address) = self.race.next(now) else { break };
            let queues = self.one_at_a_time && self.ticket.is_none();
            let ticket = queues.then(|| Ticket::queue(Host::of_address(address), network.waker()));
            self.attempts.push(Attempt { address, ticket, under_way: None });
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
    fn look_at_attempts<N>(&mut self, network: &mut N) -> Option<Connected<N::Stream>>
    where
        N: Network<Lookup = L, Attempt = A>,
    {
        let mut at = 0;
        while let Some(attempt) = self.attempts.get_mut(at) {
            match attempt.advance(network) {
                Ok(None) => at += 1,
                Ok(Some(stream)) => {
                    let ticket = self.attempts.swap_remove(at).ticket.or(self.ticket.take());
                    // The other attempts would only keep the server busy.
                    self.attempts.clear();
                    return Some(Connected { stream, ticket });
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

    /// The connections that are being established.
    pub(super) fn attempts(&self) -> impl Iterator<Item = &A> {
        self.attempts.iter().filter_map(|attempt| attempt.under_way.as_ref())
    }
}

/// How long connecting may take, and how long waiting for a turn. The time spent waiting for others
/// is no sign of a slow server, so it does not count as connecting.
#[derive(Debug)]
struct Budget {
    /// The rest of [`Settings::connect_timeout`] at `since`.
    connecting: Duration,
    /// The rest of [`Settings::turn_timeout`] at `since`.
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
struct Attempt<A> {
    address: SocketAddr,
    ticket: Option<Ticket>,
    /// `None` while the attempt waits for its turn.
    under_way: Option<A>,
}

impl<A> Attempt<A> {
    /// Returns the connection once it is established.
    fn advance<N: Network<Attempt = A>>(&mut self, network: &mut N) -> io::Result<Option<N::Stream>> {
        let attempt = match self.under_way.take() {
            Some(attempt) => attempt,
            None if self.ticket.as_ref().is_some_and(|ticket| !ticket.poll_turn(network.waker())) => {
                return Ok(None);
            }
            None => network.connect(self.address)?,
        };
        match network.look_at(attempt)? {
            Attempted::Connected(stream) => Ok(Some(stream)),
            Attempted::Pending(attempt) => {
                self.under_way = Some(attempt);
                Ok(None)
            }
        }
    }
}
