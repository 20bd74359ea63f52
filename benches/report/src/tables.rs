//! Tables of the document: Markdown, a row for each server, the floor's first, with notes on what
//! failed.

use std::fmt::{self, Write as _};

use super::results::{Outcome, Results, Round};
use super::servers::{FLOOR, SERVERS, Server};
use super::stats::Stat;

/// A table.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    results: &'a Results,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    failures: Vec<String>,
    limited: bool,
}

impl<'a> Table<'a> {
    /// A table with these columns after that of the servers' names.
    pub(crate) fn new(results: &'a Results, columns: impl IntoIterator<Item = String>) -> Self {
        let mut head = vec!["server".to_owned()];
        head.extend(columns);
        Self { results, head, rows: Vec::new(), failures: Vec::new(), limited: false }
    }

    /// Adds a row for each server that was measured in one of the cells, of which each column has
    /// one; `write` says what stands there. A server that was not measured there has a dash, one
    /// that failed a note.
    pub(crate) fn fill<C: AsRef<str>>(
        mut self,
        cells: &[C],
        write: impl Fn(Entry<'_>) -> Option<String>,
    ) -> Self {
        for server in &SERVERS {
            let outcomes: Vec<Option<&Outcome>> =
                cells.iter().map(|cell| self.results.outcome(cell.as_ref(), server.name)).collect();
            if outcomes.iter().all(Option::is_none) {
                continue;
            }
            let mut row = vec![server.name.to_owned()];
            for (column, outcome) in outcomes.into_iter().enumerate() {
                let text = match outcome {
                    None => None,
                    Some(Outcome { failure: Some(reason), .. }) => Some(self.failed(server.name, reason)),
                    Some(outcome) => {
                        let limited = outcome.client_limited();
                        self.limited |= limited;
                        let text = write(Entry { column, server, outcome });
                        text.map(|text| if limited { format!("{text}\\*") } else { text })
                    }
                };
                row.push(text.unwrap_or_else(|| "–".to_owned()));
            }
            self.rows.push(row);
        }
        self
    }

    /// The mark of a failure, with a note of its reason.
    fn failed(&mut self, server: &str, reason: &str) -> String {
        let note = format!("{server}: {reason}");
        let number = self.failures.iter().position(|known| *known == note).unwrap_or_else(|| {
            self.failures.push(note);
            self.failures.len() - 1
        });
        format!("failed ({})", number + 1)
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return f.write_str("Not measured yet.\n");
        }
        f.write_str(&markdown(Columns::Numbers, &self.head, &self.rows))?;
        if self.limited {
            f.write_str("\n\\* The load generator was the limit: the server had time to spare.\n")?;
        }
        for (index, failure) in self.failures.iter().enumerate() {
            write!(f, "\n({}) {failure}\n", index + 1)?;
        }
        Ok(())
    }
}

/// One place of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// The column, counted from zero after that of the names.
    pub(crate) column: usize,
    /// The row.
    pub(crate) server: &'a Server,
    /// What was measured.
    pub(crate) outcome: &'a Outcome,
}

impl Entry<'_> {
    /// The median of a figure.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        Some(self.outcome.stat(figure)?.median)
    }

    /// The server's processor time as a multiple of the floor's; for the floor itself, the time.
    pub(crate) fn cpu_of_floor(&self) -> Option<String> {
        if self.server.name == FLOOR {
            return self.median(|round| round.report.cpu_ns()).map(time);
        }
        self.outcome.of_floor().map(multiple)
    }
}

/// What stands in the columns of a table after the first: numbers stand to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    Numbers,
    Words,
}

/// A table in Markdown.
pub(crate) fn markdown(columns: Columns, head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        text.push('|');
        for cell in cells {
            // Writing to a string does not fail.
            let _ = write!(text, " {} |", cell.replace('|', "\\|"));
        }
        text.push('\n');
    };
    line(head);
    let rule = |index| if index == 0 || columns == Columns::Words { "---" } else { "---:" };
    line(&(0..head.len()).map(|index| rule(index).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
    text
}

/// A figure of a server as a multiple of the floor's in the same cell: a ratio of medians, for
/// figures that a round does not keep of the floor.
pub(crate) fn beside_floor(
    results: &Results,
    cell: &str,
    server: &str,
    figure: impl Fn(&Round) -> Option<f64>,
) -> Option<f64> {
    let of = |server| results.stat(cell, server, &figure);
    Some(of(server)?.median / of(FLOOR)?.median)
}

/// `1.04 ±0.02`.
pub(crate) fn multiple(stat: Stat) -> String {
    format!("{:.2} ±{:.2}", stat.median, stat.spread)
}

/// Nanoseconds in the unit that suits them.
pub(crate) fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e5 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// A number with a comma between thousands.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

/// A number of octets.
pub(crate) fn size(octets: usize) -> String {
    match octets {
        _ if octets >= 1 << 20 && octets.is_multiple_of(1 << 20) => format!("{} MiB", octets >> 20),
        _ if octets >= 1 << 10 && octets.is_multiple_of(1 << 10) => format!("{} KiB", octets >> 10),
        _ => format!("{} B", thousands(octets as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Run;
    use crate::results::tests::{enter, outcome};
    use std::collections::BTreeMap;

    fn table(results: &Results) -> String {
        let columns = ["20 B", "1 KiB"].map(str::to_owned);
        let table = Table::new(results, columns).fill(&["a", "b"], |entry| entry.cpu_of_floor());
        table.to_string()
    }

    #[test]
    fn the_floor_is_absolute_and_the_others_are_multiples_of_it() {
        let mut results = Results::default();
        enter(&mut results, "a", &[("yawc", &[1300.0]), (FLOOR, &[1000.0])]);
        enter(&mut results, "b", &[("framewright", &[2100.0]), (FLOOR, &[2000.0]), ("yawc", &[4000.0])]);
        let expected = "| server | 20 B | 1 KiB |\n| --- | ---: | ---: |\n| floor | 1.00 µs | 2.00 µs |\n\
            | framewright | – | 1.05 ±0.00 |\n| yawc | 1.30 ±0.00 | 2.00 ±0.00 |\n";
        assert_eq!(table(&results), expected);
    }

    #[test]
    fn a_failure_has_a_note_with_its_reason() {
        let mut results = Results::default();
        let failed =
            Outcome { failure: Some("the server closed a connection".to_owned()), ..Outcome::default() };
        results.enter("a", &Run::default(), BTreeMap::from([("soketto".to_owned(), failed)]));
        let text = table(&results);
        assert!(text.contains("| soketto | failed (1) | – |\n"), "{text}");
        assert!(text.ends_with("\n(1) soketto: the server closed a connection\n"), "{text}");
    }

    #[test]
    fn a_cell_that_the_generator_limited_is_marked() {
        let mut results = Results::default();
        let mut limited = outcome(&[100.0, 100.0, 100.0]);
        for round in &mut limited.rounds[..2] {
            round.report.client_limited = Some(true);
        }
        results.enter("a", &Run::default(), BTreeMap::from([(FLOOR.to_owned(), limited)]));
        let text = table(&results);
        assert!(text.contains("| floor | 100 ns\\* | – |\n"), "{text}");
        assert!(text.contains("\\* The load generator was the limit"), "{text}");
    }

    #[test]
    fn numbers_are_written_so_that_they_can_be_read() {
        assert_eq!(
            [time(12.3), time(1234.0), time(123_456.0), time(2.5e6)],
            ["12 ns", "1.23 µs", "123 µs", "2.50 ms"]
        );
        assert_eq!(
            [thousands(0.4), thousands(999.6), thousands(1_234_567.0), thousands(-1500.0)],
            ["0", "1,000", "1,234,567", "-1,500"]
        );
        assert_eq!(
            [size(0), size(126), size(16_000), size(16 << 10), size(64 << 20)],
            ["0 B", "126 B", "16,000 B", "16 KiB", "64 MiB"]
        );
    }

    #[test]
    fn nothing_measured_is_said() {
        assert_eq!(table(&Results::default()), "Not measured yet.\n");
    }
}
