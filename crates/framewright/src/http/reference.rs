//! URI references (RFC 3986): a URI, or a reference relative to another URI. The Location of a
//! redirect is one, and WebSocket URIs have the same grammar.
//!
//! ```text
//!   ws://user@example.com:8080/chat?room=1#top
//!   |    |    |           |   |     |      |
//!   |    |    host        |   path  query  fragment
//!   |    userinfo         port
//!   scheme
//! ```
//! The parts are slices of the text: no byte is decoded or changed. What they mean is not decided
//! here.

use std::net::Ipv6Addr;

use super::bytes::{REG_NAME, is};

/// The parts of a URI reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// `None` if the reference is relative.
    pub(crate) scheme: Option<&'a str>,
    pub(crate) authority: Option<UriAuthority<'a>>,
    /// Empty, or with a leading slash, if there is an authority.
    pub(crate) path: &'a str,
    /// The query, without its question mark.
    pub(crate) query: Option<&'a str>,
    /// The fragment, without its `#`.
    pub(crate) fragment: Option<&'a str>,
}

/// The part between `//` and the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UriAuthority<'a> {
    /// The whole authority.
    pub(crate) text: &'a str,
    /// The userinfo, without its `@`.
    pub(crate) userinfo: Option<&'a str>,
    /// A registered name, which may be empty, an IPv4 address, or an address in brackets.
    pub(crate) host: &'a str,
    /// The digits of the port as given; empty if there is no colon, or nothing after it.
    pub(crate) port: &'a str,
}

impl<'a> Reference<'a> {
    /// Parses a reference by the grammar of RFC 3986, appendix A.
    ///
    /// # Errors
    /// The index of the first byte that is not allowed where it is. For brackets that hold no
    /// address, and for a `%` without two hex digits, the index is where they begin.
    pub(crate) fn parse(text: &'a str) -> Result<Self, usize> {
        let (rest, fragment) = cut(text, '#');
        let (rest, query) = cut(rest, '?');
        // A colon before any slash ends a scheme: "a path segment that contains a colon character
        // [...] cannot be used as the first segment of a relative-path reference" (section 4.2).
        let (scheme, rest) = match rest.find([':', '/']) {
            Some(end) if rest[end..].starts_with(':') => (Some(&rest[..end]), &rest[end + 1..]),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, rest),
        };

        let mut at = 0;
        if let Some(scheme) = scheme {
            check_scheme(scheme)?;
            at += scheme.len() + ":".len();
        }
        let authority = match authority {
            Some(text) => {
                at += "//".len();
                let parsed = UriAuthority::parse(text, at)?;
                at += text.len();
                Some(parsed)
            }
            None => None,
        };
        check(path, at, |byte| is_pchar(byte) || byte == b'/')?;
        at += path.len();
        for part in [query, fragment].into_iter().flatten() {
            at += "?".len();
            check(part, at, |byte| is_pchar(byte) || matches!(byte, b'/' | b'?'))?;
            at += part.len();
        }
        Ok(Reference { scheme, authority, path, query, fragment })
    }

    /// Resolves this relative reference against `base`, which has a scheme and an authority (RFC
    /// 3986, section 5.2.2).
    ///
    /// The path of `base` is normalised first, as section 5.2.1 allows. A percent-encoded dot
    /// counts as a dot (section 6.2.2.2). Browsers do both.
    pub(crate) fn resolved(&self, base: &Reference<'_>) -> String {
        let (path, query) = if self.authority.is_some() || self.path.starts_with('/') {
            (without_dot_segments(self.path), self.query)
        } else {
            let base_path = without_dot_segments(base.path);
            if self.path.is_empty() {
                (base_path, self.query.or(base.query))
            } else {
                let folder = base_path.rfind('/').map_or("/", |end| &base_path[..=end]);
                (without_dot_segments(&format!("{folder}{}", self.path)), self.query)
            }
        };
        let scheme = base.scheme.unwrap_or_default();
        let authority = self.authority.or(base.authority).map_or("", |authority| authority.text);
        let mut uri = format!("{scheme}://{authority}{path}");
        for (mark, part) in [('?', query), ('#', self.fragment)] {
            if let Some(part) = part {
                uri.push(mark);
                uri.push_str(part);
            }
        }
        uri
    }
}

impl<'a> UriAuthority<'a> {
    /// Parses the authority that begins at `start` of the reference.
    fn parse(text: &'a str, start: usize) -> Result<Self, usize> {
        let (userinfo, host_and_port) = match text.split_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, text),
        };
        let mut at = start;
        if let Some(userinfo) = userinfo {
            check(userinfo, at, |byte| is(byte, REG_NAME) || byte == b':')?;
            at += userinfo.len() + "@".len();
        }
        let host_len = if host_and_port.starts_with('[') {
            host_and_port.find(']').ok_or(at)? + "]".len()
        } else {
            host_and_port.find(':').unwrap_or(host_and_port.len())
        };
        let (host, port) = host_and_port.split_at(host_len);
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(literal) if is_ip_literal(literal) => {}
            Some(_) => return Err(at),
            None => check(host, at, |byte| is(byte, REG_NAME))?,
        }
        at += host.len();
        let Some(port) = port.strip_prefix(':').or(port.is_empty().then_some(port)) else {
            return Err(at);
        };
        match port.bytes().position(|byte| !byte.is_ascii_digit()) {
            Some(wrong) => Err(at + ":".len() + wrong),
            None => Ok(UriAuthority { text, userinfo, host, port }),
        }
    }
}

/// The text before `mark`, and the text after it if `mark` is present.
fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

/// `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`
fn check_scheme(scheme: &str) -> Result<(), usize> {
    let wrong = |(at, byte): (usize, u8)| match byte {
        byte if byte.is_ascii_alphabetic() => false,
        b'0'..=b'9' | b'+' | b'-' | b'.' => at == 0,
        _ => true,
    };
    match scheme.bytes().enumerate().position(wrong) {
        Some(at) => Err(at),
        None if scheme.is_empty() => Err(0),
        None => Ok(()),
    }
}

/// Checks each byte of a part that begins at `start`. Percent-encoded bytes are allowed in any
/// part.
fn check(part: &str, start: usize, may_stand: impl Fn(u8) -> bool) -> Result<(), usize> {
    let bytes = part.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += match bytes[at..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => 3,
            _ if may_stand(byte) => 1,
            _ => return Err(start + at),
        };
    }
    Ok(())
}

/// `pchar`, of which paths, queries and fragments consist; percent-encoded bytes are not included.
fn is_pchar(byte: u8) -> bool {
    is(byte, REG_NAME) || matches!(byte, b':' | b'@')
}

/// `IPv6address / IPvFuture`, without the brackets.
fn is_ip_literal(literal: &str) -> bool {
    literal.parse::<Ipv6Addr>().is_ok() || is_ip_future(literal)
}

/// `IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )`
fn is_ip_future(literal: &str) -> bool {
    let behind_v = literal.strip_prefix(['v', 'V']);
    let Some((version, address)) = behind_v.and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_address = !address.is_empty() && address.bytes().all(|byte| is(byte, REG_NAME) || byte == b':');
    is_version && is_address
}

/// An absolute path without `.` and `..` (RFC 3986, section 5.2.4); an empty one stays empty.
fn without_dot_segments(path: &str) -> String {
    let Some(relative) = path.strip_prefix('/') else {
        return path.to_owned();
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = relative.split('/').peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            1 => {}
            2 => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // A path that ends in a dot segment is a folder.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// The number of dots that a segment consists of; 0 if it contains anything else.
fn dots(mut segment: &str) -> usize {
    let mut count = 0;
    while !segment.is_empty() {
        let Some(rest) = [".", "%2E", "%2e"].iter().find_map(|dot| segment.strip_prefix(dot)) else {
            return 0;
        };
        segment = rest;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluent_uri::UriRef;
    use fluent_uri::component::Scheme;
    use fluent_uri::pct_enc::EStr;
    use proptest::prelude::*;

    fn parse(text: &str) -> Reference<'_> {
        Reference::parse(text).unwrap_or_else(|at| panic!("{text}: at {at}"))
    }

    #[test]
    fn each_part_is_what_stands_between_its_marks() {
        let all = parse("ws://user:x@example.com:8080/chat//a:@?room=1?2/3#top?/");
        assert_eq!((all.scheme, all.path), (Some("ws"), "/chat//a:@"));
        assert_eq!((all.query, all.fragment), (Some("room=1?2/3"), Some("top?/")));
        let authority = all.authority.unwrap();
        assert_eq!(authority.text, "user:x@example.com:8080");
        assert_eq!(authority.userinfo, Some("user:x"));
        assert_eq!((authority.host, authority.port), ("example.com", "8080"));

        let none = Reference { scheme: None, authority: None, path: "", query: None, fragment: None };
        assert_eq!(parse(""), none);
        assert_eq!(parse("a/b:c"), Reference { path: "a/b:c", ..none });
        assert_eq!(parse("?"), Reference { query: Some(""), ..none });
        assert_eq!(parse("#"), Reference { fragment: Some(""), ..none });
        assert_eq!(parse("mailto:a@b"), Reference { scheme: Some("mailto"), path: "a@b", ..none });
        let empty = UriAuthority { text: "", userinfo: None, host: "", port: "" };
        assert_eq!(parse("//"), Reference { authority: Some(empty), ..none });
        assert_eq!(parse("//@").authority.unwrap().userinfo, Some(""));
        assert_eq!(parse("//[::1]:8").authority.unwrap().host, "[::1]");
    }

    #[test]
    fn the_first_octet_that_may_not_stand_where_it_does_is_told() {
        for (text, at) in [
            (":", 0),
            ("1a:b", 0),
            ("a_b:c", 1),
            ("a b", 1),
            ("a%2", 1),
            ("a%2/0", 1),
            ("//a%4", 3),
            ("//u%x@h", 3),
            ("//u@v@h", 5),
            ("//[::1", 2),
            ("//u@[::1]x", 9),
            ("//[v.x]", 2),
            ("//[v1x]", 2),
            ("//[v1.]", 2),
            ("//[v1.%41]", 2),
            ("//[12345::]", 2),
            ("//h:1:", 5),
            ("//h:%31", 4),
            ("/[", 1),
            ("/a?b[", 4),
            ("/a?b#c#", 6),
            ("s:/a?b#\u{e9}", 7),
        ] {
            assert_eq!(Reference::parse(text), Err(at), "{text}");
        }
    }

    /// RFC 3986, sections 5.4.1 and 5.4.2.
    #[test]
    fn references_are_resolved_as_the_rfc_shows() {
        let base = parse("http://a/b/c/d;p?q");
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y#s"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g#s/./x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
        ] {
            assert_eq!(parse(reference).resolved(&base), expected, "{reference}");
        }
    }

    #[test]
    fn encoded_dots_and_those_of_the_base_are_dots() {
        for (base, reference, expected) in [
            ("ws://h/a/b", "%2e%2E/c", "ws://h/c"),
            ("ws://h/a/b", ".%2e", "ws://h/"),
            ("ws://h/a/b", "%2E", "ws://h/a/"),
            ("ws://h/a/b", "%2e%2e%2e", "ws://h/a/%2e%2e%2e"),
            ("ws://h/a/..", "c", "ws://h/c"),
            ("ws://h/a/../b", "?c", "ws://h/b?c"),
            ("ws://h", "", "ws://h"),
            ("ws://h", "?c", "ws://h?c"),
            ("ws://h//a//b", "..//c", "ws://h//a//c"),
        ] {
            assert_eq!(parse(reference).resolved(&parse(base)), expected, "{reference} at {base}");
        }
    }

    /// How another implementation parses a text.
    fn reference_of_another(text: &str) -> Option<Reference<'_>> {
        let uri = UriRef::parse(text).ok()?;
        let authority = uri.authority().map(|authority| UriAuthority {
            text: authority.as_str(),
            userinfo: authority.userinfo().map(EStr::as_str),
            host: authority.host(),
            port: authority.port().map_or("", |port| port.as_str()),
        });
        Some(Reference {
            scheme: uri.scheme().map(Scheme::as_str),
            authority,
            path: uri.path().as_str(),
            query: uri.query().map(EStr::as_str),
            fragment: uri.fragment().map(EStr::as_str),
        })
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_as_another_implementation_does_it(
            text in r"((ws:|a\+1:)?//)?[a-cv0-9:/?#@%\[\]. ~!$&'()*+,;=_{}\\^é-]{0,24}"
        ) {
            prop_assert_eq!(Reference::parse(&text).ok(), reference_of_another(&text));
        }

        #[test]
        fn addresses_in_brackets_are_known_as_another_implementation_knows_them(
            text in r"//\[([0-9a-f]{0,5}:){0,8}:?([0-9a-f]{0,4}:?){0,3}(1\.[0-9]{1,3}\.0\.9)?\](:[0-9]{0,3})?"
        ) {
            prop_assert_eq!(Reference::parse(&text).ok(), reference_of_another(&text));
        }

        #[test]
        fn references_are_resolved_as_another_implementation_does_it(
            base in r"ws://h(/([a.]|%2[eE]){0,3}){0,5}(\?q)?",
            text in r"(//g)?/?(([a.]|%2[eE]){0,3}/){0,5}([a.]|%2[eE]){0,3}(\?r)?(#f)?"
        ) {
            let (Ok(base_of_another), Ok(another)) = (fluent_uri::Uri::parse(base.as_str()), UriRef::parse(text.as_str())) else {
                return Err(TestCaseError::reject("no URI"));
            };
            let expected = another.resolve_against(&base_of_another).unwrap();
            prop_assert_eq!(parse(&text).resolved(&parse(&base)), expected.as_str());
        }
    }
}
