//! `cargo xtask autobahn`: the Autobahn testsuite against our servers ([`server`]), and against our
//! clients ([`client`]).
//!
//! The suite plays 517 cases and writes a report for each. Here the suite is found or installed
//! ([`suite`]), run ([`runner`], [`runs`]) and its report judged ([`report`]), once for each way to
//! compress; a summary can be put into `docs/CONFORMANCE.md` ([`docs`]).

use clap::Subcommand;
use framewright_testkit::programs::workspace::Workspace;

mod client;
mod docs;
mod examples;
mod report;
mod runner;
mod runs;
mod server;
mod suite;

/// What to test with the suite.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A server: the suite is the client of the echo program, or of an example.
    Server(server::Options),
    /// A client: the suite is the server, and our client sends back what it is sent.
    Client(client::Options),
}

/// Runs the suite and judges its reports.
///
/// # Errors
/// If the suite or what it tests cannot be run, and if a report has a failure.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let wstest = suite::find_or_install(&workspace.target.join("autobahn"))?;
    match command {
        Command::Server(options) => server::run(options, &workspace, &wstest),
        Command::Client(options) => client::run(options, &workspace, &wstest),
    }
}
