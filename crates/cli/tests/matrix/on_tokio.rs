//! The exchange with the client on tokio, on one thread.

use super::Compress;
use super::messages::Messages;
use framewright::Delivery;
use framewright::handshake::{Answer, ClientHandshake, ClientRequest, HeadLimits};
use framewright_client::{CloseCode, Options};
use framewright_tokio::{Role, WebSocket, h2};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

pub(crate) fn exchange(url: &str, options: &Options, compress: Compress, messages: Messages) {
    runtime().block_on(async {
        let socket = connect(url, options).await;
        exchange_with(socket, options, compress, messages).await;
    });
}

/// The exchange over a stream of HTTP/2.
pub(crate) fn exchange_h2(url: &str, options: &Options, compress: Compress, messages: Messages) {
    runtime().block_on(async {
        let request = request(url, options);
        let addr = (request.uri().host(), request.uri().port());
        let stream = TcpStream::connect(addr).await.expect("the server listens");
        let (connection, driver) = h2::Connection::open(stream).await.expect("it speaks HTTP/2");
        let driver = tokio::spawn(driver);
        let socket = connection.connect(&request, options.connection.clone()).await;
        exchange_with(socket.expect("the server accepts"), options, compress, messages).await;
        driver.abort();
    });
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn request(url: &str, options: &Options) -> ClientRequest {
    let request = ClientRequest::try_from(url).expect("a URL");
    options.compression.iter().fold(request, |request, &offer| request.with_deflate(offer))
}

async fn exchange_with<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: WebSocket<S>,
    options: &Options,
    compress: Compress,
    mut messages: Messages,
) {
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
    let request = request(url, options);
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
