//! The replies of an echo without a protocol: the frames that were sent, as they were sent.

use super::{Heard, Replies, compare};
use crate::bench::script::{Message, Script};

impl Replies {
    /// Takes octets of replies.
    pub(super) fn receive_raw(
        &mut self,
        script: &Script,
        mut octets: &[u8],
        heard: &mut Heard,
    ) -> anyhow::Result<()> {
        while !octets.is_empty() {
            let message: Message = script.message(self.next);
            let (piece, rest) = octets.split_at(octets.len().min(message.frame_len - self.got));
            if script.verify {
                compare(script.frame(message), self.got, piece)?;
            }
            self.got += piece.len();
            octets = rest;
            self.end_raw(script, heard);
        }
        Ok(())
    }

    /// The reply is whole, where there is no protocol and all octets have come.
    pub(super) fn end_raw(&mut self, script: &Script, heard: &mut Heard) {
        let message = script.message(self.next);
        if self.got == message.frame_len {
            heard.volume.frame(message.frame_len - message.payload_len, message.payload_len as u64);
            self.replied(script, heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{heard, script};
    use crate::bench::target::Protocol;

    #[test]
    fn without_a_protocol_the_octets_come_back() {
        let script = script("200,0,5", true, Protocol::Raw);
        let octets = script.to_send(0, script.start(9));
        for size in 1..octets.len() {
            assert_eq!(heard(&script, octets, size).unwrap().volume.replies, 9);
        }
        let mut wrong = octets.to_vec();
        wrong[100] ^= 1;
        assert!(heard(&script, &wrong, 64).is_err());
    }
}
