//! The suite as a client of `framewright echo`, or of `crates/tokio/examples/autobahn_server.rs`.

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
}

/// Has the suite play its cases against a server for each way to compress.
///
/// # Errors
/// If the suite or the echo program cannot be run, and if a report has a failure.
pub(super) fn run(options: &Options, workspace: &Workspace, wstest: &Path) -> anyhow::Result<()> {
    ensure!(
        options.driver == Driver::Mio || !options.common.tls,
        "the example of the driver tokio does not speak TLS"
    );
    let modes = options.common.modes(&Compress::MODES);
    let example = match options.driver {
        Driver::Mio => None,
        Driver::Tokio => Some(examples::build(workspace, "framewright-tokio", "autobahn_server")?),
    };
    let prepare = |&mode| prepare(options, mode, example.as_deref());
    let runs: Vec<_> = modes.iter().map(prepare).collect::<Result<_, _>>()?;
    let results = play_all(runs, |run| play(run, wstest, &options.common));
    let region = match (options.driver, options.stream) {
        (Driver::Mio, false) => "autobahn:server",
        (Driver::Mio, true) => "autobahn:server-stream",
        (Driver::Tokio, false) => "autobahn:server-tokio",
        (Driver::Tokio, true) => "autobahn:server-tokio-stream",
    };
    options.common.conclude(results, workspace, region)
}

/// Starts a server that compresses in this way: the example, or else the echo program.
fn prepare(
    options: &Options,
    mode: Compress,
    example: Option<&Path>,
) -> anyhow::Result<(Run, ServerProcess, Compress)> {
    let name = mode.to_string();
    let mut args = vec!["--compress", &name];
    if options.stream {
        args.push("--stream");
    }
    let run = options.common.prepare(name.clone())?;
    let (program, server) = match (example, &run.certificate) {
        (Some(example), _) => {
            let program = "the example autobahn_server";
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
    ensure!(server.is_running(), "the server ended during the run, at case {}", played.last_case);
    common.judge(&run, &played, "fuzzing client", format!("`--compress {mode}`"), mode)
}
