//! `--fan-out`: against a server that sends what it gets on `/publish` to all others, and against
//! some that do it wrong.

use super::support::{PROGRAM, complaint, number, report, serve};
use framewright::Role;
use framewright::frame::{Frame, OpCode, Rules, encode_frame};
use framewright::handshake::accept_key;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Those that listen. What takes no more for a while is left out from then on, and counted.
#[derive(Clone, Default)]
struct Listeners {
    open: Arc<Mutex<Vec<TcpStream>>>,
    full: Arc<AtomicUsize>,
}

/// What is sent for the message of this number with this type and content to the listener of this
/// number.
type Deliver = fn(message: usize, listener: usize, OpCode, &[u8]) -> Vec<u8>;

fn as_it_is(_: usize, _: usize, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    encode_frame(&mut octets, true, opcode, payload, None);
    octets
}

/// A server that delivers so.
fn hub(deliver: Deliver) -> SocketAddr {
    hub_of(Listeners::default(), deliver)
}

fn hub_of(listeners: Listeners, deliver: Deliver) -> SocketAddr {
    serve(move |stream| connection(stream, &listeners, deliver))
}

fn connection(mut stream: TcpStream, listeners: &Listeners, deliver: Deliver) -> io::Result<()> {
    let mut received = Vec::new();
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(&mut stream, &mut received)?;
    };
    let head = String::from_utf8(received.drain(..end).collect()).expect("a request is text");
    if !head.starts_with("GET /publish ") {
        let listener = stream.try_clone()?;
        listener.set_write_timeout(Some(Duration::from_millis(100)))?;
        lock(listeners).push(listener);
    }
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = String::from_utf8(accept_key(key.as_bytes()).to_vec()).expect("base64");
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    for number in 0.. {
        let (opcode, payload, rest) = loop {
            let rules = Rules::for_receiver(Role::Server);
            if let Some((frame, rest)) = Frame::decode(&mut received, rules).expect("frames of a client") {
                break (frame.header.opcode, frame.payload.to_vec(), rest.to_vec());
            }
            read_more(&mut stream, &mut received)?;
        };
        received = rest;
        if opcode == OpCode::Close {
            return stream.write_all(&as_it_is(0, 0, opcode, &payload));
        }
        let mut index = 0;
        lock(listeners).retain_mut(|listener| {
            let octets = deliver(number, index, opcode, &payload);
            index += 1;
            let written = listener.write_all(&octets);
            let is_full = written.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            listeners.full.fetch_add(usize::from(is_full), Ordering::Relaxed);
            written.is_ok()
        });
    }
    Ok(())
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    let mut octets = [0; 4096];
    let count = stream.read(&mut octets)?;
    received.extend_from_slice(&octets[..count]);
    if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn lock(listeners: &Listeners) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
    listeners.open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(addr: SocketAddr) -> String {
    format!("ws://{addr}/listen")
}

fn publish(addr: SocketAddr) -> String {
    format!("--fan-out ws://{addr}/publish")
}

#[test]
fn what_one_publishes_is_counted_wherever_it_arrives() {
    let addr = hub(as_it_is);
    for options in ["", "--in-flight 16", "--verify --kind json --size 100,3000 --in-flight 5"] {
        let report = report(&listen(addr), &format!("{} {options} --connections 7", publish(addr)));
        assert_eq!(report["workload"]["mode"], "fan-out");
        let (arrived, published) = (number(&report["messages"]), number(&report["fan_out"]["published"]));
        // What is on the way when counting begins, or ends, is on one side only.
        assert!(published > 0.0 && (arrived - 7.0 * published).abs() <= 7.0 * 16.0, "{report}");
        let timed = number(&report["latency_us"]["count"]);
        assert!(timed > 0.0 && timed <= 7.0 * published, "{report}");
        assert!(number(&report["wire_bytes_sent"]) < number(&report["wire_bytes_received"]), "{report}");
    }
}

#[test]
fn a_schedule_times_every_arrival_of_what_was_due() {
    let addr = hub(as_it_is);
    let report = report(&listen(addr), &format!("{} --rate 500 --connections 4", publish(addr)));
    let count = number(&report["latency_us"]["count"]);
    assert!((4.0 * 99.0..=4.0 * 101.0).contains(&count), "{count} of 4 times 100 in 0.2 seconds");
    assert_eq!(report["schedule"]["unanswered"], 0);
}

#[test]
fn those_that_do_not_read_are_full_before_anything_is_counted_and_are_not_counted() {
    let listeners = Listeners::default();
    let addr = hub_of(listeners.clone(), as_it_is);
    let options = format!("{} --deaf 3 --connections 4 --size 1K --in-flight 2", publish(addr));
    let report = report(&listen(addr), &options);
    assert_eq!(listeners.full.load(Ordering::Relaxed), 3);
    let (arrived, published) = (number(&report["messages"]), number(&report["fan_out"]["published"]));
    assert!(published > 0.0 && (arrived - 4.0 * published).abs() <= 8.0, "{report}");
    assert_eq!(report["workload"]["deaf"], 3);
}

#[test]
fn a_message_that_is_lost_doubled_or_exchanged_ends_the_run() {
    let lost = hub(|message, listener, opcode, payload| match (message, listener) {
        (9, 1) => Vec::new(),
        _ => as_it_is(message, listener, opcode, payload),
    });
    let doubled = hub(|message, listener, opcode, payload| {
        as_it_is(message, listener, opcode, payload).repeat(if (message, listener) == (9, 1) { 2 } else { 1 })
    });
    let changed = hub(|message, listener, opcode, payload| {
        let mut payload = payload.to_vec();
        payload[30] ^= u8::from((message, listener) == (9, 1));
        as_it_is(message, listener, opcode, &payload)
    });
    for (addr, options, part) in [
        (lost, "--timeout 0.2 --duration 5", "a message has not reached 1 of 3 connections"),
        (doubled, "", "more messages arrive at a connection than are published"),
        (changed, "--verify", "wrong reply: byte 30"),
    ] {
        let (code, said) = complaint(&listen(addr), &format!("{} {options}", publish(addr)));
        assert!(code == Some(1) && said.contains(part) && said.lines().count() == 1, "{code:?} {said}");
    }
}

#[test]
fn people_are_told_how_much_was_published() {
    let addr = hub(as_it_is);
    let output = Command::new(PROGRAM)
        .args(["bench", "--url", &listen(addr), "--fan-out", &format!("ws://{addr}/publish")])
        .args("--connections 3 --deaf 1 --duration 0.2 --warm-up 0 --rate 300".split(' '))
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    for part in ["fan-out, 3 connections", "300 a second", "each to 3 connections", "1 connections more"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn what_is_published_at_one_server_is_awaited_at_others_too() {
    let addr = hub(as_it_is);
    let other = format!("--also ws://{addr}/elsewhere");
    let report = report(&listen(addr), &format!("{} {other} {other} --connections 4", publish(addr)));
    assert_eq!(report["workload"]["servers"], 3);
    let (arrived, published) = (number(&report["messages"]), number(&report["fan_out"]["published"]));
    assert!(published > 0.0 && (arrived - 12.0 * published).abs() <= 12.0, "{report}");
    // These listen to a server that nobody publishes at.
    let alone = format!("--also ws://{}/listen --timeout 0.2 --duration 5", hub(as_it_is));
    let (code, said) = complaint(&listen(addr), &format!("{} {alone}", publish(addr)));
    assert!(code == Some(1) && said.contains("has not reached 3 of 6 connections"), "{code:?} {said}");
}
