//! A client on a blocking socket, which sends whatever it is told to.

use super::DEADLINE;
use framewright::CloseCode;
use framewright::frame::{Header, MAX_HEADER_LEN, MaskRule, OpCode, RSV1, Rules, encode_frame};
use framewright::handshake::accept_key;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

/// The key that [`upgrade_request`] sends.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The masking key of every frame: chance would prove nothing here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A correct opening handshake for `path`, with `fields` (each line ended by CRLF) behind its own.
pub(crate) fn upgrade_request(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// A masked frame with RSV1, as the first one of a compressed message has it.
pub(crate) fn frame_with_rsv1(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = Header { fin, rsv: RSV1, opcode, mask: Some(MASK), payload_len: payload.len() as u64 };
    let mut head = [0; MAX_HEADER_LEN];
    let head_len = header.encode(&mut head);
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(octet, key)| octet ^ key);
    head[..head_len].iter().copied().chain(masked).collect()
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The head as it was received, the empty line included.
    pub(crate) head: String,
}

impl Answer {
    fn parse(head: &[u8]) -> Answer {
        let head = String::from_utf8(head.to_vec()).expect("a head in US-ASCII");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("a status line: {status_line:?}"));
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("a field line: {line:?}"));
            (name.to_owned(), value.to_owned())
        };
        let fields = lines.filter(|line| !line.is_empty()).map(field).collect();
        Answer { status, fields, body: Vec::new(), head }
    }

    /// The value of the one field with this name; `None` without one.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice in {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// RSV1, which only a server that has agreed on permessage-deflate may set.
    pub(crate) rsv1: bool,
    pub(crate) opcode: OpCode,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// What a Close frame says: its code, 1005 where it has none, and its reason.
    #[track_caller]
    pub(crate) fn close(&self) -> (u16, &str) {
        assert_eq!(self.opcode, OpCode::Close, "{self:?}");
        match &self.payload[..] {
            [] => (1005, ""),
            [high, low, reason @ ..] => {
                (u16::from_be_bytes([*high, *low]), std::str::from_utf8(reason).expect("a reason in UTF-8"))
            }
            [_] => panic!("a Close frame with one octet"),
        }
    }
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    /// What was received and not looked at yet.
    received: Vec<u8>,
    /// The bits that were agreed on for the server's frames.
    rsv: u8,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("the server accepts");
        stream.set_nodelay(true).expect("an option of the socket");
        Client::from_tcp(stream)
    }

    pub(crate) fn from_tcp(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("an option of the socket");
        Client { stream, received: Vec::new(), rsv: 0 }
    }

    /// A second client on the same socket, to write while this one reads. What was received stays
    /// here.
    pub(crate) fn try_clone(&self) -> Client {
        Client::from_tcp(self.stream.try_clone().expect("another descriptor"))
    }

    /// Ends this direction.
    pub(crate) fn shutdown_write(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }
}

#[cfg(unix)]
impl Client<std::os::unix::net::UnixStream> {
    pub(crate) fn connect_unix(path: impl AsRef<std::path::Path>) -> Self {
        let stream = std::os::unix::net::UnixStream::connect(path).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("an option of the socket");
        Client { stream, received: Vec::new(), rsv: 0 }
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on this stream, which has its deadlines.
    pub(crate) fn over(stream: S) -> Self {
        Client { stream, received: Vec::new(), rsv: 0 }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream, for another use.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Sends these octets as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).expect("the server reads");
    }

    /// Sends as much of these octets as the server takes: it may have left.
    pub(crate) fn try_send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(octets.as_ref())
    }

    /// Reads once, past everything that [`received`](Self::received) holds. 0 at the end of the
    /// stream.
    pub(crate) fn read_some(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(target) {
                // A process that was stopped and goes on is not at fault.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads once. `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        let count = self.read_some(&mut piece)?;
        self.received.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// Reads until `find` has found what it looks for, and where that ends.
    #[track_caller]
    fn read_to<T>(&mut self, what: &str, mut find: impl FnMut(&[u8]) -> Option<(T, usize)>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some((found, len)) = find(&self.received) {
                self.received.drain(..len);
                return found;
            }
            assert!(Instant::now() < until, "{what}: not before the deadline");
            let more = self.fill().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(more, "{what}: the stream has ended behind {:?}", self.received);
        }
    }

    /// Reads up to and with `end`.
    #[track_caller]
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        self.read_to("a delimiter", |received| {
            let at = received.windows(end.len()).position(|octets| octets == end)?;
            Some((received[..at + end.len()].to_vec(), at + end.len()))
        })
    }

    /// Reads so many octets.
    #[track_caller]
    pub(crate) fn read_exact(&mut self, len: usize) -> Vec<u8> {
        if len > self.received.len() {
            // Straight to its place, for large payloads.
            let have = self.received.len();
            self.received.resize(len, 0);
            self.stream.read_exact(&mut self.received[have..]).expect("octets before the deadline");
        }
        let rest = self.received.split_off(len);
        std::mem::replace(&mut self.received, rest)
    }

    /// Reads the head of a response.
    #[track_caller]
    pub(crate) fn answer_head(&mut self) -> Answer {
        Answer::parse(&self.read_until(b"\r\n\r\n"))
    }

    /// Reads a response, with a body of the length that it states.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.answer_head();
        if answer.status >= 200 {
            let length = answer.field("Content-Length").expect("a response states its length");
            let length = length.parse().expect("a length in decimal");
            answer.body = self.read_exact(length);
        }
        answer
    }

    /// Sends an opening handshake for `path` with more field lines, and returns what is answered.
    #[track_caller]
    pub(crate) fn upgrade(&mut self, path: &str, fields: &str) -> Answer {
        self.send(upgrade_request(path, fields));
        self.answer()
    }

    /// Sends an opening handshake, which has to be accepted.
    #[track_caller]
    pub(crate) fn open(&mut self, path: &str) -> Answer {
        self.open_with(path, "")
    }

    /// Sends an opening handshake with these further field lines, which has to be accepted.
    #[track_caller]
    pub(crate) fn open_with(&mut self, path: &str, fields: &str) -> Answer {
        let answer = self.upgrade(path, fields);
        assert_eq!(answer.status, 101, "{}{}", answer.head, answer.text());
        let expected = accept_key(KEY.as_bytes());
        assert_eq!(answer.field("Sec-WebSocket-Accept").map(str::as_bytes), Some(&expected[..]));
        assert_eq!(answer.field("Upgrade"), Some("websocket"));
        assert_eq!(answer.field("Connection"), Some("Upgrade"));
        self.agree(&answer);
        answer
    }

    /// Keeps to what this answer says: with an extension the server's frames may have RSV1.
    pub(crate) fn agree(&mut self, answer: &Answer) {
        self.rsv = if answer.field("Sec-WebSocket-Extensions").is_some() { RSV1 } else { 0 };
    }

    /// Sends one masked frame.
    #[track_caller]
    pub(crate) fn send_frame(&mut self, fin: bool, opcode: OpCode, payload: &[u8]) {
        let mut octets = Vec::new();
        encode_frame(&mut octets, fin, opcode, payload, Some(MASK));
        self.send(octets);
    }

    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.send_frame(true, OpCode::Text, text.as_bytes());
    }

    #[track_caller]
    pub(crate) fn send_binary(&mut self, payload: &[u8]) {
        self.send_frame(true, OpCode::Binary, payload);
    }

    #[track_caller]
    pub(crate) fn send_close(&mut self, code: CloseCode, reason: &str) {
        let body = [&code.get().to_be_bytes()[..], reason.as_bytes()].concat();
        self.send_frame(true, OpCode::Close, &body);
    }

    /// Reads one frame.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        let rules = Rules { mask: MaskRule::Forbidden, rsv: self.rsv };
        let header = self.read_to("a frame", |received| {
            Header::parse(received, rules).expect("the server sends frames that are allowed")
        });
        let len = usize::try_from(header.payload_len).expect("a payload that fits");
        let payload = self.read_exact(len);
        Frame { fin: header.fin, rsv1: header.rsv == RSV1, opcode: header.opcode, payload }
    }

    /// Reads one message, put together from its fragments. No control frame may come.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (OpCode, Vec<u8>) {
        let Frame { mut fin, rsv1, opcode, mut payload } = self.frame();
        assert!(!opcode.is_control() && !rsv1, "{opcode:?} {payload:?}");
        while !fin {
            let next = self.frame();
            assert_eq!(next.opcode, OpCode::Continuation);
            payload.extend_from_slice(&next.payload);
            fin = next.fin;
        }
        (opcode, payload)
    }

    /// The next frame is this text, unfragmented.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        let frame = self.frame();
        assert!(frame.fin && !frame.rsv1 && frame.opcode == OpCode::Text, "{frame:?}");
        assert_eq!(String::from_utf8_lossy(&frame.payload), text);
    }

    /// The next frame is a Close with this code (1005 for one without). Returns its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let frame = self.frame();
        assert_eq!(frame.close().0, code, "{frame:?}");
        frame.close().1.to_owned()
    }

    /// The stream ends here, without a reset.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        while self.received.is_empty() && self.fill().expect("an end without an error") {}
        assert!(self.received.is_empty(), "octets before the end: {:?}", self.received);
    }

    /// The connection is gone, by whatever way. What came before is dropped.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        loop {
            match self.fill() {
                Ok(true) => self.received.clear(),
                Ok(false) => return,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("still there at the deadline")
                }
                Err(_) => return,
            }
        }
    }

    /// Closes with 1000, and waits for the answer and the end.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.send_close(CloseCode::NORMAL, "");
        self.expect_close(1000);
        self.expect_end();
    }
}
