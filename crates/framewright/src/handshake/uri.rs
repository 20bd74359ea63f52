//! WebSocket URIs (RFC 6455, section 3): what a client is told to connect to.
//!
//! ```text
//!   ws://user@example.com:8080/chat?room=1#top
//!   scheme    host        port resource name
//!        refused                          refused
//! ```
//! The grammar is RFC 3986's, by the crate `fluent-uri`, which changes no octet. On top of it stand the rules of RFC 6455, and
//! those that keep a host from being understood in two ways.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use fluent_uri::{Uri, UriRef};

use super::authority::{Authority, ipv6};

/// A `ws` or `wss` URI.
///
/// It is kept as it was given: path and query go to the server byte for byte.
///
/// ```
/// use framewright::handshake::{UriError, WsUri};
///
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
    /// Where the host starts and ends in `text`.
    host: (usize, usize),
    ip: Option<IpAddr>,
    port: u16,
    /// Where path and query start in `text`.
    resource: usize,
}

impl WsUri {
    /// Takes a URI apart.
    ///
    /// # Errors
    /// [`UriError`] says which rule it breaks.
    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //# If any of the components are invalid according to the specification
    //# of WebSocket URIs, the client MUST _Fail the WebSocket
    //# Connection_ and abort these steps.
    pub fn parse(text: &str) -> Result<WsUri, UriError> {
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii()) {
            return Err(UriError::NotAscii { at });
        }
        let uri = UriRef::parse(text).map_err(|error| UriError::Syntax { at: error.index() })?;
        let scheme = uri.scheme().map_or("", |scheme| scheme.as_str());
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# The URI is called "secure" (and it is said that "the secure flag is
        //# set") if the scheme component matches "wss" case-insensitively.
        let secure = scheme.eq_ignore_ascii_case("wss");
        if !secure && !scheme.eq_ignore_ascii_case("ws") {
            return Err(UriError::Scheme);
        }
        let authority = uri.authority().ok_or(UriError::NoAuthority)?;
        if authority.has_userinfo() {
            return Err(UriError::Userinfo);
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(UriError::EmptyHost);
        }
        // Encoded, a host could be one name to a resolver and another one to whoever compares it. The rest are the versions of IP that
        // nobody has.
        if host.contains('%') || Authority::parse(host.as_bytes()).is_none() {
            return Err(UriError::InvalidHost);
        }
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# The port component is OPTIONAL; the default for "ws" is port 80,
        //# while the default for "wss" is port 443.
        let port = match authority.port().map_or("", |port| port.as_str()) {
            "" => default_port(secure),
            digits => digits.parse().ok().filter(|&port| port != 0).ok_or(UriError::Port)?,
        };
        //= https://www.rfc-editor.org/rfc/rfc6455#section-3
        //# Fragment identifiers are meaningless in the context of WebSocket URIs
        //# and MUST NOT be used on these URIs.
        if uri.has_fragment() {
            return Err(UriError::Fragment);
        }
        let start = scheme.len() + "://".len();
        Ok(WsUri {
            secure,
            host: (start, start + host.len()),
            ip: ip(host),
            port,
            resource: start + authority.as_str().len(),
            text: text.to_owned(),
        })
    }

    /// The URI as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the scheme is `wss`: the connection goes through TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host as it was given: a registered name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.text[self.host.0..self.host.1]
    }

    /// The address, if the host is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The port: the scheme's default, 80 or 443, if none was given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is asked of the server: path and query, byte for byte as they were given.
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
    // A "?" with nothing behind it is kept: it is part of what was given, and servers see the difference.
    pub fn resource_name(&self) -> Cow<'_, str> {
        let given = &self.text[self.resource..];
        if given.starts_with('/') { Cow::Borrowed(given) } else { Cow::Owned(format!("/{given}")) }
    }

    /// The value of Host: the host, and the port if it is not the scheme's default.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.secure) { self.host().to_owned() } else { self.host_and_port() }
    }

    /// The host and the port, with a colon between them, whatever the port is: what CONNECT asks a proxy for.
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host(), self.port)
    }

    /// Whether scheme, host and port are the same: credentials for one are for the other.
    pub fn is_same_origin(&self, other: &WsUri) -> bool {
        let same = self.secure == other.secure && self.port == other.port;
        same && self.as_authority().same_host(&other.as_authority())
    }

    fn as_authority(&self) -> Authority<'_> {
        Authority { host: self.host().as_bytes(), port: Some(self.port) }
    }

    /// Where a redirect leads: `location` is the value of Location, absolute or relative to this URI. `http` there means `ws`, and
    /// `https` means `wss`.
    ///
    /// # Errors
    /// [`RedirectError`] if it is no URI reference, none for a WebSocket, or if it leads from `wss` to `ws`.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-10.2.2
    //# When it has the form of a relative reference ([URI], Section 4.2), the final value is computed by resolving it
    //# against the target URI ([URI], Section 5).
    pub fn redirect(&self, location: &[u8]) -> Result<WsUri, RedirectError> {
        let location = std::str::from_utf8(location).map_err(|_| RedirectError::InvalidLocation)?;
        let reference = UriRef::parse(location).map_err(|_| RedirectError::InvalidLocation)?;
        let target = match reference.scheme() {
            None => {
                let base = Uri::parse(self.as_str()).expect("it was parsed before");
                let resolved = reference.resolve_against(&base);
                resolved.map_err(|_| RedirectError::InvalidLocation)?.into_string()
            }
            Some(scheme) => {
                let name = match scheme.as_str().to_ascii_lowercase().as_str() {
                    "http" => "ws",
                    "https" => "wss",
                    _ => scheme.as_str(),
                };
                format!("{name}{}", &location[scheme.as_str().len()..])
            }
        };
        let target = WsUri::parse(&target).map_err(RedirectError::Uri)?;
        if self.secure && !target.secure {
            return Err(RedirectError::Downgrade);
        }
        Ok(target)
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

/// Why something is no WebSocket URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UriError {
    /// A character that is not US-ASCII.
    NotAscii {
        /// Where it is, in octets.
        at: usize,
    },
    /// It breaks the grammar.
    Syntax {
        /// Where, in octets.
        at: usize,
    },
    /// The scheme is neither `ws` nor `wss`, or there is none.
    Scheme,
    /// No `//` and no host follow the scheme.
    NoAuthority,
    /// There is a user name, maybe a password.
    Userinfo,
    /// There is no host.
    EmptyHost,
    /// The host is percent-encoded, or an address of another kind than IPv4 and IPv6.
    InvalidHost,
    /// The port is 0 or above 65535.
    Port,
    /// There is a fragment.
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
            UriError::Syntax { at } => return write!(f, "no URI, at octet {at} (RFC 3986, appendix A)"),
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

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectError {
    /// Location is no URI reference.
    InvalidLocation,
    /// There are several Location.
    RepeatedLocation,
    /// What Location leads to is no WebSocket URI.
    Uri(UriError),
    /// From `wss` to `ws`.
    Downgrade,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RedirectError::InvalidLocation => "Location is no URI reference (RFC 9110, section 10.2.2)",
            RedirectError::RepeatedLocation => "the redirect has several Location (RFC 9110, section 10.2.2)",
            RedirectError::Uri(error) => return write!(f, "Location is no WebSocket URI: {error}"),
            RedirectError::Downgrade => "the redirect leads from wss to ws (RFC 6455, section 10.6)",
        })
    }
}

impl std::error::Error for RedirectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RedirectError::Uri(error) => Some(error),
            _ => None,
        }
    }
}
