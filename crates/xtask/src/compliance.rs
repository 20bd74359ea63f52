//! `cargo xtask compliance`: which sentences of the RFCs the code cites, and which of them a test
//! cites too.
//!
//! A citation is a comment of this form, beside the code that obeys the sentence:
//!
//! ```text
//!     //= https://www.rfc-editor.org/rfc/rfc6455#section-5.1
//!     //# A server MUST close the connection upon receiving a frame that is
//!     //# not masked.
//! ```
//!
//! Beside the test that proves it, the same sentence is cited again. A citation in a file below a
//! folder `tests` is a test's; elsewhere a line `//= type=test` after the first one makes it so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use framewright_testkit::programs::workspace::Workspace;

mod citation;

use citation::{Citation, Place, Source};

/// What to demand of the citations.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fail if the code cites a sentence that no test cites.
    #[arg(long)]
    strict: bool,
}

/// Prints the report.
///
/// # Errors
/// If a citation is malformed; with `--strict` also if the code cites a sentence that no test does.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    let mut report = Report::default();
    let mut malformed = Vec::new();
    for file in rust_files(&workspace.root.join("crates"))? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let relative = file.strip_prefix(&workspace.root).unwrap_or(&file);
        let found = citation::find(&text, relative);
        report.add(found.citations);
        malformed.extend(found.malformed);
    }
    print!("{}", report.table());
    report.print_unpaired();
    for complaint in &malformed {
        println!("malformed: {complaint}");
    }
    let untested = report.untested().count();
    let failed = malformed.len() + if options.strict { untested } else { 0 };
    let passed = report.sentences() - if options.strict { untested } else { 0 };
    crate::conclusion::conclude(passed, failed)
}

/// All Rust files below a folder, in a stable order.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Every sentence that is cited, with the places that cite it.
#[derive(Debug, Default)]
struct Report {
    sections: BTreeMap<Source, BTreeMap<String, Places>>,
}

/// Where one sentence is cited.
#[derive(Debug, Default)]
struct Places {
    code: Vec<Place>,
    tests: Vec<Place>,
}

impl Report {
    fn add(&mut self, citations: Vec<Citation>) {
        for citation in citations {
            let sentences = self.sections.entry(citation.source).or_default();
            let places = sentences.entry(citation.sentence).or_default();
            if citation.is_test { &mut places.tests } else { &mut places.code }.push(citation.place);
        }
    }

    /// The number of different sentences.
    fn sentences(&self) -> usize {
        self.sections.values().map(BTreeMap::len).sum()
    }

    /// The sentences that only the code cites.
    fn untested(&self) -> impl Iterator<Item = (&Source, &str, &Places)> {
        self.all().filter(|(_, _, places)| places.tests.is_empty())
    }

    /// The sentences that only tests cite.
    fn only_tested(&self) -> impl Iterator<Item = (&Source, &str, &Places)> {
        self.all().filter(|(_, _, places)| places.code.is_empty())
    }

    fn all(&self) -> impl Iterator<Item = (&Source, &str, &Places)> {
        self.sections.iter().flat_map(|(source, sentences)| {
            sentences.iter().map(move |(sentence, places)| (source, sentence.as_str(), places))
        })
    }

    /// A row for each section: how many of its sentences are cited, and by whom.
    fn table(&self) -> String {
        let mut table = String::from(TABLE_HEAD);
        let mut sum = [0; 4];
        let row = |name: String, counts: [usize; 4]| {
            let [code, tests, untested, only_tested] = counts;
            format!("| {name:<28} | {code:>7} | {tests:>8} | {untested:>12} | {only_tested:>12} |\n")
        };
        for (source, sentences) in &self.sections {
            let count =
                |wanted: fn(&Places) -> bool| sentences.values().filter(|places| wanted(places)).count();
            let counts = [
                count(|places| !places.code.is_empty()),
                count(|places| !places.tests.is_empty()),
                count(|places| places.tests.is_empty()),
                count(|places| places.code.is_empty()),
            ];
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
            table.push_str(&row(source.to_string(), counts));
        }
        table.push_str(&row("**all**".to_owned(), sum));
        table
    }

    fn print_unpaired(&self) {
        for (source, sentence, places) in self.untested() {
            println!("no test cites {source}: {sentence}\n    {}", places.code[0]);
        }
        for (source, sentence, places) in self.only_tested() {
            println!("only a test cites {source}: {sentence}\n    {}", places.tests[0]);
        }
    }
}

const TABLE_HEAD: &str = "\
| sentences of                 | in code | in tests | without test | without code |
|------------------------------|--------:|---------:|-------------:|-------------:|
";

#[cfg(test)]
mod tests {
    use super::*;

    // The texts are single lines with escapes: a line of this file that begins with the marks would
    // be taken for a citation itself.
    const CODE: &str = "//= https://www.rfc-editor.org/rfc/rfc6455#section-5.1\n//# Masked.\n";

    fn report(files: &[(&str, &str)]) -> Report {
        let mut report = Report::default();
        for (path, text) in files {
            let found = citation::find(text, Path::new(path));
            assert!(found.malformed.is_empty(), "{:?}", found.malformed);
            report.add(found.citations);
        }
        report
    }

    #[test]
    fn a_sentence_with_code_and_test_is_paired() {
        let report = report(&[("crates/a/src/lib.rs", CODE), ("crates/a/tests/it/main.rs", CODE)]);
        assert_eq!(report.sentences(), 1);
        assert_eq!(report.untested().count(), 0);
        assert_eq!(report.only_tested().count(), 0);
    }

    #[test]
    fn a_test_of_another_sentence_or_section_is_no_pair() {
        let other_sentence = CODE.replace("Masked", "Other");
        let other_section = CODE.replace("5.1", "5.2");
        for test in [other_sentence, other_section] {
            let report = report(&[("crates/a/src/lib.rs", CODE), ("crates/a/tests/it/main.rs", &test)]);
            assert_eq!(report.sentences(), 2);
            assert_eq!(report.untested().count(), 1);
            assert_eq!(report.only_tested().count(), 1);
        }
    }

    #[test]
    fn the_table_counts_by_section_in_numeric_order() {
        let tenth = CODE.replace("5.1", "10.3");
        let deflate = CODE.replace("rfc6455#section-5.1", "rfc7692#section-7");
        let report = report(&[
            ("crates/a/src/lib.rs", &tenth),
            ("crates/a/src/b.rs", CODE),
            ("crates/a/src/c.rs", CODE),
            ("crates/a/tests/it/main.rs", CODE),
            ("crates/a/tests/it/other.rs", &deflate),
        ]);
        let table = report.table();
        let rows: Vec<String> = table.lines().skip(2).map(|row| row.replace(' ', "")).collect();
        assert_eq!(
            rows,
            [
                "|RFC6455section5.1|1|1|0|0|",
                "|RFC6455section10.3|1|0|1|0|",
                "|RFC7692section7|0|1|0|1|",
                "|**all**|2|2|1|1|",
            ]
        );
    }

    #[test]
    fn rust_files_are_found_at_any_depth() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        fs::create_dir_all(folder.path().join("x/y")).expect("folders");
        for name in ["x/y/a.rs", "b.rs", "c.txt"] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let files = rust_files(folder.path()).expect("files");
        assert_eq!(files, [folder.path().join("b.rs"), folder.path().join("x/y/a.rs")]);
    }
}
