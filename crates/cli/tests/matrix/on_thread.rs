//! A server on tokio in a thread of its own.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running server, until it is dropped.
pub(crate) struct OnThread {
    url: String,
    /// Ends the thread when it is dropped.
    running: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OnThread {
    /// Starts what `serve` makes of a listener on a port of its own.
    pub(crate) fn start<F: Future>(serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> OnThread {
        let (running, stopped) = oneshot::channel();
        let (listens, addr) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                listens.send(listener.local_addr().expect("an address")).expect("the test waits for it");
                tokio::select! {
                    _ = serve(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        let url = format!("ws://{}/ws", addr.recv().expect("the server listens"));
        OnThread { url, running: Some(running), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for OnThread {
    fn drop(&mut self) {
        drop(self.running.take());
        let ended = self.thread.take().expect("it is joined once").join();
        if !thread::panicking() {
            ended.expect("the server does not panic");
        }
    }
}
