//! The proxies that are trusted to name a client, and the address that follows from their fields.

use super::forwarded::{Malformed, forwarded, x_forwarded_for};
use crate::event_loop::stream::PeerAddr;
use framewright::handshake::Request;
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::IpAddr;

/// The proxies that are trusted to name the client of a request. By default none is trusted.
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
/// Name only proxies of your own that set the field, or add the address of their peer to it. A
/// listed proxy can claim any client address.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Box<[IpNet]>,
    /// True if every peer on a Unix socket is trusted.
    unix: bool,
    field: ForwardedField,
}

/// The field in which proxies name the client of a request. Other such fields are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedField {
    /// `X-Forwarded-For`, which most proxies set.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// No field, for proxies that speak the PROXY protocol and forward requests unchanged.
    None,
}

impl TrustedProxies {
    /// Makes a list of trusted proxies. Each is an IP address, a network such as `10.0.0.0/8`, or
    /// `unix` for every peer on a Unix socket that the server listens on.
    ///
    /// # Errors
    /// The first text that is none of these.
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

    /// Sets the field in which the proxies name the client. Default
    /// [`ForwardedField::XForwardedFor`].
    ///
    /// Each of the proxies must set this field or add to it: if a proxy forwards it unchanged, the
    /// client controls its content.
    #[must_use]
    pub fn reading(mut self, field: ForwardedField) -> Self {
        self.field = field;
        self
    }

    /// Whether this peer is a trusted proxy.
    pub(crate) fn trusts(&self, peer: Option<PeerAddr>) -> bool {
        match peer {
            Some(PeerAddr::Ip(addr)) => self.trusts_ip(addr.ip()),
            Some(PeerAddr::Unix) => self.unix,
            None => false,
        }
    }

    /// Whether a proxy can connect by other means than a Unix socket.
    pub(crate) fn has_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    fn trusts_ip(&self, ip: IpAddr) -> bool {
        // A dual-stack socket reports IPv4 peers as ::ffff:a.b.c.d.
        let ip = ip.to_canonical();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Finds the client of a request that was received from `peer`: see
    /// [`Incoming::client_addr`](crate::Incoming::client_addr).
    ///
    /// # Errors
    /// If the configured field is malformed, so that the part added by a proxy cannot be
    /// determined.
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
        // A proxy adds its part after what it received, possibly as a line of its own.
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

/// The client of a request, as the trusted proxies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOf {
    /// The peer itself: it is not a trusted proxy, or is one that names no other client.
    Itself(Option<IpAddr>),
    /// The address that a trusted proxy names.
    Named(IpAddr),
    /// A client whose address a trusted proxy does not give.
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

/// Parses a network, or an address as a network of its own. IPv4-mapped IPv6 becomes IPv4.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(ip), Some(prefix)) if network.addr().is_ipv6() => {
            Ipv4Net::new(ip, prefix).ok().map(IpNet::V4)
        }
        _ => Some(network),
    }
}

/// The error for a text that names no proxy.
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
            // All are proxies: the first one is the client.
            ("10.9.9.9, 10.1.2.3", Some("10.9.9.9")),
            // Addresses before the client are ignored.
            ("\"<junk>, 192.0.2.1, 10.1.2.3", Some("192.0.2.1")),
            // A trusted proxy does not name the client.
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
