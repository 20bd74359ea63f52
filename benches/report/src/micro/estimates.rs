//! The medians that criterion leaves in a folder.
//!
//! ```text
//! GROUP/FUNCTION[/VALUE]/new/benchmark.json     the names, and how many elements an iteration has
//! GROUP/FUNCTION[/VALUE]/new/estimates.json     the median of an iteration, in nanoseconds
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

/// Nanoseconds by function; for one element where an iteration has several.
pub(crate) type Functions = BTreeMap<String, f64>;

/// What was measured, by group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Estimates(BTreeMap<String, Functions>);

impl Estimates {
    /// All results in a folder and the folders in it; none if there is no such folder.
    ///
    /// # Errors
    /// If a result is not as criterion writes it.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Estimates> {
        let mut estimates = Estimates::default();
        if folder.exists() {
            estimates.collect(folder)?;
        }
        Ok(estimates)
    }

    fn collect(&mut self, folder: &Path) -> anyhow::Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if !path.is_dir() {
                continue;
            }
            if path.ends_with("new") {
                self.take(&path).with_context(|| format!("{} is no result of criterion", path.display()))?;
            } else {
                self.collect(&path)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, folder: &Path) -> anyhow::Result<()> {
        let benchmark = json(&folder.join("benchmark.json"))?;
        let estimates = json(&folder.join("estimates.json"))?;
        let group = benchmark["group_id"].as_str().context("group_id")?;
        let function = benchmark["function_id"].as_str().context("function_id")?;
        let median = estimates["median"]["point_estimate"].as_f64().context("median")?;
        let ns = median / benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
        match benchmark["value_str"].as_str() {
            Some(value) => self.enter(&format!("{group}/{value}"), function, ns),
            None => self.enter(group, function, ns),
        }
        Ok(())
    }

    /// Adds a measurement. A value that a function was measured with is a part of its group's name.
    pub(crate) fn enter(&mut self, group: &str, function: &str, ns: f64) {
        self.0.entry(group.to_owned()).or_default().insert(function.to_owned(), ns);
    }

    /// One measurement.
    pub(crate) fn get(&self, group: &str, function: &str) -> Option<f64> {
        self.0.get(group)?.get(function).copied()
    }

    /// The groups whose names begin like this, by the rest of their names; numbers in these are in
    /// the order of numbers.
    pub(crate) fn below(&self, prefix: &str) -> Vec<(&str, &Functions)> {
        let groups = self.0.iter();
        let mut groups: Vec<_> =
            groups.filter_map(|(name, functions)| Some((name.strip_prefix(prefix)?, functions))).collect();
        groups.sort_by_key(|(name, _)| name.split('/').map(|word| (number(word), word)).collect::<Vec<_>>());
        groups
    }
}

/// What a word begins with; 0 if that is no number.
fn number(word: &str) -> u64 {
    word.split(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

fn json(file: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As criterion writes it.
    fn write(folder: &Path, benchmark: &str, median: &str) {
        let folder = folder.join("new");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("benchmark.json"), benchmark).expect("a file");
        let estimates =
            format!(r#"{{"mean":{{"point_estimate":1.0}},"median":{{"point_estimate":{median}}}}}"#);
        fs::write(folder.join("estimates.json"), estimates).expect("a file");
    }

    #[test]
    fn medians_are_read_by_group_and_function_and_for_one_element() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let root = folder.path();
        assert_eq!(Estimates::read(&root.join("none")).expect("nothing"), Estimates::default());
        write(
            &root.join("decode_20/binary"),
            r#"{"group_id":"decode/20","function_id":"binary","value_str":null,"throughput":{"Elements":1000}}"#,
            "8000.0",
        );
        write(
            &root.join("header/parse/7-bit"),
            r#"{"group_id":"header","function_id":"parse","value_str":"7-bit","throughput":null}"#,
            "2.5",
        );
        write(
            &root.join("mask_16/a"),
            r#"{"group_id":"mask/16","function_id":"a","value_str":null,"throughput":{"Bytes":16}}"#,
            "3.0",
        );
        fs::create_dir_all(root.join("decode_20/report")).expect("a folder of no interest");
        let estimates = Estimates::read(root).expect("results");
        assert_eq!(estimates.get("decode/20", "binary"), Some(8.0));
        assert_eq!(estimates.get("header/7-bit", "parse"), Some(2.5));
        assert_eq!(estimates.get("mask/16", "a"), Some(3.0));
        assert_eq!(estimates.get("mask/16", "b"), None);
    }

    #[test]
    fn a_result_that_is_cut_short_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        write(&folder.path().join("a/b"), r#"{"group_id":"a"}"#, "1.0");
        assert!(Estimates::read(folder.path()).is_err());
        write(&folder.path().join("a/b"), r#"{"group_id":"a""#, "1.0");
        assert!(Estimates::read(folder.path()).is_err());
    }

    #[test]
    fn groups_are_in_the_order_of_their_numbers() {
        let mut estimates = Estimates::default();
        for group in [
            "echo/text/20",
            "mask/1024",
            "echo/binary/4096",
            "echo/binary/20",
            "mask/2",
            "h/16-bit",
            "h/7-bit",
        ] {
            estimates.enter(group, "framewright", 1.0);
        }
        let names = |prefix| estimates.below(prefix).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("echo/"), ["binary/20", "binary/4096", "text/20"]);
        assert_eq!(names("mask/"), ["2", "1024"]);
        assert_eq!(names("h/"), ["7-bit", "16-bit"]);
        assert!(names("head/").is_empty());
    }
}
