//! The suite's report, and what it takes to pass.
//!
//! `index.json` gives two verdicts a case: `behavior`, on the messages, and `behaviorClose`, on how
//! the connection ended. Each case also has a file of its own, which says what was expected and
//! what came.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The number of cases in the suite. Fewer in a report of all of them mean that the run was cut
/// short.
pub(super) const ALL_CASES: usize = 517;

/// The name of the file with all verdicts, in the report's folder.
pub(super) const INDEX: &str = "index.json";

/// The outcome of every case that was run, in the suite's order.
#[derive(Debug, Default)]
pub(super) struct Report {
    cases: Vec<Case>,
}

/// The outcome of one case.
#[derive(Debug)]
struct Case {
    id: CaseId,
    behavior: String,
    close: String,
    /// The case's own file: `description`, `result`, `resultClose` and more; null if it could not
    /// be read.
    details: Value,
}

/// A case's number, such as 6.4.1: ordered as numbers, so that 9 comes before 10.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CaseId(Vec<u32>);

impl Report {
    /// Reads the report that the suite wrote about `agent`.
    ///
    /// # Errors
    /// If there is none (the suite writes it when it is done with the last case), or it is about
    /// somebody else.
    pub(super) fn read(folder: &Path, agent: &str) -> anyhow::Result<Self> {
        let index = folder.join(INDEX);
        let text = fs::read_to_string(&index)
            .with_context(|| format!("the run did not come to its end: no report {}", index.display()))?;
        let mut report = Self::parse(&text, agent)?;
        for case in &mut report.cases {
            let file = case.details["reportfile"].as_str().map(|name| folder.join(name));
            let text = file.and_then(|file| fs::read(file).ok()).unwrap_or_default();
            // The reports hold raw peer data; a file that does not parse costs the description, not
            // the verdict.
            case.details = serde_json::from_str(&String::from_utf8_lossy(&text)).unwrap_or_default();
        }
        Ok(report)
    }

    /// Reads the verdicts on `agent` out of the index; `details` is the index entry.
    pub(super) fn parse(index: &str, agent: &str) -> anyhow::Result<Self> {
        let mut index: Value = serde_json::from_str(index).context("the report's index is not JSON")?;
        let Value::Object(verdicts) = index[agent].take() else {
            anyhow::bail!("the report does not speak of {agent}");
        };
        let mut cases = Vec::new();
        for (id, entry) in verdicts {
            let verdict = |name: &str| entry[name].as_str().map(str::to_owned);
            cases.push(Case {
                id: CaseId::parse(&id)?,
                behavior: verdict("behavior").with_context(|| format!("case {id} has no behavior"))?,
                close: verdict("behaviorClose").with_context(|| format!("case {id} has no behaviorClose"))?,
                details: entry,
            });
        }
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Self { cases })
    }

    /// Judges every case, and that there are as many as expected. `compresses`: whether whom the
    /// suite tested offers or takes permessage-deflate.
    pub(super) fn judge(&self, expected: usize, compresses: bool) -> Judgement {
        let mut judgement = Judgement { cases: self.cases.len(), ..Judgement::default() };
        for case in &self.cases {
            let group = judgement.groups.entry(case.id.group()).or_default();
            match case.outcome(compresses) {
                Outcome::Ok => group.ok += 1,
                Outcome::Informational => group.informational += 1,
                Outcome::Unimplemented => group.unimplemented += 1,
                Outcome::Failed => {
                    group.failed += 1;
                    judgement.failures.push(case.to_string());
                    continue;
                }
            }
            judgement.passed += 1;
        }
        if self.cases.len() != expected {
            let found = self.cases.len();
            judgement.failures.push(format!("the run: {found} cases are in the report, not {expected}"));
        }
        judgement
    }
}

/// What a case counts as.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Informational,
    Unimplemented,
    Failed,
}

impl Case {
    /// `OK` twice, with two exceptions. In particular `NON-STRICT` is a failure, and so is
    /// `UNIMPLEMENTED` of whoever compresses. Without permessage-deflate that is the only verdict
    /// that its cases can have: an `OK` would mean that it was used all the same.
    fn outcome(&self, compresses: bool) -> Outcome {
        if !compresses && self.id.is_about_compression() {
            return match (self.behavior.as_str(), self.close.as_str()) {
                ("UNIMPLEMENTED", "OK") => Outcome::Unimplemented,
                _ => Outcome::Failed,
            };
        }
        match (self.behavior.as_str(), self.close.as_str()) {
            ("OK", "OK") => Outcome::Ok,
            // The suite has no opinion on these and never says OK.
            ("INFORMATIONAL", "OK" | "INFORMATIONAL") if self.id.is_only_informational() => {
                Outcome::Informational
            }
            _ => Outcome::Failed,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: behavior {}, behaviorClose {}", self.id, self.behavior, self.close)?;
        for (label, name) in [("case", "description"), ("result", "result"), ("close", "resultClose")] {
            if let Some(text) = self.details[name].as_str() {
                // The suite's texts have HTML marks and line breaks in them.
                let text = text.replace("<br>", " ").replace("<b>", "").replace("</b>", "");
                let text: Vec<&str> = text.split_whitespace().collect();
                write!(f, "\n    {label}: {}", text.join(" "))?;
            }
        }
        Ok(())
    }
}

impl CaseId {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        let numbers = numbers.with_context(|| format!("not the number of a case: {text:?}"))?;
        ensure!(!numbers.is_empty(), "a case without a number");
        Ok(Self(numbers))
    }

    /// The first number: 6 in 6.4.1.
    fn group(&self) -> u32 {
        self.0[0]
    }

    /// 12.* and 13.*.
    fn is_about_compression(&self) -> bool {
        matches!(self.group(), 12 | 13)
    }

    /// 7.1.6 (sends after a Close frame) and 7.13.* (close codes above 4999).
    fn is_only_informational(&self) -> bool {
        self.0 == [7, 1, 6] || self.0.starts_with(&[7, 13])
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// What the report comes to.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// The number of cases in the report.
    pub(super) cases: usize,
    /// How many of them are as they must be.
    pub(super) passed: usize,
    /// A text for each of the others, and one more if the report has not as many cases as it
    /// should.
    pub(super) failures: Vec<String>,
    groups: BTreeMap<u32, Group>,
}

/// The cases whose numbers begin alike.
#[derive(Debug, Default)]
struct Group {
    ok: usize,
    informational: usize,
    unimplemented: usize,
    failed: usize,
}

impl Judgement {
    /// A Markdown table: a row for each group, and one for the sum. It has the column UNIMPLEMENTED
    /// if anything is.
    pub(super) fn table(&self) -> String {
        let mut sum = Group::default();
        for group in self.groups.values() {
            sum.ok += group.ok;
            sum.informational += group.informational;
            sum.unimplemented += group.unimplemented;
            sum.failed += group.failed;
        }
        let lacks = sum.unimplemented > 0;
        let mut table = TABLE_HEAD
            .map(|(usual, more, last)| [usual, if lacks { more } else { "" }, last].concat())
            .concat();
        let rows =
            self.groups.iter().map(|(&number, group)| (format!("{number} {}", group_name(number)), group));
        for (name, Group { ok, informational, unimplemented, failed }) in
            rows.chain([("**all**".to_owned(), &sum)])
        {
            let more = if lacks { format!(" {unimplemented:>13} |") } else { String::new() };
            writeln!(table, "| {name:<38} | {ok:>5} | {informational:>13} |{more} {failed:>6} |")
                .expect("writing to a String cannot fail");
        }
        table
    }
}

/// The first two lines, each in three parts: the second belongs to the column UNIMPLEMENTED.
const TABLE_HEAD: [(&str, &str, &str); 2] = [
    ("| cases                                  |    OK | INFORMATIONAL |", " UNIMPLEMENTED |", " failed |\n"),
    ("|----------------------------------------|------:|--------------:|", "--------------:|", "-------:|\n"),
];

/// The suite's own names for its groups. There is no 8 and no 11.
fn group_name(number: u32) -> &'static str {
    match number {
        1 => "framing",
        2 => "pings and pongs",
        3 => "reserved bits",
        4 => "opcodes",
        5 => "fragmentation",
        6 => "UTF-8 handling",
        7 => "close handling",
        9 => "limits and performance",
        10 => "auto-fragmentation",
        12 => "compression, different payloads",
        13 => "compression, different parameters",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
