//! `cargo xtask browser`: the echo page in a real browser.
//!
//! It starts the echo program and a headless Chromium, drives the page as a person does (clicks,
//! keys) and reads what the page then shows. It needs `chromium` and `chromedriver`: the Debian
//! packages `chromium` and `chromium-driver`.
//!
//! With `--tls` it does less, over `https:` and `wss:`, and in Firefox too ([`tls`]): that needs
//! `firefox-esr` and `libnss3-tools`. With `--http2` the server is one on axum, and the sockets are
//! streams of the connection of the page ([`http2`]).
//!
//! The work is told in scenarios. Each loads the page afresh, and the first check that fails ends
//! its scenario alone. What a scenario expects comes from the page's description in its own file,
//! `crates/cli/assets/echo.html`.

mod chrome;
mod compression;
mod firefox;
mod http2;
mod page;
mod tls;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use framewright_testkit::programs::server::ServerProcess;

use anyhow::{Context as _, ensure};
use framewright_cli::Compress;
use serde_json::json;
use tokio::time::timeout;

use crate::echo_server;
use chrome::Chrome;
use compression::Recorded;
use page::{Page, echoed, page_of};

/// What `cargo xtask browser` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Save pictures of the page into this folder: light, dark, narrow, and one for each failure.
    #[arg(long, value_name = "DIR")]
    screenshots: Option<PathBuf>,
    /// The page over https, and its connections over wss, in Chromium and in Firefox, and nothing
    /// else.
    #[arg(long, conflicts_with = "screenshots")]
    tls: bool,
    /// WebSockets over HTTP/2 in Chromium, and nothing else.
    #[arg(long, conflicts_with_all = ["screenshots", "tls"])]
    http2: bool,
}

/// Runs every scenario, prints a line for each check, and ends the servers and the browser.
///
/// # Errors
/// If a check failed, a program could not be started, or all of it took longer than [`DEADLINE`].
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.tls {
        return tls::run();
    }
    if options.http2 {
        return http2::run();
    }
    if let Some(folder) = &options.screenshots {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    // Outside the deadline, because the first one may have to build the program.
    let servers = Servers::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (passed, failed) = runtime.block_on(async {
        // The browser belongs to this block and not to what the deadline cuts short: it ends on
        // every path.
        let chrome = Chrome::start()?;
        timeout(DEADLINE, scenarios(&chrome, &servers, options))
            .await
            .with_context(|| format!("the browser test did not end within {DEADLINE:?}"))?
    })?;
    crate::conclusion::conclude(passed, failed)
}

/// How long the scenarios may take together, the start of the browser included. They need some ten
/// seconds.
const DEADLINE: Duration = Duration::from_secs(120);

/// The echo servers that the page is loaded from, and an address where none is.
struct Servers {
    /// With every option at its default.
    plain: ServerProcess,
    /// Which echoes on [`OTHER_PATH`], and there speaks the subprotocol `chat`.
    chat: ServerProcess,
    /// Which allows an origin that its own page does not have.
    strict: ServerProcess,
    /// One for each way to compress, each behind a proxy that records what goes over the wire.
    recorded: [Recorded; 2],
    /// Where nobody listens.
    nobody: SocketAddr,
}

/// The path of the server that does not echo on `/ws`.
const OTHER_PATH: &str = "/chat/room";

impl Servers {
    fn start() -> anyhow::Result<Self> {
        Ok(Self {
            plain: echo_server::start(&[])?,
            chat: echo_server::start(&["--path", OTHER_PATH, "--subprotocol", "chat"])?,
            strict: echo_server::start(&["--allowed-origin", "http://allowed.example"])?,
            recorded: [Recorded::start(Compress::Shared)?, Recorded::start(Compress::Takeover)?],
            // The port was free, and is free again as soon as the listener is dropped.
            nobody: TcpListener::bind("127.0.0.1:0")?.local_addr()?,
        })
    }
}

/// Runs the scenarios one after the other, and counts the checks that passed and failed.
async fn scenarios(chrome: &Chrome, servers: &Servers, options: &Options) -> anyhow::Result<(usize, usize)> {
    let mut page = Page::new(chrome.session().await?, options.screenshots.clone());
    // The browser's own start is nothing of the page's doing.
    page.requests().await?;
    page.console().await?;

    page.scenario("first look", async |page| first_look(page, servers).await).await;
    page.scenario("conversation", async |page| conversation(page, servers).await).await;
    page.scenario("binary", async |page| binary(page, servers).await).await;
    page.scenario("appearance", async |page| appearance(page, servers).await).await;
    page.scenario("long log", async |page| long_log(page, servers).await).await;
    page.scenario("subprotocol", async |page| subprotocol(page, servers).await).await;
    let [shared, takeover] = &servers.recorded;
    page.scenario("compression", async |page| compression::scenario(page, shared).await).await;
    page.scenario("context takeover", async |page| compression::scenario(page, takeover).await).await;
    page.scenario("localhost", async |page| localhost(page, servers).await).await;
    page.scenario("silence", async |page| silence(page).await).await;
    page.scenario("bad input", async |page| bad_input(page, servers).await).await;
    page.scenario("refused connection", async |page| refused_connection(page, servers).await).await;
    page.scenario("refused origin", async |page| refused_origin(page, servers).await).await;
    page.scenario("requests", async |page| requests(page, servers).await).await;
    Ok(page.counts())
}

/// The controls that are usable while there is no connection, in the order of the page.
const IDLE: [&str; 3] = ["connectionUrl", "connectButton", "subprotocol"];
/// The controls that are usable while the connection is open, in the order of the page.
const OPEN: [&str; 4] = ["sendMessage", "sendButton", "closeButton", "binary"];

/// Script: the ids of the controls that are usable.
const USABLE: &str =
    "return [...document.querySelectorAll('input, button')].filter((c) => !c.disabled).map((c) => c.id)";
/// Script: the id of what has the focus.
const FOCUS: &str = "return document.activeElement.id";
/// Script: why the state is what it is.
const DETAIL: &str = "return document.getElementById('stateDetail').textContent";

async fn first_look(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    let heading = "return [document.title, document.querySelector('h1').textContent]";
    let name = "WebSocket Sample Application";
    page.expect("the title and the heading name the application", heading, json!([name, name])).await?;
    page.expect_state("Ready to connect...").await?;
    page.expect("the URL and Connect are usable, and nothing else", USABLE, json!(IDLE)).await?;
    let url = "return document.getElementById('connectionUrl').value";
    let expected = format!("ws://{}/ws", servers.plain.addr());
    page.expect("the URL is this server's", url, json!(expected)).await?;
    let columns = "return [...document.querySelectorAll('th[scope=col]')].map((th) => th.textContent)";
    page.expect("the log has its three columns", columns, json!(["From", "To", "Data"])).await?;
    let nameless = "return [...document.querySelectorAll('input')]
        .filter((input) => input.labels.length !== 1).map((input) => input.id)";
    page.expect("every field has a label", nameless, json!([])).await?;
    let live = "return document.getElementById('stateLabel').closest('[aria-live]').ariaLive";
    page.expect("a screen reader is told of the state", live, json!("polite")).await
}

async fn conversation(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    // Some states pass too fast to be seen from outside: let the page's own DOM tell of them.
    page.script(
        "window.states = [];
        const usable = () => { USABLE };
        const label = document.getElementById('stateLabel');
        new MutationObserver(() => states.push([label.textContent, usable()])).observe(label, {childList: true});"
            .replace("USABLE", USABLE)
            .as_str(),
    )
    .await?;

    page.click("connectButton").await?;
    page.expect_state("Open").await?;
    page.expect_rows("the log tells of the opening", json!([["Connection opened"]])).await?;
    page.expect("the message, Send, Close Socket are usable, and nothing else", USABLE, json!(OPEN)).await?;
    page.expect("the message has the focus", FOCUS, json!("sendMessage")).await?;

    page.fill("sendMessage", "hello").await?;
    page.click("sendButton").await?;
    page.expect_rows("Send sends", echoed("hello")).await?;
    page.fill("sendMessage", "by the keyboard").await?;
    page.press_enter("sendMessage").await?;
    page.expect_rows("Enter sends", echoed("by the keyboard")).await?;
    let text = "<b>x</b> & é 漢字 🎉";
    page.set_value("sendMessage", text).await?;
    page.click("sendButton").await?;
    page.expect_rows("text comes back as it went", echoed(text)).await?;
    let elements = "return document.querySelectorAll('#commsLog td *').length";
    page.expect("no text became HTML", elements, json!(0)).await?;

    page.click("closeButton").await?;
    page.expect_state("Closed").await?;
    page.expect_rows("the log tells of the closing", closed(1000, "Closing from client")).await?;
    let states = json!([["Connecting...", []], ["Open", OPEN], ["Closing...", []], ["Closed", IDLE]]);
    page.expect("each state had its controls", "return window.states", states).await?;
    page.expect("Connect has the focus", FOCUS, json!("connectButton")).await?;

    page.press_enter("connectionUrl").await?;
    page.expect_state("Open").await?;
    page.expect_rows("Enter in the URL connects again", json!([["Connection opened"]])).await?;
    page.fill("sendMessage", "second").await?;
    page.press_enter("sendMessage").await?;
    page.expect_rows("the second connection echoes once", echoed("second")).await?;
    page.click("closeButton").await?;
    page.expect_rows("the second connection closes", closed(1000, "Closing from client")).await
}

async fn binary(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    page.connect().await?;
    page.click("binary").await?;
    page.fill("sendMessage", "hello").await?;
    page.press_enter("sendMessage").await?;
    let shown = "[binary, 5 bytes] 68 65 6c 6c 6f";
    page.expect_rows("the switch sends the text's bytes", echoed(shown)).await?;
    page.set_value("sendMessage", &"é".repeat(200)).await?;
    page.press_enter("sendMessage").await?;
    let shown = format!("[binary, 400 bytes] {}…", "c3 a9 ".repeat(128));
    page.expect_rows("many bytes are cut in the log", echoed(&shown)).await?;
    page.click("binary").await?;
    page.set_value("sendMessage", &"x".repeat(20_000)).await?;
    page.press_enter("sendMessage").await?;
    let shown = format!("{}… [text, 20000 code units]", "x".repeat(10_000));
    page.expect_rows("so is a long text", echoed(&shown)).await
}

async fn appearance(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    page.connect().await?;
    for text in ["hello", "a longer message, to see how the lines break when there is little room for them"] {
        page.fill("sendMessage", text).await?;
        page.press_enter("sendMessage").await?;
        page.expect_rows("a message for the picture", echoed(text)).await?;
    }
    let background = "return getComputedStyle(document.body).backgroundColor";
    page.emulate("light", 960).await?;
    page.expect("a light page where light is preferred", background, json!("rgb(245, 246, 248)")).await?;
    page.screenshot("light").await?;
    page.emulate("dark", 960).await?;
    page.expect("a dark page where dark is preferred", background, json!("rgb(18, 21, 26)")).await?;
    page.screenshot("dark").await?;
    page.emulate("light", 320).await?;
    let widths = "const page = document.documentElement;
        return [innerWidth, page.scrollWidth - page.clientWidth]";
    page.expect("320 pixels are wide enough", widths, json!([320, 0])).await?;
    page.screenshot("narrow").await?;
    page.click("closeButton").await?;
    page.expect_state("Closed").await?;
    page.emulate_nothing().await
}

async fn long_log(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    page.connect().await?;
    page.script(
        "for (let i = 1; i <= 600; i++) {
            document.getElementById('sendMessage').value = `message ${i}`;
            document.getElementById('sendButton').click();
        }",
    )
    .await?;
    let last = "const rows = document.getElementById('commsLog').rows;
        return [rows.length, ...[...rows[rows.length - 1].cells].map((cell) => cell.textContent)]";
    let expected = json!([1000, "Server", "Client", "message 600"]);
    page.expect("the log keeps the newest 1000 rows", last, expected).await?;
    let below = "const view = document.getElementById('logView');
        return view.scrollHeight > view.clientHeight
            && view.scrollHeight - view.scrollTop - view.clientHeight < 2";
    page.expect("the log shows the newest row", below, json!(true)).await?;
    page.script("document.getElementById('logView').scrollTop = 0").await?;
    page.next_picture().await?;
    page.fill("sendMessage", "one more").await?;
    page.press_enter("sendMessage").await?;
    let last = "return document.getElementById('commsLog').lastElementChild.lastElementChild.textContent";
    page.expect("one more message comes back", last, json!("one more")).await?;
    let above = "const view = document.getElementById('logView');
        return view.scrollTop < view.scrollHeight / 2";
    page.expect("who scrolled up is left there", above, json!(true)).await
}

async fn subprotocol(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.chat.addr())).await?;
    let url = "return document.getElementById('connectionUrl').value";
    let expected = format!("ws://{}{OTHER_PATH}", servers.chat.addr());
    page.expect("the URL has the path that the server was given", url, json!(expected)).await?;
    page.fill("subprotocol", "unknown, chat").await?;
    page.press_enter("subprotocol").await?;
    page.expect_state("Open").await?;
    let rows = json!([["Connection opened. Subprotocol: chat"]]);
    page.expect_rows("the server chose the one it knows", rows).await?;
    page.expect("the state line names it", DETAIL, json!("Subprotocol: chat")).await
}

async fn localhost(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&format!("http://localhost:{}/", servers.plain.addr().port())).await?;
    page.connect().await?;
    page.fill("sendMessage", "by name").await?;
    page.press_enter("sendMessage").await?;
    page.expect_rows("the page works by the name localhost", echoed("by name")).await
}

/// Before anything goes wrong on purpose, the browser has nothing to complain about: no script
/// error, and nothing that the page's own content security policy forbids it.
async fn silence(page: &mut Page) -> anyhow::Result<()> {
    let complaints = page.console().await?;
    page.check("the console is empty", complaints.is_empty(), &complaints)
}

async fn bad_input(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    page.fill("connectionUrl", "ws://[bad").await?;
    page.press_enter("connectionUrl").await?;
    page.expect_state("Closed").await?;
    let named = format!("return (() => {{ {DETAIL} }})().includes('ws://[bad')");
    page.expect("the state line names the bad URL", &named, json!(true)).await?;
    page.expect_last_row("so does the log", &["Connection failed.", "ws://[bad"]).await?;
    page.expect("the URL and Connect are usable", USABLE, json!(IDLE)).await?;
    page.expect("the URL has the focus", FOCUS, json!("connectionUrl")).await?;

    page.fill("connectionUrl", &format!("ws://{}/ws", servers.plain.addr())).await?;
    page.fill("subprotocol", "not a token").await?;
    page.press_enter("subprotocol").await?;
    page.expect_last_row("the log names a bad subprotocol", &["Connection failed.", "not a token"]).await?;
    page.expect_state("Closed").await?;

    page.fill("subprotocol", "").await?;
    page.connect().await?;
    page.fill("sendMessage", "still alive").await?;
    page.press_enter("sendMessage").await?;
    page.expect_rows("the page works after that", echoed("still alive")).await
}

async fn refused_connection(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.plain.addr())).await?;
    let url = format!("ws://{}/ws", servers.nobody);
    page.fill("connectionUrl", &url).await?;
    page.click("connectButton").await?;
    page.expect_state("Closed").await?;
    expect_refusal(page, &url).await?;

    page.fill("connectionUrl", &format!("ws://{}/ws", servers.plain.addr())).await?;
    page.connect().await
}

async fn refused_origin(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    page.open(&page_of(servers.strict.addr())).await?;
    page.click("connectButton").await?;
    page.expect_state("Closed").await?;
    let url = format!("ws://{}/ws", servers.strict.addr());
    expect_refusal(page, &url).await?;
    let complaints = page.console().await?;
    let cause = complaints.iter().any(|line| line.contains("403"));
    page.check("the server answered 403", cause, &complaints)
}

/// The page says that it could not connect, and is as usable as before.
async fn expect_refusal(page: &mut Page, url: &str) -> anyhow::Result<()> {
    let reason = format!("Could not connect to {url}");
    page.expect("the state line says why", DETAIL, json!(reason)).await?;
    let rows = json!([[format!("Connection failed. {reason}")], ["Connection closed. Code: 1006. Reason: "]]);
    page.expect_rows("the log tells of the failure, with 1006", rows).await?;
    page.expect("the URL and Connect are usable", USABLE, json!(IDLE)).await
}

/// Over the whole run, the page was all that the browser loaded, and it connected to where it was
/// told to.
async fn requests(page: &mut Page, servers: &Servers) -> anyhow::Result<()> {
    let Servers { plain, chat, strict, recorded, nobody } = servers;
    let recorded = recorded.each_ref().map(Recorded::addr);
    let pages = [plain, chat, strict].map(ServerProcess::addr).into_iter().chain(recorded);
    let mut expected: BTreeSet<String> = pages.map(page_of).collect();
    let port = plain.addr().port();
    expected.insert(format!("http://localhost:{port}/"));
    expected.insert(format!("ws://localhost:{port}/ws"));
    let sockets = [plain.addr(), strict.addr(), *nobody].into_iter().chain(recorded);
    expected.extend(sockets.map(|addr| format!("ws://{addr}/ws")));
    expected.insert(format!("ws://{}{OTHER_PATH}", chat.addr()));
    let seen = page.requests().await?;
    let elsewhere: Vec<String> = seen.difference(&expected).cloned().collect();
    page.check("no request went elsewhere", elsewhere.is_empty(), &elsewhere)?;
    let missing: Vec<String> = expected.difference(&seen).cloned().collect();
    ensure!(missing.is_empty(), "the browser's record of its requests lacks {missing:?}");
    Ok(())
}

/// The row of a closing handshake.
fn closed(code: u16, reason: &str) -> serde_json::Value {
    json!([[format!("Connection closed. Code: {code}. Reason: {reason}")]])
}
