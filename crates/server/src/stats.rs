//! The counters of a server and of each route.
//!
//! Each event loop has its own counters. Only its thread writes them, with plain loads and stores,
//! so that no counter is contended. A reader adds up the counters of all loops. Traffic is counted
//! at the end of each turn, by the growth of the connection's own [`Stats`]: a connection needs no
//! further field, and one that lives for days is counted from its first message on.

use crate::guard::lock;
use crate::memory::ledger::MemoryStats;
use framewright::handshake::{Refusal, StatusCode};
use framewright::{CloseCode, CloseFrame, Closure, CompressionStats, Error, LimitExceeded, Stats, Timeout};
use framewright_driver::topics::TopicStats;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The current state of a server, and its counts since it was built.
///
/// From [`ServerHandle::stats`](crate::ServerHandle::stats), or in a handler from
/// [`Incoming::server_stats`](crate::Incoming::server_stats). Each number is exact, but they are
/// read one after the other while the server works: two related numbers may differ by events in
/// between.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections held now, in all phases.
    pub connections: usize,
    /// Bytes that all connections together hold now.
    pub memory: MemoryStats,
    /// Bytes that compression holds now, its limit, and how often context takeover did not fit.
    #[cfg(feature = "deflate")]
    pub compression: framewright::deflate::DeflateMemoryStats,
    /// Connections accepted from the system, including those over a limit.
    pub accepted: u64,
    /// What topics hold now and have counted.
    pub topics: TopicStats,
    /// The routes in the order in which they were added.
    pub routes: Vec<RouteStats>,
    /// Counts of connections that reached no route: without a request, with an incorrect one, or
    /// for a path without a route.
    pub elsewhere: Counts,
}

impl ServerStats {
    /// The sum over all routes and `elsewhere`.
    #[must_use]
    pub fn totals(&self) -> Counts {
        let mut totals = self.elsewhere.clone();
        self.routes.iter().for_each(|route| totals += &route.counts);
        totals
    }
}

/// The counts of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// The route's path, as it was added; `None` for the fallback.
    pub path: Option<Arc<str>>,
    /// The counts.
    pub counts: Counts,
}

/// Counts since the server was built, for one route or for all. They wrap after 2^64.
///
/// Each connection is counted once as `opened`, `answered`, `refused` or `abandoned`. Each opened
/// connection is also counted once in each of `closed`, `close_sent` and `ended`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Accepted opening handshakes. Counted when the 101 is sent. If the peer leaves before it has
    /// the whole 101, or takes too long, the connection is counted here, and as closed with 1006.
    pub opened: u64,
    /// Ordinary HTTP requests that the handler answered with a status below 400.
    pub answered: u64,
    /// Refused requests, and refused connections over a limit. Counted when the answer is sent.
    pub refused: RefusedCounts,
    /// Connections whose peer left before the answer, with or without a request. Counted at their
    /// end.
    pub abandoned: u64,
    /// Ended connections, by *the WebSocket connection close code* (RFC 6455, section 7.1.5), which
    /// the peer has sent. Counted before [`Handler::on_close`](crate::Handler::on_close).
    pub closed: CloseCodeCounts,
    /// Ended connections, by the code that the server has sent.
    pub close_sent: CloseCodeCounts,
    /// Ended connections, by cause, including deadlines that have passed and peers that were too
    /// slow.
    pub ended: EndCounts,
    /// Messages and their payload bytes, in both directions. Counted at the end of the turn that
    /// received or queued them.
    pub traffic: Stats,
    /// Messages that permessage-deflate has compressed or inflated, and their bytes; all 0 without
    /// the feature `deflate`. Messages sent uncompressed: `traffic.messages_sent` less
    /// `compression.messages_sent`.
    pub compression: CompressionStats,
}

impl Counts {
    /// Connections that are open now: opened, and not closed yet.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed.total())
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, other: &Counts) {
        self.opened = self.opened.wrapping_add(other.opened);
        self.answered = self.answered.wrapping_add(other.answered);
        self.refused += other.refused;
        self.abandoned = self.abandoned.wrapping_add(other.abandoned);
        self.closed += other.closed;
        self.close_sent += other.close_sent;
        self.ended += other.ended;
        let (traffic, more) = (&mut self.traffic, &other.traffic);
        traffic.messages_received = traffic.messages_received.wrapping_add(more.messages_received);
        traffic.bytes_received = traffic.bytes_received.wrapping_add(more.bytes_received);
        traffic.messages_sent = traffic.messages_sent.wrapping_add(more.messages_sent);
        traffic.bytes_sent = traffic.bytes_sent.wrapping_add(more.bytes_sent);
        self.compression.add(&other.compression);
    }
}

/// Defines a public table of labelled counts, and the counters behind it.
macro_rules! table {
    (
        $(#[$docs:meta])*
        $table:ident, $counters:ident { $($(#[$field_docs:meta])* $field:ident = $label:literal,)* }
    ) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $table {
            $($(#[$field_docs])* pub $field: u64,)*
        }

        impl $table {
            /// Every count with its label, in the order of the fields: for a metric with labels.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$(($label, self.$field)),*].into_iter()
            }

            /// The sum of all counts.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.iter().fold(0, |sum, (_, count)| sum.wrapping_add(count))
            }
        }

        impl AddAssign for $table {
            fn add_assign(&mut self, other: $table) {
                $(self.$field = self.$field.wrapping_add(other.$field);)*
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $($field: Count,)*
        }

        impl $counters {
            fn read(&self) -> $table {
                $table { $($field: self.$field.get(),)* }
            }
        }
    };
}

table! {
    /// Refused requests and connections, by reason.
    RefusedCounts, RefusedCounters {
        /// 400, 405, 417, 501, 505: the request breaks a rule of HTTP or of the opening handshake
        /// (RFC 6455, section 4.2.1).
        bad_request = "bad_request",
        /// 414, 431: the head exceeds [`HeadLimits`](crate::HeadLimits).
        head_too_large = "head_too_large",
        /// 426, 400: not version 13 of the protocol (RFC 6455, section 4.4).
        version = "version",
        /// 403: the origin is not allowed
        /// ([`Options::allowed_origins`](crate::Options::allowed_origins)).
        origin = "origin",
        /// 421: the host is not served ([`Options::allowed_hosts`](crate::Options::allowed_hosts)).
        host = "host",
        /// 404: there is no route for the path.
        not_found = "not_found",
        /// 503: [`ServerLimits::max_connections`](crate::ServerLimits::max_connections) are open.
        max_connections = "max_connections",
        /// 503:
        /// [`ServerLimits::max_connections_per_ip`](crate::ServerLimits::max_connections_per_ip)
        /// are open from the peer's address.
        max_connections_per_ip = "max_connections_per_ip",
        /// No answer: a connection to an endpoint with the
        /// [PROXY protocol](crate::Endpoint::with_proxy_protocol) was not from a trusted proxy, or
        /// did not begin with a correct header.
        proxy = "proxy",
        /// 400 without TLS: HTTP without TLS arrived at an endpoint with
        /// TLS (`Endpoint::with_tls`).
        plain_http = "plain_http",
        /// An alert, or no answer: the TLS handshake failed, or the client refused the server's
        /// certificate.
        tls = "tls",
        /// 503: all connections together hold
        /// [`ServerLimits::memory`](crate::ServerLimits::memory).
        memory = "memory",
        /// 503, or no answer if no PROXY protocol header had arrived or the TLS handshake was not
        /// completed in time: the server is stopping.
        draining = "draining",
        /// 408, or no answer if no PROXY protocol header had arrived or the TLS handshake was not
        /// complete: the request was not complete
        /// within [`ServerLimits::handshake_timeout`](crate::ServerLimits::handshake_timeout).
        timeout = "timeout",
        /// 503: the decision was deferred, and not made within that time.
        decision_timeout = "decision_timeout",
        /// The handler answered an opening handshake with a response, or an ordinary request with a
        /// status of 400 or more.
        application = "application",
        /// 500: the handler panicked, accepted a request that cannot be accepted, dropped a
        /// deferred decision, or answered with this status.
        internal = "internal",
    }
}

table! {
    /// Ended connections, by the code of a Close frame (RFC 6455, section 7.4).
    CloseCodeCounts, CloseCodeCounters {
        /// 1000: the purpose of the connection is fulfilled.
        normal = "1000",
        /// 1001: the server stops, or the browser has left the page.
        going_away = "1001",
        /// 1002: a rule of the protocol was broken.
        protocol_error = "1002",
        /// 1003: a type of data that the endpoint cannot accept.
        unsupported_data = "1003",
        /// 1005: a Close frame without a code.
        no_code = "1005",
        /// 1006: no Close frame.
        no_close_frame = "1006",
        /// 1007: data that is not consistent with its type.
        invalid_data = "1007",
        /// 1008: a message that breaks a policy.
        policy_violation = "1008",
        /// 1009: a message that is too big.
        too_big = "1009",
        /// 1010: an extension is missing.
        missing_extension = "1010",
        /// 1011: an unexpected condition.
        internal_error = "1011",
        /// 1012: the service restarts.
        service_restart = "1012",
        /// 1013: try again later.
        try_again_later = "1013",
        /// 1014: a gateway got an invalid answer.
        bad_gateway = "1014",
        /// 3000 to 3999: codes that libraries have registered.
        registered = "3xxx",
        /// 4000 to 4999: codes that are the application's own.
        private = "4xxx",
    }
}

impl CloseCodeCounters {
    fn of(&self, code: u16) -> &Count {
        match code {
            1000 => &self.normal,
            1001 => &self.going_away,
            1002 => &self.protocol_error,
            1003 => &self.unsupported_data,
            1005 => &self.no_code,
            1007 => &self.invalid_data,
            1008 => &self.policy_violation,
            1009 => &self.too_big,
            1010 => &self.missing_extension,
            1011 => &self.internal_error,
            1012 => &self.service_restart,
            1013 => &self.try_again_later,
            1014 => &self.bad_gateway,
            3000..=3999 => &self.registered,
            4000..=4999 => &self.private,
            // No other code travels.
            _ => &self.no_close_frame,
        }
    }
}

table! {
    /// Ended connections, by cause.
    EndCounts, EndCounters {
        /// A completed closing handshake.
        clean = "clean",
        /// The peer broke a rule of the protocol ([`Error::Peer`]).
        protocol_error = "protocol_error",
        /// The peer went over a limit of [`Config`](crate::Config) ([`Error::Limit`]).
        limit = "limit",
        /// There was no memory left for the connection: [`LimitExceeded::Memory`],
        /// [`LimitExceeded::DeflateMemory`].
        memory = "memory",
        /// [`Config::idle_timeout`](crate::Config::idle_timeout) has passed.
        idle_timeout = "idle_timeout",
        /// [`Config::keep_alive_timeout`](crate::Config::keep_alive_timeout) has passed.
        keep_alive_timeout = "keep_alive_timeout",
        /// [`Config::message_timeout`](crate::Config::message_timeout) has passed.
        message_timeout = "message_timeout",
        /// [`Config::write_timeout`](crate::Config::write_timeout) has passed: a slow peer was
        /// dropped.
        write_timeout = "write_timeout",
        /// [`Config::close_timeout`](crate::Config::close_timeout) has passed without the peer's
        /// Close frame.
        close_timeout = "close_timeout",
        /// [`ServerLimits::handshake_timeout`](crate::ServerLimits::handshake_timeout) has passed
        /// before the peer had taken the whole 101.
        handshake_timeout = "handshake_timeout",
        /// The transport has ended without a Close frame of the peer ([`Error::TransportLost`]).
        transport_lost = "transport_lost",
        /// The application has failed the connection, or has panicked ([`Error::Failed`]).
        failed = "failed",
        /// The application dropped the connection, or the server did when the time to stop was over
        /// ([`Error::Aborted`]).
        aborted = "aborted",
        /// A cause that has no count of its own yet.
        other = "other",
    }
}

impl EndCounters {
    fn of(&self, cause: Option<&Error>) -> &Count {
        match cause {
            None => &self.clean,
            Some(Error::Peer(_)) => &self.protocol_error,
            Some(Error::Limit(LimitExceeded::Memory | LimitExceeded::DeflateMemory)) => &self.memory,
            Some(Error::Limit(_)) => &self.limit,
            Some(Error::Timeout(Timeout::Idle)) => &self.idle_timeout,
            Some(Error::Timeout(Timeout::KeepAlive)) => &self.keep_alive_timeout,
            Some(Error::Timeout(Timeout::Message)) => &self.message_timeout,
            Some(Error::Timeout(Timeout::Write)) => &self.write_timeout,
            Some(Error::Timeout(Timeout::Close)) => &self.close_timeout,
            Some(Error::TransportLost) => &self.transport_lost,
            Some(Error::Failed(_)) => &self.failed,
            Some(Error::Aborted) => &self.aborted,
            Some(_) => &self.other,
        }
    }
}

/// A count that one thread writes, and every thread may read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds `more`, on the thread of the event loop that owns the counter. If two threads added at
    /// a time, one addition would be lost.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Selects the counter of an answered request.
pub(crate) type Outcome = fn(&RouteCounters) -> &Count;

/// The counters of one event loop for one route. No two of them share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct RouteCounters {
    traffic: TrafficCounters,
    compression: CompressionCounters,
    opened: Count,
    answered: Count,
    refused: RefusedCounters,
    pub(crate) abandoned: Count,
    closed: CloseCodeCounters,
    close_sent: CloseCodeCounters,
    ended: EndCounters,
}

#[derive(Debug, Default)]
struct TrafficCounters {
    messages_received: Count,
    bytes_received: Count,
    messages_sent: Count,
    bytes_sent: Count,
}

#[derive(Debug, Default)]
struct CompressionCounters {
    messages_received: Count,
    bytes_received: Count,
    compressed_bytes_received: Count,
    messages_sent: Count,
    bytes_sent: Count,
    compressed_bytes_sent: Count,
}

impl RouteCounters {
    fn read(&self) -> Counts {
        // Closed connections are read before opened ones: at worst, one too many is counted as
        // open.
        let (closed, close_sent, ended) = (self.closed.read(), self.close_sent.read(), self.ended.read());
        let (mut traffic, from) = (Stats::default(), &self.traffic);
        traffic.messages_received = from.messages_received.get();
        traffic.bytes_received = from.bytes_received.get();
        traffic.messages_sent = from.messages_sent.get();
        traffic.bytes_sent = from.bytes_sent.get();
        let (mut compression, from) = (CompressionStats::default(), &self.compression);
        compression.messages_received = from.messages_received.get();
        compression.bytes_received = from.bytes_received.get();
        compression.compressed_bytes_received = from.compressed_bytes_received.get();
        compression.messages_sent = from.messages_sent.get();
        compression.bytes_sent = from.bytes_sent.get();
        compression.compressed_bytes_sent = from.compressed_bytes_sent.get();
        Counts {
            opened: self.opened.get(),
            answered: self.answered.get(),
            refused: self.refused.read(),
            abandoned: self.abandoned.get(),
            closed,
            close_sent,
            ended,
            traffic,
            compression,
        }
    }

    /// Counts the traffic of a turn, during which a connection's own counts changed from `before`
    /// to `after`.
    #[inline]
    pub(crate) fn note_traffic(&self, before: &Stats, after: &Stats) {
        let TrafficCounters { messages_received, bytes_received, messages_sent, bytes_sent } = &self.traffic;
        messages_received.add(after.messages_received.wrapping_sub(before.messages_received));
        bytes_received.add(after.bytes_received.wrapping_sub(before.bytes_received));
        messages_sent.add(after.messages_sent.wrapping_sub(before.messages_sent));
        bytes_sent.add(after.bytes_sent.wrapping_sub(before.bytes_sent));
    }

    /// Counts messages that were queued outside a turn, and the bytes of their payloads.
    #[inline]
    pub(crate) fn note_sent(&self, messages: usize, octets: u64) {
        self.traffic.messages_sent.add(messages as u64);
        self.traffic.bytes_sent.add(octets);
    }

    /// Counts the messages that a turn has compressed and inflated.
    pub(crate) fn note_compression(&self, more: &CompressionStats) {
        let counters = &self.compression;
        counters.messages_received.add(more.messages_received);
        counters.bytes_received.add(more.bytes_received);
        counters.compressed_bytes_received.add(more.compressed_bytes_received);
        counters.messages_sent.add(more.messages_sent);
        counters.bytes_sent.add(more.bytes_sent);
        counters.compressed_bytes_sent.add(more.compressed_bytes_sent);
    }

    /// Counts an ended connection.
    pub(crate) fn note_closed(&self, closure: &Closure) {
        self.closed.of(code(closure.received.as_ref())).add(1);
        self.close_sent.of(code(closure.sent.as_ref())).add(1);
        self.ended.of(closure.cause.as_ref()).add(1);
    }

    /// Counts an accepted handshake whose peer left before it had the whole 101, or had not taken
    /// it when the deadline passed.
    pub(crate) fn note_cut(&self, by_deadline: bool) {
        self.closed.no_close_frame.add(1);
        self.close_sent.no_close_frame.add(1);
        if by_deadline { &self.ended.handshake_timeout } else { &self.ended.transport_lost }.add(1);
    }
}

/// The code of a Close frame; 1005 for a frame without a code, 1006 without a frame (RFC 6455,
/// section 7.1.5).
fn code(frame: Option<&CloseFrame>) -> u16 {
    frame.map_or(1006, |frame| frame.code.map_or(1005, CloseCode::get))
}

/// An opening handshake was accepted.
pub(crate) const OPENED: Outcome = |counters| &counters.opened;
/// The limit on connections is reached.
pub(crate) const MAX_CONNECTIONS: Outcome = |counters| &counters.refused.max_connections;
/// The limit on connections from the peer's address is reached.
pub(crate) const MAX_CONNECTIONS_PER_IP: Outcome = |counters| &counters.refused.max_connections_per_ip;

/// The connection does not begin as the PROXY protocol requires.
pub(crate) const PROXY: Outcome = |counters| &counters.refused.proxy;

/// HTTP without TLS arrived where TLS is spoken.
#[cfg(feature = "tls")]
pub(crate) const PLAIN_HTTP: Outcome = |counters| &counters.refused.plain_http;
/// The TLS handshake failed.
pub(crate) const TLS: Outcome = |counters| &counters.refused.tls;

/// The received request is malformed.
pub(crate) const BAD_REQUEST: Outcome = |counters| &counters.refused.bad_request;

/// The counter of this refusal.
pub(crate) fn refused_for(refusal: &Refusal) -> Outcome {
    match refusal {
        Refusal::RequestLineTooLong { .. } | Refusal::HeadTooLong { .. } | Refusal::TooManyFields { .. } => {
            |counters| &counters.refused.head_too_large
        }
        Refusal::UnsupportedVersion | Refusal::MissingVersion | Refusal::RepeatedVersion => {
            |counters| &counters.refused.version
        }
        Refusal::OriginNotAllowed => |counters| &counters.refused.origin,
        Refusal::HostNotAllowed => |counters| &counters.refused.host,
        Refusal::NotFound => |counters| &counters.refused.not_found,
        Refusal::TooManyConnections { .. } => MAX_CONNECTIONS,
        Refusal::NoMemory { .. } => |counters| &counters.refused.memory,
        Refusal::Draining { .. } => |counters| &counters.refused.draining,
        Refusal::HandshakeTimeout => |counters| &counters.refused.timeout,
        Refusal::DecisionTimeout => |counters| &counters.refused.decision_timeout,
        Refusal::Internal => |counters| &counters.refused.internal,
        _ => BAD_REQUEST,
    }
}

/// The counter of the handler's own answer to an opening handshake or to an ordinary request.
pub(crate) fn answered_with(status: StatusCode, is_handshake: bool) -> Outcome {
    match status.as_u16() {
        500 => |counters| &counters.refused.internal,
        400.. => |counters| &counters.refused.application,
        _ if is_handshake => |counters| &counters.refused.application,
        _ => |counters| &counters.answered,
    }
}

/// The counters of one event loop.
#[derive(Debug)]
pub(crate) struct LoopCounters {
    /// Connections that the loop has accepted from the system.
    pub(crate) accepted: Count,
    /// Counts of connections that reached no route.
    elsewhere: RouteCounters,
    routes: Box<[RouteCounters]>,
}

impl LoopCounters {
    /// The counters of the route with this index.
    #[inline]
    pub(crate) fn route(&self, route: usize) -> &RouteCounters {
        &self.routes[route]
    }

    /// The counters of a route; with `None`, of connections that reached no route.
    pub(crate) fn of(&self, route: Option<usize>) -> &RouteCounters {
        route.map_or(&self.elsewhere, |route| self.route(route))
    }
}

/// The counters of all event loops of a server.
#[derive(Debug)]
pub(crate) struct ServerCounters {
    routes: usize,
    /// The counters of each loop that runs or has run.
    loops: Mutex<Vec<Arc<LoopCounters>>>,
}

impl ServerCounters {
    pub(crate) fn new(routes: usize) -> ServerCounters {
        ServerCounters { routes, loops: Mutex::default() }
    }

    /// Adds the counters of another loop.
    pub(crate) fn add_loop(&self) -> Arc<LoopCounters> {
        let counters = Arc::new(LoopCounters {
            accepted: Count::default(),
            elsewhere: RouteCounters::default(),
            routes: (0..self.routes).map(|_| RouteCounters::default()).collect(),
        });
        lock(&self.loops).push(Arc::clone(&counters));
        counters
    }

    /// Connections accepted from the system.
    pub(crate) fn accepted(&self) -> u64 {
        let loops = lock(&self.loops);
        loops.iter().fold(0, |sum, counters| sum.wrapping_add(counters.accepted.get()))
    }

    /// The counts of all loops for a route; with `None`, of connections that reached no route.
    pub(crate) fn of(&self, route: Option<usize>) -> Counts {
        let mut counts = Counts::default();
        lock(&self.loops).iter().for_each(|counters| counts += &counters.of(route).read());
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Counts once, and returns the label of the count that grew.
    fn label(outcome: Outcome) -> Option<&'static str> {
        let counters = RouteCounters::default();
        outcome(&counters).add(1);
        let counts = counters.read();
        let counted = counts.opened + counts.answered + counts.refused.total() + counts.abandoned;
        assert_eq!(counted, 1, "once");
        counts.refused.iter().find(|(_, count)| *count == 1).map(|(label, _)| label)
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let retry_after = Duration::ZERO;
        for (refusal, reason) in [
            (Refusal::InvalidMethod, "bad_request"),
            (Refusal::MissingHost, "bad_request"),
            (Refusal::MethodNotAllowed { allow: "GET" }, "bad_request"),
            (Refusal::HttpVersionNotSupported, "bad_request"),
            (Refusal::RequestLineTooLong { limit: 1 }, "head_too_large"),
            (Refusal::HeadTooLong { limit: 1 }, "head_too_large"),
            (Refusal::TooManyFields { limit: 1 }, "head_too_large"),
            (Refusal::UnsupportedVersion, "version"),
            (Refusal::MissingVersion, "version"),
            (Refusal::OriginNotAllowed, "origin"),
            (Refusal::HostNotAllowed, "host"),
            (Refusal::NotFound, "not_found"),
            (Refusal::TooManyConnections { retry_after }, "max_connections"),
            (Refusal::NoMemory { retry_after }, "memory"),
            (Refusal::Draining { retry_after }, "draining"),
            (Refusal::HandshakeTimeout, "timeout"),
            (Refusal::DecisionTimeout, "decision_timeout"),
            (Refusal::Internal, "internal"),
        ] {
            assert_eq!(label(refused_for(&refusal)), Some(reason), "{refusal:?}");
        }
        assert_eq!(label(MAX_CONNECTIONS_PER_IP), Some("max_connections_per_ip"));
        for (status, is_handshake, reason) in [
            (200, false, None),
            (304, false, None),
            (404, false, Some("application")),
            (401, true, Some("application")),
            (200, true, Some("application")),
            (500, false, Some("internal")),
            (500, true, Some("internal")),
            (503, true, Some("application")),
        ] {
            let status = StatusCode::new(status).expect("a status");
            assert_eq!(label(answered_with(status, is_handshake)), reason, "{status}");
        }
    }

    #[test]
    fn every_code_that_may_travel_is_counted_and_so_is_none() {
        let counters = CloseCodeCounters::default();
        let mut counted = 0;
        for code in (0..=u16::MAX).filter(|&code| CloseCode::new(code).is_some()) {
            let before = counters.read();
            counters.of(code).add(1);
            counted += 1;
            let label = match code {
                3000..=3999 => "3xxx".to_owned(),
                4000..=4999 => "4xxx".to_owned(),
                code => code.to_string(),
            };
            let grown = counters.read().iter().zip(before.iter()).filter(|(after, before)| after != before);
            assert_eq!(grown.map(|((label, _), _)| label).collect::<Vec<_>>(), [label]);
        }
        assert_eq!(counters.read().total(), counted);
        for (frame, label) in [(None, "1006"), (Some(CloseFrame::default()), "1005")] {
            let counters = CloseCodeCounters::default();
            counters.of(code(frame.as_ref())).add(1);
            assert!(counters.read().iter().all(|(found, count)| (count == 1) == (found == label)));
        }
    }

    #[test]
    fn every_cause_of_an_end_is_counted() {
        use framewright::PeerMisbehaved;
        for (cause, label) in [
            (None, "clean"),
            (Some(Error::Peer(PeerMisbehaved::InvalidUtf8)), "protocol_error"),
            (Some(Error::Limit(LimitExceeded::SmallFrames { limit: 1 })), "limit"),
            (Some(Error::Limit(LimitExceeded::Memory)), "memory"),
            (Some(Error::Limit(LimitExceeded::DeflateMemory)), "memory"),
            (Some(Error::Timeout(Timeout::Idle)), "idle_timeout"),
            (Some(Error::Timeout(Timeout::KeepAlive)), "keep_alive_timeout"),
            (Some(Error::Timeout(Timeout::Message)), "message_timeout"),
            (Some(Error::Timeout(Timeout::Write)), "write_timeout"),
            (Some(Error::Timeout(Timeout::Close)), "close_timeout"),
            (Some(Error::TransportLost), "transport_lost"),
            (Some(Error::Failed(CloseCode::NORMAL)), "failed"),
            (Some(Error::Aborted), "aborted"),
        ] {
            let counters = EndCounters::default();
            counters.of(cause.as_ref()).add(1);
            assert!(
                counters.read().iter().all(|(found, count)| (count == 1) == (found == label)),
                "{cause:?}"
            );
        }
    }

    #[test]
    fn the_counters_of_all_loops_are_one_sum_and_no_two_share_a_cache_line() {
        let server = ServerCounters::new(2);
        let loops = [server.add_loop(), server.add_loop()];
        for (more, counters) in (1..).zip(&loops) {
            counters.accepted.add(10 * more);
            counters.route(1).opened.add(100 * more);
            counters.of(None).abandoned.add(more);
            let (before, mut after) = (Stats::default(), Stats::default());
            (after.messages_received, after.bytes_sent) = (more, 7 * more);
            counters.route(0).note_traffic(&before, &after);
            let route: *const RouteCounters = counters.route(1);
            assert_eq!(route.addr() % 64, 0);
        }
        assert_eq!(server.accepted(), 30);
        assert_eq!((server.of(Some(1)).opened, server.of(None).abandoned), (300, 3));
        let traffic = server.of(Some(0)).traffic;
        assert_eq!((traffic.messages_received, traffic.bytes_sent), (3, 21));
        assert_eq!(server.of(Some(1)).open(), 300);
    }
}
