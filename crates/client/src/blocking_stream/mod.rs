//! A descriptor for a stream that has none, or that only blocks: threads move the bytes between the
//! stream and a pair of sockets.
//!
//! ```text
//!   client ──write──> socket pair ──> thread ──write──> the application's stream
//!   client <──read─── socket pair <── thread <──read─── the application's stream
//! ```
//!
//! `halves.rs` has a thread for each direction, `whole.rs` one for both; `shared.rs` has what they
//! share with the stream.

mod halves;
mod shared;
mod whole;

use shared::{LAST_BYTES, Shared, THREAD, pair, take};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Instant;

/// A stream for [`blocking::Client::over`](crate::blocking::Client::over) and
/// [`event_loop::Client::over`](crate::event_loop::Client::over), made of any [`Read`] and [`Write`]
/// whose calls block.
///
/// A client waits for a descriptor, and never inside a call to its stream. This type gives a
/// descriptor to a stream that has none, such as a channel of a tunnel, a serial port, or a TLS
/// session that cannot be set to non-blocking mode: threads of its own call the stream, and move the
/// bytes to and from a pair of sockets. The client uses the other end of the pair. So all its
/// deadlines hold, however long a call to the stream takes.
///
/// | the application has | constructor | threads |
/// |---|---|---|
/// | a reader and a writer, of which each may wait as long as it likes | [`from_halves`](BlockingStream::from_halves) | 2 |
/// | one object, whose calls return in bounded time | [`from_whole`](BlockingStream::from_whole) | 1 |
///
/// A stream that has a descriptor, and can be set to non-blocking mode, needs none of this: the
/// client takes it directly.
///
/// ```
/// use framewright_client::{BlockingStream, ClientError, ClientRequest, blocking::Client};
/// use std::net::TcpStream;
///
/// fn hello(tunnel: TcpStream) -> Result<(), ClientError> {
///     let (reader, writer) = (tunnel.try_clone()?, tunnel.try_clone()?);
///     let stream = BlockingStream::from_halves(reader, writer)?.with_shutdown(move |how| {
///         let _ = tunnel.shutdown(how); // the other end may have left before
///     });
///     let request: ClientRequest = "ws://localhost/ws".parse()?;
///     let mut client = Client::over(stream, request)?;
///     client.send_text("hello")?;
///     Ok(())
/// }
/// ```
///
/// # Costs
/// A thread wakes for each piece of up to 16 KiB, and copies it through the kernel. Each thread has
/// such a buffer for each direction that it serves, and each direction has the kernel's buffer for
/// a pair of sockets, which is 208 KiB on Linux unless set otherwise. Bytes are sent, for the
/// client, once they lie in that buffer. So [`Config::write_timeout`](crate::Config::write_timeout)
/// passes only when the stream has taken nothing for that long and the buffer is full. Keep-alive
/// Pings notice a stream that is stuck earlier: their Pongs do not arrive. With `from_halves` a
/// stream has two descriptors, with `from_whole` three.
///
/// # How it ends
/// When the client has ended its direction, or was dropped, the bytes that it has sent still go to
/// the writer, which is then flushed and dropped. The thread that reads ends when a read returns. A
/// read that would wait for ever has to be ended by the application: see
/// [`with_shutdown`](BlockingStream::with_shutdown). A thread that writes, or reads with a timeout,
/// gives up 5 seconds after the client was dropped.
///
/// # Errors of the stream
/// [`WouldBlock`](io::ErrorKind::WouldBlock) and [`TimedOut`](io::ErrorKind::TimedOut) mean that the
/// stream is to be asked again, at most once in a millisecond. Any other error, a writer that takes
/// 0 bytes, and a panic end that direction. (An object of `from_whole` may take 0 bytes 100 times in
/// a row while nothing is received: a `StreamOwned` of rustls does so after a write timeout.) The
/// client reports this as the end of the connection:
/// [`ConnectError::Lost`](crate::ConnectError::Lost) with the stream's error while it opens, and
/// [`Error::TransportLost`](crate::Error::TransportLost) afterwards.
pub struct BlockingStream {
    socket: UnixStream,
    shared: Arc<Shared>,
    /// Disconnected once the last byte was written. `None` only while this is being dropped.
    written: Option<Receiver<()>>,
}

impl BlockingStream {
    /// Reads from `reader` in one thread, and writes to `writer` in another one, so that each may
    /// wait as long as it likes.
    ///
    /// # Errors
    /// If the system has no sockets or threads left.
    pub fn from_halves<R, W>(reader: R, writer: W) -> io::Result<Self>
    where
        R: Read + Send + 'static,
        W: Write + Send + 'static,
    {
        let (socket, shared) = pair()?;
        let written = halves::start(reader, writer, &shared)?;
        Ok(BlockingStream { socket, shared, written: Some(written) })
    }

    /// Reads from and writes to one object, in one thread.
    ///
    /// **Each call to `stream` has to return in bounded time**, as after
    /// [`set_read_timeout`](std::net::TcpStream::set_read_timeout): nothing is sent while a read
    /// waits, not even a Pong. So the longest read is the longest delay of a sent message, and an
    /// idle connection wakes the thread that often. From 10 to 50 ms are a good compromise. Writes
    /// need a timeout too if the server may send and not read for a long time: nothing is received
    /// while a write waits.
    ///
    /// Such an object cannot end one direction. It is dropped when the client has ended both, or
    /// when the client was dropped, at the latest after one more call.
    ///
    /// # Errors
    /// If the system has no sockets, polls or threads left.
    pub fn from_whole<S>(stream: S) -> io::Result<Self>
    where
        S: Read + Write + Send + 'static,
    {
        let (socket, shared) = pair()?;
        let written = whole::start(stream, &shared)?;
        Ok(BlockingStream { socket, shared, written: Some(written) })
    }

    /// Calls `shutdown` when the client has ended a direction of the stream.
    ///
    /// - With [`Shutdown::Write`] once the writer of [`from_halves`](BlockingStream::from_halves)
    ///   has taken the client's last byte, before it is dropped.
    /// - With [`Shutdown::Both`] once the client was dropped and its last byte is written, at the
    ///   latest 5 seconds later. It has to make a read return that still waits.
    ///
    /// Both calls come from threads of this stream. Halves that are clones of one socket need this:
    /// dropping the writer ends nothing while the reader has the same socket. Of several calls to
    /// this method the first one counts.
    #[must_use]
    pub fn with_shutdown(self, shutdown: impl Fn(Shutdown) + Send + Sync + 'static) -> Self {
        let _ = self.shared.end.set(Box::new(shutdown));
        self
    }
}

impl Drop for BlockingStream {
    fn drop(&mut self) {
        let _ = self.shared.dropped.set(Instant::now());
        // A duplicate of the descriptor does not keep the threads.
        let _ = self.socket.shutdown(Shutdown::Both);
        let (Some(_), Some(written)) = (self.shared.end.get(), self.written.take()) else { return };
        let shared = Arc::clone(&self.shared);
        let ending = thread::Builder::new().name(THREAD.into()).spawn(move || {
            // Nothing is ever received: this waits for the other thread to end.
            let _ = written.recv_timeout(LAST_BYTES);
            shared.end(Shutdown::Both);
        });
        if ending.is_err() {
            self.shared.end(Shutdown::Both);
        }
    }
}

impl Read for BlockingStream {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self.socket.read(target) {
            Ok(0) if !target.is_empty() => match take(&self.shared.read_error) {
                Some(error) => Err(error),
                None => Ok(0),
            },
            result => result,
        }
    }
}

impl Write for BlockingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.socket.write(bytes);
        self.explained(written)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.socket.write_vectored(slices);
        self.explained(written)
    }

    /// Does nothing: the threads flush what they have written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlockingStream {
    /// Names the stream's error, if that is why the pair takes nothing more.
    fn explained(&self, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(take(&self.shared.write_error).unwrap_or(error))
            }
            written => written,
        }
    }
}

impl AsFd for BlockingStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for BlockingStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}
