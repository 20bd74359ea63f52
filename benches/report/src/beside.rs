//! `--beside NAME=PATH`: other builds of our server, measured in turn with ours, and ours as a
//! multiple of each.
//!
//! Another build is a server as ours is: it is started with the same options on the same processor,
//! and in each round it is as likely to come before ours as after it. A ratio is one within a
//! round. Every round has fresh processes: where a process has its memory makes a difference of
//! some percent, which would be taken for one of the builds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::ensure;
use framewright_cli::Compress;

use super::results::{Results, Round};
use super::servers::{OURS, OURS_STREAMED, SERVERS, Server};
use super::stats::Stat;
use super::tables::{Columns, markdown, thousands, time};
use super::targets::finely;
use super::workload::Cell;

/// Another build of the `framewright` program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// What the table calls it.
    pub(crate) name: String,
    /// The program.
    program: PathBuf,
}

impl FromStr for Build {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, program) = text.split_once('=').ok_or("NAME=PATH is expected")?;
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() || !name.chars().all(is_fine) {
            return Err("a name has letters, digits, '-', '.' and '_'".to_owned());
        }
        if SERVERS.iter().any(|server| server.name == name) {
            return Err(format!("{name} is the name of another server"));
        }
        if !Path::new(program).is_file() {
            return Err(format!("there is no program {program}"));
        }
        Ok(Self { name: name.to_owned(), program: program.into() })
    }
}

impl Build {
    /// The name of its server with `--stream`.
    fn streamed(&self) -> String {
        format!("{}-streamed", self.name)
    }
}

/// The servers of these builds: each as ours, and with `--stream`.
///
/// # Errors
/// If two would have the same name.
pub(crate) fn servers(builds: &[Build]) -> anyhow::Result<Vec<&'static Server>> {
    let mut servers: Vec<&'static Server> = Vec::new();
    for build in builds {
        let program: &'static Path = build.program.clone().leak();
        for (name, streams) in [(build.name.clone(), false), (build.streamed(), true)] {
            let compresses: &[Compress] = if streams { &[] } else { &Compress::MODES };
            ensure!(servers.iter().all(|server| server.name != name), "there are two builds {name}");
            // As those that are always there, it is there until the program ends.
            let name = name.leak();
            servers.push(Box::leak(Box::new(Server {
                name,
                peer: None,
                streams,
                compresses,
                tls: !streams,
                tokio: false,
                broadcast: false,
                library: None,
                program: Some(program),
            })));
        }
    }
    Ok(servers)
}

/// A figure that ours and another build are compared by.
type Figure = (&'static str, fn(&Round) -> Option<f64>, fn(f64) -> String);

/// The figures: a cell has one of them.
const FIGURES: [Figure; 2] = [
    ("CPU of a message", |round| round.report.cpu_ns(), time),
    ("bytes of a connection", |round| Some(round.report.idle.as_ref()?.bytes_per_connection), thousands),
];

/// What these cells cost ours, what they cost each build, and the ratio. The last line of a build
/// is the geometric mean of its ratios of processor time.
pub(crate) fn table(results: &Results, blocks: &[Vec<Cell>], builds: &[Build]) -> String {
    let mut text = String::new();
    for build in builds {
        let mut rows = Vec::new();
        let mut cpu = Vec::new();
        for cell in blocks.iter().flatten() {
            let streamed = build.streamed();
            for (ours, other, suffix) in [(OURS, &build.name, ""), (OURS_STREAMED, &streamed, ", streamed")] {
                let workload = format!("{}{suffix}", cell.name);
                for (server, side) in [(ours, "ours"), (other, build.name.as_str())] {
                    let outcome = results.outcome(&cell.name, server);
                    if let Some(failure) = outcome.and_then(|outcome| outcome.failure.as_ref()) {
                        let failure = format!("{side} failed: {failure}");
                        rows.push(vec![
                            workload.clone(),
                            failure,
                            String::new(),
                            String::new(),
                            String::new(),
                        ]);
                    }
                }
                for (what, figure, write) in FIGURES {
                    let median = |server| Some(results.stat(&cell.name, server, figure)?.median);
                    let (Some(one), Some(two)) = (median(ours), median(other)) else { continue };
                    let pair = |one: &Round, two: &Round| Some(figure(one)? / figure(two)?);
                    let ratios = results.each_pair((&cell.name, ours), (&cell.name, other), pair);
                    let ratios = ratios.unwrap_or_default();
                    let Some(ratio) = Stat::of(ratios.iter().copied()) else { continue };
                    if what == FIGURES[0].0 {
                        cpu.push(ratio.median);
                    }
                    let said = format!("{}{}", finely(ratio), verdict(&ratios));
                    rows.push(vec![workload.clone(), what.to_owned(), write(one), write(two), said]);
                }
            }
        }
        if !cpu.is_empty() {
            let mean = (cpu.iter().map(|ratio| ratio.ln()).sum::<f64>() / cpu.len() as f64).exp();
            let what = format!("{}, geometric mean", FIGURES[0].0);
            rows.push(vec!["all".to_owned(), what, String::new(), String::new(), format!("{mean:.3}")]);
        }
        let head = ["workload", "figure", "ours", &build.name, &format!("ours / {}", build.name)];
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", markdown(Columns::Words, &head.map(str::to_owned), &rows));
    }
    text
}

/// Whether ours needs less or more: if so many rounds say the same that chance alone does it once
/// in a hundred times (a sign test). Less than eight rounds never do.
fn verdict(ratios: &[f64]) -> &'static str {
    let count = |is: fn(&f64) -> bool| ratios.iter().filter(|ratio| is(ratio)).count();
    let (less, more) = (count(|&ratio| ratio < 1.0), count(|&ratio| ratio > 1.0));
    let rounds = less + more;
    // How likely each number of heads is, of as many coins.
    let mut chance = 0.5_f64.powf(rounds as f64);
    let mut at_most = chance;
    for heads in 1..=less.min(more) {
        chance *= (rounds + 1 - heads) as f64 / heads as f64;
        at_most += chance;
    }
    match (2.0 * at_most <= 0.01, less > more) {
        (false, _) => "",
        (true, true) => " less",
        (true, false) => " **more**",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Run;
    use crate::report::Idle;
    use crate::results::Outcome;
    use crate::results::tests::{enter, outcome};
    use crate::run::participants;
    use crate::servers::Setup;
    use crate::workload::{blocks, choose};
    use std::collections::BTreeMap;

    fn build() -> Build {
        let program = std::env::current_exe().expect("this program");
        format!("old={}", program.display()).parse().expect("a build")
    }

    #[test]
    fn a_build_has_a_name_of_its_own_and_a_program_that_is_there() {
        assert_eq!(build().name, "old");
        let program = build().program.display().to_string();
        for wrong in ["", "old", "old=", "old=/there/is/none"] {
            assert!(wrong.parse::<Build>().is_err(), "{wrong}");
        }
        for name in ["", "yawc", OURS, OURS_STREAMED, "a b", "a|b"] {
            assert!(format!("{name}={program}").parse::<Build>().is_err(), "{name}");
        }
        assert!(servers(&[build(), build()]).is_err());
    }

    #[test]
    fn a_build_is_measured_wherever_ours_is() {
        let builds = servers(&[build()]).expect("servers");
        let ours = [&SERVERS[1], &SERVERS[2]];
        assert_eq!(ours.map(|server| server.name), [OURS, OURS_STREAMED]);
        for cell in blocks().iter().flatten() {
            assert_eq!(
                participants(cell, &ours).count(),
                participants(cell, &builds).count(),
                "{}",
                cell.name
            );
        }
        assert!(
            builds.iter().all(|server| server.package(Setup { tls: true, ..Setup::default() }).is_none())
        );
    }

    #[test]
    fn the_table_has_ratios_within_rounds_their_spread_and_a_mean() {
        let mut results = Results::default();
        // The machine is twice as slow in the second round.
        let (ours, old) = ([110.0, 220.0].repeat(4), [100.0, 200.0].repeat(4));
        enter(&mut results, "echo/100/20", &[(OURS, &ours), ("old", &old)]);
        enter(&mut results, "large/1M", &[(OURS_STREAMED, &[90.0; 8]), ("old-streamed", &[100.0; 8])]);
        enter(&mut results, "large/16M", &[(OURS, &[90.0, 110.0, 100.0]), ("old", &[100.0; 3])]);
        let failed = Outcome { failure: Some("no answer".to_owned()), ..outcome(&[1.0]) };
        results.enter("echo/100/0", &Run::default(), BTreeMap::from([("old".to_owned(), failed)]));
        let idle = |bytes| {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            outcome.rounds[0].report.server = None;
            outcome
        };
        let outcomes = BTreeMap::from([(OURS.to_owned(), idle(181.0)), ("old".to_owned(), idle(362.0))]);
        results.enter("idle/10000", &Run::default(), outcomes);
        let only = ["echo/100/20", "echo/100/0", "large", "idle"].map(str::to_owned);
        let table = table(&results, &choose(blocks(), &only).expect("cells"), &[build()]);
        let expected = [
            "| workload | figure | ours | old | ours / old |",
            "| --- | --- | --- | --- | --- |",
            "| echo/100/0 | old failed: no answer |  |  |  |",
            "| echo/100/20 | CPU of a message | 165 ns | 150 ns | 1.100 ±0.000 **more** |",
            "| large/1M, streamed | CPU of a message | 90 ns | 100 ns | 0.900 ±0.000 less |",
            "| large/16M | CPU of a message | 100 ns | 100 ns | 1.000 ±0.050 |",
            "| idle/10000 | bytes of a connection | 181 | 362 | 0.500 ±0.000 |",
            "| all | CPU of a message, geometric mean |  |  | 0.997 |",
        ];
        assert_eq!(table.trim_end().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn few_rounds_and_rounds_that_disagree_say_nothing() {
        assert_eq!(verdict(&[0.5; 7]), "");
        assert_eq!(verdict(&[0.5; 8]), " less");
        // 2 of 15 may say something else (7 in 1,000 by chance), 3 may not (35 in 1,000).
        let with = |others: usize| [vec![0.99; others], vec![1.02; 15 - others]].concat();
        assert_eq!(verdict(&with(2)), " **more**");
        assert_eq!(verdict(&with(3)), "");
        assert_eq!(verdict(&[1.0; 20]), "");
        assert_eq!(verdict(&[]), "");
    }
}
