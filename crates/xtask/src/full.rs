//! `cargo xtask full`: what `.ci/run` leaves out because it takes longer than it usually proves.
//! For before a release, and after a change to what it is about.
//!
//! | part | why CI leaves it out |
//! |---|---|
//! | `autobahn-server`, `autobahn-stream`, `autobahn-client` | all 517 cases in all ways to echo, to use the client and to compress take an hour; CI has groups 1 to 10 once for each way to echo and each API of the client, and 12 and 13 once for each way to compress in each role, with fewer large messages |
//! | `autobahn-server-tokio`, `autobahn-stream-tokio` | the same for the server on tokio; CI has groups 1 to 10 once |
//! | `autobahn-server-axum` | the same for the server on axum, over HTTP/1.1 |
//! | `autobahn-server-h2`, `autobahn-client-h2` | the same over HTTP/2; needs haproxy and nghttpx |
//! | `autobahn-server-tls`, `autobahn-client-tls` | the same over TLS; CI plays one of the two runs of each role over it |
//! | `proxies` | needs haproxy, Apache, Caddy and nginx, and sends 4 GB through them |
//! | `deployment` | needs those four, lighttpd, Varnish, nghttpx and Squid, and waits for time-outs |
//! | `browser-tls` | needs Firefox, for what other tests show too: TLS with browsers |
//! | `browser-http2` | needs what `browser` needs, and shows what `peers` and tests show too: HTTP/2, with a browser |
//! | `fuzz` | five minutes a target find what ten seconds do not; a smoke test only shows that nothing is easily found |
//! | `packages` | builds all that is published once more, and runs its tests where each package is unpacked; CI looks only at what the packages hold |
//! | `soak` | twenty minutes between bad peers; CI has one |
//! | `tests-anywhere` | the tests twelve times; CI runs them once, and they fail elsewhere only if they depend on a machine |
//!
//! A part is another chore, run with the same program.

use std::env;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::conclusion::conclude;

/// Which parts to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print the parts, and run none.
    #[arg(long)]
    list: bool,
    /// Only these parts (without this option: all of them).
    #[arg(long, value_name = "PART", num_args = 1.., value_parser = PossibleValuesParser::new(PARTS.map(|part| part.name)))]
    only: Vec<String>,
}

/// A chore with arguments.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: &'static str,
    arguments: &'static [&'static str],
}

const PARTS: [Part; 18] = [
    Part { name: "autobahn-server", arguments: &["autobahn", "server"] },
    Part { name: "autobahn-stream", arguments: &["autobahn", "server", "--stream"] },
    Part { name: "autobahn-client", arguments: &["autobahn", "client"] },
    Part { name: "autobahn-server-tokio", arguments: &["autobahn", "server", "--driver", "tokio"] },
    Part {
        name: "autobahn-stream-tokio",
        arguments: &["autobahn", "server", "--driver", "tokio", "--stream"],
    },
    Part { name: "autobahn-server-axum", arguments: &["autobahn", "server", "--driver", "axum"] },
    Part { name: "autobahn-server-h2", arguments: &["autobahn", "server", "--driver", "axum-h2"] },
    Part { name: "autobahn-client-h2", arguments: &["autobahn", "client", "--api", "tokio-h2"] },
    Part { name: "autobahn-server-tls", arguments: &["autobahn", "server", "--tls"] },
    Part { name: "autobahn-client-tls", arguments: &["autobahn", "client", "--tls"] },
    Part { name: "proxies", arguments: &["peers", "--part", "proxies"] },
    Part { name: "deployment", arguments: &["peers", "--part", "deployment"] },
    Part { name: "browser-tls", arguments: &["browser", "--tls"] },
    Part { name: "browser-http2", arguments: &["browser", "--http2"] },
    Part { name: "fuzz", arguments: &["fuzz-smoke", "--seconds", "300"] },
    Part { name: "packages", arguments: &["packages", "--build"] },
    Part { name: "soak", arguments: &["soak", "--minutes", "20"] },
    Part { name: "tests-anywhere", arguments: &["tests-anywhere"] },
];

/// Runs the parts one after the other. One that fails does not keep the others from running.
///
/// # Errors
/// If a part fails or cannot be run.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let parts = chosen(&options.only);
    if options.list {
        for part in parts {
            println!("{}", line(&part));
        }
        return Ok(());
    }
    let program = env::current_exe().context("cannot tell which program this is")?;
    let mut table = String::new();
    let (mut passed, mut failed) = (0, 0);
    for part in parts {
        println!("\n=== {}", line(&part));
        let started = Instant::now();
        let status = Command::new(&program)
            .args(part.arguments)
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let outcome = if status.success() { "ok    " } else { "FAILED" };
        table += &format!("{outcome} {:6} s  {}\n", started.elapsed().as_secs(), part.name);
        if status.success() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    print!("\n{table}");
    conclude(passed, failed)
}

/// The parts of these names, or all.
fn chosen(only: &[String]) -> Vec<Part> {
    let mut parts = PARTS.to_vec();
    parts.retain(|part| only.is_empty() || only.iter().any(|name| name == part.name));
    parts
}

fn line(part: &Part) -> String {
    format!("{}: cargo xtask {}", part.name, part.arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn each_part_is_a_chore_of_this_program() {
        // `cargo xtask` has all of them.
        let is_here = |part: &Part| cfg!(feature = "browser") || part.arguments[0] != "browser";
        for part in PARTS.into_iter().filter(is_here) {
            let arguments = ["xtask"].iter().chain(part.arguments);
            assert!(crate::Cli::try_parse_from(arguments).is_ok(), "{}", line(&part));
        }
    }

    #[test]
    fn each_part_has_its_reason_in_the_table() {
        let page = include_str!("full.rs");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("//! | `")).collect();
        for part in PARTS {
            let named = format!("`{}`", part.name);
            assert_eq!(rows.iter().filter(|row| row.contains(&named)).count(), 1, "{named}");
        }
    }

    #[test]
    fn parts_are_chosen_by_name() {
        assert_eq!(chosen(&[]).len(), PARTS.len());
        let names: Vec<&str> = chosen(&["fuzz".to_owned()]).iter().map(|part| part.name).collect();
        assert_eq!(names, ["fuzz"]);
    }
}
