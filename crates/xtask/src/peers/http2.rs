//! WebSockets over HTTP/2 (RFC 8441), where one connection carries many of them: our client and
//! Python's Hypercorn as server, and a server of ours on axum whose client is Node, with `ws` on its
//! streams.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use framewright_testkit::programs::packages::python_command;
use framewright_testkit::programs::process::say;
use framewright_testkit::programs::server::ServerProcess;
use framewright_tokio::h2::{Connection, Stream};
use framewright_tokio::{CloseCode, Config, Message, WebSocket};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::install::{self, HYPERCORN, Peer};
use super::tally::Tally;
use crate::http2::{Http2Server, REASON, Told};

/// Runs all of it.
///
/// # Errors
/// If Hypercorn cannot be installed, or a server cannot be started.
pub(super) fn run(folder: &Path, ws: &Peer, tally: &mut Tally) -> anyhow::Result<()> {
    our_client(folder, tally)?;
    our_server(ws, tally)
}

/// How long each exchange of our client may take.
const DEADLINE: Duration = Duration::from_secs(30);

fn our_client(folder: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let python = install::hypercorn(folder)?;
    let script = install::written(folder.join("hypercorn_server.py"), include_str!("hypercorn_server.py"))?;
    // What it says when a connection ends early is not for this program's output.
    let mut command = python_command(python);
    let server = ServerProcess::start("Hypercorn", command.arg(script).stderr(Stdio::null()))?;
    println!("our client over HTTP/2, server Hypercorn {HYPERCORN}");
    let client = Client { server: &server };
    let mut note = Note { runtime: Builder::new_current_thread().enable_all().build()?, tally };
    note.exchange("a text, 64 KiB and 1 MiB come back", client.echoes());
    note.exchange("twenty sockets on one connection", client.twenty());
    note.exchange("a socket that is not read stops no other one", client.unread());
    for (code, reason) in CODES {
        note.exchange(&format!("closed here with {code}"), client.closed(code, reason, false));
        note.exchange(&format!("closed there with {code}"), client.closed(code, reason, true));
    }
    Ok(())
}

/// Runs what our client does, and counts it.
struct Note<'a> {
    runtime: Runtime,
    tally: &'a mut Tally,
}

impl Note<'_> {
    fn exchange(&mut self, what: &str, exchange: impl Future<Output = anyhow::Result<()>>) {
        let done = self.runtime.block_on(async { timeout(DEADLINE, exchange).await });
        let result = done.context("not done within the deadline").flatten();
        self.tally.note(what, result.map(|()| String::new()));
    }
}

/// Codes and reasons that have to arrive.
const CODES: [(u16, &str); 4] = [(1000, "done"), (1001, "going away"), (3000, "Grüße"), (4999, "🎉")];

struct Client<'a> {
    server: &'a ServerProcess,
}

impl Client<'_> {
    /// A connection of its own.
    async fn connection(&self) -> anyhow::Result<Connection> {
        let (connection, driver) = Connection::open(TcpStream::connect(self.server.addr()).await?).await?;
        ensure!(connection.takes_websockets(), "the server's SETTINGS do not allow WebSockets");
        tokio::spawn(driver);
        Ok(connection)
    }

    /// A WebSocket on it.
    async fn open(&self, connection: &Connection, path: &str) -> anyhow::Result<WebSocket<Stream>> {
        let request = format!("ws://{}{path}", self.server.addr()).parse()?;
        // Hypercorn does not end a stream after the Close frames.
        let config = Config { close_timeout: Duration::from_secs(1), ..Config::default() };
        Ok(connection.connect(&request, config).await?)
    }

    async fn echoes(&self) -> anyhow::Result<()> {
        let mut socket = self.open(&self.connection().await?, "/echo").await?;
        echoed(&mut socket, Message::Text("über HTTP/2 🎉")).await?;
        for size in [0, 64 << 10, 1 << 20] {
            let octets: Vec<u8> = (0..=250).cycle().take(size).collect();
            echoed(&mut socket, Message::Binary(&octets)).await?;
        }
        Ok(())
    }

    async fn twenty(&self) -> anyhow::Result<()> {
        let connection = self.connection().await?;
        let mut sockets = Vec::new();
        for _ in 0..20 {
            sockets.push(self.open(&connection, "/echo").await?);
        }
        for round in 0..3 {
            for (at, socket) in sockets.iter_mut().enumerate() {
                socket.send_text(&format!("{at} in round {round}")).await?;
            }
            for (at, socket) in sockets.iter_mut().enumerate().rev() {
                let expected = format!("{at} in round {round}");
                ensure!(received(socket).await? == Message::Text(&expected), "not {expected}");
            }
        }
        Ok(())
    }

    /// One socket is sent sixteen times what its window takes. Another one goes on meanwhile, and
    /// then nothing is missing.
    async fn unread(&self) -> anyhow::Result<()> {
        let connection = self.connection().await?;
        let mut unread = self.open(&connection, "/flood/64").await?;
        let mut other = self.open(&connection, "/echo").await?;
        let octets = vec![7; 64 << 10];
        for _ in 0..50 {
            echoed(&mut other, Message::Binary(&octets)).await?;
        }
        let flood = vec![0; 64 << 10];
        for at in 0..64 {
            ensure!(received(&mut unread).await? == Message::Binary(&flood), "message {at} is another one");
        }
        echoed(&mut unread, Message::Text("all there")).await
    }

    /// Each on a connection of its own: Hypercorn ends the connection with the first of its WebSockets
    /// that closes.
    async fn closed(&self, code: u16, reason: &str, there: bool) -> anyhow::Result<()> {
        let connection = self.connection().await?;
        let path = if there { format!("/close/{code}/{}", escaped(reason)) } else { "/echo".to_owned() };
        let mut socket = self.open(&connection, &path).await?;
        let closure = if there {
            ensure!(socket.recv().await.is_none(), "a message");
            socket.closure().context("no end")?
        } else {
            socket.close(CloseCode::new(code), reason).await?
        };
        ensure!(closure.clean, "no clean end: {closure:?}");
        ensure!(closure.code() == code, "{} instead of {code}", closure.code());
        ensure!(closure.reason() == reason, "{:?} instead of {reason:?}", closure.reason());
        Ok(())
    }
}

/// Every octet as it stands in a URI behind a percent sign.
fn escaped(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

async fn received(socket: &mut WebSocket<Stream>) -> anyhow::Result<Message<'_>> {
    Ok(socket.recv().await.context("the connection has ended")??)
}

async fn echoed(socket: &mut WebSocket<Stream>, message: Message<'_>) -> anyhow::Result<()> {
    socket.send(message).await?;
    ensure!(received(socket).await? == message, "it did not come back as it was sent");
    Ok(())
}

/// Node has to find everything as it should be, and the server, that all of it was one connection.
fn our_server(ws: &Peer, tally: &mut Tally) -> anyhow::Result<()> {
    let server = Http2Server::start()?;
    let node = say(Command::new("node").arg("--version"))?;
    println!("a server of ours on axum, client Node {node} with {} {} on its streams", ws.name, ws.version);
    let said = ws
        .script("ws_http2.cjs", include_str!("ws_http2.cjs"))
        .and_then(|mut script| say(script.arg(format!("http://{}", server.addr))))
        .and_then(|said| serde_json::from_str(&said).with_context(|| format!("not an answer: {said}")));
    let found: Value = match said {
        Ok(found) => found,
        Err(error) => {
            tally.note("Node's script", Err(error));
            return Ok(());
        }
    };
    let codes = [1000, 1001, 3000, 4999];
    for (what, name, expected) in [
        ("the SETTINGS allow WebSockets", "enabled", json!(true)),
        ("a text comes back", "text", json!(true)),
        ("64 KiB come back", "binary", json!(true)),
        ("a Ping is answered", "pong", json!(true)),
        ("closed by the client with 3000", "closedHere", json!([3000, "Grüße"])),
        ("closed by the server", "closedThere", json!(codes.map(|code| json!([code, REASON])))),
        ("twenty sockets on one connection", "twenty", json!(true)),
        ("a socket that is not read stops its own peer", "waitsForUnread", json!(true)),
        ("64 KiB come back beside it", "binaryBesideUnread", json!(true)),
        ("texts on twenty sockets beside it", "textBesideUnread", json!(true)),
        ("all twenty close with 1000", "twentyClosed", json!(true)),
    ] {
        let seen = &found[name];
        let result = if *seen == expected { Ok(String::new()) } else { Err(anyhow::anyhow!("{seen}")) };
        tally.note(what, result);
    }
    tally.note("all of them were streams of one connection", one_connection(&server));
    Ok(())
}

/// 1 socket, 4 that are closed by the server, 20, and 1 that is not read.
const SOCKETS: usize = 26;

fn one_connection(server: &Http2Server) -> anyhow::Result<String> {
    // All but the one that is not read and the four that the server closed.
    let told = server.told(SOCKETS - 5)?;
    let mut opened = Vec::new();
    for told in &told {
        match told {
            Told::Opened(socket) if socket.is_a_stream() => opened.push(socket.client),
            Told::Opened(socket) => bail!("not a stream: {socket:?}"),
            _ => {}
        }
    }
    ensure!(opened.len() == SOCKETS, "{} sockets instead of {SOCKETS}", opened.len());
    opened.dedup();
    ensure!(opened.len() == 1, "{opened:?}");
    ensure!(told.contains(&Told::Ended(3000, "Grüße".to_owned())), "the server saw no end with 3000");
    Ok(format!("{SOCKETS} extended CONNECTs of HTTP/2 from {}", opened[0]))
}
