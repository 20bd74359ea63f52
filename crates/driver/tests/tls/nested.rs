//! TLS in TLS, as through a proxy that speaks TLS itself; and sessions where a thread ends.

use crate::stream::shake_hands;
use crate::wire::{End, VERSIONS, client_config, ends, localhost, noise, server_config, sessions};
use framewright_driver::tls::{Fault, Session, Tls};
use framewright_driver::{Io, Transport};
use rustls::SupportedProtocolVersion;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use std::cell::RefCell;
use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::Arc;

type Client = Tls<UnbufferedClientConnection, Tls<UnbufferedClientConnection, End>>;
type Server = Tls<UnbufferedServerConnection, Tls<UnbufferedServerConnection, End>>;

fn nested(version: &'static SupportedProtocolVersion, at_once: usize) -> (Client, Server) {
    let (ours, theirs) = ends(at_once);
    let (client, server) = (Arc::new(client_config(version)), Arc::new(server_config(version)));
    let ours = Tls::client(Arc::clone(&client), localhost(), ours).expect("a client");
    let theirs = Tls::server(Arc::clone(&server), theirs).expect("a server");
    let mut client = Tls::client(client, localhost(), ours).expect("a client");
    let mut server = Tls::server(server, theirs).expect("a server");
    shake_hands(&mut client, &mut server);
    (client, server)
}

fn carry<A: Session, B: Session>(
    from: &mut Tls<A, Tls<A, End>>,
    to: &mut Tls<B, Tls<B, End>>,
    bytes: &[u8],
    room: usize,
) {
    let (mut sent, mut received, mut buffer) = (0, Vec::new(), vec![0; 5000]);
    while sent < bytes.len() || received.len() < bytes.len() {
        from.transport().transport().outgoing.borrow_mut().room = room;
        if sent < bytes.len() {
            match from.write(&[IoSlice::new(&bytes[sent..])]) {
                Io::Moved(count) => sent += count,
                Io::Blocked => {}
                Io::Lost => panic!("{:?}", from.fault()),
            }
        } else {
            from.flush_own();
        }
        while let Io::Moved(count) = to.read(&mut buffer) {
            received.extend_from_slice(&buffer[..count]);
        }
        assert!(received.len() >= sent, "what counts as written has left both sessions");
    }
    assert!(received == bytes);
    assert_eq!((from.held(), from.transport().held()), (0, 0));
    assert_eq!((to.held(), to.transport().held()), (0, 0));
}

#[test]
fn a_session_runs_in_a_session() {
    for version in VERSIONS {
        for (at_once, room) in [(usize::MAX, usize::MAX), (10, 900), (1000, 1700)] {
            let (mut client, mut server) = nested(version, at_once);
            for len in [1, 20_000, 150_000] {
                carry(&mut client, &mut server, &noise(len), room);
                carry(&mut server, &mut client, &noise(len), room);
            }
        }
    }
}

/// Both sessions end, the inner one first, however little the wire takes at once.
#[test]
fn a_session_in_a_session_ends_both() {
    for version in VERSIONS {
        for room in [usize::MAX, 1, 30] {
            for shuts_down in [false, true] {
                let (mut client, mut server) = nested(version, usize::MAX);
                let wire = |client: &Client| std::rc::Rc::clone(&client.transport().transport().outgoing);
                let way = wire(&client);
                way.borrow_mut().room = room;
                let mut is_done = client.end();
                if shuts_down {
                    client.shutdown(Shutdown::Write);
                }
                for _ in 0..1000 {
                    if is_done {
                        break;
                    }
                    assert!(!way.borrow().ended, "the wire ends last");
                    way.borrow_mut().room = room;
                    is_done = client.flush_own();
                }
                assert!(is_done);
                assert_eq!(way.borrow().ended, shuts_down);
                assert_eq!(server.read(&mut [0; 100]), Io::Moved(0));
                assert_eq!(server.transport_mut().read(&mut [0; 100]), Io::Moved(0));
                assert_eq!((server.fault(), server.transport().fault()), (None, None));
            }
        }
    }
}

/// The end of the outer session is not that of the inner one.
#[test]
fn an_inner_session_that_is_cut_off_is_truncated() {
    let (mut client, mut server) = nested(&rustls::version::TLS13, usize::MAX);
    assert!(client.transport_mut().end());
    assert_eq!(server.read(&mut [0; 100]), Io::Lost);
    assert_eq!(server.fault(), Some(&Fault::Truncated));
    assert_eq!(server.transport().fault(), None);
}

thread_local! {
    static LAST: RefCell<Vec<AtTheEnd>> = const { RefCell::new(Vec::new()) };
}

/// Says good-bye when its thread ends.
struct AtTheEnd(crate::wire::Client);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        assert_eq!(self.0.write(&[IoSlice::new(b"bye")]), Io::Moved(3));
        assert_eq!(self.0.read(&mut [0; 10]), Io::Blocked);
        assert!(self.0.end());
    }
}

#[test]
fn a_session_may_outlive_the_buffers_of_its_thread() {
    for buffers_first in [false, true] {
        let ends = std::thread::spawn(move || {
            if !buffers_first {
                LAST.with_borrow_mut(Vec::clear);
            }
            let (mut client, mut server) = sessions(&rustls::version::TLS13, usize::MAX);
            shake_hands(&mut client, &mut server);
            LAST.with_borrow_mut(|last| last.push(AtTheEnd(client)));
        });
        assert!(ends.join().is_ok());
    }
}
