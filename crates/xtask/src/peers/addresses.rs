//! Whom a request is from, as haproxy, Apache, Caddy and nginx say it: in X-Forwarded-For, in
//! Forwarded and, of haproxy, in the PROXY protocol. (nginx speaks it with a module that Debian
//! does not install with it, Caddy from version 2.7 on, Apache not at all.)
//!
//! The client has another address of this machine than the proxies, and claims to be somebody else.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use framewright_server::{
    Decision, Endpoint, ForwardedField, Handler, Incoming, ListenAddr, Response, RunningServer, Server,
    StatusCode, TrustedProxies,
};
use socket2::{Domain, Socket, Type};

use super::proxy_programs::{
    Kind, Started, apache, apache_settings, caddy, caddy_settings, haproxy, haproxy_settings, nginx,
    nginx_settings,
};
use super::tally::Tally;

/// Where the client connects from.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What the client says itself: fields that a proxy adds to, or replaces.
const CLAIM: &str = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n";

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A proxy, and how it says whom a request is from.
struct Way {
    how: &'static str,
    says: Says,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    XForwardedFor,
    Forwarded,
    ProxyProtocol,
}

fn way(how: &'static str, says: Says, kind: Kind) -> Way {
    Way { how, says, kind }
}

fn ways() -> Vec<Way> {
    use Says::{Forwarded, ProxyProtocol, XForwardedFor};

    vec![
        way(
            "X-Forwarded-For",
            XForwardedFor,
            haproxy(|addr, server, _| http_through_haproxy(addr, server, "option forwardfor")),
        ),
        way(
            "Forwarded",
            Forwarded,
            haproxy(|addr, server, _| {
                http_through_haproxy(addr, server, "http-request add-header Forwarded for=%[src]")
            }),
        ),
        way(
            "PROXY protocol, version 1",
            ProxyProtocol,
            haproxy(|addr, server, _| tcp_through_haproxy(addr, server, "send-proxy")),
        ),
        way(
            "PROXY protocol, version 2",
            ProxyProtocol,
            haproxy(|addr, server, _| tcp_through_haproxy(addr, server, "send-proxy-v2")),
        ),
        way(
            "PROXY protocol, version 2 with extensions",
            ProxyProtocol,
            haproxy(|addr, server, _| {
                tcp_through_haproxy(addr, server, "send-proxy-v2 proxy-v2-options crc32c,unique-id")
            }),
        ),
        way(
            "X-Forwarded-For",
            XForwardedFor,
            apache(|addr, server, folder| apache_settings(addr, server, folder, "")),
        ),
        way(
            "Forwarded",
            Forwarded,
            apache(|addr, server, folder| {
                apache_settings(addr, server, folder, "RequestHeader set Forwarded expr=for=%{REMOTE_ADDR}\n")
            }),
        ),
        way(
            "X-Forwarded-For",
            XForwardedFor,
            caddy(|addr, server, _| caddy_settings(addr, &format!("reverse_proxy {server}"))),
        ),
        way(
            "Forwarded",
            Forwarded,
            caddy(|addr, server, _| {
                let field = "header_up Forwarded for={remote_host}";
                caddy_settings(addr, &format!("reverse_proxy {server} {{\n{field}\n}}"))
            }),
        ),
        way(
            "X-Forwarded-For",
            XForwardedFor,
            nginx(|addr, server, folder| {
                let field = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
                nginx_settings(addr, server, folder, field)
            }),
        ),
        way(
            "Forwarded",
            Forwarded,
            nginx(|addr, server, folder| {
                let field = "proxy_set_header Forwarded \"$http_forwarded, for=$remote_addr\";";
                nginx_settings(addr, server, folder, field)
            }),
        ),
    ]
}

fn http_through_haproxy(addr: SocketAddr, server: SocketAddr, setting: &str) -> String {
    haproxy_settings(addr, "http", setting, &server.to_string())
}

fn tcp_through_haproxy(addr: SocketAddr, server: SocketAddr, options: &str) -> String {
    haproxy_settings(addr, "tcp", "unique-id-format %[uuid()]", &format!("{server} {options}"))
}

/// Has the server told by each proxy, in each way that it knows.
///
/// # Errors
/// If a proxy or the server cannot be started.
pub(super) fn run(tally: &mut Tally) -> anyhow::Result<()> {
    for Way { how, says, kind } in ways() {
        let server = start(says)?;
        let ListenAddr::Ip(addr) = server.local_addrs()[0] else { anyhow::bail!("no IP address") };
        let proxy = Started::new(&kind, addr)?;
        tally.note(&format!("{how} of {}", proxy.version), is_told(proxy.addr));
        drop(proxy);
        server.stop(Duration::ZERO)?;
    }
    Ok(())
}

/// The server has to be told the address of the client.
fn is_told(proxy: SocketAddr) -> anyhow::Result<String> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).context("another address of this machine")?;
    socket.connect_timeout(&proxy.into(), DEADLINE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{CLAIM}\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, told) = answer.split_once("\r\n\r\n").context("an answer")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
    ensure!(told == format!("<{CLIENT}>"), "{told} instead of <{CLIENT}>");
    Ok(String::new())
}

/// A server that trusts proxies on 127.0.0.1.
fn start(says: Says) -> anyhow::Result<RunningServer> {
    let endpoint = Endpoint::tcp((Ipv4Addr::LOCALHOST, 0));
    let (endpoint, field) = match says {
        Says::XForwardedFor => (endpoint, ForwardedField::XForwardedFor),
        Says::Forwarded => (endpoint, ForwardedField::Forwarded),
        Says::ProxyProtocol => (endpoint.with_proxy_protocol(), ForwardedField::None),
    };
    let proxies = TrustedProxies::new(["127.0.0.1"])?.reading(field);
    let builder = Server::builder().fallback(Who).endpoint(endpoint).trusted_proxies(proxies);
    Ok(builder.build()?.spawn()?)
}

/// Answers with the address of the client.
struct Who;

impl Handler for Who {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        let client = request.client_addr().map(|client| client.to_string()).unwrap_or_default();
        Response::text(StatusCode::OK, format!("<{client}>")).into()
    }
}
