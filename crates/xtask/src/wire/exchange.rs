//! A recorded connection taken apart: the opening handshake, what it has agreed on, and the messages of both directions.

use anyhow::{Context as _, bail, ensure};
use framewright::deflate::{Decompressor, DeflateOffer, DeflateParams, check_answer};
use framewright::frame::{Frame, MaskRule, OpCode, RSV1, Rules};

use super::Recording;

/// All that a connection was used for.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The extensions that the client has offered, as one list.
    pub(crate) offered: Option<String>,
    /// The extensions that the server has accepted, as one list.
    pub(crate) answered: Option<String>,
    /// What was agreed on by that.
    pub(crate) params: Option<DeflateParams>,
    /// The messages of the client.
    pub(crate) client: Vec<Sent>,
    /// The messages of the server.
    pub(crate) server: Vec<Sent>,
}

/// A message as it was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) text: bool,
    /// RSV1 of its first frame.
    pub(crate) compressed: bool,
    /// It cannot be inflated without the messages before it.
    pub(crate) refers_back: bool,
    /// How many frames it took.
    pub(crate) frames: usize,
    /// Octets of payload in them.
    pub(crate) payload_len: usize,
    /// The message itself, inflated.
    pub(crate) data: Vec<u8>,
}

impl Exchange {
    /// Takes a recording apart. The client is one that makes these offers.
    ///
    /// # Errors
    /// If a head, a frame or a compressed payload is not what it has to be, or the octets end in the middle of something.
    pub(crate) fn read(recording: Recording, offers: &[DeflateOffer]) -> anyhow::Result<Self> {
        let (request, mut client) = split_head(recording.client).context("the request")?;
        let (response, mut server) = split_head(recording.server).context("the response")?;
        ensure!(response.starts_with("HTTP/1.1 101 "), "the response is not a 101:\n{response}");
        let (offered, answered) = (extensions(&request), extensions(&response));
        let params = check_answer(offers, answered.as_deref().map(str::as_bytes))
            .with_context(|| format!("the answer {answered:?} to {offered:?}"))?;
        let rsv = if params.is_some() { RSV1 } else { 0 };
        let client_takes_over = params.is_some_and(|params| !params.client_no_context_takeover);
        let server_takes_over = params.is_some_and(|params| !params.server_no_context_takeover);
        Ok(Self {
            client: messages(&mut client, Rules { mask: MaskRule::Required, rsv }, client_takes_over)
                .context("what the client has sent")?,
            server: messages(&mut server, Rules { mask: MaskRule::Forbidden, rsv }, server_takes_over)
                .context("what the server has sent")?,
            offered,
            answered,
            params,
        })
    }
}

/// A head as text, without the empty line, and what follows it.
fn split_head(mut octets: Vec<u8>) -> anyhow::Result<(String, Vec<u8>)> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n").context("a head without an end")?;
    let rest = octets.split_off(end + 4);
    octets.truncate(end);
    Ok((String::from_utf8(octets).context("a head with something else than text")?, rest))
}

/// The values of all lines of Sec-WebSocket-Extensions as one list.
fn extensions(head: &str) -> Option<String> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let values: Vec<&str> = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Extensions"))
        .map(|(_, value)| value.trim())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The messages in these frames, each inflated where it was compressed.
fn messages(mut octets: &mut [u8], rules: Rules, takes_over: bool) -> anyhow::Result<Vec<Sent>> {
    let mut messages = Vec::new();
    let mut decompressor = Decompressor::new();
    let mut current: Option<Sent> = None;
    while let Some((frame, rest)) = Frame::decode(octets, rules)? {
        octets = rest;
        let Frame { header, payload, .. } = frame;
        match header.opcode {
            OpCode::Ping | OpCode::Pong => continue,
            OpCode::Close => {
                ensure!(octets.is_empty() && current.is_none(), "a Close frame that is not the end");
                return Ok(messages);
            }
            OpCode::Text | OpCode::Binary => {
                ensure!(current.is_none(), "a message inside another one");
                current = Some(Sent::first(header.opcode == OpCode::Text, header.rsv & RSV1 != 0));
            }
            OpCode::Continuation => {}
        }
        let Some(message) = &mut current else { bail!("a continuation without a message") };
        message.frames += 1;
        message.data.extend_from_slice(payload);
        if header.fin {
            let mut message = current.take().expect("looked at above");
            message.complete(&mut decompressor, takes_over).with_context(|| {
                format!("message {}, of {} octets of payload", messages.len(), message.payload_len)
            })?;
            messages.push(message);
        }
    }
    bail!("no Close frame at the end")
}

impl Sent {
    fn first(text: bool, compressed: bool) -> Self {
        Self { text, compressed, refers_back: false, frames: 0, payload_len: 0, data: Vec::new() }
    }

    /// Inflates the message, of which all of the payload is there.
    fn complete(&mut self, decompressor: &mut Decompressor, takes_over: bool) -> anyhow::Result<()> {
        self.payload_len = self.data.len();
        if self.compressed {
            let payload = std::mem::take(&mut self.data);
            if takes_over {
                self.refers_back = Decompressor::new().decompress(&payload, LIMIT, &mut Vec::new()).is_err();
            } else {
                decompressor.reset();
            }
            decompressor.decompress(&payload, LIMIT, &mut self.data)?;
        }
        if self.text {
            std::str::from_utf8(&self.data).context("a text that is not UTF-8")?;
        }
        Ok(())
    }
}

/// More than any message here has.
const LIMIT: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a server with context takeover.
    fn read(octets: &[u8]) -> anyhow::Result<Vec<Sent>> {
        messages(&mut octets.to_vec(), Rules { mask: MaskRule::Forbidden, rsv: RSV1 }, true)
    }

    #[test]
    fn messages_are_joined_and_inflated_with_what_came_before() {
        // RFC 7692, sections 7.2.3.1 and 7.2.3.2: "Hello" in two frames, then once more, as a reference to the first; then a
        // message that is not compressed, and the Close frame.
        let sent = read(
            b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00\x82\x01x\x88\x02\x03\xe8",
        )
        .expect("what the RFC says");
        let seen: Vec<_> = sent
            .iter()
            .map(|sent| (sent.text, sent.compressed, sent.refers_back, sent.frames, sent.data.as_slice()))
            .collect();
        assert_eq!(
            seen,
            [
                (true, true, false, 2, &b"Hello"[..]),
                (true, true, true, 1, b"Hello"),
                (false, false, false, 1, b"x"),
            ]
        );
    }

    #[test]
    fn octets_that_end_too_soon_or_mean_nothing_are_an_error() {
        for octets in [
            &b""[..],
            b"\x82\x01x",
            b"\x82\x02x",
            b"\x80\x01x\x88\x00",
            b"\x02\x01x\x88\x00",
            b"\x02\x01x\x82\x01x\x88\x00",
            b"\x88\x00\x82\x01x",
            b"\xc1\x01\xff\x88\x00",
            b"\x81\x01\xff\x88\x00",
            b"\x41\x01x\xc0\x01x\x88\x00",
        ] {
            assert!(read(octets).is_err(), "{octets:?}");
        }
    }

    #[test]
    fn the_extensions_of_several_lines_are_one_list() {
        let head =
            "HTTP/1.1 101 X\r\nsec-websocket-extensions: a\r\nUpgrade: b\r\nSec-WebSocket-Extensions:c; d=1 ";
        assert_eq!(extensions(head).as_deref(), Some("a, c; d=1"));
        assert_eq!(extensions("HTTP/1.1 101 X\r\nUpgrade: b"), None);
    }
}
