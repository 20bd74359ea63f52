//! Somebody between a client and its server, who passes octets on in his own way.

use super::DEADLINE;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::thread;

/// How octets are passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// One by one, in packets of their own.
    OneByOne,
    /// As they come, but no more than so many to the client: then its connection ends without a
    /// reset.
    Cut(usize),
    /// As they come, but for one octet to the client that is altered: the one behind so many.
    Alter(usize),
}

/// Listens for one client of the server at `to`.
pub(crate) fn relay(to: SocketAddr, way: Way) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = listener.local_addr().expect("a bound socket");
    thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let server = TcpStream::connect(to).expect("a server");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("an option of the socket");
            stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        }
        let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let piece = if let Way::OneByOne = way { 1 } else { usize::MAX };
        let up = thread::spawn(move || pass(from_client, to_server, piece, Way::OneByOne));
        pass(server, client, piece, way);
        up.join().expect("no panic");
    });
    addr
}

/// Passes octets on between a client that came by a Unix socket and its server.
#[cfg(unix)]
pub(crate) fn pass_between(client: UnixStream, server: TcpStream) {
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let up = thread::spawn(move || pass(from_client, to_server, usize::MAX, Way::OneByOne));
    pass(server, client, usize::MAX, Way::OneByOne);
    up.join().expect("no panic");
}

/// A stream of which one direction can end.
trait Ends: Read + Write {
    fn end(&self);
}

impl Ends for TcpStream {
    fn end(&self) {
        // A peer that has left has ended it already.
        let _ = self.shutdown(Shutdown::Write);
    }
}

#[cfg(unix)]
impl Ends for UnixStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// Passes octets on, in pieces of up to this size, until one side ends or as many are passed as
/// `way` says.
fn pass(mut from: impl Ends, mut to: impl Ends, piece: usize, way: Way) {
    let mut most = if let Way::Cut(most) = way { most } else { usize::MAX };
    let mut passed = 0;
    let mut buffer = [0; 16 << 10];
    while most > 0 {
        let room = buffer.len().min(most);
        let Ok(count @ 1..) = from.read(&mut buffer[..room]) else { break };
        most -= count;
        if let Way::Alter(at) = way
            && let Some(octet) = at.checked_sub(passed).and_then(|at| buffer[..count].get_mut(at))
        {
            *octet ^= 1;
        }
        passed += count;
        if buffer[..count].chunks(piece).any(|piece| to.write_all(piece).is_err()) {
            break;
        }
    }
    to.end();
    // What comes is dropped, so that no reset overtakes what was passed on.
    while from.read(&mut buffer).is_ok_and(|count| count > 0) {}
}
