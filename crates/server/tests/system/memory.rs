//! What all connections may hold together: strangers use it up, and neighbours do not notice.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Deferring, Probe, Watch, frame, narrow_client};
use framewright::frame::OpCode;
use framewright::{Error, LimitExceeded};
use framewright_server::{
    Config, Decision, Delivery, HandleError, MemoryLimit, MemoryStats, Options, ServerBuilder, ServerLimits,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

const MIB: usize = 1 << 20;

/// What the server may hold.
const LIMIT: usize = 4 * MIB;

/// By how much it may be beyond that for the moment between a turn and the end of those that were
/// told to go: a turn of each of two workers queues `high_water` and one message beyond.
const A_TURN_EACH: usize = 2 * (MIB + (64 << 10));

fn limited(builder: ServerBuilder, limit: usize, workers: usize) -> ServerBuilder {
    let connection = Config { max_message: MIB as u64, ..Config::default() };
    let limits = ServerLimits { memory: MemoryLimit::Bytes(limit), ..ServerLimits::default() };
    builder.limits(limits).workers(workers).options(Options { connection, ..Options::default() })
}

fn memory(server: &TestServer) -> MemoryStats {
    server.handle().stats().memory
}

/// An echo that shows that a neighbour is served.
fn is_served(neighbour: &mut Client) {
    neighbour.send_text("not affected");
    neighbour.expect_text("not affected");
}

/// Sends a fragment, and waits until it has been read.
fn send_fragment(client: &mut Client, opcode: OpCode, payload: &[u8]) {
    client.send_frame(false, opcode, payload);
    client.send_frame(true, OpCode::Ping, b"read?");
    assert_eq!(client.frame().opcode, OpCode::Pong);
}

/// Everybody has gone, and nothing is held any more.
fn expect_nothing_held(server: &TestServer) {
    wait_until("all of it is given back", || memory(server).held == 0);
}

fn expect_ended_for_memory(watch: &Watch, count: usize) {
    for _ in 0..count {
        assert_eq!(next(&watch.closures).cause, Some(Error::Limit(LimitExceeded::Memory)));
    }
}

#[test]
fn silent_halves_of_messages_give_way_and_who_goes_on_gets_through() {
    for workers in [1, 2] {
        let (probe, watch) = Probe::echo();
        let server = TestServer::start(|builder| limited(builder, LIMIT, workers).route("/ws", probe));
        let mut neighbour = server.open("/ws");
        let mut small: Vec<Client> = (0..10).map(|_| server.open("/ws")).collect();
        for client in &mut small {
            send_fragment(client, OpCode::Binary, &[1; 20_000]);
        }
        let mut goes_on = server.open("/ws");
        send_fragment(&mut goes_on, OpCode::Binary, &[2; 200_000]);
        let mut silent: Vec<Client> = Vec::new();
        for _ in 0..20 {
            let mut client = server.open("/ws");
            send_fragment(&mut client, OpCode::Binary, &[3; 700_000]);
            silent.push(client);
            send_fragment(&mut goes_on, OpCode::Continuation, &[2; 20_000]);
            is_served(&mut neighbour);
            let stats = memory(&server);
            assert!(stats.held <= LIMIT + A_TURN_EACH, "{stats:?}");
        }
        wait_until("who was told has gone", || memory(&server).held <= LIMIT);
        let ended = usize::try_from(memory(&server).ended).unwrap();
        assert!((20 - LIMIT / 700_000..20).contains(&ended), "{ended} of 20");
        expect_ended_for_memory(&watch, ended);
        assert_eq!(silent[0].expect_close(1013), "no memory");
        assert_eq!(silent[0].expect_end(), ());
        for client in small.iter_mut().chain([&mut goes_on]) {
            client.send_frame(true, OpCode::Continuation, b"end");
            let (_, payload) = client.message();
            assert!(payload.ends_with(b"end"));
        }
        is_served(&mut neighbour);
        drop(silent);
        expect_nothing_held(&server);
    }
}

#[test]
fn many_small_halves_are_bounded_too() {
    for workers in [1, 2] {
        let (probe, watch) = Probe::echo();
        let server = TestServer::start(|builder| limited(builder, MIB, workers).route("/ws", probe));
        let mut neighbour = server.open("/ws");
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..100 {
            let mut client = server.open("/ws");
            send_fragment(&mut client, OpCode::Binary, &[1; 20_000]);
            clients.push(client);
            is_served(&mut neighbour);
            wait_until("who was told has gone", || memory(&server).held <= MIB);
        }
        let ended = usize::try_from(memory(&server).ended).unwrap();
        assert!(ended >= 100 - MIB / 20_000, "{ended} of 100");
        expect_ended_for_memory(&watch, ended);
        drop(clients);
        expect_nothing_held(&server);
    }
}

/// Strangers with little each leave no room for more: they go, and not whoever needs it for a
/// moment.
#[test]
fn a_crowd_of_small_halves_does_not_end_a_large_message() {
    for workers in [1, 2] {
        let (probe, watch) = Probe::echo();
        let server = TestServer::start(|builder| limited(builder, MIB, workers).route("/ws", probe));
        let mut crowd: Vec<Client> = (0..40).map(|_| server.open("/ws")).collect();
        for client in &mut crowd {
            send_fragment(client, OpCode::Binary, &[1; 30_000]);
            wait_until("who was told has gone", || memory(&server).held <= MIB);
        }
        let mut honest = server.open("/ws");
        for round in 0..10 {
            let mut message = frame(true, OpCode::Binary, &[round; 200_000]);
            let rest = message.split_off(100_000);
            honest.send(&message);
            wait_until("who was told for the first half has gone", || memory(&server).held <= MIB);
            honest.send(&rest);
            assert_eq!(honest.message().1, [round; 200_000], "not ended");
        }
        let ended = usize::try_from(memory(&server).ended).unwrap();
        expect_ended_for_memory(&watch, ended);
        assert!(ended > 0 && watch.closures.try_recv().is_err());
        drop(crowd);
        drop(honest);
        expect_nothing_held(&server);
    }
}

#[test]
fn peers_that_send_and_never_read_give_way() {
    for workers in [1, 2] {
        let (probe, watch) = Probe::echo();
        let server = TestServer::start(|builder| limited(builder, LIMIT, workers).route("/ws", probe));
        let mut neighbour = server.open("/ws");
        let over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..12)
            .map(|_| {
                let mut client = narrow_client(server.addr());
                client.open("/ws");
                let over = Arc::clone(&over);
                thread::spawn(move || {
                    let burst = frame(true, OpCode::Binary, &[7; 60_000]);
                    while client.try_send(&burst).is_ok() {}
                    while !over.load(SeqCst) {
                        thread::sleep(std::time::Duration::from_millis(1));
                    }
                })
            })
            .collect();
        // Each would hold a MiB and more.
        wait_until("most of them are ended", || {
            is_served(&mut neighbour);
            let stats = memory(&server);
            assert!(stats.held <= LIMIT + A_TURN_EACH, "{stats:?}");
            stats.ended >= 12 - (LIMIT / MIB) as u64
        });
        expect_ended_for_memory(&watch, 12 - LIMIT / MIB);
        over.store(true, SeqCst);
        drop(server);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
}

#[test]
fn queues_of_handles_are_full_and_small_ones_go_on() {
    for workers in [1, 2] {
        let (probe, _watch, handles) = Probe::handles();
        let server = TestServer::start(|builder| limited(builder, LIMIT, workers).route("/ws", probe));
        let mut neighbour = server.open("/ws");
        let neighbours = next(&handles);
        let clients: Vec<Client> = (0..12)
            .map(|_| {
                let mut client = narrow_client(server.addr());
                client.open("/ws");
                client
            })
            .collect();
        let all: Vec<_> = clients.iter().map(|_| next(&handles)).collect();
        let pushing: Vec<_> = all
            .chunks(6)
            .map(|handles| {
                let handles = handles.to_vec();
                thread::spawn(move || {
                    let mut refused = 0;
                    for _ in 0..300 {
                        for handle in &handles {
                            refused +=
                                u64::from(handle.send_binary(vec![0; 20_000]) == Err(HandleError::Full));
                        }
                    }
                    refused
                })
            })
            .collect();
        for round in 0..100 {
            neighbours.send_text(round.to_string()).expect("small queues are not refused");
            neighbour.expect_text(&round.to_string());
            let stats = memory(&server);
            assert!(stats.held <= LIMIT + A_TURN_EACH, "{stats:?}");
        }
        let refused: u64 = pushing.into_iter().map(|thread| thread.join().unwrap()).sum();
        wait_until("who was told has gone", || memory(&server).held <= LIMIT);
        let stats = memory(&server);
        assert!(stats.refused + stats.ended > 0 && stats.refused <= refused, "{stats:?}, {refused} refused");
        drop(clients);
        expect_nothing_held(&server);
        neighbours.send_text("still here").expect("small queues are not refused");
        neighbour.expect_text("still here");
    }
}

/// Chunks are not held: how long a message of them may be is nothing to the default.
#[test]
fn the_default_does_not_follow_messages_that_come_in_chunks() {
    let limit = |max_message: u64| {
        let connection = Config { delivery: Delivery::Chunks, max_message, ..Config::default() };
        let (probe, _watch) = Probe::echo();
        let server = TestServer::start(|builder| {
            builder.route_with("/chunks", Options { connection, ..Options::default() }, probe)
        });
        memory(&server).limit.expect("a bound")
    };
    assert_eq!(limit(u64::MAX), limit(MIB as u64));
}

/// One message that alone would be too much.
#[test]
fn a_handle_refuses_what_never_fits() {
    let (probe, _watch, handles) = Probe::handles();
    let server = TestServer::start(|builder| limited(builder, MIB, 1).route("/ws", probe));
    let mut client = server.open("/ws");
    let handle = next(&handles);
    assert_eq!(handle.send_binary(vec![0; 2 * MIB]), Err(HandleError::Full));
    assert_eq!(memory(&server).refused, 1);
    handle.send_text("goes on").expect("there is room for this");
    client.expect_text("goes on");
}

#[test]
fn decisions_that_are_put_off_are_refused_with_503() {
    for (early, workers) in [(0, 1), (100_000, 1), (0, 2), (100_000, 2)] {
        let (probe, _watch) = Probe::echo();
        let (deferring, deferred) = Deferring::new();
        let server = TestServer::start(|builder| {
            limited(builder, MIB, workers).route("/ws", probe).route("/later", deferring)
        });
        let mut neighbour = server.open("/ws");
        let cookie = format!("Cookie: {}\r\n", "x".repeat(6000));
        let request = [upgrade_request("/later", &cookie).into_bytes(), vec![0; early]].concat();
        let mut clients: Vec<Client> = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..250 {
            let mut client = server.connect();
            client.send(&request);
            clients.push(client);
            waiting.push(next(&deferred));
            is_served(&mut neighbour);
            let stats = memory(&server);
            assert!(stats.held <= MIB + A_TURN_EACH, "{stats:?}");
        }
        wait_until("who was told has gone", || memory(&server).held <= MIB);
        waiting.into_iter().for_each(|deferred| deferred.decide(Decision::accept(())));
        let mut statuses = Vec::new();
        for client in &mut clients {
            let answer = client.answer_head();
            if answer.status == 503 {
                assert_eq!(answer.field("Retry-After"), Some("5"));
            }
            statuses.push(answer.status);
        }
        let refused = statuses.iter().filter(|status| **status == 503).count();
        assert!((250 - MIB / 6000..250).contains(&refused), "{refused} of 250: {statuses:?}");
        drop(clients);
        expect_nothing_held(&server);
    }
}
