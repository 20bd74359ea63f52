//! What comes back on one connection: replies in the order of the requests, cut wherever the reads
//! were cut.
//!
//! A server may fragment its replies, and send Pings, Pongs and a Close between them. The straight
//! path is the reply in one frame that lies whole in the buffer; the payload is looked at only
//! where content is verified.
//!
//! A server may compress its replies to compressed messages or not, one by one. On some
//! connections, with `--verify` on all, those that are compressed are inflated, all of them, since
//! one may refer to those before it.

mod raw;

use super::inflated::{Inflated, RSV1};
use super::script::{Message, Script};
use super::target::Protocol;
use super::volume::Volume;
use anyhow::{bail, ensure};
use framewright::Role;
use framewright::frame::{Header, MAX_HEADER_LEN, OpCode, Rules, encode_frame};
use framewright_cli::Compress;

/// The replies of one connection.
#[derive(Debug)]
pub(super) struct Replies {
    /// The place in the script of the message whose reply is awaited.
    next: usize,
    /// Octets of that reply that have come: of its payload, or of all of it where there is no
    /// protocol.
    got: usize,
    /// A first fragment of the reply has come, and not the last.
    fragmented: bool,
    /// The reply is compressed, as its first fragment says.
    compressed: bool,
    /// The frame whose header has come, and octets of its payload that have not.
    frame: Option<(Header, usize)>,
    /// A header that was cut, or the payload of a control frame.
    kept: Vec<u8>,
    /// Where replies are inflated and compared: what has come of one.
    inflated: Option<Box<Inflated>>,
}

/// What the next octets are, and so how best to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// The header of a large reply: read no more than that, so that the rest need not be copied.
    Header,
    /// So many octets of payload that nobody wants to see.
    Payload(usize),
    /// Whatever comes.
    Anything,
}

impl Ahead {
    fn payload(left: usize) -> Ahead {
        if left < SKIP { Ahead::Anything } else { Ahead::Payload(left) }
    }
}

/// What some octets turned out to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Whole replies.
    pub(super) volume: Volume,
    /// Masked frames that answer what the server has asked.
    pub(super) answers: Vec<u8>,
    /// The body of a Close frame. Nothing behind it was read.
    pub(super) close: Option<Vec<u8>>,
}

impl Replies {
    /// Awaits the replies of connection `number`, which begins with the message at its place in the
    /// script.
    pub(super) fn new(script: &Script, number: usize) -> Replies {
        let looks = script.verify || number.is_multiple_of(LOOKED_AT);
        let inflated = (script.compress != Compress::Off && looks).then(|| Inflated::new(script.compress));
        let (next, inflated) = (script.place(number), inflated.map(Box::new));
        Replies {
            next,
            got: 0,
            fragmented: false,
            compressed: false,
            frame: None,
            kept: Vec::new(),
            inflated,
        }
    }

    /// What lies ahead.
    #[inline]
    pub(super) fn ahead(&self, script: &Script) -> Ahead {
        let message = script.message(self.next);
        if script.verify || script.compress != Compress::Off || message.payload_len < SKIP {
            return Ahead::Anything;
        }
        match (script.protocol, &self.frame) {
            (Protocol::Raw, _) => Ahead::payload(message.frame_len - self.got),
            (Protocol::WebSocket, Some((header, left))) if !header.opcode.is_control() => {
                Ahead::payload(*left)
            }
            (Protocol::WebSocket, None) if !self.fragmented => Ahead::Header,
            (Protocol::WebSocket, _) => Ahead::Anything,
        }
    }

    /// Takes note that so many octets of the payload that lay ahead have come and are gone.
    pub(super) fn skipped(&mut self, script: &Script, count: usize) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        self.got += count;
        match &mut self.frame {
            Some((header, left)) => {
                *left -= count;
                if *left == 0 {
                    let fin = header.fin;
                    self.frame = None;
                    self.end_data(script, fin, &mut heard)?;
                }
            }
            None => self.end_raw(script, &mut heard),
        }
        Ok(heard)
    }

    /// Takes the octets that came.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(super) fn receive(&mut self, script: &Script, mut octets: &[u8]) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        if script.protocol == Protocol::Raw {
            self.receive_raw(script, octets, &mut heard)?;
            return Ok(heard);
        }
        loop {
            if self.frame.is_none() && self.kept.is_empty() {
                octets = self.receive_whole(script, octets, &mut heard)?;
            }
            if octets.is_empty() || heard.close.is_some() {
                return Ok(heard);
            }
            octets = self.receive_piece(script, octets, &mut heard)?;
        }
    }

    /// As many replies as lie there whole, each in a frame: the octets behind them.
    #[inline]
    fn receive_whole<'a>(
        &mut self,
        script: &Script,
        mut octets: &'a [u8],
        heard: &mut Heard,
    ) -> anyhow::Result<&'a [u8]> {
        if self.fragmented || script.compress != Compress::Off {
            return Ok(octets);
        }
        loop {
            let message = script.message(self.next);
            let whole =
                octets.first_chunk() == Some(&message.reply_start) && octets.len() >= message.reply_len;
            // The two octets are all of a short header.
            if !whole || (message.payload_len > SHORT && !is_reply(octets, message)) {
                return Ok(octets);
            }
            let (reply, rest) = octets.split_at(message.reply_len);
            if script.verify {
                compare(script.payload(message), 0, &reply[reply.len() - message.payload_len..])?;
            }
            octets = rest;
            heard.volume.frame(message.reply_len - message.payload_len, message.payload_len as u64);
            heard.volume.reply(message);
            self.next = script.after(self.next);
        }
    }

    /// A part of a header, a header, or payload: the octets behind that.
    fn receive_piece<'a>(
        &mut self,
        script: &Script,
        octets: &'a [u8],
        heard: &mut Heard,
    ) -> anyhow::Result<&'a [u8]> {
        let Some((header, left)) = self.frame else {
            return self.receive_header(script, octets, heard);
        };
        let (piece, rest) = octets.split_at(left.min(octets.len()));
        if header.opcode.is_control() {
            self.kept.extend_from_slice(piece);
        } else {
            match &mut self.inflated {
                Some(inflated) if self.compressed => inflated.push(piece),
                looks => {
                    if looks.is_some() || (script.verify && !self.compressed) {
                        compare(script.payload(script.message(self.next)), self.got, piece)?;
                    }
                }
            }
            self.got += piece.len();
        }
        if piece.len() < left {
            self.frame = Some((header, left - piece.len()));
        } else {
            self.end_frame(script, header, heard)?;
        }
        Ok(rest)
    }

    fn receive_header<'a>(
        &mut self,
        script: &Script,
        octets: &'a [u8],
        heard: &mut Heard,
    ) -> anyhow::Result<&'a [u8]> {
        let before = self.kept.len();
        self.kept.extend_from_slice(&octets[..octets.len().min(MAX_HEADER_LEN - before)]);
        let rules = Rules { rsv: if script.compress == Compress::Off { 0 } else { RSV1 }, ..RULES };
        let parsed = match Header::parse(&self.kept, rules) {
            Ok(parsed) => parsed,
            Err(broken) => bail!("the server broke the protocol: {broken}"),
        };
        let Some((header, header_len)) = parsed else { return Ok(&octets[self.kept.len() - before..]) };
        self.kept.clear();
        let rest = &octets[header_len - before..];
        if !header.opcode.is_control() {
            self.check_data(script, header)?;
            heard.volume.frame(header_len, header.payload_len);
        }
        match usize::try_from(header.payload_len)? {
            0 => self.end_frame(script, header, heard)?,
            left => self.frame = Some((header, left)),
        }
        Ok(rest)
    }

    /// Whether a frame with this header can be the reply, or its next fragment.
    fn check_data(&mut self, script: &Script, header: Header) -> anyhow::Result<()> {
        let message = script.message(self.next);
        let expected = if self.fragmented { OpCode::Continuation } else { script.opcode };
        ensure!(
            header.opcode == expected,
            "wrong reply: a frame of type {:?}, where {expected:?} was to come",
            header.opcode
        );
        if !self.fragmented {
            self.compressed = header.rsv == RSV1;
        }
        if self.compressed {
            return Ok(());
        }
        let so_far = self.got as u64 + header.payload_len;
        let sent = message.payload_len as u64;
        ensure!(
            so_far == sent || (so_far < sent && !header.fin),
            "wrong reply: a message of {so_far} bytes, where {sent} were sent"
        );
        Ok(())
    }

    fn end_frame(&mut self, script: &Script, header: Header, heard: &mut Heard) -> anyhow::Result<()> {
        self.frame = None;
        match header.opcode {
            OpCode::Ping => {
                encode_frame(&mut heard.answers, true, OpCode::Pong, &self.kept, Some(rand::random()));
            }
            OpCode::Pong => {}
            OpCode::Close => heard.close = Some(self.kept.clone()),
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                self.end_data(script, header.fin, heard)?;
            }
        }
        self.kept.clear();
        Ok(())
    }

    fn end_data(&mut self, script: &Script, fin: bool, heard: &mut Heard) -> anyhow::Result<()> {
        self.fragmented = !fin;
        if fin {
            let message = script.message(self.next);
            if self.compressed {
                heard.volume.compressed += 1;
                if let Some(inflated) = &mut self.inflated {
                    compare(script.payload(message), 0, inflated.end(message.payload_len)?)?;
                }
            }
            self.replied(script, heard);
        }
        Ok(())
    }

    fn replied(&mut self, script: &Script, heard: &mut Heard) {
        heard.volume.reply(script.message(self.next));
        self.next = script.after(self.next);
        self.got = 0;
    }
}

/// Whether the header announces the payload of this message. Its first two octets are known to be
/// right.
fn is_reply(octets: &[u8], message: Message) -> bool {
    let parsed = Header::parse(octets, RULES);
    matches!(parsed, Ok(Some((header, _))) if header.payload_len == message.payload_len as u64)
}

/// Whether `piece` is what was sent from octet `at` on.
fn compare(sent: &[u8], at: usize, piece: &[u8]) -> anyhow::Result<()> {
    let sent = &sent[at..at + piece.len()];
    if sent == piece {
        return Ok(());
    }
    let wrong = sent.iter().zip(piece).position(|(sent, got)| sent != got).unwrap_or(0);
    bail!("wrong reply: byte {} is {:#04x}, where {:#04x} was sent", at + wrong, piece[wrong], sent[wrong])
}

const RULES: Rules = Rules::for_receiver(Role::Client);
/// One in so many connections has its compressed replies inflated and compared.
const LOOKED_AT: usize = 64;
/// From so many octets of payload on it is cheaper to let the kernel drop them than to have them
/// copied.
const SKIP: usize = 32 << 10;
/// The longest payload whose length is in the second octet of a header.
const SHORT: usize = 125;

#[cfg(test)]
pub(super) mod tests {
    use super::super::payload::Kind;
    use super::super::script::Recipe;
    use super::*;

    pub(super) fn script(mix: &str, verify: bool, protocol: Protocol) -> Script {
        let mix = mix.parse().unwrap();
        Script::new(Recipe { verify, protocol, ..Recipe::simple(&mix, Kind::Binary, Compress::Off) })
    }

    /// The reply to the message at `index`, in frames that carry these numbers of octets and the
    /// rest.
    fn reply(script: &Script, index: usize, cuts: &[usize], between: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut payload = script.payload(script.message(index));
        for (number, &cut) in cuts.iter().enumerate() {
            let (piece, rest) = payload.split_at(cut);
            let opcode = if number == 0 { OpCode::Binary } else { OpCode::Continuation };
            encode_frame(&mut octets, false, opcode, piece, None);
            octets.extend_from_slice(between);
            payload = rest;
        }
        let opcode = if cuts.is_empty() { OpCode::Binary } else { OpCode::Continuation };
        encode_frame(&mut octets, true, opcode, payload, None);
        octets
    }

    /// All that is heard when the octets come in pieces of this size.
    pub(in crate::bench) fn heard(script: &Script, octets: &[u8], size: usize) -> anyhow::Result<Heard> {
        let mut replies = Replies::new(script, 0);
        let mut all = Heard::default();
        for piece in octets.chunks(size) {
            let heard = replies.receive(script, piece)?;
            all.volume += heard.volume;
            all.answers.extend(heard.answers);
            all.close = all.close.or(heard.close);
        }
        Ok(all)
    }

    #[test]
    fn replies_are_found_however_they_are_fragmented_and_split() {
        let script = script("200,0,5", true, Protocol::WebSocket);
        let mut octets = Vec::new();
        let mut ping = Vec::new();
        encode_frame(&mut ping, true, OpCode::Ping, b"here?", None);
        encode_frame(&mut ping, true, OpCode::Pong, b"", None);
        let mut payload = 0;
        for index in 0..6 {
            let len = script.message(index).payload_len;
            octets.extend(reply(&script, index, &[], b""));
            payload += len as u64;
            if index % 2 == 1 {
                octets.extend_from_slice(&ping);
            }
        }
        for index in 6..12 {
            let len = script.message(index).payload_len;
            octets.extend(reply(&script, index, &[len / 2, 0], &ping));
            payload += len as u64;
        }
        for size in 1..octets.len() {
            let heard = heard(&script, &octets, size).unwrap();
            assert_eq!(
                (heard.volume.replies, heard.volume.payload, &heard.close),
                (12, payload, &None),
                "{size}"
            );
            assert_eq!(heard.answers.len(), 15 * (2 + 4 + 5), "a Pong for each Ping");
        }
    }

    #[test]
    fn a_close_frame_is_heard_and_ends_the_reading() {
        let script = script("20", true, Protocol::WebSocket);
        let mut octets = reply(&script, 0, &[], b"");
        encode_frame(&mut octets, true, OpCode::Close, &1001u16.to_be_bytes(), None);
        octets.extend_from_slice(b"more");
        let heard = heard(&script, &octets, octets.len()).unwrap();
        assert_eq!((heard.volume.replies, heard.close), (1, Some(vec![0x03, 0xe9])));
    }

    #[test]
    fn wrong_replies_are_told_in_words() {
        let script = script("20", true, Protocol::WebSocket);
        let right = reply(&script, 0, &[], b"");
        let mut changed = right.clone();
        changed[2 + 7] ^= 1;
        let mut text = right.clone();
        text[0] = 0x81;
        let mut short = right.clone();
        short[1] = 19;
        let mut long = right.clone();
        long[1] = 21;
        let mut masked = right.clone();
        masked[1] |= 0x80;
        let exchanged = reply(&script, 1, &[], b"");
        for (octets, part) in [
            (changed, "byte 7"),
            (text, "Text"),
            (short, "19 bytes"),
            (long, "21 bytes"),
            (masked, "broke the protocol"),
            (exchanged, "byte 0"),
            (vec![0x80, 0], "Continuation"),
        ] {
            for size in [1, octets.len()] {
                let error = heard(&script, &octets, size).unwrap_err().to_string();
                assert!(error.contains(part), "{part:?}: {error}");
            }
        }
    }

    #[test]
    fn payload_that_nobody_looks_at_can_be_skipped() {
        let script = script("100000", false, Protocol::WebSocket);
        let mut replies = Replies::new(&script, 0);
        assert_eq!(replies.ahead(&script), Ahead::Header);
        let mut header = [0; MAX_HEADER_LEN];
        let reply = Header { fin: true, rsv: 0, opcode: OpCode::Binary, mask: None, payload_len: 100_000 };
        let header_len = reply.encode(&mut header);
        assert_eq!(replies.receive(&script, &header[..header_len]).unwrap().volume.replies, 0);
        assert_eq!(replies.ahead(&script), Ahead::Payload(100_000));
        assert_eq!(replies.skipped(&script, 1000).unwrap().volume.replies, 0);
        assert_eq!(replies.ahead(&script), Ahead::Payload(99_000));
        assert_eq!(replies.skipped(&script, 98_000).unwrap().volume.replies, 0);
        assert_eq!(replies.ahead(&script), Ahead::Anything, "too little to be worth it");
        let heard = replies.receive(&script, &[0; 1000]).unwrap();
        assert_eq!((heard.volume.replies, heard.volume.payload), (1, 100_000));
        assert_eq!(replies.ahead(&script), Ahead::Header);

        let script = self::script("100000", false, Protocol::Raw);
        let mut replies = Replies::new(&script, 0);
        assert_eq!(replies.ahead(&script), Ahead::Payload(100_014));
        assert_eq!(replies.skipped(&script, 14).unwrap().volume.replies, 0);
        assert_eq!(replies.skipped(&script, 100_000).unwrap().volume.replies, 1);

        for (size, verify) in [("100000", true), ("1000", false)] {
            let script = self::script(size, verify, Protocol::WebSocket);
            assert_eq!(Replies::new(&script, 0).ahead(&script), Ahead::Anything);
        }
    }
}
