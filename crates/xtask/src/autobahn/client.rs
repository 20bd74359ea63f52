//! The suite as a server, whose clients are `crates/client/examples/autobahn.rs`,
//! `crates/tokio/examples/tokio_autobahn_client.rs` and `tokio_autobahn_h2_client.rs` beside that.
//!
//! The suite does not speak HTTP/2. With the API `tokio-h2` nghttpx takes the client's HTTP/2, and
//! makes a connection of HTTP/1.1 of each stream.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use framewright_cli::Compress;
use framewright_testkit::programs::process::Running;
use framewright_testkit::programs::workspace::Workspace;
use serde_json::json;

use super::runs::{AGENT, Certificate, Common, Outcome, Run, play_all};
use super::{examples, runner};
use crate::free_port;
use crate::peers::proxy_programs::{Started, nghttpx, nghttpx_settings};

/// How to test the client.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this API of the clients (without this option: all but `tokio-h2`, which needs nghttpx).
    #[arg(long, conflicts_with = "update_docs")]
    api: Option<Api>,
    #[command(flatten)]
    common: Common,
}

/// The APIs of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Api {
    /// The blocking one, split into its halves.
    Blocking,
    /// The one that lives in its caller's event loop.
    Mio,
    /// That of `framewright-tokio`.
    Tokio,
    /// That of `framewright-tokio` for HTTP/2, through nghttpx.
    TokioH2,
}

/// The APIs that need no more than the suite.
const USUAL: [Api; 3] = [Api::Blocking, Api::Mio, Api::Tokio];

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking => "blocking",
            Self::Mio => "mio",
            Self::Tokio => "tokio",
            Self::TokioH2 => "tokio-h2",
        })
    }
}

impl Api {
    /// Builds the example that uses it.
    fn example(self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        match self {
            Self::Blocking | Self::Mio => examples::build(workspace, "framewright-client", "autobahn"),
            Self::Tokio => examples::build(workspace, "framewright-tokio", "tokio_autobahn_client"),
            Self::TokioH2 => {
                examples::build_with(workspace, "framewright-tokio", "h2", "tokio_autobahn_h2_client")
            }
        }
    }
}

/// Has the suite play its cases with each API of the client, for each way to compress.
///
/// # Errors
/// If the suite or the client cannot be run, and if a report has a failure.
pub(super) fn run(options: &Options, workspace: &Workspace, wstest: &Path) -> anyhow::Result<()> {
    let apis = options.api.as_ref().map_or(&USUAL[..], std::slice::from_ref);
    ensure!(!options.common.tls || !apis.contains(&Api::TokioH2), "the API tokio-h2 is tested without TLS");
    let examples = apis.iter().map(|&api| api.example(workspace)).collect::<anyhow::Result<Vec<_>>>()?;

    let mut runs = Vec::new();
    for &mode in options.common.modes(&Compress::ALL) {
        for (&api, example) in apis.iter().zip(&examples) {
            runs.push((options.common.prepare(format!("{api}-{mode}"))?, api, example.as_path(), mode));
        }
    }
    let results = play_all(runs, |run| play(run, wstest, &options.common));
    options.common.conclude(results, workspace, "autobahn:client")
}

/// Starts the suite, has the client play all cases and ask for the report, and judges that.
fn play(
    (run, api, example, mode): (Run, Api, &Path, Compress),
    wstest: &Path,
    common: &Common,
) -> anyhow::Result<Outcome> {
    // Each run has a suite of its own: one thread of Python serves no two clients in less time.
    let (suite, addr) = free_port::start("wstest", |addr| {
        let mut spec = runner::as_server(&run.url(addr), &run.reports, &common.cases());
        if let Some(Certificate { file, key }) = &run.certificate {
            // As options of the command line they have no effect.
            (spec["cert"], spec["key"]) = (json!(file), json!(key));
        }
        runner::command(wstest, "fuzzingserver", &run.write_spec(&spec)?)
    })?;
    let mut arguments = vec!["--compress".to_owned(), mode.to_string()];
    if api == Api::Mio {
        arguments.push("--mio".to_owned());
    }
    let proxy = match api {
        Api::TokioH2 => Some(Started::new(&nghttpx(from_http2), addr)?),
        _ => None,
    };
    let mut client = Command::new(example);
    client.arg(run.url(addr)).args(["--agent", AGENT]).args(&arguments);
    if let Some(proxy) = &proxy {
        client.args(["--through", &proxy.addr.to_string()]);
    }
    if let Some(Certificate { file, .. }) = &run.certificate {
        client.arg("--ca").arg(file);
    }
    // The suite's output shows the progress.
    client.stdin(Stdio::null()).stdout(Stdio::null());
    let client = Running::start("the client", &mut client)?;
    let played = runner::follow(suite, Some(client), &run.name)?;
    let tested = match (api, &proxy) {
        (_, Some(proxy)) => format!("tokio `{}` over HTTP/2, through {}", arguments.join(" "), proxy.version),
        (Api::Tokio, _) => format!("tokio `{}`", arguments.join(" ")),
        _ => format!("`{}`", arguments.join(" ")),
    };
    common.judge(&run, &played, "fuzzing server", tested, mode)
}

/// HTTP/2 without TLS in front, HTTP/1.1 behind.
fn from_http2(addr: SocketAddr, server: SocketAddr, _: &Path) -> String {
    nghttpx_settings(addr, server)
}
