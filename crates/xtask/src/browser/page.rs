//! The page as a person has it: what they do to it, and what they then see.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use serde_json::{Value, json};
use thirtyfour::prelude::{By, Key, WebDriver, WebElement};
use tokio::time::sleep;

/// The page in the browser, and the record of what was checked on it.
pub(super) struct Page {
    driver: WebDriver,
    screenshots: Option<PathBuf>,
    /// How many rows of the log earlier checks have accounted for.
    rows: usize,
    passed: usize,
    failed: usize,
}

/// How long a check waits for what it expects.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long it waits between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Script: the rows of the log, each the texts of its cells.
const ROWS: &str = "return [...document.getElementById('commsLog').rows]
    .map((row) => [...row.cells].map((cell) => cell.textContent))";

/// Reporting.
impl Page {
    pub(super) fn new(driver: WebDriver, screenshots: Option<PathBuf>) -> Self {
        Self { driver, screenshots, rows: 0, passed: 0, failed: 0 }
    }

    /// Runs one scenario. Its first failure ends it; what failed is printed, with the page's log.
    pub(super) async fn scenario(
        &mut self,
        name: &str,
        scenario: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) {
        println!("{name}");
        let Err(error) = scenario(self).await else { return };
        self.failed += 1;
        println!("  FAILED {error:#}");
        match self.script(ROWS).await {
            Ok(rows) => println!("    the log on the page:{}", lines(&rows)),
            Err(error) => println!("    the log on the page cannot be read: {error:#}"),
        }
        if let Err(error) = self.screenshot(&format!("failed {name}").replace(' ', "-")).await {
            println!("    no picture: {error:#}");
        }
    }

    /// Records a check whose answer is already known; `seen` is printed if it failed.
    pub(super) fn check(&mut self, what: &str, holds: bool, seen: &impl Debug) -> anyhow::Result<()> {
        if !holds {
            bail!("{what}\n    seen: {seen:?}");
        }
        self.passed += 1;
        println!("  ok {what}");
        Ok(())
    }

    /// How many checks passed and failed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }
}

/// What a person sees.
impl Page {
    /// Waits until a script returns the expected value.
    pub(super) async fn expect(&mut self, what: &str, script: &str, expected: Value) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let seen = self.script(script).await?;
            if seen == expected {
                return self.check(what, true, &seen);
            }
            if Instant::now() > deadline {
                bail!("{what}\n    expected: {expected}\n    seen:     {seen}");
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits for the state line to show a state.
    pub(super) async fn expect_state(&mut self, state: &str) -> anyhow::Result<()> {
        let script = "return document.getElementById('stateLabel').textContent";
        self.expect(&format!("the state is {state:?}"), script, json!(state)).await
    }

    /// Waits until the rows that came since the last such check are exactly these.
    pub(super) async fn expect_rows(&mut self, what: &str, expected: Value) -> anyhow::Result<()> {
        let count = expected.as_array().map_or(0, Vec::len);
        self.expect(what, &format!("{ROWS}.slice({})", self.rows), expected).await?;
        self.rows += count;
        Ok(())
    }

    /// Waits for one more row, which contains these texts: some words in it are the browser's own.
    pub(super) async fn expect_last_row(&mut self, what: &str, texts: &[&str]) -> anyhow::Result<()> {
        let script = format!(
            "const rows = (() => {{ {ROWS} }})();
            const complete = rows.length === {} && {}.every((text) => rows.at(-1).join(' ').includes(text));
            return complete || rows.slice({});",
            self.rows + 1,
            json!(texts),
            self.rows,
        );
        self.expect(what, &script, json!(true)).await?;
        self.rows += 1;
        Ok(())
    }

    /// The lines of the browser's console since the last call, with their level.
    pub(super) async fn console(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.driver.browser_log().await?;
        Ok(entries.into_iter().map(|entry| format!("{}: {}", entry.level, entry.message)).collect())
    }

    /// Every URL that a page has requested or connected to since the last call. The browser's own
    /// pages, such as the one in its first tab, do not count.
    pub(super) async fn requests(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut urls = BTreeSet::new();
        for entry in self.driver.get_log("performance").await? {
            let event: Value = serde_json::from_str(&entry.message)?;
            let event = &event["message"];
            let document = event["params"]["documentURL"].as_str().unwrap_or_default();
            let url = match event["method"].as_str() {
                _ if document.starts_with("chrome:") => continue,
                Some("Network.requestWillBeSent") => &event["params"]["request"]["url"],
                Some("Network.webSocketCreated") => &event["params"]["url"],
                _ => continue,
            };
            let url = url.as_str().ok_or_else(|| anyhow!("a request without a URL: {event}"))?;
            urls.insert(url.to_owned());
        }
        Ok(urls)
    }

    /// Saves a picture of the whole page, if pictures were asked for.
    pub(super) async fn screenshot(&self, name: &str) -> anyhow::Result<()> {
        if let Some(folder) = &self.screenshots {
            self.driver.screenshot(&folder.join(name).with_extension("png")).await?;
        }
        Ok(())
    }
}

/// What a person does.
impl Page {
    /// Loads the page afresh.
    pub(super) async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        self.driver.goto(url).await?;
        self.rows = 0;
        Ok(())
    }

    /// Clicks Connect and waits until the connection is open.
    pub(super) async fn connect(&mut self) -> anyhow::Result<()> {
        self.click("connectButton").await?;
        self.expect_state("Open").await?;
        self.expect_last_row("the connection is open", &["Connection opened"]).await
    }

    /// Clicks a control.
    pub(super) async fn click(&self, id: &str) -> anyhow::Result<()> {
        Ok(self.element(id).await?.click().await?)
    }

    /// Types a text into a field, over what it holds. For the characters that the driver can type:
    /// those of the Basic Multilingual Plane.
    pub(super) async fn fill(&self, id: &str, text: &str) -> anyhow::Result<()> {
        let field = self.element(id).await?;
        field.clear().await?;
        Ok(field.send_keys(text).await?)
    }

    /// Puts any text into a field, as a paste does.
    pub(super) async fn set_value(&self, id: &str, text: &str) -> anyhow::Result<()> {
        self.script(&format!("document.getElementById({}).value = {}", json!(id), json!(text))).await?;
        Ok(())
    }

    /// Presses Enter in a field.
    pub(super) async fn press_enter(&self, id: &str) -> anyhow::Result<()> {
        Ok(self.element(id).await?.send_keys(Key::Enter + "").await?)
    }

    /// Makes the browser prefer a colour scheme, in a window of a width in CSS pixels.
    pub(super) async fn emulate(&self, colour_scheme: &str, width: u32) -> anyhow::Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": colour_scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Ends what [`Page::emulate`] began.
    pub(super) async fn emulate_nothing(&self) -> anyhow::Result<()> {
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [] })).await?;
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await
    }

    /// Runs a script in the page and returns what it returns.
    pub(super) async fn script(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.driver.execute(script, Vec::new()).await?.json().clone())
    }

    /// Waits until the browser has drawn the page, which is when it tells the page that it was
    /// scrolled.
    pub(super) async fn next_picture(&self) -> anyhow::Result<()> {
        let script =
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))";
        self.driver.execute_async(script, Vec::new()).await?;
        Ok(())
    }

    async fn devtools(&self, method: &str, params: Value) -> anyhow::Result<()> {
        self.driver.cdp().send_raw(method, params).await?;
        Ok(())
    }

    async fn element(&self, id: &str) -> anyhow::Result<WebElement> {
        Ok(self.driver.find(By::Id(id)).await?)
    }
}

/// The last rows of the log, one a line.
fn lines(rows: &Value) -> String {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    let shown = &rows[rows.len().saturating_sub(20)..];
    shown.iter().map(|row| format!("\n      {row}")).collect()
}

/// The address of a server's page.
pub(super) fn page_of(server: SocketAddr) -> String {
    format!("http://{server}/")
}

/// The two rows of a message and its echo.
pub(super) fn echoed(text: &str) -> Value {
    json!([["Client", "Server", text], ["Server", "Client", text]])
}
