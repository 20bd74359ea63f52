//! Where the server is: `ws://HOST:PORT/PATH`, or `tcp://HOST:PORT` for an echo without a protocol;
//! over TLS `wss` and `tls`.

use anyhow::{Context, bail, ensure};
use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    WebSocket,
    /// Nothing: it sends back the octets that it gets.
    Raw,
}

/// A server's address, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    url: String,
    pub(super) protocol: Protocol,
    /// Whether TLS is between the server and us.
    pub(super) tls: bool,
    /// A name or an IPv4 address; an IPv6 address without its brackets.
    pub(super) host: String,
    port: u16,
    /// Path and query.
    pub(super) resource: String,
}

impl Target {
    /// The value of the Host field.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// The address to connect to: the first that takes connections, where a name has several.
    pub(super) fn resolve(&self) -> anyhow::Result<SocketAddr> {
        let addrs: Vec<SocketAddr> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("cannot find {}", self.host))?
            .collect();
        let [addr] = addrs[..] else {
            return addrs
                .iter()
                .copied()
                .find(|addr| TcpStream::connect_timeout(addr, PROBE).is_ok())
                .with_context(|| format!("nothing takes connections at {self}"));
        };
        Ok(addr)
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Target> {
        let (scheme, rest) =
            url.split_once("://").context("expected ws://HOST:PORT/PATH or tcp://HOST:PORT")?;
        let (protocol, tls) = match scheme.to_ascii_lowercase().as_str() {
            "ws" => (Protocol::WebSocket, false),
            "wss" => (Protocol::WebSocket, true),
            "tcp" => (Protocol::Raw, false),
            "tls" => (Protocol::Raw, true),
            _ => bail!("the scheme is ws, wss, tcp or tls, not {scheme}"),
        };
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# Fragment identifiers are meaningless in the context of WebSocket URIs
        //# and MUST NOT be used on these URIs.
        ensure!(!rest.contains('#'), "a WebSocket URI has no fragment");
        ensure!(
            rest.bytes().all(|byte| byte.is_ascii_graphic()),
            "other characters have to be percent-encoded"
        );
        let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        ensure!(port.is_some() || protocol == Protocol::WebSocket, "{scheme}:// needs a port");
        let slash = if resource.starts_with('/') { "" } else { "/" };
        let resource = format!("{slash}{resource}");
        let port = port.unwrap_or(default_port(tls));
        Ok(Target { url: url.to_owned(), protocol, tls, host, port, resource })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

fn split_authority(authority: &str) -> anyhow::Result<(String, Option<u16>)> {
    ensure!(!authority.contains('@'), "a WebSocket URI has no user information");
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').context("an IPv6 address ends with ]")?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    ensure!(!host.is_empty(), "a host is missing");
    let port = match port.strip_prefix(':') {
        Some(port) => {
            Some(port.parse().ok().filter(|&port| port != 0).context("a port is a number from 1 to 65535")?)
        }
        None if port.is_empty() => None,
        None => bail!("expected a port behind the host"),
    };
    Ok((host.to_owned(), port))
}

/// Of `ws` and `wss` (RFC 6455, section 3).
fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// How long one of several addresses may take to answer.
const PROBE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, protocol, authority, resource) in [
            ("ws://localhost:5000/ws", Protocol::WebSocket, "localhost:5000", "/ws"),
            ("ws://example.com", Protocol::WebSocket, "example.com", "/"),
            ("WS://example.com:80?q=1", Protocol::WebSocket, "example.com", "/?q=1"),
            ("wss://example.com:443", Protocol::WebSocket, "example.com", "/"),
            ("wss://example.com:80", Protocol::WebSocket, "example.com:80", "/"),
            ("ws://[::1]:9001/a/b?c", Protocol::WebSocket, "[::1]:9001", "/a/b?c"),
            ("tcp://127.0.0.1:7", Protocol::Raw, "127.0.0.1:7", "/"),
            ("tls://127.0.0.1:7", Protocol::Raw, "127.0.0.1:7", "/"),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!(target.protocol, protocol);
            assert_eq!(target.tls, url.starts_with("wss") || url.starts_with("tls"));
            assert_eq!((target.authority().as_str(), target.resource.as_str()), (authority, resource));
            assert_eq!(target.to_string(), url);
        }
    }

    #[test]
    fn wrong_urls_are_refused_in_words() {
        for (url, part) in [
            ("localhost:5000", "ws://HOST:PORT"),
            ("http://localhost", "http"),
            ("ws://", "host"),
            ("ws://:80", "host"),
            ("ws://a:0", "port"),
            ("ws://a:65536", "port"),
            ("ws://[::1", "]"),
            ("ws://[::1]80", "port"),
            ("ws://user@a", "user"),
            ("ws://a/#b", "fragment"),
            ("ws://a/\u{e4}", "percent"),
            ("tcp://a", "tcp:// needs a port"),
            ("tls://a", "tls:// needs a port"),
        ] {
            let error = url.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
