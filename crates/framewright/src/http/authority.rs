//! `uri-host [ ":" port ]` (RFC 3986, section 3.2), as used in Host, in absolute-form targets and
//! in origins.

use std::net::Ipv6Addr;

use super::bytes::{REG_NAME, decimal, is};

/// A host and the port after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// A registered name, an IPv4 address, or an IPv6 address in brackets; never empty.
    pub(crate) host: &'a [u8],
    /// `None` if there is no port, or a colon with nothing after it, which the grammar allows.
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses all of `bytes`; `None` if they are not an authority.
    ///
    /// Refused are userinfo (RFC 9110, section 4.2.4), IPvFuture and scoped IPv6 addresses, which
    /// no peer sends, and ports above 65535.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let host_len = match bytes.first()? {
            b'[' => bytes.iter().position(|&byte| byte == b']')? + 1,
            _ => bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len()),
        };
        let (host, rest) = bytes.split_at(host_len);
        if !is_host(host) {
            return None;
        }
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Authority { host, port })
    }

    /// Whether both name the same host. Names are compared without regard to case, IPv6 addresses
    /// by value.
    ///
    /// A trailing dot makes a different host, as it does for browsers.
    pub(crate) fn same_host(&self, other: &Authority<'_>) -> bool {
        match (ipv6(self.host), ipv6(other.host)) {
            (Some(one), Some(two)) => one == two,
            _ => self.host.eq_ignore_ascii_case(other.host),
        }
    }
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [] => false,
        [b'[', ..] => ipv6(host).is_some(),
        _ => is_reg_name(host),
    }
}

/// `reg-name = *( unreserved / pct-encoded / sub-delims )`; IPv4 addresses are among them.
fn is_reg_name(name: &[u8]) -> bool {
    let plain = |part: &[u8]| part.iter().all(|&byte| is(byte, REG_NAME));
    // Names are rarely percent-encoded.
    plain(name) || {
        let mut parts = name.split(|&byte| byte == b'%');
        let encoded = |part: &[u8]| match part {
            [high, low, rest @ ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit() && plain(rest),
            _ => false,
        };
        parts.next().is_some_and(plain) && parts.all(encoded)
    }
}

/// The IPv6 address, if `host` is one in brackets.
pub(crate) fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    std::str::from_utf8(inner).ok()?.parse().ok()
}

fn port(digits: &[u8]) -> Option<u16> {
    u16::try_from(decimal(digits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::bytes::ascii;

    fn parse(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text.as_bytes()).map(|authority| (ascii(authority.host), authority.port))
    }

    #[test]
    fn names_addresses_and_ports_are_taken() {
        assert_eq!(parse("example.com"), Some(("example.com", None)));
        assert_eq!(parse("EXAMPLE.com."), Some(("EXAMPLE.com.", None)));
        assert_eq!(parse("example.com:8080"), Some(("example.com", Some(8080))));
        assert_eq!(parse("example.com:"), Some(("example.com", None)));
        assert_eq!(parse("127.0.0.1:65535"), Some(("127.0.0.1", Some(65535))));
        assert_eq!(parse("[::1]"), Some(("[::1]", None)));
        assert_eq!(parse("[2001:db8::7]:443"), Some(("[2001:db8::7]", Some(443))));
        assert_eq!(parse("a%C3%A9_b~"), Some(("a%C3%A9_b~", None)));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@a",
            "a:65536",
            "a:+80",
            "a:8o",
            "a:1:2",
            "a, b",
            "a?",
            "a#",
            "[::1",
            "::1",
            "[::1]x",
            "[]",
            "[v1.x]",
            "[fe80::1%eth0]",
            "a%2",
            "a%zz",
            "http://a",
            "é",
            "[a]:80",
            "a\\b",
            "\"a\"",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(Authority::parse(b"\xff"), None);
    }

    #[test]
    fn hosts_are_compared_without_case_and_addresses_by_value() {
        let same = |one: &str, two: &str| {
            let [one, two] = [one, two].map(|text| Authority::parse(text.as_bytes()).unwrap());
            one.same_host(&two)
        };
        assert!(same("Example.COM", "example.com:80"));
        assert!(same("[::1]", "[0:0:0:0:0:0:0:1]"));
        assert!(!same("example.com", "example.com."));
        assert!(!same("[::1]", "[::2]"));
        assert!(!same("a", "[::1]"));
    }
}
