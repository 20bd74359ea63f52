//! The project's client against the project's server: every way to compress, messages whole and in
//! chunks at either end, from nothing to 64 MiB, with both APIs of the client. What is sent comes
//! back as it was.

mod blocking;
mod event_loop;
mod messages;
mod server;

use framewright_client::{Config, DeflateOffer, Delivery, Options};
use messages::Messages;
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

/// Every combination of the server's and the client's delivery, each with its own deadline.
fn exchange(compress: Compress, exchange: Exchange) {
    for server_delivery in [Delivery::Whole, Delivery::Chunks] {
        let server = EchoServer::start(compress, server_delivery);
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let url = server.url();
            let (done, ended) = mpsc::channel();
            let client = thread::spawn(move || {
                exchange(&url, &options(compress, delivery), compress, Messages::new());
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

#[test]
fn blocking_client_without_compression() {
    exchange(Compress::Off, blocking::exchange);
}

#[test]
fn blocking_client_compresses_each_message_on_its_own() {
    exchange(Compress::Shared, blocking::exchange);
}

#[test]
fn blocking_client_with_context_takeover() {
    exchange(Compress::Takeover, blocking::exchange);
}

#[test]
fn event_loop_client_without_compression() {
    exchange(Compress::Off, event_loop::exchange);
}

#[test]
fn event_loop_client_compresses_each_message_on_its_own() {
    exchange(Compress::Shared, event_loop::exchange);
}

#[test]
fn event_loop_client_with_context_takeover() {
    exchange(Compress::Takeover, event_loop::exchange);
}
