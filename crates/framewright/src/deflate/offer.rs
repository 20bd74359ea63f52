//! One element of `Sec-WebSocket-Extensions` that names permessage-deflate: its parameters as
//! values, read and written (RFC 7692, section 7.1).
//!
//! Offers and answers have the same syntax, except that `client_max_window_bits` has a value in
//! every answer. `policy` and `answer` decide which parameters are negotiated.

use super::negotiate::{NAME, WindowBits};
use crate::handshake::Extension;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// A client's offer of permessage-deflate. A client may make several offers, the preferred one
/// first.
///
/// By default the server may limit the client's window, and nothing is asked of the server, as in
/// the offers of browsers.
///
/// ```
/// # use framewright::deflate::DeflateOffer;
/// let mut value = Vec::new();
/// DeflateOffer::default().write(&mut value);
/// assert_eq!(value, b"permessage-deflate; client_max_window_bits");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs, reason = "the four parameters that RFC 7692 has")]
pub struct DeflateOffer {
    /// The server has to compress each message on its own: the client keeps no window for it
    /// (section 7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client will compress each message on its own, whatever the server answers (section
    /// 7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The largest window that the server may compress with (section 7.1.2.1). `None`: any.
    pub server_max_window_bits: Option<WindowBits>,
    /// The largest window that the client will compress with (section 7.1.2.2). `None`: any, and
    /// the server cannot limit it further.
    pub client_max_window_bits: Option<ClientWindow>,
}

/// The value of `client_max_window_bits` in an offer (RFC 7692, section 7.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "RFC 7692 has no third")]
pub enum ClientWindow {
    /// No value: the client uses whichever window the server allows.
    Any,
    /// The client uses a window of at most this size, or a smaller one if the server asks for it.
    AtMost(WindowBits),
}

impl ClientWindow {
    /// The largest window that the client may use.
    pub(super) fn most(self) -> WindowBits {
        match self {
            ClientWindow::Any => WindowBits::MAX,
            ClientWindow::AtMost(bits) => bits,
        }
    }
}

impl Default for DeflateOffer {
    fn default() -> Self {
        DeflateOffer { client_max_window_bits: Some(ClientWindow::Any), ..DeflateOffer::EMPTY }
    }
}

impl DeflateOffer {
    /// `permessage-deflate` without parameters.
    const EMPTY: DeflateOffer = DeflateOffer {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: None,
    };

    /// Appends the offer to `out`, as an element of `Sec-WebSocket-Extensions`. The caller
    /// separates two offers with a comma.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        if self.server_no_context_takeover {
            write_param(out, SERVER_NO_CONTEXT_TAKEOVER, None);
        }
        if self.client_no_context_takeover {
            write_param(out, CLIENT_NO_CONTEXT_TAKEOVER, None);
        }
        if let Some(bits) = self.server_max_window_bits {
            write_param(out, SERVER_MAX_WINDOW_BITS, Some(bits));
        }
        match self.client_max_window_bits {
            None => {}
            Some(ClientWindow::Any) => write_param(out, CLIENT_MAX_WINDOW_BITS, None),
            Some(ClientWindow::AtMost(bits)) => write_param(out, CLIENT_MAX_WINDOW_BITS, Some(bits)),
        }
    }

    /// Reads the parameters of an element. Its name is not checked.
    pub(super) fn read(element: &Extension<'_>) -> Result<DeflateOffer, ParamFault> {
        let mut offer = DeflateOffer::EMPTY;
        for (name, value) in element.params() {
            let value = value.as_deref();
            let repeated = match name {
                SERVER_NO_CONTEXT_TAKEOVER => set_flag(&mut offer.server_no_context_takeover, value)?,
                CLIENT_NO_CONTEXT_TAKEOVER => set_flag(&mut offer.client_no_context_takeover, value)?,
                //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.1
                //# This parameter has a decimal
                //# integer value without leading zeroes between 8 to 15, inclusive,
                //# indicating the base-2 logarithm of the LZ77 sliding window size, and
                //# MUST conform to the ABNF below.
                SERVER_MAX_WINDOW_BITS => {
                    let bits = window_bits(value.ok_or(ParamFault::InvalidValue)?)?;
                    offer.server_max_window_bits.replace(bits).is_some()
                }
                //= https://www.rfc-editor.org/rfc/rfc7692#section-7.1.2.2
                //# This parameter has no value or a
                //# decimal integer value without leading zeroes between 8 to 15
                //# inclusive indicating the base-2 logarithm of the LZ77 sliding window
                //# size, and MUST conform to the ABNF below.
                CLIENT_MAX_WINDOW_BITS => {
                    let window = match value {
                        None => ClientWindow::Any,
                        Some(value) => ClientWindow::AtMost(window_bits(value)?),
                    };
                    offer.client_max_window_bits.replace(window).is_some()
                }
                _ => return Err(ParamFault::Unknown),
            };
            if repeated {
                return Err(ParamFault::Repeated);
            }
        }
        Ok(offer)
    }
}

/// Why the parameters of an element are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamFault {
    Unknown,
    Repeated,
    InvalidValue,
}

fn write_param(out: &mut Vec<u8>, name: &str, bits: Option<WindowBits>) {
    out.extend_from_slice(b"; ");
    out.extend_from_slice(name.as_bytes());
    if let Some(bits) = bits {
        out.push(b'=');
        if bits.get() >= 10 {
            out.push(b'1');
        }
        out.push(b'0' + bits.get() % 10);
    }
}

/// Sets a flag, which has no value. Returns whether it was set already.
fn set_flag(flag: &mut bool, value: Option<&str>) -> Result<bool, ParamFault> {
    if value.is_some() {
        return Err(ParamFault::InvalidValue);
    }
    Ok(std::mem::replace(flag, true))
}

/// Reads 8 to 15 in the only spelling of each: no sign, no leading zero.
fn window_bits(value: &str) -> Result<WindowBits, ParamFault> {
    let bits = match *value.as_bytes() {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + (digit - b'0'),
        _ => return Err(ParamFault::InvalidValue),
    };
    WindowBits::new(bits).ok_or(ParamFault::InvalidValue)
}
