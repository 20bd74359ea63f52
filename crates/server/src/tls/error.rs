//! Why TLS settings cannot be used.

use std::error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// TLS settings that cannot be used, and which part of them. From
/// [`ServerTlsBuilder::build`](crate::ServerTlsBuilder::build).
///
/// `place` names a PEM file by its path, or says which bytes in memory are meant.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerTlsError {
    /// No provider of cryptography is compiled in (features `aws-lc-rs` and `ring`), and none is
    /// installed with `rustls::crypto::CryptoProvider::install_default`.
    NoProvider,
    /// The builder was given no certificate.
    NoCertificate,
    /// Client certificates are wanted, and no CA is named that issues them.
    NoClientCa,
    /// A file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A section is not valid PEM (RFC 7468).
    Pem {
        /// Where it stands.
        place: String,
        /// The number of the section, from 1 on, and its label.
        section: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// The section that is looked for is missing.
    MissingSection {
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        wanted: &'static str,
        /// The labels of the sections that are there.
        found: Vec<String>,
    },
    /// A section holds a certificate or a key that cannot be used.
    Unusable {
        /// Where it stands.
        place: String,
        /// The number of the section, from 1 on, and its label.
        section: String,
        /// The reason.
        error: rustls::Error,
    },
    /// The private key is not that of the first certificate.
    KeyMismatch {
        /// Where the key stands.
        key: String,
        /// Where the certificate stands.
        chain: String,
        /// The number of the section whose certificate has the key, if another one has it: the
        /// server's own certificate comes first in a chain (RFC 8446, section 4.4.2).
        belongs_to: Option<usize>,
    },
    /// Client certificates cannot be checked with these CAs.
    ClientVerifier(String),
    /// The provider of cryptography cannot be used like this.
    Provider(rustls::Error),
}

impl fmt::Display for ServerTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerTlsError::NoProvider => f.write_str(
                "no TLS provider: build with the feature aws-lc-rs or ring, \
                 or call rustls::crypto::CryptoProvider::install_default first",
            ),
            ServerTlsError::NoCertificate => f.write_str("no certificate for TLS"),
            ServerTlsError::NoClientCa => f.write_str("client certificates are wanted, but of no CA"),
            ServerTlsError::Read { path, error } => write!(f, "{}: {error}", path.display()),
            ServerTlsError::Pem { place, section, reason } => {
                write!(f, "{place}: section {section} is not valid PEM: {reason}")
            }
            ServerTlsError::MissingSection { place, wanted, found } => {
                write!(f, "{place}: no section with {wanted}")?;
                match &found[..] {
                    [] => f.write_str("; it has no PEM section at all"),
                    found if found.iter().any(|label| label == ENCRYPTED) => {
                        f.write_str("; the key is encrypted: decrypt it first, such as with openssl pkey")
                    }
                    found => write!(f, ", but {}", found.join(", ")),
                }
            }
            ServerTlsError::Unusable { place, section, error } => {
                write!(f, "{place}: section {section} cannot be used: {error}")
            }
            ServerTlsError::KeyMismatch { key, chain, belongs_to: None } => {
                write!(f, "{key}: the key does not belong to the certificate of {chain}")
            }
            ServerTlsError::KeyMismatch { key, chain, belongs_to: Some(section) } => write!(
                f,
                "{key}: the key belongs to section {section} of {chain}; the server's own certificate \
                 has to come first"
            ),
            ServerTlsError::ClientVerifier(reason) => {
                write!(f, "client certificates cannot be checked: {reason}")
            }
            ServerTlsError::Provider(error) => write!(f, "the TLS provider cannot be used: {error}"),
        }
    }
}

impl error::Error for ServerTlsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ServerTlsError::Read { error, .. } => Some(error),
            ServerTlsError::Unusable { error, .. } | ServerTlsError::Provider(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ServerTlsError> for io::Error {
    /// Keeps the kind of an error of reading a file; others are `InvalidInput`.
    fn from(error: ServerTlsError) -> Self {
        let kind = match &error {
            ServerTlsError::Read { error, .. } => error.kind(),
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// The label of an encrypted key (RFC 7468, section 11).
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
