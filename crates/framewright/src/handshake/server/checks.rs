//! The rules of HTTP for every request: the form of its target, Host, and the length of its body.
//!
//! The checks run once, when the head is complete; [`RequestFacts`] keeps their results. The rules
//! of the upgrade are in `upgrade.rs`.

use super::refusal::Refusal;
use crate::http::authority::Authority;
use crate::http::body::{InvalidContentLength, content_length};
use crate::http::bytes::is_token;
use crate::http::known::Known;
use crate::http::request_line::RequestHead;
use crate::http::section::FieldSection;
use crate::http::span::Span;

/// The results of the checks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestFacts {
    /// The host that the request is for; empty if it names none (HTTP/1.0).
    pub(super) host: Span,
    /// The path of the target; empty if an absolute-form target has none.
    pub(super) path: Span,
    /// What follows the first `?` of the target.
    pub(super) query: Option<Span>,
    /// Whether content follows the head.
    pub(super) has_body: bool,
}

impl RequestFacts {
    /// Checks the head that starts `bytes`.
    pub(super) fn of(head: &RequestHead<'_>, bytes: &[u8]) -> Result<RequestFacts, Refusal> {
        let target = RequestTarget::parse(head, bytes)?;
        let host = host(head, bytes, target.authority)?;
        let has_body = has_body(head, bytes)?;
        Ok(RequestFacts { host, path: target.path, query: target.query, has_body })
    }
}

/// The parts of the request target (RFC 9112, section 3.2).
struct RequestTarget {
    authority: Option<Span>,
    path: Span,
    query: Option<Span>,
}

impl RequestTarget {
    fn parse(head: &RequestHead<'_>, bytes: &[u8]) -> Result<RequestTarget, Refusal> {
        let target = head.target.of(bytes);
        match (head.method.of(bytes), target) {
            // CONNECT has a special form of target. An origin server handles neither the method nor
            // the form.
            (b"CONNECT", _) => Err(Refusal::ConnectNotImplemented),
            (b"OPTIONS", b"*") => Ok(RequestTarget { authority: None, path: head.target, query: None }),
            //= https://www.rfc-editor.org/rfc/rfc6455#section-3
            //# Fragment identifiers are meaningless in the context of WebSocket URIs
            //# and MUST NOT be used on these URIs.
            _ if target.contains(&b'#') => Err(Refusal::InvalidTarget),
            (_, [b'/', ..]) => Ok(RequestTarget::with_path(head.target, 0, target, None)),
            _ => RequestTarget::absolute(head.target, target),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    //# A server MUST accept the absolute-form in requests even though most HTTP/1.1 clients will only send the
    //# absolute-form to a proxy.
    fn absolute(span: Span, target: &[u8]) -> Result<RequestTarget, Refusal> {
        let scheme_len =
            target.windows(3).position(|octets| octets == b"://").ok_or(Refusal::InvalidTarget)?;
        let scheme = &target[..scheme_len];
        if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
            return Err(Refusal::InvalidTarget);
        }
        let start = scheme_len + 3;
        let length =
            target[start..].iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(target.len() - start);
        let end = start + length;
        if Authority::parse(&target[start..end]).is_none() {
            return Err(Refusal::InvalidTarget);
        }
        Ok(RequestTarget::with_path(span, end, target, Some(span.part(start..end))))
    }

    /// The target whose path starts at `start`; the path ends at a `?` or at the end of the target.
    fn with_path(span: Span, start: usize, target: &[u8], authority: Option<Span>) -> RequestTarget {
        let end = target[start..].iter().position(|&b| b == b'?').map_or(target.len(), |at| start + at);
        let query = (end < target.len()).then(|| span.part(end + 1..target.len()));
        RequestTarget { authority, path: span.part(start..end), query }
    }
}

/// The host that the request is for: the one in an absolute-form target, or the value of Host.
fn host(head: &RequestHead<'_>, bytes: &[u8], authority: Option<Span>) -> Result<Span, Refusal> {
    let mut lines = head.section(bytes).spans(Known::Host);
    let first = lines.next();
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    //# A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host
    //# header field and to any request message that contains more than one Host header field line or a Host header
    //# field with an invalid field value.
    if lines.next().is_some() {
        return Err(Refusal::RepeatedHost);
    }
    let field = match first {
        None if head.minor > 0 => return Err(Refusal::MissingHost),
        None => Span::default(),
        // An empty value means that the target has no authority. Every http target has one, so an
        // empty value is valid only if an absolute-form target carries its own.
        Some((span, [])) if authority.is_some() => span,
        Some((span, value)) if Authority::parse(value).is_some() => span,
        Some(_) => return Err(Refusal::InvalidHost),
    };
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    //# When an origin server receives a request with an absolute-form of request-target, the origin server MUST ignore
    //# the received Host header field (if any) and instead use the host information of the request-target.
    Ok(authority.unwrap_or(field))
}

/// Whether content follows the head (RFC 9112, section 6.3).
fn has_body(head: &RequestHead<'_>, bytes: &[u8]) -> Result<bool, Refusal> {
    let fields = head.section(bytes);
    let length = content_length(fields).map_err(|InvalidContentLength| Refusal::InvalidContentLength)?;
    if fields.values(Known::TransferEncoding).next().is_none() {
        return Ok(length.is_some_and(|length| length > 0));
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //# A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field MUST treat the
    //# message as if the framing is faulty, even if a Content-Length is present, and close the connection after
    //# processing the message.
    if head.minor == 0 {
        return Err(Refusal::TransferEncodingInHttp10);
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //# A server MAY reject a request that contains both Content-Length and Transfer-Encoding or process such a request
    //# in accordance with the Transfer-Encoding alone.
    if length.is_some() {
        return Err(Refusal::TransferEncodingAndContentLength);
    }
    check_transfer_encoding(fields)?;
    Ok(true)
}

/// Accepts `chunked` alone: this crate decodes no request body, so the only useful coding is the
/// one that marks where the body ends.
fn check_transfer_encoding(fields: FieldSection<'_>) -> Result<(), Refusal> {
    let mut others = 0;
    let mut chunked = 0;
    let mut last_is_chunked = false;
    for coding in fields.list(Known::TransferEncoding) {
        last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        if last_is_chunked {
            chunked += 1;
        } else {
            let name = coding.split(|&byte| byte == b';').next().unwrap_or_default();
            if !is_token(name.trim_ascii_end()) {
                return Err(Refusal::InvalidTransferEncoding);
            }
            others += 1;
        }
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //# If a Transfer-Encoding header field is present in a request and the chunked transfer coding is not the final
    //# encoding, the message body length cannot be determined reliably; the server MUST respond with the 400 (Bad
    //# Request) status code and then close the connection.
    if !last_is_chunked || chunked > 1 {
        return Err(Refusal::InvalidTransferEncoding);
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //# A server that receives a request message with a transfer coding it does not understand SHOULD respond with 501
    //# (Not Implemented).
    if others > 0 {
        return Err(Refusal::UnknownTransferCoding);
    }
    Ok(())
}
