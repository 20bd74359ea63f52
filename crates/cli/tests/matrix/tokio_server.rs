//! The echo server on tokio, in this process.

use super::{Compress, messages};
use framewright_client::Delivery;
use framewright_tokio::{AcceptOptions, Config, DeflatePolicy, accept};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub(crate) struct TokioServer {
    url: String,
    /// Ends the thread when it is dropped.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TokioServer {
    pub(crate) fn start(compress: Compress, delivery: Delivery) -> TokioServer {
        let compression = match compress {
            Compress::Off => None,
            Compress::Shared => Some(DeflatePolicy::default()),
            Compress::Takeover => Some(DeflatePolicy::default().with_takeover()),
        };
        let connection = Config { delivery, ..messages::limits() };
        let options =
            AcceptOptions { connection: connection.into(), compression, ..AcceptOptions::default() };
        let (running, stopped) = oneshot::channel();
        let (listens, addr) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                listens.send(listener.local_addr().expect("an address")).expect("the test waits for it");
                tokio::select! {
                    () = serve(listener, options.into()) => {}
                    _ = stopped => {}
                }
            });
        });
        let url = format!("ws://{}/ws", addr.recv().expect("the server listens"));
        TokioServer { url, running: Some(running), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for TokioServer {
    fn drop(&mut self) {
        drop(self.running.take());
        let ended = self.thread.take().expect("it is joined once").join();
        if !thread::panicking() {
            ended.expect("the server does not panic");
        }
    }
}

async fn serve(listener: TcpListener, options: Arc<AcceptOptions>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(echo(stream, Arc::clone(&options)));
    }
}

async fn echo(stream: TcpStream, options: Arc<AcceptOptions>) {
    let mut socket = accept(stream, &options).await.expect("a handshake");
    let (receiver, sender) = socket.parts();
    if options.connection.delivery == Delivery::Chunks {
        while let Some(Ok(chunk)) = receiver.recv_chunk().await {
            let _ = sender.send_fragment(chunk.data, chunk.last).await;
        }
    } else {
        while let Some(Ok(message)) = receiver.recv().await {
            let _ = sender.feed(message).await;
        }
    }
}
