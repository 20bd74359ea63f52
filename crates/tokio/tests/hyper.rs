//! Upgrades of hyper's connections, of both versions of HTTP and in both roles.
#![cfg(all(feature = "hyper", feature = "h2", feature = "deflate"))]

use framewright::deflate::DeflateOffer;
use framewright_tokio::hyper::{self as upgrades, ClientRequest, ResponseError, Upgraded};
use framewright_tokio::{
    AcceptOptions, AllowedHosts, AllowedOrigins, CloseCode, Config, Error, FieldName, FieldValue, Message,
    RecvError, WebSocket, h2,
};
use http_body_util::{Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io::IoSlice;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, DuplexStream};

/// Serves one connection with an echo for each socket, over HTTP/1.1 or HTTP/2.
fn serve(stream: DuplexStream, options: AcceptOptions, is_h2: bool) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let options = options.clone();
        async move {
            let upgraded = upgrades::upgrade(&mut request, &options);
            let answer: Response<Full<Bytes>> = match upgraded {
                Ok((response, upgrading)) => {
                    tokio::spawn(async move { echo(upgrading.await.unwrap()).await });
                    response
                }
                Err(refused) => refused.into_response(),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(stream);
    tokio::spawn(async move {
        if is_h2 {
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.enable_connect_protocol();
            let _ = server.serve_connection(io, service).await;
        } else {
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(io, service).with_upgrades().await;
        }
    });
}

async fn echo(mut socket: WebSocket<Upgraded>) {
    let (receiver, sender) = socket.parts();
    while let Some(Ok(message)) = receiver.recv().await {
        match message {
            // As a handler that panics, or forgets the socket.
            Message::Text("drop") => return,
            Message::Text("close") => {
                let _ = sender.start_close(CloseCode::NORMAL, "as asked");
            }
            message => sender.feed(message).await.unwrap(),
        }
    }
}

fn options() -> AcceptOptions {
    AcceptOptions { subprotocols: vec!["echo".into()], ..AcceptOptions::default() }
}

fn request() -> ClientRequest {
    let request: ClientRequest = "ws://example.com/chat?room=1".parse().unwrap();
    request.with_subprotocol("echo").unwrap().with_deflate(DeflateOffer::default())
}

type Body = Empty<Bytes>;

async fn http_1(options: AcceptOptions) -> hyper::client::conn::http1::SendRequest<Body> {
    let (near, far) = tokio::io::duplex(1 << 16);
    serve(far, options, false);
    let (send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    send
}

async fn http_2(options: AcceptOptions) -> h2::Connection {
    let (near, far) = tokio::io::duplex(1 << 16);
    serve(far, options, true);
    let (connection, driver) = h2::Connection::open(near).await.unwrap();
    tokio::spawn(driver);
    connection
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("the test's deadline")
}

/// Sends some messages, compares their echoes, and closes.
async fn converse<S>(mut socket: WebSocket<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    assert_eq!(socket.subprotocol().as_deref(), Some("echo"));
    assert!(socket.deflate().is_some());
    let long = "long ".repeat(100_000);
    for text in ["short", "", &long] {
        socket.send_text(text).await.unwrap();
        assert_eq!(socket.recv().await, Some(Ok(Message::Text(text))));
    }
    let closure = socket.close(CloseCode::NORMAL, "bye").await.unwrap();
    assert!(closure.clean, "{closure:?}");
    assert_eq!((closure.code(), closure.reason()), (1000, "bye"));
}

#[tokio::test]
async fn messages_pass_over_http_1() {
    within(async {
        let mut send = http_1(options()).await;
        converse(upgrades::handshake(&mut send, &request(), Config::default()).await.unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn many_sockets_share_a_connection_of_http_2() {
    //= https://www.rfc-editor.org/rfc/rfc8441#section-3
    //= type=test
    //# Upon receipt of SETTINGS_ENABLE_CONNECT_PROTOCOL with a value of 1, a client MAY use the Extended CONNECT as
    //# defined in this document when creating new streams.
    within(async {
        let connection = http_2(options()).await;
        assert!(connection.takes_websockets());
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let socket = connection.connect(&request(), Config::default()).await.unwrap();
            tasks.push(tokio::spawn(converse(socket)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn hyper_as_a_client_of_http_2_opens_sockets_too() {
    within(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        serve(far, options(), true);
        let (mut send, connection) =
            hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(near))
                .await
                .unwrap();
        tokio::spawn(connection);
        // A first request waits for the server's SETTINGS.
        let first = send.send_request(Request::new(Body::new())).await.unwrap();
        assert_eq!(first.status(), 400);
        converse(upgrades::handshake_h2(&mut send, &request(), Config::default()).await.unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn the_servers_close_is_clean_over_http_2() {
    within(async {
        let connection = http_2(options()).await;
        let mut socket = connection.connect(&request(), Config::default()).await.unwrap();
        socket.send_text("close").await.unwrap();
        assert_eq!(socket.recv().await, None);
        let closure = socket.closure().unwrap();
        assert!(closure.clean, "{closure:?}");
        assert_eq!((closure.code(), closure.reason()), (1000, "as asked"));
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_ends_without_a_close_frame_is_1006() {
    within(async {
        let connection = http_2(options()).await;
        let mut socket = connection.connect(&request(), Config::default()).await.unwrap();
        let mut other = connection.connect(&request(), Config::default()).await.unwrap();
        socket.send_text("drop").await.unwrap();
        assert_eq!(socket.recv().await, Some(Err(RecvError::Failed(Error::TransportLost))));
        assert_eq!(socket.recv().await, None);
        assert_eq!(socket.closure().unwrap().code(), 1006);
        // The connection and its other streams live on.
        other.send_text("still here").await.unwrap();
        assert_eq!(other.recv().await, Some(Ok(Message::Text("still here"))));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_lost_ends_its_sockets_with_1006() {
    within(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        serve(far, options(), true);
        let (connection, driver) = h2::Connection::open(near).await.unwrap();
        let driver = tokio::spawn(driver);
        let mut socket = connection.connect(&request(), Config::default()).await.unwrap();
        driver.abort();
        assert_eq!(socket.recv().await, Some(Err(RecvError::Failed(Error::TransportLost))));
        assert_eq!(socket.closure().unwrap().code(), 1006);
    })
    .await;
}

#[tokio::test]
async fn refusals_have_the_servers_status_in_both_versions() {
    within(async {
        let options = AcceptOptions {
            allowed_origins: AllowedOrigins::new(["https://example.com"]).unwrap(),
            allowed_hosts: AllowedHosts::new(["example.com"]).unwrap(),
            ..options()
        };
        let foreign = request().with_field(
            FieldName::from_static("Origin"),
            FieldValue::from_static("https://example.com.evil"),
        );
        let elsewhere: ClientRequest = "ws://other.example/".parse().unwrap();
        let connection = http_2(options.clone()).await;
        for (request, status) in [(foreign, 403), (elsewhere, 421)] {
            let mut send = http_1(options.clone()).await;
            let refused = upgrades::handshake(&mut send, &request, Config::default()).await;
            let Err(upgrades::HandshakeError::Refused(response)) = refused else { panic!("{refused:?}") };
            assert_eq!(response.status(), status);
            let refused = connection.connect(&request, Config::default()).await;
            let Err(h2::HandshakeError::Refused(response)) = refused else { panic!("{refused:?}") };
            assert_eq!(response.status(), status);
        }
        // Refusing one stream ends no other.
        converse(connection.connect(&request(), Config::default()).await.unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_without_the_setting_takes_no_sockets() {
    within(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let service =
            service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Body::new())));
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(far), service));
        let (connection, driver) = h2::Connection::open(near).await.unwrap();
        tokio::spawn(driver);
        assert!(!connection.takes_websockets());
        let refused = connection.connect(&request(), Config::default()).await;
        assert!(matches!(refused, Err(h2::HandshakeError::NotSupported)));
    })
    .await;
}

#[tokio::test]
async fn a_wrong_response_of_http_1_is_an_error() {
    within(async {
        let (near, far) = tokio::io::duplex(1 << 16);
        let service = service_fn(async |_: Request<Incoming>| {
            let response = Response::builder().status(101).header("upgrade", "websocket");
            Ok::<_, Infallible>(response.header("connection", "upgrade").body(Body::new()).unwrap())
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(far), service).with_upgrades());
        let (mut send, connection) =
            hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let failed = upgrades::handshake(&mut send, &request(), Config::default()).await;
        assert!(matches!(failed, Err(upgrades::HandshakeError::Response(ResponseError::MissingAccept))));
    })
    .await;
}

/// Opens one socket at a server of the crate h2, and hands over the server's side of it.
async fn bare_h2() -> (WebSocket<h2::Stream>, ::h2::server::Connection<DuplexStream, Bytes>, h2::Stream) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = async {
        let mut builder = ::h2::server::Builder::new();
        let mut server = builder.enable_connect_protocol().handshake::<_, Bytes>(far).await.unwrap();
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        assert_eq!(request.extensions().get::<::h2::ext::Protocol>().unwrap().as_str(), "websocket");
        let send = respond.send_response(Response::new(()), false).unwrap();
        let stream = h2::Stream::new(send, request.into_body());
        (server, stream)
    };
    let client = async {
        let (connection, driver) = h2::Connection::open(near).await.unwrap();
        tokio::spawn(driver);
        connection
    };
    let opened =
        tokio::spawn(async move { client.await.connect(&request(), Config::default()).await.unwrap() });
    let (mut server, stream) = server.await;
    let socket = tokio::select! {
        opened = opened => opened.unwrap(),
        _ = server.accept() => panic!("there is one request"),
    };
    (socket, server, stream)
}

/// The end of a socket whose server does something else than WebSocket.
async fn end(mut socket: WebSocket<h2::Stream>, server: ::h2::server::Connection<DuplexStream, Bytes>) {
    tokio::spawn(async move {
        let mut server = server;
        while server.accept().await.is_some() {}
    });
    assert_eq!(socket.recv().await, Some(Err(RecvError::Failed(Error::TransportLost))));
    let closure = socket.closure().unwrap();
    assert_eq!((closure.code(), closure.received), (1006, None));
}

#[tokio::test]
async fn a_reset_of_the_stream_is_1006() {
    within(async {
        let (socket, server, stream) = bare_h2().await;
        drop(stream); // RST_STREAM with CANCEL
        end(socket, server).await;
    })
    .await;
}

#[tokio::test]
async fn an_end_of_the_stream_without_a_close_frame_is_1006() {
    within(async {
        let (socket, server, mut stream) = bare_h2().await;
        stream.shutdown().await.unwrap();
        end(socket, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_goaway_with_an_error_is_1006() {
    within(async {
        let (socket, mut server, _stream) = bare_h2().await;
        server.abrupt_shutdown(::h2::Reason::ENHANCE_YOUR_CALM);
        end(socket, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_goaway_of_a_server_that_stops_lets_a_socket_end_by_itself() {
    within(async {
        let (mut socket, mut server, mut stream) = bare_h2().await;
        server.graceful_shutdown();
        tokio::spawn(async move { while server.accept().await.is_some() {} });
        let frame = [0x82, 1, 7];
        stream.write_all(&frame).await.unwrap();
        assert_eq!(socket.recv().await, Some(Ok(Message::Binary(&[7]))));
        let close = [0x88, 2, 0x03, 0xe9];
        stream.write_all(&close).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(socket.recv().await, None);
        let closure = socket.closure().unwrap();
        assert_eq!((closure.code(), closure.clean), (1001, true));
    })
    .await;
}

/// Writes to a socket's stream over HTTP/2 whose peer reads nothing, in large pieces; returns how many
/// bytes were taken.
async fn write_unread(is_vectored: bool) -> usize {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let told = told.clone();
        async move {
            let upgrading = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = Upgraded::from(upgrading.await.unwrap());
                let piece = vec![0; 4 << 20];
                let pieces = [IoSlice::new(&[]), IoSlice::new(&piece), IoSlice::new(&piece)];
                let mut taken = 0;
                loop {
                    let writing = async {
                        if is_vectored {
                            stream.write_vectored(&pieces).await
                        } else {
                            stream.write(&piece).await
                        }
                    };
                    match tokio::time::timeout(Duration::from_secs(1), writing).await {
                        Ok(count) => taken += count.unwrap(),
                        Err(_) => break told.send(taken).unwrap(),
                    }
                }
            });
            Ok::<_, Infallible>(Response::new(Body::new()))
        }
    });
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server.enable_connect_protocol();
    tokio::spawn(server.serve_connection(TokioIo::new(far), service));
    let (connection, driver) = h2::Connection::open(near).await.unwrap();
    tokio::spawn(driver);
    let _unread = connection.connect(&request(), Config::default()).await.unwrap();
    tell.recv().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_bounds_what_a_stream_of_http_2_takes() {
    within(async {
        for is_vectored in [false, true] {
            let taken = write_unread(is_vectored).await;
            // The window of the peer, and a few writes that hyper holds.
            let bounds = h2::STREAM_WINDOW as usize..=h2::STREAM_WINDOW as usize + 4 * (64 << 10);
            assert!(bounds.contains(&taken), "{taken} bytes");
        }
    })
    .await;
}
