//! Which hosts are not reached through a proxy: the list in `NO_PROXY`, as curl reads it.

use framewright::handshake::WsUri;
use std::net::IpAddr;

/// Whether `list` names the host of `uri`.
///
/// The elements of `list` are separated by commas or blanks:
///
/// | element | matches |
/// | --- | --- |
/// | `*` | every host |
/// | `example.com`, `.example.com` | this host and all below it |
/// | `192.0.2.1`, `2001:db8::1` | this address |
/// | `192.0.2.0/24` | a range of addresses |
/// | `:8080` behind a name or an address (in brackets, for IPv6) | this port only |
///
/// Names are not resolved: an address matches only a URI that contains an address.
pub(super) fn names(list: &str, uri: &WsUri) -> bool {
    list.split([',', ' ', '\t']).filter(|element| !element.is_empty()).any(|element| matches(element, uri))
}

fn matches(element: &str, uri: &WsUri) -> bool {
    if element == "*" {
        return true;
    }
    let (host, port) = split_port(element);
    if port.is_some_and(|port| port != uri.port()) {
        return false;
    }
    match uri.ip() {
        Some(ip) => is_within(ip, host),
        None => is_below(uri.host(), host),
    }
}

/// The host of an element without brackets, and its port.
fn split_port(element: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = element.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match element.rsplit_once(':') {
        // More than one colon: an IPv6 address.
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (element, None),
        },
        _ => (element, None),
    }
}

fn is_below(name: &str, domain: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() || name.len() < domain.len() {
        return false;
    }
    let (before, end) = name.as_bytes().split_at(name.len() - domain.len());
    end.eq_ignore_ascii_case(domain.as_bytes()) && matches!(before, [] | [.., b'.'])
}

fn is_within(ip: IpAddr, range: &str) -> bool {
    let (network, length) = match range.split_once('/') {
        Some((network, length)) => (network, length.parse().ok()),
        None => (range, Some(u32::MAX)),
    };
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else { return false };
    let (one, other, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let ignored = width - length.min(width);
    (one ^ other).checked_shr(ignored).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &str, uri: &str) -> bool {
        names(list, &uri.parse().unwrap())
    }

    #[test]
    fn a_name_stands_for_itself_and_for_what_is_below_it() {
        for list in [
            "example.com",
            ".example.com",
            "EXAMPLE.com",
            "example.com.",
            "a.test, example.com",
            "a.test example.com",
        ] {
            assert!(named(list, "ws://example.com/"), "{list}");
            assert!(named(list, "ws://Chat.Example.com:8080/"), "{list}");
            assert!(!named(list, "ws://notexample.com/"), "{list}");
            assert!(!named(list, "ws://example.com.test/"), "{list}");
            assert!(!named(list, "ws://com/"), "{list}");
        }
        assert!(named("example.com", "ws://example.com./"));
    }

    #[test]
    fn a_star_is_every_host_and_an_empty_list_none() {
        assert!(named("*", "ws://example.com/") && named("a, *", "ws://[::1]/"));
        for list in ["", " , ", ".", ",,", ":80"] {
            assert!(!named(list, "ws://example.com/"), "{list}");
        }
        assert!(!named("*.example.com", "ws://a.example.com/"), "a star within a name is none");
    }

    #[test]
    fn a_port_narrows_an_element_down() {
        assert!(named("example.com:8080", "ws://example.com:8080/"));
        assert!(!named("example.com:8080", "ws://example.com/"));
        assert!(named("example.com:80", "ws://example.com/"));
        assert!(named("[::1]:80", "ws://[::1]/") && !named("[::1]:81", "ws://[::1]/"));
        assert!(named("127.0.0.1:80", "ws://127.0.0.1/") && !named("127.0.0.1:81", "ws://127.0.0.1/"));
        assert!(!named("example.com:http", "ws://example.com/"));
    }

    #[test]
    fn addresses_are_compared_as_numbers_and_ranges_by_their_first_bits() {
        assert!(named("127.0.0.1", "ws://127.0.0.1/") && !named("127.0.0.1", "ws://127.0.0.10/"));
        assert!(named("0:0::1", "ws://[::1]/") && named("[::1]", "ws://[::1]/"));
        assert!(named("10.0.0.0/8", "ws://10.255.1.2/") && !named("10.0.0.0/8", "ws://11.0.0.1/"));
        assert!(named("192.0.2.128/25", "ws://192.0.2.200/") && !named("192.0.2.128/25", "ws://192.0.2.1/"));
        assert!(
            named("2001:db8::/32", "ws://[2001:db8:1::2]/") && !named("2001:db8::/32", "ws://[2001:db9::2]/")
        );
        assert!(named("0.0.0.0/0", "ws://192.0.2.1/") && !named("0.0.0.0/0", "ws://[::1]/"));
        assert!(named("::/0", "ws://[::1]/") && named("10.0.0.1/99", "ws://10.0.0.1/"));
        assert!(!named("10.0.0.0/x", "ws://10.0.0.0/"));
        assert!(!named("0.0.1", "ws://127.0.0.1/"), "an address has nothing below it");
    }
}
