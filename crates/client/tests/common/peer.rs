//! The server's end of one connection: a blocking socket that can break any rule.

use super::DEADLINE;
use framewright::Role;
use framewright::handshake::accept_key;
use framewright_testkit::naive::inflate::Inflation;
use framewright_testkit::script;
use framewright_testkit::wire::{self, WireFrame};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A client as its server sees it.
pub(crate) struct Peer {
    stream: TcpStream,
    /// The head of its request.
    pub(crate) request: String,
    /// All that came behind that head.
    pub(crate) wire: Vec<u8>,
    /// How much of it was looked at, in whole frames.
    at: usize,
    /// What the client's compressed messages have to come to.
    pub(crate) inflation: Option<Inflation>,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).expect("an option of the socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("an option of the socket");
        Peer { stream, request: String::new(), wire: Vec::new(), at: 0, inflation: None }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads the head of a request.
    #[track_caller]
    pub(crate) fn read_request(&mut self) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            self.stream.read_exact(&mut octet).expect("the rest of a request");
            head.push(octet[0]);
        }
        self.request = String::from_utf8(head).expect("a request in US-ASCII");
    }

    /// The value of the one field of the request with this name; `None` without one.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.request.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        let value = lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let another = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        assert!(another.is_none(), "{name} twice in {}", self.request);
        value
    }

    /// The right value of Sec-WebSocket-Accept.
    pub(crate) fn accept_value(&self) -> String {
        let key = self.field("Sec-WebSocket-Key").expect("a key");
        String::from_utf8(accept_key(key.as_bytes()).to_vec()).expect("base64")
    }

    /// A right answer, with these field lines (each ended by CRLF) behind its own.
    pub(crate) fn answer(&self, fields: &str) -> String {
        let accept = self.accept_value();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
        )
    }

    /// Sends this answer to an opening handshake: `ACCEPT` stands for the right value of
    /// Sec-WebSocket-Accept.
    #[track_caller]
    pub(crate) fn answer_with(&mut self, answer: &str) {
        let answer = answer.replace("ACCEPT", &self.accept_value());
        self.send(answer);
    }

    /// Accepts the opening handshake.
    #[track_caller]
    pub(crate) fn upgrade(&mut self) {
        self.upgrade_with("");
    }

    /// Accepts the opening handshake with more field lines.
    #[track_caller]
    pub(crate) fn upgrade_with(&mut self, fields: &str) {
        let answer = self.answer(fields);
        self.send(answer);
    }

    /// Accepts the opening handshake with this answer to an offer of compression, whose terms for
    /// the client's messages are these.
    #[track_caller]
    pub(crate) fn upgrade_deflating(&mut self, extensions: &str, inflation: Inflation) {
        self.inflation = Some(inflation);
        self.upgrade_with(&format!("Sec-WebSocket-Extensions: {extensions}\r\n"));
    }

    /// Sends these octets as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).expect("the client reads");
    }

    /// Sends as much of these octets as the client takes: it may have left.
    pub(crate) fn try_send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(octets.as_ref())
    }

    /// Sends the frames of a script.
    #[track_caller]
    pub(crate) fn script(&mut self, source: &str) {
        self.send(script::bytes(Role::Server, source));
    }

    /// Reads once. 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 << 10];
        let count = self.stream.read(&mut piece)?;
        self.wire.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Reads one frame, which has to be masked.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> WireFrame {
        let frame = self.peek();
        self.at = frame.at.end;
        frame
    }

    /// Reads the Pongs that come next.
    #[track_caller]
    pub(crate) fn skip_pongs(&mut self) {
        self.skip(10);
    }

    /// Reads the Pings that come next.
    #[track_caller]
    pub(crate) fn skip_pings(&mut self) {
        self.skip(9);
    }

    #[track_caller]
    fn skip(&mut self, opcode: u8) {
        while self.peek().header.opcode == opcode {
            self.frame();
        }
    }

    /// Reads as far as the end of the next frame, and leaves that to be read again.
    #[track_caller]
    fn peek(&mut self) -> WireFrame {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(mut frame) = WireFrame::read(&self.wire[self.at..]) {
                assert!(frame.header.key.is_some(), "an unmasked frame: {frame:?}");
                frame.at = self.at..self.at + frame.at.end;
                return frame;
            }
            assert!(Instant::now() < until, "no frame before the deadline");
            let count = self.fill().unwrap_or_else(|error| panic!("a frame: {error}"));
            assert!(count > 0, "the stream has ended behind {:?}", &self.wire[self.at..]);
        }
    }

    /// The next frame is this one, with FIN.
    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: u8, payload: &[u8]) {
        let frame = self.frame();
        let found = (frame.header.fin, frame.header.opcode, &frame.payload[..]);
        assert_eq!(found, (true, opcode, payload));
    }

    /// The next frame is this text.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        self.expect(1, text.as_bytes());
    }

    /// The next frame is a Close with this code, 1005 for one without. Returns its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let frame = self.frame();
        assert_eq!(frame.header.opcode, 8, "{frame:?}");
        assert_eq!(frame.close_code().unwrap_or(1005), code, "{frame:?}");
        let reason = frame.payload.get(2..).unwrap_or_default();
        String::from_utf8(reason.to_vec()).expect("a reason in UTF-8")
    }

    /// The stream ends here, without a reset: no octet comes.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        while self.wire.len() == self.at && self.fill().expect("an end without an error") > 0 {}
        assert!(self.wire.len() == self.at, "octets before the end: {:?}", &self.wire[self.at..]);
    }

    /// The connection is gone, by whatever way, and no octet came before.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => panic!("still there at the deadline"),
                Err(_) => break,
            }
        }
        assert!(self.wire.len() == self.at, "octets before the end: {:?}", &self.wire[self.at..]);
    }

    /// Nothing has come that was not looked at.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.stream.set_nonblocking(true).expect("an option of the socket");
        let found = self.fill();
        self.stream.set_nonblocking(false).expect("an option of the socket");
        assert!(self.wire.len() == self.at, "octets: {:?}", &self.wire[self.at..]);
        assert!(found.is_err_and(|error| is_timeout(&error)), "the stream has ended");
    }

    /// The stream stays open and silent for so long.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("an option of the socket");
        let found = self.fill();
        self.stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        assert!(self.wire.len() == self.at, "octets: {:?}", &self.wire[self.at..]);
        assert!(found.is_err_and(|error| is_timeout(&error)), "the stream has ended");
    }

    /// Waits until the client has left, by whatever way. What comes is kept, to be judged.
    #[track_caller]
    pub(crate) fn wait_gone(&mut self) {
        while self.fill().unwrap_or_else(|error| if is_timeout(&error) { panic!("still there") } else { 0 })
            > 0
        {}
    }

    /// Waits, unless something comes before.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("an option of the socket");
        let _ = self.fill();
        self.stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
    }

    /// Reads once, at most so many octets.
    #[track_caller]
    pub(crate) fn read_some(&mut self, most: usize) {
        let had = self.wire.len();
        self.wire.resize(had + most, 0);
        let count = self.stream.read(&mut self.wire[had..]).expect("octets before the deadline");
        self.wire.truncate(had + count);
    }

    /// Waits until so many octets have come.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, octets: usize) {
        while self.wire.len() < octets {
            assert!(self.fill().expect("octets before the deadline") > 0, "the stream has ended");
        }
    }

    /// Ends this direction.
    pub(crate) fn shutdown_write(&self) {
        // A client that has left has ended it already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Cuts the connection with a reset, when this is dropped.
    pub(crate) fn reset(&self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
    }

    /// Answers the client's Close, which has to be the next frame, and ends the transport as a
    /// server does.
    #[track_caller]
    pub(crate) fn answer_close(&mut self) {
        let frame = self.frame();
        assert_eq!(frame.header.opcode, 8, "{frame:?}");
        self.script("close 1000");
        self.shutdown_write();
        self.expect_end();
    }

    /// Forgets what came: there is too much of it to be kept, or the client has left in the middle
    /// of a frame.
    pub(crate) fn forget(&mut self) {
        self.wire.clear();
        self.at = 0;
    }

    /// Forgets what was looked at: there is too much of it to be kept.
    pub(crate) fn forget_read(&mut self) {
        self.wire.drain(..self.at);
        self.at = 0;
    }

    /// Everything that came is right: masked, in the shortest form, compressed as was agreed on,
    /// nothing behind a Close.
    #[track_caller]
    pub(super) fn judge(&mut self) {
        let judged = wire::check_compressed_output(Role::Client, self.inflation.take(), &self.wire);
        judged.unwrap_or_else(|fault| panic!("{fault}"));
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
