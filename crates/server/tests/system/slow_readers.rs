//! Peers that do not read what they are sent.

use crate::common::{Client, TestServer, next, wait_until};
use crate::probe::{Probe, frame, narrow_client};
use framewright::frame::OpCode;
use framewright::{Error, Timeout};
use framewright_server::{Config, Handle, HandleError, Message, Options, Prepared};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

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

/// A message that tells its place, of one of four sizes: some are copied before they are written, some are not.
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
    // Below the mark one message of any size is taken; above it nothing is delivered that could be answered.
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
    wait_until("it is forgotten", || server.handle().connections() == 1);
    other.send_text("not affected");
    other.expect_text("not affected");
    drop(client);
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
