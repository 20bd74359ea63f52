//! Opening handshakes that another HTTP stack reads and writes, in the terms of the `http` crate.
//!
//! The rules of the handshake are those of [`framewright::handshake`], which reads and writes the
//! bytes of HTTP/1.1. So this module does what a gateway does: it writes the head that the other
//! stack has read as HTTP/1.1 would have it, and takes the fields of the answer from its bytes.
//! There is one set of rules, and one table of answers, for all ways into a connection.
//!
//! | | HTTP/1.1 (RFC 6455) | HTTP/2 (RFC 8441, section 5) |
//! |---|---|---|
//! | request | `GET`, Upgrade, Connection, Sec-WebSocket-Key | `CONNECT` with `:protocol`, none of these fields |
//! | accepted | 101 with Sec-WebSocket-Accept | 200 without it |
//! | both | Sec-WebSocket-Version, -Protocol and -Extensions, Origin | the same |
//!
//! | file | side |
//! |---|---|
//! | `server` | the server's |
//! | `client` | the client's |

pub(crate) mod client;
#[cfg(feature = "hyper")]
pub(crate) mod server;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields that belong to an upgrade of HTTP/1.1, in lower case.
//= https://www.rfc-editor.org/rfc/rfc8441#section-5
//# Implementations using this extended CONNECT to bootstrap WebSockets do not do the processing of the
//# Sec-WebSocket-Key and Sec-WebSocket-Accept header fields of [RFC6455] as that functionality has been superseded by
//# the :protocol pseudo-header field.
const OF_HTTP_1: [&str; 4] = ["upgrade", "connection", "sec-websocket-key", "sec-websocket-accept"];

/// Whether the field belongs to an upgrade of HTTP/1.1 only.
fn is_of_http_1(name: &str) -> bool {
    OF_HTTP_1.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// Appends one field line.
fn push_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The names and values of the lines of a head that the protocol crate has written, without its
/// first line.
fn lines(head: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = head.split(|&byte| byte == b'\n').skip(1).map(<[u8]>::trim_ascii);
    lines.take_while(|line| !line.is_empty()).map(|line| {
        let colon = line.iter().position(|&byte| byte == b':').expect("a field line has a colon");
        let name = std::str::from_utf8(&line[..colon]).expect("a field name is a token");
        (name, line[colon + 1..].trim_ascii_start())
    })
}

/// Appends the lines of `head` for which `keep` returns true to `headers`.
fn copy_lines(head: &[u8], keep: impl Fn(&str) -> bool, headers: &mut HeaderMap) {
    for (name, value) in lines(head).filter(|(name, _)| keep(name)) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name is a token");
        headers.append(name, HeaderValue::from_bytes(value).expect("a field value has no controls"));
    }
}
