//! What an error tells of a certificate: its names and its dates (RFC 5280, section 4.1). Nothing
//! here decides whether a certificate is good; rustls has done that. What cannot be read is left
//! out.
//!
//! ```text
//!   Certificate ::= SEQUENCE {
//!     tbsCertificate  SEQUENCE {
//!       [0] version, serialNumber, signature,
//!       issuer    Name,
//!       validity  SEQUENCE { notBefore, notAfter },
//!       subject   Name, ... },
//!     ... }
//! ```

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::fmt;
use std::time::Duration;

/// The certificate that was refused, among those that the server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blame {
    /// The name that the certificate is for; `None` if it has none that can be read.
    pub(super) subject: Option<String>,
    /// The name of its issuer.
    pub(super) issuer: Option<String>,
    /// Whether it is its own issuer.
    pub(super) self_issued: bool,
    /// Its place in the server's list: 0 is the server's own certificate.
    pub(super) place: usize,
    /// How many certificates the server has shown.
    pub(super) shown: usize,
    /// Whether it is the handshake that it does not fit: the certificate itself was accepted.
    pub(super) in_handshake: bool,
}

/// Finds the certificate that `reason` is about.
#[cold]
pub(super) fn blame(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    reason: &CertificateError,
) -> Blame {
    // A server may show thousands of certificates.
    let chain = || std::iter::once(end_entity).chain(intermediates).take(MOST);
    let facts: Vec<_> = chain().map(|certificate| Facts::read(certificate).unwrap_or_default()).collect();
    let place = match reason {
        CertificateError::ExpiredContext { not_after, .. } => {
            facts.iter().position(|facts| facts.not_after == Some(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            facts.iter().position(|facts| facts.not_before == Some(*not_before))
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(last_of_chain(&facts)),
        _ => None,
    };
    let place = place.unwrap_or(0);
    let facts = &facts[place];
    Blame {
        subject: facts.subject.and_then(name),
        issuer: facts.issuer.and_then(name),
        self_issued: facts.is_self_issued(),
        place,
        shown: 1 + intermediates.len(),
        in_handshake: false,
    }
}

/// Blames the certificate whose key has not signed the handshake.
#[cold]
pub(super) fn blame_handshake(end_entity: &CertificateDer<'_>, reason: &CertificateError) -> Blame {
    Blame { in_handshake: true, ..blame(end_entity, &[], reason) }
}

/// The last certificate of the chain that the server has shown, whose issuer is not known. The
/// issuers may stand in any order (RFC 8446, section 4.4.2).
fn last_of_chain(facts: &[Facts<'_>]) -> usize {
    let mut at = 0;
    for _ in facts {
        let issued_by = |it: &Facts<'_>| facts[at].issuer.is_some() && it.subject == facts[at].issuer;
        match facts.iter().position(issued_by) {
            Some(next) if !facts[at].is_self_issued() => at = next,
            _ => break,
        }
    }
    at
}

/// What is read of a certificate. The names are in DER.
#[derive(Clone, Copy, Default)]
struct Facts<'a> {
    issuer: Option<&'a [u8]>,
    subject: Option<&'a [u8]>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
}

impl<'a> Facts<'a> {
    /// `None` for what is no certificate.
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(certificate).take(SEQUENCE)?);
        let mut fields = Der(outer.take(SEQUENCE)?);
        let _version = fields.take(VERSION);
        let _serial = fields.take(INTEGER)?;
        let _signature = fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let mut validity = Der(fields.take(SEQUENCE)?);
        let subject = fields.take(SEQUENCE)?;
        Some(Facts {
            issuer: Some(issuer),
            subject: Some(subject),
            not_before: validity.time(),
            not_after: validity.time(),
        })
    }

    fn is_self_issued(&self) -> bool {
        self.issuer.is_some() && self.issuer == self.subject
    }
}

/// The most certificates that are looked at.
const MOST: usize = 16;

/// Bytes in DER, read element by element.
struct Der<'a>(&'a [u8]);

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

impl<'a> Der<'a> {
    /// The next element: its tag and its content. `None` at the end, and for what is not DER.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (digits, rest) =
                rest.split_at_checked(usize::from(first & 0x7f)).filter(|_| first <= 0x84)?;
            (digits.iter().fold(0, |len, &digit| len << 8 | usize::from(digit)), rest)
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = Der(self.0);
        let (_, content) = ahead.next().filter(|(found, _)| *found == tag)?;
        self.0 = ahead.0;
        Some(content)
    }

    /// The next element, if it is a time (RFC 5280, section 4.1.2.5).
    fn time(&mut self) -> Option<UnixTime> {
        let (tag, text) = self.next()?;
        let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let year = number(&digits[..2]);
                (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
            }
            (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
            _ => return None,
        };
        let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().ok()?)))
    }
}

/// What a name says: its common name, or else its organization, or whatever it has last (RFC 5280,
/// section 4.1.2.4). `None` for an empty name: newer certificates of servers have their names in an
/// extension only.
fn name(name: &[u8]) -> Option<String> {
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
    let mut sets = Der(name);
    let mut best: Option<(u8, &[u8])> = None;
    while let Some(set) = sets.take(SET) {
        let attribute = Der(set).take(SEQUENCE).and_then(|attribute| {
            let mut attribute = Der(attribute);
            Some((attribute.take(OBJECT_IDENTIFIER)?, attribute.next()?.1))
        });
        let Some((kind, value)) = attribute else { continue };
        let rank = match kind {
            COMMON_NAME => 2,
            ORGANIZATION => 1,
            _ => 0,
        };
        if best.is_none_or(|(found, _)| rank >= found) {
            best = Some((rank, value));
        }
    }
    best.map(|(_, value)| printable(&String::from_utf8_lossy(value)))
}

/// Text from a stranger for a line of a log: without control characters, and not long.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

/// Text for a line of a log, whole: without control and other characters that cannot be printed. A
/// backslash is doubled, so that nobody takes it for one of these.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

/// A time as `2026-05-01 12:00:00 UTC`.
pub(super) struct Date(pub(super) UnixTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (mut day, second) = (i64::try_from(seconds / 86_400).unwrap_or(i64::MAX), seconds % 86_400);
        // A year that is not too late, and then the one that the day lies in.
        let mut year = 1970 + day / 366;
        while days(year + 1, 1, 1) <= day {
            year += 1;
        }
        day -= days(year, 1, 1);
        let month = (1..12).take_while(|month| days(year, month + 1, 1) - days(year, 1, 1) <= day).count();
        let month = 1 + i64::try_from(month).expect("eleven at the most");
        day -= days(year, month, 1) - days(year, 1, 1);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year}-{month:02}-{:02} {hour:02}:{minute:02}:{:02} UTC", day + 1, second % 60)
    }
}

/// Days from the first of January 1970 to a date of the Gregorian calendar; a date that does not
/// exist counts on.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Counted from the first of March of year 0, so that a leap day is the last of its year.
    let (year, months) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // March to January have 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31 days.
    let before = (153 * months + 2) / 5;
    365 * year + leap_days + before + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_735_689_600, "2025-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(Date(at(seconds)).to_string(), expected);
        }
    }

    #[test]
    fn both_forms_of_time_are_read_and_others_are_not() {
        let read = |tag: u8, text: &str| {
            let len = u8::try_from(text.len()).unwrap();
            Der(&[&[tag, len], text.as_bytes()].concat()).time()
        };
        assert_eq!(read(UTC_TIME, "241231235959Z"), Some(at(1_735_689_599)));
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(at(0)));
        assert_eq!(read(GENERALIZED_TIME, "20240229000000Z"), Some(at(1_709_164_800)));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), Some(at(253_402_300_799)));
        for text in ["", "Z", "2412312359Z", "241231235959", "24123123595\u{b2}Z", "24123123595-Z"] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(read(UTC_TIME, "500101000000Z"), None, "before 1970");
        assert_eq!(read(INTEGER, "241231235959Z"), None);
    }

    #[test]
    fn text_of_strangers_has_no_control_characters_and_an_end() {
        assert_eq!(printable("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
        assert_eq!(printable("Let's \"encrypt\" \\"), "Let's \"encrypt\" \\\\");
        assert_eq!(escaped(&"it's\t".repeat(100)), "it's\\t".repeat(100));
        assert_eq!(printable(&"x".repeat(100)), "x".repeat(100));
        assert_eq!(printable(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
    }

    /// A hostile server chooses these bytes.
    #[test]
    fn cut_and_altered_certificates_are_read_without_a_panic() {
        let whole = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.der().to_vec();
        assert!(Facts::read(&whole).unwrap().is_self_issued());
        for end in 0..whole.len() {
            assert!(Facts::read(&whole[..end]).is_none(), "{end}");
            for octet in [0, 0x30, 0x7f, 0x80, 0x84, 0x85, 0xff] {
                let mut altered = whole.clone();
                altered[end] = octet;
                let altered = CertificateDer::from(altered);
                let shown = [altered.clone(), altered.clone()];
                let blame = blame(&altered, &shown, &CertificateError::UnknownIssuer);
                assert!(blame.place < blame.shown);
            }
        }
    }
}
