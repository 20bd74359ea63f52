//! The exchange with the client on tokio, on one thread.

use super::Compress;
use super::messages::Messages;
use framewright::Delivery;
use framewright::handshake::{Answer, ClientHandshake, ClientRequest, HeadLimits};
use framewright_client::{CloseCode, Options};
use framewright_tokio::{Role, WebSocket};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) fn exchange(url: &str, options: &Options, compress: Compress, messages: Messages) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(exchange_with(connect(url, options), options, compress, messages));
}

async fn exchange_with(
    connecting: impl Future<Output = WebSocket<TcpStream>>,
    options: &Options,
    compress: Compress,
    mut messages: Messages,
) {
    let mut socket = connecting.await;
    assert_eq!(socket.deflate().is_some(), compress != Compress::Off);
    let in_chunks = options.connection.delivery == Delivery::Chunks;
    while let Some(message) = messages.current() {
        socket.send(message).await.expect("the connection is open");
        loop {
            if !in_chunks {
                let message = socket.recv().await.expect("the connection is open");
                messages.take(message.expect("a message"));
                break;
            }
            let chunk = socket.recv_chunk().await.expect("the connection is open").expect("a chunk");
            messages.take_chunk(chunk);
            if chunk.last {
                break;
            }
        }
    }
    let closure = socket.close(CloseCode::NORMAL, "done").await.expect("a code and a reason");
    assert!(closure.clean, "{closure:?}");
    assert_eq!((closure.code(), closure.reason()), (1000, "done"));
}

async fn connect(url: &str, options: &Options) -> WebSocket<TcpStream> {
    let request = ClientRequest::try_from(url).expect("a URL");
    let request = options.compression.iter().fold(request, |request, &offer| request.with_deflate(offer));
    let addr = (request.uri().host(), request.uri().port());
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    let (mut out, mut received) = (Vec::new(), Vec::new());
    // Keys have to be unpredictable where there are strangers.
    let mut entropy = |target: &mut [u8]| target.fill(7);
    let (now, limits) = (Instant::now(), HeadLimits::default());
    let mut handshake = ClientHandshake::new(&request, &mut entropy, limits, now, Duration::MAX, &mut out);
    stream.write_all(&out).await.expect("the server reads");
    loop {
        let count = stream.read_buf(&mut received).await.expect("the server answers");
        assert!(count > 0, "the server closes");
        match handshake.parse(&received).expect("an answer") {
            None => {}
            Some(Answer::Accepted { head_len, negotiated }) => {
                let config = options.connection.clone();
                return WebSocket::from_negotiated(
                    stream,
                    Role::Client,
                    negotiated,
                    &received[head_len..],
                    config,
                );
            }
            Some(answer) => panic!("the server answers {answer:?}"),
        }
    }
}
