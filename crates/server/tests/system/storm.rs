//! Many clients that do anything at any time.

use crate::common::{Client, TestServer, next, upgrade_request, wait_until};
use crate::probe::{Probe, frame, narrow_client, reset};
use framewright::frame::OpCode;
use framewright_server::{CloseCode, Config, Message, Options, ServerLimits};
use framewright_testkit::rng::SplitMix64;
use std::hash::{BuildHasher, RandomState};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

/// Whatever they do, every connection that was opened is closed once, and none is left.
#[test]
fn after_a_storm_every_connection_was_closed_once_and_the_server_still_serves() {
    let seed = seed();
    let (probe, watch) = Probe::new(|socket, message| match message {
        Message::Text("close") => {
            let _ = socket.close(Some(CloseCode::NORMAL), "");
        }
        Message::Text("abort") => socket.abort(),
        Message::Text("fail") => socket.fail(CloseCode::POLICY_VIOLATION, "as told"),
        Message::Text("panic") => panic!("as told"),
        message => {
            let _ = socket.send(message); // refused while closing
        }
    });
    let connection = Config {
        close_timeout: Duration::from_millis(100),
        write_timeout: Some(Duration::from_millis(200)),
        keep_alive_interval: Some(Duration::from_millis(20)),
        high_water: 64 << 10,
        low_water: 16 << 10,
        ..Config::default()
    };
    let options = Options { connection, ..Options::default() };
    let limits = ServerLimits {
        handshake_timeout: Duration::from_millis(300),
        max_connections: Some(60),
        ..ServerLimits::default()
    };
    let server =
        TestServer::start(|builder| builder.workers(2).limits(limits).route_with("/ws", options, probe));
    let addr = server.addr();
    let storms: Vec<_> =
        (0..4).map(|index| thread::spawn(move || storm(&mut SplitMix64::new(seed ^ index), addr))).collect();
    for storm in storms {
        storm.join().expect("clients do not panic");
    }
    wait_until("none is left", || server.handle().connection_count() == 0);
    let tally = &watch.tally;
    assert!(tally.opened() > 50, "{} were opened", tally.opened());
    assert_eq!(tally.opened(), tally.closed());
    assert_eq!(tally.misplaced.load(SeqCst), 0, "callbacks at the wrong time");
    assert_eq!(watch.closures.try_iter().count(), tally.closed());

    let mut client = server.open("/ws");
    client.send_text("calm");
    while client.frame().opcode == OpCode::Ping {}
    drop(client);
    next(&watch.closures);
}

/// No wake-up is lost, whatever comes in whatever pieces, and whoever waits for whom.
#[test]
fn whatever_the_sizes_and_however_they_are_cut_every_message_comes_back() {
    let seed = seed();
    let rng = &mut SplitMix64::new(seed);
    for _ in 0..6 {
        let (probe, _watch) = Probe::echo();
        let high_water = [1, 1000, 100_000, 1 << 20][rng.below(4)];
        let connection = Config {
            high_water,
            low_water: rng.between(0, high_water - 1),
            keep_alive_interval: Some(Duration::from_millis(5)),
            ..Config::default()
        };
        let receive_buffer_size = [50, 125, 4096, 65_536, 1 << 20][rng.below(5)];
        let options = Options { connection, receive_buffer_size, ..Options::default() };
        println!("{options:?}");
        let workers = rng.between(1, 2);
        let server = TestServer::start(|builder| builder.workers(workers).route_with("/ws", options, probe));
        let peers: Vec<_> = (0..6)
            .map(|_| {
                let narrow = rng.one_in(2);
                let client = if narrow { narrow_client(server.addr()) } else { server.connect() };
                let seed = rng.next_u64();
                thread::spawn(move || converse(client, &mut SplitMix64::new(seed)))
            })
            .collect();
        for peer in peers {
            peer.join().expect("every message came back");
        }
    }
}

/// Sends messages in pieces from one thread, and reads what comes back in another.
fn converse(mut client: Client, rng: &mut SplitMix64) {
    client.open("/ws");
    let messages: Vec<Vec<u8>> = (0..rng.between(1, 60))
        .map(|_| {
            let most = [0, 20, 125, 3000, 20_000, 150_000][rng.below(6)];
            let len = rng.between(0, most);
            rng.octets(len)
        })
        .collect();
    let mut octets = Vec::new();
    for message in &messages {
        let mut opcode = OpCode::Binary;
        let mut rest = &message[..];
        while rng.one_in(3) && !rest.is_empty() {
            let (piece, behind) = rest.split_at(rng.below(rest.len()));
            octets.extend(frame(false, opcode, piece));
            (opcode, rest) = (OpCode::Continuation, behind);
            if rng.one_in(2) {
                octets.extend(frame(true, OpCode::Pong, b"not asked for"));
            }
        }
        octets.extend(frame(true, opcode, rest));
    }
    let mut writer = client.try_clone();
    let mut chance = rng.clone();
    let writing = thread::spawn(move || {
        let mut rest = &octets[..];
        while !rest.is_empty() {
            let most = [1, 10, 1000, 100_000][chance.below(4)];
            let (piece, behind) = rest.split_at(chance.between(1, most).min(rest.len()));
            writer.send(piece);
            rest = behind;
            if chance.one_in(3) {
                thread::yield_now();
            }
        }
    });
    for message in &messages {
        let mut frame = client.frame();
        while frame.opcode == OpCode::Ping {
            frame = client.frame();
        }
        assert!(frame.fin && frame.payload == *message);
    }
    writing.join().expect("the server read everything");
}

/// A seed that differs from run to run, or the one that is set. It is shown when a test fails.
fn seed() -> u64 {
    let set = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = set.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("STORM_SEED={seed}");
    seed
}

/// Two hundred connections, some of them at the same time.
fn storm(rng: &mut SplitMix64, addr: SocketAddr) {
    let mut clients: Vec<Client> = Vec::new();
    let mut connected = 0;
    while connected < 200 || !clients.is_empty() {
        if connected < 200 && (clients.is_empty() || rng.one_in(4)) {
            connected += 1;
            let mut client = Client::connect(addr);
            let _ = client.try_send(opening(rng));
            clients.push(client);
            continue;
        }
        let index = rng.below(clients.len());
        // An error means that the server has ended the connection, which it may.
        let alive = clients[index].try_send(act(rng)).is_ok();
        if !alive || rng.one_in(5) {
            let client = clients.swap_remove(index);
            match rng.below(3) {
                0 => reset(client),
                1 => {
                    let _ = client.stream().shutdown(Shutdown::Write);
                }
                _ => drop(client),
            }
        }
    }
}

/// What a client begins with.
fn opening(rng: &mut SplitMix64) -> Vec<u8> {
    let request = upgrade_request("/ws", "").into_bytes();
    match rng.below(10) {
        0 => request[..rng.below(request.len())].to_vec(),
        1 => rng.octets(50),
        2 => upgrade_request("/elsewhere", "").into_bytes(),
        3 => [&request[..], &frame(true, OpCode::Text, b"early")].concat(),
        _ => request,
    }
}

/// What it does then.
fn act(rng: &mut SplitMix64) -> Vec<u8> {
    let len = [0, 5, 200, 5000, 70_000][rng.below(5)];
    let whole = frame(true, OpCode::Binary, &rng.octets(len));
    match rng.below(14) {
        0 => whole[..rng.below(whole.len())].to_vec(),
        1 => rng.octets(30),
        2 => frame(true, OpCode::Close, &1000u16.to_be_bytes()),
        3 => frame(true, OpCode::Ping, b"still there?"),
        4 => frame(true, OpCode::Text, b"close"),
        5 => frame(true, OpCode::Text, b"abort"),
        6 => frame(true, OpCode::Text, b"fail"),
        7 => frame(true, OpCode::Text, b"panic"),
        8 => frame(false, OpCode::Binary, &whole),
        9 => whole.repeat(rng.below(20)),
        _ => whole,
    }
}
