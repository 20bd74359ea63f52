//! Stands in for `deflate` and `inflate` where the crate is built without permessage-deflate: RSV1 is refused, and nothing is
//! compressed.

use super::decode::Turn;
use super::event::Message;
use super::{Connection, RecvBuffer};
use crate::frame::{OpCode, Rules};
use std::time::Instant;

impl Connection {
    /// Whether decoding has stopped in the middle of a compressed message: never, since there are none.
    #[inline]
    #[must_use]
    #[allow(clippy::unused_self, reason = "as where there are such messages")]
    pub fn is_paused(&self) -> bool {
        false
    }

    /// Frees what compresses: nothing does.
    #[allow(clippy::unused_self, reason = "as where there are such messages")]
    pub fn free_codec(&mut self) {}

    /// Whether the connection was failed for the sake of others that inflate: never.
    #[allow(clippy::unused_self, reason = "as where there are such messages")]
    pub fn give_way(&mut self, _: Instant, _: &mut RecvBuffer) -> bool {
        false
    }

    #[inline]
    pub(super) fn rules(&self) -> Rules {
        Rules::for_receiver(self.role)
    }

    pub(super) fn inflate(&mut self, _: Instant, _: &mut RecvBuffer) -> Turn {
        unreachable!("a header with RSV1 is refused")
    }

    pub(super) fn push_compressed(&mut self, _: Message<'_>) -> bool {
        false
    }

    pub(super) fn push_compressed_fragment(&mut self, _: OpCode, _: Message<'_>, _: bool) -> bool {
        false
    }
}
