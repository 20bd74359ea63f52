//! Receiving compressed messages (RFC 7692, sections 6.2 and 7.2.2). They are inflated as they
//! arrive, never beyond the limits, and never by more than one connection's share of a turn.
//!
//! Received compressed payload is held like the payload of any message in parts, and inflated from
//! there.

use super::config::Delivery;
use super::event::UnresolvedEvent;
use super::receive::DecodeOutcome;
use super::recv_buffer::{INPUT, PayloadRange, Piece};
use super::{Connection, RecvBuffer};
use crate::deflate::{DeflateState, Need};
use crate::error::{Error, LimitExceeded, PeerMisbehaved};
use std::time::Instant;

/// While several messages are being inflated, a message in whole delivery may grow to `AHEAD` bytes
/// plus `AHEAD_RATIO` bytes for each byte received of it.
///
/// Beyond that, an event loop inflates one message at a time, once the whole of it was received.
/// Otherwise many peers could each make this endpoint hold a message a thousand times the size of
/// the bytes they sent.
const AHEAD: u64 = 64 << 10;
const AHEAD_RATIO: u64 = 32;

/// The most bytes of compressed payload that are held in chunk delivery while there is no memory to
/// inflate them. A message that arrives in two reads is no reason to fail the connection; a message
/// that goes on beyond this is.
const HELD: usize = 64 << 10;

impl Connection {
    /// Inflates the held payload of the message in progress.
    pub(super) fn inflate(&mut self, now: Instant, rx: &mut RecvBuffer) -> DecodeOutcome {
        self.try_inflate(now, rx).unwrap_or_else(|error| {
            self.give_back_inflater(now, rx);
            self.fail_with(now, error);
            self.note_rest(rx);
            rx.clear();
            DecodeOutcome::Again
        })
    }

    fn try_inflate(&mut self, now: Instant, rx: &mut RecvBuffer) -> Result<DecodeOutcome, Error> {
        let arrived = !rx.incoming.in_frame && rx.incoming.last_frame;
        rx.incoming.unfinished = false;
        self.deflate_state().set_paused(false);
        if !arrived && rx.held().is_empty() && rx.incoming.inflater.is_none() {
            return Ok(DecodeOutcome::Again);
        }
        let need = match self.config.delivery {
            _ if arrived => Need::Arrived,
            Delivery::Chunks if rx.held().len() > HELD => Need::Urgent,
            _ => Need::Waits,
        };
        if !self.take_inflater(rx, need) {
            return match need {
                // The message that holds the shared decompressor is complete, so it does not wait
                // for its peer.
                Need::Arrived => Ok(self.pause(rx)),
                Need::Waits => Ok(DecodeOutcome::Again),
                Need::Urgent => Err(Error::Limit(LimitExceeded::DeflateMemory)),
            };
        }
        loop {
            let left = self.deflate_state().may_inflate();
            if left == 0 {
                return Ok(self.pause(rx));
            }
            let ahead = self.ahead(rx);
            if ahead == 0 {
                return Ok(if arrived { self.pause(rx) } else { DecodeOutcome::Again });
            }
            let limit = usize::try_from(self.config.max_message).unwrap_or(usize::MAX);
            // At most one byte more than the limit, to see whether the message exceeds it.
            let (before, _) = rx.inflated();
            let most = left.min(ahead).min(self.within_limit(before).saturating_add(1));
            let Some(Piece { progress, range, more, full }) =
                rx.inflate(self.config.delivery, arrived, limit, most, now)
            else {
                // Another message needed the memory, and no byte of this one had been received for
                // a while.
                return Err(Error::Limit(LimitExceeded::DeflateMemory));
            };
            self.deflate_state().note_inflated(&progress);
            // Faults are found in the order of the bytes, so that the result does not depend on how
            // they were split: first the text within the limit.
            if rx.incoming.text {
                let within =
                    range.start..range.end.min(range.start.saturating_add(self.within_limit(before)));
                rx.check_text(&PayloadRange::inflated(within))
                    .map_err(|_| Error::Peer(PeerMisbehaved::InvalidUtf8))?;
            }
            let (inflated, consumed) = rx.inflated();
            let known = progress.done || (!full && consumed.is_multiple_of(INPUT as u64));
            self.check_inflated(inflated, consumed, known)?;
            if progress.corrupt {
                let role = self.role;
                let forgotten = progress.too_far && self.deflate_state().has_forgotten(role);
                return Err(Error::Peer(if forgotten {
                    PeerMisbehaved::ForgottenContext
                } else {
                    PeerMisbehaved::InvalidDeflate
                }));
            }
            if progress.done && rx.incoming.utf8.finish().is_err() {
                return Err(Error::Peer(PeerMisbehaved::InvalidUtf8));
            }
            self.count_received(progress.written, progress.done);
            if progress.done && self.config.delivery == Delivery::Whole {
                return Ok(self.inflated_message(now, rx));
            }
            let ends = progress.done || full || !more;
            if ends && self.config.delivery == Delivery::Chunks {
                rx.incoming.unfinished = more;
                return Ok(self.inflated_chunk(now, rx, progress.done));
            }
            if !more {
                return Ok(DecodeOutcome::Again);
            }
        }
    }

    /// How many more bytes of the message may be inflated before other messages are.
    fn ahead(&mut self, rx: &mut RecvBuffer) -> usize {
        let incoming = &mut rx.incoming;
        let Some(inflater) = &mut incoming.inflater else { return 0 };
        let arrived = incoming.announced - incoming.remaining;
        let most = AHEAD.saturating_add(arrived.saturating_mul(AHEAD_RATIO));
        let ahead = most.saturating_sub(inflater.inflated());
        if ahead > 0 && self.config.delivery == Delivery::Whole {
            return usize::try_from(ahead).unwrap_or(usize::MAX);
        }
        // Chunks are not held.
        let whole = !incoming.in_frame && incoming.last_frame;
        let runs =
            self.config.delivery == Delivery::Chunks || (whole && self.deflate_state().lets_run(inflater));
        if runs { usize::MAX } else { 0 }
    }

    /// Bytes left until [`Config::max_message`](super::Config::max_message), given that `inflated`
    /// exist.
    fn within_limit(&self, inflated: u64) -> usize {
        usize::try_from(self.config.max_message.saturating_sub(inflated)).unwrap_or(usize::MAX)
    }

    /// Checks the message against the limits: `inflated` bytes from `consumed` bytes of payload.
    ///
    /// The ratio is checked only where it does not depend on how the bytes arrived (`known`). That
    /// is at the end of the message, and where whole pieces of payload are fully inflated.
    fn check_inflated(&self, inflated: u64, consumed: u64, known: bool) -> Result<(), Error> {
        let limit = self.config.max_message;
        if inflated > limit {
            return Err(Error::Limit(LimitExceeded::MessageTooLarge { announced: inflated, limit }));
        }
        if !known {
            return Ok(());
        }
        let Some(deflate) = &self.deflate else { return Ok(()) };
        let within = deflate.check_ratio(inflated, consumed, &self.config);
        within.map_err(|limit| Error::Limit(LimitExceeded::InflationRatio { limit }))
    }

    fn inflated_message(&mut self, now: Instant, rx: &mut RecvBuffer) -> DecodeOutcome {
        let text = rx.incoming.text;
        let payload = rx.release_inflated(0);
        self.give_back_inflater(now, rx);
        self.end_message(rx);
        DecodeOutcome::Event(if text {
            UnresolvedEvent::Text(payload)
        } else {
            UnresolvedEvent::Binary(payload)
        })
    }

    /// Delivers the inflated bytes, except for an incomplete character at their end.
    fn inflated_chunk(&mut self, now: Instant, rx: &mut RecvBuffer, last: bool) -> DecodeOutcome {
        let text = rx.incoming.text;
        let first = !rx.incoming.chunk_delivered;
        let payload = rx.release_inflated(if text { rx.incoming.utf8.pending() } else { 0 });
        if payload.is_empty() && !last {
            return DecodeOutcome::Again;
        }
        rx.incoming.chunk_delivered = true;
        if last {
            self.give_back_inflater(now, rx);
            self.end_message(rx);
        }
        DecodeOutcome::Event(UnresolvedEvent::Chunk { text, payload, first, last })
    }

    /// Takes a decompressor for the message in progress, unless it has one. Returns whether it has
    /// one now.
    fn take_inflater(&mut self, rx: &mut RecvBuffer, need: Need) -> bool {
        if rx.incoming.inflater.is_some() {
            return true;
        }
        let role = self.role;
        let Some(inflater) = self.deflate_state().take_inflater(need, role) else { return false };
        rx.begin_inflating(inflater);
        true
    }

    pub(super) fn give_back_inflater(&mut self, now: Instant, rx: &mut RecvBuffer) {
        let Some(inflater) = rx.incoming.inflater.take() else { return };
        let role = self.role;
        self.deflate_state().put_inflater(inflater, role, now);
    }

    fn pause(&mut self, rx: &mut RecvBuffer) -> DecodeOutcome {
        rx.incoming.unfinished = true;
        self.deflate_state().set_paused(true);
        DecodeOutcome::Paused
    }

    fn deflate_state(&mut self) -> &mut DeflateState {
        self.deflate.as_mut().expect("a header with RSV1 is refused where it was not agreed on")
    }
}
