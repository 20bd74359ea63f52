//! The state of a connection with permessage-deflate (RFC 7692, section 7), and which of its
//! messages are compressed.

use super::habit::Habit;
use super::kept::Kept;
use super::{
    Codec, DeflateConfig, DeflateParams, History, Inflater, Level, Need, Progress, Reservation, Stamp,
    WindowBits,
};
use crate::connection::Config;
use crate::role::Role;
use std::sync::Arc;
use std::time::Instant;

/// The state of permessage-deflate on one connection. At rest, without context takeover, it is one
/// small allocation.
#[derive(Debug)]
pub(crate) struct DeflateState(Box<DeflateFields>);

#[derive(Debug)]
struct DeflateFields {
    /// The codec that the driver has lent, or the connection's own if the driver lends none.
    codec: Option<Box<Codec>>,
    /// With context takeover: the last bytes of the compressed messages sent. `None` before the
    /// first one.
    sent: Option<Box<History>>,
    /// The bytes kept of the peer's compressed messages, between two of them.
    received: Option<Box<Received>>,
    /// The reservation of the memory for takeover, held as long as the connection lives.
    reservation: Option<Box<Reservation>>,
    params: DeflateParams,
    payoff: Payoff,
    /// Whether the peer refers to earlier messages, if it has agreed not to.
    habit: Habit,
    /// The message that is being sent in fragments is compressed.
    fragments: bool,
    /// Decoding has stopped, to leave time to other connections.
    paused: bool,
}

/// The last bytes of a peer's compressed messages.
#[derive(Debug)]
enum Received {
    /// With context takeover by the peer.
    Agreed(History),
    /// Without context takeover, if the peer may refer to them nevertheless, until the memory is
    /// needed elsewhere.
    Kept(Kept),
}

/// How a prepared message is compressed: once for all connections with the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    level: Level,
    window: WindowBits,
}

impl DeflateState {
    pub(crate) fn new(params: DeflateParams) -> DeflateState {
        DeflateState(Box::new(DeflateFields {
            codec: None,
            sent: None,
            received: None,
            reservation: None,
            params,
            payoff: Payoff::default(),
            habit: Habit::New,
            fragments: false,
            paused: false,
        }))
    }

    pub(crate) fn params(&self) -> DeflateParams {
        self.0.params
    }

    /// Takes `codec` for a turn. Returns it if the connection has a lent codec already.
    pub(crate) fn lend(&mut self, mut codec: Box<Codec>) -> Option<Box<Codec>> {
        if self.0.codec.as_ref().is_some_and(|codec| !codec.is_own()) {
            return Some(codec);
        }
        codec.begin_turn();
        self.0.codec = Some(codec);
        None
    }

    /// Gives the lent codec back; `None` if there is none.
    pub(crate) fn reclaim(&mut self) -> Option<Box<Codec>> {
        self.0.codec.take_if(|codec| !codec.is_own())
    }

    /// Frees the codec that the connection has made for itself.
    pub(crate) fn free_own(&mut self) {
        self.0.codec.take_if(|codec| codec.is_own());
    }

    pub(crate) fn hold_reservation(&mut self, reservation: Reservation) {
        self.0.reservation = Some(Box::new(reservation));
    }

    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.0.paused
    }

    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.0.paused = paused;
    }

    /// Compresses a message to its payload; `None` if it is sent uncompressed.
    pub(crate) fn compress_message(&mut self, data: &[u8], role: Role, config: &Config) -> Option<&[u8]> {
        let settings = &config.deflate;
        let worth = data.len() >= settings.threshold && data.len() <= settings.largest && !data.is_empty();
        if !worth || !self.may_compress() || !self.0.payoff.tries() {
            return None;
        }
        let (payload, payoff) = self.0.compress(data, true, role, settings);
        payoff.note(data.len(), payload.len());
        (payload.len() < data.len()).then_some(payload)
    }

    /// Compresses a fragment of a message to its payload; `None` if it is sent uncompressed. The
    /// first fragment decides for all. `first` and `last` tell whether the fragment begins or ends
    /// its message.
    pub(crate) fn compress_fragment(
        &mut self,
        data: &[u8],
        first: bool,
        last: bool,
        role: Role,
        config: &Config,
    ) -> Option<&[u8]> {
        let settings = &config.deflate;
        if first {
            // The length of the message is not known yet, so `largest` does not apply.
            let worth = data.len() >= settings.threshold.max(1);
            self.0.fragments = worth && self.may_compress() && self.0.payoff.tries();
        }
        if !self.0.fragments {
            return None;
        }
        let (payload, payoff) = self.0.compress(data, last, role, settings);
        // Noted once for each message, for the fragment that has decided.
        if first {
            payoff.note(data.len(), payload.len());
        }
        Some(payload)
    }

    /// Notes that `data` is sent as the last call has compressed it: later messages may refer to
    /// it.
    pub(crate) fn remember(&mut self, data: &[u8], role: Role, config: &Config) {
        let stamp = self.0.codec.as_ref().map_or_else(Stamp::default, |codec| codec.stamp());
        self.0.remember(data, stamp, role, &config.deflate);
    }

    /// Notes that `data` is sent as it was compressed elsewhere: later messages may refer to it.
    pub(crate) fn remember_prepared(&mut self, data: &[u8], role: Role, config: &Config) {
        self.0.remember(data, Stamp::default(), role, &config.deflate);
    }

    /// Notes that `octets` bytes of a message were queued as `payload` bytes. `last` ends the
    /// message.
    pub(crate) fn note_sent(&mut self, octets: usize, payload: usize, last: bool) {
        if let Some(codec) = &mut self.0.codec {
            codec.note_sent(octets, payload, last);
        }
    }

    /// The form in which a prepared message of `len` bytes is compressed; `None` if it is not
    /// compressed.
    pub(crate) fn prepared_form(&self, len: usize, role: Role, config: &Config) -> Option<Form> {
        let settings = &config.deflate;
        let window = self.0.params.sent_by(role).window;
        // No distance is longer than the message, so all windows of at least its length have the
        // same form.
        let window = if len <= window.size() { WindowBits::MAX } else { window };
        let worth = len >= settings.threshold.max(1) && len <= settings.largest;
        worth.then_some(Form { level: settings.level, window })
    }

    /// Whether there is a codec: lent, or the connection's own.
    pub(crate) fn has_codec(&self) -> bool {
        self.0.codec.is_some()
    }

    /// The payload of a prepared message in `form`.
    pub(crate) fn compress_prepared(&mut self, data: &[u8], form: Form) -> &[u8] {
        self.0.codec_mut().compress(data, true, form.level, form.window, None)
    }

    fn may_compress(&self) -> bool {
        self.0.codec.as_ref().is_none_or(|codec| codec.may_compress())
    }

    /// Takes a decompressor for a message, begun with the bytes that the message may refer to. See
    /// [`Codec::take_inflater`].
    pub(crate) fn take_inflater(&mut self, need: Need, role: Role) -> Option<Box<Inflater>> {
        let agreed = self.0.agreed(role);
        let mut inflater = self.0.codec_mut().take_inflater(need)?;
        if let Some(most) = agreed {
            inflater.begin(self.0.history(most));
        } else {
            let kept = match self.0.received.take().map(|received| *received) {
                Some(Received::Kept(kept)) => Some(kept),
                _ => None,
            };
            inflater.begin_trial(kept, self.0.habit == Habit::Refers);
        }
        Some(inflater)
    }

    /// Takes the decompressor back, at the end of the message.
    pub(crate) fn put_inflater(&mut self, mut inflater: Box<Inflater>, role: Role, now: Instant) {
        if let Some(most) = self.0.agreed(role) {
            inflater.end(self.0.history(most));
        } else {
            self.0.end_trial(&mut inflater, role, now);
        }
        self.0.codec_mut().put_inflater(inflater);
    }

    /// Whether a message that refers to bytes that are not there may refer to a message that the
    /// peer has agreed to forget.
    pub(crate) fn has_forgotten(&self, role: Role) -> bool {
        self.0.agreed(role).is_none() && self.0.habit != Habit::New
    }

    /// The number of bytes that may still be inflated in this turn.
    pub(crate) fn may_inflate(&mut self) -> usize {
        self.0.codec_mut().to_inflate()
    }

    /// Notes the inflating of one call.
    pub(crate) fn note_inflated(&mut self, progress: &Progress) {
        self.0.codec_mut().inflated(progress);
    }

    /// See [`Codec::lets_run`].
    pub(crate) fn lets_run(&mut self, inflater: &mut Inflater) -> bool {
        self.0.codec_mut().lets_run(inflater)
    }

    /// See [`Codec::lets_go`]; true without a codec.
    pub(crate) fn lets_go(&self, inflater: &mut Inflater) -> bool {
        self.0.codec.as_ref().is_none_or(|codec| codec.lets_go(inflater))
    }

    /// See [`DeflateConfig::check_ratio`].
    pub(crate) fn check_ratio(&self, inflated: u64, compressed: u64, config: &Config) -> Result<(), u32> {
        config.deflate.check_ratio(inflated, compressed)
    }
}

impl DeflateFields {
    fn codec_mut(&mut self) -> &mut Codec {
        self.codec.get_or_insert_with(Codec::own)
    }

    /// How many bytes of the peer's messages the next one may refer to, as negotiated; `None` if to
    /// none.
    fn agreed(&self, role: Role) -> Option<usize> {
        let peer = self.params.sent_by(role.peer());
        peer.takeover.then(|| peer.window.size())
    }

    /// The history of the peer's messages, which keeps at most `most` bytes.
    fn history(&mut self, most: usize) -> &mut History {
        let received = self.received.get_or_insert_with(|| Box::new(Received::Agreed(History::new(most))));
        match &mut **received {
            Received::Agreed(history) => history,
            Received::Kept(_) => unreachable!("with takeover nothing else is kept"),
        }
    }

    /// Learns from a message whether the peer keeps to what was negotiated.
    fn end_trial(&mut self, inflater: &mut Inflater, role: Role, now: Instant) {
        let (habit, most) = (self.habit, self.params.sent_by(role.peer()).window.size());
        let memory = Arc::clone(self.codec_mut().memory());
        let known = inflater.end_trial(|kept, refers, message| {
            if refers { (Habit::Refers, kept) } else { habit.after(kept, message, most, &memory, now) }
        });
        // If the decompressor was taken back, the connection has failed.
        let (habit, kept) = known.unwrap_or((habit, None));
        self.habit = habit;
        self.received = kept.map(|kept| Box::new(Received::Kept(kept)));
    }

    /// Compresses a message, or a fragment of one. Returns the payload, and the `Payoff` in which
    /// to note it.
    fn compress(
        &mut self,
        data: &[u8],
        last: bool,
        role: Role,
        settings: &DeflateConfig,
    ) -> (&[u8], &mut Payoff) {
        let window = self.params.sent_by(role).window;
        let codec = self.codec.get_or_insert_with(Codec::own);
        (codec.compress(data, last, settings.level, window, self.sent.as_deref()), &mut self.payoff)
    }

    /// Adds `data` to the history of messages sent. `stamp` is the state of the codec that has
    /// compressed it, or the default if it was compressed elsewhere.
    fn remember(&mut self, data: &[u8], stamp: Stamp, role: Role, settings: &DeflateConfig) {
        let own = self.params.sent_by(role);
        if own.takeover && settings.history > 0 {
            let most = own.window.size().min(settings.history);
            self.sent.get_or_insert_with(|| Box::new(History::new(most))).push_compressed(data, stamp);
        }
    }
}

/// Whether compression has paid lately. After a run of messages on which it did not pay, the next
/// ones are sent uncompressed, and then one is tried again. Each failed try doubles their number.
#[derive(Clone, Copy, Debug, Default)]
struct Payoff {
    /// Messages in a row on which it did not pay.
    unpaid: u8,
    /// Messages still to be sent uncompressed.
    skip: u16,
}

/// The number of messages in a row that is no accident.
const UNPAID: u8 = 8;
/// How many messages are skipped first, and how often that number is doubled at most.
const SKIP: u16 = 16;
const DOUBLED: u8 = 6;

impl Payoff {
    /// Whether the next message is worth a try.
    fn tries(&mut self) -> bool {
        if self.skip == 0 {
            return true;
        }
        self.skip -= 1;
        false
    }

    /// Notes that a message of `octets` bytes was compressed to `payload` bytes. Compression pays
    /// if the payload is shorter by an eighth.
    fn note(&mut self, octets: usize, payload: usize) {
        if payload <= octets - octets / 8 {
            *self = Payoff::default();
        } else if self.unpaid + 1 < UNPAID {
            self.unpaid += 1;
        } else {
            self.skip = SKIP << (self.unpaid + 1 - UNPAID);
            self.unpaid = (self.unpaid + 1).min(UNPAID + DOUBLED - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_at_rest_takes_no_more_than_a_small_allocation() {
        assert!(size_of::<DeflateFields>() <= 48, "{} octets", size_of::<DeflateFields>());
    }

    #[test]
    fn after_eight_messages_in_vain_ever_more_are_skipped() {
        let mut payoff = Payoff::default();
        let mut tried = Vec::new();
        for index in 0..10_000 {
            if payoff.tries() {
                tried.push(index);
                payoff.note(1000, 990);
            }
        }
        assert_eq!(tried[..10], [0, 1, 2, 3, 4, 5, 6, 7, 24, 57]);
        let last = &tried[tried.len() - 2..];
        assert_eq!(last[1] - last[0], 1025);
        payoff = Payoff { unpaid: UNPAID, skip: 0 };
        payoff.note(1000, 875);
        assert!((0..8).all(|_| std::mem::take(&mut payoff).tries()));
    }
}
