//! The example that serves what a server counts to Prometheus: its page is read as strictly as the
//! text format allows, and tells what the test has done.

use crate::common::{Client, TestServer, wait_until};
use framewright_server::CloseCode;
use std::collections::BTreeMap;

#[allow(dead_code, reason = "the test does without its `main`")]
#[path = "../../examples/metrics.rs"]
mod metrics;

/// The samples by name and labels, as they stand there.
type Samples = BTreeMap<String, u64>;

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    first && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

/// Checks `name="value",...`: what is escaped in a value is a backslash, a quote or a line feed.
#[track_caller]
fn check_labels(mut labels: &str) {
    loop {
        let (name, rest) = labels.split_once("=\"").unwrap_or_else(|| panic!("a label: {labels:?}"));
        assert!(is_name(name), "{name:?}");
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("the value ends") {
                (at, '"') => break at,
                (_, '\\') => {
                    let (_, escaped) = chars.next().expect("an escaped character");
                    assert!(matches!(escaped, '\\' | '"' | 'n'), "{rest:?}");
                }
                (_, char) => assert_ne!(char, '\n'),
            }
        };
        match rest[end + 1..].strip_prefix(',') {
            Some(more) => labels = more,
            None => return assert_eq!(&rest[end + 1..], ""),
        }
    }
}

/// Reads a page in the text format, version 0.0.4.
#[track_caller]
fn parse(page: &str) -> Samples {
    let mut samples = Samples::new();
    let mut families: Vec<&str> = Vec::new();
    assert!(page.ends_with('\n'), "the last line ends too");
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let (family, help) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).expect("a HELP");
        assert!(is_name(family) && !help.is_empty() && !help.contains('\\'), "{line:?}");
        assert!(!families.contains(&family), "{family} stands in one place");
        families.push(family);
        let kind = lines
            .next()
            .and_then(|line| line.strip_prefix("# TYPE ")?.strip_prefix(family)?.strip_prefix(' '));
        let is_counter = match kind {
            Some("counter") => true,
            Some("gauge") => false,
            kind => panic!("the type of {family}: {kind:?}"),
        };
        assert_eq!(is_counter, family.ends_with("_total"), "{family}");
        let before = samples.len();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            match series.strip_prefix(family).expect("a sample of the family") {
                "" => {}
                labels => check_labels(
                    labels
                        .strip_prefix('{')
                        .and_then(|rest| rest.strip_suffix('}'))
                        .expect("labels in braces"),
                ),
            }
            let value = value.parse().expect("a number");
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
        }
        assert!(samples.len() > before, "{family} has samples");
    }
    samples
}

/// What the server tells now.
#[track_caller]
fn scrape(server: &TestServer) -> Samples {
    let mut client = server.connect();
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;version=0.0.4\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parse(answer.text())
}

#[test]
fn prometheus_is_told_what_has_happened() {
    let server = TestServer::run(metrics::server("127.0.0.1:0").expect("it listens"));
    let begun = scrape(&server);
    assert_eq!(begun["websocket_opened_total{route=\"/ws\"}"], 0);
    assert_eq!(begun["websocket_accepted_total"], 1, "the scrape itself");

    let mut clients: Vec<Client> = (0..3).map(|_| server.open("/ws")).collect();
    for client in &mut clients {
        client.send_text("0123456789");
        client.expect_text("0123456789");
    }
    let evil = "Origin: null\r\nSec-WebSocket-Protocol: a, a\r\n";
    assert_eq!(server.connect().upgrade("/ws", evil).status, 400);
    assert_eq!(server.connect().upgrade("/nowhere", "").status, 404);
    let mut leaves = clients.pop().expect("three of them");
    leaves.send_close(CloseCode::GOING_AWAY, "");
    leaves.expect_close(1001);
    leaves.expect_end();

    wait_until("all that has happened is told", || {
        scrape(&server)["websocket_sent_messages_total{route=\"/ws\"}"] == 3
    });
    let page = scrape(&server);
    let ws = |name: &str| page[&format!("websocket_{name}{{route=\"/ws\"}}")];
    assert_eq!((ws("opened_total"), ws("open"), ws("answered_total")), (3, 2, 0));
    assert_eq!((ws("received_messages_total"), ws("received_bytes_total")), (3, 30));
    assert_eq!((ws("sent_messages_total"), ws("sent_bytes_total")), (3, 30));
    assert_eq!(ws("deflated_messages_total"), 0);
    for (series, value) in [
        ("websocket_refused_total{route=\"/ws\",reason=\"bad_request\"}", 1),
        ("websocket_refused_total{route=\"/ws\",reason=\"not_found\"}", 0),
        ("websocket_refused_total{route=\"\",reason=\"not_found\"}", 1),
        ("websocket_closed_total{route=\"/ws\",code=\"1001\"}", 1),
        ("websocket_close_sent_total{route=\"/ws\",code=\"1001\"}", 1),
        ("websocket_closed_total{route=\"/ws\",code=\"1006\"}", 0),
        ("websocket_ended_total{route=\"/ws\",cause=\"clean\"}", 1),
        ("websocket_opened_total{route=\"/metrics\"}", 0),
    ] {
        assert_eq!(page[series], value, "{series}");
    }
    assert!(page["websocket_answered_total{route=\"/metrics\"}"] >= 2);
    assert!(page["websocket_connections"] >= 3, "two, and the scrape");
    let counters = page.iter().filter(|(series, _)| series.contains("_total"));
    assert!(counters.clone().count() > 100);
    assert!(counters.clone().all(|(series, value)| begun[series] <= *value), "counters grow");
}
