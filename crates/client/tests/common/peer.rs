//! The server's end of one connection: a blocking socket that can break any rule.

use super::DEADLINE;
use framewright::Role;
use framewright::handshake::accept_key;
#[cfg(feature = "tls")]
use framewright_client::rustls::{self, ServerConfig, ServerConnection};
use framewright_testkit::naive::inflate::Inflation;
use framewright_testkit::script;
use framewright_testkit::wire::{self, WireFrame};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client as its server sees it.
pub(crate) struct Peer {
    stream: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Box<ServerConnection>>,
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
        Peer {
            stream,
            #[cfg(feature = "tls")]
            tls: None,
            request: String::new(),
            wire: Vec::new(),
            at: 0,
            inflation: None,
        }
    }

    /// Speaks TLS from here on. The handshake is done by the first read.
    #[cfg(feature = "tls")]
    pub(crate) fn start_tls(&mut self, config: Arc<ServerConfig>) {
        self.tls = Some(Box::new(ServerConnection::new(config).expect("a session")));
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&mut self) -> &mut ServerConnection {
        self.tls.as_mut().expect("it speaks TLS")
    }

    /// Does the TLS handshake.
    ///
    /// # Errors
    /// With which it has failed.
    #[cfg(feature = "tls")]
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        let Peer { stream, tls, .. } = self;
        tls.as_mut().expect("it speaks TLS").complete_io(stream).map(drop)
    }

    /// Reads once, by TLS or not. A process that was stopped and goes on is not at fault.
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_once(target) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(feature = "tls")]
            Peer { stream, tls: Some(tls), .. } => rustls::Stream::new(&mut **tls, stream).read(target),
            Peer { stream, .. } => stream.read(target),
        }
    }

    fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            #[cfg(feature = "tls")]
            Peer { stream, tls: Some(tls), .. } => {
                let mut stream = rustls::Stream::new(&mut **tls, stream);
                stream.write_all(octets)?;
                stream.flush()
            }
            Peer { stream, .. } => stream.write_all(octets),
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads the head of a request.
    #[track_caller]
    pub(crate) fn read_request(&mut self) {
        self.try_read_request().expect("the rest of a request");
    }

    /// Reads the head of a request, if it comes.
    pub(crate) fn try_read_request(&mut self) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            if self.read(&mut octet)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.push(octet[0]);
        }
        self.request = String::from_utf8(head).expect("a request in US-ASCII");
        Ok(())
    }

    /// Passes everything on between the client and `to`, until both have ended.
    #[cfg(feature = "tls")]
    pub(crate) fn tunnel(&mut self, mut to: TcpStream) {
        let until = Instant::now() + DEADLINE;
        let (mut client_ended, mut server_ended) = (false, false);
        let mut piece = [0; 16 << 10];
        let short = Some(Duration::from_millis(1));
        self.stream.set_read_timeout(short).expect("an option of the socket");
        to.set_read_timeout(short).expect("an option of the socket");
        while !client_ended || !server_ended {
            assert!(Instant::now() < until, "the tunnel is still open");
            match if client_ended { Err(io::ErrorKind::WouldBlock.into()) } else { self.read(&mut piece) } {
                Ok(count @ 1..) => to.write_all(&piece[..count]).expect("the server reads"),
                Err(error) if is_timeout(&error) => {}
                _ => {
                    client_ended = true;
                    let _ = to.shutdown(Shutdown::Write);
                }
            }
            match if server_ended { Err(io::ErrorKind::WouldBlock.into()) } else { to.read(&mut piece) } {
                Ok(count @ 1..) => self.send(&piece[..count]),
                Err(error) if is_timeout(&error) => {}
                _ => {
                    server_ended = true;
                    self.shutdown_write();
                }
            }
        }
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
        self.write_all(octets.as_ref()).expect("the client reads");
    }

    /// Sends as much of these octets as the client takes: it may have left.
    pub(crate) fn try_send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_all(octets.as_ref())
    }

    /// Sends the frames of a script.
    #[track_caller]
    pub(crate) fn script(&mut self, source: &str) {
        self.send(script::bytes(Role::Server, source));
    }

    /// Reads once. 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 << 10];
        let count = self.read(&mut piece)?;
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
        let mut piece = vec![0; most];
        let count = self.read(&mut piece).expect("octets before the deadline");
        self.wire.extend_from_slice(&piece[..count]);
    }

    /// Waits until so many octets have come.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, octets: usize) {
        while self.wire.len() < octets {
            assert!(self.fill().expect("octets before the deadline") > 0, "the stream has ended");
        }
    }

    /// Ends this direction; that of TLS first, if there is one.
    pub(crate) fn shutdown_write(&mut self) {
        // A client that has left has ended it already.
        #[cfg(feature = "tls")]
        if let Peer { stream, tls: Some(tls), .. } = self {
            tls.send_close_notify();
            let _ = tls.complete_io(stream);
        }
        self.cut();
    }

    /// Ends this direction of TCP, whatever is above it.
    pub(crate) fn cut(&self) {
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
