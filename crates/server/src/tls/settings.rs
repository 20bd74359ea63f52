//! The TLS settings of an endpoint.

use super::error::ServerTlsError;
use super::pem::{Sections, Source};
use super::resolver::{ByName, Noting};
use crate::guard::lock;
use framewright_driver::tls::{Tls, provider};
use framewright_driver::{Io, Transport};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use std::fmt;
use std::io::IoSlice;
use std::net::Shutdown;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The TLS settings of an [`Endpoint`](crate::Endpoint): certificates, and whether clients need
/// one. Cloning is cheap.
///
/// ```no_run
/// use framewright_server::{Endpoint, Server, ServerTls};
///
/// let tls = ServerTls::from_pem_files("chain.pem", "key.pem")?;
/// let builder = Server::builder().endpoint(Endpoint::tcp("0.0.0.0:443").with_tls(tls));
/// # Ok::<(), framewright_server::ServerTlsError>(())
/// ```
///
/// TLS 1.2 and 1.3 are spoken, `http/1.1` is agreed on with a client that offers protocols (ALPN,
/// RFC 7301), and clients that come back resume their session by a ticket. The keys of tickets are
/// made with each value of this type, and change every six hours. So after a restart, and after
/// [`ServerHandle::set_tls`](crate::ServerHandle::set_tls), a client makes a full handshake once
/// more; nothing fails. Data in the first flight (0-RTT) is not accepted, since it can be replayed.
///
/// For anything else make a [`rustls::ServerConfig`] and convert it: `ServerTls::from(config)`. It
/// is used as it is. It must not offer `h2`, which this server does not speak, nor accept early
/// data.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    /// Takes settings that are made with rustls.
    ///
    /// Each call makes settings of its own, also from one `Arc`: for endpoints that are to share
    /// them, clone the result (see [`ServerHandle::set_tls`](crate::ServerHandle::set_tls)).
    fn from(config: Arc<ServerConfig>) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        config.cert_resolver = Arc::new(Noting(config.cert_resolver));
        ServerTls { config: Arc::new(config) }
    }
}

impl From<ServerConfig> for ServerTls {
    /// Takes settings that are made with rustls.
    fn from(config: ServerConfig) -> Self {
        ServerTls::from(Arc::new(config))
    }
}

impl ServerTls {
    /// Begins with no certificate.
    #[must_use]
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder::default()
    }

    /// Reads a certificate chain and its private key from PEM files. Short for
    /// [`ServerTlsBuilder::certificate_files`] alone.
    ///
    /// # Errors
    /// Those of [`ServerTlsBuilder::build`].
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, ServerTlsError> {
        ServerTls::builder().certificate_files(chain, key).build()
    }

    /// The settings of new sessions.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Whether a session can be made with the settings.
    pub(crate) fn check(&self) -> Result<(), rustls::Error> {
        Tls::server(Arc::clone(&self.config), Nothing).map(drop)
    }
}

/// A transport that nothing goes over.
struct Nothing;

impl Transport for Nothing {
    fn read(&mut self, _: &mut [u8]) -> Io {
        Io::Lost
    }

    fn write(&mut self, _: &[IoSlice<'_>]) -> Io {
        Io::Lost
    }

    fn shutdown(&mut self, _: Shutdown) {}
}

/// The settings of new sessions, of one endpoint or of several that were given the same
/// [`ServerTls`].
#[derive(Debug)]
pub(crate) struct TlsSettings(Mutex<Arc<ServerConfig>>);

impl TlsSettings {
    pub(crate) fn new(tls: &ServerTls) -> Self {
        TlsSettings(Mutex::new(Arc::clone(&tls.config)))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&lock(&self.0))
    }

    pub(crate) fn set(&self, tls: &ServerTls) {
        let before = std::mem::replace(&mut *lock(&self.0), Arc::clone(&tls.config));
        // Settings may contain values of the application, which are dropped outside of the lock.
        drop(before);
    }
}

/// Collects the certificates of a [`ServerTls`], and the CAs of its clients.
#[derive(Clone, Default)]
pub struct ServerTlsBuilder {
    /// Chains and keys.
    certificates: Vec<(Source, Source)>,
    client_cas: Vec<Source>,
    clients: Option<ClientCertificates>,
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsBuilder")
            .field("certificates", &self.certificates.len())
            .field("client_cas", &self.client_cas.len())
            .field("clients", &self.clients)
            .finish()
    }
}

/// Whether clients need a certificate of one of the CAs that
/// [`ServerTlsBuilder::client_ca_file`] names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// A client without one does not get through the handshake.
    #[default]
    Required,
    /// A client may have none: the handler decides, by
    /// [`TlsInfo::peer_certificates`](crate::TlsInfo::peer_certificates). One of another CA does
    /// not get through.
    Optional,
}

impl ServerTlsBuilder {
    /// Adds a certificate from PEM files: the chain, with the server's own certificate first and
    /// without the root, and the private key (PKCS #8, PKCS #1 or SEC 1, not encrypted). One file
    /// may hold both.
    ///
    /// May be called several times. A client gets the certificate with the name that it sends
    /// (SNI): one with exactly this DNS name, else one with a wildcard for its first label
    /// (`*.example.com`). Other clients get the first certificate that was added. If a name has
    /// several certificates, such as one with an ECDSA and one with an RSA key, a client gets the
    /// first one whose key it supports.
    #[must_use]
    pub fn certificate_files(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let (chain, key) = (chain.as_ref().to_owned(), key.as_ref().to_owned());
        self.certificates.push((Source::File(chain), Source::File(key)));
        self
    }

    /// Adds a certificate from PEM text in memory, otherwise like
    /// [`certificate_files`](ServerTlsBuilder::certificate_files).
    #[must_use]
    pub fn certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let chain = Source::Memory("the certificate chain in memory", chain.into());
        self.certificates.push((chain, Source::Memory("the private key in memory", key.into())));
        self
    }

    /// Asks clients for a certificate, and accepts those of the CAs in a PEM file. May be called
    /// several times. Without [`client_certificates`](ServerTlsBuilder::client_certificates) they
    /// are required.
    #[doc(alias = "mTLS")]
    #[must_use]
    pub fn client_ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.client_cas.push(Source::File(path.as_ref().to_owned()));
        self
    }

    /// Asks clients for a certificate, and accepts those of the CAs in PEM text, otherwise like
    /// [`client_ca_file`](ServerTlsBuilder::client_ca_file).
    #[must_use]
    pub fn client_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_cas.push(Source::Memory("the client CA in memory", pem.into()));
        self
    }

    /// Sets whether clients need a certificate. Default [`ClientCertificates::Required`], where a
    /// CA is named; otherwise clients are not asked for one.
    #[must_use]
    pub fn client_certificates(mut self, clients: ClientCertificates) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Reads the files, and makes the settings.
    ///
    /// The provider of cryptography is the one that the application has installed
    /// (`rustls::crypto::CryptoProvider::install_default`), else the one that is compiled in:
    /// aws-lc-rs before ring.
    ///
    /// # Errors
    /// A [`ServerTlsError`], which says what cannot be used and where it stands.
    pub fn build(self) -> Result<ServerTls, ServerTlsError> {
        let provider = provider().map_err(|_| ServerTlsError::NoProvider)?;
        if self.certificates.is_empty() {
            return Err(ServerTlsError::NoCertificate);
        }
        let load = |(chain, key): &(Source, Source)| certificate(&chain.load()?, &key.load()?, &provider);
        let certificates = self.certificates.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(ServerTlsError::Provider)?;
        let builder = match self.verifier(&provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certificates)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if let Some(ticketer) = ticketer().map_err(ServerTlsError::Provider)? {
            config.ticketer = ticketer;
        }
        Ok(ServerTls::from(config))
    }

    /// What checks the certificates of clients; `None` if they are asked for none.
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, ServerTlsError> {
        if self.client_cas.is_empty() {
            return self.clients.map_or(Ok(None), |_| Err(ServerTlsError::NoClientCa));
        }
        let mut roots = RootCertStore::empty();
        for source in &self.client_cas {
            let sections = source.load()?;
            for (number, certificate) in sections.certificates()? {
                roots.add(certificate).map_err(|error| unusable(&sections, number, error))?;
            }
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match self.clients.unwrap_or_default() {
            ClientCertificates::Required => builder,
            ClientCertificates::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| ServerTlsError::ClientVerifier(error.to_string()))?;
        Ok(Some(verifier))
    }
}

/// A certificate with its key, and its DNS names in small letters.
fn certificate(
    chain: &Sections,
    key: &Sections,
    provider: &CryptoProvider,
) -> Result<(Arc<CertifiedKey>, Vec<Box<str>>), ServerTlsError> {
    let certificates = chain.certificates()?;
    let (number, der) = key.key()?;
    let loaded = provider.key_provider.load_private_key(der);
    let private_key = loaded.map_err(|error| unusable(key, number, error))?;
    let of = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&private_key)).keys_match()
    };
    match of(&certificates[0].1) {
        // A key that does not tell its public part, such as one in hardware.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let other = certificates[1..].iter().find(|(_, certificate)| of(certificate).is_ok());
            return Err(ServerTlsError::KeyMismatch {
                key: key.place.clone(),
                chain: chain.place.clone(),
                belongs_to: other.map(|(number, _)| *number),
            });
        }
        Err(error) => return Err(unusable(chain, certificates[0].0, error)),
    }
    let names = names(&certificates[0].1);
    let chain = certificates.into_iter().map(|(_, certificate)| certificate).collect();
    Ok((Arc::new(CertifiedKey::new(chain, private_key)), names))
}

/// The DNS names of a certificate, in small letters.
fn names(certificate: &CertificateDer<'_>) -> Vec<Box<str>> {
    match webpki::EndEntityCert::try_from(certificate) {
        Ok(parsed) => parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect(),
        // It was parsed before, for its key.
        Err(_) => Vec::new(),
    }
}

fn unusable(sections: &Sections, number: usize, error: rustls::Error) -> ServerTlsError {
    ServerTlsError::Unusable { place: sections.place.clone(), section: sections.name(number), error }
}

/// Makes and opens session tickets (RFC 8446, section 4.6.1; RFC 5077), with keys of its own;
/// `None` without a provider that is compiled in. Sessions are then resumed from a store of 256.
fn ticketer() -> Result<Option<Arc<dyn ProducesTickets>>, rustls::Error> {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::Ticketer::new().map(Some);
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return rustls::crypto::ring::Ticketer::new().map(Some);
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    Ok(None)
}
