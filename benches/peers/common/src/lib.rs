//! What the echo servers of this workspace have in common: how they start, say where they listen,
//! accept, and end.
//!
//! Each server runs on one thread, on a free port of the IPv4 loopback address. It prints
//! `listening on ADDR:PORT`, and ends when its standard input does, so that none outlives whoever
//! started it.

use std::future::Future;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::{process, thread};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

mod compress;
mod echo;
mod handshake;
#[cfg(feature = "tls")]
mod tls;

pub use compress::Compress;
pub use echo::echo;
pub use handshake::{handshake, handshake_with};
#[cfg(feature = "tls")]
pub use tls::{serve_tls, tls};

/// The largest message that the servers accept, in octets: twice the largest that is measured, so
/// that limits that count a header, or are exclusive, do not matter.
pub const MAX_MESSAGE: usize = 128 << 20;

/// Serves TCP connections on a single-threaded runtime, `connection` each, until standard input
/// ends.
///
/// # Errors
/// If it cannot listen or accept.
pub fn serve<F, C>(connection: F) -> anyhow::Result<()>
where
    F: Fn(TcpStream) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    accept_on(Builder::new_current_thread().enable_io(), connection)
}

/// As [`serve`], for a library whose connections set timers.
///
/// # Errors
/// If it cannot listen or accept.
pub fn serve_with_timers<F, C>(connection: F) -> anyhow::Result<()>
where
    F: Fn(TcpStream) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    accept_on(Builder::new_current_thread().enable_all(), connection)
}

/// Whether messages are to go to many, as `--broadcast` asks: those of `/pub` to `/sub`.
#[must_use]
pub fn broadcasts() -> bool {
    std::env::args().any(|argument| argument == "--broadcast")
}

/// The address to bind to.
#[must_use]
pub fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Says where the server listens, and has the process end when its standard input does.
///
/// # Errors
/// If the limit of descriptors cannot be raised, or nobody reads the standard output.
pub fn announce(addr: SocketAddr) -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    thread::spawn(|| {
        // Whatever ends the reading, nobody is left to stop this process.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        process::exit(0);
    });
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {addr}")?;
    out.flush()?;
    Ok(())
}

fn accept_on<F, C>(builder: &mut Builder, connection: F) -> anyhow::Result<()>
where
    F: Fn(TcpStream) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    builder.build()?.block_on(async {
        let listener = TcpListener::bind(any_port()).await?;
        announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(connection(stream));
        }
    })
}
