//! From settings in files and memory to the configuration of rustls.

use super::config::{config, platform_roots, verifier};
use super::error::TlsError;
use super::settings::ClientTls;
use super::trust::{AcceptAnything, Explaining};
use crate::tls::provider;
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A builder of [`ClientTls`], from [`ClientTls::builder`]. Nothing is read before
/// [`build`](ClientTlsBuilder::build).
///
/// ```no_run
/// # use framewright_driver::opening::{ClientTls, TlsError};
/// // Trusts an authority of one's own and no other, and shows a certificate to the server.
/// let tls = ClientTls::builder()
///     .only_ca_file("ca.pem")
///     .identity_files("client.pem", "client.key")
///     .build()?;
/// // It goes to the option `tls` of a client.
/// # let _ = tls;
/// # Ok::<(), TlsError>(())
/// ```
#[derive(Default)]
pub struct ClientTlsBuilder {
    authorities: Vec<Pem>,
    without_platform: bool,
    /// The certificate chain, and its key.
    identity: Option<(Pem, Pem)>,
    accepts_anything: bool,
}

/// Text in the PEM format (RFC 7468).
enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

impl ClientTls {
    /// Returns a builder of settings that begins with the default: trust in the platform's
    /// authorities, and no certificate of this end.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder::default()
    }
}

impl ClientTlsBuilder {
    /// Trusts the authorities whose certificates are in a PEM file, besides those of the platform
    /// and of other calls.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities.push(Pem::File(path.into()));
        self
    }

    /// Trusts the authorities whose certificates are in PEM text, besides those of the platform and
    /// of other calls.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Pem::Text(pem.into()));
        self
    }

    /// Trusts the authorities of a PEM file as [`ca_file`](Self::ca_file) does, and those of the
    /// platform no more.
    #[must_use]
    pub fn only_ca_file(self, path: impl Into<PathBuf>) -> Self {
        self.without_platform_roots().ca_file(path)
    }

    /// Trusts the authorities of PEM text as [`ca_pem`](Self::ca_pem) does, and those of the
    /// platform no more.
    #[must_use]
    pub fn only_ca_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        self.without_platform_roots().ca_pem(pem)
    }

    /// Does not trust the authorities of the platform.
    #[must_use]
    pub fn without_platform_roots(mut self) -> Self {
        self.without_platform = true;
        self
    }

    /// Shows a certificate to servers that ask for one (RFC 8446, section 4.4.2): a PEM file with
    /// the chain, the certificate of this end first, and one with its private key. Both may be the
    /// same file.
    #[must_use]
    pub fn identity_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// Shows a certificate to servers that ask for one, as
    /// [`identity_files`](Self::identity_files) does, from PEM text.
    #[must_use]
    pub fn identity_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::Text(chain.into()), Pem::Text(key.into())));
        self
    }

    /// **Accepts any certificate of any server: whoever can change packets on the way reads and
    /// alters everything.** For tests, and for devices whose certificates nobody can check; trust
    /// in a certificate of one's own ([`only_ca_file`](Self::only_ca_file)) is nearly always
    /// possible instead.
    ///
    /// That goes for every connection with these settings: to the server, to an `https:` proxy,
    /// whose credentials it gives away, and to each server to which a redirect leads. A proxy gets
    /// stricter settings with [`Proxy::with_tls`](crate::opening::Proxy::with_tls).
    #[must_use]
    pub fn danger_accept_invalid_certs(mut self) -> Self {
        self.accepts_anything = true;
        self
    }

    /// Reads the files, and makes the settings. Reads the authorities of the platform too, unless
    /// they are not wanted: some 4 ms on Linux, which the default settings take out of the first
    /// connection that needs them.
    ///
    /// # Errors
    /// - [`TlsError::File`], [`TlsError::Pem`]: certificates or a key cannot be read.
    /// - [`TlsError::Identity`]: rustls does not take the certificate or the key of this end.
    /// - [`TlsError::NoAuthorities`]: nobody is trusted. The platform need not have authorities if
    ///   others are given.
    /// - [`TlsError::NoProvider`]: neither has the application installed one, nor is one compiled
    ///   in.
    pub fn build(self) -> Result<ClientTls, TlsError> {
        let provider = provider().map_err(|_| TlsError::NoProvider)?;
        let verifier: Arc<dyn ServerCertVerifier> = if self.accepts_anything {
            Arc::new(Explaining::new(Arc::new(AcceptAnything::new(&provider))))
        } else {
            verifier(&provider, self.roots()?)?
        };
        let identity = match self.identity {
            None => None,
            Some((chain, key)) => Some((chain.certificates()?, key.private_key()?)),
        };
        Ok(ClientTls::from(Arc::new(config(provider, verifier, identity)?)))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = if self.without_platform {
            RootCertStore::empty()
        } else {
            match platform_roots() {
                // Those that are given are enough, in a container without the others for example.
                Err(TlsError::NoAuthorities(_)) if !self.authorities.is_empty() => RootCertStore::empty(),
                roots => roots?,
            }
        };
        for pem in &self.authorities {
            for (at, certificate) in pem.certificates()?.into_iter().enumerate() {
                roots.add(certificate).map_err(|error| {
                    let why = match error {
                        rustls::Error::InvalidCertificate(reason) => reason.to_string(),
                        error => error.to_string(),
                    };
                    pem.fault(format!("certificate {} in it cannot be an authority: {why}", at + 1))
                })?;
            }
        }
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities("no certificate was given".to_owned()));
        }
        Ok(roots)
    }
}

impl fmt::Debug for ClientTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsBuilder").finish_non_exhaustive() // it may hold a key
    }
}

impl Pem {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = match self {
            Pem::File(path) => {
                CertificateDer::pem_file_iter(path).map_err(|error| self.unreadable(error))?.collect()
            }
            Pem::Text(text) => CertificateDer::pem_slice_iter(text).collect(),
        };
        let found = found.map_err(|error| self.unreadable(error))?;
        if found.is_empty() {
            return Err(self.fault("no certificate (-----BEGIN CERTIFICATE-----) is in it".to_owned()));
        }
        Ok(found)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let found = match self {
            Pem::File(path) => PrivateKeyDer::from_pem_file(path),
            Pem::Text(text) => PrivateKeyDer::from_pem_slice(text),
        };
        found.map_err(|error| match error {
            pem::Error::NoItemsFound => self.fault(
                "no private key that is not encrypted (-----BEGIN PRIVATE KEY-----) is in it".to_owned(),
            ),
            error => self.unreadable(error),
        })
    }

    fn unreadable(&self, error: pem::Error) -> TlsError {
        match (self, error) {
            (Pem::File(path), pem::Error::Io(error)) => TlsError::File { path: path.clone(), error },
            (_, error) => self.fault(broken_rule(&error).to_owned()),
        }
    }

    fn fault(&self, fault: String) -> TlsError {
        let path = match self {
            Pem::File(path) => Some(path.clone()),
            Pem::Text(_) => None,
        };
        TlsError::Pem { path, fault }
    }
}

/// The rule of PEM (RFC 7468) that a text breaks. The parser's own words are not repeated: they hold
/// parts of the text, which may be a key.
fn broken_rule(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => {
            "a BEGIN line does not end with five hyphens (are the line breaks missing?)"
        }
        pem::Error::Base64Decode(_) => "a section is not in base64",
        _ => "it breaks a rule of RFC 7468",
    }
}

#[cfg(all(test, not(any(feature = "aws-lc-rs", feature = "ring"))))]
mod tests {
    use super::super::config::shared;
    use super::*;

    #[test]
    fn without_a_provider_the_error_says_what_to_do() {
        let errors = [shared().unwrap_err(), ClientTls::builder().build().unwrap_err()];
        for error in errors {
            assert!(matches!(error, TlsError::NoProvider), "{error}");
            assert!(
                error.to_string().starts_with("no provider of cryptography: turn on the feature aws-lc-rs")
            );
        }
    }
}
