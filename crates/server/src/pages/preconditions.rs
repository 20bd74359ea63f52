//! The conditions of a request (RFC 9110, section 13): whether the client already has the content.

use framewright::handshake::Request;
use std::time::{SystemTime, UNIX_EPOCH};

/// The result of a request's conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The content is to be sent.
    Send,
    /// 304: the client has the content.
    NotModified,
    /// 412: the client asks for another version of the content.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD, in the order of section 13.2.2. `tag` is the entity
/// tag of the content, including its quotes; `modified` is the time of its last modification.
pub(super) fn evaluate(request: &Request<'_>, tag: &str, modified: Option<SystemTime>) -> Outcome {
    let modified = modified.map(seconds);
    let date = |name| Some((modified?, date(request, name)?));
    if let Some(wanted) = Tags::of(request, "If-Match") {
        if !wanted.has(tag, Comparison::Strong) {
            return Outcome::Failed;
        }
    } else if let Some((modified, since)) = date("If-Unmodified-Since")
        && modified > since
    {
        return Outcome::Failed;
    }
    //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
    //# A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field; the condition in
    //# If-None-Match is considered to be a more accurate replacement for the condition in If-Modified-Since, and the two
    //# are only combined for the sake of interoperating with older intermediaries that might not implement If-None-Match.
    let has_it = match Tags::of(request, "If-None-Match") {
        Some(had) => had.has(tag, Comparison::Weak),
        None => date("If-Modified-Since").is_some_and(|(modified, since)| modified <= since),
    };
    if has_it { Outcome::NotModified } else { Outcome::Send }
}

/// Whole seconds since 1970, the resolution of a field. Earlier times count as 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The time in a field.
//= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
//# A recipient MUST ignore the If-Modified-Since header field if the received field value is not a valid HTTP-date, the
//# field value has more than one member, or if the request method is neither GET nor HEAD.
fn date(request: &Request<'_>, name: &str) -> Option<u64> {
    let mut lines = request.field_all(name);
    let value = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok().map(seconds)
}

/// How entity tags are compared (RFC 9110, section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// A weak tag equals no other.
    Strong,
    /// Weak and strong tags are equal if their text is.
    Weak,
}

/// The lines of a field that lists entity tags.
struct Tags<'a>(Vec<&'a [u8]>);

impl<'a> Tags<'a> {
    /// `None` if there is no such field.
    fn of(request: &Request<'a>, name: &str) -> Option<Self> {
        let lines: Vec<_> = request.field_all(name).collect();
        (!lines.is_empty()).then_some(Tags(lines))
    }

    /// Whether the list contains `tag`, which is strong, or `*`. Text that does not follow the
    /// grammar ends a line.
    fn has(&self, tag: &str, comparison: Comparison) -> bool {
        self.0.iter().any(|line| {
            *line == b"*"
                || TagList(line).any(|(is_weak, listed)| {
                    listed == tag.as_bytes() && !(is_weak && comparison == Comparison::Strong)
                })
        })
    }
}

/// The tags of one line, each with a flag for a weak one. A tag may contain commas.
///
/// ```text
/// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE
/// etagc      = %x21 / %x23-7E / obs-text
/// ```
struct TagList<'a>(&'a [u8]);

impl<'a> Iterator for TagList<'a> {
    type Item = (bool, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = &self.0[start..];
        let (is_weak, rest) = match rest.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let len = 2 + rest.strip_prefix(b"\"")?.iter().position(|&byte| byte == b'"')?;
        let (tag, rest) = rest.split_at(len);
        self.0 = rest;
        Some((is_weak, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::handshake::{HeadLimits, ServerHandshake};
    use std::time::{Duration, Instant};

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    /// The outcome of these fields, for content with the tag `"a,b"`.
    fn outcome(fields: &[(&str, &str)]) -> Outcome {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let mut handshake = ServerHandshake::new(HeadLimits::default(), Instant::now(), Duration::MAX);
        handshake.parse(head.as_bytes()).unwrap().unwrap();
        // A fraction of a second, which no field can express.
        let modified = httpdate::parse_http_date(MODIFIED).unwrap() + Duration::from_millis(300);
        evaluate(&handshake.request(head.as_bytes()), "\"a,b\"", Some(modified))
    }

    #[test]
    fn if_none_match_compares_weakly_and_with_every_tag() {
        for value in ["\"a,b\"", "W/\"a,b\"", "*", "\"x\", \"a,b\"", ",, W/\"x\",\t\"a,b\" ,", "\"\",\"a,b\""]
        {
            assert_eq!(outcome(&[("If-None-Match", value)]), Outcome::NotModified, "{value}");
        }
        for value in
            ["", "\"a", "a,b", "\"a\"", "\"A,B\"", "\"a,b", "x\"a,b\"", "w/\"a,b\"", "\"*\"", "\"x\" *"]
        {
            assert_eq!(outcome(&[("If-None-Match", value)]), Outcome::Send, "{value}");
        }
        assert_eq!(
            outcome(&[("If-None-Match", "\"x\""), ("if-none-match", "\"a,b\"")]),
            Outcome::NotModified
        );
    }

    #[test]
    fn if_match_compares_strongly() {
        for (value, expected) in [
            ("\"a,b\"", Outcome::Send),
            ("*", Outcome::Send),
            ("\"x\", \"a,b\"", Outcome::Send),
            ("W/\"a,b\"", Outcome::Failed),
            ("\"x\"", Outcome::Failed),
            ("", Outcome::Failed),
        ] {
            assert_eq!(outcome(&[("If-Match", value)]), expected, "{value}");
        }
        // With both fields, `If-Match` is evaluated first.
        assert_eq!(outcome(&[("If-None-Match", "*"), ("If-Match", "\"x\"")]), Outcome::Failed);
        assert_eq!(outcome(&[("If-None-Match", "*"), ("If-Match", "*")]), Outcome::NotModified);
    }

    #[test]
    fn dates_count_where_there_are_no_tags() {
        //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
        //= type=test
        //# A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match header field; the condition in
        //# If-None-Match is considered to be a more accurate replacement for the condition in If-Modified-Since, and the two
        //# are only combined for the sake of interoperating with older intermediaries that might not implement If-None-Match.

        //= https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3
        //= type=test
        //# A recipient MUST ignore the If-Modified-Since header field if the received field value is not a valid HTTP-date, the
        //# field value has more than one member, or if the request method is neither GET nor HEAD.
        for (name, value, expected) in [
            ("If-Modified-Since", BEFORE, Outcome::Send),
            ("If-Modified-Since", MODIFIED, Outcome::NotModified),
            ("If-Modified-Since", AFTER, Outcome::NotModified),
            ("If-Modified-Since", "yesterday", Outcome::Send),
            ("If-Unmodified-Since", BEFORE, Outcome::Failed),
            ("If-Unmodified-Since", MODIFIED, Outcome::Send),
            ("If-Unmodified-Since", "tomorrow", Outcome::Send),
        ] {
            assert_eq!(outcome(&[(name, value)]), expected, "{name}: {value}");
        }
        assert_eq!(outcome(&[("If-Modified-Since", AFTER), ("If-None-Match", "\"x\"")]), Outcome::Send);
        assert_eq!(outcome(&[("If-Unmodified-Since", BEFORE), ("If-Match", "*")]), Outcome::Send);
        assert_eq!(outcome(&[("If-Modified-Since", AFTER), ("If-Modified-Since", AFTER)]), Outcome::Send);
        assert_eq!(outcome(&[]), Outcome::Send);
    }
}
