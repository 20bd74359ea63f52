//! Finds the citations in a file.

use std::fmt;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Lines;

use anyhow::{Context as _, ensure};

/// The beginning of a line that names what is cited.
const HEAD: &str = "//=";

/// The beginning of a line that quotes.
const QUOTE: &str = "//#";

/// Where the RFCs lie.
const SITE: &str = "https://www.rfc-editor.org/rfc/rfc";

/// One sentence, cited in one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) source: Source,
    /// The sentence, on one line.
    pub(super) sentence: String,
    /// Whether a test cites it.
    pub(super) is_test: bool,
    pub(super) place: Place,
}

/// A section of an RFC, ordered by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    rfc: u32,
    /// Appendices come after the sections.
    appendix: Option<char>,
    numbers: Vec<u32>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: PathBuf,
    line: usize,
}

/// What a file has in it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) citations: Vec<Citation>,
    /// A text for each citation that is not of the right form.
    pub(super) malformed: Vec<String>,
}

/// Finds the citations in the text of a file.
pub(super) fn find(text: &str, file: &Path) -> Found {
    let below_tests = file.components().any(|part| part.as_os_str() == "tests");
    let mut found = Found::default();
    let mut lines = Numbered { lines: text.lines().peekable(), number: 0 };
    while let Some(line) = lines.next() {
        let place = Place { file: file.to_owned(), line: lines.number };
        if let Some(head) = line.strip_prefix(HEAD) {
            match citation(head, &mut lines) {
                Ok((source, sentence, says_test)) => {
                    let is_test = below_tests || says_test;
                    found.citations.push(Citation { source, sentence, is_test, place });
                }
                Err(error) => found.malformed.push(format!("{place}: {error:#}")),
            }
        } else if line.starts_with(QUOTE) {
            lines.skip_quotes();
            found.malformed.push(format!("{place}: a quotation without a line {HEAD} before it"));
        }
    }
    found
}

/// Reads a citation whose first line has been taken. Whether it is well-formed or not, all of its
/// lines are taken.
fn citation(head: &str, lines: &mut Numbered<'_>) -> anyhow::Result<(Source, String, bool)> {
    let source = Source::parse(head.trim());
    let kind = lines.next_with(HEAD);
    let mut words = Vec::new();
    while let Some(quote) = lines.next_with(QUOTE) {
        words.extend(quote.split_whitespace());
    }
    let source = source?;
    let is_test = match kind.map(str::trim) {
        None => false,
        Some("type=test") => true,
        Some(kind) => anyhow::bail!("not `type=test`: {kind:?}"),
    };
    ensure!(!words.is_empty(), "no lines {QUOTE} with a sentence follow");
    Ok((source, words.join(" "), is_test))
}

impl Source {
    /// Reads an address such as `https://www.rfc-editor.org/rfc/rfc6455#section-5.1`.
    fn parse(url: &str) -> anyhow::Result<Self> {
        let read = || {
            let (rfc, anchor) = url.strip_prefix(SITE)?.split_once('#')?;
            let rfc = number(rfc)?;
            if let Some(section) = anchor.strip_prefix("section-") {
                return Some(Self { rfc, appendix: None, numbers: numbers(section)? });
            }
            let (letter, rest) = anchor.strip_prefix("appendix-")?.split_at_checked(1)?;
            let letter = letter.chars().next().filter(char::is_ascii_uppercase)?;
            let numbers = if rest.is_empty() { Vec::new() } else { numbers(rest.strip_prefix('.')?)? };
            Some(Self { rfc, appendix: Some(letter), numbers })
        };
        read().with_context(|| format!("not of the form {SITE}NNNN#section-X.Y: {url:?}"))
    }
}

/// Reads numbers with dots between them.
fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(number).collect()
}

/// Reads a decimal number: digits only, unlike `str::parse`, which takes a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.numbers.iter().map(u32::to_string).collect();
        let kind = if let Some(letter) = self.appendix {
            parts.insert(0, letter.to_string());
            "appendix"
        } else {
            "section"
        };
        write!(f, "RFC {} {kind} {}", self.rfc, parts.join("."))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The lines of a file without their indentation, counted.
struct Numbered<'a> {
    lines: Peekable<Lines<'a>>,
    /// The number of the line taken last; the first is 1.
    number: usize,
}

impl<'a> Numbered<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.number += 1;
        Some(line.trim_start())
    }

    /// Takes the next line if it begins so, and gives what comes after.
    fn next_with(&mut self, prefix: &str) -> Option<&'a str> {
        self.lines.peek()?.trim_start().strip_prefix(prefix).inspect(|_| {
            self.lines.next();
            self.number += 1;
        })
    }

    fn skip_quotes(&mut self) {
        while self.next_with(QUOTE).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_5_1: &str = "//= https://www.rfc-editor.org/rfc/rfc6455#section-5.1";

    fn in_file(path: &str, text: &str) -> Found {
        find(text, Path::new(path))
    }

    fn malformed(text: &str) -> Vec<String> {
        let found = in_file("a.rs", text);
        assert!(found.citations.is_empty(), "{:?}", found.citations);
        found.malformed
    }

    #[test]
    fn a_sentence_over_several_lines_is_joined_by_single_spaces() {
        let found = in_file(
            "src/a.rs",
            &format!("fn f() {{\n    {HEAD_5_1}\n    //# A  server\n    //#  MUST.\n}}\n"),
        );
        assert!(found.malformed.is_empty());
        let [citation] = found.citations.as_slice() else { panic!("one citation") };
        assert_eq!(citation.sentence, "A server MUST.");
        assert_eq!(citation.source.to_string(), "RFC 6455 section 5.1");
        assert_eq!(citation.place.to_string(), "src/a.rs:2");
        assert!(!citation.is_test);
    }

    #[test]
    fn a_citation_is_a_tests_by_its_folder_or_by_its_own_word() {
        let plain = format!("{HEAD_5_1}\n//# S.\n");
        let marked = format!("{HEAD_5_1}\n//= type=test\n//# S.\n");
        for (path, text, is_test) in [
            ("crates/a/src/lib.rs", &plain, false),
            ("crates/a/src/tests.rs", &plain, false),
            ("crates/a/tests/it/frames.rs", &plain, true),
            ("crates/a/src/lib.rs", &marked, true),
            ("crates/a/tests/it/frames.rs", &marked, true),
        ] {
            let found = in_file(path, text);
            assert!(found.malformed.is_empty(), "{path}");
            assert_eq!(found.citations.len(), 1, "{path}");
            assert_eq!(found.citations[0].is_test, is_test, "{path}");
        }
    }

    #[test]
    fn adjacent_citations_are_told_apart() {
        let found =
            in_file("a.rs", &format!("{HEAD_5_1}\n//# One.\n{HEAD_5_1}\n//# Two.\n// plain\nlet x = 1;\n"));
        let sentences: Vec<&str> =
            found.citations.iter().map(|citation| citation.sentence.as_str()).collect();
        assert_eq!(sentences, ["One.", "Two."]);
    }

    #[test]
    fn a_wrong_form_is_reported_once_with_its_line() {
        for text in [
            format!("{HEAD_5_1}\nfn f() {{}}\n"),
            format!("{HEAD_5_1}\n//#\n"),
            format!("{HEAD_5_1}\n\n"),
            format!("{HEAD_5_1}\n//= type=todo\n//# S.\n"),
            "//= RFC 6455 section 5.1\n//# S.\n//# T.\n".to_owned(),
            "//# S.\n//# T.\n".to_owned(),
        ] {
            let malformed = malformed(&text);
            assert_eq!(malformed.len(), 1, "{text:?}: {malformed:?}");
            assert!(malformed[0].starts_with("a.rs:1: "), "{malformed:?}");
        }
    }

    #[test]
    fn a_quotation_after_a_gap_is_malformed() {
        assert_eq!(malformed(&format!("{HEAD_5_1}\n\n//# S.\n")).len(), 2);
    }

    #[test]
    fn addresses_name_an_rfc_and_a_section() {
        for (anchor, name) in [
            ("6455#section-5", "RFC 6455 section 5"),
            ("7692#section-7.2.3.6", "RFC 7692 section 7.2.3.6"),
            ("3986#appendix-A", "RFC 3986 appendix A"),
            ("9110#appendix-B.2", "RFC 9110 appendix B.2"),
        ] {
            assert_eq!(Source::parse(&format!("{SITE}{anchor}")).expect(anchor).to_string(), name);
        }
        for anchor in [
            "6455",
            "6455#section-",
            "6455#section-5.",
            "6455#5.1",
            "x#section-5",
            "6455#section-+5",
            "#section-5",
        ] {
            assert!(Source::parse(&format!("{SITE}{anchor}")).is_err(), "{anchor}");
        }
        for url in
            ["", "http://www.rfc-editor.org/rfc/rfc6455#section-5", "https://example.org/rfc6455#section-5"]
        {
            assert!(Source::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn sections_are_ordered_as_numbers_and_appendices_come_last() {
        let parse = |anchor: &str| Source::parse(&format!("{SITE}{anchor}")).expect(anchor);
        let ordered =
            ["6455#section-5.1", "6455#section-5.10", "6455#section-10", "6455#appendix-A", "7692#section-1"];
        let ordered: Vec<Source> = ordered.into_iter().map(parse).collect();
        assert!(ordered.is_sorted());
    }
}
