//! The section of the TLS group: what messages, connections and handshakes cost over TLS.

use std::fmt::Write as _;

use super::results::{Results, Round};
use super::tables::{Table, size, thousands, time};
use super::workload::TLS_SIZES;

/// The cells of one message in flight on each connection.
pub(crate) fn echo_cells() -> [String; 3] {
    TLS_SIZES.map(|octets| format!("tls/echo/{octets}"))
}

/// The cell of short messages, many in flight.
pub(crate) const PIPELINED: &str = "tls/pipelined/20";
/// The cell of large messages.
pub(crate) const LARGE: &str = "tls/large/1M";
/// The cell of connections that have echoed once.
pub(crate) const IDLE: &str = "tls/idle/2000";
/// The cells of connections that begin and end: with full handshakes, and with resumed sessions.
pub(crate) const CONNECT: [&str; 2] = ["tls/connect/full", "tls/connect/resumed"];

/// The section's text and tables.
pub(crate) fn section(results: &Results) -> String {
    let mut text = INTRODUCTION.to_owned();
    let agreed = results
        .cells
        .iter()
        .filter(|(cell, _)| cell.starts_with("tls/"))
        .flat_map(|(_, servers)| servers.values())
        .flat_map(|outcome| &outcome.rounds)
        .find_map(|round| round.report.tls.as_ref());
    // Writing to a string does not fail.
    if let Some(agreed) = agreed {
        let _ = writeln!(text, "\nAll agree on the same: {agreed}.");
    }
    let _ = write!(
        text,
        "\n### Messages\n\n{}\n### Memory of 2,000 connections\n\n{MEMORY}\n\n{}\n### Connecting\n\n{CYCLES}\n\n{}",
        messages(results),
        memory(results),
        connecting(results)
    );
    text
}

const INTRODUCTION: &str = "\
The **floor** is here a loop over bare rustls, which decrypts what it receives and encrypts it again without looking at it: same provider (aws-lc-rs), same cipher suite, same \
reads. The peers run over tokio-rustls. All servers have the same certificate, with a key on P-256, and a key for session tickets. The load generator offers one cipher suite, \
TLS13_AES_128_GCM_SHA256. How each is used is in [benches/peers/README.md](../benches/peers/README.md#with-tls).
";

const MEMORY: &str = "\
Bytes of user memory for a connection behind its handshake and one echo of 16,000 bytes, which makes a record almost as long as records can be.";

const CYCLES: &str = "\
A cycle is a connection with its TLS handshake, its opening and its closing handshake, 16 at a time; for the floor one with as many bytes each way as the request of an \
opening handshake has. In a full handshake the server signs; a resumed one has a key exchange and no signature.";

fn cpu_columns() -> (Vec<String>, Vec<String>) {
    let mut columns = TLS_SIZES.map(size).to_vec();
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

fn memory(results: &Results) -> String {
    let columns = ["bytes of user memory for a connection".to_owned()];
    Table::new(results, columns).fill(&[IDLE], |entry| entry.median(bytes).map(thousands)).to_string()
}

/// User memory for a connection.
pub(crate) fn bytes(round: &Round) -> Option<f64> {
    Some(round.report.idle.as_ref()?.bytes_per_connection)
}

fn connecting(results: &Results) -> String {
    let [full, resumed] = CONNECT;
    let columns = ["full: CPU of a cycle", "cycles a second", "resumed: CPU of a cycle", "cycles a second"]
        .map(str::to_owned);
    let table = Table::new(results, columns).fill(&[full, full, resumed, resumed], |entry| {
        if entry.column.is_multiple_of(2) {
            entry.cpu_of_floor()
        } else {
            entry.median(|round| Some(round.report.messages_per_s)).map(thousands)
        }
    });
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Run;
    use crate::report::{Idle, Tls};
    use crate::results::tests::{enter, outcome};
    use crate::servers::{FLOOR, OURS};
    use crate::workload::{Group, blocks};
    use std::collections::BTreeMap;

    #[test]
    fn the_tables_have_all_cells_of_the_group() {
        let (_, mut cells) = cpu_columns();
        cells.push(IDLE.to_owned());
        cells.extend(CONNECT.map(str::to_owned));
        let group: Vec<String> = blocks()
            .into_iter()
            .flatten()
            .filter(|cell| cell.group == Group::Tls)
            .map(|cell| cell.name)
            .collect();
        assert_eq!(cells, group);
    }

    #[test]
    fn the_section_tells_multiples_memory_and_what_was_agreed_on() {
        let mut results = Results::default();
        enter(&mut results, "tls/echo/20", &[(FLOOR, &[4000.0]), (OURS, &[4100.0])]);
        enter(&mut results, CONNECT[1], &[(FLOOR, &[200_000.0]), (OURS, &[210_000.0])]);
        let mut idle = outcome(&[1.0]);
        idle.rounds[0].report.idle = Some(Idle { bytes_per_connection: 3891.4 });
        idle.rounds[0].report.tls = Some(Tls {
            version: "TLSv1_3".to_owned(),
            cipher_suite: "TLS13_AES_128_GCM_SHA256".to_owned(),
            key_exchange: Some("X25519".to_owned()),
        });
        results.enter(IDLE, &Run::default(), BTreeMap::from([(OURS.to_owned(), idle)]));
        let text = section(&results);
        for part in [
            "| framewright | 1.02 ±0.00 | – | – | – | – |",
            "| framewright | 3,891 |",
            "| framewright | – | – | 1.05 ±0.00 | 4,762 |",
            "All agree on the same: TLSv1_3, TLS13_AES_128_GCM_SHA256, X25519.",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
