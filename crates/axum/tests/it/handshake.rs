//! Which requests are accepted, what is negotiated, and how others are refused.

use crate::support::{Server, quiet, request, within};
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
#[cfg(feature = "deflate")]
use framewright::deflate::DeflateOffer;
#[cfg(feature = "deflate")]
use framewright_axum::DeflatePolicy;
use framewright_axum::{
    AcceptOptions, AllowedHosts, AllowedOrigins, WebSocket, WebSocketUpgrade, WebSocketUpgradeRejection,
};
use framewright_tokio::hyper::ClientRequest;
use framewright_tokio::{FieldName, FieldValue, h2};
use http::HeaderValue;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

async fn leave(mut socket: WebSocket) {
    while socket.recv().await.is_some() {}
}

async fn plain(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(leave)
}

fn app() -> Router {
    Router::new().route("/ws", any(plain))
}

fn with_origin(origin: &'static str) -> ClientRequest {
    request().with_field(FieldName::from_static("Origin"), FieldValue::from_static(origin))
}

#[tokio::test]
async fn each_broken_rule_has_its_status_and_its_text() {
    const RIGHT: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    within(async {
        let server = Server::start(app());
        for (from, to, status, fields) in [
            ("", "", "101 Switching Protocols", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("GET", "POST", "405 Method Not Allowed", "allow: GET"),
            ("Upgrade: websocket\r\n", "", "400 Bad Request", "content-type: text/plain; charset=utf-8"),
            ("Connection: Upgrade\r\n", "", "400 Bad Request", "connection: close"),
            ("Version: 13", "Version: 8", "426 Upgrade Required", "sec-websocket-version: 13"),
            ("Version: 13", "Version: 8", "426 Upgrade Required", "upgrade: websocket"),
            ("Sec-WebSocket-Version: 13\r\n", "", "400 Bad Request", "sec-websocket-version: 13"),
            ("Key: dGhl", "Key: !!!!", "400 Bad Request", "connection: close"),
            ("Host: a", "Host: a\r\nExpect: magic", "417 Expectation Failed", "connection: close"),
            ("Host: a", "Host: a\r\nContent-Length: 1", "400 Bad Request", "connection: close"),
            ("Host: a", "Host: a\r\nSec-WebSocket-Extensions: ;", "400 Bad Request", "connection: close"),
            ("HTTP/1.1", "HTTP/1.0", "400 Bad Request", "content-type"),
        ] {
            let mut stream = server.connect().await;
            stream.write_all(RIGHT.replace(from, to).as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await.unwrap());
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains(&format!(" {status}\r\n")), "{from} -> {to}: {answer}");
            assert!(answer.to_lowercase().contains(&fields.to_lowercase()), "{from} -> {to}: {answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_handler_can_look_at_a_rejection() {
    within(async {
        let server = Server::start(Router::new().route(
            "/ws",
            any(async |upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| match upgrade {
                Ok(upgrade) => upgrade.on_upgrade(leave),
                Err(rejection) => Response::new(format!("{} {rejection}", rejection.status()).into()),
            }),
        ));
        let mut stream = server.connect().await;
        stream.write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let text = "400 Bad Request not a WebSocket opening handshake (RFC 6455, section 4.2.1)";
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(text), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn the_server_prefers_among_the_subprotocols_that_the_client_offers() {
    within(async {
        let (seen, mut look) = mpsc::unbounded_channel();
        let server = Server::start(Router::new().route(
            "/ws",
            any(async move |upgrade: WebSocketUpgrade| {
                let requested: Vec<_> = upgrade.requested_protocols().cloned().collect();
                let upgrade = upgrade.protocols(["c", "b", "a"]);
                let selected = upgrade.selected_protocol().cloned();
                upgrade.on_upgrade(async move |socket| {
                    seen.send((requested, selected, socket.protocol().cloned())).unwrap();
                })
            }),
        ));
        let offering = |names: &[&'static str]| {
            names.iter().fold(request(), |request, name| request.with_subprotocol(*name).unwrap())
        };
        for (names, selected) in [(&["a", "b"][..], Some("b")), (&["x"], None), (&[], None)] {
            let socket = server.open(&offering(names)).await;
            assert_eq!(socket.subprotocol().as_deref(), selected);
            let (requested, selecting, protocol) = look.recv().await.unwrap();
            assert_eq!(requested, names);
            assert_eq!(selecting.as_ref().map(|it| it.to_str().unwrap()), selected);
            assert_eq!(protocol, selecting);
        }
    })
    .await;
}

#[tokio::test]
async fn a_subprotocol_that_was_not_offered_is_the_handlers_fault() {
    within(async {
        for protocol in [&b"other"[..], b"\xff"] {
            let server = Server::start(Router::new().route(
                "/ws",
                any(async |mut upgrade: WebSocketUpgrade| {
                    upgrade.set_selected_protocol(HeaderValue::from_bytes(protocol).unwrap());
                    upgrade.on_upgrade(leave)
                }),
            ));
            assert_eq!(server.refused(&request()).await.0, 500);
        }
    })
    .await;
}

#[tokio::test]
async fn debug_shows_no_credentials_of_the_client() {
    within(async {
        let server = Server::start(
            Router::new().route("/ws", any(async |upgrade: WebSocketUpgrade| format!("{upgrade:?}"))),
        );
        let secret = |request: ClientRequest, name, value| {
            request.with_field(FieldName::from_static(name), FieldValue::from_static(value))
        };
        let request = secret(request(), "Cookie", "id=secret");
        let request = secret(request, "Authorization", "Bearer secret");
        // A response of 200 refuses, too.
        let (status, shown) = server.refused(&request).await;
        assert_eq!(
            (status, &*shown),
            (200, "WebSocketUpgrade { upgrade: Upgrade { version: HTTP/1.1, .. }, selected: None, .. }")
        );
    })
    .await;
}

#[tokio::test]
async fn settings_of_a_layer_refuse_before_the_handler_runs() {
    within(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let options = AcceptOptions {
            allowed_origins: AllowedOrigins::new(["https://example.com"]).unwrap(),
            allowed_hosts: AllowedHosts::new(["example.com"]).unwrap(),
            subprotocols: vec!["chat".into()],
            ..AcceptOptions::default()
        };
        let app = Router::new()
            .route(
                "/ws",
                any(async |State(calls): State<Arc<AtomicUsize>>, upgrade: WebSocketUpgrade| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    upgrade.on_upgrade(leave)
                }),
            )
            .with_state(Arc::clone(&calls))
            .layer(Extension(options));
        let server = Server::start(app);
        let (status, text) = server.refused(&with_origin("https://example.com.evil")).await;
        assert_eq!((status, &*text), (403, "origin not allowed (RFC 6455, section 10.2)\n"));
        assert_eq!(server.refused(&"ws://other/ws".parse().unwrap()).await.0, 421);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let chat = with_origin("https://example.com").with_subprotocol("chat").unwrap();
        assert_eq!(server.open(&chat).await.subprotocol().as_deref(), Some("chat"));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        // Over HTTP/2 by the same rules.
        let connection = server.http_2().await;
        let refused = connection.connect(&with_origin("https://evil.example"), quiet()).await;
        let Err(h2::HandshakeError::Refused(response)) = refused else { panic!("{refused:?}") };
        assert_eq!(response.status(), 403);
        assert!(connection.connect(&with_origin("https://example.com"), quiet()).await.is_ok());
    })
    .await;
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_handler_sets_origins_and_compression_for_itself() {
    within(async {
        let server = Server::start(
            Router::new()
                .route(
                    "/ws",
                    any(async |upgrade: WebSocketUpgrade| {
                        let origins = AllowedOrigins::new(["https://example.com"]).unwrap();
                        let policy = DeflatePolicy::default().with_takeover();
                        upgrade.allowed_origins(origins).compression(policy).on_upgrade(leave)
                    }),
                )
                .route(
                    "/plain",
                    any(async |upgrade: WebSocketUpgrade| upgrade.compression(None).on_upgrade(leave)),
                ),
        );
        assert_eq!(server.refused(&with_origin("null")).await.0, 403);
        let socket = server.open(&request().with_deflate(DeflateOffer::default())).await;
        let params = socket.deflate().unwrap();
        assert!(!params.server_no_context_takeover && !params.client_no_context_takeover);
        let plain: ClientRequest = "ws://a/plain".parse().unwrap();
        assert!(server.open(&plain.with_deflate(DeflateOffer::default())).await.deflate().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_cannot_be_upgraded_is_reported() {
    within(async {
        let (told, mut tell) = mpsc::unbounded_channel();
        let app = Router::new().route(
            "/ws",
            any(async move |upgrade: WebSocketUpgrade| {
                upgrade
                    .on_failed_upgrade(move |error| told.send(error).unwrap())
                    .on_upgrade(async |_| panic!("there is no connection"))
            }),
        );
        let (near, far) = tokio::io::duplex(1 << 16);
        // Without `with_upgrades`.
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(far), TowerToHyperService::new(app)));
        let (mut send, connection) = hyper::client::conn::http1::handshake::<
            _,
            http_body_util::Empty<axum::body::Bytes>,
        >(TokioIo::new(near))
        .await
        .unwrap();
        tokio::spawn(connection.with_upgrades());
        let _ = framewright_tokio::hyper::handshake(&mut send, &request(), quiet()).await;
        assert!(!tell.recv().await.unwrap().to_string().is_empty());
    })
    .await;
}
