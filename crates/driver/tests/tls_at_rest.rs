//! What a TLS session holds while nothing happens, in bytes and in allocations.

#![cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
#![allow(clippy::print_stdout, reason = "the figures are shown with --nocapture")]

#[path = "tls/wire.rs"]
#[allow(dead_code, reason = "shared with the other tests of TLS")]
mod wire;

use dhat::{HeapStats, Profiler};
use framewright_driver::tls::{Session, Tls};
use framewright_driver::{Io, Transport};
use rustls::client::Resumption;
use rustls::{ClientConfig, ServerConfig};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use wire::{Client, End, Server, VERSIONS, client_config, noise, server_config, sessions_of};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most bytes that an idle session may hold, its inline state included: of the client, which
/// holds the server's certificate, and of the server. What AWS-LC holds for the keys is not counted;
/// what ring holds is.
const MOST: [usize; 2] = if cfg!(feature = "aws-lc-rs") { [2900, 2400] } else { [4 << 10; 2] };

fn open(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Box<Client>, Box<Server>) {
    let (client, server) = sessions_of(client, server, usize::MAX);
    let (mut client, mut server) = (Box::new(client), Box::new(server));
    for _ in 0..5 {
        assert_eq!(client.read(&mut [0; 16]), Io::Blocked);
        assert_eq!(server.read(&mut [0; 16]), Io::Blocked);
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert!(server.flush_own());
    assert_eq!(client.read(&mut [0; 16]), Io::Blocked);
    (client, server)
}

/// Moves `bytes` from one side to the other.
fn carry<A: Session, B: Session>(from: &mut Tls<A, End>, to: &mut Tls<B, End>, bytes: &[u8]) {
    let mut buffer = vec![0; bytes.len() + 1];
    assert_eq!(from.write(&[IoSlice::new(bytes)]), Io::Moved(bytes.len()));
    assert_eq!(to.read(&mut buffer), Io::Moved(bytes.len()));
    assert_eq!(&buffer[..bytes.len()], bytes);
}

/// The bytes that dropping each side frees, and the number of allocations. The wire is the test's.
fn freed(client: Box<Client>, server: Box<Server>) -> [(usize, usize); 2] {
    let ways = [Rc::clone(&client.transport().outgoing), Rc::clone(&server.transport().outgoing)];
    let start = HeapStats::get();
    drop(client);
    let middle = HeapStats::get();
    drop(server);
    let end = HeapStats::get();
    assert!(ways.iter().all(|way| Rc::strong_count(way) == 1));
    [(&start, &middle), (&middle, &end)]
        .map(|(from, to)| (from.curr_bytes - to.curr_bytes, from.curr_blocks - to.curr_blocks))
}

// One test, as everything that the process allocates is counted.
#[test]
fn a_session_holds_what_is_under_way_and_nothing_at_rest() {
    let _profiler = Profiler::builder().testing().build();
    let bytes = noise(16_000);
    for version in VERSIONS {
        let mut client = client_config(version);
        client.resumption = Resumption::disabled();
        let (client, server) = (Arc::new(client), Arc::new(server_config(version)));
        let untouched = {
            let (client, server) = open(&client, &server);
            freed(client, server)
        };
        let (mut ours, mut theirs) = open(&client, &server);
        carry(&mut ours, &mut theirs, &bytes);
        carry(&mut theirs, &mut ours, &bytes);
        let used = freed(ours, theirs);
        println!("{:?}: bytes and allocations of client and server {used:?}", version.version);
        for (used, untouched) in used.iter().zip(&untouched) {
            // rustls keeps the room of an empty queue of records.
            assert!(
                used.0 <= untouched.0 + 200,
                "a long message leaves nothing behind: {used:?} {untouched:?}"
            );
        }
        assert!(used.iter().zip(MOST).all(|((bytes, _), most)| *bytes <= most), "{used:?}");

        is_given_back(open(&client, &server));
    }
    println!("of which inline: {}, {}", size_of::<Client>(), size_of::<Server>());
}

/// A record that has arrived in part is held, and no more than it; so are bytes that nobody has read,
/// and records that the wire did not take.
fn is_given_back((mut client, mut server): (Box<Client>, Box<Server>)) {
    let bytes = noise(16_000);
    assert_eq!(client.write(&[IoSlice::new(&bytes)]), Io::Moved(16_000));
    let way = Rc::clone(&client.transport().outgoing);
    let rest = way.borrow_mut().bytes.split_off(10_000);
    assert_eq!(server.read(&mut [0; 100]), Io::Blocked);
    assert!((10_000..=10_200).contains(&server.held()), "{}", server.held());
    way.borrow_mut().bytes.extend(rest);
    assert_eq!(server.read(&mut [0; 100]), Io::Moved(100));
    assert!((15_900..=17_000).contains(&server.held()), "{}", server.held());
    assert_eq!(server.read(&mut [0; 16_000]), Io::Moved(15_900));
    assert_eq!(server.held(), 0);

    way.borrow_mut().room = 0;
    assert_eq!(client.write(&[IoSlice::new(&bytes)]), Io::Blocked);
    assert!((16_000..=17_000).contains(&client.held()), "{}", client.held());
    way.borrow_mut().room = usize::MAX;
    assert_eq!(client.write(&[IoSlice::new(&bytes)]), Io::Moved(16_000));
    assert_eq!(client.held(), 0);
}
