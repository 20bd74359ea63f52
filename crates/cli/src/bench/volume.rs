//! How much went and came.

use super::script::Message;
use std::ops::AddAssign;

/// Replies, and what they and their messages came to in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) replies: u64,
    /// Those of them that are compressed.
    pub(super) compressed: u64,
    /// What the replies say, inflated where they are compressed.
    pub(super) payload: u64,
    /// The payload of the frames that carry it: less, where they are compressed.
    pub(super) carried: u64,
    /// The frames of the messages that were replied to, with their headers.
    pub(super) sent: u64,
    /// The frames of the replies, with their headers.
    pub(super) received: u64,
}

impl Volume {
    /// Takes note of a whole reply to this message.
    #[inline]
    pub(super) fn reply(&mut self, message: Message) {
        self.replies += 1;
        self.payload += message.payload_len as u64;
        self.sent += message.frame_len as u64;
    }

    /// Takes note of a frame of a reply, with a header of so many octets and so much payload.
    #[inline]
    pub(super) fn frame(&mut self, header_len: usize, payload_len: u64) {
        self.carried += payload_len;
        self.received += header_len as u64 + payload_len;
    }

    /// What replies were compressed to: 0.25 is a quarter. `None` without any.
    pub(super) fn reply_ratio(self) -> Option<f64> {
        (self.payload > 0).then(|| self.carried as f64 / self.payload as f64)
    }
}

impl AddAssign for Volume {
    #[inline]
    fn add_assign(&mut self, other: Volume) {
        self.replies += other.replies;
        self.compressed += other.compressed;
        self.payload += other.payload;
        self.carried += other.carried;
        self.sent += other.sent;
        self.received += other.received;
    }
}
