//! The addresses in X-Forwarded-For and Forwarded (RFC 7239): each proxy appends the address that
//! it received the request from.

use framewright::handshake::is_token;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One address of a field. `None` for an element that is not an address: `unknown`, a name made up
/// by a proxy (RFC 7239, section 6.3), or unreadable text.
pub(super) type Node = Option<IpAddr>;

/// The addresses of one X-Forwarded-For line, the last one first. No line is malformed: a comma
/// ends whatever precedes it.
pub(super) fn x_forwarded_for(line: &[u8]) -> Result<Vec<Node>, Malformed> {
    let elements = line.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let named = elements.filter(|element| !element.is_empty());
    Ok(named.map(|element| std::str::from_utf8(element).ok().and_then(address)).collect())
}

/// The addresses of one Forwarded line, the last one first.
///
/// # Errors
/// If the line does not follow the grammar: then text before an unclosed quotation mark cannot be
/// told from text within it.
///
/// ```text
/// Forwarded         = 1#forwarded-element
/// forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
/// forwarded-pair    = token "=" ( token / quoted-string )
/// ```
pub(super) fn forwarded(line: &[u8]) -> Result<Vec<Node>, Malformed> {
    let mut scanner = Scanner(line);
    let mut nodes = Vec::new();
    loop {
        nodes.extend(scanner.element()?);
        match scanner.0.split_first() {
            None => break,
            // An element ends at a comma, or with the line.
            Some((_, rest)) => scanner.0 = rest,
        }
    }
    nodes.reverse();
    Ok(nodes)
}

/// The line does not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The unread rest of a line.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    /// Reads up to a comma. Returns the element's `for`; `None` for an empty element.
    fn element(&mut self) -> Result<Option<Node>, Malformed> {
        let (mut pairs, mut node) = (0, None);
        loop {
            self.skip_whitespace();
            match self.0.first() {
                None | Some(b',') => break,
                Some(b';') => self.0 = &self.0[1..],
                Some(_) => {
                    let (name, value) = self.pair()?;
                    pairs += 1;
                    //= https://www.rfc-editor.org/rfc/rfc7239#section-4
                    //# Each parameter MUST NOT occur more than once per field-value.
                    if name.eq_ignore_ascii_case(b"for") && node.replace(address(&value)).is_some() {
                        return Err(Malformed);
                    }
                    self.skip_whitespace();
                    if !matches!(self.0.first(), None | Some(b',' | b';')) {
                        return Err(Malformed);
                    }
                }
            }
        }
        // An element without `for`: the proxy does not name the sender of the request.
        Ok(if pairs == 0 { None } else { Some(node.flatten()) })
    }

    fn pair(&mut self) -> Result<(&'a [u8], String), Malformed> {
        let at = self.0.iter().position(|&byte| byte == b'=').ok_or(Malformed)?;
        let (name, value) = (&self.0[..at], &self.0[at + 1..]);
        self.0 = value;
        if !is_token(name) {
            return Err(Malformed);
        }
        if let Some(quoted) = value.strip_prefix(b"\"") {
            self.0 = quoted;
            return Ok((name, self.quoted()?));
        }
        let end = value.iter().position(|byte| b",; \t".contains(byte)).unwrap_or(value.len());
        self.0 = &value[end..];
        if !is_token(&value[..end]) {
            return Err(Malformed);
        }
        Ok((name, String::from_utf8_lossy(&value[..end]).into_owned()))
    }

    /// Reads the rest of a quoted string, and resolves its escapes.
    fn quoted(&mut self) -> Result<String, Malformed> {
        let mut value = Vec::new();
        loop {
            let (mut byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            if *byte == b'"' {
                return Ok(String::from_utf8_lossy(&value).into_owned());
            }
            if *byte == b'\\' {
                (byte, self.0) = self.0.split_first().ok_or(Malformed)?;
            }
            value.push(*byte);
        }
    }

    fn skip_whitespace(&mut self) {
        while let Some((b' ' | b'\t', rest)) = self.0.split_first() {
            self.0 = rest;
        }
    }
}

/// Parses an IP address, with or without brackets and a port (RFC 7239, section 6). X-Forwarded-For
/// has bare IPv6 addresses.
fn address(text: &str) -> Node {
    // A port made up by a proxy.
    let text = text.rsplit_once(":_").map_or(text, |(address, _)| address);
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some(addr.ip().to_canonical());
    }
    let bracketed = text.strip_prefix('[')?.strip_suffix(']')?;
    bracketed.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::V6(ip).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The nodes in the order of the line.
    fn nodes(read: fn(&[u8]) -> Result<Vec<Node>, Malformed>, line: &str) -> String {
        let mut nodes = read(line.as_bytes()).expect("it follows the grammar");
        nodes.reverse();
        let texts = nodes.into_iter().map(|node| node.map_or_else(|| "-".to_owned(), |ip| ip.to_string()));
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn x_forwarded_for_is_a_list_of_addresses() {
        for (line, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, 2001:db8::1,198.51.100.2", "192.0.2.1 2001:db8::1 198.51.100.2"),
            ("192.0.2.1:4711, [2001:db8::1]:80, [2001:db8::2]", "192.0.2.1 2001:db8::1 2001:db8::2"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            (" ,192.0.2.1,, ", "192.0.2.1"),
            ("unknown, 192.0.2.1", "- 192.0.2.1"),
            ("192.0.2.1, _hidden", "192.0.2.1 -"),
            ("192.0.2.256, 192.0.2, 01.2.3.4, [192.0.2.1], fe80::1%eth0", "- - - - -"),
            ("", ""),
        ] {
            assert_eq!(nodes(x_forwarded_for, line), expected, "{line}");
        }
        assert_eq!(x_forwarded_for(b"\xff, 192.0.2.1"), Ok(vec!["192.0.2.1".parse().ok(), None]));
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (line, expected) in [
            // The examples of sections 4, 6 and 7.
            ("for=\"_gazonk\"", "-"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "192.0.2.43 198.51.100.17"),
            ("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "192.0.2.43 2001:db8:cafe::17"),
            ("for=192.0.2.43, for=\"[2001:db8:cafe::17]\", for=unknown", "192.0.2.43 2001:db8:cafe::17 -"),
            ("for=_hidden, for=_SEVKISEK", "- -"),
            // Other forms that the grammar allows.
            ("proto=https", "-"),
            (";; for=192.0.2.1 ;", "192.0.2.1"),
            (", for=192.0.2.1,,", "192.0.2.1"),
            ("for=\"192.0.2.1:4711\";host=\"a,for=b\"", "192.0.2.1"),
            ("for=\"192.0.2.1:_port\"", "192.0.2.1"),
            ("for=\"192.\\0.2.1\"", "192.0.2.1"),
            ("", ""),
        ] {
            assert_eq!(nodes(forwarded, line), expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_breaks_the_grammar_is_told() {
        //= https://www.rfc-editor.org/rfc/rfc7239#section-4
        //= type=test
        //# Each parameter MUST NOT occur more than once per field-value.
        for line in [
            "for",
            "for=",
            "=192.0.2.1",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "for=[2001:db8::1]",
            "for=192.0.2.1:80",
            "for=192.0.2.1 for=192.0.2.2",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\",
            "for=\"192.0.2.1\"x",
            // The first part is from a client; the rest was added by a proxy.
            "for=10.0.0.1;x=\", for=192.0.2.1",
            "for=10.0.0.1;x=\", for=\"[2001:db8::1]\"",
        ] {
            assert_eq!(forwarded(line.as_bytes()), Err(Malformed), "{line}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_peer_sends_is_more_than_a_list(line in "[ -~\t]{0,80}") {
            let _ = forwarded(line.as_bytes());
            prop_assert!(x_forwarded_for(line.as_bytes()).is_ok_and(|nodes| nodes.len() <= line.len()));
        }

        /// Whatever precedes it, an element that a proxy adds after a comma is the last one, or the
        /// line is malformed.
        #[test]
        fn a_client_cannot_change_what_a_proxy_adds(line in "[ -~\t]{0,60}|(for=1\\.2\\.3\\.4[,;\"\\\\ x=]{0,6}){1,3}") {
            for added in ["for=192.0.2.1", "for=\"[2001:db8::1]\"", "proto=http;for=\"192.0.2.1:80\""] {
                let expected = forwarded(added.as_bytes()).expect("it follows the grammar");
                if let Ok(nodes) = forwarded(format!("{line}, {added}").as_bytes()) {
                    prop_assert_eq!(nodes[0], expected[0]);
                }
            }
            let last = x_forwarded_for(format!("{line}, 192.0.2.1").as_bytes()).map(|nodes| nodes[0]);
            prop_assert_eq!(last, Ok("192.0.2.1".parse().ok()));
        }
    }
}
