//! How a connection ends (RFC 6455, sections 5.5.1, 7.1 and 7.2), and its deadlines.

use super::Connection;
use super::event::Step;
use super::state::{Ending, State, close_body};
use super::timer::{ALL, SENDING, Timer};
use crate::error::{Error, Timeout};
use crate::frame::{CloseCode, CloseFrame, MAX_CLOSE_REASON, OpCode};
use std::time::{Duration, Instant};

impl Connection {
    /// The peer has ended its direction of the transport: no more octets will come. Call it after decoding all that came
    /// before. What waits is still transmitted, then [`Transmit::Shutdown`](super::Transmit::Shutdown) follows.
    pub fn handle_eof(&mut self, now: Instant) {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-7.2.1
        //# If at any point the underlying transport layer connection is
        //# unexpectedly lost, the client MUST _Fail the WebSocket Connection_.
        self.end(now, Some(Error::TransportLost));
        self.ending_mut().eof = true;
    }

    /// Acts on every deadline that has passed at `now`, on each once. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_deadlines(now, &ALL);
    }

    /// The same for the deadlines alone that have to do with sending: keep-alive Pings, and what the peer takes. For a thread that only writes, beside one that reads and knows whether the peer is silent.
    pub fn handle_send_timeout(&mut self, now: Instant) {
        self.handle_deadlines(now, &SENDING);
    }

    fn handle_deadlines(&mut self, now: Instant, timers: &[Timer]) {
        for &timer in timers {
            if self.timers.take_if_due(timer, now) {
                self.deadline_passed(now, timer);
            }
        }
    }

    /// Tells that the driver has done nothing for so long, not even sent a Ping: puts off the deadline for an idle peer
    /// ([`Config::idle_timeout`](super::Config::idle_timeout)), which had nothing to answer. Whole milliseconds count. For a driver
    /// that works only while its application calls it. The other deadlines stay: whether a Pong or the rest of a message has come
    /// meanwhile shows when what came is decoded, before the deadlines are looked at.
    pub fn excuse(&mut self, away: Duration) {
        self.timers.postpone(Timer::Idle, away);
    }

    fn deadline_passed(&mut self, now: Instant, timer: Timer) {
        let config = &self.config;
        // What the peer has sent is not looked at: its silence proves nothing. Timer::Write watches it, or its turn comes.
        let busy = self.congested || self.is_paused();
        match timer {
            Timer::Pong if busy => self.timers.arm_again(timer, now, config.keep_alive_timeout),
            Timer::Idle if busy => self.timers.arm_again(timer, now, config.idle_timeout),
            Timer::Message if busy => self.timers.arm_again(timer, now, config.message_timeout),
            Timer::KeepAlive => self.keep_alive(now),
            Timer::Pong => self.fail_with(now, Error::Timeout(Timeout::KeepAlive)),
            Timer::Idle => self.fail_with(now, Error::Timeout(Timeout::Idle)),
            Timer::Message => self.fail_with(now, Error::Timeout(Timeout::Message)),
            Timer::Write => self.give_up(now, Timeout::Write),
            Timer::Close => self.give_up(now, Timeout::Close),
        }
    }

    fn give_up(&mut self, now: Instant, timeout: Timeout) {
        self.end(now, Some(Error::Timeout(timeout)));
        self.give_up_sending();
    }

    /// *Fails the connection* (section 7.1.7) for a reason of the application: queues a Close frame with this code, unless
    /// one was sent before, and waits for nothing. A reason over 123 octets is cut between characters.
    pub fn fail(&mut self, now: Instant, code: CloseCode, reason: &str) {
        self.fail_saying(now, Error::Failed(code), reason);
    }

    /// Drops the connection: no Close frame is sent, and nothing of what waits.
    pub fn abort(&mut self, now: Instant) {
        self.end(now, Some(Error::Aborted));
        self.give_up_sending();
    }

    /// Fails the connection for what the peer did, or for a deadline.
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
    fn fail_saying(&mut self, now: Instant, error: Error, reason: &str) {
        if self.state == State::Closed {
            return;
        }
        if self.state == State::Open
            && let Some(code) = error.close_code()
        {
            self.queue_close(Some(code), &reason[..reason.floor_char_boundary(MAX_CLOSE_REASON)]);
        }
        self.end(now, Some(error));
    }

    /// A Close frame has arrived.
    pub(super) fn close_arrived(&mut self, now: Instant, code: Option<CloseCode>, reason: &str) {
        self.ending_mut().received = Some(CloseFrame::new(code, reason));
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
        //# If an endpoint receives a Close frame and did not previously send a
        //# Close frame, the endpoint MUST send a Close frame in response.  (When
        //# sending a Close frame in response, the endpoint typically echos the
        //# status code it received.)
        if self.state == State::Open {
            // The reason goes back too, as from ASP.NET Core's echo: a browser shows its page what comes back.
            self.queue_close(code, reason);
        }
        self.end(now, None);
    }

    /// Queues the one Close frame of this connection.
    pub(super) fn queue_close(&mut self, code: Option<CloseCode>, reason: &str) {
        self.writable = false; // nothing may be written any more
        self.outbox.drop_pong();
        let mask = self.next_mask();
        self.outbox.push(true, OpCode::Close, &close_body(code, reason), mask);
        self.ending_mut().sent = Some(CloseFrame::new(code, reason));
    }

    /// The one place where a connection ends.
    ///
    /// After a clean end, or when the peer has ended only its own direction, what is queued is worth as much as before: only a
    /// peer that takes nothing of it for [`Config::write_timeout`](super::Config::write_timeout) is given up. After any
    /// other it has [`Config::close_timeout`](super::Config::close_timeout), and as long has a server to close the
    /// transport after a clean one.
    pub(super) fn end(&mut self, now: Instant, cause: Option<Error>) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        let worth_sending = matches!(cause, None | Some(Error::TransportLost)) && !self.outbox.is_empty();
        self.ending_mut().cause = cause;
        self.outbox.drop_pong();
        self.congested = false;
        self.writable = false;
        self.timers.cancel_all();
        if worth_sending {
            self.timers.arm_if(Timer::Write, now, self.config.write_timeout);
        } else {
            self.timers.arm(Timer::Close, now, self.config.close_timeout);
        }
    }

    /// The next event that needs no octets.
    pub(super) fn pending_event(&mut self) -> Option<Step> {
        if std::mem::take(&mut self.writable) {
            return Some(Step::Writable);
        }
        let ending = self.extra.as_mut()?.ending.as_mut()?;
        if self.state != State::Closed || ending.reported {
            return None;
        }
        ending.reported = true;
        Some(Step::Closed(ending.closure()))
    }

    /// Sends the next keep-alive Ping, unless what waits will tell as much, and sets the deadlines.
    fn keep_alive(&mut self, now: Instant) {
        self.timers.arm_again(Timer::KeepAlive, now, self.config.keep_alive_interval);
        // While something waits, the peer's taking it is the sign of life (Timer::Write); while a Pong is awaited, another
        // Ping would move the deadline.
        if self.state != State::Open || !self.outbox.is_empty() || self.timers.is_armed(Timer::Pong) {
            return;
        }
        self.ping_serial = self.ping_serial.wrapping_add(1);
        let mask = self.next_mask();
        self.outbox.push(true, OpCode::Ping, &ping_data(self.ping_serial), mask);
        self.note_queued();
        self.timers.arm_if(Timer::Pong, now, self.config.keep_alive_timeout);
    }

    /// Whether the Close frame was queued and transmitted.
    pub(super) fn close_is_sent(&self) -> bool {
        // Nothing is queued behind a Close frame.
        self.ending().is_some_and(|ending| ending.sent.is_some()) && self.outbox.is_empty()
    }

    pub(super) fn ending_mut(&mut self) -> &mut Ending {
        self.extra_mut().ending.get_or_insert_default()
    }
}

/// The application data of a keep-alive Ping: four octets, its number.
pub(super) fn ping_data(serial: u16) -> [u8; 4] {
    u32::from(serial).to_be_bytes()
}
