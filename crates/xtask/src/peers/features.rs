//! What our client and the servers of other projects do beside sending messages: Pings, closing
//! from either side, subprotocols, and answers other than a 101.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use framewright_client::blocking::Client;
use framewright_client::blocking::Event;
use framewright_client::{ClientRequest, CloseCode, Closure, ConnectError, Message, Options};

use super::install::Library;
use super::ours::options;
use super::tally::Tally;

/// Where a server is, and how it is connected to.
pub(super) struct Target {
    /// The beginning of its URIs, up to the path.
    pub(super) base: String,
    pub(super) options: Options,
}

impl Target {
    /// A server without TLS.
    pub(super) fn plain(server: SocketAddr) -> Self {
        Self { base: format!("ws://{server}"), options: options() }
    }

    /// The request for a path.
    ///
    /// # Errors
    /// If the path is not valid.
    pub(super) fn request(&self, path: &str) -> anyhow::Result<ClientRequest> {
        Ok(ClientRequest::try_from(format!("{}{path}", self.base).as_str())?)
    }

    fn connect(&self, path: &str) -> anyhow::Result<Client> {
        Ok(Client::connect_with(self.request(path)?, &self.options)?)
    }
}

/// Tries all of it at the server of a library.
pub(super) fn run(library: Library, server: &Target, tally: &mut Tally) {
    tally.note("a Ping of each side is answered", pings(server).map(nothing));
    tally.note("a subprotocol is agreed on", subprotocol(server).map(nothing));
    tally.note("a refusal is told", refusal(server).map(nothing));
    for (code, reason) in OUR_CLOSES {
        let what = format!("closed by us with {code:?} {reason:?}");
        tally.note(&what, closed_by_us(server, "/echo", code, reason).map(nothing));
    }
    for (path, code, reason) in THEIR_CLOSES {
        // The library's server cannot close without a code.
        let code = if library == Library::Websockets && code == 1005 { 1000 } else { code };
        let what = format!("closed by the server with {code} {reason:?}");
        tally.note(&what, closed_by_server(server, path, code, reason).map(nothing));
    }
}

/// The codes of ours and their reasons: none, one of the RFC's, registered and private ones.
const OUR_CLOSES: [(Option<u16>, &str); 5] =
    [(None, ""), (Some(1000), ""), (Some(1001), "going away"), (Some(3000), "Grüße"), (Some(4999), "🎉")];

/// Paths, the codes that they mean, and the reasons.
const THEIR_CLOSES: [(&str, u16, &str); 5] = [
    ("/close", 1005, ""),
    ("/close/1000/", 1000, ""),
    ("/close/1011/broken", 1011, "broken"),
    ("/close/3000/Gr%C3%BC%C3%9Fe", 3000, "Grüße"),
    ("/close/4999/%F0%9F%8E%89", 4999, "🎉"),
];

/// There is no more to say than that it went well.
fn nothing((): ()) -> String {
    String::new()
}

/// How long the server may take for whatever is next.
const DEADLINE: Duration = Duration::from_secs(10);

fn pings(server: &Target) -> anyhow::Result<()> {
    let mut client = server.connect("/ping/marco")?;
    let deadline = Instant::now() + DEADLINE;
    match client.next_event_before(deadline)? {
        Some(Event::Ping(b"marco")) => {}
        other => bail!("{other:?} instead of the Ping"),
    }
    match client.next_event_before(deadline)? {
        Some(Event::Message(Message::Text("pong marco"))) => {}
        other => bail!("{other:?} instead of the news that its Pong came"),
    }
    client.ping(b"polo")?;
    match client.next_event_before(deadline)? {
        Some(Event::Pong(b"polo")) => {}
        other => bail!("{other:?} instead of the Pong"),
    }
    ended_with(&client.close_and_wait(CloseCode::NORMAL, "")?, 1000, "")
}

fn subprotocol(server: &Target) -> anyhow::Result<()> {
    let request = server.request("/echo")?.with_subprotocol("one")?.with_subprotocol("two")?;
    let mut client = Client::connect_with(request, &server.options)?;
    ensure!(client.subprotocol() == Some("two"), "{:?} was agreed on", client.subprotocol());
    ended_with(&client.close_and_wait(CloseCode::NORMAL, "")?, 1000, "")
}

fn refusal(server: &Target) -> anyhow::Result<()> {
    let response = match Client::connect_with(server.request("/refuse")?, &server.options) {
        Err(ConnectError::Refused(response)) => response,
        Err(error) => return Err(error).context("not a refusal"),
        Ok(_) => bail!("it was accepted"),
    };
    let seen = (response.status(), response.field("Retry-After"), response.body(), response.is_truncated());
    ensure!(seen == (503, Some(&b"120"[..]), &b"come back later"[..], false), "it is {seen:?}");
    Ok(())
}

/// Closes a connection to this path, whose server echoes the code.
///
/// # Errors
/// If that is not how it ends.
pub(super) fn closed_by_us(
    server: &Target,
    path: &str,
    code: Option<u16>,
    reason: &str,
) -> anyhow::Result<()> {
    let mut client = server.connect(path)?;
    let close = code.map(|code| CloseCode::new(code).context("a code that may be sent")).transpose()?;
    // The servers echo what they are sent, and 1005 stands for nothing.
    ended_with(&client.close_and_wait(close, reason)?, code.unwrap_or(1005), reason)
}

/// Waits for the server to close a connection to this path with this code.
///
/// # Errors
/// If that is not how it ends.
pub(super) fn closed_by_server(server: &Target, path: &str, code: u16, reason: &str) -> anyhow::Result<()> {
    let mut client = server.connect(path)?;
    let message = client.receive_before(Instant::now() + DEADLINE)?;
    ensure!(message.is_none(), "{message:?} came first");
    let closure = client.closure().context("the connection has ended")?;
    ended_with(&closure, code, reason)?;
    let sent = closure.sent.as_ref().map(|frame| frame.code.map_or(1005, CloseCode::get));
    ensure!(sent == Some(code), "the answer was {sent:?}");
    Ok(())
}

fn ended_with(closure: &Closure, code: u16, reason: &str) -> anyhow::Result<()> {
    ensure!(
        closure.clean && closure.code() == code && closure.reason() == reason,
        "it did not end cleanly with {code} {reason:?}: {closure:?}"
    );
    Ok(())
}
