//! The floor on tokio: a task for each connection that sends back the octets it receives, without
//! looking at them. All tasks read into the one buffer of their thread, and a short read empties a
//! socket, so that a message costs one read and one write.

use std::cell::RefCell;
use std::io;

use peer_common::serve;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How many octets one read asks for.
const READ_SIZE: usize = 256 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_SIZE]);
}

fn main() -> anyhow::Result<()> {
    serve(|stream| async move {
        // An error is the end of the connection, in whatever way.
        let _ = echo(stream).await;
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let rest = BUFFER.with_borrow_mut(|buffer| once(&stream, buffer))?;
        match rest {
            Some(rest) => stream.write_all(&rest).await?,
            None => return Ok(()),
        }
    }
}

/// Reads once and writes once. Returns what the socket has not taken; nothing at the end of the
/// stream.
fn once(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    let count = match stream.try_read(buffer) {
        Ok(0) => return Ok(None),
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(Vec::new())),
        Err(error) => return Err(error),
    };
    let written = match stream.try_write(&buffer[..count]) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(Some(buffer[written..count].to_vec()))
}
