//! The negotiation of permessage-deflate (RFC 7692, section 7.1), the client's side: whether an answer is one to what
//! was offered, and what it comes to.

use std::fmt;

use super::negotiate::{DeflateParams, NAME, WindowBits};
use super::offer::{ClientWindow, DeflateOffer, ParamFault};
use crate::handshake::ExtensionList;

/// Checks what a server has answered to `offers`.
///
/// `answer` are the values of all Sec-WebSocket-Extensions lines of the response, in order. `Ok(None)`: the server has
/// declined. An answer to any of the offers will do, since it does not say to which of them it is one; where it could be
/// one to several, it counts for the first.
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

/// What an answer comes to, if it is one to this offer.
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
        // The client keeps to what it has offered, answered or not.
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
    /// An extension that the client has not offered.
    NotOffered,
    /// permessage-deflate is accepted more than once.
    Repeated,
    /// A parameter that permessage-deflate does not have.
    UnknownParameter,
    /// A parameter is given more than once.
    RepeatedParameter,
    /// A value where there may be none, none where there must be one, or one that is not 8 to 15.
    InvalidValue,
    /// The answer takes more than any of the offers gives: it lacks what was asked for, or limits the client's window
    /// where that was not offered.
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
