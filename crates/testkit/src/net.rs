//! A client and a server on a virtual network with a virtual clock. Chance comes from one seed: the
//! same seed gives the same trace, octet for octet.

use crate::app::Behaviour;
use crate::endpoint::Endpoint;
use crate::rng::SplitMix64;
use framewright::{Config, Connection, Role, State};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the network and its two ends are like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where all chance comes from.
    pub seed: u64,
    /// The most octets that arrive at once.
    pub chunk: usize,
    /// The longest time that a chunk is under way. Chunks do not overtake each other.
    pub delay: Duration,
    /// The most octets of one direction that are under way: a sender finds no room beyond.
    pub capacity: usize,
    /// The settings and the application of the client.
    pub client: (Config, Behaviour),
    /// The settings and the application of the server.
    pub server: (Config, Behaviour),
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            seed: 1,
            chunk: 1500,
            delay: Duration::from_millis(20),
            capacity: 64 << 10,
            client: (Config::default(), Behaviour::Silent),
            server: (Config::default(), Behaviour::Echo),
        }
    }
}

/// One direction of the transport.
#[derive(Debug, Default)]
struct Pipe {
    /// Chunks and when each arrives.
    under_way: VecDeque<(Duration, Vec<u8>)>,
    /// When the end of the stream arrives.
    end: Option<Duration>,
    /// When the last chunk arrives.
    latest: Duration,
    /// Nothing arrives any more.
    lost: bool,
    /// How much of what the sender has sent was put under way.
    launched: usize,
    ended: bool,
}

/// The network and its two ends.
#[derive(Debug)]
pub struct Net {
    /// The client's end.
    pub client: Endpoint,
    /// The server's end.
    pub server: Endpoint,
    /// The direction from the client, and that from the server.
    pipes: [Pipe; 2],
    settings: Settings,
    rng: SplitMix64,
    start: Instant,
    time: Duration,
    trace: Vec<String>,
    /// How many events of the client and of the server are in the trace.
    traced: [usize; 2],
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Arrival(Role),
    End(Role),
    Deadline(Role),
}

impl Net {
    /// Two connections whose opening handshake has just been completed.
    #[must_use]
    pub fn new(settings: Settings) -> Net {
        let start = Instant::now();
        let end = |role, (config, behaviour): &(Config, Behaviour)| {
            let mut end = Endpoint::starting_at(start, role, config.clone(), settings.seed, *behaviour);
            end.room = settings.capacity;
            end
        };
        Net {
            client: end(Role::Client, &settings.client),
            server: end(Role::Server, &settings.server),
            pipes: Default::default(),
            rng: SplitMix64::new(settings.seed),
            settings,
            start,
            time: Duration::ZERO,
            trace: Vec::new(),
            traced: [0; 2],
        }
    }

    /// The time since the opening handshake.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// What happened, a line each.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        &self.trace
    }

    /// The end in this role.
    #[must_use]
    pub fn end(&self, role: Role) -> &Endpoint {
        match role {
            Role::Client => &self.client,
            Role::Server => &self.server,
        }
    }

    fn end_mut(&mut self, role: Role) -> &mut Endpoint {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// Lets the application of an end give a command.
    pub fn command<T>(&mut self, role: Role, command: impl FnOnce(&mut Connection) -> T) -> T {
        let result = command(&mut self.end_mut(role).connection);
        self.end_mut(role).drain();
        self.settle(role);
        result
    }

    /// From now on nothing that `from` sends arrives, and it is not told.
    pub fn lose(&mut self, from: Role) {
        self.note(from, "loses the network");
        self.pipes[from as usize].lost = true;
    }

    /// The stream of `from` ends behind what is under way: a half-close that its connection did not
    /// ask for.
    pub fn half_close(&mut self, from: Role) {
        self.note(from, "ends its stream");
        self.end_stream(from);
    }

    /// Both ends find the transport broken; what was under way is gone.
    pub fn reset(&mut self) {
        for role in [Role::Client, Role::Server] {
            self.note(role, "is reset");
            let pipe = &mut self.pipes[role as usize];
            pipe.under_way.clear();
            (pipe.lost, pipe.ended) = (true, true);
            let end = self.end_mut(role);
            end.connection.handle_transport_error(end.now);
            end.drain();
            self.settle(role);
        }
    }

    /// Lets this much time pass, with all that happens in it.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.time + time;
        while let Some((at, next)) = self.next()
            && at <= until
        {
            self.step(at, next);
        }
        self.set_time(until);
    }

    /// Runs until both connections have ended, or for this long.
    ///
    /// # Panics
    /// If they have not ended by then.
    pub fn run_until_closed(&mut self, limit: Duration) {
        let limit = self.time + limit;
        let is_closed = |end: &Endpoint| end.connection.state() == State::Closed && end.shutdown;
        while !is_closed(&self.client) || !is_closed(&self.server) {
            match self.next() {
                Some((at, next)) if at <= limit => self.step(at, next),
                _ => panic!(
                    "not closed by {limit:?} with seed {}:\n{}",
                    self.settings.seed,
                    self.trace.join("\n")
                ),
            }
        }
    }

    /// The next thing to happen and when; things at the same time in a fixed order.
    fn next(&self) -> Option<(Duration, Next)> {
        let mut next: Option<(Duration, Next)> = None;
        let mut offer = |at: Duration, what: Next| {
            let at = at.max(self.time);
            if next.is_none_or(|(earliest, _)| at < earliest) {
                next = Some((at, what));
            }
        };
        for role in [Role::Client, Role::Server] {
            let (end, pipe) = (self.end(role), &self.pipes[role.peer() as usize]);
            let reads = end.connection.wants_read() || end.connection.state() == State::Closed;
            match pipe.under_way.front() {
                Some((at, _)) if reads && !pipe.lost => offer(*at, Next::Arrival(role)),
                None if reads && !pipe.ended => {
                    if let Some(at) = pipe.end {
                        offer(at, Next::End(role));
                    }
                }
                _ => {}
            }
            if let Some(at) = end.connection.poll_timeout() {
                offer(at.saturating_duration_since(self.start), Next::Deadline(role));
            }
        }
        next
    }

    fn step(&mut self, at: Duration, next: Next) {
        self.set_time(at);
        match next {
            Next::Arrival(role) => {
                let arrived = self.pipes[role.peer() as usize].under_way.pop_front();
                let (_, octets) = arrived.expect("something arrives");
                self.note(role, &format!("receives {} octets", octets.len()));
                self.end_mut(role).feed(&octets);
                self.settle(role);
                // The sender learns of the room that this has made.
                self.end_mut(role.peer()).make_room(octets.len());
                self.settle(role.peer());
            }
            Next::End(role) => {
                self.pipes[role.peer() as usize].ended = true;
                self.note(role, "receives the end of the stream");
                self.end_mut(role).eof();
                self.settle(role);
            }
            Next::Deadline(role) => {
                self.note(role, "has a deadline");
                let end = self.end_mut(role);
                end.set_time(end.now);
                self.settle(role);
            }
        }
    }

    fn set_time(&mut self, time: Duration) {
        self.time = time;
        self.client.now = self.start + time;
        self.server.now = self.start + time;
    }

    /// Puts under way what an end has sent, and writes down what it has seen.
    fn settle(&mut self, role: Role) {
        let launched = self.pipes[role as usize].launched;
        let octets = self.end(role).sent[launched..].to_vec();
        if !octets.is_empty() {
            self.note(role, &format!("sends {} octets", octets.len()));
        }
        let mut rest = &octets[..];
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(self.rng.between(1, self.settings.chunk).min(rest.len()));
            let at = self.arrival(role);
            self.pipes[role as usize].under_way.push_back((at, chunk.to_vec()));
            rest = behind;
        }
        self.pipes[role as usize].launched += octets.len();
        self.trace_events(role);
        if self.end(role).shutdown && self.pipes[role as usize].end.is_none() {
            self.note(role, "shuts down");
            self.end_stream(role);
        }
    }

    /// When what `from` sends now arrives: not before what it sent earlier.
    fn arrival(&mut self, from: Role) -> Duration {
        let longest = usize::try_from(self.settings.delay.as_nanos()).unwrap_or(usize::MAX);
        let delay = Duration::from_nanos(self.rng.below(longest) as u64);
        let pipe = &mut self.pipes[from as usize];
        pipe.latest = pipe.latest.max(self.time + delay);
        pipe.latest
    }

    fn end_stream(&mut self, from: Role) {
        let at = self.arrival(from);
        self.pipes[from as usize].end.get_or_insert(at);
    }

    fn trace_events(&mut self, role: Role) {
        let from = self.traced[role as usize];
        let events: Vec<_> =
            self.end(role).events[from..].iter().map(|event| format!("sees {event:?}")).collect();
        self.traced[role as usize] += events.len();
        for event in events {
            self.note(role, &event);
        }
    }

    fn note(&mut self, role: Role, what: &str) {
        let time = self.time;
        self.trace.push(format!("{time:?} {role:?} {what}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Seen;
    use framewright::{CloseCode, SendError};

    fn is_message(event: &Seen) -> bool {
        matches!(event, Seen::Binary(_))
    }

    /// A conversation with everything in it.
    fn converse(seed: u64) -> Net {
        let small = Config { high_water: 2000, low_water: 500, ..Config::default() };
        let settings = Settings {
            seed,
            chunk: 300,
            capacity: 700,
            client: (small.clone(), Behaviour::Silent),
            server: (small, Behaviour::EchoInFragments(100)),
            ..Settings::default()
        };
        let mut net = Net::new(settings);
        let mut rng = SplitMix64::new(seed);
        let mut sent: Vec<Seen> = Vec::new();
        while sent.len() < 30 {
            // Were more unanswered, both ends could be waiting for the other one to read.
            if sent.len() > net.client.events.iter().filter(|event| is_message(event)).count() + 1 {
                net.run_for(Duration::from_millis(10));
                continue;
            }
            let len = rng.below(1500);
            let payload = rng.octets(len);
            match net.command(Role::Client, |client| client.send_binary(&payload)) {
                Ok(()) => sent.push(Seen::Binary(payload)),
                Err(SendError::Full) => net.run_for(Duration::from_millis(10)),
                Err(error) => panic!("{error}"),
            }
        }
        net.run_for(Duration::from_secs(10));
        net.command(Role::Client, |client| client.close(Some(CloseCode::NORMAL), "bye")).unwrap();
        net.run_until_closed(Duration::from_secs(10));
        let received = net.client.events.iter().filter(|event| is_message(event));
        assert!(received.eq(&sent), "each message came back, with seed {seed}");
        net
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        for seed in 0..20 {
            let (one, same) = (converse(seed), converse(seed));
            assert_eq!(one.trace(), same.trace());
            assert_eq!((&one.client.sent, &one.server.sent), (&same.client.sent, &same.server.sent));
            assert!(one.client.closure().clean && one.server.closure().clean, "with seed {seed}");
        }
        assert_ne!(converse(1).trace(), converse(2).trace());
    }

    #[test]
    fn the_server_ends_the_transport_first() {
        let net = converse(3);
        let line = |part: &str| net.trace().iter().position(|line| line.contains(part)).expect(part);
        assert!(line("Server shuts down") < line("Client shuts down"));
    }

    #[test]
    fn a_half_close_lets_the_other_direction_finish() {
        let mut net = Net::new(Settings::default());
        net.command(Role::Client, |client| client.send_text("hello")).unwrap();
        net.half_close(Role::Client);
        net.run_for(Duration::from_secs(1));
        assert_eq!(net.server.closure().code(), 1006);
        assert_eq!(net.client.events[0], Seen::Text("hello".to_owned()), "the echo was still sent");
        assert_eq!(net.client.closure().code(), 1006);
    }

    #[test]
    fn a_reset_ends_both_without_a_close() {
        let mut net = Net::new(Settings::default());
        net.command(Role::Client, |client| client.send_text("hello")).unwrap();
        net.reset();
        assert_eq!((net.client.closure().code(), net.server.closure().code()), (1006, 1006));
        net.run_for(Duration::from_secs(60));
    }
}
