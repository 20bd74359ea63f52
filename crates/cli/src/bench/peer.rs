//! One connection of the load: its socket, how far its handshakes are, what it sends and what it
//! has heard.
//!
//! ```text
//!   Connecting --(Opening)--> Open --> Closing --> Closed
//! ```
//! A connection without a protocol is open once it is connected, unless the exchange of handshakes
//! is imitated.

use super::handshake::Handshake;
use super::link::Link;
use super::replies::{Ahead, Heard, Replies};
use super::script::Script;
use super::target::{Protocol, Target};
use super::tls;
use super::volume::Volume;
use anyhow::{Context, bail, ensure};
use framewright::frame::{OpCode, encode_frame};
use mio::net::TcpStream;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

/// Where connections go, and how they begin.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) target: Target,
    pub(super) addr: SocketAddr,
    /// Where it is reached over TLS: how sessions begin.
    pub(super) tls: Option<tls::Client>,
    /// Whether connections do their handshakes and nothing else. Without a protocol as many octets
    /// as handshakes have are then sent and awaited in their place.
    pub(super) cycles: bool,
    /// Whether the server has to know what a connection is for. Without a protocol the request of
    /// its handshake is then sent all the same, and awaited back.
    pub(super) introduces: bool,
}

/// Memory that all connections read into.
#[derive(Debug)]
pub(super) struct Buffers {
    octets: Vec<u8>,
    /// Never read: what the kernel is told to drop has to have a length.
    dropped: Vec<MaybeUninit<u8>>,
}

impl Buffers {
    pub(super) fn new() -> Buffers {
        Buffers { octets: vec![0; READ], dropped: vec![MaybeUninit::uninit(); DROP] }
    }
}

/// What the connections of a lane are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// They send messages, and each is answered.
    Ask,
    /// They send messages that are not answered: these go to those who listen.
    Publish,
    /// They only receive.
    Listen,
    /// They do not even do that, once they are open.
    Deaf,
}

#[derive(Debug)]
pub(super) struct Peer {
    link: Link,
    stage: Stage,
    /// Whether handshakes are imitated, without a protocol.
    imitates: bool,
    /// Which lane of the load it belongs to.
    pub(super) lane: usize,
    /// When it began to connect.
    pub(super) since: u64,
    /// When octets last moved, or it was given something to do.
    active: u64,
    /// Octets that go between two requests: handshakes, Pongs, Close.
    urgent: Vec<u8>,
    /// Where in the script the next octet to send is, and how many more may be sent.
    at: usize,
    granted: usize,
    /// The place in the script of the message to be granted next.
    next: usize,
    replies: Replies,
    /// Messages that have come, where nothing is sent for them.
    pub(super) heard: u64,
    /// Whether messages are answered.
    asks: bool,
    /// When messages were granted that are not answered: the time, and how many.
    stamps: VecDeque<(u64, u32)>,
}

#[derive(Debug)]
enum Stage {
    Connecting(Opening),
    Opening(Opening),
    Open,
    /// Octets of an imitated closing handshake to come; else a Close frame is awaited.
    Closing(Option<usize>),
    Closed,
}

#[derive(Debug)]
enum Opening {
    WebSocket(Box<Handshake>),
    /// Octets that have to come back.
    Octets(usize),
}

/// What a turn of a connection brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) opened: bool,
    pub(super) closed: bool,
    pub(super) volume: Volume,
}

impl Peer {
    /// Starts to connect.
    pub(super) fn connect(
        endpoint: &Endpoint,
        part: Part,
        script: &Script,
        number: usize,
        now: u64,
    ) -> io::Result<Peer> {
        let socket = match part {
            Part::Deaf => narrow(endpoint.addr)?,
            _ => TcpStream::connect(endpoint.addr)?,
        };
        // In a cycle nothing is sent before what was sent last is answered, but for the end of a TLS
        // handshake, which the request follows at once.
        if !endpoint.cycles || endpoint.tls.is_some() {
            socket.set_nodelay(true)?;
        }
        // The port is free again as soon as the socket is dropped. Thousands of connections a
        // second would else leave no port within the minute that TIME-WAIT takes; the closing
        // handshake has told all that there is to tell.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        let link = Link::new(socket, endpoint.tls.as_ref())?;
        let (handshake, request) = Handshake::start(&endpoint.target, script.compress);
        let (opening, urgent) = match endpoint.target.protocol {
            Protocol::WebSocket => (Opening::WebSocket(Box::new(handshake)), request),
            Protocol::Raw if endpoint.cycles || endpoint.introduces => {
                (Opening::Octets(request.len()), request)
            }
            Protocol::Raw => (Opening::Octets(0), Vec::new()),
        };
        let next = script.place(number);
        Ok(Peer {
            link,
            stage: Stage::Connecting(opening),
            imitates: endpoint.cycles,
            lane: 0,
            since: now,
            active: now,
            urgent,
            at: script.start(next),
            granted: 0,
            next,
            replies: Replies::new(script, number),
            heard: 0,
            asks: part == Part::Ask,
            stamps: VecDeque::new(),
        })
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        self.link.socket()
    }

    /// The TLS session, where there is one.
    pub(super) fn tls(&self) -> Option<&tls::Stream> {
        self.link.tls()
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting(_))
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    pub(super) fn has_more_to_send(&self) -> bool {
        self.granted > 0
    }

    /// Whether it waits for the server, and has for so long.
    pub(super) fn waits_since(&self) -> Option<u64> {
        let waits = !matches!(self.stage, Stage::Open | Stage::Closed) || !self.stamps.is_empty();
        waits.then_some(self.active)
    }

    /// Lets it send so many more messages; their time counts from `since`.
    #[inline]
    pub(super) fn grant(&mut self, script: &Script, count: u32, since: u64) {
        self.granted += script.advance(&mut self.next, count as usize);
        if !self.asks {
            return;
        }
        if self.stamps.is_empty() {
            self.active = since;
        }
        self.stamps.push_back((since, count));
    }

    /// The times since which the next `replies` messages were on the way, each with a number of
    /// messages.
    #[inline]
    pub(super) fn answered(&mut self, mut replies: u64, mut each: impl FnMut(u64, u64)) {
        while replies > 0
            && let Some((since, count)) = self.stamps.front_mut()
        {
            let taken = replies.min(u64::from(*count));
            each(*since, taken);
            replies -= taken;
            match u32::try_from(u64::from(*count) - taken) {
                Ok(left) if left > 0 => *count = left,
                _ => drop(self.stamps.pop_front()),
            }
        }
    }

    /// Messages that are not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (u64, u32)> {
        self.stamps.iter().copied()
    }

    /// Starts the closing handshake, behind the request that is being sent. Where there is none to
    /// do, it is over.
    pub(super) fn close(&mut self, script: &Script) {
        let raw = script.protocol == Protocol::Raw;
        if raw && !self.imitates {
            self.stage = Stage::Closed;
            return;
        }
        self.granted = script.rest_of_request(self.at);
        let before = self.urgent.len();
        encode_frame(&mut self.urgent, true, OpCode::Close, &NORMAL, Some(rand::random()));
        self.stage = Stage::Closing(raw.then_some(self.urgent.len() - before));
    }

    /// Reads what there is. `ended` says that the event queue has told of the end of the stream.
    ///
    /// # Errors
    /// In words, if this cannot be the connection of an echo.
    pub(super) fn read(
        &mut self,
        ended: bool,
        script: &Script,
        buffers: &mut Buffers,
    ) -> anyhow::Result<Step> {
        let mut step = Step::default();
        let is_silent = matches!(self.stage, Stage::Connecting(Opening::Octets(0)));
        if is_silent && !self.is_connected()? {
            return Ok(step);
        }
        while !self.is_closed() {
            let ahead = if self.is_open() && self.link.can_drop() {
                self.replies.ahead(script)
            } else {
                Ahead::Anything
            };
            let (wanted, read) = match ahead {
                Ahead::Payload(left) => {
                    let dropped = &mut buffers.dropped[..left.min(DROP)];
                    (dropped.len(), self.link.drop_unread(dropped))
                }
                Ahead::Header => (HEADER, self.link.read(&mut buffers.octets[..HEADER])),
                Ahead::Anything => (READ, self.link.read(&mut buffers.octets)),
            };
            match read {
                Ok(0) => bail!("the server ended the connection {}", self.stage.describe()),
                Ok(count) => {
                    if let Ahead::Payload(_) = ahead {
                        let heard = self.replies.skipped(script, count)?;
                        self.take(heard, &mut step)?;
                    } else {
                        self.receive(script, &buffers.octets[..count], &mut step)?;
                    }
                    if self.link.is_emptied(count, wanted) && !ended {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(self.failed()),
            }
        }
        if is_silent && self.link.is_established() {
            self.stage = Stage::Open;
            step.opened = true;
        }
        Ok(step)
    }

    /// Sends what it may.
    ///
    /// # Errors
    /// Those of the socket.
    #[inline]
    pub(super) fn write(&mut self, script: &Script, now: u64) -> io::Result<()> {
        if !self.link.flush() {
            return Ok(());
        }
        while self.granted > 0 || !self.urgent.is_empty() {
            let between = if self.urgent.is_empty() { None } else { Some(script.rest_of_request(self.at)) };
            let octets = match between {
                Some(0) => &self.urgent[..],
                Some(rest) => script.to_send(self.at, rest),
                None => script.to_send(self.at, self.granted),
            };
            let wanted = octets.len();
            let count = match self.link.write(octets) {
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.active = now;
            if between == Some(0) {
                self.urgent.drain(..count);
                self.stage.sent();
            } else {
                self.granted -= count;
                self.at = script.behind(self.at, count);
            }
            // The socket's event comes when it is no longer full.
            if self.link.is_filled(count, wanted) {
                break;
            }
        }
        Ok(())
    }

    /// Whether a connection that opens without sending anything is connected. Others are when they
    /// can send.
    fn is_connected(&mut self) -> anyhow::Result<bool> {
        let socket = self.link.socket();
        if let Some(error) = socket.take_error()? {
            return Err(error).context("cannot connect");
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error).context("cannot connect"),
        }
    }

    /// What it means that the stream fails now.
    fn failed(&self) -> &'static str {
        match self.stage {
            Stage::Connecting(_) if self.link.tls().is_some() => "cannot connect over TLS",
            Stage::Connecting(_) => "cannot connect",
            _ => "the connection failed",
        }
    }

    fn receive(&mut self, script: &Script, mut octets: &[u8], step: &mut Step) -> anyhow::Result<()> {
        match &mut self.stage {
            Stage::Connecting(opening) | Stage::Opening(opening) => {
                let taken = match opening {
                    Opening::WebSocket(handshake) => {
                        let taken = handshake.receive(octets)?;
                        let window = handshake.agreed.map(|agreed| agreed.client_max_window_bits);
                        ensure!(
                            window.is_none_or(|window| window >= script.window),
                            "the server does not agree on what it agreed on with a connection before: {}",
                            handshake.extensions
                        );
                        taken
                    }
                    Opening::Octets(left) => {
                        let taken = (*left).min(octets.len());
                        *left -= taken;
                        (*left == 0).then_some(taken)
                    }
                };
                let Some(taken) = taken else { return Ok(()) };
                self.stage = Stage::Open;
                step.opened = true;
                octets = &octets[taken..];
            }
            Stage::Closing(Some(left)) => {
                *left = left.saturating_sub(octets.len());
                if *left == 0 {
                    *step = self.closed();
                }
                return Ok(());
            }
            _ => {}
        }
        if octets.is_empty() {
            return Ok(());
        }
        let heard = self.replies.receive(script, octets)?;
        self.take(heard, step)
    }

    #[inline]
    fn take(&mut self, heard: Heard, step: &mut Step) -> anyhow::Result<()> {
        step.volume += heard.volume;
        if heard.answers.is_empty() && heard.close.is_none() {
            return Ok(());
        }
        self.urgent.extend_from_slice(&heard.answers);
        let Some(close) = heard.close else { return Ok(()) };
        if !matches!(self.stage, Stage::Closing(_)) {
            bail!("the server closed the connection {}", describe(&close));
        }
        *step = self.closed();
        Ok(())
    }

    /// It is over.
    pub(super) fn closed(&mut self) -> Step {
        self.stage = Stage::Closed;
        self.urgent.clear();
        self.granted = 0;
        Step { closed: true, ..Step::default() }
    }

    /// Takes note that octets came.
    #[inline]
    pub(super) fn touch(&mut self, now: u64) {
        self.active = now;
    }
}

impl Stage {
    /// What can be sent has found a connection.
    fn sent(&mut self) {
        if let Stage::Connecting(_) = self
            && let Stage::Connecting(opening) = std::mem::replace(self, Stage::Open)
        {
            *self = Stage::Opening(opening);
        }
    }

    /// When the connection was in this stage, in words.
    fn describe(&self) -> &'static str {
        match self {
            Stage::Connecting(_) | Stage::Opening(_) => "during the opening handshake",
            Stage::Open => "without a Close frame",
            Stage::Closing(_) | Stage::Closed => "without an answer to the Close frame",
        }
    }
}

/// A connection of which the kernels of both ends hold little, so that a server soon learns that
/// nothing is read. How much a server's kernel holds depends on the length of segments.
#[cfg(unix)]
fn narrow(addr: SocketAddr) -> io::Result<TcpStream> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_recv_buffer_size(NARROW_BUFFER)?;
    socket.set_tcp_mss(NARROW_SEGMENT)?;
    socket.connect_timeout(&addr.into(), NARROW_PATIENCE)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// A connection like all others.
#[cfg(not(unix))]
fn narrow(addr: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(addr)
}

/// The body of a Close frame in words.
fn describe(body: &[u8]) -> String {
    match body {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let reason = String::from_utf8_lossy(reason);
            if reason.is_empty() {
                format!("with code {code}")
            } else {
                format!("with code {code} ({reason:?})")
            }
        }
        _ => "without a code".to_owned(),
    }
}

/// The body of a Close frame with the code 1000.
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();
/// Octets of a read.
const READ: usize = 256 << 10;
/// Octets of a large reply's header.
const HEADER: usize = 10;
/// The most octets to drop at a time.
const DROP: usize = 4 << 20;
/// Octets of the receive buffer of a connection that never reads.
#[cfg(unix)]
const NARROW_BUFFER: usize = 4 << 10;
/// Octets of its segments.
#[cfg(unix)]
const NARROW_SEGMENT: u32 = 536;
/// How long such a connection may take to be made. It blocks: there are few of them.
#[cfg(unix)]
const NARROW_PATIENCE: Duration = Duration::from_secs(10);
