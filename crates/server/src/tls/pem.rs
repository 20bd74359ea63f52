//! PEM files (RFC 7468): what stands in which section.

use super::error::ServerTlsError;
use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::path::PathBuf;

/// PEM text, and where it is.
#[derive(Clone)]
pub(crate) enum Source {
    File(PathBuf),
    /// With the name that errors give it.
    Memory(&'static str, Vec<u8>),
}

/// The sections of a PEM text that rustls knows.
pub(crate) struct Sections {
    /// The file, or the name of what is in memory.
    pub(crate) place: String,
    /// The labels of all sections, as errors may name them.
    labels: Vec<String>,
    known: Vec<Section>,
}

/// A section and its number among all sections, from 1 on.
struct Section {
    number: usize,
    kind: SectionKind,
    der: Vec<u8>,
}

impl Source {
    /// Reads the file, if it is one, and decodes its sections.
    pub(crate) fn load(&self) -> Result<Sections, ServerTlsError> {
        match self {
            Source::Memory(name, pem) => Sections::parse((*name).to_owned(), pem),
            Source::File(path) => {
                let read = fs::read(path);
                let pem = read.map_err(|error| ServerTlsError::Read { path: path.clone(), error })?;
                Sections::parse(path.display().to_string(), &pem)
            }
        }
    }
}

impl Sections {
    fn parse(place: String, pem: &[u8]) -> Result<Sections, ServerTlsError> {
        let raw: Vec<&[u8]> = labels(pem).collect();
        let labels: Vec<String> = raw.iter().map(|label| nameable(label)).collect();
        // Sections with other labels are skipped by the parser. One that breaks a rule has none.
        let is_known = |label: &[u8]| SectionKind::try_from(label).is_ok() || label.is_empty();
        let mut numbers = (1..).zip(raw).filter(|(_, label)| is_known(label)).map(|(number, _)| number);
        let mut known = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let number = numbers.next().unwrap_or(labels.len());
            match section {
                Ok((kind, der)) => known.push(Section { number, kind, der }),
                Err(error) => {
                    let section = named(number, &labels);
                    return Err(ServerTlsError::Pem { place, section, reason: reason(&error) });
                }
            }
        }
        Ok(Sections { place, labels, known })
    }

    /// The section with this number, as errors name it.
    pub(crate) fn name(&self, number: usize) -> String {
        named(number, &self.labels)
    }

    /// All certificates in their order, with the numbers of their sections.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn certificates(&self) -> Result<Vec<(usize, CertificateDer<'static>)>, ServerTlsError> {
        let certificate = |section: &Section| {
            Some((section.number, CertificateDer::from_pem(section.kind, section.der.clone())?))
        };
        let found: Vec<_> = self.known.iter().filter_map(certificate).collect();
        if found.is_empty() { Err(self.missing("a CERTIFICATE")) } else { Ok(found) }
    }

    /// The first private key, with the number of its section.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn key(&self) -> Result<(usize, PrivateKeyDer<'static>), ServerTlsError> {
        let key = |section: &Section| {
            Some((section.number, PrivateKeyDer::from_pem(section.kind, section.der.clone())?))
        };
        self.known.iter().find_map(key).ok_or_else(|| self.missing("a PRIVATE KEY"))
    }

    fn missing(&self, wanted: &'static str) -> ServerTlsError {
        ServerTlsError::MissingSection { place: self.place.clone(), wanted, found: self.labels.clone() }
    }
}

/// The label of each line that begins a section; empty if the line does not end as it should.
fn labels(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = pem.split(|octet| matches!(octet, b'\n' | b'\r'));
    lines.filter_map(|line| {
        let label = line.strip_prefix(b"-----BEGIN ")?;
        Some(label.trim_ascii_end().strip_suffix(b"-----").unwrap_or_default())
    })
}

/// A label as errors may name it. A file that has lost its line breaks is one line, whose "label"
/// holds the key: only what can be a label (RFC 7468, section 3) is repeated.
fn nameable(label: &[u8]) -> String {
    let is_label = label.len() <= LONGEST_LABEL
        && label.iter().all(|octet| matches!(octet, b' '..=b'~'))
        && !label.windows(5).any(|octets| octets == b"-----");
    if is_label { String::from_utf8_lossy(label).into_owned() } else { NO_LABEL.to_owned() }
}

/// The longest label that errors repeat. Those in use have half of it.
const LONGEST_LABEL: usize = 64;

/// What errors say in place of a label that is none.
const NO_LABEL: &str = "a strange label, as without line breaks";

fn named(number: usize, labels: &[String]) -> String {
    match number.checked_sub(1).and_then(|index| labels.get(index)) {
        Some(label) if !label.is_empty() => format!("{number} ({label})"),
        _ => number.to_string(),
    }
}

/// The rule that a section breaks, in words without its octets, which may be secret.
fn reason(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "its END line is missing".to_owned(),
        PemError::IllegalSectionStart { .. } => "its BEGIN line does not end with five hyphens".to_owned(),
        PemError::Base64Decode(_) => "it is not in base64".to_owned(),
        // The text of the parser is not repeated, whatever it may hold.
        _ => "it breaks a rule of RFC 7468".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\r\nAwQF\r\n-----END PRIVATE KEY-----\r\n";
    const PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----\nAAEC\n-----END EC PARAMETERS-----\n";

    fn parse(pem: &str) -> Result<Sections, ServerTlsError> {
        Sections::parse("x.pem".to_owned(), pem.as_bytes())
    }

    #[track_caller]
    fn error<T>(result: Result<T, ServerTlsError>) -> String {
        result.map(drop).expect_err("an error").to_string()
    }

    #[test]
    fn sections_are_found_by_kind_and_numbered_as_they_stand() {
        let sections = parse(&format!("{PARAMETERS}text\n{KEY}{CERTIFICATE}{CERTIFICATE}")).unwrap();
        assert_eq!(sections.key().unwrap().0, 2);
        let certificates = sections.certificates().unwrap();
        let numbers: Vec<_> = certificates.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(&certificates[0].1[..], [0, 1, 2]);
        assert_eq!(sections.name(1), "1 (EC PARAMETERS)");
        assert_eq!(sections.name(4), "4 (CERTIFICATE)");
    }

    #[test]
    fn errors_say_which_section_it_is_and_what_is_there_instead() {
        for (pem, expected) in [
            (
                format!("{PARAMETERS}{CERTIFICATE}{}", &CERTIFICATE[..40]),
                "x.pem: section 3 (CERTIFICATE) is not valid PEM: its END line is missing",
            ),
            (
                format!("{CERTIFICATE}{}", CERTIFICATE.replace("AAEC", "A!EC")),
                "x.pem: section 2 (CERTIFICATE) is not valid PEM: it is not in base64",
            ),
            (
                format!("{CERTIFICATE}{}", CERTIFICATE.replacen("-----\n", "---\n", 1)),
                "x.pem: section 2 is not valid PEM: its BEGIN line does not end with five hyphens",
            ),
        ] {
            assert_eq!(error(parse(&pem)), expected);
        }
        let key_of = |pem: &str| error(parse(pem).unwrap().key());
        assert_eq!(key_of(""), "x.pem: no section with a PRIVATE KEY; it has no PEM section at all");
        assert_eq!(
            key_of(&format!("{CERTIFICATE}{PARAMETERS}")),
            "x.pem: no section with a PRIVATE KEY, but CERTIFICATE, EC PARAMETERS"
        );
        let encrypted = KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(
            key_of(&encrypted),
            "x.pem: no section with a PRIVATE KEY; the key is encrypted: decrypt it first, such as with openssl pkey"
        );
        let certificates = parse(KEY).unwrap().certificates();
        assert_eq!(error(certificates), "x.pem: no section with a CERTIFICATE, but PRIVATE KEY");
    }

    #[test]
    fn what_is_no_label_is_not_repeated_and_counts_as_a_section() {
        let long = "A".repeat(65);
        for label in [&*long, "PRIVATE KEY-----AwQF-----END PRIVATE KEY", "A\u{e9}", "A\tB"] {
            let strange = format!("-----BEGIN {label}-----\nAAEC\n-----END {label}-----\n");
            let found = error(parse(&strange).unwrap().key());
            let expected =
                "x.pem: no section with a PRIVATE KEY, but a strange label, as without line breaks";
            assert_eq!(found, expected, "{label}");
            let sections = parse(&format!("{strange}{KEY}")).unwrap();
            assert_eq!(sections.key().unwrap().0, 2, "{label}");
            let found = error(parse(&strange[..strange.len() - 9]));
            let place = "x.pem: section 1 (a strange label, as without line breaks)";
            assert_eq!(found, format!("{place} is not valid PEM: its END line is missing"), "{label}");
        }
        let longest = "A".repeat(64);
        let found =
            error(parse(&format!("-----BEGIN {longest}-----\n-----END {longest}-----\n")).unwrap().key());
        assert!(found.ends_with(&longest), "{found}");
    }
}
