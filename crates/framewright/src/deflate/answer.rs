//! The client's side of the negotiation of permessage-deflate (RFC 7692, section 7.1): whether an
//! answer matches an offer, and which parameters result.

use std::fmt;

use super::negotiate::{DeflateParams, NAME, WindowBits};
use super::offer::{ClientWindow, DeflateOffer, ParamFault};
use crate::handshake::ExtensionList;

/// Checks a server's answer to `offers`, and returns the negotiated parameters, or `Ok(None)` if
/// the server has declined.
///
/// `answer` are the values of all Sec-WebSocket-Extensions lines of the response, in order. An
/// answer may match any of the offers, since it does not name one. If it matches several, the first
/// of them counts.
///
/// ```
/// use framewright::deflate::{AnswerError, DeflateOffer, check_answer};
///
/// let offers = [DeflateOffer::default()];
/// let answer = b"permessage-deflate; server_no_context_takeover";
/// let params = check_answer(&offers, [&answer[..]])?.expect("the server has accepted");
/// assert!(params.server_no_context_takeover && !params.client_no_context_takeover);
///
/// assert_eq!(check_answer(&offers, [&b"bbf-usp-protocol"[..]]), Err(AnswerError::NotOffered));
/// # Ok::<(), AnswerError>(())
/// ```
///
/// # Errors
/// [`AnswerError`]: the client has to fail the connection.
pub fn check_answer<'a>(
    offers: &[DeflateOffer],
    answer: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<DeflateParams>, AnswerError> {
    let mut agreed = None;
    for element in answer.into_iter().flat_map(ExtensionList::new) {
        let element = element.map_err(|_| AnswerError::Malformed)?;
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# If the response includes a |Sec-WebSocket-Extensions| header
        //# field and this header field indicates the use of an extension
        //# that was not present in the client's handshake (the server has
        //# indicated an extension not requested by the client), the client
        //# MUST _Fail the WebSocket Connection_.
        if element.name() != NAME || offers.is_empty() {
            return Err(AnswerError::NotOffered);
        }
        if agreed.is_some() {
            return Err(AnswerError::Repeated);
        }
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7
        //# A client MUST _Fail the WebSocket Connection_ if the peer server
        //# accepted an extension negotiation offer for this extension with an
        //# extension negotiation response meeting any of the following
        //# conditions:
        let answer = DeflateOffer::read(&element)?;
        if answer.client_max_window_bits == Some(ClientWindow::Any) {
            return Err(AnswerError::InvalidValue);
        }
        let params = offers.iter().find_map(|offer| agree(offer, &answer));
        agreed = Some(params.ok_or(AnswerError::Mismatch)?);
    }
    Ok(agreed)
}

/// The parameters that `answer` results in; `None` if it does not match `offer`.
fn agree(offer: &DeflateOffer, answer: &DeflateOffer) -> Option<DeflateParams> {
    if offer.server_no_context_takeover && !answer.server_no_context_takeover {
        return None;
    }
    let server_max_window_bits = match (offer.server_max_window_bits, answer.server_max_window_bits) {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
        //# A server MAY include the "server_max_window_bits" extension
        //# parameter in an extension negotiation response even if the
        //# extension negotiation offer being accepted by the response didn't
        //# include the "server_max_window_bits" extension parameter.
        (None, bits) => bits.unwrap_or(WindowBits::MAX),
        (Some(most), Some(bits)) if bits <= most => bits,
        (Some(_), _) => return None,
    };
    let client_max_window_bits = match (offer.client_max_window_bits, answer.client_max_window_bits) {
        // The client keeps to its own offer, whether the answer repeats it or not.
        (window, None) => window.map_or(WindowBits::MAX, ClientWindow::most),
        (Some(window), Some(limit)) if limit.most() <= window.most() => limit.most(),
        (_, Some(_)) => return None,
    };
    Some(DeflateParams {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: offer.client_no_context_takeover || answer.client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    })
}

/// Why a client fails the connection over the server's answer: the server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerError {
    /// A value does not follow the grammar.
    Malformed,
    /// The answer names an extension that the client has not offered.
    NotOffered,
    /// permessage-deflate is accepted more than once.
    Repeated,
    /// A parameter that permessage-deflate does not have.
    UnknownParameter,
    /// A parameter is given more than once.
    RepeatedParameter,
    /// A parameter has a value but may have none, lacks a required value, or its value is not 8 to
    /// 15.
    InvalidValue,
    /// The answer matches none of the offers: it lacks a parameter that was asked for, or limits
    /// the client's window where that was not offered.
    Mismatch,
}

impl From<ParamFault> for AnswerError {
    fn from(fault: ParamFault) -> Self {
        match fault {
            ParamFault::Unknown => AnswerError::UnknownParameter,
            ParamFault::Repeated => AnswerError::RepeatedParameter,
            ParamFault::InvalidValue => AnswerError::InvalidValue,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnswerError::Malformed => "Sec-WebSocket-Extensions is malformed (RFC 6455, section 9.1)",
            AnswerError::NotOffered => {
                "the server accepted an extension that was not offered (RFC 6455, section 4.1)"
            }
            AnswerError::Repeated => "the server accepted permessage-deflate twice (RFC 7692, section 5)",
            AnswerError::UnknownParameter => {
                "the answer for permessage-deflate has an unknown parameter (RFC 7692, section 7)"
            }
            AnswerError::RepeatedParameter => {
                "the answer for permessage-deflate has a parameter twice (RFC 7692, section 7)"
            }
            AnswerError::InvalidValue => {
                "the answer for permessage-deflate has an invalid value (RFC 7692, section 7)"
            }
            AnswerError::Mismatch => {
                "the answer for permessage-deflate is to none of the offers (RFC 7692, section 7.1)"
            }
        })
    }
}

impl std::error::Error for AnswerError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::DeflatePolicy;

    fn bits(bits: u8) -> WindowBits {
        WindowBits::new(bits).unwrap()
    }

    /// All possible offers.
    fn all_offers() -> Vec<DeflateOffer> {
        let own = [None, Some(ClientWindow::Any)].into_iter();
        let windows: Vec<_> =
            own.chain((8..=15).map(|most| Some(ClientWindow::AtMost(bits(most))))).collect();
        let mut offers = Vec::new();
        for flags in 0..4 {
            for server_max_window_bits in std::iter::once(None).chain((8..=15).map(|most| Some(bits(most)))) {
                for &client_max_window_bits in &windows {
                    offers.push(DeflateOffer {
                        server_no_context_takeover: flags & 1 != 0,
                        client_no_context_takeover: flags & 2 != 0,
                        server_max_window_bits,
                        client_max_window_bits,
                    });
                }
            }
        }
        offers
    }

    /// All possible policies.
    fn all_policies() -> Vec<DeflatePolicy> {
        let mut policies = Vec::new();
        for flags in 0..4 {
            for server in 8..=15 {
                for client in 8..=15 {
                    policies.push(DeflatePolicy {
                        server_no_context_takeover: flags & 1 != 0,
                        client_no_context_takeover: flags & 2 != 0,
                        server_max_window_bits: bits(server),
                        client_max_window_bits: bits(client),
                    });
                }
            }
        }
        policies
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn client_agrees_to_the_answer_of_every_policy_to_every_offer() {
        let (offers, policies) = (all_offers(), all_policies());
        let mut declined = 0;
        for offer in &offers {
            let value = written(|out| offer.write(out));
            for policy in &policies {
                let Some(answer) = policy.accept(ExtensionList::new(&value).map(Result::unwrap)) else {
                    assert_eq!(offer.server_max_window_bits, Some(WindowBits::MIN));
                    declined += 1;
                    continue;
                };
                let params = answer.params();
                let answer = written(|out| answer.write(out));
                assert_eq!(check_answer(&[*offer], [&answer[..]]), Ok(Some(params)), "{offer:?}, {policy:?}");
                assert_within(&params, offer, policy);
            }
        }
        assert_eq!(declined, policies.len() * offers.len() / 9, "one in nine windows is 8");
    }

    /// Both sides get what they asked for.
    fn assert_within(params: &DeflateParams, offer: &DeflateOffer, policy: &DeflatePolicy) {
        assert_eq!(
            params.server_no_context_takeover,
            offer.server_no_context_takeover | policy.server_no_context_takeover
        );
        assert_eq!(
            params.client_no_context_takeover,
            offer.client_no_context_takeover | policy.client_no_context_takeover
        );
        assert!(params.server_max_window_bits <= offer.server_max_window_bits.unwrap_or_default());
        assert!(params.server_max_window_bits <= policy.server_max_window_bits.max(bits(9)));
        assert!(params.server_max_window_bits > WindowBits::MIN);
        assert!(match offer.client_max_window_bits {
            None => params.client_max_window_bits == WindowBits::MAX,
            Some(ClientWindow::Any) => params.client_max_window_bits == policy.client_max_window_bits,
            Some(ClientWindow::AtMost(most)) =>
                params.client_max_window_bits == most.min(policy.client_max_window_bits),
        });
    }

    /// Offers that one of the tests below makes, by what they ask for.
    const PLAIN: DeflateOffer = DeflateOffer {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: None,
    };
    const ANY: DeflateOffer = DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..PLAIN };
    const CLIENT_12: DeflateOffer = DeflateOffer {
        client_max_window_bits: Some(ClientWindow::AtMost(WindowBits::new(12).unwrap())),
        ..PLAIN
    };
    const SERVER_12: DeflateOffer = DeflateOffer { server_max_window_bits: WindowBits::new(12), ..PLAIN };
    const SERVER_RESETS: DeflateOffer = DeflateOffer { server_no_context_takeover: true, ..PLAIN };
    const CLIENT_RESETS: DeflateOffer = DeflateOffer { client_no_context_takeover: true, ..PLAIN };

    /// Server and client without takeover, and their windows.
    fn params(server_resets: bool, client_resets: bool, server: u8, client: u8) -> DeflateParams {
        DeflateParams {
            server_no_context_takeover: server_resets,
            client_no_context_takeover: client_resets,
            server_max_window_bits: bits(server),
            client_max_window_bits: bits(client),
        }
    }

    fn check(offers: &[DeflateOffer], answer: &str) -> Result<Option<DeflateParams>, AnswerError> {
        check_answer(offers, answer.split('\n').map(str::as_bytes))
    }

    #[test]
    fn client_agrees_to_answers_of_other_servers() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
        //= type=test
        //# A server MAY include the "server_max_window_bits" extension
        //# parameter in an extension negotiation response even if the
        //# extension negotiation offer being accepted by the response didn't
        //# include the "server_max_window_bits" extension parameter.
        for (offers, answer, expected) in [
            (&[PLAIN][..], "permessage-deflate", params(false, false, 15, 15)),
            (&[PLAIN], "permessage-deflate; server_max_window_bits=15", params(false, false, 15, 15)),
            (&[PLAIN], "permessage-deflate; server_max_window_bits=8", params(false, false, 8, 15)),
            (&[PLAIN], "permessage-deflate;server_max_window_bits=\"1\\0\"", params(false, false, 10, 15)),
            (
                &[PLAIN],
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                params(true, true, 15, 15),
            ),
            (&[ANY], "permessage-deflate; client_max_window_bits=15", params(false, false, 15, 15)),
            (&[ANY], "permessage-deflate; client_max_window_bits=8", params(false, false, 15, 8)),
            // The client keeps to its hints where the server ignores them.
            (&[CLIENT_12], "permessage-deflate", params(false, false, 15, 12)),
            (&[CLIENT_RESETS], "permessage-deflate", params(false, true, 15, 15)),
            (&[CLIENT_12], "permessage-deflate; client_max_window_bits=9", params(false, false, 15, 9)),
            (&[SERVER_12], "permessage-deflate; server_max_window_bits=9", params(false, false, 9, 15)),
            (&[SERVER_RESETS, PLAIN], "permessage-deflate", params(false, false, 15, 15)),
            (&[SERVER_RESETS, CLIENT_12], "permessage-deflate", params(false, false, 15, 12)),
            (
                &[SERVER_12, ANY],
                "permessage-deflate; client_max_window_bits=14",
                params(false, false, 15, 14),
            ),
            (&[PLAIN], ",\n permessage-deflate ,\n", params(false, false, 15, 15)),
        ] {
            assert_eq!(check(offers, answer), Ok(Some(expected)), "{answer:?} to {offers:?}");
        }
    }

    #[test]
    fn no_answer_is_no_extension() {
        assert_eq!(check_answer(&[ANY], []), Ok(None));
        assert_eq!(check_answer(&[], []), Ok(None));
        assert_eq!(check(&[ANY], ""), Ok(None));
    }

    #[test]
    fn client_fails_on_an_extension_that_it_did_not_offer() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //= type=test
        //# If the response includes a |Sec-WebSocket-Extensions| header
        //# field and this header field indicates the use of an extension
        //# that was not present in the client's handshake (the server has
        //# indicated an extension not requested by the client), the client
        //# MUST _Fail the WebSocket Connection_.
        for answer in [
            "permessage-bzip2",
            "Permessage-Deflate",
            "permessage-deflate, bbf-usp-protocol",
            "permessage-deflate\nx; y=1",
        ] {
            assert_eq!(check(&[ANY], answer), Err(AnswerError::NotOffered), "{answer:?}");
        }
        assert_eq!(check(&[], "permessage-deflate"), Err(AnswerError::NotOffered));
        for answer in ["permessage-deflate, permessage-deflate", "permessage-deflate\npermessage-deflate; x"]
        {
            assert_eq!(check(&[ANY, ANY], answer), Err(AnswerError::Repeated), "{answer:?}");
        }
    }

    #[test]
    fn client_fails_on_parameters_that_it_cannot_take() {
        //= https://www.rfc-editor.org/rfc/rfc7692#section-7
        //= type=test
        //# A client MUST _Fail the WebSocket Connection_ if the peer server
        //# accepted an extension negotiation offer for this extension with an
        //# extension negotiation response meeting any of the following
        //# conditions:
        use AnswerError::{InvalidValue, Malformed, Mismatch, RepeatedParameter, UnknownParameter};
        for (offer, params, error) in [
            (ANY, "x", UnknownParameter),
            (ANY, "Server_no_context_takeover", UnknownParameter),
            (ANY, "server_no_context_takeover; server_no_context_takeover", RepeatedParameter),
            (ANY, "client_max_window_bits=9; client_max_window_bits=9", RepeatedParameter),
            (ANY, "server_no_context_takeover=1", InvalidValue),
            (ANY, "server_max_window_bits", InvalidValue),
            (ANY, "client_max_window_bits", InvalidValue),
            (ANY, "client_max_window_bits=16", InvalidValue),
            (ANY, "client_max_window_bits=09", InvalidValue),
            (ANY, "server_max_window_bits=7", InvalidValue),
            (ANY, "server_max_window_bits=", Malformed),
            (ANY, "server_max_window_bits=\"\"", Malformed),
            (ANY, "", Malformed),
            (PLAIN, "client_max_window_bits=15", Mismatch),
            (PLAIN, "client_max_window_bits=9", Mismatch),
            (CLIENT_12, "client_max_window_bits=13", Mismatch),
            (SERVER_12, "server_max_window_bits=13", Mismatch),
            (SERVER_12, "server_no_context_takeover", Mismatch),
            (SERVER_RESETS, "client_no_context_takeover", Mismatch),
        ] {
            let answer = format!("permessage-deflate; {params}");
            assert_eq!(check(&[offer], &answer), Err(error), "{answer}");
        }
        // Each of these is half an answer to either offer.
        let offers = [SERVER_12, CLIENT_12];
        assert_eq!(check(&offers, "permessage-deflate; client_max_window_bits=13"), Err(Mismatch));
        let both = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=13";
        assert_eq!(check(&offers, both), Err(Mismatch));
    }

    #[test]
    fn every_error_says_which_section_was_broken() {
        for error in [
            AnswerError::Malformed,
            AnswerError::NotOffered,
            AnswerError::Repeated,
            AnswerError::UnknownParameter,
            AnswerError::RepeatedParameter,
            AnswerError::InvalidValue,
            AnswerError::Mismatch,
        ] {
            assert!(error.to_string().contains("section"), "{error}");
        }
    }
}
