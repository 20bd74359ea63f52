//! The suite as a client of `framewright echo`, or of an example: `tokio_autobahn_server.rs` of
//! `crates/tokio`, `axum_autobahn_server.rs` of `crates/axum`.
//!
//! The suite does not speak HTTP/2. With the driver `axum-h2` haproxy takes its HTTP/1.1, and opens
//! each WebSocket as a stream of HTTP/2 (RFC 8441).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use framewright_cli::Compress;
use framewright_testkit::programs::process::Running;
use framewright_testkit::programs::server::ServerProcess;
use framewright_testkit::programs::workspace::Workspace;

use super::runs::{AGENT, Certificate, Common, Outcome, Run, play_all};
use super::{examples, runner};
use crate::echo_server;
use crate::peers::proxy_programs::{Started, haproxy, haproxy_settings};

/// How to test the server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The driver of the server.
    #[arg(long, value_enum, default_value_t = Driver::Mio)]
    driver: Driver,
    /// Echo chunk by chunk, without ever holding a whole message.
    #[arg(long)]
    stream: bool,
    #[command(flatten)]
    common: Common,
}

/// The drivers of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Driver {
    /// `framewright-server`, by the program `framewright echo`.
    Mio,
    /// `framewright-tokio`, on one thread, by an example of it.
    Tokio,
    /// `framewright-axum`, on one thread, by an example of it.
    Axum,
    /// `framewright-axum` over HTTP/2, behind haproxy.
    AxumH2,
}

impl Driver {
    /// The package and its example that is the server; `None` for the echo program.
    fn example(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Mio => None,
            Self::Tokio => Some(("framewright-tokio", "tokio_autobahn_server")),
            Self::Axum | Self::AxumH2 => Some(("framewright-axum", "axum_autobahn_server")),
        }
    }
}

/// Has the suite play its cases against a server for each way to compress.
///
/// # Errors
/// If the suite or the echo program cannot be run, and if a report has a failure.
pub(super) fn run(options: &Options, workspace: &Workspace, wstest: &Path) -> anyhow::Result<()> {
    ensure!(options.driver == Driver::Mio || !options.common.tls, "the examples do not speak TLS");
    ensure!(
        matches!(options.driver, Driver::Mio | Driver::Tokio) || !options.stream,
        "the example of the driver axum holds whole messages"
    );
    let modes = options.common.modes(&Compress::MODES);
    let build = |(package, example)| examples::build(workspace, package, example);
    let example = options.driver.example().map(build).transpose()?;
    let prepare = |&mode| prepare(options, mode, example.as_deref());
    let runs: Vec<_> = modes.iter().map(prepare).collect::<Result<_, _>>()?;
    let results = play_all(runs, |run| play(run, wstest, &options.common));
    let region = match (options.driver, options.stream) {
        (Driver::Mio, false) => "autobahn:server",
        (Driver::Mio, true) => "autobahn:server-stream",
        (Driver::Tokio, false) => "autobahn:server-tokio",
        (Driver::Tokio, true) => "autobahn:server-tokio-stream",
        (Driver::Axum, _) => "autobahn:server-axum",
        (Driver::AxumH2, _) => "autobahn:server-axum-h2",
    };
    options.common.conclude(results, workspace, region)
}

/// Starts a server that compresses in this way: the example, or else the echo program.
fn prepare(
    options: &Options,
    mode: Compress,
    example: Option<&Path>,
) -> anyhow::Result<(Run, Served, Compress)> {
    let name = mode.to_string();
    let mut args = vec!["--compress", &name];
    if options.stream {
        args.push("--stream");
    }
    if options.driver == Driver::AxumH2 {
        args.push("--only-http2");
    }
    let run = options.common.prepare(name.clone())?;
    let (program, server) = match (example, &run.certificate) {
        (Some(example), _) => {
            let program = "the example";
            (program, ServerProcess::start(program, Command::new(example).args(&args))?)
        }
        (None, certificate) => {
            args.push("--any-path");
            let server = match certificate {
                None => echo_server::start(&args)?,
                Some(Certificate { file, key }) => echo_server::start_with_tls(&args, file, key)?,
            };
            ("framewright echo", server)
        }
    };
    println!("{program} {} listens on {}, process {}", args.join(" "), server.addr(), server.pid());
    let proxy = match options.driver {
        Driver::AxumH2 => Some(Started::new(&haproxy(to_http2), server.addr())?),
        _ => None,
    };
    Ok((run, Served { server, proxy }, mode))
}

/// A server, and the proxy in front of it, if there is one.
struct Served {
    server: ServerProcess,
    proxy: Option<Started>,
}

/// HTTP/1.1 in front, HTTP/2 without TLS behind.
fn to_http2(addr: SocketAddr, server: SocketAddr, _: &Path) -> String {
    haproxy_settings(addr, "http", "", &format!("{server} proto h2"))
}

/// Runs the suite against the server, and judges its report.
fn play(
    (run, mut served, mode): (Run, Served, Compress),
    wstest: &Path,
    common: &Common,
) -> anyhow::Result<Outcome> {
    let Served { server, proxy } = &mut served;
    let url = run.url(proxy.as_ref().map_or(server.addr(), |proxy| proxy.addr));
    let spec = run.write_spec(&runner::against_server(AGENT, &url, &run.reports, &common.cases()))?;
    let suite = Running::start("wstest", &mut runner::command(wstest, "fuzzingclient", &spec)?)?;
    let played = runner::follow(suite, None, &run.name)?;
    ensure!(server.is_running(), "the server ended during the run, at case {}", played.last_case);
    let behind =
        proxy.as_ref().map_or(String::new(), |proxy| format!(" over HTTP/2, behind {}", proxy.version));
    common.judge(&run, &played, "fuzzing client", format!("`--compress {mode}`{behind}"), mode)
}
