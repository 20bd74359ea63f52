//! Serves the counts of a server to Prometheus, beside an echo on `/ws`.
//!
//! ```text
//! cargo run -p framewright-server --example metrics -- 127.0.0.1:5000
//! curl http://127.0.0.1:5000/metrics
//! ```
//!
//! It shows strangers how busy the server is: your own program should check the client first.

use framewright_server::{
    Counts, Decision, FieldValue, Handler, Incoming, Message, Response, Server, ServerStats, Socket,
    StatusCode,
};
use std::fmt::Write as _;
use std::{env, io};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let _ = socket.send(message); // refused only while closing: no message comes while it is full
    }
}

struct Metrics;

impl Handler for Metrics {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        if !matches!(request.method(), "GET" | "HEAD") {
            return request.not_a_websocket_request().into();
        }
        let format = FieldValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        Response::new(StatusCode::OK).with_body(format, page(&request.server_stats()).into_bytes()).into()
    }
}

type Value = fn(&Counts) -> u64;
type Rows = fn(&Counts) -> Vec<(&'static str, u64)>;

/// A name, a help text, and the value for each route.
const OF_EACH_ROUTE: [(&str, &str, Value); 14] = [
    ("open", "WebSocket connections that are open.", Counts::open),
    ("opened_total", "Opening handshakes accepted.", |it| it.opened),
    ("answered_total", "HTTP requests answered.", |it| it.answered),
    ("abandoned_total", "Connections that left unanswered.", |it| it.abandoned),
    ("received_messages_total", "Messages received.", |it| it.traffic.messages_received),
    ("received_bytes_total", "Payload of those messages.", |it| it.traffic.bytes_received),
    ("sent_messages_total", "Messages sent.", |it| it.traffic.messages_sent),
    ("sent_bytes_total", "Payload of those messages.", |it| it.traffic.bytes_sent),
    ("inflated_messages_total", "Messages received compressed.", |it| it.compression.messages_received),
    ("inflated_bytes_total", "Payload inflated.", |it| it.compression.bytes_received),
    ("inflated_from_bytes_total", "The same as received.", |it| it.compression.compressed_bytes_received),
    ("deflated_messages_total", "Messages sent compressed.", |it| it.compression.messages_sent),
    ("deflated_bytes_total", "Payload compressed.", |it| it.compression.bytes_sent),
    ("deflated_to_bytes_total", "The same as sent.", |it| it.compression.compressed_bytes_sent),
];

/// A name, a help text, a second label, and a row for each value of that label.
const BY_LABEL: [(&str, &str, &str, Rows); 4] = [
    ("refused_total", "Requests refused.", "reason", |it| it.refused.iter().collect()),
    ("closed_total", "Connections ended, by the code received.", "code", |it| it.closed.iter().collect()),
    ("close_sent_total", "The same, by the code sent.", "code", |it| it.close_sent.iter().collect()),
    ("ended_total", "The same, by the cause.", "cause", |it| it.ended.iter().collect()),
];

/// All metrics of a server. Connections that reached no route have the route "".
fn page(stats: &ServerStats) -> String {
    let mut page = String::new();
    let mut one = |name, help, value| family(&mut page, name, help, [(String::new(), value)]);
    one("connections", "Connections in all phases.", stats.connections as u64);
    one("accepted_total", "Connections accepted.", stats.accepted);
    one("memory_bytes", "Bytes that connections hold.", stats.memory.held as u64);
    #[cfg(feature = "deflate")]
    one("compression_memory_bytes", "Bytes that compression holds.", stats.compression.held as u64);
    let topics = &stats.topics;
    one("topics", "Topics with subscribers or kept messages.", topics.topics as u64);
    one("subscriptions", "Subscriptions of connections.", topics.subscriptions as u64);
    one("published_total", "Messages published on topics.", topics.published);
    one("delivered_total", "The same, for each subscriber that was sent one.", topics.delivered);
    one("waiting_bytes", "Bytes that wait for slow subscribers.", topics.waiting_bytes);
    let dropped =
        [("newest", topics.dropped_newest), ("oldest", topics.dropped_oldest), ("replaced", topics.replaced)];
    let dropped = dropped.map(|(which, count)| (label("which", which), count));
    family(&mut page, "dropped_total", "Messages not sent to slow subscribers.", dropped);
    let slow = [(String::new(), topics.disconnected)];
    family(&mut page, "slow_disconnected_total", "Subscribers that were too slow.", slow);
    let mut routes = vec![("", &stats.elsewhere)];
    routes.extend(stats.routes.iter().map(|it| (it.path.as_deref().unwrap_or("*"), &it.counts)));
    for (name, help, value) in OF_EACH_ROUTE {
        let samples = routes.iter().map(|(route, counts)| (label("route", route), value(counts)));
        family(&mut page, name, help, samples);
    }
    for (name, help, key, rows) in BY_LABEL {
        let samples = routes.iter().flat_map(|(route, counts)| {
            let labels = move |value| format!("{},{}", label("route", route), label(key, value));
            rows(counts).into_iter().map(move |(value, count)| (labels(value), count))
        });
        family(&mut page, name, help, samples);
    }
    page
}

/// Appends a metric: its help text, its type, and a line for each sample.
fn family(page: &mut String, name: &str, help: &str, samples: impl IntoIterator<Item = (String, u64)>) {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    let _ = write!(page, "# HELP websocket_{name} {help}\n# TYPE websocket_{name} {kind}\n");
    for (labels, value) in samples {
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(page, "websocket_{name}{labels} {value}");
    }
}

fn label(name: &str, value: &str) -> String {
    format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

pub(crate) fn server(addr: &str) -> io::Result<Server> {
    Server::builder().route("/ws", Echo).route("/metrics", Metrics).listen(addr).build()
}

fn main() -> io::Result<()> {
    server(&env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned()))?.run()
}
