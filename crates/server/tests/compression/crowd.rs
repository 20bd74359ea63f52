//! A thousand clients at once, with less memory than all of them ask for.

use crate::common::{Client, Deflating, frame_with_rsv1, wait_until, zeros};
use crate::process::ServerProcess;
use framewright::deflate::{Compressor, Decompressor, DeflateConfig, WindowBits};
use framewright::frame::{OpCode, encode_frame};
use framewright_testkit::deflate::{Deflater, compressible};
use framewright_testkit::rng::SplitMix64;
use std::fmt::Write as _;

const COUNT: usize = 1000;
const WORKERS: usize = 2;
const CAP: usize = 3 << 20;

/// What takeover costs a connection whose client limits its window as asked: the last of what was
/// sent, and of what was received.
fn takeover() -> usize {
    DeflateConfig::default().history + (4 << 10)
}

/// What each worker may hold beyond the cap.
fn home() -> usize {
    Compressor::size(WindowBits::MAX) + Decompressor::MAX_SIZE
}

/// What a connection holds besides: small allocations, and in the middle of a message what has come
/// of it.
const SMALL: usize = 400;
const MESSAGE: usize = 12 << 10;

fn number(server: &mut ServerProcess, what: &str) -> usize {
    server.tell(what).parse().expect("a number")
}

fn settings(more: &str) -> String {
    format!("memory={CAP} workers={WORKERS} {more}")
}

fn message(client: usize, round: usize) -> Vec<u8> {
    compressible(&mut SplitMix64::new((client * 10 + round) as u64), 1500 + client)
}

fn open(server: &ServerProcess, path: &str) -> Client {
    let mut client = server.connect();
    client.open_with(path, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    client
}

/// The octets of the heap with so many clients that talk without compression: now, and at the most.
fn without_compression() -> (usize, usize) {
    let mut server = ServerProcess::start_with(&settings(""));
    let mut clients: Vec<_> = (0..COUNT).map(|_| open(&server, "/off")).collect();
    for client in &mut clients {
        client.send_binary(&message(0, 0));
        client.frame();
    }
    (number(&mut server, "live"), number(&mut server, "peak"))
}

#[test]
fn a_thousand_clients_that_want_takeover_are_served_within_the_cap() {
    let (live, peak) = without_compression();
    let mut server = ServerProcess::start_with(&settings(""));
    let offer = "permessage-deflate; client_max_window_bits";
    let mut clients: Vec<_> =
        (0..COUNT).map(|_| Deflating::open(server.addr(), "/takeover", offer)).collect();
    let with = clients.iter().filter(|client| client.terms.server_takeover).count();
    assert!(clients.iter().all(|client| client.terms.server_takeover == client.terms.client_takeover));
    // A quarter is left for messages in parts.
    assert_eq!(with, (CAP - CAP / 4) / takeover());
    assert_eq!(number(&mut server, "held"), with * takeover());
    for round in 0..2 {
        let octets: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(index, client)| {
                let octets = client.frame_of(OpCode::Binary, &message(index, round));
                client.forget();
                octets
            })
            .collect();
        // All are in the middle of a message before any is at its end.
        for (client, octets) in clients.iter_mut().zip(&octets) {
            client.client.send(&octets[..octets.len() / 2]);
        }
        for (client, octets) in clients.iter_mut().zip(&octets) {
            client.client.send(&octets[octets.len() / 2..]);
        }
        for (index, client) in clients.iter_mut().enumerate() {
            let received = client.receive();
            assert!(received.compressed && received.message == message(index, round));
        }
    }
    let most = number(&mut server, "most held");
    let now = number(&mut server, "live").saturating_sub(live);
    let more = number(&mut server, "peak").saturating_sub(peak);
    let mut said = format!("{with} of {COUNT} with takeover, held {most} at most with a cap of {CAP}; ");
    let _ = write!(said, "the heap: {now} more than without compression, at most {more} more");
    println!("{said}");
    assert!(most <= CAP + WORKERS * home(), "{most} octets held");
    assert!(now <= CAP + WORKERS * home() + COUNT * SMALL, "{now} octets more");
    assert!(more <= CAP + WORKERS * home() + COUNT * MESSAGE, "{more} octets more");

    clients.into_iter().for_each(drop);
    server.wait_for_connections(0);
    wait_until("nothing is held", || number(&mut server, "held") == 0);
    let mut client = Deflating::open(server.addr(), "/takeover", offer);
    assert!(client.terms.server_takeover);
    client.echo(OpCode::Binary, &message(0, 0));
}

#[test]
fn a_thousand_clients_that_stop_in_the_middle_of_a_message_hold_no_more_than_the_cap() {
    let (live, _) = without_compression();
    for (settings, path) in [
        (settings(""), "/shared"),
        (settings(""), "/takeover"),
        (settings("chunks=1"), "/shared"),
        (settings("chunks=1"), "/takeover"),
    ] {
        let mut server = ServerProcess::start_with(&settings);
        let payload = Deflater::new(6).message(&message(1, 0));
        let octets = frame_with_rsv1(true, OpCode::Binary, &payload);
        let mut clients: Vec<_> = (0..COUNT).map(|_| open(&server, path)).collect();
        for client in &mut clients {
            client.send(&octets[..octets.len() / 2]);
        }
        // In order: when each loop has answered, it has read all that came before.
        (0..WORKERS).for_each(|_| server.open("/off").leave());
        let most = number(&mut server, "most held");
        let now = number(&mut server, "live").saturating_sub(live);
        println!("{path}, {settings}: held {most} at most, {now} octets more than without compression");
        assert!(most <= CAP + WORKERS * home(), "{most} octets held");
        assert!(now <= CAP + WORKERS * home() + COUNT * MESSAGE, "{now} octets more");
        // Those who have something to inflate with go on, and what the others have sent is held
        // compressed until its end has come.
        for client in &mut clients {
            client.send(&octets[octets.len() / 2..]);
            let mut frame = client.frame();
            while !frame.fin {
                frame = client.frame();
            }
            assert_ne!(frame.opcode, OpCode::Close, "{frame:?}");
        }
        drop(clients);
        server.wait_for_connections(0);
        // The workers' own, and decompressors that wait for their next use.
        let rest = WORKERS * (home() + 4 * Decompressor::MAX_SIZE);
        wait_until("little is held", || number(&mut server, "held") <= rest);
    }
}

/// Each takes several turns of its own. Such messages once had a decompressor each, whatever was
/// left of the cap.
#[test]
fn messages_that_take_several_turns_share_a_decompressor_where_there_is_no_memory() {
    const SENDERS: usize = 40;
    const MEBIBYTES: usize = 5;
    let mut server = ServerProcess::start_with("memory=0");
    let mut clients: Vec<_> = (0..SENDERS).map(|_| open(&server, "/sink")).collect();
    let before = number(&mut server, "live");
    let octets = frame_with_rsv1(true, OpCode::Binary, &zeros(MEBIBYTES));
    for client in &mut clients {
        client.send(&octets);
    }
    for client in &mut clients {
        client.expect_text(&(MEBIBYTES << 20).to_string());
    }
    let (most, cost) = (number(&mut server, "most held"), number(&mut server, "peak") - before);
    println!("{SENDERS} messages of {MEBIBYTES} MiB at once: held {most} at most, the heap {cost} more");
    assert!(most <= home(), "{most} octets held");
    // One that is being inflated, in a vector of twice its length, and what the others have sent.
    assert!(cost <= ((2 * MEBIBYTES) << 20) + SENDERS * (octets.len() + MESSAGE) + home(), "{cost} octets");
}

/// A thousand clients that send a few octets of a message in parts and nothing more once had
/// everybody's large messages refused with 1013, from then on and for ever.
#[test]
fn strangers_that_begin_messages_and_send_no_more_have_nobody_refused() {
    const SENDERS: usize = 30;
    let mut server = ServerProcess::start_with(&settings("chunks=1"));
    for path in ["/shared", "/takeover"] {
        let begun = frame_with_rsv1(false, OpCode::Binary, &Deflater::new(6).part(b"few"));
        let mut strangers: Vec<_> = (0..COUNT).map(|_| open(&server, path)).collect();
        for stranger in &mut strangers {
            stranger.send(&begun);
        }
        // In order: when each loop has answered, it has read all that came before.
        (0..WORKERS).for_each(|_| server.open("/off").leave());
        for round in 0..SENDERS {
            let offer = "permessage-deflate; client_max_window_bits";
            let mut client = Deflating::open(server.addr(), path, offer);
            let noise = SplitMix64::new(round as u64).octets(300_000);
            assert_eq!(client.echo(OpCode::Binary, &noise).message.len(), noise.len());
            client.leave();
        }
        let most = number(&mut server, "most held");
        assert!(most <= CAP + WORKERS * home(), "{most} octets held");
        // Who has lost what it held learns it when it goes on; few have.
        let mut lost = 0;
        for stranger in &mut strangers {
            let mut rest = Vec::new();
            encode_frame(&mut rest, true, OpCode::Continuation, &[0x00], Some([1, 2, 3, 4]));
            stranger.send(&rest);
            let mut frame = stranger.frame();
            while !frame.fin {
                frame = stranger.frame();
            }
            if frame.opcode == OpCode::Close {
                assert_eq!(frame.close(), (1013, "no memory to inflate"));
                lost += 1;
            }
        }
        println!("{path}: {lost} of {COUNT} had to give way to {SENDERS} messages, one after the other");
        assert!((1..=SENDERS).contains(&lost), "{lost} have lost their place");
        drop(strangers);
        server.wait_for_connections(0);
    }
}
