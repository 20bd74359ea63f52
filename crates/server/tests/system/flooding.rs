//! Peers that send much, at once or without end.

#[cfg(feature = "deflate")]
use crate::common::{Deflating, frame_with_rsv1, zeros};
use crate::common::{TestServer, next, wait_until};
use crate::probe::{Gate, Probe, frame, ws};
use framewright::frame::OpCode;
#[cfg(feature = "deflate")]
use framewright_server::{Chunk, Delivery};
use framewright_server::{Config, Decision, Handler, Incoming, Message, Options, Socket};
use socket2::SockRef;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Everything is there at once, then the loop goes on, and what it does in which order tells how
/// fair it is.
#[test]
fn a_peer_that_floods_gets_a_turn_or_two_while_a_hundred_others_get_theirs() {
    const BUDGET: usize = 16 << 10;
    let (gate, keeper) = Gate::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let handled = Arc::clone(&order);
    let (probe, _watch) = Probe::new(move |socket, message| match message {
        Message::Text("gate") => gate.pass(),
        Message::Text(_) => {
            handled.lock().unwrap().push(None);
            socket.send(message).expect("room");
        }
        Message::Binary(flood) => handled.lock().unwrap().push(Some(flood.len())),
    });
    let options = Options { receive_buffer_size: BUDGET, ..Options::default() };
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut others: Vec<_> = (0..100).map(|_| server.open("/ws")).collect();
    let (mut holder, mut flooder) = (server.open("/ws"), server.open("/ws"));

    holder.send_text("gate");
    next(&keeper.reached);
    let flooded = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&flooded);
    // More than the loop can take before the others, and it goes on until the server is gone. The
    // socket takes many turns' worth whatever the kernel's default is.
    SockRef::from(flooder.stream()).set_send_buffer_size(400_000).expect("an option of the socket");
    let flood = thread::spawn(move || {
        let burst = frame(true, OpCode::Binary, &[1; 100]).repeat(100);
        while flooder.try_send(&burst).is_ok() {
            count.fetch_add(burst.len(), SeqCst);
        }
    });
    wait_until("many turns' worth has arrived", || flooded.load(SeqCst) > 8 * BUDGET);
    for client in &mut others {
        client.send_text("me too");
    }
    keeper.open.send(()).expect("the handler waits");
    for client in &mut others {
        client.expect_text("me too");
    }
    let before: usize = {
        let order = order.lock().unwrap();
        let last = order.iter().rposition(Option::is_none).expect("the others were heard");
        order[..last].iter().flatten().sum()
    };
    drop(server);
    flood.join().unwrap();
    // It may have been first in line, and again in the list of those with work left.
    assert!(before <= 3 * BUDGET, "{before} octets of flood before the last of the others");
}

/// Says in which order it was called; holds its loop up for a message that says so.
#[cfg(feature = "deflate")]
struct Ordered {
    gate: Gate,
    order: Arc<Mutex<Vec<Option<usize>>>>,
}

#[cfg(feature = "deflate")]
impl Handler for Ordered {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        match message {
            Message::Text("gate") => self.gate.pass(),
            Message::Text(_) => {
                self.order.lock().unwrap().push(None);
                socket.send(message).expect("room");
            }
            Message::Binary(bomb) => self.order.lock().unwrap().push(Some(bomb.len())),
        }
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        if chunk.data.is_text() {
            self.on_message(socket, &mut (), chunk.data);
        } else {
            self.order.lock().unwrap().push(Some(chunk.data.len()));
        }
    }
}

/// A compressed octet makes a thousand: what a peer's turn comes to is counted in those.
#[cfg(feature = "deflate")]
#[test]
fn a_peer_that_sends_bombs_gets_a_turn_or_two_while_others_get_theirs() {
    // What a turn inflates at most, and how often the flooder may have had one: first in line, and
    // again in the list of those with work left.
    const TURN: usize = 2 << 20;
    const TURNS: usize = 3;
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let (gate, keeper) = Gate::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let handler = Ordered { gate, order: Arc::clone(&order) };
        let options = Options { connection: Config { delivery, ..Config::default() }, ..Options::default() };
        let server = TestServer::start(|builder| builder.route_with("/ws", options, handler));
        let open = || Deflating::open(server.addr(), "/ws", "permessage-deflate");
        let mut others: Vec<_> = (0..100).map(|_| open()).collect();
        let (mut holder, mut flooder) = (open(), open());
        holder.send(OpCode::Text, b"gate");
        next(&keeper.reached);
        // 16 MiB of zeros in 16 KiB, four times; the kernel takes them all, as it is told to.
        let socket = SockRef::from(flooder.client.stream());
        socket.set_send_buffer_size(200_000).expect("an option of the socket");
        flooder.client.send(frame_with_rsv1(true, OpCode::Binary, &zeros(16)).repeat(4));
        let text = "me too, ".repeat(50);
        for client in &mut others {
            client.send(OpCode::Text, text.as_bytes());
        }
        keeper.open.send(()).expect("the handler waits");
        for client in &mut others {
            assert_eq!(client.receive().message, text.as_bytes());
        }
        // The flooder had its turns in between, and gets all the others.
        wait_until("all bombs have gone off", || {
            order.lock().unwrap().iter().flatten().sum::<usize>() == 4 * (16 << 20)
        });
        let order = order.lock().unwrap();
        let last = order.iter().rposition(Option::is_none).expect("the others were heard");
        let before: usize = order[..last].iter().flatten().sum();
        assert!(before <= TURNS * TURN, "{delivery:?}: {before} octets before the last of the others");
        if delivery == Delivery::Chunks {
            let largest = order.iter().flatten().max();
            assert!(largest <= Some(&(64 << 10)), "{largest:?} octets in a chunk");
        }
    }
}

/// Sends whenever there is room, without end, on its path.
struct Pouring;

impl Pouring {
    fn pour(socket: &mut Socket<'_>, pours: bool) {
        while pours && socket.send_binary(&[1; 200]).is_ok() {}
    }
}

impl Handler for Pouring {
    type State = bool;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<bool> {
        Decision::accept(request.path() == "/pour")
    }

    fn on_open(&self, socket: &mut Socket<'_>, pours: &mut bool) {
        Pouring::pour(socket, *pours);
    }

    fn on_writable(&self, socket: &mut Socket<'_>, pours: &mut bool) {
        Pouring::pour(socket, *pours);
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut bool, message: Message<'_>) {
        socket.send(message).expect("room");
    }
}

/// Such a handler once kept the loop as long as its peer read as fast as it was written to.
#[test]
fn a_handler_that_sends_whenever_there_is_room_leaves_others_their_turns() {
    for high_water in [1, 16 << 10] {
        let connection = Config { high_water, low_water: 0, ..Config::default() };
        let options = Options { connection, ..Options::default() };
        let server = TestServer::start(|builder| builder.options(options).fallback(Pouring));
        let mut other = server.open("/echo");
        let mut thirsty = server.open("/pour");
        let drunk = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&drunk);
        let drinking = thread::spawn(move || {
            let mut octets = [0; 64 << 10];
            while let Ok(read @ 1..) = thirsty.read_some(&mut octets) {
                count.fetch_add(read, SeqCst);
            }
        });
        wait_until("it pours", || drunk.load(SeqCst) > 1 << 20);
        for _ in 0..10 {
            other.send_text("me too");
            other.expect_text("me too");
        }
        drop(server);
        drinking.join().unwrap();
    }
}

/// No event announces what a turn has left over.
#[test]
fn what_comes_in_one_go_is_answered_to_the_last_message_though_nothing_follows() {
    for (receive_buffer_size, total) in [(1, 20_000), (125, 300_000), (4096, 1 << 20), (65536, 1 << 20)] {
        let (probe, watch) = Probe::echo();
        let options = Options { receive_buffer_size, ..Options::default() };
        let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
        let mut client = server.open("/ws");
        let request = frame(true, OpCode::Text, b"a small message");
        let count = total / request.len();
        client.send(request.repeat(count));
        let answer = frame_from_server(b"a small message");
        let answers = client.read_exact(answer.len() * count);
        assert!(answers == answer.repeat(count), "{receive_buffer_size} octets a read");
        assert_eq!(watch.tally.messages(), count);
        client.leave();
    }
}

fn frame_from_server(text: &[u8]) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).expect("a short one")], text].concat()
}

/// What a turn costs does not grow with what the connection holds already, however the octets are
/// cut.
#[test]
fn a_large_message_arrives_through_a_small_buffer_and_in_small_fragments() {
    let payload: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let began = Instant::now();
    for (receive_buffer_size, fragment) in
        [(125, 1 << 20), (4096, 1 << 20), (125, 5000), (4096, 100), (65536, 16), (65536, 5000)]
    {
        let (probe, _watch) = Probe::echo();
        let options = Options { receive_buffer_size, ..Options::default() };
        let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
        let mut client = server.open("/ws");
        let mut octets = frame(false, OpCode::Binary, b"");
        for piece in payload.chunks(fragment) {
            octets.extend(frame(false, OpCode::Continuation, piece));
        }
        octets.extend(frame(true, OpCode::Continuation, b""));
        client.send(octets);
        let answer = client.frame();
        assert!(answer.payload == payload, "{receive_buffer_size} octets a read, fragments of {fragment}");
        client.leave();
    }
    // An octet a turn took fifty times as long as this takes.
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
}

/// Handlers have no queue of their own; a peer that is faster than its handler waits in the kernel.
#[test]
fn a_peer_that_is_faster_than_its_handler_is_held_back_by_the_socket() {
    let (gate, keeper) = Gate::new();
    let (probe, watch) = Probe::new(move |_, message| {
        if message == Message::Text("gate") {
            gate.pass();
        }
    });
    let server = TestServer::start(ws(probe));
    let mut client = server.open("/ws");
    client.send_text("gate");
    next(&keeper.reached);
    let mut writer = client.try_clone();
    let flood = thread::spawn(move || writer.send(frame(true, OpCode::Binary, &[3; 1000]).repeat(50_000)));
    // The handler has been given nothing behind the message that it is busy with.
    keeper.open.send(()).expect("the handler waits");
    wait_until("all is handled", || watch.tally.messages() == 50_001);
    flood.join().unwrap();
    client.leave();
}

// A read stops at the mark; what lay behind it was read when more came.
#[test]
fn what_lies_behind_an_urgent_mark_is_read() {
    let (gate, keeper) = Gate::new();
    let (probe, _watch) = Probe::new(move |socket, message| {
        if message == Message::Text("gate") {
            gate.pass();
        }
        socket.send(message).expect("room");
    });
    let server = TestServer::start(ws(probe));
    let mut other = server.open("/ws");
    let mut client = server.open("/ws");
    for _ in 0..2 {
        other.send_text("gate");
        next(&keeper.reached);
        client.send_text("one");
        SockRef::from(client.stream()).send_out_of_band(b"!").expect("an urgent octet");
        client.send_text("two");
        keeper.open.send(()).expect("the handler waits");
        client.expect_text("one");
        client.expect_text("two");
        other.expect_text("gate");
    }
    client.leave();
}
