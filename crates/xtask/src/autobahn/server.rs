//! The suite as a client of `framewright echo`.

use std::path::Path;

use anyhow::ensure;
use clap::Args;
use framewright_cli::Compress;
use framewright_testkit::programs::process::Running;
use framewright_testkit::programs::server::ServerProcess;
use framewright_testkit::programs::workspace::Workspace;

use super::runner;
use super::runs::{AGENT, Certificate, Common, Outcome, Run, play_all};
use crate::echo_server;

/// How to test the server.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Echo chunk by chunk, without ever holding a whole message.
    #[arg(long)]
    stream: bool,
    #[command(flatten)]
    common: Common,
}

/// Has the suite play its cases against a server for each way to compress.
///
/// # Errors
/// If the suite or the echo program cannot be run, and if a report has a failure.
pub(super) fn run(options: &Options, workspace: &Workspace, wstest: &Path) -> anyhow::Result<()> {
    let modes = options.common.modes(&Compress::MODES);
    let runs: Vec<_> = modes.iter().map(|&mode| prepare(options, mode)).collect::<Result<_, _>>()?;
    let results = play_all(runs, |run| play(run, wstest, &options.common));
    let region = if options.stream { "autobahn:server-stream" } else { "autobahn:server" };
    options.common.conclude(results, workspace, region)
}

/// Starts a server that compresses in this way.
fn prepare(options: &Options, mode: Compress) -> anyhow::Result<(Run, ServerProcess, Compress)> {
    let name = mode.to_string();
    let mut args = vec!["--any-path", "--compress", &name];
    if options.stream {
        args.push("--stream");
    }
    let run = options.common.prepare(name.clone())?;
    let server = match &run.certificate {
        None => echo_server::start(&args)?,
        Some(Certificate { file, key }) => echo_server::start_with_tls(&args, file, key)?,
    };
    println!("framewright echo {} listens on {}, process {}", args.join(" "), server.addr(), server.pid());
    Ok((run, server, mode))
}

/// Runs the suite against the server, and judges its report.
fn play(
    (run, mut server, mode): (Run, ServerProcess, Compress),
    wstest: &Path,
    common: &Common,
) -> anyhow::Result<Outcome> {
    let url = run.url(server.addr());
    let spec = run.write_spec(&runner::against_server(AGENT, &url, &run.reports, &common.cases()))?;
    let suite = Running::start("wstest", &mut runner::command(wstest, "fuzzingclient", &spec)?)?;
    let played = runner::follow(suite, None, &run.name)?;
    ensure!(server.is_running(), "the echo program ended during the run, at case {}", played.last_case);
    common.judge(&run, &played, "fuzzing client", format!("`--compress {mode}`"), mode)
}
