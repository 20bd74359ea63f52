//! The counts that are checked in, `benches/instructions.json`, and how others compare with them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

/// Counts, and what they were made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Baseline {
    pub(crate) tools: Tools,
    /// Instructions of each path, by its name.
    pub(crate) counts: BTreeMap<String, u64>,
}

/// All that a count depends on besides the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tools {
    pub(crate) target: String,
    /// The vectors that the counted program finds in valgrind's CPU.
    pub(crate) vectors: String,
    pub(crate) rustc: String,
    pub(crate) valgrind: String,
    pub(crate) libc: String,
}

/// How far a comparison may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rigour {
    /// Everything is the same: a count repeats to the last few instructions.
    Strict,
    /// Another compiler, valgrind or C library: the same code may come to other counts, but not to
    /// quite other ones.
    Loose,
    /// Another architecture or other vectors: other code runs.
    Blind,
}

impl Rigour {
    /// By how many percent a count may exceed the baseline; `None` if that says nothing.
    const fn tolerance(self) -> Option<u64> {
        match self {
            Rigour::Strict => Some(3),
            Rigour::Loose => Some(25),
            Rigour::Blind => None,
        }
    }
}

impl Tools {
    fn rigour(&self, other: &Tools) -> Rigour {
        if self == other {
            Rigour::Strict
        } else if (&self.target, &self.vectors) == (&other.target, &other.vectors) {
            Rigour::Loose
        } else {
            Rigour::Blind
        }
    }

    /// Names and values, as in the file.
    fn fields(&self) -> [(&'static str, &String); 5] {
        [
            ("target", &self.target),
            ("vectors", &self.vectors),
            ("rustc", &self.rustc),
            ("valgrind", &self.valgrind),
            ("libc", &self.libc),
        ]
    }
}

impl Baseline {
    /// # Errors
    /// If there is no such file, or it is not one that [`write`](Baseline::write) wrote.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Baseline> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("there is no baseline {}: make one with --update", file.display()))?;
        Baseline::parse(&text).with_context(|| format!("{} is not a baseline", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Baseline> {
        let mut json: Value = serde_json::from_str(text)?;
        let counts = serde_json::from_value(json["counts"].take()).context("counts")?;
        let tool = |name: &str| json["tools"][name].as_str().map(str::to_owned).context(name.to_owned());
        let tools = Tools {
            target: tool("target")?,
            vectors: tool("vectors")?,
            rustc: tool("rustc")?,
            valgrind: tool("valgrind")?,
            libc: tool("libc")?,
        };
        Ok(Baseline { tools, counts })
    }

    /// Writes a file with a line for each count, so that a change of it is read easily.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.to_json())?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    fn to_json(&self) -> Value {
        json!({ "tools": BTreeMap::from(self.tools.fields()), "counts": self.counts })
    }

    /// How `current` compares with this baseline.
    pub(crate) fn compare(&self, current: &Baseline) -> Comparison {
        let rigour = self.tools.rigour(&current.tools);
        let pairs = self.tools.fields().into_iter().zip(current.tools.fields());
        let others = pairs
            .filter(|(theirs, ours)| theirs != ours)
            .map(|((name, theirs), (_, ours))| format!("{name}: {ours} here, {theirs} in the baseline"))
            .collect();
        let mut rows: BTreeMap<&String, (Option<u64>, Option<u64>)> = BTreeMap::new();
        for (path, count) in &self.counts {
            rows.entry(path).or_default().0 = Some(*count);
        }
        for (path, count) in &current.counts {
            rows.entry(path).or_default().1 = Some(*count);
        }
        let rows = rows
            .into_iter()
            .map(|(path, (before, now))| Row {
                path: path.clone(),
                before,
                now,
                verdict: Verdict::of(before, now, rigour),
            })
            .collect();
        Comparison { rigour, others, rows }
    }
}

/// The outcome, which prints itself as a table and what is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    rigour: Rigour,
    /// The tools that are others than those of the baseline.
    others: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    path: String,
    before: Option<u64>,
    now: Option<u64>,
    verdict: Verdict,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Fewer,
    More,
    /// The baseline does not know it.
    New,
    /// Only the baseline knows it.
    Gone,
    NotCompared,
}

impl Verdict {
    fn of(before: Option<u64>, now: Option<u64>, rigour: Rigour) -> Verdict {
        let (before, now) = match (before, now) {
            (Some(before), Some(now)) => (before, now),
            (None, _) => return Verdict::New,
            (_, None) => return Verdict::Gone,
        };
        let Some(tolerance) = rigour.tolerance() else { return Verdict::NotCompared };
        match now * 100 {
            now if now > before * (100 + tolerance) => Verdict::More,
            now if now < before * (100 - tolerance) => Verdict::Fewer,
            _ => Verdict::Same,
        }
    }

    const fn is_failure(self) -> bool {
        matches!(self, Verdict::More | Verdict::New | Verdict::Gone)
    }

    const fn name(self) -> &'static str {
        match self {
            Verdict::Same => "",
            Verdict::Fewer => "fewer",
            Verdict::More => "MORE",
            Verdict::New => "NOT IN THE BASELINE",
            Verdict::Gone => "ONLY IN THE BASELINE",
            Verdict::NotCompared => "not compared",
        }
    }
}

/// By how many percent `now` is above `before`.
fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

impl Comparison {
    /// How many paths were compared, and stayed within the tolerance.
    pub(crate) fn passed(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Same | Verdict::Fewer)).count()
    }

    /// How many paths fail.
    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict.is_failure()).count()
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.rows.iter().any(|row| row.verdict == verdict)
    }
}

/// Above the names of the paths.
const TITLE: &str = "instructions";

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.path.len()).fold(TITLE.len(), usize::max);
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        writeln!(f, "{TITLE:width$} {:>10} {:>10} {:>8}", "baseline", "now", "change")?;
        for Row { path, before, now, verdict } in &self.rows {
            let change = before.zip(*now).map(|(before, now)| format!("{:+.1} %", change(before, now)));
            let (before, now, change) = (count(*before), count(*now), change.unwrap_or_default());
            let line = format!("{path:width$} {before:>10} {now:>10} {change:>8}  {}", verdict.name());
            writeln!(f, "{}", line.trim_end())?;
        }
        for other in &self.others {
            writeln!(f, "{other}")?;
        }
        match (self.rigour, self.rigour.tolerance()) {
            (Rigour::Loose, Some(percent)) => {
                writeln!(
                    f,
                    "The tools are others: only more than {percent} % above the baseline is a failure."
                )?;
            }
            (_, None) => {
                writeln!(
                    f,
                    "Other code runs on this machine: its counts prove nothing, and are not compared."
                )?;
            }
            _ => {}
        }
        if self.has(Verdict::Fewer) {
            f.write_str("Some paths take fewer instructions. So that it stays so: `cargo xtask instructions --update`\n")?;
        }
        if self.failed() > 0 {
            f.write_str(
                "If this is meant: `cargo xtask instructions --update`, and say why in the commit.\n",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, u64)]) -> Baseline {
        let own = str::to_owned;
        let tools = Tools {
            target: own("x86_64"),
            vectors: own("AVX2"),
            rustc: own("1.95.0"),
            valgrind: own("3.19.0"),
            libc: own("2.36"),
        };
        Baseline { tools, counts: counts.iter().map(|(path, count)| (own(path), *count)).collect() }
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("baseline.json");
        assert!(Baseline::read(&file).is_err());
        let written = baseline(&[("b", 2), ("a", 1)]);
        written.write(&file).expect("a file");
        assert_eq!(Baseline::read(&file).expect("what was written"), written);
        let lines = fs::read_to_string(&file).expect("text").lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(lines.contains(&"    \"a\": 1,".to_owned()));
        fs::write(&file, "{\"counts\": {}}").expect("a file");
        assert!(Baseline::read(&file).is_err());
    }

    #[test]
    fn more_than_the_tolerance_fails_and_fewer_is_told() {
        let before = baseline(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000)]);
        let comparison = before.compare(&baseline(&[("a", 1030), ("b", 1031), ("c", 970), ("d", 969)]));
        let verdicts: Vec<_> = comparison.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Same, Verdict::More, Verdict::Same, Verdict::Fewer]);
        assert_eq!((comparison.passed(), comparison.failed()), (3, 1));
        let text = comparison.to_string();
        assert!(text.contains("b                  1000       1031   +3.1 %  MORE\n"), "{text}");
        assert!(text.starts_with("instructions   baseline        now   change\n"), "{text}");
        assert!(text.contains("take fewer") && text.contains("If this is meant"), "{text}");
    }

    #[test]
    fn a_path_that_only_one_side_knows_fails() {
        let comparison = baseline(&[("old", 1), ("both", 1)]).compare(&baseline(&[("both", 1), ("new", 1)]));
        assert_eq!(comparison.failed(), 2);
        assert!(comparison.to_string().contains("NOT IN THE BASELINE"));
    }

    #[test]
    fn other_tools_are_named_and_compared_loosely() {
        let before = baseline(&[("a", 1000), ("b", 1000)]);
        let mut now = baseline(&[("a", 1250), ("b", 1251)]);
        now.tools.rustc = "1.96.0".to_owned();
        let comparison = before.compare(&now);
        assert_eq!(comparison.failed(), 1);
        let text = comparison.to_string();
        assert!(text.contains("rustc: 1.96.0 here, 1.95.0 in the baseline\n"), "{text}");
        assert!(text.contains("25 %"), "{text}");
    }

    #[test]
    fn counts_of_other_vectors_are_not_compared() {
        let before = baseline(&[("a", 1000)]);
        let mut now = baseline(&[("a", 9000)]);
        now.tools.vectors = "SSE2".to_owned();
        let comparison = before.compare(&now);
        assert_eq!((comparison.passed(), comparison.failed()), (0, 0));
        assert!(comparison.to_string().contains("prove nothing"));
    }
}
