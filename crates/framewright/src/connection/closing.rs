//! How a connection closes (RFC 6455, sections 5.5.1 and 7): its states and the one place that
//! changes them, its Close frames, and when its transport ends.

use super::deadlines::Timer;
use super::event::Closure;
use super::{Connection, RecvBuffer};
use crate::error::{Error, PeerMisbehaved};
use crate::frame::{CloseCode, CloseFrame, MAX_CLOSE_REASON, OpCode};
use crate::role::Role;
use std::time::Instant;

/// Where a connection is between its two handshakes.
///
/// ```text
///              close()              the peer's Close
///   Open ----------------> Closing ------------------> Closed (clean)
///    |                        |
///    | the peer's Close       | a fault, a limit, a deadline,
///    | (answered at once)     | the end of the transport
///    v                        v
///   Closed (clean)         Closed (not clean)
///    ^
///    | from Open too: a fault, a limit, a deadline, the end of the transport
/// ```
/// In `Closed` nothing more is received; the bytes queued are still transmitted, then the transport
/// is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the picture above is complete")]
pub enum State {
    /// Messages flow both ways.
    Open,
    /// A Close frame was queued; messages are still received until the peer's Close frame arrives.
    Closing,
    /// The connection's fate is decided.
    Closed,
}

/// The state that a connection is in. It begins as open, and only this file changes it.
#[derive(Debug)]
pub(super) struct CurrentState(State);

impl CurrentState {
    pub(super) const OPEN: CurrentState = CurrentState(State::Open);

    #[inline]
    pub(super) fn get(&self) -> State {
        self.0
    }
}

/// How the connection ends: made when the first Close frame is queued or received, or the
/// connection fails.
#[derive(Debug, Default)]
pub(super) struct Ending {
    sent: Option<CloseFrame>,
    received: Option<CloseFrame>,
    cause: Option<Error>,
    /// `Event::Closed` was delivered.
    reported: bool,
    /// Sending was given up, and the bytes queued were dropped.
    hurry: bool,
    /// The peer has ended its direction of the transport.
    eof: bool,
    /// See [`DriverView::unreceived`](super::DriverView::unreceived).
    unreceived: u64,
}

impl Ending {
    fn closure(&self) -> Closure {
        let clean = self.cause.is_none() && self.sent.is_some() && self.received.is_some();
        Closure { sent: self.sent.clone(), received: self.received.clone(), clean, cause: self.cause.clone() }
    }
}

impl Connection {
    /// Whether messages may be sent.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Whether nothing more is received.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.state() == State::Closed
    }

    /// How the connection ended; `None` before it has.
    pub(super) fn ended_with(&self) -> Option<Closure> {
        if !self.is_closed() {
            return None;
        }
        self.ending().map(Ending::closure)
    }

    /// Starts the closing handshake of an open connection.
    pub(super) fn begin_closing(&mut self, code: Option<CloseCode>, reason: &str) {
        self.queue_close(code, reason);
        self.end_keep_alive();
        self.state.0 = State::Closing;
    }

    /// Ends the connection, because the peer has ended its direction of the transport.
    pub(super) fn transport_ended(&mut self, now: Instant) {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.1
        //# If at any point the underlying transport layer connection is
        //# unexpectedly lost, the client MUST _Fail the WebSocket Connection_.
        self.end(now, Some(Error::TransportLost));
        self.ending_mut().eof = true;
    }

    /// Ends the connection for `reason`, and drops the bytes queued: nothing can be sent any more.
    pub(super) fn cut(&mut self, now: Instant, reason: Error) {
        self.end(now, Some(reason.clone()));
        self.give_up_sending(reason);
    }

    /// Fails the connection with `error`: a fault of the peer, a limit, or a deadline.
    #[cold]
    pub(super) fn fail_with(&mut self, now: Instant, error: Error) {
        let reason = match &error {
            Error::Peer(rule) => rule.reason(),
            Error::Limit(limit) => limit.reason(),
            Error::Timeout(timeout) => timeout.reason(),
            _ => "",
        };
        self.fail_saying(now, error, reason);
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.7
    //# If _The WebSocket Connection is Established_ prior to the point where
    //# the endpoint is required to _Fail the WebSocket Connection_, the
    //# endpoint SHOULD send a Close frame with an appropriate status code
    //# (Section 7.4) before proceeding to _Close the WebSocket Connection_.
    pub(super) fn fail_saying(&mut self, now: Instant, error: Error, reason: &str) {
        if self.is_closed() {
            return;
        }
        if self.is_open()
            && let Some(code) = error.close_code()
        {
            let fits = |&end: &usize| reason.is_char_boundary(end);
            let end = (0..=reason.len().min(MAX_CLOSE_REASON)).rev().find(fits).unwrap_or(0);
            self.queue_close(Some(code), &reason[..end]);
        }
        self.end(now, Some(error));
    }

    /// Handles a received Close frame: answers it, unless a Close frame was queued before, and ends
    /// the connection.
    pub(super) fn close_arrived(&mut self, now: Instant, code: Option<CloseCode>, reason: &str) {
        self.ending_mut().received = Some(CloseFrame::new(code, reason));
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
        //# If an endpoint receives a Close frame and did not previously send a
        //# Close frame, the endpoint MUST send a Close frame in response.  (When
        //# sending a Close frame in response, the endpoint typically echos the
        //# status code it received.)
        if self.is_open() {
            // The reason is echoed too, as ASP.NET Core's echo does: a browser passes the answer to
            // its page.
            self.queue_close(code, reason);
        }
        self.end(now, None);
    }

    /// Queues the one Close frame of this connection.
    fn queue_close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.writable = false; // no further message may be sent
        self.drop_pong();
        let mask = self.next_mask();
        self.buffer_mut().push(true, OpCode::Close, &close_body(code, reason), mask);
        self.ending_mut().sent = Some(CloseFrame::new(code, reason));
    }

    /// The one place where a connection ends.
    ///
    /// The deadline set here depends on the end:
    ///
    /// - A clean end, or the end of the peer's direction only, with bytes queued:
    ///   [`Config::write_timeout`](super::Config::write_timeout), for a peer that takes none of
    ///   them.
    /// - A clean end without bytes queued: [`Config::close_timeout`](super::Config::close_timeout),
    ///   for a server to close the transport.
    /// - Any other end: [`Config::close_timeout`](super::Config::close_timeout), for the peer to
    ///   take the bytes queued.
    fn end(&mut self, now: Instant, cause: Option<Error>) {
        if self.is_closed() {
            return;
        }
        self.state.0 = State::Closed;
        let worth_sending = matches!(cause, None | Some(Error::TransportLost)) && self.buffered() > 0;
        self.ending_mut().cause = cause;
        self.drop_pong();
        self.congested = false;
        self.writable = false;
        self.unanswered = 0;
        self.timers.cancel_all();
        if worth_sending {
            self.timers.arm_if(Timer::Write, now, self.config.write_timeout);
        } else {
            self.timers.arm(Timer::End, now, self.config.close_timeout);
        }
    }

    /// Drops the bytes queued. If there are any, `reason` becomes the cause: a closing handshake
    /// whose Close frame is dropped was not completed.
    fn give_up_sending(&mut self, reason: Error) {
        if self.buffered() > 0 {
            self.ending_mut().cause.get_or_insert(reason);
        }
        self.transmit_buffer = None;
        self.timers.cancel(Timer::Write);
        self.ending_mut().hurry = true;
    }

    /// Whether the Close frame was queued and transmitted.
    pub(super) fn close_is_sent(&self) -> bool {
        // Nothing is queued behind a Close frame.
        self.ending().is_some_and(|ending| ending.sent.is_some()) && self.buffered() == 0
    }

    /// Whether this endpoint ends the transport now that everything is transmitted.
    pub(super) fn wants_shutdown(&self) -> bool {
        let (State::Closed, Some(ending)) = (self.state(), self.ending()) else { return false };
        let clean = ending.cause.is_none();
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.1.1
        //# The underlying TCP connection, in most normal cases, SHOULD be closed
        //# first by the server, so that it holds the TIME_WAIT state and not the
        //# client
        self.role() == Role::Server || !clean || ending.eof || ending.hurry
    }

    /// See [`DriverAccess::note_rest`](super::DriverAccess::note_rest).
    pub(super) fn note_rest(&mut self, rx: &RecvBuffer) {
        if self.is_closed() {
            let ending = self.ending_mut();
            ending.unreceived = ending.unreceived.max(rx.unreceived());
        }
    }

    /// See [`DriverAccess::note_dropped`](super::DriverAccess::note_dropped).
    pub(super) fn note_dropped(&mut self, octets: u64) {
        if self.is_closed() {
            let ending = self.ending_mut();
            ending.unreceived = ending.unreceived.saturating_sub(octets);
        }
    }

    /// See [`DriverView::unreceived`](super::DriverView::unreceived).
    pub(super) fn unreceived(&self) -> u64 {
        self.ending().map_or(0, |ending| ending.unreceived)
    }

    /// Whether `Event::Closed` is due.
    #[inline]
    pub(super) fn is_closure_due(&self) -> bool {
        self.is_closed() && !self.ending().is_some_and(|ending| ending.reported)
    }

    /// How the connection ended. `Some` at most once, for `Event::Closed`.
    pub(super) fn report_closure(&mut self) -> Option<Closure> {
        if !self.is_closed() {
            return None;
        }
        let ending = self.extra.as_mut()?.ending.as_mut()?;
        (!std::mem::replace(&mut ending.reported, true)).then(|| ending.closure())
    }

    fn ending(&self) -> Option<&Ending> {
        self.extra.as_ref()?.ending.as_ref()
    }

    fn ending_mut(&mut self) -> &mut Ending {
        self.extra_mut().ending.get_or_insert_default()
    }
}

/// Writes the body of a Close frame.
fn close_body(code: Option<CloseCode>, reason: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 + reason.len());
    if let Some(code) = code {
        body.extend_from_slice(&code.get().to_be_bytes());
        body.extend_from_slice(reason.as_bytes());
    }
    body
}

/// Reads the body of a received Close frame.
pub(super) fn parse_close_body(body: &[u8]) -> Result<(Option<CloseCode>, &str), PeerMisbehaved> {
    //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
    //# If there is a body, the first two bytes of
    //# the body MUST be a 2-byte unsigned integer (in network byte order)
    //# representing a status code with value /code/ defined in Section 7.4.
    let (code, reason) = match body {
        [] => return Ok((None, "")),
        [_] => return Err(PeerMisbehaved::CloseBodyOneOctet),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let code = CloseCode::new(code).ok_or(PeerMisbehaved::InvalidCloseCode(code))?;
    let reason = std::str::from_utf8(reason).map_err(|_| PeerMisbehaved::CloseReasonNotUtf8)?;
    Ok((Some(code), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_they_are_written_and_bad_ones_named() {
        for code in 0..=u16::MAX {
            let written = CloseCode::new(code).map(|code| (close_body(Some(code), "bye"), code));
            match written {
                Some((body, code)) => assert_eq!(parse_close_body(&body), Ok((Some(code), "bye"))),
                None => assert_eq!(
                    parse_close_body(&code.to_be_bytes()),
                    Err(PeerMisbehaved::InvalidCloseCode(code))
                ),
            }
        }
        assert_eq!(parse_close_body(&close_body(None, "")), Ok((None, "")));
        assert_eq!(parse_close_body(b""), Ok((None, "")));
        assert_eq!(parse_close_body(b"\x03"), Err(PeerMisbehaved::CloseBodyOneOctet));
        assert_eq!(parse_close_body(b"\x03\xe8bye"), Ok((Some(CloseCode::NORMAL), "bye")));
        assert_eq!(parse_close_body(b"\x03\xe8\xff"), Err(PeerMisbehaved::CloseReasonNotUtf8));
    }
}
