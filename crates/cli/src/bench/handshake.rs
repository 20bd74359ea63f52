//! The opening handshake as a client does it (RFC 6455, section 4.1): the request, and the check of
//! the answer.

use super::compress;
use super::target::Target;
use super::tls;
use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use framewright::deflate::DeflateParams;
use framewright::handshake::accept_key;
use framewright_cli::Compress;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A handshake whose answer has not come yet.
#[derive(Debug)]
pub(super) struct Handshake {
    /// What `Sec-WebSocket-Accept` has to be.
    accept: [u8; 28],
    /// What is offered and has to be agreed on.
    compress: Compress,
    /// What was agreed on, and the fields of the answer that say so.
    pub(super) agreed: Option<DeflateParams>,
    pub(super) extensions: String,
    /// What has come of the answer.
    head: Vec<u8>,
}

impl Handshake {
    /// A handshake with a new random key, and the request that starts it.
    pub(super) fn start(target: &Target, compress: Compress) -> (Handshake, Vec<u8>) {
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let extensions =
            compress::offer(compress).map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{}\r\n",
            target.resource,
            target.authority(),
            extensions.unwrap_or_default(),
        );
        (Handshake::new(accept_key(key.as_bytes()), compress), request.into_bytes())
    }

    fn new(accept: [u8; 28], compress: Compress) -> Handshake {
        Handshake { accept, compress, agreed: None, extensions: String::new(), head: Vec::new() }
    }

    /// Opens a connection only to learn what the server agrees on. Waits at most so long for it.
    pub(super) fn probe(
        target: &Target,
        addr: SocketAddr,
        tls: Option<&tls::Client>,
        compress: Compress,
        patience: Duration,
    ) -> anyhow::Result<Handshake> {
        let connected = TcpStream::connect_timeout(&addr, patience);
        let socket = connected.with_context(|| format!("cannot connect to {addr}"))?;
        socket.set_read_timeout(Some(patience))?;
        let (handshake, request) = Handshake::start(target, compress);
        match tls {
            Some(client) => handshake.complete(client.over(socket)?, &request),
            None => handshake.complete(socket, &request),
        }
    }

    /// Sends the request, and waits for its answer.
    fn complete(mut self, mut stream: impl Read + Write, request: &[u8]) -> anyhow::Result<Handshake> {
        stream.write_all(request)?;
        let mut octets = [0; 1 << 10];
        loop {
            let count = stream.read(&mut octets).context("the server did not answer the handshake")?;
            ensure!(count > 0, "the server ended the connection during the opening handshake");
            if self.receive(&octets[..count])?.is_some() {
                return Ok(self);
            }
        }
    }

    /// Takes what came: `None` if the answer is not whole, else how many of these octets were part
    /// of it.
    pub(super) fn receive(&mut self, octets: &[u8]) -> anyhow::Result<Option<usize>> {
        let before = self.head.len();
        self.head.extend_from_slice(octets);
        let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
            ensure!(self.head.len() < MOST_HEAD, "the server's answer to the handshake does not end");
            return Ok(None);
        };
        self.head.truncate(end);
        (self.agreed, self.extensions) = check(&self.head, &self.accept, self.compress)?;
        Ok(Some(end + 4 - before))
    }
}

/// The rules of section 4.1 for the answer to a request that offered no subprotocols, and this
/// extension or none. Returns what was agreed on.
fn check(
    head: &[u8],
    accept: &[u8; 28],
    compress: Compress,
) -> anyhow::Result<(Option<DeflateParams>, String)> {
    let head = str::from_utf8(head).context("the server's answer to the handshake is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let Some(rest) = status.strip_prefix("HTTP/1.1 ") else {
        bail!("the server does not speak HTTP/1.1: it answered {status:?}");
    };
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If the status code received from the server is not 101, the
    //# client handles the response per HTTP [RFC2616] procedures.
    ensure!(
        rest.split(' ').next() == Some("101"),
        "the server answered {rest:?} instead of 101 (Switching Protocols)"
    );
    let (mut upgrade, mut connection, mut accepted) = (false, false, false);
    let mut extensions = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').with_context(|| format!("{line:?} is no field line"))?;
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "upgrade" => upgrade |= value.eq_ignore_ascii_case("websocket"),
            "connection" => {
                connection |= value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
            }
            "sec-websocket-accept" => {
                ensure!(
                    value.as_bytes() == accept,
                    "the server's Sec-WebSocket-Accept does not answer the key"
                );
                accepted = true;
            }
            "sec-websocket-extensions" => extensions.push(value),
            "sec-websocket-protocol" => {
                bail!("the server chose a subprotocol that was not offered: {value:?}")
            }
            _ => {}
        }
    }
    ensure!(upgrade, "the server's answer lacks Upgrade: websocket");
    ensure!(connection, "the server's answer lacks Connection: Upgrade");
    ensure!(accepted, "the server's answer lacks Sec-WebSocket-Accept");
    Ok((compress::check(compress, &extensions)?, extensions.join(", ")))
}

/// More than the fields of a 101 come to.
const MOST_HEAD: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    #[test]
    fn an_answer_is_taken_however_it_is_split() {
        let whole = format!("{ANSWER}\r\n\r\n");
        for split in 0..whole.len() {
            let mut handshake = Handshake::new(*ACCEPT, Compress::Off);
            assert_eq!(handshake.receive(&whole.as_bytes()[..split]).unwrap(), None);
            let rest = [&whole.as_bytes()[split..], b"\x81\x00"].concat();
            assert_eq!(handshake.receive(&rest).unwrap(), Some(whole.len() - split));
        }
    }

    #[test]
    fn answers_that_break_a_rule_are_refused_in_words() {
        for (from, to, part) in [
            ("101 Switching Protocols", "404 Not Found", "404 Not Found"),
            ("101 Switching", "1010 Switching", "1010"),
            ("HTTP/1.1", "HTTP/1.0", "HTTP/1.1"),
            ("upgrade: WebSocket\r\n", "", "Upgrade"),
            (", Upgrade", "", "Connection"),
            ("s3pP", "S3pP", "Accept"),
            ("Sec-WebSocket-Accept", "X-Accept", "Accept"),
            ("upgrade:", "Sec-WebSocket-Extensions: permessage-deflate\r\nupgrade:", "extension"),
            ("upgrade:", "Sec-WebSocket-Protocol: chat\r\nupgrade:", "subprotocol"),
            ("upgrade:", "nonsense\r\nupgrade:", "nonsense"),
        ] {
            let answer = ANSWER.replace(from, to);
            let error = check(answer.as_bytes(), ACCEPT, Compress::Off).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(part), "{to:?}: {error}");
        }
        assert!(check(ANSWER.as_bytes(), ACCEPT, Compress::Off).is_ok());
    }

    #[test]
    fn the_request_has_a_key_of_its_own() {
        let target: Target = "ws://localhost:5000/ws?x".parse().unwrap();
        let start = |compress| Handshake::start(&target, compress);
        let (first, second) = (start(Compress::Off), start(Compress::Takeover));
        assert_ne!(first.0.accept, second.0.accept);
        let [request, offering] = [first.1, second.1].map(|request| String::from_utf8(request).unwrap());
        let field = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
        assert!(offering.ends_with(field) && !request.contains("Extensions"), "{offering}");
        assert!(request.starts_with("GET /ws?x HTTP/1.1\r\nHost: localhost:5000\r\n"), "{request}");
        let (_, key) = request.split_once("Sec-WebSocket-Key: ").unwrap();
        assert!(framewright::handshake::is_valid_key(&key.as_bytes()[..24]));
    }
}
