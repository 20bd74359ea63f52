//! From a request to an open connection: addresses, TCP, a proxy's tunnel, TLS, the opening
//! handshake, redirects.
//!
//! An [`Opening`] is driven by an event loop and never blocks. It uses one token for all its
//! sockets.
//!
//! ```text
//!   start ──> Connecting ──────────────> Exchange ──────────> Opened
//!             (connecting.rs:            (exchange.rs:  │
//!              the name, the race,        the tunnel,   └───> ConnectError
//!              the gate)                  TLS, the answer)
//!                 ^                          │
//!                 └────── a redirect ────────┘
//! ```

mod connecting;
pub(crate) mod exchange;
mod gate;
mod no_proxy;
pub(crate) mod proxy;
mod race;
mod resolve;
#[cfg(test)]
mod tests;

use crate::stream::ClientStream;
use crate::{ConnectError, Options};
#[cfg(unix)]
use connecting::Connected;
use connecting::Connecting;
use exchange::{Exchange, ExchangeTurn, Hop, Opened};
use framewright::handshake::{ClientRequest, WsUri};
use mio::{Registry, Token, Waker};
use std::mem;
use std::sync::Arc;
use std::time::Instant;

/// A connection that is being opened. Dropping it gives up the attempt, and leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Opening {
    request: ClientRequest,
    options: Arc<Options>,
    token: Token,
    /// `None` for a stream that the application supplied: no redirect is followed then.
    waker: Option<Arc<Waker>>,
    /// The URI of the first request, to which `Options::addresses` belong.
    origin: WsUri,
    /// How many redirects were followed.
    redirects: u8,
    phase: OpeningPhase,
}

#[derive(Debug)]
enum OpeningPhase {
    Connecting(Box<Connecting>),
    Exchange(Box<Exchange>),
    /// The result was returned.
    Ended,
}

impl Opening {
    /// Starts opening a connection. Sockets are registered with `registry` under `token`. Other
    /// threads wake `waker`, which has to belong to the same event loop.
    ///
    /// # Errors
    /// Errors that can be detected before connecting.
    pub(crate) fn start(
        request: ClientRequest,
        options: Arc<Options>,
        now: Instant,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
    ) -> Result<Opening, ConnectError> {
        let request = with_offers(request, &options);
        let origin = request.uri().clone();
        let waker = Some(Arc::clone(waker));
        let mut opening =
            Opening { request, options, token, waker, origin, redirects: 0, phase: OpeningPhase::Ended };
        opening.connect(now)?;
        // The first attempts: from here on there are events.
        opening.exchange(now, registry)?;
        Ok(opening)
    }

    /// Starts over a stream that already leads to the server, and registers it. No proxy is asked,
    /// and no redirect followed. For a `wss:` URI the stream carries TLS, unless the settings say
    /// that it does so itself.
    ///
    /// # Errors
    /// If the system cannot wait for the stream, or if TLS cannot be set up.
    #[cfg(unix)]
    pub(crate) fn over(
        mut stream: ClientStream,
        request: ClientRequest,
        options: &Options,
        now: Instant,
        registry: &Registry,
        token: Token,
    ) -> Result<Opening, ConnectError> {
        stream.register(registry, token).map_err(ConnectError::Io)?;
        let options = Arc::new(Options { proxy: None, redirects: 0, ..options.clone() });
        let request = with_offers(request, &options);
        let origin = request.uri().clone();
        let phase = OpeningPhase::Ended;
        let mut opening = Opening { request, options, token, waker: None, origin, redirects: 0, phase };
        let exchange = Exchange::start(Connected { stream, ticket: None }, opening.hop(), now)?;
        opening.phase = OpeningPhase::Exchange(Box::new(exchange));
        Ok(opening)
    }

    /// Does everything that can be done now. To be called after each event of the token or of the
    /// waker, and at the [`deadline`](Self::deadline).
    ///
    /// After an `Opened` or an error nothing is left to do, and nothing is registered but the
    /// socket returned.
    pub(crate) fn turn(&mut self, now: Instant, registry: &Registry) -> Result<Option<Opened>, ConnectError> {
        let result = self.advance(now, registry);
        if !matches!(result, Ok(None)) {
            self.phase = OpeningPhase::Ended;
        }
        result
    }

    /// When to call [`turn`](Self::turn) if no event arrives before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            OpeningPhase::Connecting(connecting) => connecting.deadline(),
            OpeningPhase::Exchange(exchange) => exchange.deadline(),
            OpeningPhase::Ended => None,
        }
    }

    fn advance(&mut self, now: Instant, registry: &Registry) -> Result<Option<Opened>, ConnectError> {
        loop {
            self.exchange(now, registry)?;
            let exchange = match mem::replace(&mut self.phase, OpeningPhase::Ended) {
                OpeningPhase::Exchange(exchange) => exchange,
                phase => {
                    self.phase = phase;
                    return Ok(None);
                }
            };
            match exchange.turn(now, self.hop())? {
                ExchangeTurn::Wait(exchange) => {
                    self.phase = OpeningPhase::Exchange(exchange);
                    return Ok(None);
                }
                ExchangeTurn::Open(opened) => return Ok(Some(*opened)),
                ExchangeTurn::Redirect(request) => {
                    self.request = request;
                    self.redirects += 1;
                    self.connect(now)?;
                }
            }
        }
    }

    /// Begins to connect to the host of the request.
    fn connect(&mut self, now: Instant) -> Result<(), ConnectError> {
        self.check_tls()?;
        let pinned = self.options.proxy.is_some() || self.is_at_origin();
        let addresses = self.options.addresses.as_ref().filter(|_| pinned).cloned();
        let waker = self.waker.as_ref().expect("whoever has none follows no redirects");
        let connecting = Connecting::start(self.request.uri(), &self.options, addresses, now, waker);
        self.phase = OpeningPhase::Connecting(Box::new(connecting));
        Ok(())
    }

    /// Checks that TLS can be set up where it is needed, before anybody is connected to.
    fn check_tls(&self) -> Result<(), ConnectError> {
        let hop = self.hop();
        if let Some(proxy) = &self.options.proxy
            && proxy.place().is_secure()
        {
            let (tls, with) = hop.tls_with_proxy(proxy);
            let checked = ClientStream::check_tls(tls, with, proxy.place());
            checked.map_err(|error| ConnectError::Proxy(Box::new(error)))?;
        }
        let uri = self.request.uri();
        if uri.is_secure() {
            ClientStream::check_tls(&self.options.tls, hop.tls_with_server(), uri)
        } else {
            Ok(())
        }
    }

    /// Whether no redirect has led to another origin.
    fn is_at_origin(&self) -> bool {
        self.request.uri().is_same_origin(&self.origin)
    }

    /// Continues with the opening handshake once there is a connection.
    fn exchange(&mut self, now: Instant, registry: &Registry) -> Result<(), ConnectError> {
        let (OpeningPhase::Connecting(connecting), Some(waker)) = (&mut self.phase, &self.waker) else {
            return Ok(());
        };
        let connected = connecting.turn(now, registry, self.token, waker);
        if let Some(connected) = connected.map_err(|error| self.on_the_way(error))? {
            self.phase = OpeningPhase::Exchange(Box::new(Exchange::start(connected, self.hop(), now)?));
        }
        Ok(())
    }

    /// Attributes an error of connecting to the proxy, if there is one.
    fn on_the_way(&self, error: ConnectError) -> ConnectError {
        // The wait for a turn took place at this end.
        let is_proxys = self.options.proxy.is_some() && !matches!(error, ConnectError::TurnTimeout);
        if is_proxys { ConnectError::Proxy(Box::new(error)) } else { error }
    }

    fn hop(&self) -> Hop<'_> {
        Hop {
            request: &self.request,
            options: &self.options,
            may_redirect: self.redirects < self.options.redirects,
            is_at_origin: self.is_at_origin(),
            is_brought: self.waker.is_none(),
        }
    }
}

/// Adds the offers of the options to a request that has none itself.
fn with_offers(request: ClientRequest, options: &Options) -> ClientRequest {
    #[cfg(feature = "deflate")]
    if request.offers().is_empty() {
        return options.compression.iter().fold(request, |request, &offer| request.with_deflate(offer));
    }
    #[cfg(not(feature = "deflate"))]
    let _ = options;
    request
}
