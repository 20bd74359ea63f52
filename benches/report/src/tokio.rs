//! The section of the group on tokio: what messages and connections cost servers that are tasks of
//! tokio's.

use framewright_cli::Compress;

use super::results::Results;
use super::tables::{Table, size, thousands, time};
use super::tls::bytes;
use super::workload::TOKIO_SIZES;

/// The cells of one message in flight on each connection.
pub(crate) fn echo_cells() -> [String; 3] {
    TOKIO_SIZES.map(|octets| format!("tokio/echo/{octets}"))
}

/// The cell of short messages, many in flight.
pub(crate) const PIPELINED: &str = "tokio/pipelined/20";
/// The cell of large messages.
pub(crate) const LARGE: &str = "tokio/large/1M";
/// The cell of connections on which nothing happens.
pub(crate) const IDLE: &str = "tokio/idle/10000";

/// The cells of compressed messages.
pub(crate) fn compressed_cells() -> [String; 2] {
    Compress::MODES.map(|mode| format!("tokio/compressed/{mode}"))
}

/// The section's text and tables.
pub(crate) fn section(results: &Results) -> String {
    format!(
        "{INTRODUCTION}\n### Messages\n\n{}\n### Compressed messages\n\n{COMPRESSED}\n\n{}\n### Memory of 10,000 connections\n\n\
         {MEMORY}\n\n{}",
        messages(results),
        compressed(results),
        memory(results)
    )
}

const INTRODUCTION: &str = "\
The **floor** is here a task of tokio's for each connection, which sends back the bytes that it reads without looking at them. All servers run on tokio's current-thread \
runtime, with a task for each connection. **framewright-tokio** is the crate of that name: the message that `recv` lends is fed to the sender.
";

const COMPRESSED: &str = "\
JSON of 1 KiB, one message in flight on each of 32 connections, compressed both ways: the server's processor time for a message.";

const MEMORY: &str =
    "Bytes of user memory for a connection on which nothing has happened, its task included.";

fn cpu_columns() -> (Vec<String>, Vec<String>) {
    let mut columns = TOKIO_SIZES.map(size).to_vec();
    columns.extend(["20 B, 32 in flight", "1 MiB"].map(str::to_owned));
    let mut cells = echo_cells().to_vec();
    cells.extend([PIPELINED, LARGE].map(str::to_owned));
    (columns, cells)
}

fn messages(results: &Results) -> String {
    let (columns, cells) = cpu_columns();
    let cpu = Table::new(results, columns.clone()).fill(&cells, |entry| entry.cpu_of_floor());
    let user = Table::new(results, columns.clone())
        .fill(&cells, |entry| entry.median(|round| round.report.user_ns()).map(time));
    let rates = Table::new(results, columns).fill(&cells, |entry| {
        Some(format!("{:.1}", entry.median(|round| Some(round.report.messages_per_s))? / 1e3))
    });
    format!(
        "{cpu}\n<details><summary>Time of a message outside of the kernel</summary>\n\n{user}\n</details>\n\n\
         <details><summary>Thousands of messages a second</summary>\n\n{rates}\n</details>\n"
    )
}

fn compressed(results: &Results) -> String {
    let cells = compressed_cells();
    let columns = ["shared", "its ratio", "takeover", "its ratio"].map(str::to_owned);
    let [shared, takeover] = &cells;
    let table = Table::new(results, columns).fill(&[shared, shared, takeover, takeover], |entry| {
        if entry.column.is_multiple_of(2) {
            entry.median(|round| round.report.cpu_ns()).map(time)
        } else {
            entry.median(|round| round.report.reply_ratio).map(|ratio| format!("{ratio:.3}"))
        }
    });
    table.to_string()
}

fn memory(results: &Results) -> String {
    let columns = ["bytes of user memory for a connection".to_owned()];
    let table = Table::new(results, columns).fill(&[IDLE], |entry| entry.median(bytes).map(thousands));
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Run;
    use crate::report::Idle;
    use crate::results::tests::{enter, outcome};
    use crate::servers::{FLOOR, OURS_TOKIO};
    use crate::workload::{Group, blocks};
    use std::collections::BTreeMap;

    #[test]
    fn the_tables_have_all_cells_of_the_group() {
        let (_, mut cells) = cpu_columns();
        cells.extend(compressed_cells());
        cells.push(IDLE.to_owned());
        let group: Vec<String> = blocks()
            .into_iter()
            .flatten()
            .filter(|cell| cell.group == Group::Tokio)
            .map(|cell| cell.name)
            .collect();
        assert_eq!(cells, group);
    }

    #[test]
    fn the_section_tells_multiples_ratios_and_memory() {
        let mut results = Results::default();
        enter(&mut results, "tokio/echo/20", &[(FLOOR, &[4000.0]), (OURS_TOKIO, &[4100.0])]);
        let mut compressing = outcome(&[7000.0]);
        compressing.rounds[0].report.reply_ratio = Some(0.295);
        let mut idle = outcome(&[1.0]);
        idle.rounds[0].report.idle = Some(Idle { bytes_per_connection: 1391.4 });
        for (cell, outcome) in [(compressed_cells()[1].as_str(), compressing), (IDLE, idle)] {
            results.enter(cell, &Run::default(), BTreeMap::from([(OURS_TOKIO.to_owned(), outcome)]));
        }
        let text = section(&results);
        for part in [
            "| framewright-tokio | 1.02 ±0.00 | – | – | – | – |",
            "| framewright-tokio | – | – | 7.00 µs | 0.295 |",
            "| framewright-tokio | 1,391 |",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
