//! Servers that have to be told their port: on one that was free a moment ago.
//!
//! Not on one that the system would choose: the next program that lets it choose may get the same
//! before the server is there, or even the connection that is to find out whether it is, which is
//! then one to itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use framewright_testkit::programs::process::Running;

/// Starts a server on a free port of the IPv4 loopback address, and waits until it can be connected
/// to.
///
/// `command` makes the command for an address. Between the choice of a port and the server's start
/// another program may take it; the server then ends, and is started once more, on another port.
///
/// # Errors
/// If the server cannot be started, ends whatever the port, or does not listen within the deadline.
pub(crate) fn start(
    name: &str,
    mut command: impl FnMut(SocketAddr) -> anyhow::Result<Command>,
) -> anyhow::Result<(Running, SocketAddr)> {
    for _ in 0..ATTEMPTS {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS)));
        if TcpListener::bind(addr).is_err() {
            continue;
        }
        let mut server = Running::start(name, &mut command(addr)?)?;
        if is_listening(&mut server, addr).with_context(|| format!("starting {name}"))? {
            return Ok((server, addr));
        }
    }
    bail!("{name} did not listen on any of {ATTEMPTS} ports");
}

/// How many ports are tried.
const ATTEMPTS: usize = 5;

/// Below those that systems choose from: from 32768 on, or from 49152 on.
const PORTS: Range<u16> = 20_000..32_000;

/// How long a server may take from its start to listening.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// How long to wait before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the server listens; false: it has ended.
fn is_listening(server: &mut Running, addr: SocketAddr) -> anyhow::Result<bool> {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        let connected = TcpStream::connect(addr).is_ok();
        // Asked after connecting: whoever else took the port would be connected to as well.
        if server.ended().is_some() {
            return Ok(false);
        }
        if connected {
            return Ok(true);
        }
        thread::sleep(PAUSE);
    }
    bail!("nobody listens on {addr} after {START_DEADLINE:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_tried_on_several_ports_and_is_an_error() {
        let mut ports = Vec::new();
        let error = start("the server", |addr| {
            ports.push(addr.port());
            Ok(Command::new("false"))
        })
        .expect_err("it never listens");
        assert_eq!(error.to_string(), "the server did not listen on any of 5 ports");
        assert!(!ports.is_empty() && ports.len() <= ATTEMPTS);
        assert!(ports.iter().all(|port| PORTS.contains(port)), "{ports:?}");
    }
}
