//! Peers that do not read what they are sent.

use crate::common::{Client, TestServer, next, wait_until};
use crate::probe::{Probe, frame, narrow_client};
use framewright::frame::OpCode;
use framewright::{Error, Timeout};
use framewright_server::{
    CloseCode, Config, Decision, Handle, HandleError, Handler, Incoming, Message, Options, Prepared,
    Response, ServerLimits, StatusCode,
};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const HIGH_WATER: usize = 128 << 10;

fn options(write_timeout: Duration) -> Options {
    let connection = Config {
        high_water: HIGH_WATER,
        low_water: HIGH_WATER / 4,
        write_timeout: Some(write_timeout),
        ..Config::default()
    };
    Options { connection, ..Options::default() }
}

/// A message that tells its place, of one of four sizes: some are copied before they are written,
/// some are not.
fn message(index: u32) -> Vec<u8> {
    let len = [10, 900, 20_000, 200_000][index as usize % 4];
    let mut payload = vec![index.to_le_bytes()[0]; len];
    payload[..4].copy_from_slice(&index.to_le_bytes());
    payload
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from_and_gets_everything_when_it_does() {
    let (probe, watch) = Probe::echo();
    let options = options(Duration::from_secs(30));
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut client = narrow_client(server.addr());
    client.open("/ws");
    let (mut writer, tally) = (client.try_clone(), Arc::clone(&watch.tally));
    let writing = thread::spawn(move || {
        // Until the server has been held back, however much the kernel's buffers take.
        for index in 0.. {
            writer.send_binary(&message(index));
            if index >= 400 && tally.most_buffered() >= HIGH_WATER {
                break;
            }
        }
        writer.send_text("that was all");
    });
    wait_until("much waits for it", || watch.tally.most_buffered() >= HIGH_WATER);
    let mut other = server.open("/ws");
    other.send_text("not affected");
    other.expect_text("not affected");
    for index in 0.. {
        let frame = client.frame();
        if frame.opcode == OpCode::Text {
            assert!(index > 400, "only {index} messages");
            break;
        }
        assert_eq!((frame.fin, frame.opcode), (true, OpCode::Binary));
        assert!(frame.payload == message(index), "message {index}");
    }
    writing.join().unwrap();
    // Below the mark one message of any size is taken; above it nothing is delivered that could be
    // answered.
    let most = watch.tally.most_buffered();
    assert!(most < HIGH_WATER + 200_000 + 14, "{most} octets waited");
    assert!(watch.tally.writable.load(SeqCst) > 0);
    client.leave();
    assert!(next(&watch.closures).clean);
}

/// A peer that is gone without a word looks the same.
#[test]
fn a_peer_that_takes_nothing_is_dropped_after_the_write_timeout() {
    let (probe, watch) = Probe::echo();
    let options = options(Duration::from_millis(200));
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut other = server.open("/ws");
    let mut client = narrow_client(server.addr());
    client.open("/ws");
    let burst = frame(true, OpCode::Binary, &[7; 60_000]);
    while client.try_send(&burst).is_ok() {}
    assert_eq!(next(&watch.closures).cause, Some(Error::Timeout(Timeout::Write)));
    wait_until("it is forgotten", || server.handle().connection_count() == 1);
    other.send_text("not affected");
    other.expect_text("not affected");
    drop(client);
}

/// Reads a little now and then for four times `patience`. False if this machine was too busy for
/// that.
fn read_slowly(client: &mut Client, patience: Duration) -> bool {
    let (began, mut last) = (Instant::now(), Instant::now());
    while began.elapsed() < 4 * patience {
        thread::sleep(patience / 20);
        client.read_some(&mut [0; 4096]).expect("the server goes on");
        if last.elapsed() > patience / 2 {
            return false;
        }
        last = Instant::now();
    }
    true
}

// The kernel announces room when a third of its send buffer is free, which takes such a peer
// longer.
#[test]
fn a_peer_that_reads_a_little_all_the_time_outlives_the_write_timeout() {
    const PATIENCE: Duration = Duration::from_secs(1);
    const MESSAGE: usize = 100_000;
    let (probe, watch, handles) = Probe::handles();
    let server = TestServer::start(|builder| builder.route_with("/ws", options(PATIENCE), probe));
    let lives = (0..5).any(|_| {
        let mut client = narrow_client(server.addr());
        client.open("/ws");
        let handle = next(&handles);
        let frame = Prepared::new(Message::Binary(&[0; MESSAGE]));
        // Until the kernel and the queues are full.
        let mut refused = 0;
        while refused < 10 {
            match handle.send_prepared(&frame) {
                Ok(()) => refused = 0,
                Err(HandleError::Full) => {
                    refused += 1;
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
        let mut slow = Client::from_tcp(client.stream().try_clone().expect("another descriptor"));
        if !read_slowly(&mut slow, PATIENCE) {
            drop(client);
            next(&watch.closures);
            return false;
        }
        assert_eq!(watch.tally.closed(), 0, "{:?}", watch.closures.try_recv());
        handle.close(Some(CloseCode::NORMAL), "").expect("it is open");
        // All of it arrives.
        let (mut piece, mut tail) = (vec![0; 1 << 20], Vec::new());
        while !tail.ends_with(&[0x88, 2, 0x03, 0xe8]) {
            let count = slow.read_some(&mut piece).expect("the server goes on");
            assert!(count > 0, "the stream has ended");
            tail.extend_from_slice(&piece[count.saturating_sub(4)..count]);
        }
        client.send_close(CloseCode::NORMAL, "");
        assert!(next(&watch.closures).clean);
        true
    });
    assert!(lives, "this machine is too busy to read a little twenty times a second");
}

/// Answers every request with a long page.
struct Page;

const PAGE: usize = 8 << 20;

impl Handler for Page {
    type State = ();

    fn on_request(&self, _: &Incoming<'_>) -> Decision<()> {
        Decision::respond(Response::text(StatusCode::OK, "x".repeat(PAGE)))
    }
}

// The deadline of an answer was acted on though there was room for more of it.
#[test]
fn a_page_is_written_to_a_peer_that_reads_a_little_all_the_time() {
    const PATIENCE: Duration = Duration::from_secs(1);
    let limits = ServerLimits { handshake_timeout: PATIENCE, ..ServerLimits::default() };
    let server = TestServer::start(|builder| builder.limits(limits).fallback(Page));
    let lives = (0..5).any(|_| {
        let mut client = narrow_client(server.addr());
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = client.answer_head();
        assert_eq!(answer.field("Content-Length"), Some(&*PAGE.to_string()));
        if !read_slowly(&mut client, PATIENCE) {
            return false;
        }
        let mut piece = vec![0; 1 << 20];
        while client.read_some(&mut piece).expect("an end without a reset") > 0 {}
        true
    });
    assert!(lives, "this machine is too busy to read a little twenty times a second");
}

/// Fills what waits for a peer that does not read, through its handle, until nothing more is taken.
fn stuff(handle: &Handle) {
    let frame = Prepared::new(Message::Binary(&[0; 50_000]));
    let mut refused = 0;
    // The loop takes what is queued until the peer's window and its own mark are full.
    wait_until("the connection is stuck", || {
        refused = if handle.send_prepared(&frame) == Err(HandleError::Full) { refused + 1 } else { 0 };
        refused == 30
    });
}

/// Who has nothing to do with the socket can still end it.
#[test]
fn a_handle_aborts_a_connection_whose_peer_does_not_read() {
    let (probe, watch, handles) = Probe::handles();
    let options = options(Duration::from_secs(3600));
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut client = narrow_client(server.addr());
    client.open("/ws");
    let handle = next(&handles);
    stuff(&handle);
    handle.abort().expect("the connection is there");
    assert_eq!(next(&watch.closures).cause, Some(Error::Aborted));
    assert_eq!(handle.send_text("too late"), Err(HandleError::Closed));
    client.expect_gone();
}

/// A peer that does not read does not keep a server from stopping.
#[test]
fn a_server_stops_though_a_peer_does_not_read() {
    let (probe, watch, handles) = Probe::handles();
    let options = options(Duration::from_secs(3600));
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut client = narrow_client(server.addr());
    client.open("/ws");
    stuff(&next(&handles));
    server.stop(Duration::from_millis(100)).expect("the server ends well");
    assert_eq!(next(&watch.closures).cause, Some(Error::Aborted));
    client.expect_gone();
}

#[test]
fn one_slow_subscriber_does_not_hold_a_broadcast_up() {
    const COUNT: u32 = 200;
    let (probe, watch, handles) = Probe::handles();
    let options = options(Duration::from_secs(3600));
    let server = TestServer::start(|builder| builder.route_with("/ws", options, probe));
    let mut slow = narrow_client(server.addr());
    slow.open("/ws");
    let slow_handle = next(&handles);
    let fast: Vec<(Client, Handle)> = (0..10).map(|_| (server.open("/ws"), next(&handles))).collect();

    let (sender, received) = mpsc::channel();
    let (handles, readers): (Vec<_>, Vec<_>) = fast
        .into_iter()
        .map(|(mut client, handle)| {
            let sender = sender.clone();
            let reader = thread::spawn(move || {
                for index in 0u32.. {
                    let frame = client.frame();
                    if frame.opcode == OpCode::Text {
                        break;
                    }
                    assert_eq!(
                        (frame.payload.len(), &frame.payload[..4]),
                        (40_000, &index.to_be_bytes()[..])
                    );
                    sender.send(()).expect("the test listens");
                }
                client.leave();
            });
            (handle, reader)
        })
        .unzip();
    let (mut sent, mut refused) = (0, 0);
    // Until the slow one is behind, however much the kernel's buffers take.
    while sent < COUNT || refused == 0 {
        let mut payload = vec![0; 40_000];
        payload[..4].copy_from_slice(&sent.to_be_bytes());
        sent += 1;
        let message = Prepared::new(Message::Binary(&payload));
        // Who is behind misses one.
        refused += u32::from(slow_handle.send_prepared(&message) == Err(HandleError::Full));
        for handle in &handles {
            handle.send_prepared(&message).expect("a reader that is up to date has room");
        }
        for _ in &handles {
            next(&received);
        }
    }
    for handle in &handles {
        handle.send_text("that was all").expect("the connection is there");
    }
    for reader in readers {
        reader.join().expect("every fast subscriber got everything");
    }
    // What was taken for the slow one arrives, in order.
    let mut frames = Vec::new();
    for _ in 0..sent - refused {
        frames.push(slow.frame().payload[..4].to_vec());
    }
    assert!(frames.is_sorted(), "{frames:?}");
    assert_eq!(watch.tally.closed(), 10);
}
