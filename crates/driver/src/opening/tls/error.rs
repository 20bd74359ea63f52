//! Why there is no TLS, in one line that a person understands.

use super::certificate::{Blame, Date, escaped, printable};
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why TLS could not be set up, or has failed while the connection was being opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate of the server, or one that it depends on, is not accepted.
    Certificate(Box<CertificateFault>),
    /// The server answered in something else than TLS.
    NotTls {
        /// Whether that is HTTP in plain text: the port is one for `ws:` or `http:`.
        is_http: bool,
    },
    /// The server has ended the connection before its first message of TLS (the ServerHello; RFC
    /// 8446, section 4.1.3) was complete: its port may be one without TLS, or it has given up.
    NotBegun,
    /// The server has ended TLS with this alert (RFC 8446, section 6.2): it accepts no certificate
    /// of this end, for example, or needs one.
    Alert(AlertDescription),
    /// The transport has ended without a `close_notify` (RFC 8446, section 6.1): somebody on the
    /// way may have cut it.
    Truncated,
    /// The server has selected this protocol, which is not HTTP/1.1 (RFC 7301). Only with a
    /// configuration of the application's own.
    Alpn(Vec<u8>),
    /// The host of the URI is no name that a certificate can have.
    Name(String),
    /// The two ends have not come to terms, or the server has broken a rule of TLS.
    Protocol(rustls::Error),
    /// No provider of cryptography is compiled in (the features `aws-lc-rs` and `ring`), and the
    /// application has installed none (`CryptoProvider::install_default`).
    NoProvider,
    /// TLS with the `https:` proxy has failed, as inside; the rest of the connection was fine. Only
    /// for an open connection: before that it is a
    /// [`ConnectError::Proxy`](crate::opening::ConnectError::Proxy).
    Proxy(Box<TlsError>),
    /// There is no certificate authority to trust; why.
    NoAuthorities(String),
    /// rustls does not take the certificate or the key of this end.
    Identity(rustls::Error),
    /// A file could not be read.
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// A file, or text in memory, does not hold what it should.
    Pem {
        /// The file; `None` for text in memory.
        path: Option<PathBuf>,
        /// What is wrong with it.
        fault: String,
    },
}

impl TlsError {
    /// Whether another attempt would end the same:
    /// [`ConnectError::is_permanent`](crate::opening::ConnectError::is_permanent).
    pub(in super::super) fn is_permanent(&self) -> bool {
        match self {
            TlsError::Certificate(fault) => !fault.is_a_matter_of_time(),
            TlsError::Alert(alert) => is_final(*alert),
            // What was not as it should be may have been altered on the way.
            TlsError::Protocol(error) => matches!(error, rustls::Error::PeerIncompatible(_)),
            TlsError::NotBegun | TlsError::Truncated => false,
            TlsError::Proxy(error) => error.is_permanent(),
            TlsError::NotTls { .. }
            | TlsError::Alpn(_)
            | TlsError::Name(_)
            | TlsError::NoProvider
            | TlsError::NoAuthorities(_)
            | TlsError::Identity(_)
            | TlsError::File { .. }
            | TlsError::Pem { .. } => true,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Told { error: self, peer: "the server", plain: "ws" }.fmt(f)
    }
}

/// Displays an error of TLS with a server or with a proxy.
pub(in super::super) struct Told<'a> {
    error: &'a TlsError,
    /// Who the other end is, in words.
    peer: &'static str,
    /// The scheme of a connection to it without TLS.
    plain: &'static str,
}

impl<'a> Told<'a> {
    pub(in super::super) fn by_proxy(error: &'a TlsError) -> Self {
        Told { error, peer: "the proxy", plain: "http" }
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { error, peer, plain } = *self;
        match error {
            TlsError::Certificate(fault) => fault.describe(peer, f),
            TlsError::NotTls { is_http: true } => {
                write!(f, "{peer} answered in plain text (HTTP): use {plain}:// or another port")
            }
            TlsError::NotTls { is_http: false } => {
                write!(f, "{peer} does not speak TLS on this port: what it sent is something else")
            }
            TlsError::NotBegun => {
                write!(f, "{peer} ended the connection before TLS began: it may not speak TLS on this port",)
            }
            TlsError::Alert(alert) => {
                write!(f, "{peer} ended TLS: {} (alert {alert:?})", meaning(*alert))
            }
            TlsError::Truncated => write!(
                f,
                "{peer} ended the connection in the middle, without the end that TLS has (close_notify)",
            ),
            TlsError::Alpn(protocol) => {
                let protocol = String::from_utf8_lossy(protocol);
                write!(f, "{peer} selected the protocol {} (ALPN), not http/1.1", printable(&protocol))
            }
            TlsError::Name(host) => write!(f, "no certificate can be for the host {host}"),
            TlsError::Protocol(rustls::Error::PeerIncompatible(reason)) => incompatible(peer, reason, f),
            TlsError::Protocol(error) => write!(f, "TLS with {peer} has failed: {error}"),
            TlsError::Proxy(error) => Told::by_proxy(error).fmt(f),
            TlsError::NoProvider => f.write_str(
                "no provider of cryptography: turn on the feature aws-lc-rs or ring, \
                 or install one (rustls::crypto::CryptoProvider::install_default)",
            ),
            TlsError::NoAuthorities(reason) => {
                write!(f, "no certificate authority to trust: {}", escaped(reason))
            }
            TlsError::Identity(error) => write!(f, "the certificate or the key of this end: {error}"),
            TlsError::File { path, error } => write!(f, "{}: {error}", path.display()),
            TlsError::Pem { path: Some(path), fault } => write!(f, "{}: {fault}", path.display()),
            TlsError::Pem { path: None, fault } => write!(f, "PEM text: {fault}"),
        }
    }
}

impl std::error::Error for TlsError {
    /// The cause of the inner error: its own message is already part of this one's.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::File { error, .. } => error.source(),
            TlsError::Proxy(error) => error.source(),
            _ => None,
        }
    }
}

/// Whether an alert is about what the two ends want, which stays the same. The others are about
/// octets that may have been altered on the way, or about a fault of the server.
fn is_final(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol
            | AlertDescription::UnrecognisedName
    )
}

/// What an alert says to a client (RFC 8446, section 6.2).
fn meaning(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => "it requires a certificate of this client",
        AlertDescription::UnknownCA => "it does not know the issuer of this client's certificate",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown => "it does not accept this client's certificate",
        AlertDescription::AccessDenied => "it does not let this client in",
        AlertDescription::HandshakeFailure => {
            "it shares no way of encrypting with this client, or requires a certificate"
        }
        AlertDescription::ProtocolVersion => "it shares no version of TLS with this client",
        AlertDescription::InsufficientSecurity => "it wants stronger ways of encrypting",
        AlertDescription::UnrecognisedName => "it does not serve the host that this client names",
        AlertDescription::NoApplicationProtocol => "it does not speak HTTP/1.1 here (ALPN)",
        AlertDescription::InternalError => "it has failed itself",
        _ => "it does not accept what this client has sent",
    }
}

fn incompatible(peer: &str, reason: &PeerIncompatible, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match reason {
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            write!(f, "{peer} shares no version of TLS with this client: TLS 1.2 and 1.3 are supported")
        }
        reason => write!(f, "{peer} and this client do not come to terms over TLS: {reason:?}"),
    }
}

/// Why a certificate is not accepted, and which one.
#[derive(Clone, Debug)]
pub struct CertificateFault {
    reason: CertificateError,
    /// `None` if the verifier is one of the application's own.
    blame: Option<Blame>,
}

impl CertificateFault {
    pub(super) fn new(reason: CertificateError, blame: Option<Blame>) -> Self {
        CertificateFault { reason, blame }
    }

    /// The reason, as rustls gives it.
    #[must_use]
    pub fn reason(&self) -> &CertificateError {
        &self.reason
    }

    /// The name in the certificate: its common name, or what comes closest. `None` if it has none,
    /// and with a configuration of the application's own. The text is the server's; control
    /// characters in it are escaped.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.blame.as_ref()?.subject.as_deref()
    }

    /// The name of the certificate's issuer, with the rules of
    /// [`subject`](CertificateFault::subject).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.blame.as_ref()?.issuer.as_deref()
    }

    fn is_a_matter_of_time(&self) -> bool {
        use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
        matches!(self.reason, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    }

    /// Whether the certificate names itself as its issuer. False with a configuration of the
    /// application's own.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.blame.as_ref().is_some_and(|blame| blame.self_issued)
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("the server", f)
    }
}

impl CertificateFault {
    fn describe(&self, peer: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason == CertificateError::BadSignature {
            return self.bad_signature(peer, f);
        }
        match &self.blame {
            Some(blame) if blame.place > 0 => write!(f, "a certificate that {peer}'s depends on")?,
            _ => write!(f, "{peer}'s certificate")?,
        }
        if let Some(subject) = self.subject() {
            write!(f, " ({subject})")?;
        }
        self.because(f)
    }

    fn because(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            CertificateError::ExpiredContext { time, not_after } => {
                write!(f, " expired on {}; it is {} here", Date(*not_after), Date(*time))
            }
            CertificateError::Expired => f.write_str(" has expired"),
            CertificateError::NotValidYetContext { time, not_before } => {
                write!(f, " is valid from {} on; it is {} here", Date(*not_before), Date(*time))
            }
            CertificateError::NotValidYet => f.write_str(" is not valid yet"),
            CertificateError::UnknownIssuer => self.unknown_issuer(f),
            CertificateError::NotValidForNameContext { expected, presented } => {
                write!(f, " is not for {}, but for {}", expected.to_str(), Names(presented))
            }
            CertificateError::NotValidForName => f.write_str(" is not for this host"),
            CertificateError::Revoked => f.write_str(" was revoked by its issuer"),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                f.write_str(" is not one for servers (extended key usage)")
            }
            // An error of webpki, whose type is not part of rustls' interface.
            CertificateError::Other(reason) if reason.to_string() == "CaUsedAsEndEntity" => f.write_str(
                " is one of an authority (CA:TRUE), and a server's must not be: \
                 openssl req -x509 makes another one with -addext basicConstraints=CA:FALSE",
            ),
            _ if self.is_self_signed() => {
                write!(f, " is signed by itself, and not accepted: {}", self.reason)
            }
            reason => write!(f, " is not accepted: {reason}"),
        }
    }

    /// A signature of the handshake or of a certificate.
    fn bad_signature(&self, peer: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (said, name) = match &self.blame {
            Some(blame) if blame.in_handshake => {
                write!(f, "{peer} does not have the key of the certificate that it shows")?;
                ("", blame.subject.as_deref())
            }
            Some(blame) => {
                write!(f, "a signature in {peer}'s certificates does not fit the authority")?;
                (" that this client trusts by that name", blame.issuer.as_deref())
            }
            None => {
                write!(f, "a signature of {peer}'s handshake or certificates does not fit its key")?;
                ("", None)
            }
        };
        f.write_str(said)?;
        name.map_or(Ok(()), |name| write!(f, " ({name})"))
    }

    fn unknown_issuer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_self_signed() {
            return f.write_str(" is signed by itself, and not one that this client trusts");
        }
        match self.issuer() {
            Some(issuer) => write!(f, " is issued by {issuer}, which this client does not trust")?,
            None => f.write_str(" is issued by somebody whom this client does not trust")?,
        }
        if self.blame.as_ref().is_some_and(|blame| blame.shown == 1) {
            f.write_str("; no other certificate was shown, one in between may be missing")?;
        }
        Ok(())
    }
}

/// The names of a certificate, as rustls describes them: `DnsName("a.example")`.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let Names(names) = self;
        if names.is_empty() {
            return f.write_str("no host at all");
        }
        for (at, name) in names.iter().take(SHOWN).enumerate() {
            let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')')).unwrap_or(name);
            let bare = inner.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(inner);
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, printable(bare))?;
        }
        match names.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_about_certificates_and_terms_are_permanent_and_others_are_not() {
        for (alert, expected) in [
            (AlertDescription::CertificateRequired, true),
            (AlertDescription::UnknownCA, true),
            (AlertDescription::CertificateExpired, true),
            (AlertDescription::AccessDenied, true),
            (AlertDescription::HandshakeFailure, true),
            (AlertDescription::ProtocolVersion, true),
            (AlertDescription::NoApplicationProtocol, true),
            (AlertDescription::UnrecognisedName, true),
            (AlertDescription::BadRecordMac, false),
            (AlertDescription::DecodeError, false),
            (AlertDescription::DecryptError, false),
            (AlertDescription::UnexpectedMessage, false),
            (AlertDescription::IllegalParameter, false),
            (AlertDescription::InternalError, false),
            (AlertDescription::Unknown(200), false),
        ] {
            assert_eq!(TlsError::Alert(alert).is_permanent(), expected, "{alert:?}");
            assert_eq!(TlsError::Proxy(Box::new(TlsError::Alert(alert))).is_permanent(), expected);
        }
    }
}
