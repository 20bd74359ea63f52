//! The echo server, in this process.

use super::{Compress, messages};
use framewright_client::Delivery;
use framewright_server::{
    Chunk, Config, Decision, DeflatePolicy, Handler, Incoming, ListenAddr, Message, Options, Server,
    ServerHandle, Socket,
};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) struct EchoServer {
    url: String,
    handle: ServerHandle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl EchoServer {
    pub(crate) fn start(compress: Compress, delivery: Delivery) -> EchoServer {
        let compression = match compress {
            Compress::Off => None,
            Compress::Shared => Some(DeflatePolicy::default()),
            Compress::Takeover => Some(DeflatePolicy::default().with_takeover()),
        };
        let connection = Config { delivery, ..messages::limits() };
        let server = Server::builder()
            .options(Options { connection, compression, ..Options::default() })
            .route("/ws", Echo)
            .listen("127.0.0.1:0")
            .build()
            .expect("a server");
        let [ListenAddr::Ip(addr)] = server.local_addrs() else { panic!("it listens on one address") };
        let url = format!("ws://{addr}/ws");
        let handle = server.handle();
        EchoServer { url, handle, thread: Some(thread::spawn(|| server.run())) }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
        let ended = self.thread.take().expect("it is joined once").join();
        if !thread::panicking() {
            ended.expect("the server does not panic").expect("the server ends well");
        }
    }
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send(message);
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        let _ = socket.send_fragment(chunk.data, chunk.last);
    }
}
