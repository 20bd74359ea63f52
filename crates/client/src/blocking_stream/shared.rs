//! What a stream shares with its threads, and what they do alike.

use std::io::{self, Read as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Ends one direction of the application's stream, or both.
pub(super) type End = Box<dyn Fn(Shutdown) + Send + Sync>;

/// What a stream shares with its threads.
pub(super) struct Shared {
    /// The threads' end of the pair.
    pub(super) socket: UnixStream,
    pub(super) read_error: Mutex<Option<io::Error>>,
    pub(super) write_error: Mutex<Option<io::Error>>,
    /// When the client has dropped the stream.
    pub(super) dropped: OnceLock<Instant>,
    pub(super) end: OnceLock<End>,
}

/// The bytes that are moved at a time.
pub(super) const PIECE: usize = 16 << 10;
/// The time between two calls to a stream that returns at once though it has nothing.
pub(super) const PAUSE: Duration = Duration::from_millis(1);
/// How long a stream without a client may take for the last bytes.
pub(super) const LAST_BYTES: Duration = Duration::from_secs(5);
pub(super) const THREAD: &str = "framewright-stream";

impl Shared {
    /// Tells the application that a direction has ended.
    pub(super) fn end(&self, how: Shutdown) {
        if let Some(end) = self.end.get() {
            end(how);
        }
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.get().is_some()
    }

    /// True if nobody waits for the last bytes any more.
    pub(super) fn is_over(&self) -> bool {
        self.dropped.get().is_some_and(|dropped| dropped.elapsed() >= LAST_BYTES)
    }

    /// Ends the client's sending. What it has sent is dropped, so that a client that waits for room
    /// finds some, and with it the error.
    pub(super) fn stop_sending(&self, error: Option<io::Error>) {
        put(&self.write_error, error);
        let _ = self.socket.shutdown(Shutdown::Read);
        let mut dropped = vec![0; PIECE];
        while !matches!((&self.socket).read(&mut dropped), Ok(0) | Err(_)) {}
    }

    /// Ends the client's receiving, behind the bytes that it was given.
    pub(super) fn stop_receiving(&self, error: Option<io::Error>) {
        put(&self.read_error, error);
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// The client's end of a pair of sockets, and what has the other one.
pub(super) fn pair() -> io::Result<(UnixStream, Arc<Shared>)> {
    let (ours, theirs) = UnixStream::pair()?;
    let shared = Shared {
        socket: theirs,
        read_error: Mutex::default(),
        write_error: Mutex::default(),
        dropped: OnceLock::new(),
        end: OnceLock::new(),
    };
    Ok((ours, Arc::new(shared)))
}

fn put(place: &Mutex<Option<io::Error>>, error: Option<io::Error>) {
    if let Some(error) = error {
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

pub(super) fn take(place: &Mutex<Option<io::Error>>) -> Option<io::Error> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The error of a stream whose call is being unwound; `None` if none is.
pub(super) fn panic_error() -> Option<io::Error> {
    thread::panicking().then(|| io::Error::other("the stream has panicked"))
}

/// The result of a call to the application's stream.
pub(super) enum Called {
    Moved(usize),
    /// The stream has nothing, or no room: it is asked again.
    Nothing,
    /// The end of the stream, or its error.
    Ended(Option<io::Error>),
}

/// Calls the application's stream once. For one that returns at once without having done anything,
/// `wait` is called with the time until it may be called again.
pub(super) fn call(call: impl FnOnce() -> io::Result<usize>, wait: impl FnOnce(Duration)) -> Called {
    let begun = Instant::now();
    match call() {
        Ok(0) => Called::Ended(None),
        Ok(moved) => Called::Moved(moved),
        Err(error) => match error.kind() {
            io::ErrorKind::Interrupted => Called::Nothing,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                if let Some(early) = PAUSE.checked_sub(begun.elapsed()) {
                    wait(early);
                }
                Called::Nothing
            }
            _ => Called::Ended(Some(error)),
        },
    }
}

/// The error of a writer that takes none of the bytes that it was given.
pub(super) fn takes_nothing() -> io::Error {
    io::ErrorKind::WriteZero.into()
}
