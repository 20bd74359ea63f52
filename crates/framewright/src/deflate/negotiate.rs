//! The negotiation of permessage-deflate (RFC 7692, sections 5 and 7.1), the server's side: which offer is accepted,
//! and what is answered.
//!
//! How an element of `Sec-WebSocket-Extensions` is read and written is in `offer`, how a client checks an answer in
//! `answer`.
//!
//! | parameter | in an offer | in the answer | agreed |
//! |---|---|---|---|
//! | `server_no_context_takeover` | the server must not | listed if true | offered, or the policy's |
//! | `client_no_context_takeover` | the client will not | listed if true | offered, or the policy's |
//! | `server_max_window_bits` | at most this much | listed if offered, or below 15 | the lesser of offer and policy |
//! | `client_max_window_bits` | can be limited; maybe at most this much | only if offered; listed if below 15 | the lesser of offer and policy; 15 if not offered |

use super::offer::{ClientWindow, DeflateOffer};
use crate::handshake::Extension;

/// The name under which the extension is offered. Like every extension token it is compared octet for octet.
pub(super) const NAME: &str = "permessage-deflate";

/// The base-2 logarithm of the size of an LZ77 sliding window (RFC 7692, section 7.1.2): 8 to 15.
///
/// ```
/// use framewright::deflate::WindowBits;
///
/// let bits = WindowBits::new(10).unwrap();
/// assert_eq!((bits.get(), bits.size()), (10, 1024));
/// assert_eq!(WindowBits::new(16), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// A window of 256 octets.
    pub const MIN: WindowBits = WindowBits(8);
    /// A window of 32,768 octets: what holds where nothing else is agreed.
    pub const MAX: WindowBits = WindowBits(15);

    /// The least that messages can be compressed with. zlib and what is made after it take 8 for 9 when they
    /// compress: their matches would reach back further than a receiver with 256 octets remembers. Inflating with 8
    /// is no trouble.
    pub(super) const MIN_COMPRESS: WindowBits = WindowBits(9);

    /// `None` unless `bits` is 8 to 15.
    pub const fn new(bits: u8) -> Option<WindowBits> {
        if bits >= Self::MIN.0 && bits <= Self::MAX.0 { Some(WindowBits(bits)) } else { None }
    }

    /// The logarithm: 8 to 15.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The size of the window in octets: 256 to 32,768.
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

/// What an opening handshake has agreed on for permessage-deflate.
///
/// The RFC defines these four parameters and no way to add to them. By default none is in force: both sides take
/// their windows over from message to message, and use the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeflateParams {
    /// The server compresses each message on its own (section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own (section 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The largest window that the server compresses with (section 7.1.2.1).
    pub server_max_window_bits: WindowBits,
    /// The largest window that the client compresses with (section 7.1.2.2).
    ///
    /// 8 may be agreed, but the compressor has no such window: a client then sends its messages uncompressed.
    pub client_max_window_bits: WindowBits,
}

/// What a server is willing to agree on.
///
/// By default neither side takes its window over to the next message, so that a connection needs no memory for
/// compression between two of them; windows may be of any size.
///
/// ```
/// use framewright::deflate::{DeflatePolicy, WindowBits};
///
/// // The server remembers what it has sent, in a window of at most 4,096 octets.
/// let policy = DeflatePolicy {
///     server_no_context_takeover: false,
///     server_max_window_bits: WindowBits::new(12).unwrap(),
///     ..DeflatePolicy::default()
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflatePolicy {
    /// `true`: the server compresses each message on its own, and says so even if the client does not ask for it.
    /// `false`: only if the client asks for it. It costs ratio, most with short messages that are alike, and saves the
    /// compressor's state between messages. Default: `true`.
    pub server_no_context_takeover: bool,
    /// `true`: the client has to compress each message on its own, whether it offers to or not. `false`: it does if it
    /// offers to. It saves the server the window of each client. Default: `true`.
    pub client_no_context_takeover: bool,
    /// The largest window that the server compresses with. 8 counts as 9: the compressor has no smaller one.
    /// Default: 15.
    pub server_max_window_bits: WindowBits,
    /// The largest window that the client may compress with, so far as it lets itself be told: one that does not offer
    /// `client_max_window_bits` may use 15. Default: 15.
    pub client_max_window_bits: WindowBits,
}

impl Default for DeflatePolicy {
    fn default() -> Self {
        DeflatePolicy {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: WindowBits::MAX,
            client_max_window_bits: WindowBits::MAX,
        }
    }
}

impl DeflatePolicy {
    /// Accepts the first offer that can be accepted, in the client's order; `None` if none can. Other extensions are
    /// passed over, and so are offers that have to be declined: they are no error.
    ///
    /// ```
    /// use framewright::deflate::DeflatePolicy;
    /// # use framewright::handshake::{HeadLimits, ServerHandshake};
    /// # use std::time::{Duration, Instant};
    /// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\
    ///     Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    /// # let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
    /// # handshake.parse(bytes).unwrap().unwrap();
    /// # let request = handshake.request(bytes);
    /// let answer = DeflatePolicy::default().accept(request.extensions()).unwrap();
    /// let mut value = Vec::new();
    /// answer.write(&mut value);
    /// assert_eq!(value, b"permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    /// ```
    //= https://www.rfc-editor.org/rfc/rfc7692#section-5
    //# The order of
    //# elements is important as it specifies the client's preference.  An
    //# element preceding another element has higher preference.  It is
    //# recommended that a server accepts PMCEs with higher preference if the
    //# server supports them.
    pub fn accept<'a>(&self, offers: impl IntoIterator<Item = Extension<'a>>) -> Option<DeflateAnswer> {
        offers.into_iter().filter(|extension| extension.name() == NAME).find_map(|extension| {
            //= https://www.rfc-editor.org/rfc/rfc7692#section-7
            //# A server MUST decline an extension negotiation offer for this
            //# extension if any of the following conditions are met:
            self.accept_one(&DeflateOffer::read(&extension).ok()?)
        })
    }

    fn accept_one(&self, offer: &DeflateOffer) -> Option<DeflateAnswer> {
        let own_window = self.server_max_window_bits.max(WindowBits::MIN_COMPRESS);
        let server_max_window_bits = match offer.server_max_window_bits {
            //= https://www.rfc-editor.org/rfc/rfc7692#section-7
            //# The server doesn't support the offered configuration.
            Some(most) if most < WindowBits::MIN_COMPRESS => return None,
            Some(most) => most.min(own_window),
            None => own_window,
        };
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.2
        //# If a received extension negotiation offer doesn't have the
        //# "client_max_window_bits" extension parameter, the corresponding
        //# extension negotiation response to the offer MUST NOT include the
        //# "client_max_window_bits" extension parameter.
        let client_max_window_bits = match offer.client_max_window_bits {
            Some(window) => window.most().min(self.client_max_window_bits),
            None => WindowBits::MAX,
        };
        Some(DeflateAnswer {
            params: DeflateParams {
                server_no_context_takeover: offer.server_no_context_takeover
                    || self.server_no_context_takeover,
                client_no_context_takeover: offer.client_no_context_takeover
                    || self.client_no_context_takeover,
                server_max_window_bits,
                client_max_window_bits,
            },
            server_window_offered: offer.server_max_window_bits.is_some(),
        })
    }
}

/// An offer that was accepted: what is agreed by it, and the answer that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateAnswer {
    params: DeflateParams,
    server_window_offered: bool,
}

impl DeflateAnswer {
    /// What is agreed.
    pub fn params(&self) -> DeflateParams {
        self.params
    }

    /// Appends the value of the answer's `Sec-WebSocket-Extensions`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let params = &self.params;
        let below_default = |bits: WindowBits| bits < WindowBits::MAX;
        // An answer is written as an offer of the same parameters would be.
        let element = DeflateOffer {
            //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.1.1
            //# A server accepts an extension negotiation offer that includes the
            //# "server_no_context_takeover" extension parameter by including the
            //# "server_no_context_takeover" extension parameter in the corresponding
            //# extension negotiation response to send back to the client.
            server_no_context_takeover: params.server_no_context_takeover,
            client_no_context_takeover: params.client_no_context_takeover,
            //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
            //# A server accepts an extension negotiation offer with this parameter
            //# by including the "server_max_window_bits" extension parameter in
            //# the extension negotiation response to send back to the client with
            //# the same or smaller value as the offer.
            server_max_window_bits: (self.server_window_offered
                || below_default(params.server_max_window_bits))
            .then_some(params.server_max_window_bits),
            // Only an offer that has the parameter brings it below the default.
            client_max_window_bits: below_default(params.client_max_window_bits)
                .then_some(ClientWindow::AtMost(params.client_max_window_bits)),
        };
        element.write(out);
    }
}
