//! A recorded connection taken apart: the opening handshake, what it has agreed on, and the
//! messages of both directions.
//!
//! The readers are those of the test kit, which share no code with the crate under test: a frame
//! that our encoder writes wrongly and our decoder reads back is seen here. Of the crate there are
//! only the values: offers, parameters and roles.

use anyhow::{Context as _, anyhow, ensure};
use framewright::Role;
use framewright::deflate::{DeflateOffer, DeflateParams};
use framewright_testkit::naive;
use framewright_testkit::naive::fields::Field;
use framewright_testkit::naive::inflate::Inflation;
use framewright_testkit::wire::{self, WireFrame};

use super::proxy::Recording;

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
    /// If a head, a frame or a compressed payload is not what it has to be, or the octets end in
    /// the middle of something.
    pub(crate) fn read(recording: Recording, offers: &[DeflateOffer]) -> anyhow::Result<Self> {
        let (request, client) = split_head(recording.client).context("the request")?;
        let (response, server) = split_head(recording.server).context("the response")?;
        ensure!(response.starts_with("HTTP/1.1 101 "), "the response is not a 101:\n{response}");
        let (request, response) = (fields(&request), fields(&response));
        let params = naive::response::deflate(&response, offers);
        let (offered, answered) = (extensions(&request), extensions(&response));
        let params = params.with_context(|| format!("the answer {answered:?} to {offered:?} is to none"))?;
        // What refers to earlier messages against what was agreed is read, and told.
        let inflation = |sender| params.map(|params| Inflation::of(&params, sender).doubting());
        Ok(Self {
            client: messages(&client, Role::Client, inflation(Role::Client))
                .context("what the client has sent")?,
            server: messages(&server, Role::Server, inflation(Role::Server))
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

/// The field lines of a head.
fn fields(head: &str) -> Vec<Field> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().as_bytes().to_vec())).collect()
}

/// The values of all lines of Sec-WebSocket-Extensions as one list.
fn extensions(fields: &[Field]) -> Option<String> {
    let values: Vec<_> = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Extensions"))
        .map(|(_, value)| String::from_utf8_lossy(value))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The messages that an end has sent, each inflated where it was compressed, up to its Close frame.
fn messages(octets: &[u8], sender: Role, inflation: Option<Inflation>) -> anyhow::Result<Vec<Sent>> {
    // It remembers nothing: a message that it cannot inflate refers to one before it.
    let alone = inflation.as_ref().map(|inflation| Inflation::new(false, inflation.window()));
    let (frames, messages) = wire::read_output(sender, inflation, octets).map_err(|rule| anyhow!(rule))?;
    ensure!(frames.last().is_some_and(|frame| frame.header.opcode == CLOSE), "no Close frame at the end");
    let data: Vec<WireFrame> = frames.into_iter().filter(|frame| !frame.is_control()).collect();
    ensure!(data.last().is_none_or(|frame| frame.header.fin), "a message that is not complete");
    let sent = messages.into_iter().zip(data.split_inclusive(|frame| frame.header.fin));
    let sent = sent.map(|(message, frames)| {
        let payload: Vec<u8> = frames.iter().flat_map(|frame| &frame.payload).copied().collect();
        let by_itself = |alone: &Inflation| alone.complete(&payload, usize::MAX).is_whole();
        Sent {
            text: message.text,
            compressed: message.compressed,
            refers_back: message.compressed && !alone.as_ref().is_some_and(by_itself),
            frames: frames.len(),
            payload_len: payload.len(),
            data: message.payload,
        }
    });
    Ok(sent.collect())
}

/// The opcode of a Close frame.
const CLOSE: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a server with context takeover.
    fn read(octets: &[u8]) -> anyhow::Result<Vec<Sent>> {
        messages(octets, Role::Server, Some(Inflation::new(true, 32 << 10)))
    }

    #[test]
    fn messages_are_joined_and_inflated_with_what_came_before() {
        // RFC 7692, sections 7.2.3.1 and 7.2.3.2: "Hello" in two frames, then once more, as a
        // reference to the first; then a message that is not compressed, and the Close frame.
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
        assert_eq!(extensions(&fields(head)).as_deref(), Some("a, c; d=1"));
        assert_eq!(extensions(&fields("HTTP/1.1 101 X\r\nUpgrade: b")), None);
    }
}
