//! What may go to another task, and to another thread.

use framewright_tokio::{Attendant, Incoming, Message, Receiver, Sender, WebSocket};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::{LocalSet, spawn_local};

fn is_send<T: Send>(_: &T) {}

fn are_send_and_sync<T: Send + Sync>() {}

/// Compiles only if the futures are `Send`.
#[allow(dead_code, reason = "to be compiled")]
fn futures_are_send(mut socket: WebSocket<DuplexStream>) {
    is_send(&socket.recv());
    is_send(&socket.recv_chunk());
    is_send(&socket.recv_event());
    is_send(&socket.send(Message::Text("")));
    is_send(&socket.send_fragment(Message::Text(""), true));
    is_send(&socket.ping(b""));
    is_send(&socket.feed(Message::Text("")));
    is_send(&socket.flush());
    is_send(&socket.close(None, ""));
    is_send(&socket.attendant());
    let (mut receiver, mut sender) = socket.split();
    is_send(&receiver.recv());
    is_send(&sender.send_binary(b""));
}

#[test]
fn a_connection_goes_where_its_stream_may_go() {
    are_send_and_sync::<WebSocket<DuplexStream>>();
    are_send_and_sync::<Receiver<DuplexStream>>();
    are_send_and_sync::<Sender<DuplexStream>>();
    are_send_and_sync::<Attendant<DuplexStream>>();
    are_send_and_sync::<Incoming<DuplexStream>>();
}

/// A stream that stays in its thread.
struct Local(Rc<RefCell<DuplexStream>>);

impl AsyncRead for Local {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, target)
    }
}

impl AsyncWrite for Local {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_send_works_in_a_local_set() {
    use crate::support::{quiet, soon};
    use framewright_tokio::{CloseCode, Negotiated, Role};
    let (near, far) = tokio::io::duplex(100);
    let open = |stream, role| {
        let stream = Local(Rc::new(RefCell::new(stream)));
        WebSocket::from_negotiated(stream, role, Negotiated::new(), &[], quiet())
    };
    let (mut client, server) = (open(near, Role::Client), open(far, Role::Server));
    LocalSet::new()
        .run_until(async move {
            let (mut receiver, mut sender) = server.split();
            let attending = spawn_local(sender.attendant());
            let echo = spawn_local(async move {
                while let Some(message) = receiver.recv().await {
                    sender.send(message.unwrap()).await.unwrap();
                }
            });
            client.send_text("here").await.unwrap();
            assert_eq!(soon(client.recv()).await.unwrap().unwrap(), Message::Text("here"));
            assert!(soon(client.close(CloseCode::NORMAL, "")).await.unwrap().clean);
            soon(echo).await.unwrap();
            soon(attending).await.unwrap();
        })
        .await;
}
