//! What a connection costs that does nothing just now.

use crate::common::{Client, frame_with_rsv1, wait_until};
use crate::process::ServerProcess;
use framewright::frame::OpCode;
use framewright_testkit::deflate::Deflater;

/// What the project promises for a connection on which permessage-deflate was agreed on, in octets,
/// beyond one without.
const MORE: usize = 64;

/// Octets of the heap for each of ten thousand connections that offer permessage-deflate on this
/// path: at rest, and after each of them has exchanged three messages that are alike. Of the first
/// something is kept, until it is seen that the client forgets it.
fn each(path: &str) -> [usize; 2] {
    let mut server = ServerProcess::start();
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let count = usize::try_from(descriptors.saturating_sub(200)).unwrap_or(usize::MAX).min(10_000);
    let compressed = path != "/off";
    let message = "something to say, ".repeat(20);
    let octets = frame_with_rsv1(true, OpCode::Text, &Deflater::new(6).message(message.as_bytes()));
    let talk = |client: &mut Client| {
        if compressed {
            client.send(&octets);
            let frame = client.frame();
            assert!(frame.rsv1 && frame.payload.len() < message.len() / 2);
        } else {
            client.send_text(&message);
            client.expect_text(&message);
        }
    };
    let open = |server: &ServerProcess| {
        let mut client = server.connect();
        client.open_with(path, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
        client
    };
    // The loop has its buffers.
    drop(open(&server));
    server.wait_for_connections(0);
    let live = |server: &mut ServerProcess| server.tell("live").parse::<usize>().expect("a number");
    let before = live(&mut server);
    let mut clients: Vec<_> = (0..count).map(|_| open(&server)).collect();
    let at_rest = (live(&mut server) - before) / count;
    for _ in 0..3 {
        clients.iter_mut().for_each(talk);
    }
    wait_until("the loop's own is freed", || server.tell("held") == "0");
    let after = live(&mut server).saturating_sub(before) / count;
    println!(
        "{path}: {at_rest} octets for each of {count} connections at rest, {after} after three messages"
    );
    [at_rest, after]
}

#[test]
fn a_compressed_connection_at_rest_costs_at_most_64_octets_more_also_after_it_has_worked() {
    let (plain, shared) = (each("/off"), each("/shared"));
    for (plain, shared) in plain.into_iter().zip(shared) {
        assert!(shared <= plain + MORE, "{shared} octets, and {plain} without compression");
    }
}
