//! WebSockets of a page that came by HTTP/2, in Chromium: each has to be a stream of the connection
//! of the page (RFC 8441).

use anyhow::ensure;
use axum::http::Version;

use super::tls::{Counts, in_chromium};
use crate::certificates::{Authority, Made};
use crate::http2::{Http2Server, Told};

/// A function that takes nothing and promises the JSON of the checks.
const SCRIPT: &str = include_str!("http2.js");

/// How many sockets the script opens: 2, 3 that the server closes, 1 that is not read, 20.
const SOCKETS: usize = 26;

/// Runs the script, and looks at what the server has seen of it.
///
/// # Errors
/// If a check failed, a program could not be started, or the script did not end in time.
pub(super) fn run() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("framewright-browser-").tempdir()?;
    let authority = Authority::new(folder.path(), "Test")?;
    let certificate = authority.certificate("localhost", Made::Well)?;
    let server = Http2Server::start_tls(&certificate)?;
    let url = format!("https://localhost:{}/", server.addr.port());
    let mut counts = Counts::default();
    println!("Chromium");
    counts.note(in_chromium(&url, &certificate.key, SCRIPT));
    println!("the server");
    counts.note_one("each socket was a stream of the connection of the page", on_the_page(&server));
    crate::conclusion::conclude(counts.passed, counts.failed)
}

/// All that was opened has to be an extended CONNECT on the connection of the page.
fn on_the_page(server: &Http2Server) -> anyhow::Result<String> {
    let (mut page, mut sockets) = (None, 0);
    for told in server.told(SOCKETS - 4)? {
        match told {
            Told::Page(client, version) => {
                ensure!(version == Version::HTTP_2, "the page went by {version:?}");
                page = Some(client);
            }
            Told::Opened(opened) => {
                ensure!(opened.is_a_stream() && Some(opened.client) == page, "{opened:?}, the page {page:?}");
                sockets += 1;
            }
            Told::Ended(..) => {}
        }
    }
    ensure!(sockets == SOCKETS, "{sockets} sockets instead of {SOCKETS}");
    Ok(format!("{sockets} extended CONNECTs of HTTP/2"))
}
