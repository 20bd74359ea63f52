//! The server's side of the negotiation of permessage-deflate (RFC 7692, sections 5 and 7.1): which
//! offer is accepted, and the answer.

use super::negotiate::{DeflateParams, NAME, WindowBits};
use super::offer::{ClientWindow, DeflateOffer};
use crate::handshake::Extension;

/// The parameters of permessage-deflate that a server accepts.
///
/// By default neither side takes its window over to the next message, so a connection needs no
/// memory for compression between two messages. Windows may be of any size.
///
/// ```
/// # use framewright::deflate::{DeflatePolicy, WindowBits};
/// // The server remembers what it has sent, in a window of at most 4,096 octets.
/// let policy = DeflatePolicy {
///     server_no_context_takeover: false,
///     server_max_window_bits: WindowBits::new(12).unwrap(),
///     ..DeflatePolicy::default()
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built with struct update syntax")]
pub struct DeflatePolicy {
    /// Whether the server compresses each message on its own, and announces it, even if the client
    /// does not ask for it. If `false`, it does so only if the client asks. Default: `true`.
    ///
    /// It makes messages longer, most of all short messages that are alike. It saves the
    /// compressor's state between messages.
    pub server_no_context_takeover: bool,
    /// Whether the client has to compress each message on its own, even if it does not offer to. If
    /// `false`, it does so only if it offers to. Default: `true`.
    ///
    /// It saves the server the window of each client. A client that refers to earlier messages
    /// nevertheless is served as long as there is memory
    /// ([`DeflateMemory`](super::DeflateMemory)).
    pub client_no_context_takeover: bool,
    /// The largest window that the server compresses with. 8 counts as 9: the compressor has no
    /// smaller window. Default: 15.
    pub server_max_window_bits: WindowBits,
    /// The largest window that the client may compress with, if the client offers
    /// `client_max_window_bits`; otherwise it may use 15. Default: 15.
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
    /// Returns this policy without context takeover by either side, as negotiated if there is no
    /// memory for takeover.
    #[must_use]
    pub fn without_takeover(self) -> DeflatePolicy {
        DeflatePolicy { server_no_context_takeover: true, client_no_context_takeover: true, ..self }
    }

    /// Returns this policy with context takeover by both sides, unless the client declines it.
    ///
    /// The client's window is at most 4 KiB, if the client offers `client_max_window_bits`. Short
    /// messages that are alike get shorter, and each connection holds some of the bytes sent and
    /// received: see [`DeflateParams::takeover_size`].
    #[must_use]
    pub fn with_takeover(self) -> DeflatePolicy {
        DeflatePolicy {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            client_max_window_bits: self.client_max_window_bits.min(WindowBits::TAKEOVER),
            ..self
        }
    }

    /// Accepts the first acceptable offer, in the client's order; `None` if there is none. Other
    /// extensions, and offers that have to be declined, are skipped: they are no error.
    ///
    /// ```
    /// # use framewright::deflate::DeflatePolicy;
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

/// An accepted offer: the negotiated parameters, and the answer that announces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateAnswer {
    params: DeflateParams,
    server_window_offered: bool,
}

impl DeflateAnswer {
    /// The negotiated parameters.
    pub fn params(&self) -> DeflateParams {
        self.params
    }

    /// Appends the answer to `out`, as the value of `Sec-WebSocket-Extensions`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let params = &self.params;
        let below_default = |bits: WindowBits| bits < WindowBits::MAX;
        // An answer is written like an offer of the same parameters.
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
            // It is below the default only if the offer has the parameter.
            client_max_window_bits: below_default(params.client_max_window_bits)
                .then_some(ClientWindow::AtMost(params.client_max_window_bits)),
        };
        element.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::ExtensionList;

    /// No demands, the largest windows.
    const OPEN: DeflatePolicy = DeflatePolicy {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: WindowBits::MAX,
        client_max_window_bits: WindowBits::MAX,
    };

    const SMALL: DeflatePolicy = DeflatePolicy {
        server_max_window_bits: WindowBits::new(11).unwrap(),
        client_max_window_bits: WindowBits::new(10).unwrap(),
        ..OPEN
    };

    /// The answer to a list of offers; empty where all are declined.
    fn answer(policy: DeflatePolicy, offers: &str) -> String {
        let offers = ExtensionList::new(offers.as_bytes()).map(|offer| offer.expect("the grammar is kept"));
        let mut out = Vec::new();
        if let Some(answer) = policy.accept(offers) {
            answer.write(&mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn assert_answers(policy: DeflatePolicy, rows: &[(&str, &str)]) {
        for (offers, expected) in rows {
            assert_eq!(answer(policy, offers), *expected, "{offers}");
        }
    }

    #[track_caller]
    fn assert_declined(offers: &[&str]) {
        for offers in offers {
            assert_eq!(answer(OPEN, offers), "", "{offers}");
            let second = format!("{offers}, permessage-deflate; client_max_window_bits=12");
            assert_eq!(
                answer(OPEN, &second),
                "permessage-deflate; client_max_window_bits=12",
                "the next offer after {offers}"
            );
        }
    }

    #[test]
    fn server_without_demands_answers_what_was_offered() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.1.1
        //= type=test
        //# A server accepts an extension negotiation offer that includes the
        //# "server_no_context_takeover" extension parameter by including the
        //# "server_no_context_takeover" extension parameter in the corresponding
        //# extension negotiation response to send back to the client.
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
        //= type=test
        //# A server accepts an extension negotiation offer with this parameter
        //# by including the "server_max_window_bits" extension parameter in
        //# the extension negotiation response to send back to the client with
        //# the same or smaller value as the offer.
        assert_answers(
            OPEN,
            &[
                // Firefox and Safari; the simplest offer of section 7.1.3.
                ("permessage-deflate", "permessage-deflate"),
                // Chromium and ws of Node.
                ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
                // websockets of Python.
                (
                    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
                    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
                ),
                // The second offer of section 7.1.3.
                (
                    "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
                    "permessage-deflate; server_max_window_bits=10",
                ),
                (
                    "permessage-deflate; server_no_context_takeover",
                    "permessage-deflate; server_no_context_takeover",
                ),
                (
                    "permessage-deflate; client_no_context_takeover",
                    "permessage-deflate; client_no_context_takeover",
                ),
                // Asked for, so it is answered, although 15 is the default.
                (
                    "permessage-deflate; server_max_window_bits=15",
                    "permessage-deflate; server_max_window_bits=15",
                ),
                ("permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
                (
                    "permessage-deflate; client_max_window_bits=8",
                    "permessage-deflate; client_max_window_bits=8",
                ),
                (
                    "permessage-deflate; server_max_window_bits=9",
                    "permessage-deflate; server_max_window_bits=9",
                ),
            ],
        );
    }

    #[test]
    fn server_by_default_agrees_on_no_takeover_unasked() {
        assert_answers(
            DeflatePolicy::default(),
            &[
                (
                    "permessage-deflate",
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                ),
                (
                    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                     server_max_window_bits=9; client_max_window_bits=9",
                ),
            ],
        );
    }

    #[test]
    fn server_with_small_windows_answers_the_lesser() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.2
        //= type=test
        //# If a received extension negotiation offer doesn't have the
        //# "client_max_window_bits" extension parameter, the corresponding
        //# extension negotiation response to the offer MUST NOT include the
        //# "client_max_window_bits" extension parameter.
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
        //= type=test
        //# A server MAY include the "server_max_window_bits" extension
        //# parameter in an extension negotiation response even if the
        //# extension negotiation offer being accepted by the response didn't
        //# include the "server_max_window_bits" extension parameter.
        assert_answers(
            SMALL,
            &[
                ("permessage-deflate", "permessage-deflate; server_max_window_bits=11"),
                (
                    "permessage-deflate; client_max_window_bits",
                    "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10",
                ),
                (
                    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
                    "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
                ),
                (
                    "permessage-deflate; client_max_window_bits=12; server_max_window_bits=12",
                    "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10",
                ),
            ],
        );
    }

    #[test]
    fn server_takes_the_first_offer_that_it_can() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-5
        //= type=test
        //# The order of
        //# elements is important as it specifies the client's preference.  An
        //# element preceding another element has higher preference.  It is
        //# recommended that a server accepts PMCEs with higher preference if the
        //# server supports them.
        assert_answers(
            OPEN,
            &[
                // The third offer of section 7.1.3.
                (
                    "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                     permessage-deflate; client_max_window_bits",
                    "permessage-deflate; server_max_window_bits=10",
                ),
                ("permessage-deflate, permessage-deflate; server_no_context_takeover", "permessage-deflate"),
                (
                    "permessage-foo; use_y, permessage-deflate; server_no_context_takeover, permessage-deflate",
                    "permessage-deflate; server_no_context_takeover",
                ),
                (
                    "permessage-deflate; x, permessage-deflate; y=1, , permessage-deflate",
                    "permessage-deflate",
                ),
                ("x-webkit-deflate-frame", ""),
                ("permessage-bzip2, permessage-deflate-2", ""),
                ("", ""),
            ],
        );
    }

    #[test]
    fn names_are_compared_octet_for_octet() {
        assert_declined(&["Permessage-Deflate", "permessage-deflate; Server_No_Context_Takeover"]);
    }

    #[test]
    fn quoted_values_count_as_the_same_without_quotes() {
        assert_answers(
            OPEN,
            &[
                (
                    "permessage-deflate; server_max_window_bits=\"10\"",
                    "permessage-deflate; server_max_window_bits=10",
                ),
                (
                    "permessage-deflate ;\tserver_max_window_bits = \"1\\0\" ; client_max_window_bits=\"\\9\"",
                    "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
                ),
            ],
        );
        assert_declined(&["permessage-deflate; server_max_window_bits=\"\\0\\9\""]);
    }

    #[test]
    fn server_declines_an_offer_with_parameters_that_cannot_be_taken_and_goes_on() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7
        //= type=test
        //# A server MUST decline an extension negotiation offer for this
        //# extension if any of the following conditions are met:
        assert_declined(&[
            // Not defined.
            "permessage-deflate; x",
            "permessage-deflate; server_no_context_takeover; max_window_bits=10",
            // Several with the same name.
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            // An invalid value.
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover=\"server_no_context_takeover\"",
            "permessage-deflate; server_max_window_bits",
        ]);
    }

    #[test]
    fn window_bits_have_one_spelling() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
        //= type=test
        //# This parameter has a decimal
        //# integer value without leading zeroes between 8 to 15, inclusive,
        //# indicating the base-2 logarithm of the LZ77 sliding window size, and
        //# MUST conform to the ABNF below.
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.2
        //= type=test
        //# This parameter has no value or a
        //# decimal integer value without leading zeroes between 8 to 15
        //# inclusive indicating the base-2 logarithm of the LZ77 sliding window
        //# size, and MUST conform to the ABNF below.
        for bits in 9..=15 {
            for side in ["server", "client"] {
                let offer = format!("permessage-deflate; {side}_max_window_bits={bits}");
                assert!(!answer(OPEN, &offer).is_empty(), "{offer}");
            }
        }
        let values = "0 00 05 7 16 18 25 08 09 010 015 1 100 150 +9 -9 9.0 0x9 1e1 nine 256 265 4294967305 \
            18446744073709551625 99999999999999999999999999999999999999999999999999";
        for value in values.split_whitespace() {
            assert_declined(&[
                &format!("permessage-deflate; server_max_window_bits={value}"),
                &format!("permessage-deflate; client_max_window_bits={value}"),
                &format!("permessage-deflate; client_max_window_bits=\"{value}\""),
            ]);
        }
    }

    #[test]
    fn server_declines_to_compress_with_a_window_of_256_octets() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7
        //= type=test
        //# The server doesn't support the offered configuration.
        assert_declined(&["permessage-deflate; server_max_window_bits=8"]);
        let policy = DeflatePolicy { server_max_window_bits: WindowBits::MIN, ..OPEN };
        assert_answers(policy, &[("permessage-deflate", "permessage-deflate; server_max_window_bits=9")]);
    }
}
