//! `framewright echo`: a server that sends every message back, with a page to try it.

use crate::listen::Listen;
use crate::page;
use crate::seconds::parse_seconds;
#[cfg(feature = "tls")]
use crate::tls;
use anyhow::Context;
#[cfg(feature = "tls")]
use framewright_server::ServerTls;
use framewright_server::{
    Accept, AllowedOrigins, Chunk, Config, Decision, Delivery, Endpoint, ForwardedField, Handler, Incoming,
    ListenAddr, MemoryLimit, Message, Options, Page, Server, ServerBuilder, ServerLimits, Socket,
    TrustedProxies, choose_subprotocol, is_token,
};
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "tls")]
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const DEFAULT_PORT: u16 = 5000;
#[cfg(feature = "tls")]
const DEFAULT_TLS_PORT: u16 = 5001;
/// How long open connections have to answer the Close frame after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen without TLS: ADDR:PORT, HOST:PORT, or unix:PATH; may be repeated. Port 0 lets
    /// the system choose. [default without --tls-listen: port 5000 on both loopback addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<Listen>,
    #[cfg(feature = "tls")]
    #[command(flatten)]
    tls: tls::Args,
    /// How many event loops to run, each on a thread of its own. [default: one for each processor]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// The path to echo on.
    #[arg(long, default_value = "/ws", value_parser = parse_path)]
    path: String,
    /// Echo on every path, as test suites want it.
    #[arg(long)]
    any_path: bool,
    /// An origin, scheme://host or scheme://host:port, whose pages may connect; may be repeated.
    /// [default: any]
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin)]
    allowed_origin: Vec<String>,
    /// A proxy that is believed whom a request is from: an IP address, a network such as
    /// 10.0.0.0/8, or unix for whoever connects to a Unix socket; may be repeated. [default: none]
    #[arg(long, value_name = "ADDR", value_parser = parse_proxy)]
    trusted_proxy: Vec<String>,
    /// The field in which trusted proxies say it.
    #[arg(long, value_name = "FIELD", default_value = "x-forwarded-for")]
    forwarded_field: Field,
    /// Expect the PROXY protocol, version 1 or 2, wherever the server listens; only trusted proxies
    /// can connect.
    #[arg(long, requires = "trusted_proxy")]
    proxy_protocol: bool,
    /// Seconds between keep-alive Pings; 0 sends none.
    #[arg(long, value_name = "SECS", default_value = "120", value_parser = parse_optional_seconds)]
    keep_alive_interval: Seconds,
    /// Seconds that a client may be silent after a Ping; 0 does not wait for its Pong.
    #[arg(long, value_name = "SECS", default_value = "240", value_parser = parse_optional_seconds)]
    keep_alive_timeout: Seconds,
    /// Seconds without any frame after which a connection is closed; 0 waits for ever.
    #[arg(long, value_name = "SECS", default_value = "0", value_parser = parse_optional_seconds)]
    idle_timeout: Seconds,
    /// Seconds in which a message that has begun has to grow, or end; 0 waits for ever.
    #[arg(long, value_name = "SECS", default_value = "60", value_parser = parse_optional_seconds)]
    message_timeout: Seconds,
    /// How many bytes of payload a message has to grow by in that time.
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    message_progress: u32,
    /// How many bytes one read asks for, at most 1 MiB.
    #[arg(long, value_name = "BYTES", default_value = "131072", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    receive_buffer_size: u32,
    /// The largest message, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "16777216")]
    max_message: u64,
    /// The most connections at a time; more are answered with 503. [default: no limit but the
    /// system's]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// The most bytes that all connections may hold together; beyond, those that hold the most for
    /// the longest are ended with 1013. [default: a quarter of the memory there is, at least 256
    /// MiB]
    #[arg(long, value_name = "BYTES")]
    memory: Option<usize>,
    /// Echo messages piece by piece as they arrive, without ever holding a whole one.
    #[arg(long)]
    stream: bool,
    /// A subprotocol to agree on, the most wanted first; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = parse_subprotocol)]
    subprotocol: Vec<String>,
    #[cfg(feature = "deflate")]
    #[command(flatten)]
    compression: crate::compress::Args,
}

/// A field in which proxies say whom a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Field {
    /// X-Forwarded-For.
    XForwardedFor,
    /// Forwarded (RFC 7239).
    Forwarded,
    /// None of them.
    None,
}

impl From<Field> for ForwardedField {
    fn from(field: Field) -> Self {
        match field {
            Field::XForwardedFor => ForwardedField::XForwardedFor,
            Field::Forwarded => ForwardedField::Forwarded,
            Field::None => ForwardedField::None,
        }
    }
}

/// A duration of which zero means none.
#[derive(Clone, Copy, Debug)]
struct Seconds(Duration);

impl Seconds {
    fn get(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(duration) => write!(f, "{duration:?}"),
            None => f.write_str("off"),
        }
    }
}

fn parse_optional_seconds(text: &str) -> Result<Seconds, String> {
    parse_seconds(text).map(Seconds)
}

fn parse_path(text: &str) -> Result<String, String> {
    // Others a browser would not send as they stand, so that the page could not reach them.
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%[]".contains(&byte);
    if text.starts_with('/') && text.bytes().all(kept) {
        Ok(text.to_owned())
    } else {
        Err("a path starts with / and has only characters that a URL has there".to_owned())
    }
}

fn parse_origin(text: &str) -> Result<String, String> {
    AllowedOrigins::new([text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn parse_proxy(text: &str) -> Result<String, String> {
    TrustedProxies::new([text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn parse_subprotocol(text: &str) -> Result<String, String> {
    if is_token(text.as_bytes()) {
        Ok(text.to_owned())
    } else {
        Err("a subprotocol has only letters, digits and !#$%&'*+-.^_`|~".to_owned())
    }
}

/// Serves until Ctrl-C.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // More connections than the soft limit on descriptors allows are common; the hard limit is what
    // the system means.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    let workers = args.workers.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let all = endpoints(args)?;
    #[cfg(feature = "tls")]
    let certificates = args.tls.certificates()?;
    #[cfg(feature = "tls")]
    let all = match &certificates {
        Some(certificates) => all.into_iter().chain(tls_endpoints(args, &certificates.load()?)?).collect(),
        None => all,
    };
    let protocol = |endpoint: Endpoint| {
        if args.proxy_protocol { endpoint.with_proxy_protocol() } else { endpoint }
    };
    let builder = configure(args)?.workers(workers);
    let server = all.into_iter().map(protocol).fold(builder, ServerBuilder::endpoint).build()?;
    // Before it says that it listens: whoever reads that may stop it at once.
    drain_on_signal(&server)?;
    #[cfg(feature = "tls")]
    if let Some(fingerprint) =
        certificates.as_ref().and_then(|certificates| certificates.fingerprint.as_ref())
    {
        writeln!(io::stdout(), "certificate SHA-256 fingerprint {fingerprint}")?;
    }
    announce(args, &server, workers, descriptors)?;
    #[cfg(feature = "tls")]
    if let Some(certificates) = certificates {
        let (handle, (done, over)) = (server.handle(), mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(move || certificates.watch(&handle, &over));
            let result = server.run();
            drop(done);
            result.context("the server failed")
        })?;
        say("ended");
        return Ok(());
    }
    server.run().context("the server failed")?;
    say("ended");
    Ok(())
}

fn configure(args: &Args) -> anyhow::Result<ServerBuilder> {
    let options = options(args)?;
    let limits = ServerLimits {
        max_connections: args.max_connections,
        memory: args.memory.map_or(MemoryLimit::Auto, MemoryLimit::Bytes),
        #[cfg(feature = "deflate")]
        compression_memory: args.compression.memory(),
        ..ServerLimits::default()
    };
    let proxies = TrustedProxies::new(&args.trusted_proxy)?.reading(args.forwarded_field.into());
    let echo = |page: Option<Page>| Echo { subprotocols: args.subprotocol.clone(), page };
    let page = page::page(&args.path);
    let mut builder = Server::builder().options(options).limits(limits).trusted_proxies(proxies);
    if args.any_path {
        builder = builder.route("/", echo(Some(page))).fallback(echo(None));
    } else if args.path == "/" {
        builder = builder.route("/", echo(Some(page)));
    } else {
        builder = builder.page("/", page).route(&args.path, echo(None));
    }
    Ok(builder)
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let connection = Config {
        delivery: if args.stream { Delivery::Chunks } else { Delivery::Whole },
        max_message: args.max_message,
        max_frame: args.max_message,
        keep_alive_interval: args.keep_alive_interval.get(),
        keep_alive_timeout: args.keep_alive_timeout.get(),
        idle_timeout: args.idle_timeout.get(),
        message_timeout: args.message_timeout.get(),
        message_progress: args.message_progress,
        #[cfg(feature = "deflate")]
        deflate: args.compression.config(),
        ..Config::default()
    };
    let allowed_origins = AllowedOrigins::new(&args.allowed_origin)?;
    let receive_buffer_size = usize::try_from(args.receive_buffer_size)?;
    Ok(Options {
        connection,
        receive_buffer_size,
        allowed_origins,
        #[cfg(feature = "deflate")]
        compression: args.compression.policy(),
        ..Options::default()
    })
}

/// Where the server listens without TLS.
fn endpoints(args: &Args) -> anyhow::Result<Vec<Endpoint>> {
    #[cfg(feature = "tls")]
    let only_tls = !args.tls.tls_listen.is_empty();
    #[cfg(not(feature = "tls"))]
    let only_tls = false;
    if args.listen.is_empty() && !only_tls {
        return Ok(vec![loopback(DEFAULT_PORT)]);
    }
    args.listen.iter().map(endpoint).collect()
}

/// Where the server listens with TLS.
#[cfg(feature = "tls")]
fn tls_endpoints(args: &Args, tls: &ServerTls) -> anyhow::Result<Vec<Endpoint>> {
    let wanted = &args.tls.tls_listen;
    anyhow::ensure!(
        args.listen.is_empty() || !wanted.is_empty(),
        "--listen is for connections without TLS: say with --tls-listen where to speak it"
    );
    let plain = if wanted.is_empty() {
        vec![loopback(DEFAULT_TLS_PORT)]
    } else {
        wanted.iter().map(endpoint).collect::<anyhow::Result<_>>()?
    };
    Ok(plain.into_iter().map(|endpoint| endpoint.with_tls(tls.clone())).collect())
}

fn endpoint(wanted: &Listen) -> anyhow::Result<Endpoint> {
    match wanted {
        Listen::Tcp(addr) => Ok(Endpoint::tcp(addr.as_str())),
        #[cfg(unix)]
        Listen::Unix(path) => Ok(Endpoint::unix(path)),
        #[cfg(not(unix))]
        Listen::Unix(_) => anyhow::bail!("this system has no Unix sockets"),
    }
}

/// Both loopback addresses, so that `localhost` works however it resolves. A machine without IPv6
/// does without.
fn loopback(port: u16) -> Endpoint {
    let addrs = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    Endpoint::tcp(&addrs.map(|ip| SocketAddr::new(ip, port))[..])
}

/// Says where the server listens and how it is set. Whoever started it reads the port from here.
fn announce(args: &Args, server: &Server, workers: usize, descriptors: u64) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    #[cfg(feature = "tls")]
    let with_tls: Vec<&ListenAddr> = server.tls_addrs().collect();
    #[cfg(not(feature = "tls"))]
    let with_tls: Vec<&ListenAddr> = Vec::new();
    let plain: Vec<_> = server.local_addrs().iter().filter(|addr| !with_tls.contains(addr)).collect();
    plain.iter().try_for_each(|addr| writeln!(out, "listening on {addr}"))?;
    with_tls.iter().try_for_each(|addr| writeln!(out, "listening on {addr} with TLS"))?;
    let path = if args.any_path { "every path" } else { args.path.as_str() };
    for (scheme, addrs) in [("http", &plain), ("https", &with_tls)] {
        if let Some(ListenAddr::Ip(addr)) = addrs.first() {
            let host =
                if addr.ip().is_loopback() { format!("localhost:{}", addr.port()) } else { addr.to_string() };
            writeln!(out, "open {scheme}://{host}/ in a browser")?;
        }
    }
    let origins =
        if args.allowed_origin.is_empty() { "any".to_owned() } else { args.allowed_origin.join(", ") };
    let most = args.max_connections.map_or("no limit".to_owned(), |most| most.to_string());
    let delivery = if args.stream { "in pieces" } else { "whole" };
    writeln!(out, "echo on {path}, messages {delivery}, up to {} bytes", args.max_message)?;
    writeln!(
        out,
        "keep-alive interval {}, keep-alive timeout {}, idle timeout {}",
        args.keep_alive_interval, args.keep_alive_timeout, args.idle_timeout
    )?;
    writeln!(out, "message timeout {}, progress {} bytes", args.message_timeout, args.message_progress)?;
    writeln!(
        out,
        "workers {workers}, receive buffer {} bytes, connections {most}, descriptors {descriptors}",
        args.receive_buffer_size
    )?;
    if let Some(limit) = server.handle().stats().memory.limit {
        writeln!(out, "memory of all connections {limit} bytes")?;
    }
    #[cfg(feature = "deflate")]
    writeln!(out, "{}", args.compression)?;
    writeln!(out, "allowed origins: {origins}")?;
    if !args.trusted_proxy.is_empty() {
        let protocol = if args.proxy_protocol { ", which speak the PROXY protocol" } else { "" };
        writeln!(out, "trusted proxies: {}{protocol}", args.trusted_proxy.join(", "))?;
    }
    if !args.subprotocol.is_empty() {
        writeln!(out, "subprotocols: {}", args.subprotocol.join(", "))?;
    }
    out.flush()?;
    Ok(())
}

/// The first signal drains, the second ends the program.
fn drain_on_signal(server: &Server) -> anyhow::Result<()> {
    let handle = server.handle();
    let stopping = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if stopping.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        let open = handle.stats().totals().open();
        say(&format!("stopping; told to leave within {} s: {open} open connections", DRAIN.as_secs()));
        handle.stop(DRAIN);
    })
    .context("cannot handle signals")
}

/// Prints a line that nobody may read any more.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Sends everything back.
struct Echo {
    subprotocols: Vec<String>,
    /// What an ordinary request is answered with, where it is not an error.
    page: Option<Page>,
}

impl Handler for Echo {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        if !request.is_websocket() {
            return match &self.page {
                Some(page) => page.answer(request).into(),
                None => request.not_a_websocket_request().into(),
            };
        }
        let accept = match choose_subprotocol(request, &self.subprotocols) {
            Some(chosen) => Accept::new().with_subprotocol(chosen.to_owned()),
            None => Accept::new(),
        };
        // Written as Debug: a path cannot put control characters into a log. The peer is in the
        // span.
        let client = request.client_addr().map_or_else(|| "unknown".to_owned(), |client| client.to_string());
        tracing::info!(client, path = ?request.path(), "connection");
        Decision::accept_with(accept, ())
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        // Refused only when the connection is closing: nothing is read while too much waits to be
        // sent.
        let _ = socket.send(message);
    }

    fn on_chunk(&self, socket: &mut Socket<'_>, _: &mut (), chunk: Chunk<'_>) {
        let _ = socket.send_fragment(chunk.data, chunk.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_seconds_mean_off() {
        assert_eq!(parse_optional_seconds("0").unwrap().get(), None);
        assert_eq!(parse_optional_seconds("0.5").unwrap().get(), Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_path_is_one_that_a_request_can_have() {
        assert!(parse_path("/ws").is_ok());
        for wrong in ["", "ws", "/a b", "/a?b", "/a#b", "/a\"b", "/a<b", "/a\\b", "/\u{e4}"] {
            assert!(parse_path(wrong).is_err(), "{wrong:?}");
        }
    }
}
