//! WebSocket URIs (RFC 6455, section 3), which tell a client what to connect to.
//!
//! ```text
//!   ws://user@example.com:8080/chat?room=1#top
//!   scheme    host        port resource name
//!        refused                          refused
//! ```
//! The grammar is RFC 3986's (`http/reference.rs`). This file adds the rules of RFC 6455, and rules
//! that keep a host from being interpreted in two ways.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::http::authority::{Authority, ipv6};
use crate::http::reference::Reference;

/// A `ws` or `wss` URI.
///
/// The text is kept as given: path and query are sent to the server byte for byte.
///
/// ```
/// # use framewright::handshake::{UriError, WsUri};
/// let uri = WsUri::parse("ws://example.com:8080/chat?room=1")?;
/// assert_eq!((uri.host(), uri.port(), uri.is_secure()), ("example.com", 8080, false));
/// assert_eq!(uri.resource_name(), "/chat?room=1");
///
/// assert_eq!(WsUri::parse("ws://example.com/#chat"), Err(UriError::Fragment));
/// # Ok::<(), UriError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WsUri {
    text: String,
    secure: bool,
    /// The start and the end of the host in `text`.
    host: (usize, usize),
    ip: Option<IpAddr>,
    port: u16,
    /// The start of path and query in `text`.
    resource: usize,
}

impl WsUri {
    /// Parses a `ws` or `wss` URI.
    ///
    /// # Errors
    /// [`UriError`] for the rule that `text` breaks.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If any of the components are invalid, the client
    //# MUST _Fail the WebSocket Connection_ and abort these steps.
    pub fn parse(text: &str) -> Result<WsUri, UriError> {
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii()) {
            return Err(UriError::NotAscii { at });
        }
        let uri = Reference::parse(text).map_err(|at| UriError::Syntax { at })?;
        let scheme = uri.scheme.unwrap_or_default();
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# The URI is called "secure" (and it is said that "the secure flag is
        //# set") if the scheme component matches "wss" case-insensitively.
        let secure = scheme.eq_ignore_ascii_case("wss");
        if !secure && !scheme.eq_ignore_ascii_case("ws") {
            return Err(UriError::Scheme);
        }
        let authority = uri.authority.ok_or(UriError::NoAuthority)?;
        if authority.userinfo.is_some() {
            return Err(UriError::Userinfo);
        }
        let host = authority.host;
        if host.is_empty() {
            return Err(UriError::EmptyHost);
        }
        // A percent-encoded host could be one name to a resolver and another to code that compares
        // it. The other hosts that fail here are addresses of IP versions that are not in use.
        if host.contains('%') || Authority::parse(host.as_bytes()).is_none() {
            return Err(UriError::InvalidHost);
        }
        let ip = ip(host);
        if ip.is_none() && ends_in_a_number(host) {
            return Err(UriError::InvalidHost);
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# The port component is OPTIONAL; the default for "ws" is port 80,
        //# while the default for "wss" is port 443.
        let port = match authority.port {
            "" => default_port(secure),
            digits => digits.parse().ok().filter(|&port| port != 0).ok_or(UriError::Port)?,
        };
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# Fragment identifiers are meaningless in the context of WebSocket URIs
        //# and MUST NOT be used on these URIs.
        if uri.fragment.is_some() {
            return Err(UriError::Fragment);
        }
        let start = scheme.len() + "://".len();
        Ok(WsUri {
            secure,
            host: (start, start + host.len()),
            ip,
            port,
            resource: start + authority.text.len(),
            text: text.to_owned(),
        })
    }

    /// The URI as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the scheme is `wss`, so that the connection uses TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host as given: a registered name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.text[self.host.0..self.host.1]
    }

    /// The IP address, if the host is an address and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port; the scheme's default, 80 or 443, if none was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The resource name that is requested of the server: path and query, byte for byte as given.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-3
    //# The "resource-name" (also known as /resource name/ in Section 4.1)
    //# can be constructed by concatenating the following:
    //#
    //# o  "/" if the path component is empty
    //#
    //# o  the path component
    //#
    //# o  "?" if the query component is non-empty
    //#
    //# o  the query component
    // A "?" with nothing after it is kept: it is part of the given text, and servers see the
    // difference.
    pub fn resource_name(&self) -> Cow<'_, str> {
        let given = &self.text[self.resource..];
        if given.starts_with('/') { Cow::Borrowed(given) } else { Cow::Owned(format!("/{given}")) }
    }

    /// The value of Host: the host, and the port if it is not the scheme's default.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.secure) { self.host().to_owned() } else { self.host_and_port() }
    }

    /// The host and the port with a colon between them, even if it is the scheme's default port.
    /// CONNECT sends it to a proxy.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host(), self.port)
    }
}

impl fmt::Display for WsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for WsUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        WsUri::parse(text)
    }
}

impl TryFrom<&str> for WsUri {
    type Error = UriError;

    fn try_from(text: &str) -> Result<Self, UriError> {
        WsUri::parse(text)
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn ip(host: &str) -> Option<IpAddr> {
    let ipv4 = || host.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    ipv6(host.as_bytes()).map(IpAddr::V6).or_else(ipv4)
}

/// Whether resolvers may interpret a name as an IPv4 address in one of its other forms, `127.1` or
/// `0x7f000001`. Code that compares names would not see that.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (!last.is_empty() && digits(last)) || last.to_ascii_lowercase().strip_prefix("0x").is_some_and(hex)
}

/// The reason why a text is not a WebSocket URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UriError {
    /// The text has a character that is not US-ASCII.
    NotAscii {
        /// The position of the character, in bytes.
        at: usize,
    },
    /// The text breaks the grammar.
    Syntax {
        /// The position of the fault, in bytes.
        at: usize,
    },
    /// The scheme is neither `ws` nor `wss`, or is missing.
    Scheme,
    /// No `//` and no host follow the scheme.
    NoAuthority,
    /// The URI has a user name, and perhaps a password.
    Userinfo,
    /// The host is empty.
    EmptyHost,
    /// The host is percent-encoded, an address that is neither IPv4 nor IPv6, or a name that ends
    /// in a number, which resolvers may interpret as an address.
    InvalidHost,
    /// The port is 0 or above 65535.
    Port,
    /// The URI has a fragment.
    Fragment,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::NotAscii { at } => {
                return write!(
                    f,
                    "the URI is not US-ASCII at octet {at}: apply IDNA to the host and percent-encoding to the rest first (RFC 3986, section 2)"
                );
            }
            UriError::Syntax { at } => {
                return write!(f, "not a URI: octet {at} may not stand where it does; percent-encode it (RFC 3986, appendix A)");
            }
            UriError::Scheme => "the scheme of the URI is neither ws nor wss (RFC 6455, section 3)",
            UriError::NoAuthority => "the URI has no host: // is missing (RFC 6455, section 3)",
            UriError::Userinfo => "the URI has a user name; WebSocket URIs have none (RFC 6455, section 3)",
            UriError::EmptyHost => "the host of the URI is empty (RFC 9110, section 4.2.1)",
            UriError::InvalidHost => {
                "the host of the URI is no name and no address (RFC 3986, section 3.2.2)"
            }
            UriError::Port => "the port of the URI is not 1 to 65535 (RFC 3986, section 3.2.3)",
            UriError::Fragment => "the URI has a fragment; encode # as %23 (RFC 6455, section 3)",
        })
    }
}

impl std::error::Error for UriError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> WsUri {
        WsUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn uri_is_taken_apart() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //= type=test
        //# The port component is OPTIONAL; the default for "ws" is port 80,
        //# while the default for "wss" is port 443.
        for (text, secure, host, port, authority) in [
            ("ws://example.com", false, "example.com", 80, "example.com"),
            ("ws://example.com:", false, "example.com", 80, "example.com"),
            ("ws://example.com:80/", false, "example.com", 80, "example.com"),
            ("ws://example.com:0080/", false, "example.com", 80, "example.com"),
            ("ws://example.com:443/", false, "example.com", 443, "example.com:443"),
            ("ws://example.com:65535/", false, "example.com", 65535, "example.com:65535"),
            ("wss://example.com/", true, "example.com", 443, "example.com"),
            ("wss://example.com:443?x", true, "example.com", 443, "example.com"),
            ("wss://example.com:80/", true, "example.com", 80, "example.com:80"),
            ("ws://Example.COM./", false, "Example.COM.", 80, "Example.COM."),
            ("ws://127.0.0.1:1/", false, "127.0.0.1", 1, "127.0.0.1:1"),
            ("ws://[::1]/", false, "[::1]", 80, "[::1]"),
            ("wss://[2001:DB8::7]:8443/", true, "[2001:DB8::7]", 8443, "[2001:DB8::7]:8443"),
            ("ws://xn--bcher-kva.example/", false, "xn--bcher-kva.example", 80, "xn--bcher-kva.example"),
        ] {
            let uri = parse(text);
            assert_eq!((uri.is_secure(), uri.host(), uri.port()), (secure, host, port), "{text}");
            assert_eq!(uri.authority(), authority, "{text}");
            assert_eq!(uri.host_and_port(), format!("{host}:{port}"), "{text}");
            assert_eq!((uri.as_str(), uri.to_string().as_str()), (text, text));
        }
    }

    #[test]
    fn scheme_is_read_without_regard_to_case() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //= type=test
        //# The URI is called "secure" (and it is said that "the secure flag is
        //# set") if the scheme component matches "wss" case-insensitively.
        for (text, secure) in [("WS://a", false), ("Ws://a", false), ("WSS://a", true), ("wSs://a", true)] {
            assert_eq!(parse(text).is_secure(), secure, "{text}");
        }
    }

    #[test]
    fn resource_name_is_path_and_query_byte_for_byte() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //= type=test
        //# The "resource-name" (also known as /resource name/ in Section 4.1)
        //# can be constructed by concatenating the following:
        //#
        //# o  "/" if the path component is empty
        //#
        //# o  the path component
        //#
        //# o  "?" if the query component is non-empty
        //#
        //# o  the query component
        for (rest, expected) in [
            ("", "/"),
            ("/", "/"),
            ("?x", "/?x"),
            ("?", "/?"),
            ("/?", "/?"),
            ("/chat?room=1?2/3", "/chat?room=1?2/3"),
            ("/a/../b/./c//d", "/a/../b/./c//d"),
            ("//a", "//a"),
            ("/%7e%7E~%c3%A9", "/%7e%7E~%c3%A9"),
            ("/a;b=1,2@:!$&'()*+", "/a;b=1,2@:!$&'()*+"),
            ("/%23", "/%23"),
        ] {
            for start in ["ws://h", "ws://h:81", "wss://[::1]:443"] {
                assert_eq!(parse(&format!("{start}{rest}")).resource_name(), expected, "{start}{rest}");
            }
        }
    }

    #[test]
    fn addresses_are_known_for_what_they_are() {
        for (host, ip) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("::1")),
            ("[::ffff:1.2.3.4]", Some("::ffff:1.2.3.4")),
            ("localhost", None),
            ("127.0.0.1.example", None),
        ] {
            let expected = ip.map(|ip| ip.parse().unwrap());
            assert_eq!(parse(&format!("ws://{host}:1/")).ip(), expected, "{host}");
        }
    }

    #[test]
    fn each_fault_of_a_uri_has_its_name() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //= type=test
        //# If any of the components are invalid, the client
        //# MUST _Fail the WebSocket Connection_ and abort these steps.
        for (text, error) in [
            ("", UriError::Scheme),
            ("example.com", UriError::Scheme),
            ("//example.com/", UriError::Scheme),
            ("/chat", UriError::Scheme),
            ("http://example.com/", UriError::Scheme),
            ("wsx://example.com/", UriError::Scheme),
            ("ws+unix://example.com/", UriError::Scheme),
            ("ws:", UriError::NoAuthority),
            ("ws:/x", UriError::NoAuthority),
            ("ws:example.com", UriError::NoAuthority),
            ("ws://", UriError::EmptyHost),
            ("ws:///x", UriError::EmptyHost),
            ("ws://:80/", UriError::EmptyHost),
            ("ws://?x", UriError::EmptyHost),
            ("ws://user@h/", UriError::Userinfo),
            ("ws://user:password@h/", UriError::Userinfo),
            ("ws://@h/", UriError::Userinfo),
            ("ws://h:0/", UriError::Port),
            ("ws://h:65536/", UriError::Port),
            ("ws://h:99999999999999999999/", UriError::Port),
            ("ws://a%20b/", UriError::InvalidHost),
            ("ws://%61/", UriError::InvalidHost),
            ("ws://127.1/", UriError::InvalidHost),
            ("ws://2130706433/", UriError::InvalidHost),
            ("ws://0x7f000001/", UriError::InvalidHost),
            ("ws://127.0.0.1./", UriError::InvalidHost),
            ("ws://1.2.3.04/", UriError::InvalidHost),
            ("ws://a.0X/", UriError::InvalidHost),
            ("ws://[v1.x]/", UriError::InvalidHost),
            ("ws://h:+80/", UriError::Syntax { at: 7 }),
            ("ws://h:-80/", UriError::Syntax { at: 7 }),
            ("ws://h:8o/", UriError::Syntax { at: 8 }),
            ("ws://a b/", UriError::Syntax { at: 6 }),
            ("ws://h/a b", UriError::Syntax { at: 8 }),
            ("ws://h/\r\nX: y", UriError::Syntax { at: 7 }),
            ("ws://h/?\n", UriError::Syntax { at: 8 }),
            ("ws://h\0/", UriError::Syntax { at: 6 }),
            (" ws://h/", UriError::Syntax { at: 0 }),
            ("ws://h/ ", UriError::Syntax { at: 7 }),
            ("ws://h/\\", UriError::Syntax { at: 7 }),
            ("ws://h/\"", UriError::Syntax { at: 7 }),
            ("ws://h/%", UriError::Syntax { at: 7 }),
            ("ws://h/%zz", UriError::Syntax { at: 7 }),
            ("ws://h/%a", UriError::Syntax { at: 7 }),
            ("ws://::1/", UriError::Syntax { at: 6 }),
            ("ws://h:1:2/", UriError::Syntax { at: 8 }),
        ] {
            assert_eq!(WsUri::parse(text), Err(error), "{text:?}");
        }
        for host in ["[::1", "[]", "[::1%25eth0]", "[fe80::1%eth0]", "[1.2.3.4]", "[::1]x", "::1]", "[g::]"] {
            let error = WsUri::parse(&format!("ws://{host}/")).unwrap_err();
            assert!(matches!(error, UriError::Syntax { .. }), "{host}: {error}");
        }
    }

    #[test]
    fn fragment_is_refused() {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //= type=test
        //# Fragment identifiers are meaningless in the context of WebSocket URIs
        //# and MUST NOT be used on these URIs.
        for text in ["ws://h#", "ws://h/#top", "wss://h/a?b#c", "ws://h:1#"] {
            assert_eq!(WsUri::parse(text), Err(UriError::Fragment), "{text}");
        }
    }

    /// Text that is not US-ASCII must be encoded by the caller, which knows its parts.
    #[test]
    fn text_that_is_not_ascii_is_refused_and_says_what_to_do() {
        assert_eq!(WsUri::parse("ws://b\u{fc}cher.example/"), Err(UriError::NotAscii { at: 6 }));
        let error = WsUri::parse("ws://h/\u{e9}").unwrap_err();
        assert_eq!(error, UriError::NotAscii { at: 7 });
        assert!(error.to_string().contains("IDNA") && error.to_string().contains("percent-encoding"));
    }

    /// No text that passes can end the request line or a field line.
    #[test]
    fn no_octet_that_separates_gets_through() {
        for place in 0..=12 {
            for byte in (0..0x21_u8).chain([0x7f]) {
                let mut text = "ws://h:80/p?q".to_owned();
                text.insert(place, char::from(byte));
                assert!(WsUri::parse(&text).is_err(), "{text:?}");
            }
        }
    }

    #[test]
    fn every_error_says_which_section_was_broken() {
        let errors = [
            UriError::NotAscii { at: 1 },
            UriError::Syntax { at: 1 },
            UriError::Scheme,
            UriError::NoAuthority,
            UriError::Userinfo,
            UriError::EmptyHost,
            UriError::InvalidHost,
            UriError::Port,
            UriError::Fragment,
        ];
        for error in errors {
            assert!(error.to_string().contains("(RFC "), "{error}");
        }
    }
}
