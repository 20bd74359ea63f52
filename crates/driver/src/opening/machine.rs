//! An opening as a whole: connects, asks, and begins anew after a redirect.

use super::connecting::{Connected, Connecting};
use super::error::ConnectError;
use super::exchange::{Exchange, ExchangeTurn, Hop, Opened, check_tls};
use super::network::{Network, Stream};
use super::settings::Settings;
use super::tls::Peer;
use framewright::handshake::{ClientRequest, WsUri};
use std::mem;
use std::time::Instant;

/// A connection that is being opened, with the lookups `L`, attempts `A` and streams `S` of a
/// [`Network`]. Dropping it gives up the attempt, and leaves nothing behind.
#[derive(Debug)]
pub struct Opening<L, A, S> {
    request: ClientRequest,
    settings: Settings,
    /// The URI of the first request, to which `Settings::addresses` belong.
    origin: WsUri,
    /// How many redirects were followed.
    redirects: u8,
    phase: Phase<L, A, S>,
}

#[derive(Debug)]
enum Phase<L, A, S> {
    Connecting(Box<Connecting<L, A>>),
    Exchange(Box<Exchange<S>>),
    /// The result was returned.
    Ended,
}

/// How far an opening is: for tests and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The name is resolved, or a turn at the gate awaited, or a connection.
    Connecting,
    /// There is a connection, on which the proxy or the server is asked.
    #[non_exhaustive]
    Exchange {
        /// Whether the request was written, which is the one for a tunnel while the client talks to a
        /// proxy.
        has_asked: bool,
        /// True once the client talks to the server, and not, or no longer, to the proxy.
        is_with_server: bool,
        /// The number of bytes received of the response's head.
        received: usize,
        /// Whether the body of a refusal is being read.
        reads_refusal: bool,
    },
    /// The result was returned.
    Ended,
}

impl<L, A, S: Stream> Opening<L, A, S> {
    /// Starts opening a connection: the first lookup or the first attempt is under way then.
    ///
    /// # Errors
    /// Errors that can be detected before connecting.
    pub fn start<N>(
        request: ClientRequest,
        settings: Settings,
        now: Instant,
        network: &mut N,
    ) -> Result<Self, ConnectError>
    where
        N: Network<Lookup = L, Attempt = A, Stream = S>,
    {
        let request = with_offers(request, &settings);
        let origin = request.uri().clone();
        let mut opening = Opening { request, settings, origin, redirects: 0, phase: Phase::Ended };
        opening.connect(now, network)?;
        // The first attempts: from here on there are events.
        opening.exchange(now, network)?;
        Ok(opening)
    }

    /// Does everything that can be done now. To be called after each event that the network has
    /// announced, and at the [`deadline`](Self::deadline).
    ///
    /// # Errors
    /// The error with which the opening has ended. After it, or an `Opened`, nothing is left to do.
    pub fn turn<N>(&mut self, now: Instant, network: &mut N) -> Result<Option<Opened<S>>, ConnectError>
    where
        N: Network<Lookup = L, Attempt = A, Stream = S>,
    {
        let result = self.advance(now, network);
        if !matches!(result, Ok(None)) {
            self.phase = Phase::Ended;
        }
        result
    }

    /// When to call [`turn`](Self::turn) if no event arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting(connecting) => connecting.deadline(),
            Phase::Exchange(exchange) => exchange.deadline(),
            Phase::Ended => None,
        }
    }

    fn advance<N>(&mut self, now: Instant, network: &mut N) -> Result<Option<Opened<S>>, ConnectError>
    where
        N: Network<Lookup = L, Attempt = A, Stream = S>,
    {
        loop {
            self.exchange(now, network)?;
            let mut exchange = match mem::replace(&mut self.phase, Phase::Ended) {
                Phase::Exchange(exchange) => exchange,
                phase => {
                    self.phase = phase;
                    return Ok(None);
                }
            };
            network.attend(exchange.stream_mut());
            match exchange.turn(now, self.hop())? {
                ExchangeTurn::Wait(exchange) => {
                    self.phase = Phase::Exchange(exchange);
                    return Ok(None);
                }
                ExchangeTurn::Open(opened) => return Ok(Some(*opened)),
                ExchangeTurn::Redirect(request) => {
                    self.request = request;
                    self.redirects += 1;
                    self.connect(now, network)?;
                }
            }
        }
    }

    /// Begins to connect to the host of the request.
    fn connect<N>(&mut self, now: Instant, network: &mut N) -> Result<(), ConnectError>
    where
        N: Network<Lookup = L, Attempt = A, Stream = S>,
    {
        self.check_tls()?;
        let pinned = self.settings.proxy.is_some() || self.is_at_origin();
        let addresses = self.settings.addresses.as_ref().filter(|_| pinned).cloned();
        let connecting = Connecting::start(self.request.uri(), &self.settings, addresses, now, network);
        self.phase = Phase::Connecting(Box::new(connecting));
        Ok(())
    }

    /// Checks that TLS can be set up where it is needed, before anybody is connected to.
    fn check_tls(&self) -> Result<(), ConnectError> {
        let hop = self.hop();
        if let Some(proxy) = &self.settings.proxy
            && proxy.place().is_secure()
        {
            let (tls, with) = hop.tls_with_proxy(proxy);
            let checked = check_tls::<S>(tls, with, Peer::Proxy, proxy.place());
            checked.map_err(|error| ConnectError::Proxy(Box::new(error)))?;
        }
        let uri = self.request.uri();
        if uri.is_secure() {
            check_tls::<S>(&self.settings.tls, hop.tls_with_server(), Peer::Server, uri)
        } else {
            Ok(())
        }
    }

    /// Continues with the opening handshake once there is a connection.
    fn exchange<N>(&mut self, now: Instant, network: &mut N) -> Result<(), ConnectError>
    where
        N: Network<Lookup = L, Attempt = A, Stream = S>,
    {
        let Phase::Connecting(connecting) = &mut self.phase else { return Ok(()) };
        let connected = connecting.turn(now, network);
        if let Some(connected) = connected.map_err(|error| self.on_the_way(error))? {
            self.phase = Phase::Exchange(Box::new(Exchange::start(connected, self.hop(), now)?));
        }
        Ok(())
    }
}

impl<L, A, S> Opening<L, A, S> {
    /// Whether no redirect has led to another origin.
    fn is_at_origin(&self) -> bool {
        self.request.uri().is_same_origin(&self.origin)
    }

    /// Attributes an error of connecting to the proxy, if there is one.
    fn on_the_way(&self, error: ConnectError) -> ConnectError {
        // The wait for a turn took place at this end.
        let is_proxys = self.settings.proxy.is_some() && !matches!(error, ConnectError::TurnTimeout);
        if is_proxys { ConnectError::Proxy(Box::new(error)) } else { error }
    }

    fn hop(&self) -> Hop<'_> {
        Hop {
            request: &self.request,
            settings: &self.settings,
            may_redirect: self.redirects < self.settings.redirects,
            is_at_origin: self.is_at_origin(),
            is_brought: false,
        }
    }

    /// How far the opening is.
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Connecting(_) => Stage::Connecting,
            Phase::Exchange(exchange) => Stage::Exchange {
                has_asked: exchange.has_asked(),
                is_with_server: exchange.is_with_server(),
                received: exchange.received(),
                reads_refusal: exchange.reads_refusal(),
            },
            Phase::Ended => Stage::Ended,
        }
    }

    /// The connections that are being established.
    pub fn attempts(&self) -> impl Iterator<Item = &A> {
        let connecting = match &self.phase {
            Phase::Connecting(connecting) => Some(connecting),
            _ => None,
        };
        connecting.into_iter().flat_map(|connecting| connecting.attempts())
    }

    /// The connection on which the proxy or the server is asked.
    pub fn stream(&self) -> Option<&S> {
        match &self.phase {
            Phase::Exchange(exchange) => Some(exchange.stream()),
            _ => None,
        }
    }
}

/// An opening handshake over a stream that already leads to the server: no proxy is asked, and no
/// redirect followed. For a `wss:` URI the stream carries TLS, unless the settings say that it does
/// so itself.
#[derive(Debug)]
pub struct Over<S> {
    request: ClientRequest,
    settings: Settings,
    /// `None` once the result was returned.
    exchange: Option<Box<Exchange<S>>>,
}

impl<S: Stream> Over<S> {
    /// Starts over a stream.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn start(
        stream: S,
        request: ClientRequest,
        settings: Settings,
        now: Instant,
    ) -> Result<Self, ConnectError> {
        let settings = Settings { proxy: None, redirects: 0, ..settings };
        let request = with_offers(request, &settings);
        let mut over = Over { request, settings, exchange: None };
        let exchange = Exchange::start(Connected { stream, ticket: None }, over.hop(), now)?;
        over.exchange = Some(Box::new(exchange));
        Ok(over)
    }

    /// Does everything that can be done now. To be called when the stream may have become ready, and
    /// at the [`deadline`](Self::deadline).
    ///
    /// # Errors
    /// The error with which the opening has ended. After it, or an `Opened`, nothing is left to do.
    pub fn turn(&mut self, now: Instant) -> Result<Option<Opened<S>>, ConnectError> {
        let Some(exchange) = self.exchange.take() else { return Ok(None) };
        match exchange.turn(now, self.hop())? {
            ExchangeTurn::Wait(exchange) => {
                self.exchange = Some(exchange);
                Ok(None)
            }
            ExchangeTurn::Open(opened) => Ok(Some(*opened)),
            ExchangeTurn::Redirect(_) => unreachable!("none is followed"),
        }
    }

    /// When to call [`turn`](Self::turn) if the stream does not become ready before.
    pub fn deadline(&self) -> Option<Instant> {
        self.exchange.as_ref()?.deadline()
    }

    /// The stream; `None` once the result was returned.
    pub fn stream_mut(&mut self) -> Option<&mut S> {
        self.exchange.as_mut().map(|exchange| exchange.stream_mut())
    }

    fn hop(&self) -> Hop<'_> {
        Hop {
            request: &self.request,
            settings: &self.settings,
            may_redirect: false,
            is_at_origin: true,
            is_brought: true,
        }
    }
}

/// Adds the offers of the settings to a request that has none itself.
fn with_offers(request: ClientRequest, settings: &Settings) -> ClientRequest {
    #[cfg(feature = "deflate")]
    if request.offers().is_empty() {
        return settings.compression.iter().fold(request, |request, &offer| request.with_deflate(offer));
    }
    #[cfg(not(feature = "deflate"))]
    let _ = settings;
    request
}
