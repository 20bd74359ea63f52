//! What the programs that serve have in common: where they listen, whom they let in, how they keep
//! connections alive, and how they stop.

use crate::listen::Listen;
use crate::seconds::parse_seconds;
#[cfg(feature = "tls")]
use crate::tls;
use anyhow::Context;
#[cfg(feature = "tls")]
use framewright_server::ServerTls;
use framewright_server::{
    AllowedOrigins, Config, Endpoint, ForwardedField, ListenAddr, MemoryLimit, Options, Server,
    ServerBuilder, ServerHandle, ServerLimits, TrustedProxies,
};
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

const DEFAULT_PORT: u16 = 5000;
#[cfg(feature = "tls")]
const DEFAULT_TLS_PORT: u16 = 5001;
/// How long open connections have to answer the Close frame after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[group(skip)]
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
    /// The most connections at a time; more are answered with 503. [default: no limit but the
    /// system's]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// The most bytes that all connections may hold together; beyond, those that hold the most for
    /// the longest are ended with 1013. [default: a quarter of the memory there is, at least 256
    /// MiB]
    #[arg(long, value_name = "BYTES")]
    memory: Option<usize>,
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
pub(crate) struct Seconds(Duration);

impl Seconds {
    /// The duration; `None` if it is zero.
    pub(crate) fn get(self) -> Option<Duration> {
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

/// A number of seconds, of which 0 means none.
///
/// # Errors
/// In words, for whoever typed it.
pub(crate) fn parse_optional_seconds(text: &str) -> Result<Seconds, String> {
    parse_seconds(text).map(Seconds)
}

/// A path of requests.
///
/// # Errors
/// In words, for whoever typed it.
pub(crate) fn parse_path(text: &str) -> Result<String, String> {
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

/// What a program needs to serve: made from the options, before the server is built.
pub(crate) struct Serving<'a> {
    args: &'a Args,
    workers: usize,
    descriptors: u64,
}

impl Args {
    /// The options of routes, with these settings of their connections, and those of [`Args`].
    ///
    /// # Errors
    /// If an origin is none.
    pub(crate) fn options(&self, connection: &Config) -> anyhow::Result<Options> {
        let connection = Config {
            keep_alive_interval: self.keep_alive_interval.get(),
            keep_alive_timeout: self.keep_alive_timeout.get(),
            #[cfg(feature = "deflate")]
            deflate: self.compression.config(),
            ..connection.clone()
        };
        Ok(Options {
            connection,
            allowed_origins: AllowedOrigins::new(&self.allowed_origin)?,
            #[cfg(feature = "deflate")]
            compression: self.compression.policy(),
            ..Options::default()
        })
    }

    fn limits(&self) -> ServerLimits {
        ServerLimits {
            max_connections: self.max_connections,
            memory: self.memory.map_or(MemoryLimit::Auto, MemoryLimit::Bytes),
            #[cfg(feature = "deflate")]
            compression_memory: self.compression.memory(),
            ..ServerLimits::default()
        }
    }

    /// Where the server listens without TLS.
    fn endpoints(&self) -> anyhow::Result<Vec<Endpoint>> {
        #[cfg(feature = "tls")]
        let only_tls = !self.tls.tls_listen.is_empty();
        #[cfg(not(feature = "tls"))]
        let only_tls = false;
        if self.listen.is_empty() && !only_tls {
            return Ok(vec![loopback(DEFAULT_PORT)]);
        }
        self.listen.iter().map(endpoint).collect()
    }

    /// Where the server listens with TLS.
    #[cfg(feature = "tls")]
    fn tls_endpoints(&self, tls: &ServerTls) -> anyhow::Result<Vec<Endpoint>> {
        let wanted = &self.tls.tls_listen;
        anyhow::ensure!(
            self.listen.is_empty() || !wanted.is_empty(),
            "--listen is for connections without TLS: say with --tls-listen where to speak it"
        );
        let plain = if wanted.is_empty() {
            vec![loopback(DEFAULT_TLS_PORT)]
        } else {
            wanted.iter().map(endpoint).collect::<anyhow::Result<_>>()?
        };
        Ok(plain.into_iter().map(|endpoint| endpoint.with_tls(tls.clone())).collect())
    }
}

/// A task beside the server, on a thread of its own. It ends once nothing is left to receive: the
/// other end is dropped when the server has ended.
pub(crate) type Beside<'a> = Box<dyn FnOnce(&ServerHandle, &Receiver<()>) + Send + 'a>;

impl<'a> Serving<'a> {
    /// Prepares the process.
    pub(crate) fn new(args: &'a Args) -> Serving<'a> {
        // More connections than the soft limit on descriptors allows are common; the hard limit is
        // what the system means.
        let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
        let workers =
            args.workers.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        Serving { args, workers, descriptors }
    }

    /// Builds the server, and serves until Ctrl-C. `announce` prints what is particular to the
    /// program once the server listens, and `beside` runs next to it.
    ///
    /// # Errors
    /// If the options do not fit together, or the server cannot be built or fails.
    pub(crate) fn run(
        &self,
        builder: ServerBuilder,
        announce: impl FnOnce(&Serving<'_>, &Server, &mut dyn Write) -> io::Result<()>,
        beside: Vec<Beside<'_>>,
    ) -> anyhow::Result<()> {
        let args = self.args;
        let all = args.endpoints()?;
        #[cfg(feature = "tls")]
        let certificates = args.tls.certificates()?;
        #[cfg(feature = "tls")]
        let all = match &certificates {
            Some(certificates) => all.into_iter().chain(args.tls_endpoints(&certificates.load()?)?).collect(),
            None => all,
        };
        let protocol = |endpoint: Endpoint| {
            if args.proxy_protocol { endpoint.with_proxy_protocol() } else { endpoint }
        };
        let proxies = TrustedProxies::new(&args.trusted_proxy)?.reading(args.forwarded_field.into());
        let builder = builder.limits(args.limits()).trusted_proxies(proxies).workers(self.workers);
        let server = all.into_iter().map(protocol).fold(builder, ServerBuilder::endpoint).build()?;
        // Before it says that it listens: whoever reads that may stop it at once.
        drain_on_signal(&server)?;
        let mut out = io::stdout().lock();
        #[cfg(feature = "tls")]
        if let Some(fingerprint) =
            certificates.as_ref().and_then(|certificates| certificates.fingerprint.as_ref())
        {
            writeln!(out, "certificate SHA-256 fingerprint {fingerprint}")?;
        }
        announce(self, &server, &mut out)?;
        out.flush()?;
        drop(out);
        #[cfg(feature = "tls")]
        let mut beside = beside;
        #[cfg(feature = "tls")]
        if let Some(certificates) = certificates {
            beside.push(Box::new(move |handle, over| certificates.watch(handle, over)));
        }
        thread::scope(|scope| {
            let mut ends = Vec::new();
            for task in beside {
                let (handle, (end, over)) = (server.handle(), mpsc::channel());
                ends.push(end);
                scope.spawn(move || task(&handle, &over));
            }
            let result = server.run();
            drop(ends);
            result.context("the server failed")
        })
    }

    /// Prints the addresses, the ones without TLS first. Whoever started the program reads the port
    /// from here.
    pub(crate) fn announce_addresses(&self, server: &Server, out: &mut dyn Write) -> io::Result<()> {
        let Addresses { plain, with_tls } = Addresses::of(server);
        plain.iter().try_for_each(|addr| writeln!(out, "listening on {addr}"))?;
        with_tls.iter().try_for_each(|addr| writeln!(out, "listening on {addr} with TLS"))
    }

    /// Prints the URLs of `path` at the first addresses, with one of these two schemes.
    pub(crate) fn announce_urls(
        &self,
        server: &Server,
        [plain_scheme, tls_scheme]: [&str; 2],
        line: impl Fn(&str) -> String,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Addresses { plain, with_tls } = Addresses::of(server);
        for (scheme, addrs) in [(plain_scheme, &plain), (tls_scheme, &with_tls)] {
            if let Some(ListenAddr::Ip(addr)) = addrs.first() {
                let host = if addr.ip().is_loopback() {
                    format!("localhost:{}", addr.port())
                } else {
                    addr.to_string()
                };
                writeln!(out, "{}", line(&format!("{scheme}://{host}")))?;
            }
        }
        Ok(())
    }

    /// The keep-alive settings, for a line of the announcement.
    pub(crate) fn keep_alive(&self) -> String {
        let Args { keep_alive_interval, keep_alive_timeout, .. } = self.args;
        format!("keep-alive interval {keep_alive_interval}, keep-alive timeout {keep_alive_timeout}")
    }

    /// Prints workers, memory, compression and who may connect. `more` follows the workers.
    pub(crate) fn announce_settings(
        &self,
        server: &Server,
        more: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Serving { args, workers, descriptors } = self;
        let most = args.max_connections.map_or("no limit".to_owned(), |most| most.to_string());
        writeln!(out, "workers {workers}{more}, connections {most}, descriptors {descriptors}")?;
        if let Some(limit) = server.handle().stats().memory.limit {
            writeln!(out, "memory of all connections {limit} bytes")?;
        }
        #[cfg(feature = "deflate")]
        writeln!(out, "{}", args.compression)?;
        let origins =
            if args.allowed_origin.is_empty() { "any".to_owned() } else { args.allowed_origin.join(", ") };
        writeln!(out, "allowed origins: {origins}")?;
        if !args.trusted_proxy.is_empty() {
            let protocol = if args.proxy_protocol { ", which speak the PROXY protocol" } else { "" };
            writeln!(out, "trusted proxies: {}{protocol}", args.trusted_proxy.join(", "))?;
        }
        Ok(())
    }
}

/// Where a server listens.
struct Addresses<'a> {
    plain: Vec<&'a ListenAddr>,
    with_tls: Vec<&'a ListenAddr>,
}

impl<'a> Addresses<'a> {
    fn of(server: &'a Server) -> Self {
        #[cfg(feature = "tls")]
        let with_tls: Vec<&ListenAddr> = server.tls_addrs().collect();
        #[cfg(not(feature = "tls"))]
        let with_tls: Vec<&ListenAddr> = Vec::new();
        let plain = server.local_addrs().iter().filter(|addr| !with_tls.contains(addr)).collect();
        Addresses { plain, with_tls }
    }
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
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
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
