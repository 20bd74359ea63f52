//! The HTTP proxy to connect through: its address, its credentials, and its TLS.

use super::no_proxy;
use super::tls::ClientTls;
use framewright::handshake::{BasicCredentials, UriError, WsUri};
use std::fmt;

/// An HTTP proxy, which is asked for a tunnel to the server (`CONNECT`; RFC 9110, section 9.3.6).
///
/// The proxy resolves the server's name. The client resolves the proxy's name.
///
/// ```
/// # use framewright_driver::opening::{Proxy, ProxyError};
/// let proxy = Proxy::new("http://user:secret@proxy.example:3128")?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
/// assert!(!format!("{proxy:?}").contains("secret"));
/// # Ok::<(), ProxyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The proxy's host and port, as a URI, which has the same rules for them.
    place: WsUri,
    credentials: Option<BasicCredentials>,
    tls: Option<ClientTls>,
}

impl Proxy {
    /// Parses `http://[user:password@]host[:port]` or `https://...`; the default ports are 80 and
    /// 443. In the user's name and the password, `%` and two hexadecimal digits stand for a byte.
    ///
    /// With `https` the connection to the proxy is TLS, which hides the credentials and the name of
    /// the server. TLS with the server then goes through it.
    ///
    /// # Errors
    /// [`ProxyError`] if `url` does not have this form.
    pub fn new(url: &str) -> Result<Proxy, ProxyError> {
        let Some((scheme, rest)) = url.split_once("://") else { return Err(ProxyError::Scheme) };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => "ws",
            "https" => "wss",
            _ => return Err(ProxyError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(ProxyError::Path);
        }
        let (userinfo, authority) = match rest.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, rest),
        };
        let place = WsUri::parse(&format!("{scheme}://{authority}")).map_err(ProxyError::Authority)?;
        let credentials = userinfo.map(read_credentials).transpose()?;
        Ok(Proxy { place, credentials, tls: None })
    }

    /// Sends `credentials` to the proxy, in place of those of the URL, if it had any.
    #[must_use]
    pub fn with_credentials(mut self, credentials: BasicCredentials) -> Proxy {
        self.credentials = Some(credentials);
        self
    }

    /// Uses TLS settings for an `https:` proxy that are not those for the server: another authority
    /// to trust, or a certificate to show to the proxy. Without this call the settings are those of
    /// the option `tls`, without the certificate of this end.
    #[must_use]
    pub fn with_tls(mut self, tls: ClientTls) -> Proxy {
        self.tls = Some(tls);
        self
    }

    /// Reads the proxy for `uri` from the environment. `None` if there is none, or if `no_proxy` or
    /// `NO_PROXY` names the host. No proxy is read from the environment without this call.
    ///
    /// These variables are read, in this order; the first that is not empty counts:
    ///
    /// | URI | variables |
    /// | --- | --- |
    /// | `wss:` | `https_proxy`, `HTTPS_PROXY` |
    /// | `ws:` | `https_proxy`, `HTTPS_PROXY`, `http_proxy`, `HTTP_PROXY` |
    ///
    /// The proxy for HTTPS comes first because it supports tunnels (RFC 6455, section 4.1).
    /// `http://` may be omitted.
    ///
    /// `HTTP_PROXY` is ignored if `REQUEST_METHOD` is set: in a CGI program it holds the value of
    /// the request's `Proxy` field (CVE-2016-5385, "httpoxy").
    ///
    /// # Errors
    /// If the value of a variable is not a proxy.
    pub fn from_env(uri: &WsUri) -> Result<Option<Proxy>, ProxyError> {
        Proxy::from_variables(uri, |name| {
            // A value that is not UTF-8 becomes one that is refused, instead of being ignored.
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    fn from_variables(
        uri: &WsUri,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Proxy>, ProxyError> {
        let first =
            |names: &[&str]| names.iter().filter_map(|name| variable(name)).find(|value| !value.is_empty());
        //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
        //# NOTE: Implementations that do not expose explicit UI for
        //# selecting a proxy for WebSocket connections separate from other
        //# proxies are encouraged to use a SOCKS5 [RFC1928] proxy for
        //# WebSocket connections, if available, or failing that, to prefer
        //# the proxy configured for HTTPS connections over the proxy
        //# configured for HTTP connections.
        let names = ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"];
        let names = match (uri.is_secure(), variable("REQUEST_METHOD")) {
            (true, _) => &names[..2],
            (false, Some(_)) => &names[..3],
            (false, None) => &names[..],
        };
        let Some(url) = first(names) else { return Ok(None) };
        if first(&["no_proxy", "NO_PROXY"]).is_some_and(|list| no_proxy::names(&list, uri)) {
            return Ok(None);
        }
        if url.contains("://") { Proxy::new(&url) } else { Proxy::new(&format!("http://{url}")) }.map(Some)
    }

    /// The proxy's name or address; an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        self.place.host()
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.place.port()
    }

    pub(super) fn place(&self) -> &WsUri {
        &self.place
    }

    /// The TLS settings for the proxy alone.
    pub(super) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    pub(super) fn credentials(&self) -> Option<&BasicCredentials> {
        self.credentials.as_ref()
    }
}

fn read_credentials(userinfo: &str) -> Result<BasicCredentials, ProxyError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (Some(user), Some(password)) = (decode(user), decode(password)) else {
        return Err(ProxyError::Credentials);
    };
    BasicCredentials::new(&user, &password).map_err(|_| ProxyError::Credentials)
}

/// Percent-decoding (RFC 3986, section 2.1). `None` if a `%` is not followed by two hexadecimal
/// digits, or if the bytes are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        octets.push(digit(*high)? << 4 | digit(*low)?);
        rest = tail;
    }
    String::from_utf8(octets).ok()
}

/// Why a proxy's URL is not valid. It does not contain the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The scheme is neither `http` nor `https`. SOCKS is not supported.
    Scheme,
    /// Something follows the host and port.
    Path,
    /// The host and port are not valid.
    Authority(UriError),
    /// The user's name or the password is not percent-encoded UTF-8, or contains a character that
    /// basic credentials cannot have (RFC 7617, section 2).
    Credentials,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Scheme => f.write_str("a proxy is http://[user:password@]host[:port], or https://"),
            ProxyError::Path => f.write_str("a proxy's URL ends with its host and port"),
            ProxyError::Authority(error) => write!(f, "a proxy's host and port: {error}"),
            ProxyError::Credentials => {
                f.write_str("a proxy's user name holds a colon, or a control character is in it or in the password (RFC 7617, section 2)")
            }
        }
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> (String, u16) {
        let proxy = Proxy::new(url).unwrap();
        (proxy.host().to_owned(), proxy.port())
    }

    #[test]
    fn url_has_a_host_and_maybe_a_port_and_credentials() {
        assert_eq!(place("http://proxy.example"), ("proxy.example".to_owned(), 80));
        assert_eq!(place("HTTP://proxy.example:3128/"), ("proxy.example".to_owned(), 3128));
        assert_eq!(place("HTTPS://proxy.example"), ("proxy.example".to_owned(), 443));
        assert_eq!(place("https://me@proxy.example:3129/"), ("proxy.example".to_owned(), 3129));
        assert_eq!(place("http://[::1]:3128"), ("[::1]".to_owned(), 3128));
        let proxy = Proxy::new("http://me%40home:p%3a%2F@proxy.example:3128").unwrap();
        let expected = BasicCredentials::new("me@home", "p:/").unwrap();
        assert_eq!(proxy.credentials().unwrap().as_field_value(), expected.as_field_value());
        assert!(Proxy::new("http://proxy.example").unwrap().credentials().is_none());
    }

    #[test]
    fn what_is_no_http_proxy_is_refused() {
        for url in ["", "proxy.example", "ws://proxy.example", "socks5://proxy.example", "http:proxy.example"]
        {
            assert_eq!(Proxy::new(url).unwrap_err(), ProxyError::Scheme, "{url}");
        }
        for url in ["http://proxy.example/path", "http://proxy.example?query", "http://proxy.example#x"] {
            assert_eq!(Proxy::new(url).unwrap_err(), ProxyError::Path, "{url}");
        }
        for url in
            ["http://", "http://:80", "http://proxy.example:0", "http://a b", "http://a:b:c", "http://a\r\nb"]
        {
            assert!(matches!(Proxy::new(url), Err(ProxyError::Authority(_))), "{url}");
        }
        for url in [
            "http://a%:b@proxy",
            "http://a%2:b@proxy",
            "http://%ff:b@proxy",
            "http://%3a:b@proxy",
            "http://a:%0d@proxy",
        ] {
            assert_eq!(Proxy::new(url).unwrap_err(), ProxyError::Credentials, "{url}");
        }
    }

    fn from(uri: &str, variables: &[(&str, &str)]) -> Option<String> {
        let variable =
            |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        Proxy::from_variables(&uri.parse().unwrap(), variable).unwrap().map(|proxy| proxy.host().to_owned())
    }

    //= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    //= type=test
    //# NOTE: Implementations that do not expose explicit UI for
    //# selecting a proxy for WebSocket connections separate from other
    //# proxies are encouraged to use a SOCKS5 [RFC1928] proxy for
    //# WebSocket connections, if available, or failing that, to prefer
    //# the proxy configured for HTTPS connections over the proxy
    //# configured for HTTP connections.
    #[test]
    fn environment_names_a_proxy_and_the_one_for_https_comes_first() {
        let all = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:1")];
        assert_eq!(from("ws://example.com/", &all).as_deref(), Some("b"));
        assert_eq!(from("wss://example.com/", &all).as_deref(), Some("b"));
        assert_eq!(from("ws://example.com/", &all[..1]).as_deref(), Some("a"));
        assert_eq!(from("wss://example.com/", &all[..1]), None);
        assert_eq!(from("ws://example.com/", &[]), None);
        assert_eq!(from("ws://example.com/", &[("HTTP_PROXY", "")]), None);
        assert_eq!(
            from("ws://example.com/", &[("HTTP_PROXY", "c.example:3128")]).as_deref(),
            Some("c.example")
        );
    }

    #[test]
    fn lower_case_variables_come_first() {
        let both = [("HTTP_PROXY", "http://a:1"), ("http_proxy", "http://b:1")];
        assert_eq!(from("ws://example.com/", &both).as_deref(), Some("b"));
        assert_eq!(from("ws://example.com/", &[both[0], ("http_proxy", "")]).as_deref(), Some("a"));
    }

    #[test]
    fn a_request_to_a_cgi_program_does_not_choose_its_proxy() {
        let cgi = [("HTTP_PROXY", "http://a:1"), ("REQUEST_METHOD", "GET"), ("http_proxy", "http://b:1")];
        assert_eq!(from("ws://example.com/", &cgi[..2]), None);
        assert_eq!(from("ws://example.com/", &cgi).as_deref(), Some("b"));
    }

    #[test]
    fn hosts_in_no_proxy_are_reached_directly() {
        let variables = |list| [("HTTP_PROXY", "http://a:1"), ("NO_PROXY", list)];
        assert_eq!(from("ws://chat.example.com/", &variables("localhost,example.com")), None);
        assert_eq!(from("ws://chat.example.com/", &variables("localhost")).as_deref(), Some("a"));
        assert_eq!(from("ws://chat.example.com/", &variables("")).as_deref(), Some("a"));
    }

    #[test]
    fn a_variable_that_is_no_proxy_is_an_error_and_not_passed_by() {
        let uri = "ws://example.com/".parse().unwrap();
        let found = Proxy::from_variables(&uri, |name| {
            (name == "HTTP_PROXY").then(|| "socks5://proxy.example".to_owned())
        });
        assert_eq!(found.unwrap_err(), ProxyError::Scheme);
    }
}
