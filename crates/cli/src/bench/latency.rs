//! Times in a histogram of high dynamic range: three significant digits from a nanosecond to an
//! hour, in fixed memory.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> Latency {
        Latency(Histogram::new_with_bounds(1, HOUR, 3).expect("bounds that a histogram can have"))
    }

    /// As many messages that took so many nanoseconds.
    #[inline]
    pub(super) fn record(&mut self, nanos: u64, count: u64) {
        self.0.saturating_record_n(nanos, count);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds that this share of the messages did not exceed.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        micros(self.0.value_at_quantile(share))
    }

    pub(super) fn min(&self) -> f64 {
        micros(self.0.min())
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    pub(super) fn max(&self) -> f64 {
        micros(self.0.max())
    }

    /// In microseconds; `null` if nothing was recorded.
    pub(super) fn to_json(&self) -> Value {
        if self.count() == 0 {
            return Value::Null;
        }
        json!({
            "min": self.min(),
            "mean": self.mean(),
            "p50": self.quantile(0.5),
            "p90": self.quantile(0.9),
            "p99": self.quantile(0.99),
            "p99_9": self.quantile(0.999),
            "p99_99": self.quantile(0.9999),
            "max": self.max(),
            "count": self.count(),
        })
    }

    /// A drawing of the distribution: a line for each range of times, its bar as long as the range
    /// has messages. Ranges grow by a constant factor, so that the tail has its place.
    pub(super) fn draw(&self) -> Vec<String> {
        if self.count() == 0 {
            return Vec::new();
        }
        let (least, most) = (self.0.min().max(1), self.0.max());
        let factor = ((most as f64 / least as f64).powf(1.0 / LINES)).max(1.1);
        let mut ranges = Vec::new();
        let mut from = least as f64;
        let mut counted = 0;
        while counted < self.count() && ranges.len() < 4 * BAR {
            let to = from * factor;
            let below = self.below(to);
            ranges.push((from, to, below - counted));
            (from, counted) = (to, below);
        }
        let fullest = ranges.iter().map(|range| range.2).max().unwrap_or(1).max(1);
        let line = |&(from, to, count): &(f64, f64, u64)| {
            let share = 100.0 * count as f64 / self.count() as f64;
            let bar = bar(count, fullest);
            format!("{:>10} to {:>10} {share:7.3} % {bar}", time(from / 1000.0), time(to / 1000.0))
        };
        ranges.iter().map(line).collect()
    }

    /// How many took less than so many nanoseconds.
    fn below(&self, nanos: f64) -> u64 {
        let below = self.0.iter_recorded().take_while(|value| (value.value_iterated_to() as f64) < nanos);
        below.map(|value| value.count_at_value()).sum()
    }
}

/// A number of microseconds in the unit that suits it.
pub(super) fn time(micros: f64) -> String {
    if micros < 1000.0 {
        format!("{micros:.1} us")
    } else if micros < 1_000_000.0 {
        format!("{:.2} ms", micros / 1000.0)
    } else {
        format!("{:.2} s", micros / 1_000_000.0)
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// A bar in eighths of a character; what is not nothing shows.
fn bar(count: u64, fullest: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let whole = BAR as u64 * 8;
    let eighths = (u128::from(count) * u128::from(whole) / u128::from(fullest)).max(u128::from(count > 0));
    let eighths = usize::try_from(eighths).expect("no longer than the longest");
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// The longest time that is told from longer ones, in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;
/// Lines of a drawing, more or less.
const LINES: f64 = 16.0;
/// Characters of the longest bar.
const BAR: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_microseconds_and_right_to_three_digits() {
        let mut latency = Latency::new();
        for micros in 1..=1000 {
            latency.record(micros * 1000, 10);
        }
        let near =
            |value: f64, wanted: f64| assert!((value / wanted - 1.0).abs() < 0.002, "{value} for {wanted}");
        near(latency.quantile(0.5), 500.0);
        near(latency.quantile(0.99), 990.0);
        near(latency.mean(), 500.5);
        near(latency.min(), 1.0);
        near(latency.max(), 1000.0);
        assert_eq!(latency.count(), 10_000);
        assert_eq!(latency.to_json()["count"], 10_000);
        assert_eq!(Latency::new().to_json(), Value::Null);
    }

    #[test]
    fn the_drawing_has_all_messages_and_the_tail() {
        let mut latency = Latency::new();
        latency.record(10_000, 1_000_000);
        latency.record(20_000, 500_000);
        latency.record(5_000_000, 1);
        let lines = latency.draw();
        assert!((10..25).contains(&lines.len()), "{lines:#?}");
        assert_eq!(lines[0].chars().filter(|&c| c == '█').count(), BAR);
        assert!(lines.last().unwrap().ends_with("0.000 % ▏"), "{lines:#?}");
        let mut same = Latency::new();
        same.record(7, 3);
        assert_eq!(same.draw().len(), 1);
        assert!(Latency::new().draw().is_empty());
    }
}
