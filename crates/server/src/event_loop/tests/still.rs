//! A loop that is not running: a test takes its turns one by one, at times of its choice, over
//! sockets that carry written bytes at once.

use crate::connection::slot::{Place, SlotNext};
use crate::event_loop::deadlines::DUE;
use crate::event_loop::mailbox::Command;
use crate::event_loop::slab::{Key, Slab};
use crate::event_loop::stream::{Arrival, Stream};
use crate::event_loop::wheel::Tick;
use crate::event_loop::{COMMANDS, EventLoop, SLICE, TURNS_OF_EVENTS};
use crate::{
    Config, Decision, Deferred, FieldValue, Handle, Handler, Incoming, Message, Options, Page, Server,
    ServerBuilder, ServerHandle, ServerLimits, Socket,
};
use framewright::frame::{OpCode, encode_frame};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) const LONG: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(10);

const REQUEST: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(super) fn stand_still(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> EventLoop {
    still_with_handle(configure).0
}

/// A loop, and the handle of its server.
pub(super) fn still_with_handle(
    configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> (EventLoop, ServerHandle) {
    let builder = Server::builder().listen("127.0.0.1:0");
    let server = configure(builder).build().expect("a server");
    let handle = server.handle();
    let Server { shared, mut polls, mailboxes, walks, .. } = server;
    let event_loop = EventLoop::new(polls.remove(0), shared, (mailboxes, 0), walks, Vec::new());
    (event_loop.expect("a loop"), handle)
}

impl EventLoop {
    /// A new connection whose peer has sent `written` already.
    pub(super) fn connect(&mut self, written: &[u8]) -> (Key, Peer) {
        self.connect_with(written, None)
    }

    /// A connection for which the kernel buffers about `kept` bytes to the peer, or its minimum.
    fn connect_with(&mut self, written: &[u8], kept: Option<usize>) -> (Key, Peer) {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("an option of the socket");
        theirs.set_nonblocking(true).expect("an option of the socket");
        if let Some(kept) = kept {
            socket2::SockRef::from(&ours).set_send_buffer_size(kept).expect("an option of the socket");
        }
        let mut peer = Peer(theirs);
        peer.write(written);
        let counted = self.context.server.totals.counters.count(None).expect("no limit");
        self.context.mailbox.load.fetch_add(1, Ordering::Relaxed);
        self.adopt(Stream::Unix(mio::net::UnixStream::from_std(ours)), Arrival::default(), counted);
        (self.slots.keys().pop().expect("a connection"), peer)
    }

    pub(super) fn open(&mut self) -> (Key, Peer) {
        self.open_by(REQUEST)
    }

    fn open_by(&mut self, request: &[u8]) -> (Key, Peer) {
        let (key, mut peer) = self.connect(request);
        assert!(self.slots.get_mut(key).expect("a connection").is_open());
        peer.expect_status("101");
        (key, peer)
    }

    /// One turn, at the loop's time, with all bytes in the socket. `due`: the deadline's tick is
    /// due.
    fn turn_alone(&mut self, key: Key, due: bool) -> SlotNext {
        let slot = self.slots.get_mut(key).expect("a connection");
        slot.with_ready(|ready| (ready.read, ready.due) = (true, due));
        slot.turn(key, &mut self.context)
    }

    pub(super) fn deadline(&mut self, key: Key) -> Instant {
        self.slots.get_mut(key).expect("a connection").deadline().expect("a deadline")
    }

    /// Does what an event for received bytes does.
    pub(super) fn announce(&mut self, key: Key) {
        self.slots.get_mut(key).expect("a connection").with_ready(|ready| ready.read = true);
        self.take_turn(key);
    }

    /// Does what an event for received bytes does, after the earlier events have taken `events`.
    fn announce_after(&mut self, events: Duration, key: Key) {
        self.slots.get_mut(key).expect("a connection").with_ready(|ready| ready.read = true);
        self.woken = self.context.now;
        self.context.now += events;
        self.give_turn(key);
    }

    fn place(&mut self, key: Key) -> Place {
        self.slots.get_mut(key).expect("a connection").place
    }

    /// The lists of a round that has time for only one turn of each.
    fn short_round(&mut self) {
        self.handle_commands(LONG);
        self.handle_listed(Duration::ZERO);
    }
}

pub(super) struct Peer(pub(super) UnixStream);

impl Peer {
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("room in the socket");
    }

    /// The bytes received, without waiting.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut taken = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut taken) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        taken
    }

    #[track_caller]
    pub(super) fn expect_status(&mut self, status: &str) {
        let answer = self.take();
        let found = answer.get(9..12).map(String::from_utf8_lossy);
        assert_eq!(found.as_deref(), Some(status), "{}", String::from_utf8_lossy(&answer));
    }
}

/// Records the connection of each message, and hands out a handle for each connection.
struct Noting {
    handles: Sender<Handle>,
    order: Arc<Mutex<Vec<u64>>>,
}

impl Handler for Noting {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        self.handles.send(socket.handle()).expect("the test listens");
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), _: Message<'_>) {
        self.order.lock().expect("no panic").push(socket.id());
    }
}

/// A loop, the handles of its connections, and the connections of the messages read, in order.
fn noting() -> (EventLoop, Receiver<Handle>, Arc<Mutex<Vec<u64>>>) {
    noting_with(Options { receive_buffer_size: MESSAGE, ..Options::default() })
}

fn noting_with(options: Options) -> (EventLoop, Receiver<Handle>, Arc<Mutex<Vec<u64>>>) {
    let (sender, handles) = mpsc::channel();
    let order = Arc::new(Mutex::new(Vec::new()));
    let handler = Noting { handles: sender, order: Arc::clone(&order) };
    (stand_still(|builder| builder.route_with("/ws", options, handler)), handles, order)
}

/// The length of a frame, and of a read.
const MESSAGE: usize = 106;

/// A frame of `len` bytes.
fn frame(len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, OpCode::Binary, &vec![1; len - 6], Some([1, 2, 3, 4]));
    frame
}

/// The frame of a compressed message of 1 + 258 * `times` zeros.
#[cfg(feature = "deflate")]
fn compressed_zeros(times: usize) -> Vec<u8> {
    use framewright::frame::{Header, MAX_HEADER_LEN, RSV1};

    // A block with fixed codes: the byte 0, the longest match at distance 1 repeated, the end code,
    // and the header of an empty block after it.
    let bits = ["010", "00110000", &"1100010100000".repeat(times), "0000000", "000"].concat();
    let octet = |bits: &[u8]| bits.iter().rev().fold(0, |octet, bit| octet << 1 | (bit - b'0'));
    let payload: Vec<u8> = bits.as_bytes().chunks(8).map(octet).collect();
    let (mask, payload_len) = (Some([0; 4]), payload.len() as u64);
    let header = Header { fin: true, rsv: RSV1, opcode: OpCode::Binary, mask, payload_len };
    let mut head = [0; MAX_HEADER_LEN];
    let head_len = header.encode(&mut head);
    [&head[..head_len], &payload].concat()
}

/// A connection with more to read than its turns process, and its id.
fn flooder(event_loop: &mut EventLoop, handles: &Receiver<Handle>) -> (u64, Peer) {
    let (key, mut peer) = event_loop.open();
    peer.write(&frame(MESSAGE).repeat(100));
    event_loop.announce(key);
    (handles.recv().expect("a handle").id(), peer)
}

#[test]
fn what_a_handle_sends_to_a_quiet_connection_does_not_wait_behind_floods() {
    let (mut event_loop, handles, order) = noting();
    let _flooders: Vec<_> = (0..20).map(|_| flooder(&mut event_loop, &handles)).collect();
    let (_, mut quiet) = event_loop.open();
    let (key, mut talking) = event_loop.open();
    talking.write(&[0x81, 0x80, 0, 0, 0, 0]);
    event_loop.announce(key);
    order.lock().expect("no panic").clear();
    // One has sent nothing since it opened, the other little.
    for peer in [&mut quiet, &mut talking] {
        handles.recv().expect("a handle").send_text("news").expect("room");
        event_loop.short_round();
        assert_eq!(peer.take(), b"\x81\x04news");
    }
    assert_eq!(order.lock().expect("no panic").len(), 2, "a flooder had its turn in each of two rounds");
}

#[test]
fn a_deadline_of_a_quiet_connection_does_not_wait_behind_floods() {
    let (mut event_loop, handles, _) = noting();
    let _flooders: Vec<_> = (0..20).map(|_| flooder(&mut event_loop, &handles)).collect();
    let (_, mut quiet) = event_loop.open();
    event_loop.context.now += LONG;
    event_loop.handle_deadlines(LONG);
    event_loop.handle_listed(Duration::ZERO);
    assert_eq!(quiet.take()[..1], [0x89], "a keep-alive Ping");
}

/// All connections that open at the same moment have their deadlines at the same moment, even a
/// million of them.
#[test]
fn deadlines_of_a_crowd_are_looked_at_in_slices_and_none_is_forgotten() {
    let (mut event_loop, _handles, _) = noting();
    let (_, mut quiet) = event_loop.open();
    event_loop.context.now += LONG;
    let nobody = (Tick::MIN, u32::MAX - 1);
    event_loop.wheel.take_due(event_loop.context.now, &mut event_loop.due);
    event_loop.due.reverse();
    event_loop.due.extend([nobody; 2 * DUE]);
    let due = event_loop.due.len();
    for looked_at in [DUE, 2 * DUE] {
        event_loop.handle_deadlines(Duration::ZERO);
        assert_eq!(event_loop.due.len(), due - looked_at);
        assert_eq!(event_loop.wait(), Some(Duration::ZERO), "there is work left");
        event_loop.handle_listed(Duration::ZERO);
        assert_eq!(quiet.take(), b"");
    }
    // Releasing memory meanwhile loses no entry.
    event_loop.trim_at = Some(event_loop.context.now);
    event_loop.trim();
    event_loop.handle_deadlines(Duration::ZERO);
    event_loop.handle_listed(Duration::ZERO);
    assert_eq!(quiet.take()[..1], [0x89], "a keep-alive Ping");
}

#[test]
fn whoever_is_behind_others_in_a_list_waits_for_as_many_rounds_however_long_the_other_list_is() {
    let (mut event_loop, handles, order) = noting();
    let flooders: Vec<_> = (0..5).map(|_| flooder(&mut event_loop, &handles)).collect();
    let mut quiet: Vec<_> =
        (0..5).map(|_| (event_loop.open().1, handles.recv().expect("a handle"))).collect();
    order.lock().expect("no panic").clear();
    for round in 0..5 {
        // All of them always have more.
        for (_, handle) in &quiet {
            handle.send_text("news").expect("room");
        }
        event_loop.short_round();
        assert_eq!(order.lock().expect("no panic").last(), Some(&flooders[round].0), "round {round}");
        assert!(!quiet[round].0.take().is_empty(), "round {round}");
    }
    assert_eq!(order.lock().expect("no panic").len(), 5);
}

/// Regression test: a thousand connections that sent a compressed bomb at once delayed a neighbour
/// for 150 ms. Each counted as one that needs little, because its socket had been announced before.
#[test]
fn the_event_of_a_socket_without_bytes_does_not_say_that_it_needs_little() {
    let (mut event_loop, _handles, order) = noting();
    let (key, mut peer) = event_loop.open();
    event_loop.announce_after(Duration::ZERO, key);
    assert_eq!(event_loop.place(key), Place::New);
    peer.write(&frame(MESSAGE / 2));
    event_loop.announce_after(SLICE, key);
    assert_eq!((event_loop.place(key), event_loop.long_turns.len()), (Place::Listed, 1));
    event_loop.short_round();
    assert_eq!((event_loop.place(key), order.lock().expect("no panic").len()), (Place::First, 1));
}

#[test]
fn who_needs_little_has_its_turn_from_a_list_where_those_of_events_have_taken_long() {
    let (mut event_loop, _handles, order) = noting();
    let (key, mut peer) = event_loop.open();
    let just_before = TURNS_OF_EVENTS - Duration::from_nanos(1);
    for (turns, events, place) in [
        (1, Duration::ZERO, Place::First),
        (2, just_before, Place::First),
        (2, TURNS_OF_EVENTS, Place::Listed),
    ] {
        peer.write(&frame(MESSAGE / 2));
        event_loop.announce_after(events, key);
        assert_eq!((order.lock().expect("no panic").len(), event_loop.place(key)), (turns, place));
    }
    assert_eq!((event_loop.short_turns.len(), event_loop.long_turns.len()), (1, 0));
    event_loop.short_round();
    assert_eq!((order.lock().expect("no panic").len(), event_loop.place(key)), (3, Place::First));
}

/// Regression test: the bytes on the wire are few, so the connection counted as one that needs
/// little after each complete message, and a thousand of them sent the next one at once.
#[test]
#[cfg(feature = "deflate")]
fn a_connection_whose_messages_take_long_to_inflate_moves_much() {
    let (mut event_loop, _handles, order) = noting_with(Options::default());
    let request = String::from_utf8(REQUEST.to_vec()).expect("ASCII");
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let (key, mut peer) = event_loop.open_by([request.trim_end(), "\r\n", offer].concat().as_bytes());
    peer.write(&compressed_zeros((1 << 20) / 258));
    event_loop.announce(key);
    for _ in 0..100 {
        event_loop.short_round();
    }
    assert_eq!(order.lock().expect("no panic").len(), 1);
    assert_eq!(event_loop.place(key), Place::Last);
    peer.write(&compressed_zeros(0));
    event_loop.announce_after(Duration::ZERO, key);
    event_loop.short_round();
    assert_eq!((order.lock().expect("no panic").len(), event_loop.place(key)), (2, Place::First));
}

#[test]
fn what_a_connection_moves_counts_until_it_waits_though_the_last_turn_moves_little() {
    let (mut event_loop, _handles, order) = noting_with(Options::default());
    let (key, mut peer) = event_loop.open();
    let frames = Options::default().receive_buffer_size / MESSAGE + 1;
    peer.write(&frame(MESSAGE).repeat(frames));
    event_loop.announce(key);
    assert_eq!((event_loop.place(key), event_loop.long_turns.len()), (Place::Listed, 1), "more has come");
    event_loop.short_round();
    assert_eq!((event_loop.place(key), order.lock().expect("no panic").len()), (Place::Last, frames));
    peer.write(&frame(MESSAGE));
    event_loop.announce(key);
    assert_eq!((event_loop.place(key), order.lock().expect("no panic").len()), (Place::First, frames + 1));
}

#[test]
fn commands_that_take_no_time_look_at_the_clock_too() {
    let mut event_loop = stand_still(|builder| builder);
    let mut slab = Slab::new();
    let nobody = slab.insert(()).expect("a place");
    for _ in 0..3 * COMMANDS {
        event_loop.context.mailbox.post(Command::Attend(nobody)).expect("it is open");
    }
    event_loop.handle_commands(Duration::from_nanos(1));
    assert_eq!(event_loop.commands.len(), 2 * COMMANDS);
}

#[test]
fn lists_and_commands_have_as_much_of_a_round_as_events_and_a_slice_at_least() {
    let mut event_loop = stand_still(|builder| builder);
    let woken = event_loop.context.now;
    assert_eq!(event_loop.slice(woken), SLICE);
    event_loop.context.now += SLICE / 2;
    assert_eq!(event_loop.slice(woken), SLICE);
    event_loop.context.now = woken + 7 * SLICE;
    assert_eq!(event_loop.slice(woken), 7 * SLICE);
}

/// Regression test: the wait started again after each signal, so a process that received signals
/// now and then never reached a deadline.
#[test]
fn a_wait_that_a_signal_interrupts_goes_on_with_what_is_left_of_it() {
    let mut event_loop = stand_still(|builder| builder);
    event_loop.stop_at = Some(event_loop.context.now + LONG);
    assert_eq!(event_loop.wait(), Some(LONG));
    let later = event_loop.context.now + LONG - TIMEOUT;
    let goes_on = event_loop.note_woken(Err(io::ErrorKind::Interrupted.into()), later);
    assert!(!goes_on.expect("no fault"), "there are no events to handle");
    assert_eq!(event_loop.wait(), Some(TIMEOUT));
    assert!(event_loop.note_woken(Ok(()), later).expect("no fault"));
    event_loop.note_woken(Err(io::ErrorKind::OutOfMemory.into()), later).expect_err("a fault of the system");
}

/// Defers every decision.
struct Deferring(Sender<Deferred<()>>);

impl Handler for Deferring {
    type State = ();

    fn on_request(&self, _: &Incoming<'_>) -> Decision<()> {
        let (decision, deferred) = Decision::defer();
        self.0.send(deferred).expect("the test listens");
        decision
    }
}

/// A loop whose handshakes take [`TIMEOUT`] at most, and the means to decide its requests.
fn deferring() -> (EventLoop, Receiver<Deferred<()>>) {
    let (sender, deferred) = mpsc::channel();
    let limits = ServerLimits { handshake_timeout: TIMEOUT, ..ServerLimits::default() };
    (stand_still(|builder| builder.limits(limits).route("/ws", Deferring(sender))), deferred)
}

#[test]
fn a_decision_that_is_made_before_the_deadline_is_judged_counts() {
    let (mut event_loop, deferred) = deferring();
    let (in_time, mut peer) = event_loop.connect(REQUEST);
    let (late, mut other) = event_loop.connect(REQUEST);
    let first = deferred.recv().expect("a request");
    let second = deferred.recv().expect("a request");
    // The loop is too busy to read its mailbox.
    first.decide(Decision::accept(()));
    event_loop.context.now += 2 * TIMEOUT;
    for key in [in_time, late] {
        event_loop.turn_alone(key, true);
    }
    assert_eq!(peer.take(), b"", "the answer comes with the decision");
    other.expect_status("503");
    assert!(!second.is_waiting());
    assert!(event_loop.deadline(in_time) > event_loop.context.now, "and has a moment for that");
    second.decide(Decision::accept(()));
    event_loop.handle_commands(LONG);
    peer.expect_status("101");
    assert_eq!(other.take(), b"");
}

/// Dropping the [`Deferred`] is a decision too.
#[test]
fn a_decision_that_is_dropped_in_time_is_answered_with_500() {
    let (mut event_loop, deferred) = deferring();
    let (key, mut peer) = event_loop.connect(REQUEST);
    drop(deferred.recv().expect("a request"));
    event_loop.context.now += 2 * TIMEOUT;
    event_loop.turn_alone(key, true);
    event_loop.handle_commands(LONG);
    peer.expect_status("500");
}

#[test]
fn a_request_that_is_read_late_has_the_whole_time_for_its_decision() {
    let (mut event_loop, deferred) = deferring();
    let (key, mut peer) = event_loop.connect(b"");
    peer.write(REQUEST);
    event_loop.context.now += 2 * TIMEOUT;
    assert_eq!(event_loop.turn_alone(key, true), SlotNext::Wait);
    assert_eq!(peer.take(), b"", "no 503");
    assert_eq!(event_loop.deadline(key), event_loop.context.now + TIMEOUT);
    let deferred = deferred.recv().expect("a request");
    assert!(deferred.is_waiting());
    // After that, the time is up.
    event_loop.context.now += TIMEOUT;
    event_loop.turn_alone(key, true);
    peer.expect_status("503");
    assert!(!deferred.is_waiting());
}

/// A callback in the phase before may have taken as long as the next phase may last.
#[test]
fn deadlines_of_a_phase_count_from_its_beginning() {
    let connection = Config { idle_timeout: Some(TIMEOUT), keep_alive_interval: None, ..Config::default() };
    let options = Options { connection, ..Options::default() };
    let (sender, _handles) = mpsc::channel();
    let handler = Noting { handles: sender, order: Arc::default() };
    let mut event_loop = stand_still(|builder| builder.route_with("/ws", options, handler));
    let began = Instant::now();
    // The turn began long ago.
    event_loop.context.now = began.checked_sub(2 * TIMEOUT).expect("a system that is up for so long");
    let (key, _peer) = event_loop.open();
    assert!(event_loop.deadline(key) >= began + TIMEOUT);
}

/// Sends a page to a peer that takes `taken` bytes in each eighth of the handshake timeout. Returns
/// the number of eighths after which the connection is removed; `None` if the whole page is taken.
fn eighths_for_a_page(taken: u64) -> Option<u32> {
    const PAGE: usize = 256 << 10;
    let limits = ServerLimits { handshake_timeout: TIMEOUT, ..ServerLimits::default() };
    let page = Page::new(FieldValue::from_static("application/wasm"), vec![7; PAGE]);
    let mut event_loop = stand_still(|builder| builder.limits(limits).page("/", page));
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (key, mut peer) = event_loop.connect_with(request, Some(1));
    let mut come = Vec::new();
    for eighth in 1.. {
        // The bytes that arrive are kept, even if they are fewer.
        let _ = (&peer.0).take(taken).read_to_end(&mut come);
        event_loop.context.now += TIMEOUT / 8;
        if event_loop.turn_alone(key, true) == SlotNext::Remove {
            come.extend(peer.take());
            return (come.len() < PAGE).then_some(eighth);
        }
    }
    unreachable!("the page has an end")
}

/// Regression test: each byte renewed the whole time, so a page could be held for days.
#[test]
fn who_takes_a_page_in_drops_is_not_waited_for() {
    let eighths = eighths_for_a_page(1 << 10).expect("less than 16 KiB in the time");
    // The kernel takes what fits into its buffer at once, which renews the time once.
    assert!(eighths <= 2 * 8, "{eighths}");
}

#[test]
fn who_takes_a_page_slowly_gets_it() {
    assert_eq!(eighths_for_a_page(4 << 10), None, "32 KiB in the time");
}

/// Answers with a page that the application replaces from time to time.
struct Replaced(Arc<Mutex<Page>>);

impl Handler for Replaced {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        self.0.lock().expect("no panic").answer(request).into()
    }
}

/// Regression test: with two or more such readers none was charged, so their memory was beyond
/// every limit.
#[test]
fn who_reads_a_page_that_has_been_replaced_is_charged_for_it_with_the_others() {
    const PAGE: usize = 4 << 20;
    let page = || Page::new(FieldValue::from_static("application/wasm"), vec![7; PAGE]);
    let current = Arc::new(Mutex::new(page()));
    let replaced = Replaced(Arc::clone(&current));
    let (mut event_loop, handle) =
        still_with_handle(|builder| builder.route("/", replaced).page("/page", page()));
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let _of_the_server: Vec<_> = (0..4).map(|_| event_loop.connect(&ask("/page"))).collect();
    let few = 64 << 10;
    assert!(handle.stats().memory.held < few, "a page of the server's own is nobody's");
    let mut readers: Vec<_> = (0..4).map(|_| event_loop.connect(&ask("/"))).collect();
    *current.lock().expect("no panic") = Page::text("another one");
    while let Some((key, peer)) = readers.pop() {
        for &(key, _) in &readers {
            event_loop.announce(key);
        }
        event_loop.announce(key);
        let held = handle.stats().memory.held;
        assert!((PAGE..PAGE + few).contains(&held), "{held} with {} others", readers.len());
        drop(peer);
        event_loop.announce(key);
    }
    assert!(handle.stats().memory.held < few);
}
