//! The section of the group of messages to many: what each arrival costs, how long it takes, and
//! what a subscription takes.

use super::results::{Results, Round};

use super::tables::{Table, multiple, size, thousands, time};
use super::targets::over;
use super::tls::bytes;
use super::workload::SUBSCRIPTIONS;

/// The cell of short messages.
pub(crate) const SINGLE: &str = "broadcast/128";
/// The cell of short messages that are published together.
pub(crate) const BURST: &str = "broadcast/128/16";
/// The cells of JSON: compressed, and as it is.
pub(crate) const JSON: [&str; 2] = ["broadcast/json/shared", "broadcast/json/off"];
/// The cells of many that listen: with some that do not read, and without.
pub(crate) const CROWD: [&str; 2] = ["broadcast/crowd/deaf", "broadcast/crowd/alone"];

/// The cells of memory, in the order of [`SUBSCRIPTIONS`].
pub(crate) fn memory_cells() -> [String; 4] {
    SUBSCRIPTIONS.map(|(name, _)| format!("broadcast/memory/{name}"))
}

/// The section's text and tables.
pub(crate) fn section(results: &Results) -> String {
    format!(
        "{INTRODUCTION}\n### What an arrival costs\n\n{}\n### Compressed messages\n\n{COMPRESSED}\n\n{}\n\
         ### Beside some that do not read\n\n{BESIDE}\n\n{}\n### Memory of subscriptions\n\n{MEMORY}\n\n{}",
        arrivals(results),
        compressed(results),
        crowd(results),
        memory(results)
    )
}

const INTRODUCTION: &str = "\
What one connection sends to `/pub` goes to all connections of `/sub`. The next message, or the next 16 in one write, leaves when all have the ones before. The **floor** is here a \
raw loop that sends each frame, ready as it is, to every socket: 16 frames at once are 16 sends to each. **framewright-topics** is Framewright's server with a topic. ws is a \
library for Node, websockets one for Python. How each is used is in [benches/peers/README.md](../benches/peers/README.md#with-messages-to-many).
";

const COMPRESSED: &str = "\
JSON of 1 KiB, each message compressed by itself: the server's processor time for an arrival, and what messages are compressed to.";

const BESIDE: &str = "\
128 B to 9,900 connections: the 99th percentile of the time from sending to an arrival. Then the same while 100 more connections do not read what they are sent: before it is measured, \
so much is sent that their kernels take no more. Framewright's drop the oldest messages that wait; the floor drops those that the kernel does not take.";

const MEMORY: &str = "\
User memory of 10,000 connections that listen: to nothing, to one topic that all share, to one of 1,000 topics with 10 connections each, and to 10 topics that all share.";

fn arrivals(results: &Results) -> String {
    let cells = [SINGLE, BURST, JSON[1]];
    let columns = [size(128), format!("{}, 16 at once", size(128)), format!("{} of JSON", size(1 << 10))];
    let cpu = Table::new(results, columns.clone()).fill(&cells, |entry| entry.cpu_of_floor());
    let user = Table::new(results, columns.clone())
        .fill(&cells, |entry| entry.median(|round| round.report.user_ns()).map(time));
    let rates = Table::new(results, columns).fill(&cells, |entry| {
        Some(format!("{:.0}", entry.median(|round| Some(round.report.messages_per_s))? / 1e3))
    });
    format!(
        "{cpu}\n<details><summary>Time of an arrival outside of the kernel</summary>\n\n{user}\n</details>\n\n\
         <details><summary>Thousands of arrivals a second</summary>\n\n{rates}\n</details>\n"
    )
}

fn compressed(results: &Results) -> String {
    let [shared, off] = JSON;
    let columns = ["as it is", "compressed", "multiple", "ratio"].map(str::to_owned);
    let table =
        Table::new(results, columns).fill(&[off, shared, shared, shared], |entry| match entry.column {
            0 | 1 => entry.median(|round| round.report.cpu_ns()).map(time),
            2 => over(results, entry.server.name, shared, off, |round| round.report.cpu_ns()).map(multiple),
            _ => entry.median(|round| round.report.reply_ratio).map(|ratio| format!("{ratio:.3}")),
        });
    table.to_string()
}

fn crowd(results: &Results) -> String {
    let [deaf, alone] = CROWD;
    let columns = ["p99 without them", "p99 with them", "multiple"].map(str::to_owned);
    let table = Table::new(results, columns).fill(&[alone, deaf, deaf], |entry| match entry.column {
        0 | 1 => entry.median(Round::p99).map(|micros| time(micros * 1e3)),
        _ => over(results, entry.server.name, deaf, alone, Round::p99).map(multiple),
    });
    table.to_string()
}

fn memory(results: &Results) -> String {
    let columns = ["to nothing", "to one topic", "to one of 1,000", "to 10"].map(str::to_owned);
    Table::new(results, columns).fill(&memory_cells(), |entry| entry.median(bytes).map(thousands)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Run;
    use crate::report::Idle;
    use crate::results::tests::{enter, outcome};
    use crate::servers::{FLOOR, OURS_TOPICS};
    use crate::workload::{Group, blocks};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn the_tables_have_all_cells_of_the_group() {
        let mut cells: BTreeSet<String> =
            [SINGLE, BURST].into_iter().chain(JSON).chain(CROWD).map(str::to_owned).collect();
        cells.extend(memory_cells());
        let all = blocks().into_iter().flatten();
        let group: BTreeSet<String> =
            all.filter(|cell| cell.group == Group::Broadcast).map(|cell| cell.name).collect();
        assert_eq!(cells, group);
    }

    #[test]
    fn the_section_tells_multiples_times_and_memory() {
        let mut results = Results::default();
        enter(&mut results, SINGLE, &[(FLOOR, &[2000.0]), (OURS_TOPICS, &[2100.0])]);
        enter(&mut results, JSON[1], &[(FLOOR, &[2000.0]), (OURS_TOPICS, &[2000.0])]);
        enter(&mut results, JSON[0], &[(OURS_TOPICS, &[2100.0])]);
        enter(&mut results, CROWD[1], &[(OURS_TOPICS, &[100_000.0])]);
        enter(&mut results, CROWD[0], &[(OURS_TOPICS, &[120_000.0])]);
        for (cell, bytes) in memory_cells().iter().zip([190.0, 210.0, 215.0, 430.0]) {
            let mut outcome = outcome(&[1.0]);
            outcome.rounds[0].report.idle = Some(Idle { bytes_per_connection: bytes });
            results.enter(cell, &Run::default(), BTreeMap::from([(OURS_TOPICS.to_owned(), outcome)]));
        }
        let text = section(&results);
        for part in [
            "| framewright-topics | 1.05 ±0.00 | – | 1.00 ±0.00 |",
            "| framewright-topics | 2.00 µs | 2.10 µs | 1.05 ±0.00 | – |",
            "| framewright-topics | 10.00 ms | 12.00 ms | 1.20 ±0.00 |",
            "| framewright-topics | 190 | 210 | 215 | 430 |",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
