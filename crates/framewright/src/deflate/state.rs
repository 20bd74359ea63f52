//! What a connection holds where permessage-deflate was negotiated (RFC 7692, section 7), and which
//! of its messages are compressed.

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

/// The state of permessage-deflate on one connection. At rest, without context takeover, one small
/// allocation.
#[derive(Debug)]
pub(crate) struct DeflateState(Box<DeflateFields>);

#[derive(Debug)]
struct DeflateFields {
    /// What the driver has lent; its own if it never does.
    codec: Option<Box<Codec>>,
    /// With context takeover: the last octets of the compressed messages that were sent, from the
    /// first one on.
    sent: Option<Box<History>>,
    /// What there is of the peer's compressed messages between them.
    received: Option<Box<Received>>,
    /// What takeover costs, as long as this lives.
    reservation: Option<Box<Reservation>>,
    params: DeflateParams,
    payoff: Payoff,
    /// Whether the peer forgets its messages, where it has agreed to.
    habit: Habit,
    /// The message that is being sent in fragments is compressed.
    fragments: bool,
    /// Decoding has stopped for the sake of other connections.
    paused: bool,
}

/// The last octets of a peer's compressed messages.
#[derive(Debug)]
enum Received {
    /// With context takeover by the peer.
    Agreed(History),
    /// Without, if it may refer to them all the same, and until others need the memory.
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

    /// Takes this codec for a turn, unless there is one that was lent: then it is returned.
    pub(crate) fn lend(&mut self, mut codec: Box<Codec>) -> Option<Box<Codec>> {
        if self.0.codec.as_ref().is_some_and(|codec| !codec.is_own()) {
            return Some(codec);
        }
        codec.begin_turn();
        self.0.codec = Some(codec);
        None
    }

    /// Gives the codec back that was lent.
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

    /// The payload that this message is sent as; `None` if it is sent as it is.
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

    /// The payload of a fragment, the `first` or the `last` of its message maybe; `None` if it is
    /// sent as it is. The first one decides for all.
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
            // How long the message gets nobody knows.
            let worth = data.len() >= settings.threshold.max(1);
            self.0.fragments = worth && self.may_compress() && self.0.payoff.tries();
        }
        if !self.0.fragments {
            return None;
        }
        let (payload, payoff) = self.0.compress(data, last, role, settings);
        // Once for each message: by the fragment that has decided.
        if first {
            payoff.note(data.len(), payload.len());
        }
        Some(payload)
    }

    /// The peer gets these octets compressed, as the last call has compressed them: what follows
    /// may refer to them.
    pub(crate) fn remember(&mut self, data: &[u8], role: Role, config: &Config) {
        let stamp = self.0.codec.as_ref().map_or_else(Stamp::default, |codec| codec.stamp());
        self.0.remember(data, stamp, role, &config.deflate);
    }

    /// The same for octets that were compressed elsewhere.
    pub(crate) fn remember_prepared(&mut self, data: &[u8], role: Role, config: &Config) {
        self.0.remember(data, Stamp::default(), role, &config.deflate);
    }

    /// Notes that octets of a message were queued as this much payload, the `last` ones of it
    /// maybe.
    pub(crate) fn note_sent(&mut self, octets: usize, payload: usize, last: bool) {
        if let Some(codec) = &mut self.0.codec {
            codec.note_sent(octets, payload, last);
        }
    }

    /// The form in which a prepared message of this length is compressed; `None` if it is not.
    pub(crate) fn prepared_form(&self, len: usize, role: Role, config: &Config) -> Option<Form> {
        let settings = &config.deflate;
        let window = self.0.params.sent_by(role).window;
        // No distance goes back further than the message is long: the form for one window does for
        // another.
        let window = if len <= window.size() { WindowBits::MAX } else { window };
        let worth = len >= settings.threshold.max(1) && len <= settings.largest;
        worth.then_some(Form { level: settings.level, window })
    }

    /// The payload of a prepared message in this form.
    pub(crate) fn compress_prepared(&mut self, data: &[u8], form: Form) -> &[u8] {
        self.0.codec_mut().compress(data, true, form.level, form.window, None)
    }

    fn may_compress(&self) -> bool {
        self.0.codec.as_ref().is_none_or(|codec| codec.may_compress())
    }

    /// A decompressor for a message, which has begun with what the message may refer to. See
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

    /// Takes it back, at the end of the message.
    pub(crate) fn put_inflater(&mut self, mut inflater: Box<Inflater>, role: Role, now: Instant) {
        if let Some(most) = self.0.agreed(role) {
            inflater.end(self.0.history(most));
        } else {
            self.0.end_trial(&mut inflater, role, now);
        }
        self.0.codec_mut().put_inflater(inflater);
    }

    /// Whether a message that refers to what is not there may mean one that the peer was to forget.
    pub(crate) fn has_forgotten(&self, role: Role) -> bool {
        self.0.agreed(role).is_none() && self.0.habit != Habit::New
    }

    /// Octets that may still be inflated in this turn.
    pub(crate) fn may_inflate(&mut self) -> usize {
        self.0.codec_mut().to_inflate()
    }

    /// Notes what was inflated.
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

    /// How many octets of the peer's messages the next one may refer to, as was agreed; `None` if
    /// to none.
    fn agreed(&self, role: Role) -> Option<usize> {
        let peer = self.params.sent_by(role.peer());
        peer.takeover.then(|| peer.window.size())
    }

    /// Those octets, of which there are `most`.
    fn history(&mut self, most: usize) -> &mut History {
        let received = self.received.get_or_insert_with(|| Box::new(Received::Agreed(History::new(most))));
        match &mut **received {
            Received::Agreed(history) => history,
            Received::Kept(_) => unreachable!("with takeover nothing else is kept"),
        }
    }

    /// Learns from a message whether the peer does as it has agreed.
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

    /// The payload that this message, or fragment of one, is compressed to; and where it is noted
    /// whether that has paid.
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

    /// The `stamp` is that of the codec that has compressed these octets; none if it was elsewhere.
    fn remember(&mut self, data: &[u8], stamp: Stamp, role: Role, settings: &DeflateConfig) {
        let own = self.params.sent_by(role);
        if own.takeover && settings.history > 0 {
            let most = own.window.size().min(settings.history);
            self.sent.get_or_insert_with(|| Box::new(History::new(most))).push_compressed(data, stamp);
        }
    }
}

/// How compression has paid of late. After a run of messages on which it did not, the next ones are
/// sent as they are, and then one is tried again; each time in vain, more of them.
#[derive(Clone, Copy, Debug, Default)]
struct Payoff {
    /// Messages in a row on which it did not pay.
    unpaid: u8,
    /// Messages still to be sent as they are.
    skip: u16,
}

/// So many in a row are no accident.
const UNPAID: u8 = 8;
/// How many are skipped first, and how often that is doubled.
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

    /// Notes what a message came to. To pay it has to be shorter by an eighth.
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
