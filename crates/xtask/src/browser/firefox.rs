//! Firefox without a driver: it speaks WebDriver BiDi itself, over a WebSocket.
//!
//! Its authorities are those of its profile, which NSS's `certutil` writes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use framewright_client::blocking::Client;
use framewright_client::{CloseCode, Message};
use framewright_testkit::programs::process::{Running, say};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A running, headless Firefox with an empty profile, and the connection that controls it.
pub(super) struct Firefox {
    client: Client,
    /// The number of the last command.
    last: u64,
    _process: Running,
    _profile: TempDir,
}

impl Firefox {
    /// Starts one that trusts the authority in this file.
    ///
    /// # Errors
    /// If a program is not there, or Firefox does not listen within the deadline.
    pub(super) fn start(authority: &Path) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("framewright-firefox-").tempdir()?;
        let database = format!("sql:{}", profile.path().display());
        let certutil = || {
            let mut certutil = Command::new("certutil");
            certutil.args(["-d", &database]);
            certutil
        };
        say(certutil().args(["-N", "--empty-password"]))
            .context("this needs certutil (Debian: the package libnss3-tools)")?;
        say(certutil().args(["-A", "-n", "test", "-t", "C,,", "-i"]).arg(authority))?;

        let mut command = Command::new("firefox-esr");
        command.args(["--headless", "--no-remote", "--remote-debugging-port=0", "--profile"]);
        command.arg(profile.path()).env("HOME", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Running::start("Firefox", &mut command)
            .context("this needs Firefox (Debian: the package firefox-esr)")?;
        let stderr = process.0.stderr.take().context("stderr was asked for as a pipe")?;
        let (found, url) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("BiDi listening on ") {
                    // Nobody listens once the deadline is over.
                    let _ = found.send(url.trim().to_owned());
                }
            }
        });
        let url = url.recv_timeout(START_DEADLINE).context("Firefox did not start")?;
        let client = Client::connect(format!("{url}/session").as_str())?;
        let mut firefox = Self { client, last: 0, _process: process, _profile: profile };
        firefox.command("session.new", &json!({ "capabilities": {} }))?;
        Ok(firefox)
    }

    /// Loads a page, runs an expression in it that promises a text, and returns the text.
    ///
    /// # Errors
    /// If the page is not loaded or the promise not kept, within the deadline.
    pub(super) fn run(&mut self, url: &str, expression: &str) -> anyhow::Result<String> {
        let tree = self.command("browsingContext.getTree", &json!({}))?;
        let context = &tree["contexts"][0]["context"];
        self.command(
            "browsingContext.navigate",
            &json!({ "context": context, "url": url, "wait": "complete" }),
        )?;
        let target = json!({ "context": context });
        let evaluate = json!({ "expression": expression, "target": target, "awaitPromise": true });
        let result = self.command("script.evaluate", &evaluate)?;
        ensure!(result["type"] == "success", "the script has failed: {}", result["exceptionDetails"]["text"]);
        let text = result["result"]["value"].as_str().context("the script promises a text")?;
        Ok(text.to_owned())
    }

    /// Sends a command, and returns its result.
    fn command(&mut self, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.last += 1;
        let command = json!({ "id": self.last, "method": method, "params": params });
        self.client.send_text(&command.to_string())?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let Some(Message::Text(text)) = self.client.receive_before(deadline)? else {
                bail!("{method}: no answer in a text");
            };
            let answer: Value = serde_json::from_str(text)?;
            if answer["id"] == self.last {
                ensure!(answer["type"] == "success", "{method}: {}", answer["message"]);
                return Ok(answer["result"].clone());
            }
        }
    }
}

impl Drop for Firefox {
    /// Asks Firefox to end, with all its processes.
    fn drop(&mut self) {
        if self.command("browser.close", &json!({})).is_ok() {
            // It ends the connection when it ends, clean or not.
            let _ = self.client.close_and_wait(CloseCode::NORMAL, "");
        }
    }
}

/// How long the script may take: it needs some seconds.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// How long Firefox may take until it listens.
const START_DEADLINE: Duration = Duration::from_secs(60);
