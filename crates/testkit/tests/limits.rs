//! What docs/LIMITS.md says the defaults are, beside the defaults.
//!
//! The page's tables have a column `default`. A row whose first cell begins with the name of a
//! setting is compared with the code; each setting has such a row, or is listed here as no limit.

use framewright::Config;
use framewright::deflate::DeflateConfig;
use framewright::handshake::HeadLimits;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

const PAGE: &str = include_str!("../../../docs/LIMITS.md");

/// The part that repeats a few defaults, for whoever reads no further.
const SHORT: &str = "What most people set";
/// The parts of the page that tell defaults.
const SERVER: [&str; 2] = ["Before a connection is open", "While it is open"];
const CLIENT: &str = "The client";
const COMPRESSION: &str = "Compression";
const TOPICS: &str = "Topics";

/// Settings that limit nothing, or consist of settings.
const NO_LIMITS: [(&str, &[&str]); 5] = [
    ("Config", &["delivery", "deflate"]),
    ("DeflateConfig", &["level"]),
    ("ServerLimits", &["head"]),
    ("Options", &["connection", "allowed_origins", "allowed_hosts", "compression", "websocket_enabled"]),
    ("client::Options", &["connection", "one_at_a_time", "proxy", "tls", "compression", "addresses"]),
];

/// A default, as the code or the page has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    None,
    Number(u64),
    Time(Duration),
    /// Something else, or a struct.
    Text(String),
}

impl Value {
    /// What the page says: a number with a unit in front, `none`, or words.
    fn of_page(cell: &str) -> Value {
        let is_digit = |(at, letter): (usize, char)| {
            letter.is_ascii_digit()
                || (letter == ',' && cell[at + 1..].starts_with(|next: char| next.is_ascii_digit()))
        };
        let digits = cell.char_indices().find(|&place| !is_digit(place)).map_or(cell.len(), |(at, _)| at);
        let Ok(number) = cell[..digits].replace(',', "").parse() else {
            let words = cell.split(',').next().unwrap_or_default();
            return if words == "none" { Value::None } else { Value::Text(words.to_owned()) };
        };
        let unit = cell[digits..].trim_start().split([' ', ',', ';']).next().unwrap_or_default();
        match unit {
            "KiB" => Value::Number(number << 10),
            "MiB" => Value::Number(number << 20),
            "ms" => Value::Time(Duration::from_millis(number)),
            "s" => Value::Time(Duration::from_secs(number)),
            "min" => Value::Time(Duration::from_secs(60 * number)),
            _ => Value::Number(number),
        }
    }

    /// What `Debug` says of a field.
    fn of_code(text: &str) -> Value {
        let inner = text.strip_prefix("Some(").and_then(|inner| inner.strip_suffix(')'));
        let text = inner.map_or(text, |inner| inner.trim_end_matches(','));
        let time = || Some(Duration::from_secs(text.strip_suffix('s')?.parse().ok()?));
        match text {
            "None" => Value::None,
            // `MemoryLimit::Auto`.
            "Auto" => Value::Text("a quarter of the memory there is".to_owned()),
            _ => match (text.parse(), time()) {
                (Ok(number), _) => Value::Number(number),
                (_, Some(time)) => Value::Time(time),
                _ => Value::Text(text.to_owned()),
            },
        }
    }
}

/// The fields of a struct by their names, with what `Debug` says of each in one line.
fn fields(settings: &impl Debug) -> BTreeMap<String, Value> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in format!("{settings:#?}").lines() {
        let line = line.strip_prefix("    ").unwrap_or_default();
        match line.split_once(": ") {
            Some((name, value)) if !name.starts_with([' ', '}', ')', ']']) => {
                fields.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                if let Some((_, value)) = fields.last_mut() {
                    value.push_str(line.trim_start());
                }
            }
        }
    }
    let value = |text: &str| Value::of_code(text.trim_end_matches(','));
    fields.into_iter().map(|(name, text)| (name, value(&text))).collect()
}

/// A row that begins with the name of a setting.
#[derive(Debug)]
struct Row {
    section: String,
    /// The struct, if it is named.
    of: Option<String>,
    name: String,
    default: Value,
}

fn rows(page: &str) -> Vec<Row> {
    let (mut section, mut has_defaults) = ("", false);
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[_, first, default, ..] = &cells[..] else {
            has_defaults = false;
            continue;
        };
        has_defaults |= default == "default";
        let name = first.strip_prefix('`').and_then(|rest| rest.split('`').next());
        if let Some(name) = name.filter(|_| has_defaults) {
            let (of, name) = match name.rsplit_once("::") {
                Some((of, name)) => (Some(of.to_owned()), name),
                None => (None, name),
            };
            let default = Value::of_page(default);
            rows.push(Row { section: section.to_owned(), of, name: name.to_owned(), default });
        }
    }
    rows
}

/// The structs with settings, by their names.
type Settings = BTreeMap<&'static str, BTreeMap<String, Value>>;

fn settings() -> Settings {
    let client = framewright_client::Options::default();
    BTreeMap::from([
        ("Config", fields(&Config::default())),
        ("DeflateConfig", fields(&DeflateConfig::default())),
        ("HeadLimits", fields(&HeadLimits::default())),
        ("Options", fields(&framewright_server::Options::default())),
        ("ServerLimits", fields(&framewright_server::ServerLimits::default())),
        ("TopicLimits", fields(&framewright_server::topics::TopicLimits::default())),
        ("client::Config", fields(&client.connection)),
        ("client::Options", fields(&client)),
    ])
}

/// The structs that a row can be about: in each part of the page there is one whose name is left
/// out.
fn structs(row: &Row) -> Vec<&'static str> {
    match (row.section.as_str(), row.of.as_deref()) {
        (CLIENT, None) => vec!["client::Options"],
        (CLIENT, Some("Config")) => vec!["client::Config"],
        (CLIENT, Some(_)) => vec![],
        (COMPRESSION, None) => vec!["DeflateConfig", "Config"],
        (TOPICS, None) => vec!["TopicLimits"],
        (_, None) => vec!["Config"],
        (_, Some(of)) => ["Config", "HeadLimits", "Options", "ServerLimits"]
            .into_iter()
            .filter(|name| *name == of)
            .collect(),
    }
}

/// What is wrong with the page, a line each.
fn faults(page: &str, settings: &Settings) -> Vec<String> {
    let mut faults = Vec::new();
    let mut told: Vec<(&str, String)> = Vec::new();
    let default_of = |of: &str, name: &str| settings[of].get(name);
    for row in rows(page) {
        let candidates = structs(&row);
        let found = candidates.iter().find_map(|&of| Some((of, default_of(of, &row.name)?)));
        match found {
            // A method, such as one with a deadline as its argument.
            None if candidates.is_empty() => {}
            None => faults.push(format!("{}: there is no setting `{}`", row.section, row.name)),
            Some((of, default)) => {
                // What a struct holds is told field by field, elsewhere.
                let is_struct = matches!(default, Value::Text(text) if text.ends_with('}'));
                if *default != row.default && !is_struct {
                    faults.push(format!("`{of}::{}` is {default:?}, not {:?}", row.name, row.default));
                }
                // The row of the short table stands beside one that explains the setting.
                if row.section != SHORT {
                    told.push((of, row.name));
                }
            }
        }
    }
    for (of, fields) in settings {
        let no_limits = NO_LIMITS.iter().find(|(name, _)| name == of).map_or(&[][..], |(_, names)| names);
        for (name, default) in fields {
            // Of a client's `Config` only what differs needs a row of its own.
            let is_known = *of == "client::Config" && default_of("Config", name) == Some(default);
            if !is_known && !no_limits.contains(&name.as_str()) && !told.contains(&(*of, name.clone())) {
                faults.push(format!("`{of}::{name}` is in no table; its default is {default:?}"));
            }
        }
    }
    faults
}

#[test]
fn each_setting_has_the_default_that_the_page_tells() {
    let found = faults(PAGE, &settings());
    assert!(found.is_empty(), "docs/LIMITS.md:\n{}", found.join("\n"));
    for section in SERVER.into_iter().chain([CLIENT, COMPRESSION, TOPICS]) {
        assert!(rows(PAGE).iter().any(|row| row.section == section), "no setting in {section:?}");
    }
    assert_eq!(rows(PAGE).iter().filter(|row| row.section == SHORT).count(), 6);
}

#[test]
fn a_setting_that_is_missing_or_differs_is_told() {
    let settings = settings();
    for (row, changed, fault) in [
        (
            "| `high_water` | 1 MiB ",
            "| `high_water` | 2 MiB ",
            "`Config::high_water` is Number(1048576), not Number(2097152)",
        ),
        (
            "| `close_timeout` | 5 s ",
            "| `close_timeout` | none ",
            "`Config::close_timeout` is Time(5s), not None",
        ),
        (
            "| `idle_timeout` | none ",
            "| `idle_timeout` | 5 s ",
            "`Config::idle_timeout` is None, not Time(5s)",
        ),
        (
            "| `Config::high_water` | 1 MiB ",
            "| `Config::high_water` | 2 MiB ",
            "`Config::high_water` is Number(1048576), not Number(2097152)",
        ),
        (
            "| `high_water` ",
            "| high water ",
            "`Config::high_water` is in no table; its default is Number(1048576)",
        ),
        ("| `low_water` ", "| `lower_water` ", "While it is open: there is no setting `lower_water`"),
        (
            "| `redirects` ",
            "| redirects ",
            "`client::Options::redirects` is in no table; its default is Number(0)",
        ),
        (
            "| `Config::keep_alive_timeout` ",
            "| keep-alive ",
            "`client::Config::keep_alive_timeout` is in no table; its default is Time(30s)",
        ),
    ] {
        assert_eq!(PAGE.matches(row).count(), 1, "{row}");
        let found = faults(&PAGE.replace(row, changed), &settings);
        assert!(found.iter().any(|found| found == fault), "{changed}: {found:?}");
    }
}

#[test]
fn values_are_read_alike_from_the_page_and_from_the_code() {
    for (page, code) in [
        ("16 MiB", "16777216"),
        ("256 KiB", "Some(262144,)"),
        ("64 bits", "64"),
        ("1,000,000", "1000000"),
        ("5, at most", "5"),
        ("0", "0"),
        ("10 s", "10s"),
        ("2 min", "Some(120s,)"),
        ("none", "None"),
        ("1 MiB waiting to be sent", "1048576"),
        ("64 MiB, over all workers", "67108864"),
    ] {
        assert_eq!(Value::of_page(page), Value::of_code(code), "{page} and {code}");
    }
}
