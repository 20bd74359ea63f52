//! The sections of the document, one for each group of workloads: what its tables and its charts
//! show.

use std::fmt::Write as _;
use std::path::Path;

use super::broadcast;
use super::charts::{Chart, Series};
use super::compression;
use super::results::{Outcome, Results, Round};
use super::servers::{FLOOR, SERVERS};
use super::stats::Stat;
use super::tables::{Entry, Table, beside_floor, multiple, size, thousands, time};
use super::targets::over;
use super::tls;
use super::tokio;
use super::workload::{
    DEPTHS, ECHO_CONNECTIONS, ECHO_SIZES, EQUAL_SHARE, Group, KINDS, LARGE, LATENCY_SHARES, MAXIMUM,
    PIPELINED_SIZES,
};

/// Writes sections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sections<'a> {
    /// What was measured.
    pub(crate) results: &'a Results,
    /// Where the document is; charts lie in a folder `benchmarks` there.
    pub(crate) folder: &'a Path,
}

impl Sections<'_> {
    /// The section of a group.
    ///
    /// # Errors
    /// If a chart cannot be written.
    pub(crate) fn section(self, group: Group) -> anyhow::Result<String> {
        let measured = self.results.cells.keys().any(|cell| cell.split('/').next() == Some(group.name()));
        let (title, body) = match group {
            Group::Echo => ("Echo, one message in flight", self.echo()?),
            Group::Pipelined => ("Echo, several messages in flight", self.pipelined()?),
            Group::Text => ("Text beside binary", self.text()),
            Group::Large => ("Large messages", self.large()?),
            Group::Idle => ("Memory of idle connections", self.idle()?),
            Group::Connect => ("Connecting", self.connect()),
            Group::Latency => ("Latency by load", self.latency()?),
            Group::Fairness => ("Fairness", self.fairness()),
            Group::Compression => ("Compression", compression::section(self.results)),
            Group::Tls => ("TLS", tls::section(self.results)),
            Group::Tokio => ("On tokio", tokio::section(self.results)),
            Group::Broadcast => ("Messages to many", broadcast::section(self.results)),
        };
        let body = if measured { body } else { "Not measured yet.".to_owned() };
        Ok(format!("## {title}\n\n`cargo bench-report --only {group}`: {}.\n\n{body}", group.about()))
    }

    fn echo(self) -> anyhow::Result<String> {
        let mut text = String::new();
        for connections in ECHO_CONNECTIONS {
            let cells = ECHO_SIZES.map(|octets| format!("echo/{connections}/{octets}"));
            if cells.iter().all(|cell| !self.results.cells.contains_key(cell)) {
                continue;
            }
            let heading = format!("{} connections", thousands(connections as f64));
            let cpu = self.table(ECHO_SIZES.map(size), &cells, |entry| entry.cpu_of_floor());
            let chart = Chart {
                title: format!("Server CPU of an echo, {heading}, one message in flight"),
                across: "payload".to_owned(),
                up: "x floor".to_owned(),
                labels: ECHO_SIZES.map(size).to_vec(),
                series: self.of_floor(&cells),
                bottom: 0.9,
                top: Some(2.5),
            };
            let image = self.image(&format!("echo-{connections}"), &chart, Chart::lines)?;
            let rates = self.table(ECHO_SIZES.map(size), &cells, |entry| {
                Some(format!("{:.1}", entry.median(rate)? / 1e3))
            });
            let latencies = self.table(ECHO_SIZES.map(size), &cells, |entry| {
                Some(format!("{:.0} / {:.0}", entry.median(p50)?, entry.median(p99)?))
            });
            // Writing to a string does not fail.
            let _ = write!(text, "### {heading}\n\n{cpu}\n{image}");
            text.push_str(&folded("Thousands of messages a second", &rates));
            text.push_str(&folded("Latency in µs: median / 99th percentile", &latencies));
        }
        Ok(text)
    }

    fn pipelined(self) -> anyhow::Result<String> {
        let mut text = String::new();
        for octets in PIPELINED_SIZES {
            let cells = DEPTHS.map(|depth| format!("pipelined/{depth}/{octets}"));
            let columns = DEPTHS.map(|depth| format!("{depth} in flight"));
            let cpu = self.table(columns.clone(), &cells, |entry| entry.cpu_of_floor());
            let user = self.table(columns.clone(), &cells, |entry| entry.median(user_ns).map(time));
            let per_cpu = self.table(columns, &cells, |entry| {
                Some(format!("{:.2}", entry.median(millions_per_cpu_second)?))
            });
            let chart = Chart {
                title: format!("Messages of {} per second of processor time", size(octets)),
                across: "messages in flight on each connection".to_owned(),
                up: "millions".to_owned(),
                labels: DEPTHS.map(|depth| depth.to_string()).to_vec(),
                series: self.series(&cells, |_, outcome| outcome.stat(millions_per_cpu_second)),
                bottom: 0.0,
                top: None,
            };
            let image = self.image(&format!("pipelined-{octets}"), &chart, Chart::lines)?;
            let _ = write!(
                text,
                "### {}\n\n{cpu}\nTime of a message outside of the kernel:\n\n{user}\nMillions of messages per second \
                 of processor time:\n\n{per_cpu}\n{image}",
                size(octets)
            );
        }
        Ok(text)
    }

    fn text(self) -> String {
        let cells = KINDS.map(|kind| format!("text/{kind}"));
        let cpu = self.table(KINDS.map(str::to_owned), &cells, |entry| entry.cpu_of_floor());
        let kinds = KINDS[1..].iter().map(|&kind| kind.to_owned());
        let beside = self.table(kinds, &cells[1..], |entry| {
            over(self.results, entry.server.name, &cells[entry.column + 1], &cells[0], cpu_ns).map(multiple)
        });
        format!(
            "{cpu}\nAs a multiple of the same server's time for binary messages: what it costs to check that text is \
             UTF-8.\n\n{beside}"
        )
    }

    fn large(self) -> anyhow::Result<String> {
        let cells = LARGE.map(|(mebibytes, ..)| format!("large/{mebibytes}M"));
        let columns = LARGE.map(|(mebibytes, ..)| size(mebibytes << 20));
        let cpu = self.table(columns.clone(), &cells, |entry| entry.cpu_of_floor());
        let rates = self.table(columns.clone(), &cells, |entry| {
            Some(thousands(entry.median(rate)? * LARGE[entry.column].0 as f64))
        });
        let chart = Chart {
            title: "Server CPU of an echo of large messages".to_owned(),
            across: "payload".to_owned(),
            up: "x floor".to_owned(),
            labels: columns.to_vec(),
            series: self.of_floor(&cells),
            bottom: 0.9,
            top: Some(4.0),
        };
        let image = self.image("large", &chart, Chart::lines)?;
        Ok(format!("{cpu}\nMiB a second, each way:\n\n{rates}\n{image}"))
    }

    fn idle(self) -> anyhow::Result<String> {
        let cells = ["idle/10000"];
        let bytes = |round: &Round| Some(round.report.idle.as_ref()?.bytes_per_connection);
        let columns = ["bytes of user memory for a connection"].map(str::to_owned);
        let table = self.table(columns, &cells, |entry| entry.median(bytes).map(thousands));
        let chart = Chart {
            title: "User memory of an idle connection (logarithmic)".to_owned(),
            across: String::new(),
            up: "bytes".to_owned(),
            labels: Vec::new(),
            series: self.series(&cells, |_, outcome| outcome.stat(bytes)),
            bottom: 0.0,
            top: None,
        };
        let image = self.image("idle", &chart, Chart::bars)?;
        Ok(format!(
            "{table}\nThe kernel's memory for a socket comes on top; it is the same for all.\n\n{image}"
        ))
    }

    fn connect(self) -> String {
        let cells = ["connect/16"; 3];
        let columns = ["CPU of a cycle", "cycles a second", "of the floor's"].map(str::to_owned);
        let table = self.table(columns, &cells, |entry| match entry.column {
            0 => entry.cpu_of_floor(),
            1 => entry.median(rate).map(thousands),
            _ => Some(format!("{:.2}", beside_floor(self.results, cells[0], entry.server.name, rate)?)),
        });
        format!(
            "A cycle is a connection with its opening and its closing handshake. For the floor it is one with as many \
             bytes each way as the request of an opening handshake has.\n\n{table}"
        )
    }

    fn latency(self) -> anyhow::Result<String> {
        let mut cells: Vec<String> = LATENCY_SHARES.iter().map(|share| format!("latency/{share}")).collect();
        let chart = Chart {
            title: "99th percentile of the latency by load".to_owned(),
            across: "rate, of the server's own highest".to_owned(),
            up: "µs".to_owned(),
            labels: LATENCY_SHARES.iter().map(|share| format!("{share} %")).collect(),
            series: self.series(&cells, |_, outcome| outcome.stat(p99)),
            bottom: 0.0,
            top: None,
        };
        let image = self.image("latency", &chart, Chart::lines)?;
        cells.insert(0, MAXIMUM.to_owned());
        cells.push("latency/equal".to_owned());
        let mut columns = vec!["highest rate".to_owned()];
        columns.extend(LATENCY_SHARES.iter().map(|share| format!("at {share} % of it")));
        columns.push(format!("at {EQUAL_SHARE} % of the floor's"));
        let table = self.table(columns, &cells, |entry| {
            if entry.column == 0 {
                return entry.median(rate).map(thousands);
            }
            let [p50, p99, p99_9] = [p50, p99, p99_9].map(|percentile| entry.median(percentile));
            let figures = format!("{:.0} / {:.0} / {:.0}", p50?, p99?, p99_9?);
            if entry.server.name == FLOOR {
                return Some(figures);
            }
            let multiple = beside_floor(self.results, &cells[entry.column], entry.server.name, self::p99)?;
            Some(format!("{figures} ({multiple:.2})"))
        });
        Ok(format!(
            "Messages a second, then latency in µs: median / 99th percentile / 99.9th, and the 99th as a multiple of the \
             floor's. A latency counts from the time when the schedule wanted the message to be sent.\n\n{table}\n{image}"
        ))
    }

    fn fairness(self) -> String {
        let [alone, flooded] = ["fairness/alone", "fairness/flooded"];
        let columns = ["p99 without it", "p99 while one floods", "multiple"].map(str::to_owned);
        let table = self.table(columns, &[alone, flooded, flooded], |entry| match entry.column {
            0 | 1 => Some(format!("{:.0} µs", entry.median(p99)?)),
            _ => over(self.results, entry.server.name, flooded, alone, p99).map(multiple),
        });
        format!(
            "The one that floods keeps 64 messages of 16 KiB in flight. The floor does nothing for fairness: it stays with a \
             connection as long as there is something to read.\n\n{table}"
        )
    }

    fn table<C: AsRef<str>>(
        self,
        columns: impl IntoIterator<Item = String>,
        cells: &[C],
        write: impl Fn(Entry<'_>) -> Option<String>,
    ) -> String {
        Table::new(self.results, columns).fill(cells, write).to_string()
    }

    /// The multiples of the floor of every server but the floor.
    fn of_floor(self, cells: &[String]) -> Vec<Series> {
        self.series(cells, |server, outcome| if server == FLOOR { None } else { outcome.of_floor() })
    }

    /// A series for each server with a value in one of the cells.
    fn series<C: AsRef<str>>(
        self,
        cells: &[C],
        value: impl Fn(&str, &Outcome) -> Option<Stat>,
    ) -> Vec<Series> {
        let series = SERVERS.iter().map(|server| {
            let values = cells.iter().map(|cell| {
                let outcome = self.results.outcome(cell.as_ref(), server.name)?;
                Some(value(server.name, outcome)?.median)
            });
            (server.name, values.collect::<Vec<_>>())
        });
        series.filter(|(_, values)| values.iter().any(Option::is_some)).collect()
    }

    /// Draws a chart into its file, and gives the line that shows it.
    fn image(
        self,
        name: &str,
        chart: &Chart,
        draw: fn(&Chart, &Path) -> anyhow::Result<bool>,
    ) -> anyhow::Result<String> {
        let file = format!("benchmarks/{name}.svg");
        let drawn = draw(chart, &self.folder.join(&file))?;
        Ok(if drawn { format!("![{}]({file})\n\n", chart.title) } else { String::new() })
    }
}

/// A table that is shown when its title is clicked.
fn folded(title: &str, table: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{table}\n</details>\n\n")
}

fn rate(round: &Round) -> Option<f64> {
    Some(round.report.messages_per_s)
}

fn cpu_ns(round: &Round) -> Option<f64> {
    round.report.cpu_ns()
}

fn user_ns(round: &Round) -> Option<f64> {
    round.report.user_ns()
}

fn millions_per_cpu_second(round: &Round) -> Option<f64> {
    Some(1e3 / round.report.cpu_ns()?)
}

fn p50(round: &Round) -> Option<f64> {
    Some(round.report.latency_us.as_ref()?.p50)
}

fn p99(round: &Round) -> Option<f64> {
    round.report.p99()
}

fn p99_9(round: &Round) -> Option<f64> {
    Some(round.report.latency_us.as_ref()?.p99_9)
}
