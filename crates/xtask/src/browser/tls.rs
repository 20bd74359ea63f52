//! The page over `https:`, and its connections over `wss:`, in Chromium and in Firefox.
//!
//! Both load the page from an echo program with a certificate that is made here, and run the same
//! script in it: `tls.js`. Chromium is told the hash of the certificate's key; Firefox has the
//! authority in its profile, and checks the certificate as it checks every other.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use framewright_testkit::programs::server::ServerProcess;
use rcgen::{KeyPair, PublicKeyData as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::chrome::Chrome;
use super::firefox::{DEADLINE, Firefox};
use crate::certificates::{Authority, Made};
use crate::echo_server;

/// Runs the script in both browsers.
///
/// # Errors
/// If a check failed, a program could not be started, or the script did not end within
/// [`DEADLINE`].
pub(super) fn run() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("framewright-browser-").tempdir()?;
    let authority = Authority::new(folder.path(), "Test")?;
    let certificate = authority.certificate("localhost", Made::Well)?;
    let server = echo_server::start_tls(&certificate, &["--max-message", &MAX_MESSAGE.to_string()])?;
    let url = format!("https://localhost:{}/", server.addr().port());
    let mut counts = Counts::default();
    println!("Chromium");
    counts.note(in_chromium(&url, &certificate.key, SCRIPT));
    println!("Firefox");
    counts.note(in_firefox(&url, &authority));
    drop::<ServerProcess>(server);
    crate::conclusion::conclude(counts.passed, counts.failed)
}

/// The largest message, and what compressing adds to one that does not get shorter.
const MAX_MESSAGE: usize = 17 << 20;

/// A function that takes nothing and promises the JSON of the [`Check`]s.
const SCRIPT: &str = include_str!("tls.js");

/// What the script has found out.
#[derive(Debug, Deserialize)]
pub(super) struct Check {
    what: String,
    holds: bool,
    seen: String,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl Counts {
    /// Prints what a browser has found out, and counts it.
    pub(super) fn note(&mut self, checks: anyhow::Result<Vec<Check>>) {
        match checks {
            Ok(checks) => {
                for Check { what, holds, seen } in checks {
                    if holds {
                        self.passed += 1;
                        println!("  ok {what}");
                    } else {
                        self.failed += 1;
                        println!("  FAILED {what}: {seen}");
                    }
                }
            }
            Err(error) => {
                self.failed += 1;
                println!("  FAILED {error:#}");
            }
        }
    }

    /// Prints what this program has found out, and counts it.
    pub(super) fn note_one(&mut self, what: &str, seen: anyhow::Result<String>) {
        let check = |holds, seen| Check { what: what.to_owned(), holds, seen };
        self.note(Ok(vec![
            seen.map_or_else(|error| check(false, format!("{error:#}")), |seen| check(true, seen)),
        ]));
    }
}

/// Runs a script in Chromium, which trusts the certificate with this key, on the page at `url`. The
/// script is a function that takes nothing and promises the JSON of the [`Check`]s.
///
/// # Errors
/// If the browser cannot be started, or the script fails or does not end in time.
pub(super) fn in_chromium(url: &str, key: &Path, script: &str) -> anyhow::Result<Vec<Check>> {
    let key = KeyPair::from_pem(&fs::read_to_string(key)?)?;
    let hash = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // It belongs to this block and not to what the deadline cuts short: it ends on every path.
        let chrome = Chrome::start_with(&[format!("--ignore-certificate-errors-spki-list={hash}")])?;
        let script = async {
            let driver = chrome.session().await?;
            driver.set_script_timeout(DEADLINE).await?;
            driver.goto(url).await?;
            let script =
                format!("const done = arguments[0]; ({script})().then(done, (e) => done(String(e)))");
            let said = driver.execute_async(script.as_str(), Vec::new()).await?;
            checks(said.json().as_str().context("the script returns a text")?)
        };
        timeout(2 * DEADLINE, script).await.context("Chromium did not end in time")?
    })
}

fn in_firefox(url: &str, authority: &Authority) -> anyhow::Result<Vec<Check>> {
    let mut firefox = Firefox::start(&authority.file())?;
    checks(&firefox.run(url, &format!("({SCRIPT})()"))?)
}

fn checks(said: &str) -> anyhow::Result<Vec<Check>> {
    serde_json::from_str(said).with_context(|| format!("the script has failed: {said}"))
}
