//! permessage-deflate on a connection (RFC 7692, sections 6 and 7): what it holds for it, what its driver lends it, and what is
//! compressed. Inflating is in `inflate`.

use super::event::Message;
use super::send::opcode;
use super::state::State;
use super::{Connection, next_key};
use crate::deflate::{Codec, DeflateConfig, DeflateParams, History, Level, Reservation, Stamp, WindowBits};
use crate::frame::{OpCode, RSV1, Rules};
use crate::role::Role;

/// What a connection holds where permessage-deflate was agreed on. At rest, without context takeover, nothing but this.
#[derive(Debug)]
pub(super) struct Link {
    /// What the driver has lent; its own if it never does.
    pub(super) codec: Option<Box<Codec>>,
    /// With context takeover: the last octets of the compressed messages that were sent, from the first one on.
    sent: Option<Box<History>>,
    /// With context takeover by the peer: the same of those that were received.
    received: Option<Box<History>>,
    /// What takeover costs, as long as this lives.
    reservation: Option<Box<Reservation>>,
    params: DeflateParams,
    run: Run,
    /// The message that is being sent in fragments is compressed.
    fragments: bool,
    /// Decoding has stopped for the sake of other connections.
    pub(super) paused: bool,
}

impl Link {
    pub(super) fn new(params: DeflateParams) -> Box<Link> {
        Box::new(Link {
            codec: None,
            sent: None,
            received: None,
            reservation: None,
            params,
            run: Run::default(),
            fragments: false,
            paused: false,
        })
    }

    /// The codec, and where the history of the peer's messages is if they may refer to it.
    pub(super) fn inflating(&mut self, role: Role) -> (&mut Codec, Option<&mut History>) {
        let peer = self.params.sent_by(role.peer());
        let codec = self.codec.get_or_insert_with(Codec::own);
        let history = peer
            .takeover
            .then(|| &mut **self.received.get_or_insert_with(|| Box::new(History::new(peer.window.size()))));
        (codec, history)
    }

    /// The payload that this message, or fragment of one, is sent as.
    fn compress(&mut self, data: &[u8], last: bool, role: Role, config: &DeflateConfig) -> &[u8] {
        let window = self.params.sent_by(role).window;
        let codec = self.codec.get_or_insert_with(Codec::own);
        codec.compress(data, last, config.level, window, self.sent.as_deref())
    }

    /// The peer gets these octets compressed: what follows may refer to them. The `stamp` is that of the codec that has compressed
    /// them; none if it was elsewhere.
    fn remember(&mut self, data: &[u8], stamp: Stamp, role: Role, config: &DeflateConfig) {
        let own = self.params.sent_by(role);
        if own.takeover && config.history > 0 {
            let most = own.window.size().min(config.history);
            self.sent.get_or_insert_with(|| Box::new(History::new(most))).push_compressed(data, stamp);
        }
    }

    fn stamp(&self) -> Stamp {
        self.codec.as_ref().map_or_else(Stamp::default, |codec| codec.stamp())
    }

    fn may_compress(&self) -> bool {
        self.codec.as_ref().is_none_or(|codec| codec.may_compress())
    }
}

/// How compression has paid of late. After a run of messages on which it did not, the next ones are sent as they are, and then
/// one is tried again; each time in vain, more of them.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
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

impl Run {
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
            *self = Run::default();
        } else if self.unpaid + 1 < UNPAID {
            self.unpaid += 1;
        } else {
            self.skip = SKIP << (self.unpaid + 1 - UNPAID);
            self.unpaid = (self.unpaid + 1).min(UNPAID + DOUBLED - 1);
        }
    }
}

impl Connection {
    /// What the opening handshake has agreed on for permessage-deflate, if it has.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(|link| link.params)
    }

    /// Whether permessage-deflate was agreed on, so that there is use for a codec.
    #[inline]
    #[must_use]
    pub fn compresses(&self) -> bool {
        self.deflate.is_some()
    }

    /// Lends the compressors and decompressors that the connections of an event loop share, for one turn: until
    /// [`reclaim_codec`](Connection::reclaim_codec). It comes back at once if this connection does not compress, or was lent one.
    ///
    /// A connection that is lent none makes its own when it needs it, and keeps it until it is lent one.
    pub fn lend_codec(&mut self, mut codec: Box<Codec>) -> Option<Box<Codec>> {
        match &mut self.deflate {
            Some(link) if link.codec.as_ref().is_none_or(|codec| codec.is_own()) => {
                codec.begin_turn();
                link.codec = Some(codec);
                None
            }
            _ => Some(codec),
        }
    }

    /// Takes the codec back; `None` if none was lent.
    pub fn reclaim_codec(&mut self) -> Option<Box<Codec>> {
        self.deflate.as_mut()?.codec.take_if(|codec| !codec.is_own())
    }

    /// Frees the compressor and the decompressor that the connection has made for itself, if it has: the next message that needs them
    /// makes them anew. Not in the middle of a message that is being received.
    pub fn free_codec(&mut self) {
        if let Some(link) = &mut self.deflate {
            link.codec.take_if(|codec| codec.is_own());
        }
    }

    /// Keeps the reservation of what context takeover may cost ([`DeflateParams::takeover_size`]) as long as the connection lives.
    /// Dropped at once if permessage-deflate was not agreed on.
    pub fn hold_reservation(&mut self, reservation: Reservation) {
        if let Some(link) = &mut self.deflate {
            link.reservation = Some(Box::new(reservation));
        }
    }

    /// Whether decoding has stopped in the middle of a compressed message for the sake of the other connections of the event loop:
    /// it goes on when it is called in the next turn, though nothing has arrived. Only with a codec that was lent.
    #[inline]
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.deflate.as_ref().is_some_and(|link| link.paused) && self.state != State::Closed
    }

    /// The rules for the headers of received frames.
    #[inline]
    pub(super) fn rules(&self) -> Rules {
        let rules = Rules::for_receiver(self.role);
        if self.deflate.is_some() { Rules { rsv: RSV1, ..rules } } else { rules }
    }

    /// Queues a message compressed, if that is worth it: whether it was.
    #[inline]
    pub(super) fn push_compressed(&mut self, message: Message<'_>) -> bool {
        self.deflate.is_some() && self.try_compressed(message)
    }

    #[inline(never)]
    fn try_compressed(&mut self, message: Message<'_>) -> bool {
        let Connection { deflate: Some(link), outbox, extra, config, role, .. } = self else { return false };
        let (data, settings) = (message.as_bytes(), &config.deflate);
        let worth = data.len() >= settings.threshold && data.len() <= settings.largest && !data.is_empty();
        if !worth || !link.may_compress() || !link.run.tries() {
            return false;
        }
        let payload = link.compress(data, true, *role, settings);
        let len = payload.len();
        let shorter = len < data.len();
        //= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
        //# Set the "Per-Message Compressed" bit of the first frame to 1.
        if shorter {
            outbox.push_frame(true, RSV1, opcode(message), payload, next_key(extra));
            link.remember(data, link.stamp(), *role, settings);
        }
        link.run.note(data.len(), len);
        shorter
    }

    /// Queues a fragment of a compressed message, if it is one of such a message: whether it is. The first one decides.
    pub(super) fn push_compressed_fragment(&mut self, opcode: OpCode, data: Message<'_>, last: bool) -> bool {
        let Connection { deflate: Some(link), outbox, extra, config, role, .. } = self else { return false };
        let (data, settings) = (data.as_bytes(), &config.deflate);
        let first = opcode != OpCode::Continuation;
        if first {
            // How long the message gets nobody knows.
            let worth = data.len() >= settings.threshold.max(1);
            link.fragments = worth && link.may_compress() && link.run.tries();
        }
        if !link.fragments {
            return false;
        }
        let payload = link.compress(data, last, *role, settings);
        let len = payload.len();
        //= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
        //# An endpoint MUST NOT set the "Per-Message Compressed"
        //# bit of control frames and non-first fragments of a data message.
        outbox.push_frame(last, if first { RSV1 } else { 0 }, opcode, payload, next_key(extra));
        if !data.is_empty() {
            link.remember(data, link.stamp(), *role, settings);
        }
        // Once for each message: by the fragment that has decided.
        if first {
            link.run.note(data.len(), len);
        }
        true
    }

    /// With which level and window a prepared message of this length is compressed; `None` if it is not.
    pub(super) fn prepared_form(&self, len: usize) -> Option<(Level, WindowBits)> {
        let link = self.deflate.as_ref()?;
        let settings = &self.config.deflate;
        let window = link.params.sent_by(self.role).window;
        // No distance goes back further than the message is long: the form for one window does for another.
        let window = if len <= window.size() { WindowBits::MAX } else { window };
        (len >= settings.threshold.max(1) && len <= settings.largest).then_some((settings.level, window))
    }

    /// The codec of a connection that compresses.
    pub(super) fn codec_mut(&mut self) -> &mut Codec {
        let link = self.deflate.as_mut().expect("only such a connection needs one");
        link.codec.get_or_insert_with(Codec::own)
    }

    /// The peer got this message, compressed elsewhere.
    pub(super) fn remember_sent(&mut self, data: &[u8]) {
        if let Some(link) = &mut self.deflate {
            link.remember(data, Stamp::default(), self.role, &self.config.deflate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_at_rest_takes_no_more_than_a_small_allocation() {
        assert!(size_of::<Link>() <= 48, "{} octets", size_of::<Link>());
    }

    #[test]
    fn after_eight_messages_in_vain_ever_more_are_skipped() {
        let mut run = Run::default();
        let mut tried = Vec::new();
        for index in 0..10_000 {
            if run.tries() {
                tried.push(index);
                run.note(1000, 990);
            }
        }
        assert_eq!(tried[..10], [0, 1, 2, 3, 4, 5, 6, 7, 24, 57]);
        let last = &tried[tried.len() - 2..];
        assert_eq!(last[1] - last[0], 1025);
        run = Run { unpaid: UNPAID, skip: 0 };
        run.note(1000, 875);
        assert!((0..8).all(|_| std::mem::take(&mut run).tries()));
    }
}
