//! A stream of an HTTP/2 connection as a stream of bytes, with the flow control of HTTP/2 as
//! backpressure.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One stream of an HTTP/2 connection, in both directions.
///
/// | here | in HTTP/2 |
/// |---|---|
/// | bytes are read | the peer's window of this stream and of the connection grows by as many |
/// | nothing is read | the peer may send what its window has room for, and then stops |
/// | a write | DATA frames, as far as the window of the peer has room |
/// | a read of 0 bytes | END_STREAM |
/// | an error of a read or a write | RST_STREAM, GOAWAY with an error, or the connection is lost |
/// | `shutdown` | END_STREAM, after the bytes written before |
/// | dropped before `shutdown` | RST_STREAM with CANCEL; bytes that h2 has not written are lost |
///
/// A write or a flush is done when h2 has queued the bytes. The connection's task writes them later,
/// so a [`send`](crate::WebSocket::send) that has returned does not say that they have left: before
/// a WebSocket is dropped, [`close`](crate::WebSocket::close) it.
//= https://www.rfc-editor.org/rfc/rfc8441#section-5
//# Orderly TCP-level closures are represented as END_STREAM flags ([RFC7540], Section 6.1).  RST exceptions are
//# represented with the RST_STREAM frame ([RFC7540], Section 6.4) with the CANCEL error code ([RFC7540], Section 7).
#[derive(Debug)]
pub struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// The rest of a DATA frame whose first bytes have been read.
    rest: Bytes,
    /// Whether END_STREAM was sent.
    is_shut_down: bool,
}

impl Stream {
    /// Makes one of the two directions.
    pub fn new(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Stream { send, recv, rest: Bytes::new(), is_shut_down: false }
    }

    /// The number of the stream in its connection.
    pub fn id(&self) -> u32 {
        self.recv.stream_id().as_u32()
    }

    /// Waits for room in the window, for up to `wanted` bytes.
    fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.is_shut_down {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let wanted = wanted.min(LARGEST_WRITE);
        self.send.reserve_capacity(wanted);
        loop {
            let room = self.send.capacity().min(wanted);
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.send.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Err(self.reason(context))),
            }
        }
    }

    /// Why the peer takes nothing any more.
    fn reason(&mut self, context: &mut Context<'_>) -> io::Error {
        match self.send.poll_reset(context) {
            Poll::Ready(Ok(reason)) => {
                io::Error::new(io::ErrorKind::ConnectionReset, h2::Error::from(reason))
            }
            Poll::Ready(Err(error)) => into_io(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }

    fn send(&mut self, bytes: Bytes) -> io::Result<usize> {
        let count = bytes.len();
        self.send.send_data(bytes, false).map_err(into_io)?;
        // A stream with nothing to write holds no part of the connection's window.
        self.send.reserve_capacity(0);
        Ok(count)
    }
}

/// The most bytes that one write takes: it copies them, and the window has rarely room for more.
const LARGEST_WRITE: usize = 256 << 10;

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        while stream.rest.is_empty() {
            match ready!(stream.recv.poll_data(context)) {
                Some(Ok(bytes)) => stream.rest = bytes,
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = stream.rest.len().min(target.remaining());
        target.put_slice(&stream.rest[..count]);
        stream.rest.advance(count);
        //= https://www.rfc-editor.org/rfc/rfc9113#section-6.9.1
        //# The receiver of a frame sends a WINDOW_UPDATE frame as it consumes data and frees up space in flow-control
        //# windows.
        // It fails for a stream that has been reset, which the next read reports.
        let _ = stream.recv.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(stream.poll_room(context, bytes.len()))?;
        Poll::Ready(stream.send(Bytes::copy_from_slice(&bytes[..room])))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(stream.poll_room(context, wanted))?;
        let mut bytes = BytesMut::with_capacity(room);
        for slice in slices {
            let count = slice.len().min(room - bytes.len());
            bytes.extend_from_slice(&slice[..count]);
        }
        Poll::Ready(stream.send(bytes.freeze()))
    }

    /// One DATA frame takes all slices.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task writes the frames.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.is_shut_down {
            return Poll::Ready(Ok(()));
        }
        stream.is_shut_down = true;
        Poll::Ready(stream.send.send_data(Bytes::new(), true).map_err(into_io))
    }
}

fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    let kind =
        if error.is_reset() { io::ErrorKind::ConnectionReset } else { io::ErrorKind::ConnectionAborted };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use h2::Reason;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// The window of each stream.
    const WINDOW: u32 = 1 << 16;

    type Server = h2::server::Connection<tokio::io::DuplexStream, Bytes>;

    /// A connection in memory: the client's side, and the server's, whose window of the connection
    /// has room for four streams.
    async fn connection() -> (h2::client::SendRequest<Bytes>, Server) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let client = async {
            let (send, connection) = h2::client::Builder::new()
                .initial_window_size(WINDOW)
                .initial_connection_window_size(4 * WINDOW)
                .handshake(near)
                .await
                .unwrap();
            tokio::spawn(connection);
            send
        };
        let server = h2::server::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .handshake(far);
        let (client, server) = tokio::join!(client, server);
        (client, server.unwrap())
    }

    /// A new stream, its two ends.
    async fn open(client: &mut h2::client::SendRequest<Bytes>, server: &mut Server) -> (Stream, Stream) {
        let request = http::Request::post("http://a/").body(()).unwrap();
        let (response, send) = client.send_request(request, false).unwrap();
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        let far = respond.send_response(http::Response::new(()), false).unwrap();
        let far = Stream::new(far, request.into_body());
        let response = tokio::select! {
            response = response => response.unwrap(),
            _ = server.accept() => panic!("there is one request"),
        };
        (Stream::new(send, response.into_body()), far)
    }

    /// Runs the server's side of the connection.
    fn drive(mut server: Server) {
        tokio::spawn(async move { while server.accept().await.is_some() {} });
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future).await.expect("the test's deadline")
    }

    /// Writes until the window is full; returns how many bytes went.
    async fn fill(stream: &mut Stream) -> usize {
        let mut sent = 0;
        let piece = [7; 4096];
        while let Ok(count) = tokio::time::timeout(Duration::from_millis(50), stream.write(&piece)).await {
            sent += count.unwrap();
        }
        sent
    }

    #[tokio::test]
    async fn bytes_arrive_in_both_directions_and_the_end_after_them() {
        within(async {
            let (mut client, mut server) = connection().await;
            let (mut near, mut far) = open(&mut client, &mut server).await;
            drive(server);
            assert_eq!(near.id(), far.id());
            near.write_all(b"hello").await.unwrap();
            let slices = [IoSlice::new(b" "), IoSlice::new(b""), IoSlice::new(b"world")];
            assert_eq!(near.write_vectored(&slices).await.unwrap(), 6);
            near.shutdown().await.unwrap();
            let mut received = String::new();
            far.read_to_string(&mut received).await.unwrap();
            assert_eq!(received, "hello world");
            far.write_all(b"bye").await.unwrap();
            far.shutdown().await.unwrap();
            received.clear();
            near.read_to_string(&mut received).await.unwrap();
            assert_eq!(received, "bye");
            assert_eq!(near.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_not_read_stops_its_own_writer_only() {
        within(async {
            let (mut client, mut server) = connection().await;
            let (mut full, mut unread) = open(&mut client, &mut server).await;
            let (mut near, mut far) = open(&mut client, &mut server).await;
            drive(server);
            assert_eq!(fill(&mut full).await, WINDOW as usize);
            for _ in 0..100 {
                near.write_all(&[1; 4096]).await.unwrap();
                let mut echo = [0; 4096];
                far.read_exact(&mut echo).await.unwrap();
                far.write_all(&echo).await.unwrap();
                near.read_exact(&mut echo).await.unwrap();
            }
            //= https://www.rfc-editor.org/rfc/rfc9113#section-6.9.1
            //= type=test
            //# The receiver of a frame sends a WINDOW_UPDATE frame as it consumes data and frees up space in flow-control
            //# windows.
            // As many bytes as are read can be written.
            let mut half = vec![0; (WINDOW / 2) as usize];
            unread.read_exact(&mut half).await.unwrap();
            assert_eq!(fill(&mut full).await, half.len());
        })
        .await;
    }

    #[tokio::test]
    async fn a_reset_is_an_error_and_not_an_end() {
        within(async {
            let (mut client, mut server) = connection().await;
            let (mut near, mut far) = open(&mut client, &mut server).await;
            drive(server);
            far.write_all(b"last").await.unwrap();
            let mut received = [0; 4];
            near.read_exact(&mut received).await.unwrap();
            far.send.send_reset(Reason::CANCEL);
            let error = near.read(&mut received).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let error = near.write(b"more").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        })
        .await;
    }

    #[tokio::test]
    async fn a_dropped_stream_is_reset_with_cancel() {
        //= https://www.rfc-editor.org/rfc/rfc8441#section-5
        //= type=test
        //# Orderly TCP-level closures are represented as END_STREAM flags ([RFC7540], Section 6.1).  RST exceptions are
        //# represented with the RST_STREAM frame ([RFC7540], Section 6.4) with the CANCEL error code ([RFC7540], Section 7).
        within(async {
            let (mut client, mut server) = connection().await;
            let (near, mut far) = open(&mut client, &mut server).await;
            drive(server);
            drop(near);
            let error = far.read(&mut [0; 4]).await.unwrap_err();
            let error = error.get_ref().and_then(|error| error.downcast_ref::<h2::Error>()).unwrap();
            assert_eq!(error.reason(), Some(Reason::CANCEL));
        })
        .await;
    }

    #[tokio::test]
    async fn a_writer_that_waits_for_room_learns_of_a_reset() {
        within(async {
            let (mut client, mut server) = connection().await;
            let (mut near, mut far) = open(&mut client, &mut server).await;
            drive(server);
            let writing = async {
                loop {
                    if let Err(error) = near.write(&[7; 4096]).await {
                        return error;
                    }
                }
            };
            let resetting = async {
                far.read_exact(&mut [0; 4096]).await.unwrap();
                far.send.send_reset(Reason::CANCEL);
                std::future::pending::<()>().await;
            };
            let error = tokio::select! { error = writing => error, () = resetting => unreachable!() };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        })
        .await;
    }
}
