//! Whose word on the origin of a connection counts, and what it comes to.

use super::forwarded::{Malformed, forwarded, x_forwarded_for};
use crate::event_loop::stream::PeerAddr;
use framewright::handshake::Request;
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::IpAddr;

/// The proxies whose word counts on whom a request is from. By default nobody's does.
///
/// ```
/// use framewright_server::{ForwardedField, Server, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["127.0.0.1", "10.20.0.0/16", "unix"])?;
/// let builder = Server::builder().trusted_proxies(proxies.reading(ForwardedField::Forwarded));
/// assert!(TrustedProxies::new(["proxy.example.com"]).is_err());
/// # Ok::<(), framewright_server::ProxyAddressError>(())
/// ```
///
/// Name only proxies of your own that set the field, or add to it what they see: whoever is in the
/// list can say that a request is from anybody.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Box<[IpNet]>,
    /// Whoever connects to a Unix socket.
    unix: bool,
    field: ForwardedField,
}

/// The field in which proxies say whom a request is from. The others are not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedField {
    /// `X-Forwarded-For`, which most proxies set.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// None: for proxies that speak the PROXY protocol, and leave requests as they are.
    None,
}

impl TrustedProxies {
    /// Each proxy is an IP address, a network such as `10.0.0.0/8`, or `unix` for whoever connects
    /// to a Unix socket that the server listens on.
    ///
    /// # Errors
    /// The first text that is none of those.
    pub fn new<T: AsRef<str>>(proxies: impl IntoIterator<Item = T>) -> Result<Self, ProxyAddressError> {
        let (mut networks, mut unix) = (Vec::new(), false);
        for proxy in proxies {
            match proxy.as_ref() {
                "unix" => unix = true,
                text => networks.push(network(text).ok_or_else(|| ProxyAddressError(text.into()))?),
            }
        }
        Ok(TrustedProxies { networks: networks.into(), unix, field: ForwardedField::default() })
    }

    /// The proxies say it in this field. Default [`ForwardedField::XForwardedFor`].
    ///
    /// It has to be one that each of them sets or adds to: a field that a proxy lets pass as it is
    /// holds what the client likes.
    #[must_use]
    pub fn reading(mut self, field: ForwardedField) -> Self {
        self.field = field;
        self
    }

    /// Whether the word of this peer counts.
    pub(crate) fn trusts(&self, peer: Option<PeerAddr>) -> bool {
        match peer {
            Some(PeerAddr::Ip(addr)) => self.trusts_ip(addr.ip()),
            Some(PeerAddr::Unix) => self.unix,
            None => false,
        }
    }

    /// Whether there can be a proxy elsewhere than on a Unix socket.
    pub(crate) fn has_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    fn trusts_ip(&self, ip: IpAddr) -> bool {
        // A socket for both families shows peers of IPv4 as ::ffff:a.b.c.d.
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Whom the request is from that came from `peer`: see
    /// [`Incoming::client_addr`](crate::Incoming::client_addr).
    ///
    /// # Errors
    /// If the field that counts is malformed, so that it cannot be told what a proxy has said in it.
    pub(crate) fn client(
        &self,
        request: &Request<'_>,
        peer: Option<PeerAddr>,
    ) -> Result<ClientOf, Malformed> {
        let peer_itself = Ok(ClientOf::Itself(peer.and_then(PeerAddr::ip)));
        if !self.trusts(peer) {
            return peer_itself;
        }
        let name = match self.field {
            ForwardedField::XForwardedFor => "X-Forwarded-For",
            ForwardedField::Forwarded => "Forwarded",
            ForwardedField::None => return peer_itself,
        };
        let read = if self.field == ForwardedField::Forwarded { forwarded } else { x_forwarded_for };
        // What a proxy adds is behind what it got, be it on a line of its own.
        let mut lines: Vec<_> = request.field_all(name).collect();
        lines.reverse();
        let mut client = peer_itself;
        for line in lines {
            for node in read(line)? {
                let Some(ip) = node else { return Ok(ClientOf::Unnamed) };
                client = Ok(ClientOf::Named(ip));
                if !self.trusts_ip(ip) {
                    return client;
                }
            }
        }
        client
    }
}

/// Whom a request is from that came from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOf {
    /// The peer, if it is a proxy on its own behalf.
    Itself(Option<IpAddr>),
    /// Whom a trusted proxy names.
    Named(IpAddr),
    /// Somebody whom a trusted proxy does not name.
    Unnamed,
}

impl ClientOf {
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            ClientOf::Itself(ip) => ip,
            ClientOf::Named(ip) => Some(ip),
            ClientOf::Unnamed => None,
        }
    }
}

/// A network, or an address as the network of itself. What is written as IPv4 in IPv6 is IPv4.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(ip), Some(prefix)) if network.addr().is_ipv6() => {
            Ipv4Net::new(ip, prefix).ok().map(IpNet::V4)
        }
        _ => Some(network),
    }
}

/// A text that names no proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddressError(Box<str>);

impl fmt::Display for ProxyAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no proxy: write an IP address, a network such as 10.0.0.0/8, or unix", self.0)
    }
}

impl std::error::Error for ProxyAddressError {}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::handshake::{HeadLimits, ServerHandshake};
    use std::time::{Duration, Instant};

    fn client(proxies: &TrustedProxies, peer: Option<PeerAddr>, fields: &str) -> Option<String> {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        handshake.parse(head.as_bytes()).unwrap().unwrap();
        match proxies.client(&handshake.request(head.as_bytes()), peer) {
            Ok(client) => client.ip().map(|ip| ip.to_string()),
            Err(Malformed) => Some("malformed".to_owned()),
        }
    }

    fn peer(addr: &str) -> Option<PeerAddr> {
        Some(PeerAddr::Ip(addr.parse().unwrap()))
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "2001:db8::/32", "unix"]).unwrap()
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_trusted() {
        for (field, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("203.0.113.9, 192.0.2.1", Some("192.0.2.1")),
            ("203.0.113.9, 192.0.2.1, 10.1.2.3, 2001:db8::5", Some("192.0.2.1")),
            // Everybody is a proxy: the first of them is the client.
            ("10.9.9.9, 10.1.2.3", Some("10.9.9.9")),
            // What is in front of the client nobody looks at.
            ("\"<junk>, 192.0.2.1, 10.1.2.3", Some("192.0.2.1")),
            // A trusted proxy does not say.
            ("192.0.2.1, unknown, 10.1.2.3", None),
            ("192.0.2.1, ::1::", None),
            ("", Some("10.0.0.1")),
        ] {
            let line = format!("X-Forwarded-For: {field}\r\n");
            assert_eq!(client(&proxies(), peer("10.0.0.1:1"), &line).as_deref(), expected, "{field}");
        }
        let lines =
            "X-Forwarded-For: 203.0.113.9\r\nx-forwarded-for: 192.0.2.1\r\nX-Forwarded-For: 10.1.2.3\r\n";
        assert_eq!(client(&proxies(), peer("10.0.0.1:1"), lines).as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn the_field_of_anybody_else_is_not_read() {
        let line = "X-Forwarded-For: 203.0.113.9\r\n";
        assert_eq!(client(&proxies(), peer("192.0.2.1:1"), line).as_deref(), Some("192.0.2.1"));
        assert_eq!(client(&TrustedProxies::default(), peer("10.0.0.1:1"), line).as_deref(), Some("10.0.0.1"));
        assert_eq!(client(&TrustedProxies::default(), Some(PeerAddr::Unix), line), None);
        assert_eq!(client(&proxies(), Some(PeerAddr::Unix), line).as_deref(), Some("203.0.113.9"));
        assert_eq!(client(&proxies(), Some(PeerAddr::Unix), ""), None);
        assert_eq!(client(&proxies(), None, line), None);
    }

    #[test]
    fn one_field_is_read_and_no_other() {
        let lines = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n";
        for (field, expected) in [
            (ForwardedField::XForwardedFor, "192.0.2.1"),
            (ForwardedField::Forwarded, "192.0.2.2"),
            (ForwardedField::None, "10.0.0.1"),
        ] {
            let proxies = proxies().reading(field);
            assert_eq!(client(&proxies, peer("10.0.0.1:1"), lines).as_deref(), Some(expected), "{field:?}");
        }
        let only_other = "X-Forwarded-For: 192.0.2.1\r\n";
        let proxies = proxies().reading(ForwardedField::Forwarded);
        assert_eq!(client(&proxies, peer("10.0.0.1:1"), only_other).as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn a_forwarded_line_that_is_malformed_is_told_if_it_is_looked_at() {
        let proxies = proxies().reading(ForwardedField::Forwarded);
        let of = |lines: &str| client(&proxies, peer("10.0.0.1:1"), lines);
        assert_eq!(of("Forwarded: for=10.0.0.9;x=\", for=192.0.2.1\r\n").as_deref(), Some("malformed"));
        assert_eq!(of("Forwarded: \"\r\nForwarded: for=192.0.2.1\r\n").as_deref(), Some("192.0.2.1"));
        assert_eq!(of("Forwarded: for=192.0.2.1, for=10.0.0.9\r\n").as_deref(), Some("192.0.2.1"));
        assert_eq!(of("Forwarded: \"\r\nForwarded: for=unknown\r\n"), None);
        for lines in ["for=192.0.2.1\r\nForwarded: \"\r\n", "\"\r\nForwarded: for=10.0.0.9\r\n"] {
            assert_eq!(of(&format!("Forwarded: {lines}")).as_deref(), Some("malformed"), "{lines}");
        }
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let trusts =
            |list: &str, ip: &str| TrustedProxies::new([list]).unwrap().trusts(peer(&format!("{ip}:1")));
        assert!(trusts("192.0.2.1", "192.0.2.1") && !trusts("192.0.2.1", "192.0.2.2"));
        assert!(trusts("192.0.2.7/24", "192.0.2.9") && !trusts("192.0.2.7/24", "192.0.3.9"));
        assert!(trusts("192.0.2.1", "[::ffff:192.0.2.1]"));
        assert!(trusts("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(trusts("::ffff:192.0.2.0/120", "192.0.2.9") && !trusts("::ffff:192.0.2.0/120", "192.0.3.9"));
        assert!(trusts("0.0.0.0/0", "192.0.2.1") && !trusts("0.0.0.0/0", "[2001:db8::1]"));
        assert!(trusts("::/0", "[2001:db8::1]") && !trusts("::/0", "192.0.2.1"));
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "[::1]", "Unix", "10.0.0.0/8 "] {
            assert!(TrustedProxies::new([text]).is_err(), "{text}");
        }
    }
}
