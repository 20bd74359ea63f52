//! Framewright's own chores: `cargo xtask --help` lists them.
//!
//! | command | what it proves |
//! |---|---|
//! | `autobahn client` | both APIs of the client pass the Autobahn testsuite, with each way to compress and without |
//! | `autobahn server` | the echo server passes the Autobahn testsuite, with shared compression and with context takeover |
//! | `browser` | the echo page works in a real browser, which exchanges compressed messages with the server; with `--tls` over TLS, in two browsers |
//! | `circles` | no source files of a crate depend on each other in a circle |
//! | `compliance` | every sentence of the RFCs that the code cites has a test that cites it |
//! | `full` | what CI has no time for: the rest of the Autobahn matrix, longer fuzzing, proxies, a long soak, `tests-anywhere` |
//! | `fuzz-smoke` | a short run of each fuzz target finds nothing |
//! | `instructions` | the hot paths take no more instructions than before |
//! | `memory` | nothing: it measures how much memory a server has given back to the system after crowds, with each allocator |
//! | `packages` | each crate that is published has what a registry wants, and needs nothing outside of its package |
//! | `peers` | WebSocket clients and servers of other projects exchange compressed messages with ours, also through proxies, over TLS and HTTP/2, and where they keep what they agreed to forget |
//! | `soak` | between bad peers of all kinds a server serves its good ones, and gives back what the others held |
//! | `tests-anywhere` | the tests pass on a busy machine, and with the smallest and the largest buffers of the kernel |
//!
//! Each but `memory` ends with a line `N passed, M failed`, and with exit code 1 if it found a
//! failure.

#![forbid(unsafe_code)]
// This is a program for a terminal: printing is what it does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod autobahn;
#[cfg(feature = "browser")]
mod browser;
mod certificates;
mod circles;
mod compliance;
mod conclusion;
mod echo_server;
mod free_port;
mod full;
mod fuzz_smoke;
mod http2;
mod instructions;
mod memory;
mod packages;
mod peers;
mod soak;
mod tests_anywhere;
mod wire;

use conclusion::Reported;

/// Framewright's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run the Autobahn testsuite.
    #[command(subcommand)]
    Autobahn(autobahn::Command),
    /// Try the echo page in a headless Chromium.
    #[cfg(feature = "browser")]
    Browser(browser::Options),
    /// Look for source files that depend on each other in a circle.
    Circles(circles::Options),
    /// Report which sentences of the RFCs the code and the tests cite.
    Compliance(compliance::Options),
    /// Run what CI leaves out.
    Full(full::Options),
    /// Run every fuzz target for a short while under AddressSanitizer.
    FuzzSmoke(fuzz_smoke::Options),
    /// Count the instructions of the hot paths, and compare with the baseline.
    Instructions(instructions::Options),
    /// Measure what a server holds before, during and after crowds, with each allocator.
    Memory(memory::Options),
    /// Look whether each crate that is published is ready for it.
    Packages(packages::Options),
    /// Exchange compressed messages with peers of other projects, and look at them on the wire;
    /// also through a proxy.
    Peers(peers::Options),
    /// Run a server between bad peers of all kinds, and look whether the good ones notice.
    Soak(soak::Options),
    /// Run the tests beside a load, and with the smallest and the largest buffers of the kernel.
    TestsAnywhere(tests_anywhere::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Autobahn(command) => autobahn::run(&command),
        #[cfg(feature = "browser")]
        Chore::Browser(options) => browser::run(&options),
        Chore::Circles(options) => circles::run(&options),
        Chore::Compliance(options) => compliance::run(&options),
        Chore::Full(options) => full::run(&options),
        Chore::FuzzSmoke(options) => fuzz_smoke::run(&options),
        Chore::Instructions(options) => instructions::run(&options),
        Chore::Memory(options) => memory::run(&options),
        Chore::Packages(options) => packages::run(&options),
        Chore::Peers(options) => peers::run(&options),
        Chore::Soak(options) => soak::run(&options),
        Chore::TestsAnywhere(options) => tests_anywhere::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Reported>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
