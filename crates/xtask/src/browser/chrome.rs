//! The browser and its driver: two programs that end with a [`Chrome`].

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use framewright_testkit::programs::process::found_in;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{Capabilities, WebDriver};

/// A running `chromedriver`, and the headless Chromium that it controls once there is a session.
///
/// Dropping it ends both.
pub(super) struct Chrome {
    driver: Child,
    addr: SocketAddr,
    browser: OnceLock<u64>,
    profile: TempDir,
    /// Arguments for the browser beside the usual ones.
    more: Vec<String>,
}

impl Chrome {
    /// Starts `chromedriver` on a free port. The browser starts with the session.
    pub(super) fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// Starts `chromedriver`, whose browser gets these arguments too.
    pub(super) fn start_with(more: &[String]) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start chromedriver (Debian: the packages chromium and chromium-driver)")?;
        let stdout = driver.stdout.take().expect("stdout was asked for as a pipe");
        // From here on, leaving this function early ends the driver.
        let unknown = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut chrome =
            Self { driver, addr: unknown, browser: OnceLock::new(), profile, more: more.to_vec() };
        let port =
            found_in(stdout, port_in).recv_timeout(START_DEADLINE).context("chromedriver did not start")?;
        chrome.addr.set_port(port);
        Ok(chrome)
    }

    /// Starts the browser, with an empty profile, and records its console and its requests.
    pub(super) async fn session(&self) -> anyhow::Result<WebDriver> {
        // A proxy that the environment names is for elsewhere: the driver is on this machine.
        let client = reqwest::Client::builder().no_proxy().timeout(COMMAND_DEADLINE).build()?;
        let session = WebDriver::builder(format!("http://{}", self.addr), self.capabilities())
            .client(client)
            .connect()
            .await
            .context("the browser did not start")?;
        let browser = session.handle().capabilities().get("goog:processID").and_then(Value::as_u64);
        if let Some(id) = browser {
            self.browser.get_or_init(|| id);
        }
        // The end of the driver is the end of the session; a session that ends itself would block
        // this thread while it is dropped, for as long as a driver that hangs lets it wait.
        session.clone().leak().context("the session has ended")?;
        Ok(session)
    }

    fn capabilities(&self) -> Capabilities {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let args = [
            "--headless",
            // Chromium's sandbox refuses to run as root, which is what a container often is; the
            // browser loads this project's own page and nothing else.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
        ];
        let args: Vec<&str> = args.into_iter().chain(self.more.iter().map(String::as_str)).collect();
        let mut capabilities = Capabilities::new();
        let entries = [
            ("browserName", json!("chrome")),
            ("goog:chromeOptions", json!({ "args": args })),
            ("goog:loggingPrefs", json!({ "browser": "ALL", "performance": "ALL" })),
        ];
        for (name, value) in entries {
            capabilities.set(name, value).expect("a JSON value is serialized as it is");
        }
        capabilities
    }

    /// Asks the driver to end its browser and then itself, and says whether it did.
    fn shut_down(&mut self) -> bool {
        let asked = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect_timeout(&self.addr, END_DEADLINE)?;
            stream.set_read_timeout(Some(END_DEADLINE))?;
            write!(stream, "GET /shutdown HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr)?;
            let mut answer = [0; 1];
            stream.read(&mut answer).map(drop)
        };
        if asked().is_err() {
            return false;
        }
        let deadline = Instant::now() + END_DEADLINE;
        while Instant::now() < deadline {
            if matches!(self.driver.try_wait(), Ok(Some(_))) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        if self.shut_down() {
            return;
        }
        // These fail only for a process that has already ended.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if let Some(id) = self.browser.get() {
            // The standard library ends children only, and the browser is the driver's child.
            let _ = Command::new("sh").args(["-c", "kill -KILL \"$1\"", "sh", &id.to_string()]).status();
        }
    }
}

impl fmt::Debug for Chrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chrome").field("addr", &self.addr).field("browser", &self.browser).finish()
    }
}

/// How long `chromedriver` may take until it listens.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// How long one command may take; the longest is to start the browser.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How long each step of the orderly end may take.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// The port in the line `ChromeDriver was started successfully on port 12345.`
fn port_in(line: &str) -> Option<u16> {
    let (_, port) = line.split_once("started successfully on port ")?;
    port.trim().trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_line_that_tells_of_success() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 43591."), Some(43591));
        assert_eq!(port_in("Starting ChromeDriver 156.0.8078.79 (a21ce95c) on port 0"), None);
    }
}
