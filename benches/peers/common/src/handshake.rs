//! The opening handshake for libraries that have none of their own, or one that leaves another
//! library between them and the socket.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::Compress;

/// The largest request head, in octets.
const MAX_HEAD: usize = 8 << 10;

/// Answers an upgrade request on any path.
///
/// # Errors
/// If the request is none, if messages follow it before it is answered, or if the connection ends.
pub async fn handshake(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> anyhow::Result<()> {
    handshake_with(stream, None).await?;
    Ok(())
}

/// As [`handshake`], for a library that compresses: returns the extension that was agreed on, none
/// where none is offered.
///
/// # Errors
/// Also if what is offered is not what a browser or the generator offers.
pub async fn handshake_with(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    compress: Option<Compress>,
) -> anyhow::Result<Option<String>> {
    let mut head = BytesMut::with_capacity(1 << 10);
    let (response, extension) = loop {
        ensure!(stream.read_buf(&mut head).await? > 0, "the connection ended before its request did");
        if let Some(response) = respond(&head, compress)? {
            break response;
        }
        ensure!(head.len() < MAX_HEAD, "the request head is too large");
    };
    stream.write_all(response.as_bytes()).await?;
    // A socket has nothing to flush, TLS may have.
    stream.flush().await?;
    Ok(extension)
}

/// The response to a request, and the extension in it; nothing as long as its head is not complete.
fn respond(head: &[u8], compress: Option<Compress>) -> anyhow::Result<Option<(String, Option<String>)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(end) = request.parse(head)? else { return Ok(None) };
    ensure!(end == head.len(), "something follows the request before it is answered");
    let field = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| field.value.trim_ascii())
    };
    ensure!(request.method == Some("GET"), "the method is not GET");
    ensure!(field("Sec-WebSocket-Version") == Some(b"13"), "the version is not 13");
    let upgrade = field("Upgrade").context("there is no Upgrade field")?;
    if !upgrade.eq_ignore_ascii_case(b"websocket") {
        bail!("the upgrade is not to websocket");
    }
    let key = field("Sec-WebSocket-Key").context("there is no key")?;
    let extension = match (compress, field("Sec-WebSocket-Extensions")) {
        (Some(compress), Some(offer)) => Some(compress.answer(std::str::from_utf8(offer)?)?),
        _ => None,
    };
    let digest =
        Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let field = extension.as_ref().map(|agreed| format!("Sec-WebSocket-Extensions: {agreed}\r\n"));
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{}\r\n",
        STANDARD.encode(digest),
        field.unwrap_or_default()
    );
    Ok(Some((response, extension)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The handshake of RFC 6455, section 1.3.
    const REQUEST: &[u8] =
        b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    #[test]
    fn the_example_of_the_rfc_gets_its_answer() {
        let (response, _) = respond(REQUEST, None).expect("a request").expect("a whole one");
        assert!(
            response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{response}"
        );
    }

    #[test]
    fn a_part_of_a_request_is_not_answered() {
        for end in 0..REQUEST.len() {
            assert!(respond(&REQUEST[..end], None).expect("nothing wrong yet").is_none(), "{end} octets");
        }
    }

    #[test]
    fn a_request_that_is_no_upgrade_is_an_error() {
        assert!(respond(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None).is_err());
    }
}
