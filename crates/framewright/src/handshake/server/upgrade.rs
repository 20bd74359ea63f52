//! Decides whether a request is an opening handshake, and a correct one: the rules of RFC 6455,
//! section 4.2.1, in one place.

use super::refusal::Refusal;
use super::request::Request;
use crate::handshake::MAX_SUBPROTOCOLS;
use crate::handshake::accept::{accept_key, is_valid_key};
use crate::handshake::extension::{ExtensionList, MAX_EMPTY_ELEMENTS};
use crate::http::bytes::{elements, is_token};
use crate::http::known::Known;
use crate::http::section::FieldSection;

/// Proof that a request is a correct opening handshake, with the key that answers it.
///
/// [`Request::upgrade`] returns it, and [`Upgrade::accept`] writes the server's opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    pub(super) accept_key: [u8; 28],
    pub(super) expects_continue: bool,
}

impl Request<'_> {
    /// Checks whether this is an opening handshake.
    ///
    /// `Ok(None)` is an ordinary HTTP request, whose Upgrade does not name `websocket` or whose
    /// version is HTTP/1.0. `Ok(Some)` is a correct opening handshake, to be
    /// [accepted](Upgrade::accept) or refused.
    ///
    /// # Errors
    /// The first rule of RFC 6455, section 4.2.1, that the opening handshake breaks.
    pub fn upgrade(&self) -> Result<Option<Upgrade>, Refusal> {
        check(self)
    }
}

/// The checks in order of importance: is the request for WebSocket, can the server continue at all,
/// then the fields of the handshake.
fn check(request: &Request<'_>) -> Result<Option<Upgrade>, Refusal> {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    //# A server that receives an Upgrade header field in an HTTP/1.0 request MUST ignore that Upgrade field.
    if request.http_minor() == 0 {
        return Ok(None);
    }
    let Some(well_formed) = names_websocket(request.section()) else { return Ok(None) };
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //# An HTTP/1.1 or higher GET request
    if !request.is_get() {
        return Err(Refusal::MethodNotAllowed { allow: "GET" });
    }
    if !well_formed {
        return Err(Refusal::InvalidUpgrade);
    }
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
    //# A |Connection| header field that includes the token "Upgrade",
    //# treated as an ASCII case-insensitive value.
    if !request.section().has_connection_option(b"upgrade") {
        return Err(Refusal::MissingConnectionUpgrade);
    }
    check_version(request)?;
    let key = key(request)?;
    check_subprotocols(request)?;
    check_extensions(request)?;
    //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
    //# A client cannot begin using an upgraded protocol on the connection until it has completely sent the request
    //# message (i.e., the client can't change the protocol it is sending in the middle of a message).
    if request.has_body() {
        return Err(Refusal::UpgradeWithBody);
    }
    Ok(Some(Upgrade { accept_key: accept_key(key), expects_continue: expects_continue(request)? }))
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
//# An |Upgrade| header field containing the value "websocket",
//# treated as an ASCII case-insensitive value.
/// `None` if Upgrade does not name `websocket`; otherwise whether the whole list follows the
/// grammar.
fn names_websocket(fields: FieldSection<'_>) -> Option<bool> {
    let mut found = false;
    let mut well_formed = true;
    fields.list(Known::Upgrade).for_each(|protocol| {
        // `websocket/13` is another protocol: the name is registered without versions.
        if protocol.eq_ignore_ascii_case(b"websocket") {
            found = true;
        } else {
            // `Upgrade = #protocol`, `protocol = protocol-name [ "/" protocol-version ]`, both
            // tokens.
            well_formed &= protocol.splitn(2, |&byte| byte == b'/').all(is_token);
        }
    });
    found.then_some(well_formed)
}

fn check_version(request: &Request<'_>) -> Result<(), Refusal> {
    let mut lines = request.values(Known::Version);
    let version = lines.next().ok_or(Refusal::MissingVersion)?;
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.5
    //# However, the |Sec-WebSocket-Version| header field MUST NOT appear
    //# more than once in an HTTP request.
    if lines.next().is_some() {
        return Err(Refusal::RepeatedVersion);
    }
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
    //# If this
    //# version does not match a version understood by the server, the
    //# server MUST abort the WebSocket handshake described in this
    //# section and instead send an appropriate HTTP error code (such
    //# as 426 Upgrade Required) and a |Sec-WebSocket-Version| header
    //# field indicating the version(s) the server is capable of
    //# understanding.
    // A value that is not a version at all (section 4.3) is not supported either.
    if version == b"13" { Ok(()) } else { Err(Refusal::UnsupportedVersion) }
}

fn key<'a>(request: &Request<'a>) -> Result<&'a [u8], Refusal> {
    let mut lines = request.values(Known::Key);
    let key = lines.next().ok_or(Refusal::MissingKey)?;
    //= https://www.rfc-editor.org/rfc/rfc6455#section-11.3.1
    //# The |Sec-WebSocket-Key| header field MUST NOT appear more than once
    //# in an HTTP request.
    if lines.next().is_some() {
        return Err(Refusal::RepeatedKey);
    }
    if is_valid_key(key) { Ok(key) } else { Err(Refusal::InvalidKey) }
}

/// `Sec-WebSocket-Protocol-Client = 1#token` (RFC 6455, section 4.3), all unique (section 4.1, item
/// 10).
fn check_subprotocols(request: &Request<'_>) -> Result<(), Refusal> {
    let mut lines = request.values(Known::Subprotocols).peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    let mut seen: [&[u8]; MAX_SUBPROTOCOLS] = [&[]; MAX_SUBPROTOCOLS];
    let mut count = 0;
    let mut empty = 0;
    for element in lines.flat_map(elements) {
        if element.is_empty() {
            empty += 1;
        } else if !is_token(element) {
            return Err(Refusal::InvalidSubprotocols);
        } else if seen[..count].contains(&element) {
            return Err(Refusal::RepeatedSubprotocol);
        } else if count == MAX_SUBPROTOCOLS {
            return Err(Refusal::TooManySubprotocols { limit: MAX_SUBPROTOCOLS });
        } else {
            seen[count] = element;
            count += 1;
        }
    }
    if count == 0 || empty > MAX_EMPTY_ELEMENTS { Err(Refusal::InvalidSubprotocols) } else { Ok(()) }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-9.1
//# If a value is received by either the client or
//# the server during negotiation that does not conform to the ABNF
//# below, the recipient of such malformed data MUST immediately _Fail
//# the WebSocket Connection_.
fn check_extensions(request: &Request<'_>) -> Result<(), Refusal> {
    let mut lines = request.values(Known::Extensions).peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    let mut count = 0_usize;
    for extension in lines.flat_map(ExtensionList::new) {
        extension.map_err(|_| Refusal::InvalidExtensions)?;
        count += 1;
    }
    // `extension-list = 1#extension`: at least one.
    if count == 0 { Err(Refusal::InvalidExtensions) } else { Ok(()) }
}

/// Whether a 100 (Continue) must precede the 101.
//= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
//# A server that receives an Expect field value containing a member other than 100-continue MAY respond with a 417
//# (Expectation Failed) status code to indicate that the unexpected expectation cannot be met.
fn expects_continue(request: &Request<'_>) -> Result<bool, Refusal> {
    let mut found = false;
    let mut others = false;
    request.section().list(Known::Expect).for_each(|expectation| {
        match expectation.eq_ignore_ascii_case(b"100-continue") {
            true => found = true,
            false => others = true,
        }
    });
    if others { Err(Refusal::ExpectationFailed) } else { Ok(found) }
}
