//! The parameters of permessage-deflate (RFC 7692, sections 5 and 7.1), and how they are
//! negotiated.
//!
//! `offer` reads and writes an element of `Sec-WebSocket-Extensions`, `policy` is the server's side
//! of the negotiation, `answer` the client's.
//!
//! | parameter | in an offer | in the answer | agreed |
//! |---|---|---|---|
//! | `server_no_context_takeover` | the server must not | listed if true | offered, or the policy's |
//! | `client_no_context_takeover` | the client will not | listed if true | offered, or the policy's |
//! | `server_max_window_bits` | at most this much | listed if offered, or below 15 | the lesser of offer and policy |
//! | `client_max_window_bits` | can be limited; maybe at most this much | only if offered; listed if below 15 | the lesser of offer and policy; 15 if not offered |

use super::DeflateConfig;
use crate::role::Role;

/// The name under which the extension is offered. Like every extension token, it is compared byte
/// by byte.
pub(super) const NAME: &str = "permessage-deflate";

/// The base-2 logarithm of the size of an LZ77 sliding window (RFC 7692, section 7.1.2): 8 to 15.
///
/// ```
/// # use framewright::deflate::WindowBits;
/// let bits = WindowBits::new(10).unwrap();
/// assert_eq!((bits.get(), bits.size()), (10, 1024));
/// assert_eq!(WindowBits::new(16), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// A window of 256 bytes.
    pub const MIN: WindowBits = WindowBits(8);
    /// A window of 32,768 bytes: the default if nothing else is negotiated.
    pub const MAX: WindowBits = WindowBits(15);

    /// The smallest window that messages can be compressed with.
    ///
    /// zlib, and the libraries modelled on it, refuse 8 for raw DEFLATE. Earlier versions silently
    /// used 9 instead, so that matches reached back further than a receiver with a window of 256
    /// bytes remembers. Inflating with 8 works.
    pub(crate) const MIN_COMPRESS: WindowBits = WindowBits(9);

    /// 4 KiB: the window that a server asks of a client whose window it has to keep. For messages
    /// of 1 KiB of JSON, it saves nine tenths of what 32 KiB save over no window.
    pub(super) const TAKEOVER: WindowBits = WindowBits(12);

    /// Makes a size of window; `None` unless `bits` is 8 to 15.
    pub const fn new(bits: u8) -> Option<WindowBits> {
        if bits >= Self::MIN.0 && bits <= Self::MAX.0 { Some(WindowBits(bits)) } else { None }
    }

    /// The base-2 logarithm of the size: 8 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The size of the window in bytes: 256 to 32,768.
    pub const fn size(self) -> usize {
        1 << self.0
    }
}

/// [`WindowBits::MAX`].
impl Default for WindowBits {
    fn default() -> Self {
        WindowBits::MAX
    }
}

/// The parameters of permessage-deflate that an opening handshake has negotiated.
///
/// The RFC defines these four parameters and no way to add others. By default none is in force:
/// both sides take their windows over from message to message, and use the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the four parameters that RFC 7692 has")]
pub struct DeflateParams {
    /// The server compresses each message on its own (section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own (section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The largest window that the server compresses with (section 7.1.2.1).
    pub server_max_window_bits: WindowBits,
    /// The largest window that the client compresses with (section 7.1.2.2).
    ///
    /// 8 may be negotiated: a client then compresses each message in parts of 128 bytes, each of
    /// which refers to no more than the 128 bytes before it.
    pub client_max_window_bits: WindowBits,
}

impl DeflateParams {
    /// The most bytes that the end in `role` holds for a connection because of context takeover:
    /// the last bytes sent and the last bytes received. 0 without context takeover.
    #[must_use]
    pub fn takeover_size(&self, role: Role, config: &DeflateConfig) -> usize {
        let (own, peer) = (self.sent_by(role), self.sent_by(role.peer()));
        let sent = if own.takeover { own.window.size().min(config.history) } else { 0 };
        sent + if peer.takeover { peer.window.size() } else { 0 }
    }

    /// The parameters of the messages that the end in `role` sends.
    pub(crate) fn sent_by(&self, role: Role) -> Direction {
        let (no_takeover, window) = match role {
            Role::Server => (self.server_no_context_takeover, self.server_max_window_bits),
            Role::Client => (self.client_no_context_takeover, self.client_max_window_bits),
        };
        Direction { takeover: !no_takeover, window }
    }
}

/// The negotiated parameters of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direction {
    /// A message may refer to earlier messages.
    pub(crate) takeover: bool,
    /// How far back a message may refer.
    pub(crate) window: WindowBits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_bits_are_8_to_15() {
        let all: Vec<u8> = (0..=u8::MAX).filter_map(WindowBits::new).map(WindowBits::get).collect();
        assert_eq!(all, [8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!((WindowBits::MIN.size(), WindowBits::MAX.size()), (256, 32768));
        assert_eq!(WindowBits::default(), WindowBits::MAX);
    }
}
