//! The crates, each with the loop that its documentation shows for an echo, as a server.
//!
//! | crate | receive buffer | replies |
//! |---|---|---|
//! | framewright | 128 KiB, as its server has | one write for all that a read brought; from 16 KiB on without a copy |
//! | tungstenite | 128 KiB | collected in 128 KiB, written at the end |
//! | fastwebsockets | 8 KiB at first, not to be set | one write for each, from 1 KiB on without a copy |
//! | tokio-websockets | 8 KiB at first, not to be set | flushed before the next message is read, without a copy |
//!
//! All check text. The handshake is over, and none of them splits or compresses messages. A write
//! to memory costs next to nothing: on a socket each would be a system call, which makes one write
//! for many replies worth a copy of each.

use crate::pipe::Pipe;
use fastwebsockets::{FragmentCollector, WebSocket as FastWebSocket};
use framewright::Config;
use framewright_testkit::traffic::{Echo, READ};
use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio_websockets::{ServerBuilder, WebSocketStream};
use tungstenite::protocol::{Role, WebSocketConfig};

/// A crate in the role of a server.
pub(crate) trait Contestant {
    const NAME: &str;

    fn new(pipe: Pipe) -> Self;

    /// Receives `count` messages, sends each back as it came, and flushes.
    fn turn(&mut self, count: usize);
}

/// Reads as the others do: from the pipe, into its own buffer.
pub(crate) struct Framewright {
    echo: Echo,
    pipe: Pipe,
}

impl Contestant for Framewright {
    const NAME: &str = "framewright";

    fn new(pipe: Pipe) -> Self {
        Framewright { echo: Echo::new(Config::default(), Instant::now()), pipe }
    }

    fn turn(&mut self, count: usize) {
        let before = self.echo.connection.stats().messages_sent;
        while self.echo.connection.stats().messages_sent - before < count as u64 {
            self.echo.read(&mut self.pipe);
            self.echo.answer(&mut self.pipe);
        }
    }
}

pub(crate) struct Tungstenite(tungstenite::WebSocket<Pipe>);

impl Contestant for Tungstenite {
    const NAME: &str = "tungstenite";

    fn new(pipe: Pipe) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(READ).write_buffer_size(READ);
        Tungstenite(tungstenite::WebSocket::from_raw_socket(pipe, Role::Server, Some(config)))
    }

    fn turn(&mut self, count: usize) {
        for _ in 0..count {
            let message = self.0.read().expect("a message");
            self.0.write(message).expect("there is room");
        }
        self.0.flush().expect("a pipe does not fail");
    }
}

pub(crate) struct FastWebsockets(FragmentCollector<Pipe>);

impl Contestant for FastWebsockets {
    const NAME: &str = "fastwebsockets";

    fn new(pipe: Pipe) -> Self {
        let socket = FastWebSocket::after_handshake(pipe, fastwebsockets::Role::Server);
        FastWebsockets(FragmentCollector::new(socket))
    }

    fn turn(&mut self, count: usize) {
        at_once(async {
            for _ in 0..count {
                let frame = self.0.read_frame().await.expect("a message");
                self.0.write_frame(frame).await.expect("a pipe does not fail");
            }
        });
    }
}

pub(crate) struct TokioWebsockets(WebSocketStream<Pipe>);

impl Contestant for TokioWebsockets {
    const NAME: &str = "tokio-websockets";

    fn new(pipe: Pipe) -> Self {
        TokioWebsockets(ServerBuilder::new().serve(pipe))
    }

    fn turn(&mut self, count: usize) {
        at_once(async {
            for _ in 0..count {
                let message = self.0.next().await.expect("an open connection").expect("a message");
                self.0.feed(message).await.expect("a pipe does not fail");
            }
            self.0.flush().await.expect("a pipe does not fail");
        });
    }
}

/// Runs what never has to wait.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a pipe is always ready"),
    }
}
