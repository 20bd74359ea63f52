//! A client that offers permessage-deflate, with a compressor and an inflater that share no code
//! with the server's.

use super::client::{Answer, Client, Frame, frame_with_rsv1, upgrade_request};
use framewright::frame::{OpCode, encode_frame};
use framewright_testkit::deflate::Deflater;
use framewright_testkit::naive::inflate::Inflation;
use std::net::SocketAddr;

/// The longest message that is inflated here.
const MOST: usize = 32 << 20;

/// The payload of a message of so many mebibytes of zeros: about a kibibyte for each. Refers to
/// nothing before it.
pub(crate) fn zeros(mebibytes: usize) -> Vec<u8> {
    let mut payload = Deflater::new(6).part(&vec![0; 1 << 20]).repeat(mebibytes);
    payload.truncate(payload.len() - 4);
    payload
}

/// A client on a connection with permessage-deflate.
pub(crate) struct Deflating {
    pub(crate) client: Client,
    /// What was agreed on.
    pub(crate) terms: Terms,
    /// None if nothing was compressed, or what was is forgotten.
    deflater: Option<Deflater>,
    /// Octets that the compressor may refer to.
    deflated: usize,
    inflation: Inflation,
}

/// The parameters of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) server_takeover: bool,
    pub(crate) client_takeover: bool,
    /// In octets.
    pub(crate) server_window: usize,
    pub(crate) client_window: usize,
}

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) opcode: OpCode,
    pub(crate) message: Vec<u8>,
    pub(crate) compressed: bool,
    /// Octets of payload on the wire.
    pub(crate) wire: usize,
}

impl Terms {
    fn read(extensions: &str) -> Terms {
        let has = |name: &str| extensions.split("; ").any(|parameter| parameter == name);
        let window = |name: &str| {
            let bits = extensions.split("; ").find_map(|parameter| parameter.strip_prefix(name));
            1 << bits.map_or(15, |bits| bits.parse::<u32>().expect("a number"))
        };
        assert_eq!(extensions.split("; ").next(), Some("permessage-deflate"));
        Terms {
            server_takeover: !has("server_no_context_takeover"),
            client_takeover: !has("client_no_context_takeover"),
            server_window: window("server_max_window_bits="),
            client_window: window("client_max_window_bits="),
        }
    }
}

impl Deflating {
    /// Opens a connection for `path` with this offer, which has to be accepted.
    #[track_caller]
    pub(crate) fn open(addr: SocketAddr, path: &str, offer: &str) -> Deflating {
        Deflating::open_with_early(addr, path, offer, &[])
    }

    /// Opens a connection with this offer and sends `early` right behind the request.
    #[track_caller]
    pub(crate) fn open_with_early(addr: SocketAddr, path: &str, offer: &str, early: &[u8]) -> Deflating {
        let mut client = Client::connect(addr);
        let request = upgrade_request(path, &format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        client.send([request.as_bytes(), early].concat());
        let answer = client.answer_head();
        Deflating::begin(client, &answer)
    }

    /// Goes on behind this answer.
    #[track_caller]
    pub(crate) fn begin(mut client: Client, answer: &Answer) -> Deflating {
        assert_eq!(answer.status, 101, "{}", answer.head);
        client.agree(answer);
        let terms = Terms::read(answer.field("Sec-WebSocket-Extensions").expect("an accepted offer"));
        let inflation = Inflation::new(terms.server_takeover, terms.server_window);
        Deflating { client, terms, deflater: None, deflated: 0, inflation }
    }

    /// The payload of a message, or of a fragment of one: the next one of this connection.
    pub(crate) fn deflate(&mut self, data: &[u8], first: bool, last: bool) -> Vec<u8> {
        let mut payload = Vec::new();
        if first && !self.terms.client_takeover {
            self.forget();
        }
        // The compressor's window is the largest: where a smaller one was agreed on it begins anew
        // before that shows.
        for piece in data.chunks(self.terms.client_window) {
            if self.terms.client_window < 32 << 10 && self.deflated + piece.len() > self.terms.client_window {
                self.forget();
            }
            self.deflated += piece.len();
            payload.extend(self.deflater().part(piece));
        }
        match (data, last) {
            ([], true) => vec![0],
            ([], false) => self.deflater().part(&[]),
            (_, true) => {
                payload.truncate(payload.len() - 4);
                payload
            }
            (_, false) => payload,
        }
    }

    fn deflater(&mut self) -> &mut Deflater {
        self.deflater.get_or_insert_with(|| Deflater::new(6))
    }

    /// The next message refers to none before it. The compressor, which is large, is freed.
    pub(crate) fn forget(&mut self) {
        (self.deflater, self.deflated) = (None, 0);
    }

    /// The frame of a compressed message.
    pub(crate) fn frame_of(&mut self, opcode: OpCode, message: &[u8]) -> Vec<u8> {
        let payload = self.deflate(message, true, true);
        frame_with_rsv1(true, opcode, &payload)
    }

    /// The frames of a compressed message whose payload is cut at these places, and what is in
    /// between.
    pub(crate) fn fragments_of(
        &mut self,
        opcode: OpCode,
        message: &[u8],
        cuts: &[usize],
        between: &[u8],
    ) -> Vec<u8> {
        let payload = self.deflate(message, true, true);
        let ends = cuts.iter().copied().chain([payload.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let mut octets = Vec::new();
        for (start, end) in starts.zip(ends) {
            let (fin, piece) = (end == payload.len(), &payload[start..end]);
            if start == 0 {
                octets.extend(frame_with_rsv1(fin, opcode, piece));
            } else {
                octets.extend_from_slice(between);
                encode_frame(&mut octets, fin, OpCode::Continuation, piece, Some([1, 2, 3, 4]));
            }
        }
        octets
    }

    /// Sends a compressed message.
    #[track_caller]
    pub(crate) fn send(&mut self, opcode: OpCode, message: &[u8]) {
        let frame = self.frame_of(opcode, message);
        self.client.send(frame);
    }

    /// Reads one message. No control frame may come.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Received {
        let mut frames = vec![self.client.frame()];
        while !frames[frames.len() - 1].fin {
            frames.push(self.client.frame());
        }
        self.join(&frames)
    }

    /// The message that came in these frames, the next one of this connection.
    #[track_caller]
    pub(crate) fn join(&mut self, frames: &[Frame]) -> Received {
        let (first, rest) = frames.split_first().expect("a frame");
        assert!(!first.opcode.is_control(), "{first:?}");
        let continues = |frame: &Frame| frame.opcode == OpCode::Continuation && !frame.rsv1;
        assert!(rest.iter().all(continues), "{rest:?}");
        let payload: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.iter().copied()).collect();
        let (opcode, compressed, wire) = (first.opcode, first.rsv1, payload.len());
        if !compressed {
            return Received { opcode, message: payload, compressed, wire };
        }
        let inflated = self.inflation.complete(&payload, MOST);
        assert!(inflated.is_whole(), "{:?} in {wire} octets", inflated.end);
        assert!(inflated.farthest <= self.terms.server_window, "back by {}", inflated.farthest);
        self.inflation.remember(&inflated.octets);
        Received { opcode, message: inflated.octets, compressed, wire }
    }

    /// Sends a compressed message, which has to come back. Returns how.
    #[track_caller]
    pub(crate) fn echo(&mut self, opcode: OpCode, message: &[u8]) -> Received {
        self.send(opcode, message);
        let received = self.receive();
        assert!(received.opcode == opcode && received.message == message, "{} octets", message.len());
        received
    }

    /// Closes with 1000, and waits for the answer and the end.
    #[track_caller]
    pub(crate) fn leave(self) {
        self.client.leave();
    }
}
