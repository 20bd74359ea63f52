//! Reads what a peer sends before its connection is open: a header of the PROXY protocol, and the
//! head of a request.

use super::{Opening, OpeningNext, OpeningStep};
use crate::context::LoopContext;
use crate::event_loop::limits::{Counted, Owner};
use crate::event_loop::slab::Key;
use crate::event_loop::stream::{PeerAddr, Stream};
use crate::proxies::proxy_header::{self, HeaderError, Source};
use crate::stats::PROXY;
#[cfg(feature = "tls")]
use crate::stats::{PLAIN_HTTP, TLS};
#[cfg(feature = "tls")]
use framewright::handshake::{Response, StatusCode};
#[cfg(feature = "tls")]
use framewright_driver::tls::Fault;
use framewright_driver::{Io, Ready, Transport as _};

/// The step by which the buffer grows for a head that arrives in pieces.
const HEAD_STEP: usize = 1 << 10;

/// The answer to HTTP without TLS.
#[cfg(feature = "tls")]
const SPEAKS_TLS: &str = "This port speaks TLS: use https:// or wss://\n";

impl Opening {
    /// Reads once, and processes the bytes received.
    pub(super) fn read(
        &mut self,
        stream: &mut Stream,
        key: Key,
        ready: &mut Ready,
        counted: &mut Option<Counted>,
        context: &mut LoopContext,
    ) -> Option<OpeningNext> {
        let borrowed = self.head.is_empty();
        let mut octets = std::mem::take(if borrowed { &mut context.scratch } else { &mut self.head });
        if octets.len() - self.len < HEAD_STEP / 2 && octets.len() <= self.head_limit {
            octets.resize(octets.len() + HEAD_STEP, 0);
        }
        let room = octets.len() - self.len;
        let outcome = stream.read(&mut octets[self.len..]);
        let mut fault = None;
        if let Io::Moved(count) = outcome
            && count > 0
        {
            ready.note_read(stream, count, room);
            self.len += count;
            if self.wants_proxy_header {
                fault = self.take_proxy_header(&mut octets, counted, context).err();
                #[cfg(feature = "tls")]
                if !self.wants_proxy_header
                    && let Stream::Tls(session) = &mut *stream
                {
                    session.begin(&octets[..self.len]);
                    (self.len, ready.read) = (0, true);
                }
            }
            if !self.wants_proxy_header && matches!(self.step, OpeningStep::Reading) {
                self.parse(&octets[..self.len], (key, stream), counted, context);
            }
            // The bytes received are needed again, unless the answer is under way.
            if borrowed && !matches!(self.step, OpeningStep::Answering(_)) {
                self.head = octets[..self.len].to_vec();
            }
        }
        if borrowed {
            context.scratch = octets;
        } else if !matches!(self.step, OpeningStep::Answering(_)) {
            self.head = octets;
        }
        if let Some(error) = fault {
            // A peer that does not speak the protocol expected here would not understand an answer.
            tracing::debug!(peer = ?self.peer, %error, "refused");
            self.outcome = Some(PROXY);
            return Some(OpeningNext::Remove);
        }
        #[cfg(feature = "tls")]
        if outcome == Io::Lost
            && let Some(next) = self.after_fault(stream, context)
        {
            return Some(next);
        }
        match outcome {
            Io::Moved(0) => {
                // It has room for a few octets: nothing was sent but the handshake.
                stream.end();
                Some(OpeningNext::Remove)
            }
            Io::Lost => Some(OpeningNext::Remove),
            Io::Blocked => {
                ready.read = false;
                None
            }
            Io::Moved(_) => None,
        }
    }

    /// Removes the header of the PROXY protocol from the start of `octets`, once it is complete.
    fn take_proxy_header(
        &mut self,
        octets: &mut [u8],
        counted: &mut Option<Counted>,
        context: &LoopContext,
    ) -> Result<(), HeaderError> {
        let Some((source, header_len)) = proxy_header::parse(&octets[..self.len])? else { return Ok(()) };
        octets.copy_within(header_len..self.len, 0);
        (self.wants_proxy_header, self.len) = (false, self.len - header_len);
        match source {
            Source::Proxy => {}
            Source::Ip(addr) => self.source = Some(PeerAddr::Ip(addr)),
            // An unknown client, which is not the proxy. No proxy has checked the fields of its
            // request.
            Source::Unnamed => self.source = None,
        }
        // Another proxy is not counted for its address: its client is known only with the request.
        if !context.server.proxies.trusts(self.source) {
            let owner = match self.source.and_then(PeerAddr::ip) {
                Some(ip) => Owner::Address(ip),
                None => Owner::UnnamedBy(self.ip_of_hop()),
            };
            self.count_for(owner, counted, context);
        }
        Ok(())
    }

    /// Parses `octets`, which are all bytes received.
    fn parse(
        &mut self,
        octets: &[u8],
        who: (Key, &Stream),
        counted: &mut Option<Counted>,
        context: &mut LoopContext,
    ) {
        match self.handshake.parse(octets) {
            Ok(None) => {}
            Ok(Some(head_len)) => self.request(octets, head_len, who, counted, context),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// What follows a read or write that has failed because the peer does not keep to TLS; `None` if
    /// it has failed otherwise.
    #[cfg(feature = "tls")]
    #[cold]
    pub(super) fn after_fault(&mut self, stream: &mut Stream, context: &LoopContext) -> Option<OpeningNext> {
        let Stream::Tls(session) = stream else { return None };
        match session.fault()?.clone() {
            Fault::NotTls { is_http: true } if session.is_handshaking() => {
                session.give_up();
                tracing::debug!(peer = ?self.peer, "refused: HTTP without TLS");
                // One over a limit has its answer already, and is counted.
                if !matches!(self.step, OpeningStep::Answering(_)) {
                    self.answer(&Response::text(StatusCode::BAD_REQUEST, SPEAKS_TLS), PLAIN_HTTP);
                    self.count(context);
                }
                Some(self.write(stream, context.now))
            }
            fault @ (Fault::Tls(_) | Fault::NotTls { .. }) => {
                tracing::debug!(peer = ?self.peer, error = %fault, "refused: TLS");
                // An answer that waited for the handshake is counted already.
                if !matches!(self.step, OpeningStep::Answering(_)) {
                    self.outcome = Some(TLS);
                }
                if matches!(fault, Fault::NotTls { .. }) {
                    // Nothing is said that could get lost. It is counted when it is removed.
                    return Some(OpeningNext::Remove);
                }
                self.count(context);
                // The alert has to reach a peer that is still writing.
                Some(OpeningNext::Linger)
            }
            _ => None,
        }
    }
}
