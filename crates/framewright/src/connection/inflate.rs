//! Receiving compressed messages (RFC 7692, sections 6.2 and 7.2.2): inflated as they arrive, never
//! beyond the limits, and never more in one turn than leaves the others theirs.
//!
//! What has come of the compressed payload is held as that of any message in parts, and taken from
//! there.

use super::config::Delivery;
use super::event::UnresolvedEvent;
use super::receive::DecodeOutcome;
use super::recv_buffer::{INPUT, PayloadRange, Piece};
use super::{Connection, RecvBuffer};
use crate::deflate::{DeflateState, Need};
use crate::error::{Error, LimitExceeded, PeerMisbehaved};
use std::time::Instant;

/// How many octets a whole message is inflated to while others are, too: so many, and so many for
/// each octet that has arrived of it. Beyond, one message of an event loop is inflated at a time,
/// once it is there as a whole. Otherwise many peers could each have a message held that is a
/// thousand times what they sent.
const AHEAD: u64 = 64 << 10;
const AHEAD_RATIO: u64 = 32;

/// The most octets of compressed payload that are held in chunk delivery while there is no memory
/// to inflate them: a message that has come in two reads is no reason to give up, one that goes on
/// is.
const HELD: usize = 64 << 10;

impl Connection {
    /// Inflates what is held of the message in progress.
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
                // Whoever has it needs nothing of its peer.
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
            // Never more than the limit and one octet, to see whether there are more.
            let (before, _) = rx.inflated();
            let most = left.min(ahead).min(self.within_limit(before).saturating_add(1));
            let Some(Piece { progress, range, more, full }) =
                rx.inflate(self.config.delivery, arrived, limit, most, now)
            else {
                // Somebody else needed the memory, and nothing had come of this message for a
                // while.
                return Err(Error::Limit(LimitExceeded::DeflateMemory));
            };
            self.deflate_state().note_inflated(&progress);
            // In the order of the octets, so that it is the same fault whatever they came in: first
            // the text within the limit.
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

    /// How many more octets of the message may be inflated before others are.
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

    /// How many octets more than so many the message may inflate to.
    fn within_limit(&self, inflated: u64) -> usize {
        usize::try_from(self.config.max_message.saturating_sub(inflated)).unwrap_or(usize::MAX)
    }

    /// Checks what the message has come to against the limits. The ratio only where it does not
    /// depend on how the octets have arrived: at its end, and where all is known that so many
    /// pieces of payload come to.
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

    /// Delivers what is inflated, but for the start of a character at its end.
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

    /// Whether there is a decompressor for the message in progress, now if there was none.
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
