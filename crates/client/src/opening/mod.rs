//! From a request to an open connection, in an event loop: the sockets and the names for
//! [`framewright_driver::opening`], which does the rest.

mod resolve;
mod sockets;
#[cfg(test)]
mod tests;

use crate::stream::ClientStream;
use crate::{ConnectError, Options};
use framewright::handshake::ClientRequest;
use framewright_driver::opening;
#[cfg(unix)]
use framewright_driver::opening::Over;
use mio::net::TcpStream;
use mio::{Registry, Token};
use resolve::Lookup;
use sockets::{Loop, Wakers};
use std::sync::Arc;
use std::time::Instant;

/// A connection that is being opened. It uses one token for all its sockets. Dropping it gives up
/// the attempt, and leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Opening {
    /// To the host of a URI.
    Reaching(Box<Reaching>),
    /// Over a stream that the application supplied.
    #[cfg(unix)]
    Over(Box<Over<ClientStream>>),
}

/// The way to the host of a URI.
#[derive(Debug)]
pub(crate) struct Reaching {
    opening: opening::Opening<Lookup, TcpStream, ClientStream>,
    token: Token,
    wakers: Wakers,
}

/// A connection whose opening handshake is complete. Its stream is registered for reading and
/// writing.
pub(crate) type Opened = opening::Opened<ClientStream>;

impl Opening {
    /// Starts opening a connection. Sockets are registered with `registry` under `token`. Other
    /// threads wake `waker`, which has to belong to the same event loop.
    ///
    /// # Errors
    /// Errors that can be detected before connecting.
    pub(crate) fn start(
        request: ClientRequest,
        options: &Options,
        now: Instant,
        registry: &Registry,
        token: Token,
        waker: &Arc<mio::Waker>,
    ) -> Result<Opening, ConnectError> {
        let wakers = Wakers::new(waker);
        let mut network = Loop { registry, token, wakers: &wakers };
        let opening = opening::Opening::start(request, options.into(), now, &mut network)?;
        Ok(Opening::Reaching(Box::new(Reaching { opening, token, wakers })))
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
        Ok(Opening::Over(Box::new(Over::start(stream, request, options.into(), now)?)))
    }

    /// Does everything that can be done now. To be called after each event of the token or of the
    /// waker, and at the [`deadline`](Self::deadline).
    ///
    /// After an `Opened` or an error nothing is left to do, and nothing is registered but the
    /// socket returned.
    pub(crate) fn turn(&mut self, now: Instant, registry: &Registry) -> Result<Option<Opened>, ConnectError> {
        match self {
            Opening::Reaching(reaching) => {
                let Reaching { opening, token, wakers } = &mut **reaching;
                opening.turn(now, &mut Loop { registry, token: *token, wakers })
            }
            #[cfg(unix)]
            Opening::Over(over) => over.turn(now),
        }
    }

    /// When to call [`turn`](Self::turn) if no event arrives before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Opening::Reaching(reaching) => reaching.opening.deadline(),
            #[cfg(unix)]
            Opening::Over(over) => over.deadline(),
        }
    }
}
