//! The echo server on axum, in this process, for HTTP/1.1 and HTTP/2.

use super::Compress;
use super::on_thread::OnThread;
use super::tokio_server::{accept_options, send_back};
use axum::Router;
use axum::routing::any;
use framewright_axum::{Graceful, WebSocketUpgrade};
use framewright_client::Delivery;

pub(crate) fn start(compress: Compress, delivery: Delivery) -> OnThread {
    OnThread::start(move |listener| {
        let options = accept_options(compress, delivery);
        let echo = move |upgrade: WebSocketUpgrade| async move {
            upgrade
                .options(options)
                .on_upgrade(move |mut socket| async move { send_back(socket.inner_mut(), delivery).await })
        };
        framewright_axum::serve(listener, Router::new().route("/ws", any(echo)), Graceful::new())
    })
}
