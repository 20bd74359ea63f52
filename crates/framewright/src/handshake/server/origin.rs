//! Which origins of web pages are served (RFC 6455, section 10.2; RFC 6454), and which hosts.
//!
//! Scheme, host and port are compared as a whole. Nothing is matched by prefix or suffix, which is
//! how `https://good.example.evil` gets accepted.

use std::fmt;

use super::request::Request;
use crate::http::authority::Authority;
use crate::http::bytes::ascii;
use crate::http::known::Known;

/// The origins that may open a connection; the empty list allows any.
///
/// A request without Origin is always allowed: browsers send one, and other programs can send any
/// value. The check keeps foreign web pages from using a visitor's browser, and with it the
/// visitor's cookies.
///
/// ```
/// # use framewright::handshake::AllowedOrigins;
/// let origins = AllowedOrigins::new(["https://example.com", "http://localhost:8080"])?;
/// assert!(AllowedOrigins::new(["https://*.example.com"]).is_err());
/// # Ok::<(), framewright::handshake::OriginError>(())
/// ```
//= https://www.rfc-editor.org/rfc/rfc6455#section-10.2
//# Servers that are not intended to process input from any web page but
//# only for certain sites SHOULD verify the |Origin| field is an origin
//# they expect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    /// Each entry parses as an [`Origin`].
    list: Box<[Box<str>]>,
}

impl AllowedOrigins {
    /// Allows the given origins.
    ///
    /// Each origin is written as browsers send it: `scheme://host`, with `:port` unless it is the
    /// scheme's default, and nothing after it. `null` is what a page without an origin sends (a
    /// sandboxed one, or a file).
    ///
    /// # Errors
    /// [`OriginError`] with the first text that is not an origin.
    pub fn new<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, OriginError> {
        let check = |origin: T| {
            let text = origin.as_ref();
            match Origin::parse(text.as_bytes()) {
                Some(_) => Ok(text.into()),
                None => Err(OriginError(text.into())),
            }
        };
        Ok(AllowedOrigins { list: origins.into_iter().map(check).collect::<Result<_, _>>()? })
    }

    /// Allows any origin.
    pub fn any() -> Self {
        AllowedOrigins::default()
    }

    /// Whether any origin is allowed, because none was named.
    pub fn is_any(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the request's origin is allowed. If not, answer
    /// [`Refusal::OriginNotAllowed`](crate::handshake::Refusal::OriginNotAllowed).
    ///
    /// A request without Origin is allowed, one with several Origin lines is not. For a single
    /// Origin, see [`allows`](Self::allows).
    pub fn allows_request(&self, request: &Request<'_>) -> bool {
        if self.is_any() {
            return true;
        }
        let mut lines = request.values(Known::Origin);
        let Some(value) = lines.next() else { return true };
        lines.next().is_none() && self.allows_value(value)
    }

    /// Whether pages of this origin may connect, for a server that reads requests with another HTTP
    /// stack. `origin` is the value of the request's Origin.
    ///
    /// Scheme and host are compared without regard to case, IPv6 addresses by value. A missing port
    /// is the default of http, https, ws or wss. A host with a trailing dot is a different host. A
    /// value that does not parse as an origin is not allowed.
    ///
    /// ```
    /// # use framewright::handshake::AllowedOrigins;
    /// let origins = AllowedOrigins::new(["https://example.com"])?;
    /// assert!(origins.allows("https://example.com:443"));
    /// assert!(!origins.allows("https://example.com.evil"));
    /// # Ok::<(), framewright::handshake::OriginError>(())
    /// ```
    pub fn allows(&self, origin: &str) -> bool {
        self.is_any() || self.allows_value(origin.as_bytes())
    }

    fn allows_value(&self, value: &[u8]) -> bool {
        // A browser's value usually equals a list entry byte for byte.
        if self.list.iter().any(|text| text.as_bytes() == value) {
            return true;
        }
        let Some(origin) = Origin::parse(value) else { return false };
        self.list
            .iter()
            .filter_map(|text| Origin::parse(text.as_bytes()))
            .any(|allowed| allowed.is_same(&origin))
    }
}

/// An origin as sent (RFC 6454, section 7.1).
enum Origin<'a> {
    Null,
    Tuple(&'a str, Authority<'a>),
}

impl<'a> Origin<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes == b"null" {
            return Some(Origin::Null);
        }
        let colon = bytes.iter().position(|&byte| byte == b':')?;
        let (scheme, rest) = bytes.split_at(colon);
        let [first, others @ ..] = scheme else { return None };
        let is_scheme = first.is_ascii_alphabetic()
            && others.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let authority = rest.strip_prefix(b"://")?;
        // A host name has no `*`, although RFC 3986 permits it.
        if !is_scheme || authority.contains(&b'*') {
            return None;
        }
        Some(Origin::Tuple(ascii(scheme), Authority::parse(authority)?))
    }

    fn is_same(&self, other: &Origin<'_>) -> bool {
        match (self, other) {
            (Origin::Null, Origin::Null) => true,
            (Origin::Tuple(scheme, one), Origin::Tuple(other_scheme, two)) => {
                scheme.eq_ignore_ascii_case(other_scheme)
                    && one.same_host(two)
                    && one.port.or(default_port(scheme)) == two.port.or(default_port(scheme))
            }
            _ => false,
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        return Some(80);
    }
    (is("https") || is("wss")).then_some(443)
}

/// The error for a text that is not an origin: it has a path, a wildcard or no scheme, or its host
/// is malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError(Box<str>);

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an origin: write scheme://host or scheme://host:port, without a path, or null",
            self.0
        )
    }
}

impl std::error::Error for OriginError {}

/// The hosts that requests may name; the empty list allows any.
///
/// Checking the host protects a server on a private network or on localhost from DNS rebinding. In
/// that attack, a foreign web page makes its own name resolve to the server's address.
///
/// ```
/// # use framewright::handshake::AllowedHosts;
/// let hosts = AllowedHosts::new(["example.com", "localhost:8080", "[::1]"])?;
/// assert!(AllowedHosts::new(["http://example.com"]).is_err());
/// # Ok::<(), framewright::handshake::HostError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// Each entry parses as an [`Authority`].
    list: Box<[Box<str>]>,
}

impl AllowedHosts {
    /// Allows the given hosts.
    ///
    /// Each host is a name, an IPv4 address or an IPv6 address in brackets. With `:port` it is
    /// allowed on that port only, without one on any port.
    ///
    /// # Errors
    /// [`HostError`] with the first text that is not a host.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Result<Self, HostError> {
        let check = |host: T| {
            let text = host.as_ref();
            match Authority::parse(text.as_bytes()) {
                Some(_) if !text.contains('*') => Ok(text.into()),
                _ => Err(HostError(text.into())),
            }
        };
        Ok(AllowedHosts { list: hosts.into_iter().map(check).collect::<Result<_, _>>()? })
    }

    /// Allows any host.
    pub fn any() -> Self {
        AllowedHosts::default()
    }

    /// Whether any host is allowed, because none was named.
    pub fn is_any(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the request's host is served. If not, answer
    /// [`Refusal::HostNotAllowed`](crate::handshake::Refusal::HostNotAllowed).
    ///
    /// It checks [`Request::host`] as [`allows`](Self::allows) does.
    pub fn allows_request(&self, request: &Request<'_>) -> bool {
        self.allows(request.host())
    }

    /// Whether this host is served, for a server that reads requests with another HTTP stack.
    /// `host` is the value of the request's Host.
    ///
    /// Names are compared without regard to case, IPv6 addresses by value. A request that names no
    /// port matches a listed port 80 or 443, the defaults of http and https. The empty host of a
    /// request that names none is not allowed.
    pub fn allows(&self, host: &str) -> bool {
        if self.is_any() {
            return true;
        }
        let Some(host) = Authority::parse(host.as_bytes()) else { return false };
        self.list.iter().filter_map(|text| Authority::parse(text.as_bytes())).any(|allowed| {
            let same_port = match (allowed.port, host.port) {
                (None, _) | (Some(80 | 443), None) => true,
                (allowed, port) => allowed == port,
            };
            same_port && allowed.same_host(&host)
        })
    }
}

/// The error for a text that is not a host with an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError(Box<str>);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a host: write host or host:port, without a scheme", self.0)
    }
}

impl std::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::handshake::{HeadLimits, ServerHandshake};

    fn with<T>(fields: &str, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        handshake.parse(head.as_bytes()).unwrap().unwrap();
        look(&handshake.request(head.as_bytes()))
    }

    fn origin_allowed(allowed: &[&str], origin: &str) -> bool {
        let origins = AllowedOrigins::new(allowed).unwrap();
        with(&format!("Host: h\r\nOrigin: {origin}\r\n"), |request| origins.allows_request(request))
    }

    #[test]
    fn origin_matches_as_a_whole() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-10.2
        //= type=test
        //# Servers that are not intended to process input from any web page but
        //# only for certain sites SHOULD verify the |Origin| field is an origin
        //# they expect.
        let allowed = ["https://good.example"];
        for origin in ["https://good.example", "HTTPS://Good.Example", "https://good.example:443"] {
            assert!(origin_allowed(&allowed, origin), "{origin}");
        }
        for origin in [
            "https://good.example.evil",
            "https://evilgood.example",
            "https://evil.good.example",
            "https://good.example.",
            "https://good.example:444",
            "https://good.example:80",
            "http://good.example",
            "https://good.example/",
            "https://good.example@evil",
            "https://good.example https://evil",
            "https://good.example, https://evil",
            "good.example",
            "null",
            "NULL",
            "",
            "https://",
            "\u{e9}",
        ] {
            assert!(!origin_allowed(&allowed, origin), "{origin}");
        }
    }

    #[test]
    fn an_origin_from_elsewhere_is_judged_as_one_of_a_request() {
        let origins = AllowedOrigins::new(["https://good.example", "null"]).unwrap();
        for origin in ["https://good.example", "HTTPS://Good.Example:443", "null"] {
            assert!(origins.allows(origin), "{origin}");
        }
        for origin in
            ["", "https://good.example.evil", "http://good.example", "https://good.example/", "\u{e9}"]
        {
            assert!(!origins.allows(origin), "{origin}");
        }
        assert!(AllowedOrigins::any().allows("junk"));
        let hosts = AllowedHosts::new(["good.example"]).unwrap();
        assert!(hosts.allows("Good.Example:81") && !hosts.allows("") && !hosts.allows("evil"));
        assert!(AllowedHosts::any().allows(""));
    }

    #[test]
    fn origins_with_ports_addresses_and_other_schemes_match() {
        assert!(origin_allowed(&["http://localhost:8080"], "http://localhost:8080"));
        assert!(!origin_allowed(&["http://localhost:8080"], "http://localhost"));
        assert!(origin_allowed(&["http://a:80"], "http://a"));
        assert!(origin_allowed(&["https://[::1]:8443"], "https://[0:0::1]:8443"));
        assert!(origin_allowed(&["chrome-extension://abcdef"], "chrome-extension://abcdef"));
        assert!(origin_allowed(&["https://a", "null"], "null"));
    }

    #[test]
    fn two_origins_are_not_allowed_and_none_is() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1
        //= type=test
        //# Optionally, an |Origin| header field.  This header field is sent
        //# by all browser clients.  A connection attempt lacking this
        //# header field SHOULD NOT be interpreted as coming from a browser
        //# client.
        let origins = AllowedOrigins::new(["https://a"]).unwrap();
        assert!(!with("Host: h\r\nOrigin: https://a\r\nOrigin: https://a\r\n", |request| origins
            .allows_request(request)));
        assert!(with("Host: h\r\n", |request| origins.allows_request(request)));
        assert!(with("Host: h\r\nOrigin: junk\r\n", |request| AllowedOrigins::any().allows_request(request)));
    }

    #[test]
    fn what_is_no_origin_is_an_error() {
        for text in
            ["", "*", "a", "https://*", "https://*.a", "https://a/", "https://a/b", "://a", "1a://b", "a:b"]
        {
            assert!(AllowedOrigins::new([text]).is_err(), "{text}");
        }
    }

    #[test]
    fn host_matches_by_name_and_port() {
        let allowed = |list: &[&str], host: &str| {
            let hosts = AllowedHosts::new(list).unwrap();
            with(&format!("Host: {host}\r\n"), |request| hosts.allows_request(request))
        };
        assert!(allowed(&["example.com"], "Example.com"));
        assert!(allowed(&["example.com"], "example.com:9000"));
        assert!(allowed(&["example.com:443"], "example.com"));
        assert!(allowed(&["[::1]:9000"], "[::1]:9000"));
        assert!(allowed(&[], "anything"));
        assert!(!allowed(&["example.com:9000"], "example.com"));
        assert!(!allowed(&["example.com:9000"], "example.com:9001"));
        assert!(!allowed(&["example.com"], "example.com."));
        assert!(!allowed(&["example.com"], "evil.example.com"));
        for text in ["", "http://a", "a/b", "*", "a:b"] {
            assert!(AllowedHosts::new([text]).is_err(), "{text}");
        }
    }
}
