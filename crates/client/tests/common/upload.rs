//! How much is more than the kernel takes for a server that does not read.

use super::{DEADLINE, Listener};
use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// More bytes than the sockets between a client and a server that takes little can hold. How many
/// that are is a setting of the machine: from a few thousand to tens of millions.
pub(crate) fn upload() -> usize {
    /// What is certainly left over.
    const REST: usize = 4 << 20;
    static HELD: OnceLock<usize> = OnceLock::new();
    *HELD.get_or_init(held) + REST
}

/// How many bytes such a pair of sockets takes.
fn held() -> usize {
    /// For so long it has to take nothing.
    const STILL: Duration = Duration::from_millis(300);
    let listener = Listener::taking_little();
    let mut client = TcpStream::connect(listener.addr()).expect("it listens");
    let _server = listener.accept();
    client.set_nonblocking(true).expect("an option of the socket");
    let (octets, until) = (vec![0; 1 << 20], Instant::now() + DEADLINE);
    let (mut held, mut moved) = (0, Instant::now());
    while moved.elapsed() < STILL {
        assert!(Instant::now() < until, "there is no end to what the sockets take");
        match client.write(&octets) {
            Ok(count) => (held, moved) = (held + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(STILL / 30),
            Err(error) => panic!("{error}"),
        }
    }
    held
}
