//! Fragmentation (RFC 6455, section 5.4): which data frame may come next, and the limits that add
//! up over a message.

use super::config::{Config, Delivery};
use super::utf8::Utf8Stream;
use crate::deflate::Inflater;
use crate::error::{Error, LimitExceeded, PeerMisbehaved};
use crate::frame::{Header, OpCode, RSV1};
use std::time::Instant;

/// The length in bytes below which a fragment counts against
/// [`Config::small_frame_budget`](crate::Config::small_frame_budget).
pub const SMALL_FRAME: u64 = 16;

/// The message that is being received, if any, and the data frame within it.
#[derive(Debug, Default)]
pub(super) struct ReceivingMessage {
    /// Bytes of payload that the headers of this message have announced so far.
    pub(super) announced: u64,
    /// Bytes of the current frame's payload not received yet.
    pub(super) remaining: u64,
    pub(super) key: Option<[u8; 4]>,
    pub(super) phase: u8,
    /// Inside a data frame: its header has been taken, but not all of its payload.
    pub(super) in_frame: bool,
    /// FIN of the current frame.
    pub(super) last_frame: bool,
    /// A message has begun and not ended.
    pub(super) in_message: bool,
    pub(super) text: bool,
    /// A chunk of this message was delivered.
    pub(super) chunk_delivered: bool,
    small_frames: u32,
    frames: u32,
    /// Bytes of payload received since the message's deadline was set.
    progress: u32,
    /// Setting the message's deadline anew up to this instant gives the same deadline.
    pub(super) settled: Option<Instant>,
    pub(super) utf8: Utf8Stream,
    /// The message is compressed.
    pub(super) compressed: bool,
    /// The payload received so far may inflate to more bytes.
    pub(super) unfinished: bool,
    /// The decompressor of the message, from its first bytes on.
    pub(super) inflater: Option<Box<Inflater>>,
}

impl ReceivingMessage {
    /// Checks a data frame's header against the frames received before and against the limits.
    pub(super) fn check(&self, header: &Header, config: &Config) -> Result<(), Error> {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.4
        //# The fragments of one message MUST NOT be interleaved between the
        //# fragments of another message unless an extension has been
        //# negotiated that can interpret the interleaving.
        match (header.opcode, self.in_message) {
            (OpCode::Continuation, false) => return Err(Error::Peer(PeerMisbehaved::UnexpectedContinuation)),
            (OpCode::Text | OpCode::Binary, true) => {
                return Err(Error::Peer(PeerMisbehaved::InterleavedMessage));
            }
            _ => {}
        }
        if config.delivery == Delivery::Whole && header.payload_len > config.max_frame {
            let (announced, limit) = (header.payload_len, config.max_frame);
            return Err(Error::Limit(LimitExceeded::FrameTooLarge { announced, limit }));
        }
        let announced = self.announced.saturating_add(header.payload_len);
        let compressed = self.compressed || header.rsv & RSV1 != 0;
        if announced > most_announced(config.max_message, compressed, self.frames) {
            return Err(Error::Limit(LimitExceeded::MessageTooLarge {
                announced,
                limit: config.max_message,
            }));
        }
        let small = header.payload_len < SMALL_FRAME && !header.fin;
        if small && self.small_frames >= config.small_frame_budget {
            return Err(Error::Limit(LimitExceeded::SmallFrames { limit: config.small_frame_budget }));
        }
        Ok(())
    }

    /// Begins a data frame that [`check`](ReceivingMessage::check) has passed.
    pub(super) fn begin(&mut self, header: &Header) {
        if !self.in_message {
            self.in_message = true;
            self.text = header.opcode == OpCode::Text;
            self.compressed = header.rsv & RSV1 != 0;
        }
        self.announced += header.payload_len;
        self.frames = self.frames.saturating_add(1);
        self.small_frames += u32::from(header.payload_len < SMALL_FRAME && !header.fin);
        self.in_frame = true;
        self.last_frame = header.fin;
        self.remaining = header.payload_len;
        self.key = header.mask;
        self.phase = 0;
    }

    /// Notes `count` received bytes of payload. Returns whether the message has grown by
    /// [`Config::message_progress`], so that its deadline is to be set anew.
    pub(super) fn progresses(&mut self, count: usize, config: &Config) -> bool {
        self.progress = self.progress.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        let enough = self.progress >= config.message_progress.max(1);
        if enough {
            self.progress = 0;
        }
        enough
    }

    /// Ends the message.
    pub(super) fn end(&mut self) {
        *self = ReceivingMessage::default();
    }
}

/// Bytes that a compressed fragment takes for an end that can be inflated without the next
/// fragment, and for the start of a block behind it.
const FLUSH: u64 = 16;

/// How many bytes of payload a message in `frames` frames may announce. Data that does not compress
/// gets longer: by an eighth with the fixed codes of DEFLATE, and by [`FLUSH`] for each fragment.
fn most_announced(max_message: u64, compressed: bool, frames: u32) -> u64 {
    if !compressed {
        return max_message;
    }
    let longer = max_message / 8 + (1 << 10) + u64::from(frames) * FLUSH;
    max_message.saturating_add(longer)
}
