//! A server of ours that tells what arrives there: for clients of other projects, and behind
//! proxies.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context as _;
use framewright_server::{
    CloseCode, Closed, Config, Decision, Endpoint, Handler, Incoming, ListenAddr, Message, Options, Response,
    RunningServer, Server, ServerTls, Socket, StatusCode, TrustedProxies,
};

use crate::certificates::Certificate;

/// A running server that trusts proxies on 127.0.0.1.
///
/// | path | what it does |
/// |---|---|
/// | `/ws` | sends every message back |
/// | `/told` | the same, and its end is told |
/// | `/quiet` | the same, and no keep-alive Pings |
/// | `/pinged` | the same, with Pings every [`INTERVAL`] |
/// | `/close/CODE` | closes at once with this code, and [`REASON`] |
/// | `/bye` | the same with 1000, and waits for no answer |
/// | `/who` | answers with `Host` and with the client's address |
/// | `/tls` | answers with what was agreed on: `TLSv1_3, resumed false, 0 certificates of the client` |
pub(super) struct OurServer {
    _running: RunningServer,
    /// Where it speaks without TLS.
    pub(super) plain: SocketAddr,
    /// Where it speaks TLS.
    pub(super) tls: SocketAddr,
    /// Where it speaks TLS behind the PROXY protocol.
    pub(super) tls_of_proxies: SocketAddr,
    /// Where it speaks TLS with clients that show a certificate of the authority.
    pub(super) tls_of_known: SocketAddr,
    ends: Receiver<End>,
}

/// The code and the reason of a Close frame.
pub(super) type End = (u16, String);

/// How long `/bye` waits for an answer.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// The largest message on `/ws`.
const MAX_MESSAGE: u64 = 17 << 20;

/// How often `/pinged` sends Pings.
const INTERVAL: Duration = Duration::from_millis(700);

/// The reason in a Close frame of the server.
pub(super) const REASON: &str = "Grüße";

/// How long the server may take to see an end that its client has seen.
const DEADLINE: Duration = Duration::from_secs(5);

impl OurServer {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(certificate: &Certificate, authority: &Path) -> anyhow::Result<Self> {
        let (sender, ends) = channel();
        let tls = ServerTls::from_pem_files(&certificate.chain, &certificate.key)?;
        let known = ServerTls::builder()
            .certificate_files(&certificate.chain, &certificate.key)
            .client_ca_file(authority)
            .build()?;
        let endpoint = || Endpoint::tcp((Ipv4Addr::LOCALHOST, 0));
        let options = |connection| Options { connection, ..Options::default() };
        let pinging = |keep_alive_interval| options(Config { keep_alive_interval, ..Config::default() });
        // With room for what compressing adds to the largest message.
        let large = Config { max_message: MAX_MESSAGE, max_frame: MAX_MESSAGE, ..Config::default() };
        let impatient = Config { close_timeout: IMPATIENCE, ..Config::default() };
        let running = Server::builder()
            .route_with("/ws", options(large), Echo(None))
            .route("/told", Echo(Some(sender)))
            .route_with("/quiet", pinging(None), Echo(None))
            .route_with("/pinged", pinging(Some(INTERVAL)), Echo(None))
            .route("/close/{code}", Echo(None))
            .route_with("/bye", options(impatient), Bye)
            .route("/who", Who)
            .route("/tls", Agreed)
            .endpoint(endpoint())
            .endpoint(endpoint().with_tls(tls.clone()))
            .endpoint(endpoint().with_tls(tls).with_proxy_protocol())
            .endpoint(endpoint().with_tls(known))
            .trusted_proxies(TrustedProxies::new(["127.0.0.1"])?)
            .build()?
            .spawn()?;
        let addr = |at: usize| match running.local_addrs()[at] {
            ListenAddr::Ip(addr) => Ok(addr),
            _ => Err(anyhow::anyhow!("no IP address")),
        };
        let (plain, tls, tls_of_proxies, tls_of_known) = (addr(0)?, addr(1)?, addr(2)?, addr(3)?);
        Ok(Self { _running: running, plain, tls, tls_of_proxies, tls_of_known, ends })
    }

    /// How the next connection on `/told` has ended.
    ///
    /// # Errors
    /// If none does within the deadline.
    pub(super) fn next_end(&self) -> anyhow::Result<End> {
        self.ends.recv_timeout(DEADLINE).context("the server has seen no end")
    }
}

/// Sends back every message, and tells how connections end.
struct Echo(Option<Sender<End>>);

impl Handler for Echo {
    /// The code to close with at once.
    type State = Option<CloseCode>;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Self::State> {
        let code = request.param("code").and_then(|code| CloseCode::new(code.parse().ok()?));
        request.accept(code)
    }

    fn on_open(&self, socket: &mut Socket<'_>, state: &mut Self::State) {
        if let Some(code) = *state {
            // It is open, and the reason is short.
            let _ = socket.close(code, REASON);
        }
    }

    fn on_message(&self, socket: &mut Socket<'_>, _state: &mut Self::State, message: Message<'_>) {
        // Where there is no room the client misses it.
        let _ = socket.send(message);
    }

    fn on_close(&self, closed: &Closed<'_>, _state: &mut Self::State) {
        if let Some(ends) = &self.0 {
            let closure = closed.closure();
            // Nobody listens once the test is over.
            let _ = ends.send((closure.code(), closure.reason().to_owned()));
        }
    }
}

/// Closes with 1000 at once.
struct Bye;

impl Handler for Bye {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _state: &mut ()) {
        // It is open, and the reason is short.
        let _ = socket.close(CloseCode::NORMAL, REASON);
    }
}

/// Answers with what the proxy says of the request.
struct Who;

impl Handler for Who {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        let host = request.field("Host").map(String::from_utf8_lossy).unwrap_or_default();
        let client = request.client_addr().map(|client| client.to_string()).unwrap_or_default();
        Response::text(StatusCode::OK, format!("{host} {client}")).into()
    }
}

/// Answers with what client and server have agreed on in TLS.
struct Agreed;

impl Handler for Agreed {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        let said = request.tls().map(|tls| {
            let certificates = tls.peer_certificates().map_or(0, <[_]>::len);
            let (version, resumed) = (tls.protocol_version(), tls.is_resumed());
            format!("{version:?}, resumed {resumed}, {certificates} certificates of the client\n")
        });
        Response::text(StatusCode::OK, said.unwrap_or_default()).into()
    }
}
