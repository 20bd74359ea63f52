//! Running out of descriptors, and giving them back.

use crate::common::{Client, upgrade_request};
use crate::process::ServerProcess;
use framewright::frame::OpCode;
use framewright_server::CloseCode;
use socket2::SockRef;
use std::time::{Duration, Instant};

#[test]
fn a_server_without_descriptors_serves_those_it_has_idles_and_goes_on_when_there_are_some() {
    let mut server = ServerProcess::start();
    let mut served: Vec<Client> = (0..20).map(|_| server.open("/echo")).collect();
    server.tell("limit 5");
    let mut waiting: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut waiting {
        client.send(upgrade_request("/echo", ""));
    }
    let (began, ticks) = (Instant::now(), server.ticks());
    let mut echoes = 0;
    // Nobody tells when nothing happens: this is how long it is looked at.
    while began.elapsed() < Duration::from_secs(1) {
        for client in &mut served {
            client.send_text("still here");
            client.expect_text("still here");
            echoes += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (busy, whole) = (server.ticks() - ticks, began.elapsed());
    println!("{busy} hundredths of a second busy in {whole:?} without descriptors, with {echoes} echoes");
    assert!(u128::from(busy) <= whole.as_millis() / 40, "{busy} hundredths of a second of {whole:?}");
    assert!(server.connections() < 40, "some had to wait");
    // Those who leave make room, and those who waited come in by themselves.
    drop(served);
    for client in &mut waiting {
        assert_eq!(client.answer_head().status, 101);
        client.send_text("at last");
        client.expect_text("at last");
    }
    server.wait_for_connections(20);
    // It is awake for new ones too.
    server.open("/echo").leave();
}

/// The system resets whoever is in the queue of a listening socket that is closed.
#[test]
fn whoever_waits_for_a_descriptor_when_the_server_stops_is_told_so() {
    for grace in ["stop 0", "stop 3600"] {
        let mut server = ServerProcess::start();
        let mut served: Vec<Client> = (0..5).map(|_| server.open("/echo")).collect();
        server.tell("limit 0");
        let mut waiting: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        for client in &mut waiting {
            client.send(upgrade_request("/echo", ""));
        }
        server.tell(grace);
        for client in &mut served {
            client.expect_close(1001);
        }
        // Their descriptors are all that there are.
        drop(served);
        let mut refused = 0;
        for mut client in waiting {
            match client.answer_head().status {
                // There was one more descriptor than said.
                101 => drop(client.expect_close(1001)),
                status => {
                    assert_eq!(status, 503, "{grace}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 15, "{grace}: {refused}");
    }
}

/// Ends with a reset.
fn reset(client: Client) {
    SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).expect("an option of the socket");
    drop(client);
}

/// A way to fail, and how to.
type Failure = (&'static str, fn(&ServerProcess));

/// Each way in which a connection can fail, as far as a client can choose.
const FAILURES: [Failure; 11] = [
    ("before a word", |server| drop(server.connect())),
    ("in the head", |server| server.connect().send("GET /echo HTTP/1.1\r\nHost: loc")),
    ("in the head, by a reset", |server| {
        let mut client = server.connect();
        client.send("GET /echo HTTP/1.1\r\nHost: loc");
        reset(client);
    }),
    ("refused", |server| {
        let mut client = server.connect();
        assert_eq!(client.upgrade("/elsewhere", "").status, 404);
    }),
    ("refused, and not read", |server| server.connect().send("what?\r\n\r\n")),
    ("open", |server| drop(server.open("/echo"))),
    ("in a frame", |server| server.open("/echo").send([0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5])),
    ("in a message", |server| {
        let mut client = server.open("/echo");
        client.send_frame(false, OpCode::Text, &[b'a'; 6000]);
        reset(client);
    }),
    ("with a fault", |server| {
        let mut client = server.open("/echo");
        client.send([0x81, 0x01, b'x']);
        client.expect_close(1002);
    }),
    ("while closing", |server| {
        let mut client = server.open("/echo");
        client.send_close(CloseCode::NORMAL, "bye");
        reset(client);
    }),
    ("closed", |server| server.open("/echo").leave()),
];

#[test]
fn connections_that_failed_at_any_point_leave_nothing_behind() {
    let mut server = ServerProcess::start();
    let mut cycle = |times: usize| {
        for _ in 0..times {
            for (_, fail) in FAILURES {
                fail(&server);
            }
        }
        server.wait_for_connections(0);
        (server.descriptors(), server.memory())
    };
    // Buffers and tables get their size.
    let (descriptors, _) = cycle(100);
    let (_, before) = cycle(100);
    let (open, after) = cycle(600);
    let grown = after.saturating_sub(before);
    println!("{grown} octets more after another {} failures", 600 * FAILURES.len());
    assert_eq!(open, descriptors);
    assert!(grown <= 1 << 20, "{grown} octets more than before");
}
