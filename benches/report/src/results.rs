//! What was measured, in memory and in `target/bench/results.json`, which is written after every
//! block of cells: a run that is interrupted loses the block that it was at, and a run of some
//! cells replaces these and keeps the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::machine::{Machine, Run};
use super::report::Report;
use super::servers::FLOOR;
use super::stats::Stat;

/// All results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Where they were measured, when cells were last measured.
    pub(crate) machine: Machine,
    /// By cell, then by server.
    pub(crate) cells: BTreeMap<String, BTreeMap<String, Outcome>>,
}

/// What became of one server in one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Its rounds.
    pub(crate) rounds: Vec<Round>,
    /// Why it has no figure, if it failed.
    pub(crate) failure: Option<String>,
    /// The run that it was measured in.
    pub(crate) run: Run,
}

/// One round of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// What the generator said.
    pub(crate) report: Report,
    /// The floor's processor time for a message in the same round, in nanoseconds. It is kept here
    /// so that a ratio is one of the same run even when the floor has been measured again with
    /// other servers.
    pub(crate) floor_ns: Option<f64>,
}

impl Round {
    /// The 99th percentile, in microseconds.
    pub(crate) fn p99(&self) -> Option<f64> {
        self.report.p99()
    }
}

impl Outcome {
    /// Median and spread of a figure; none if the server failed or the figure is not there.
    pub(crate) fn stat(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<Stat> {
        if self.failure.is_some() {
            return None;
        }
        Stat::of(self.rounds.iter().filter_map(figure))
    }

    /// The server's processor time for a message as a multiple of the floor's in the same round.
    pub(crate) fn of_floor(&self) -> Option<Stat> {
        self.stat(|round| Some(round.report.cpu_ns()? / round.floor_ns?))
    }

    /// Whether the generator was the limit in most rounds.
    pub(crate) fn client_limited(&self) -> bool {
        let limited = self.rounds.iter().filter(|round| round.report.client_limited == Some(true)).count();
        limited * 2 > self.rounds.len()
    }
}

impl Results {
    /// Reads what earlier runs have left; nothing, if there was none.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let json = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&json)
            .with_context(|| format!("{} is not what this version writes; remove it", file.display()))
    }

    /// Writes the file anew; whoever reads it meanwhile sees the old one or the new one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn save(&self, file: &Path) -> anyhow::Result<()> {
        let new = file.with_extension("json.new");
        fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        fs::write(&new, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, file).with_context(|| format!("cannot replace {}", file.display()))
    }

    /// What became of a server in a cell, if it was measured there.
    pub(crate) fn outcome(&self, cell: &str, server: &str) -> Option<&Outcome> {
        self.cells.get(cell)?.get(server)
    }

    /// The time of one server for a message as a multiple of another's in the same round; none if
    /// one failed or was not measured, or if they were measured in different runs.
    pub(crate) fn beside(&self, cell: &str, server: &str, other: &str) -> Option<Stat> {
        self.pairs((cell, server), (cell, other), |round, other| {
            Some(round.report.cpu_ns()? / other.report.cpu_ns()?)
        })
    }

    /// A figure of two rounds, those of one server in one cell with those of another or in another:
    /// the cells must be of one block. None if one failed or was not measured, or if they were
    /// measured in different runs.
    pub(crate) fn pairs(
        &self,
        one: (&str, &str),
        other: (&str, &str),
        figure: impl Fn(&Round, &Round) -> Option<f64>,
    ) -> Option<Stat> {
        Stat::of(self.each_pair(one, other, figure)?)
    }

    /// As [`pairs`](Self::pairs), the figure of each round.
    pub(crate) fn each_pair(
        &self,
        (cell, server): (&str, &str),
        (other_cell, other): (&str, &str),
        figure: impl Fn(&Round, &Round) -> Option<f64>,
    ) -> Option<Vec<f64>> {
        let (one, other) = (self.outcome(cell, server)?, self.outcome(other_cell, other)?);
        if one.failure.is_some() || other.failure.is_some() || one.run != other.run {
            return None;
        }
        Some(one.rounds.iter().zip(&other.rounds).filter_map(|(round, other)| figure(round, other)).collect())
    }

    /// The runs that the results are of, and the least number of rounds that a figure is of.
    pub(crate) fn runs(&self) -> (BTreeSet<&Run>, usize) {
        let outcomes = || self.cells.values().flat_map(BTreeMap::values);
        let measured = outcomes().filter(|outcome| outcome.failure.is_none());
        (
            outcomes().map(|outcome| &outcome.run).collect(),
            measured.map(|outcome| outcome.rounds.len()).min().unwrap_or(0),
        )
    }

    /// A median and spread; none if the server was not measured there or failed.
    pub(crate) fn stat(
        &self,
        cell: &str,
        server: &str,
        figure: impl Fn(&Round) -> Option<f64>,
    ) -> Option<Stat> {
        self.outcome(cell, server)?.stat(figure)
    }

    /// Enters what a block has measured: the servers that were measured replace what was known of
    /// them.
    pub(crate) fn enter(&mut self, cell: &str, run: &Run, mut outcomes: BTreeMap<String, Outcome>) {
        let floor: Vec<Option<f64>> = outcomes
            .get(FLOOR)
            .map(|floor| floor.rounds.iter().map(|round| round.report.cpu_ns()).collect())
            .unwrap_or_default();
        for outcome in outcomes.values_mut() {
            outcome.run = run.clone();
            for (index, round) in outcome.rounds.iter_mut().enumerate() {
                round.floor_ns = floor.get(index).copied().flatten();
            }
        }
        self.cells.entry(cell.to_owned()).or_default().extend(outcomes);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::{Latency, Server};

    /// Rounds with these processor times for a message, a tenth of each in user mode.
    pub(crate) fn outcome(cpu_ns: &[f64]) -> Outcome {
        let rounds = cpu_ns.iter().map(|&cpu_ns| {
            let server =
                Server { cpu_ns_per_message: Some(cpu_ns), user_ns_per_message: Some(cpu_ns / 10.0) };
            let latency = Latency { p50: cpu_ns / 100.0, p99: cpu_ns / 10.0, p99_9: cpu_ns };
            let report = Report {
                messages_per_s: 1e9 / cpu_ns,
                latency_us: Some(latency),
                server: Some(server),
                client_limited: Some(false),
                ..Report::default()
            };
            Round { report, floor_ns: None }
        });
        Outcome { rounds: rounds.collect(), failure: None, run: Run::default() }
    }

    /// Enters a cell with these servers and times.
    pub(crate) fn enter(results: &mut Results, cell: &str, servers: &[(&str, &[f64])]) {
        let outcomes = servers.iter().map(|&(server, cpu_ns)| (server.to_owned(), outcome(cpu_ns)));
        results.enter(cell, &Run::default(), outcomes.collect());
    }

    #[test]
    fn a_multiple_of_the_floor_is_one_within_each_round() {
        let mut results = Results::default();
        // The machine is twice as slow in the second round, for everybody.
        let times: [(&str, &[f64]); 2] =
            [(FLOOR, &[100.0, 200.0, 100.0]), ("framewright", &[110.0, 220.0, 110.0])];
        enter(&mut results, "echo/100/20", &times);
        let stat =
            results.outcome("echo/100/20", "framewright").and_then(Outcome::of_floor).expect("a ratio");
        assert!((stat.median - 1.1).abs() < 1e-9 && stat.spread < 1e-9, "{stat:?}");
    }

    #[test]
    fn measuring_some_servers_again_keeps_the_others_and_their_floor() {
        let mut results = Results::default();
        enter(&mut results, "a", &[(FLOOR, &[100.0]), ("soketto", &[300.0]), ("yawc", &[150.0])]);
        enter(&mut results, "a", &[(FLOOR, &[200.0]), ("yawc", &[220.0])]);
        let ratio = |server| results.outcome("a", server).and_then(Outcome::of_floor).map(|stat| stat.median);
        assert_eq!((ratio("soketto"), ratio("yawc"), ratio(FLOOR)), (Some(3.0), Some(1.1), Some(1.0)));
    }

    #[test]
    fn a_server_that_failed_has_no_figures() {
        let mut results = Results::default();
        let failed = Outcome { failure: Some("no answer".to_owned()), ..outcome(&[1.0]) };
        results.enter("a", &Run::default(), BTreeMap::from([("yawc".to_owned(), failed)]));
        assert_eq!(results.stat("a", "yawc", |round| round.report.cpu_ns()), None);
    }

    #[test]
    fn results_survive_the_file() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("bench").join("results.json");
        assert_eq!(Results::load(&file).expect("nothing yet"), Results::default());
        let mut results = Results::default();
        enter(&mut results, "a", &[(FLOOR, &[100.0, 200.0])]);
        results.save(&file).expect("written");
        assert_eq!(Results::load(&file).expect("read"), results);
        fs::write(&file, "{").expect("written");
        assert!(Results::load(&file).is_err());
    }
}
