//! The examples, as programs that run.

use crate::support::{Server, quiet, request, within};
use framewright_axum::Graceful;
use framewright_tokio::hyper::ClientRequest;
use framewright_tokio::{CloseCode, FieldName, FieldValue, Message};
use http_body_util::BodyExt as _;
use tokio::net::{TcpListener, TcpStream};

#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../examples/axum_auth.rs"]
mod auth;
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../examples/axum_chat.rs"]
mod chat;
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../examples/axum_echo.rs"]
mod echo;
#[allow(dead_code, unreachable_pub, reason = "it is a program")]
#[path = "../../examples/axum_routes.rs"]
mod routes;

fn text(text: &str) -> Option<Result<Message<'_>, framewright_tokio::RecvError>> {
    Some(Ok(Message::Text(text)))
}

#[tokio::test]
async fn echo_sends_back_what_it_receives() {
    within(async {
        let server = Server::start(echo::app());
        let mut socket = server.open(&request()).await;
        for words in ["one", "two"] {
            socket.send_text(words).await.unwrap();
            assert_eq!(socket.recv().await, text(words));
        }
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    })
    .await;
}

#[tokio::test]
async fn each_member_of_the_chat_gets_each_text() {
    within(async {
        let server = Server::start(chat::app());
        let request: ClientRequest = "ws://a/chat".parse().unwrap();
        let mut one = server.open(&request).await;
        let mut other = server.http_2().await.connect(&request, quiet()).await.unwrap();
        one.send_text("hello").await.unwrap();
        assert_eq!(one.recv().await, text("hello"));
        assert_eq!(other.recv().await, text("hello"));
        other.send_text("you too").await.unwrap();
        assert_eq!(one.recv().await, text("you too"));
        assert_eq!(other.recv().await, text("you too"));
    })
    .await;
}

#[tokio::test]
async fn a_slow_member_of_the_chat_has_to_leave_and_the_others_stay() {
    within(async {
        let server = Server::start(chat::app());
        let request: ClientRequest = "ws://a/chat".parse().unwrap();
        let mut slow = server.open(&request).await;
        let mut quick = server.open(&request).await;
        // More than its stream and the channel hold.
        let long = "long".repeat(1000);
        for _ in 0..10 * chat::MOST_BEHIND {
            quick.send_text(&long).await.unwrap();
            assert_eq!(quick.recv().await, text(&long));
        }
        let mut received = 0;
        while let Some(Ok(message)) = slow.recv().await {
            assert_eq!(message, Message::Text(&long));
            received += 1;
        }
        let closure = slow.closure().unwrap();
        assert_eq!((closure.code(), closure.reason()), (1008, "too slow"));
        assert!((1..10 * chat::MOST_BEHIND).contains(&received), "{received}");
        quick.send_text("still here").await.unwrap();
        assert_eq!(quick.recv().await, text("still here"));
    })
    .await;
}

#[tokio::test]
async fn a_token_is_looked_up_before_the_upgrade() {
    within(async {
        let server = Server::start(auth::app());
        for uri in ["ws://a/ws", "ws://a/ws?token=guess"] {
            assert_eq!(server.refused(&uri.parse().unwrap()).await.0, 401);
        }
        let bearer = request()
            .with_field(FieldName::from_static("Authorization"), FieldValue::from_static("Bearer swordfish"));
        for request in ["ws://a/ws?token=swordfish".parse().unwrap(), bearer] {
            assert_eq!(server.open(&request).await.recv().await, text("hello Ada"));
            let origin = |origin| {
                let name = FieldName::from_static("Origin");
                request.clone().with_field(name, FieldValue::from_static(origin))
            };
            assert_eq!(server.refused(&origin("https://evil.example")).await.0, 403);
            assert_eq!(server.open(&origin("http://localhost:5000")).await.recv().await, text("hello Ada"));
        }
    })
    .await;
}

#[tokio::test]
async fn routes_share_their_state() {
    within(async {
        let server = Server::start(routes::app());
        let mut blue = server.open(&"ws://a/rooms/blue".parse().unwrap()).await;
        let mut red =
            server.http_2().await.connect(&"ws://a/rooms/red".parse().unwrap(), quiet()).await.unwrap();
        assert_eq!(blue.recv().await, text("somebody is in blue"));
        assert_eq!(red.recv().await, text("somebody is in red"));
        for (socket, say, hear) in
            [("blue", "2", "2"), ("blue", "3", "5"), ("red", "x", "a number, please"), ("red", "1", "1")]
        {
            if socket == "blue" {
                blue.send_text(say).await.unwrap();
                assert_eq!(blue.recv().await, text(hear));
            } else {
                red.send_text(say).await.unwrap();
                assert_eq!(red.recv().await, text(hear));
            }
        }
        let page = http::Request::get("/").header("host", "a").body(http_body_util::Empty::new()).unwrap();
        let page = server.http_1().await.send_request(page).await.unwrap();
        let page = page.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&*page, b"blue: 5\nred: 1\n");
        blue.send_text(&"9".repeat(2000)).await.unwrap();
        let _ = blue.recv().await;
        assert_eq!(blue.closure().unwrap().code(), 1009);
    })
    .await;
}

#[tokio::test]
async fn handlers_know_the_address_of_their_peer() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(framewright_axum::serve(listener, routes::app(), Graceful::new()));
        let stream = TcpStream::connect(address).await.unwrap();
        let own = stream.local_addr().unwrap();
        let (connection, driver) = framewright_tokio::h2::Connection::open(stream).await.unwrap();
        tokio::spawn(driver);
        let mut socket = connection.connect(&"ws://a/rooms/blue".parse().unwrap(), quiet()).await.unwrap();
        assert_eq!(socket.recv().await, text(&format!("{own} is in blue")));
    })
    .await;
}
