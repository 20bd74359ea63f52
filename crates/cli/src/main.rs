//! The `framewright` program.

#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

mod bench;
#[cfg(feature = "deflate")]
mod compress;
mod echo;
mod listen;
mod page;
mod relay;
mod seconds;
mod serving;
#[cfg(feature = "tls")]
mod tls;
mod watch;

use clap::{ArgAction, Parser, Subcommand};
use std::process::ExitCode;
use tracing::Level;

/// WebSocket (RFC 6455) tools.
#[derive(Debug, Parser)]
#[command(name = "framewright", version, propagate_version = true, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Log more: -v a line for each connection, -vv also how each ends and what is refused.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a page at / and echo WebSocket messages at /ws.
    Echo(echo::Args),
    /// Serve topics: clients subscribe and publish by a small JSON protocol (docs/RELAY.md).
    Relay(relay::Args),
    Bench(bench::Args),
}

/// 0 when all went well, 1 after a failure; wrong usage ends with 2 before this returns.
fn main() -> ExitCode {
    let args = Args::parse();
    let level = match args.verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(std::io::stderr).init();
    let result = match &args.command {
        Command::Echo(args) => echo::run(args),
        Command::Relay(args) => relay::run(args),
        Command::Bench(args) => bench::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("framewright: {error:#}");
            ExitCode::FAILURE
        }
    }
}
