//! Each of the project's clients against each of its servers: every way to compress, messages whole
//! and in chunks at either end, from nothing to 64 MiB, on tokio and axum to 16 MiB; over HTTP/1.1,
//! and over HTTP/2 where both ends can. What is sent comes back as it was.

mod axum_server;
mod blocking;
mod event_loop;
mod messages;
mod on_thread;
mod on_tokio;
mod server;
mod tokio_server;

use framewright_client::{Config, DeflateOffer, Delivery, Options};
use messages::Messages;
use on_thread::OnThread;
use server::EchoServer;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// For each combination. A debug build on a busy machine needs ten seconds.
const DEADLINE: Duration = Duration::from_secs(120);

/// How messages are compressed, as the options of the programs call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compress {
    Off,
    Shared,
    Takeover,
}

impl Compress {
    fn offer(self) -> Option<DeflateOffer> {
        match self {
            Compress::Off => None,
            Compress::Shared => Some(DeflateOffer {
                server_no_context_takeover: true,
                client_no_context_takeover: true,
                ..DeflateOffer::default()
            }),
            Compress::Takeover => Some(DeflateOffer::default()),
        }
    }
}

/// The client's options.
fn options(compress: Compress, delivery: Delivery) -> Options {
    let connection = Config { delivery, ..messages::limits() };
    Options { compression: compress.offer().into_iter().collect(), connection, ..Options::default() }
}

/// An exchange with the server at this address.
type Exchange = fn(&str, &Options, Compress, Messages);

/// The driver of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Mio,
    Tokio,
    Axum,
}

/// A running server, until it is dropped.
enum RunningServer {
    Mio(EchoServer),
    OnThread(OnThread),
}

impl Driver {
    fn start(self, compress: Compress, delivery: Delivery) -> RunningServer {
        match self {
            Driver::Mio => RunningServer::Mio(EchoServer::start(compress, delivery)),
            Driver::Tokio => RunningServer::OnThread(tokio_server::start(compress, delivery)),
            Driver::Axum => RunningServer::OnThread(axum_server::start(compress, delivery)),
        }
    }
}

impl RunningServer {
    fn url(&self) -> String {
        match self {
            RunningServer::Mio(server) => server.url(),
            RunningServer::OnThread(server) => server.url(),
        }
    }
}

/// Every combination of the server's and the client's delivery, each with its own deadline, with
/// messages up to `largest`.
fn exchange(compress: Compress, driver: Driver, largest: usize, exchange: Exchange) {
    for server_delivery in [Delivery::Whole, Delivery::Chunks] {
        let server = driver.start(compress, server_delivery);
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let url = server.url();
            let (done, ended) = mpsc::channel();
            let client = thread::spawn(move || {
                exchange(&url, &options(compress, delivery), compress, Messages::up_to(largest));
                let _ = done.send(());
            });
            if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(DEADLINE) {
                panic!(
                    "{compress:?}, server {server_delivery:?}, client {delivery:?}: not done within {DEADLINE:?}"
                );
            }
            if client.join().is_err() {
                panic!("{compress:?}, server {server_delivery:?}, client {delivery:?}: failed");
            }
        }
    }
}

/// A client against a server: a test for each way to compress.
macro_rules! pairs {
    ($($pair:ident: $client:path, $driver:expr, $largest:expr;)*) => { $(
        mod $pair {
            use super::*;

            #[test]
            fn without_compression() {
                exchange(Compress::Off, $driver, $largest, $client);
            }

            #[test]
            fn compresses_each_message_on_its_own() {
                exchange(Compress::Shared, $driver, $largest, $client);
            }

            #[test]
            fn with_context_takeover() {
                exchange(Compress::Takeover, $driver, $largest, $client);
            }
        }
    )* };
}

pairs! {
    blocking_client_and_mio_server: blocking::exchange, Driver::Mio, 64 << 20;
    event_loop_client_and_mio_server: event_loop::exchange, Driver::Mio, 64 << 20;
    tokio_client_and_mio_server: on_tokio::exchange, Driver::Mio, 16 << 20;
    blocking_client_and_tokio_server: blocking::exchange, Driver::Tokio, 16 << 20;
    event_loop_client_and_tokio_server: event_loop::exchange, Driver::Tokio, 16 << 20;
    tokio_client_and_tokio_server: on_tokio::exchange, Driver::Tokio, 16 << 20;
    blocking_client_and_axum_server: blocking::exchange, Driver::Axum, 16 << 20;
    event_loop_client_and_axum_server: event_loop::exchange, Driver::Axum, 16 << 20;
    tokio_client_and_axum_server: on_tokio::exchange, Driver::Axum, 16 << 20;
    h2_client_and_axum_server: on_tokio::exchange_h2, Driver::Axum, 16 << 20;
}
