//! A thread for each direction, which may wait in a call to the application's stream.

use super::shared::{Called, PIECE, Shared, THREAD, call, panic_error, takes_nothing};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// Starts both threads. The returned channel is disconnected when the one that writes ends.
pub(super) fn start<R, W>(reader: R, writer: W, shared: &Arc<Shared>) -> io::Result<Receiver<()>>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let (writing, written) = channel();
    let (to_client, from_client) = (Arc::clone(shared), Arc::clone(shared));
    thread::Builder::new().name(THREAD.into()).spawn(move || receive(reader, &to_client))?;
    let sending = thread::Builder::new().name(THREAD.into());
    sending.spawn(move || send(writer, &from_client, writing)).inspect_err(|_| {
        // The other thread ends as it does when a client has left.
        let _ = shared.dropped.set(Instant::now());
        let _ = shared.socket.shutdown(Shutdown::Both);
    })?;
    Ok(written)
}

/// Ends the client's receiving, also if the reader panics.
struct Receiving<'a> {
    shared: &'a Shared,
    error: Option<io::Error>,
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.shared.stop_receiving(self.error.take().or_else(panic_error));
    }
}

/// Passes on what the reader returns, until it ends or nobody wants more.
fn receive(mut reader: impl Read, shared: &Shared) {
    let mut receiving = Receiving { shared, error: None };
    let mut piece = vec![0; PIECE];
    while !shared.is_dropped() {
        match call(|| reader.read(&mut piece), thread::sleep) {
            Called::Moved(length) => {
                if (&shared.socket).write_all(&piece[..length]).is_err() {
                    return;
                }
            }
            Called::Nothing => {}
            Called::Ended(error) => {
                receiving.error = error;
                return;
            }
        }
    }
}

/// Ends the client's sending, also if the writer panics.
struct Sending<'a> {
    shared: &'a Shared,
    error: Option<io::Error>,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.shared.stop_sending(self.error.take().or_else(panic_error));
    }
}

/// Passes on what the client sends, until it ends or the writer takes no more.
fn send(mut writer: impl Write, shared: &Shared, _writing: Sender<()>) {
    let mut sending = Sending { shared, error: None };
    let mut piece = vec![0; PIECE];
    loop {
        let length = match (&shared.socket).read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let written = write_all(&mut writer, &piece[..length], shared);
        if let Err(error) = written.and_then(|()| flush(&mut writer, shared)) {
            sending.error = Some(error);
            return;
        }
    }
    shared.end(Shutdown::Write);
}

/// Writes all of the bytes, unless the client has left and the writer takes too long.
fn write_all(writer: &mut impl Write, mut bytes: &[u8], shared: &Shared) -> io::Result<()> {
    while !bytes.is_empty() {
        match call(|| writer.write(bytes), thread::sleep) {
            Called::Moved(length) => bytes = &bytes[length..],
            Called::Nothing if shared.is_over() => return Err(io::ErrorKind::TimedOut.into()),
            Called::Nothing => {}
            Called::Ended(error) => return Err(error.unwrap_or_else(takes_nothing)),
        }
    }
    Ok(())
}

fn flush(writer: &mut impl Write, shared: &Shared) -> io::Result<()> {
    loop {
        match call(|| writer.flush().map(|()| 1), thread::sleep) {
            Called::Moved(_) => return Ok(()),
            Called::Nothing if shared.is_over() => return Err(io::ErrorKind::TimedOut.into()),
            Called::Nothing => {}
            Called::Ended(error) => return Err(error.unwrap_or_else(takes_nothing)),
        }
    }
}
