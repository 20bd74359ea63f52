//! Certificates that a test makes, and servers that show them.

use crate::server::Server;
use framewright_tokio::ClientTls;
use framewright_tokio::rustls::RootCertStore;
use framewright_tokio::rustls::crypto::CryptoProvider;
use framewright_tokio::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use framewright_tokio::rustls::server::{ServerConfig, WebPkiClientVerifier};
use framewright_tokio::rustls::version::{TLS12, TLS13};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// One that issues certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

fn provider() -> Arc<CryptoProvider> {
    framewright_driver::tls::provider().expect("one is compiled in")
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    pub(crate) fn issue(&self, hosts: &[&str]) -> Identity {
        self.issue_with(hosts, |_| {})
    }

    /// Issues a certificate for these hosts, with parameters that are changed first.
    pub(crate) fn issue_with(&self, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<_> = hosts.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, hosts[0]);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), key: key.serialize_der() }
    }

    /// The settings of a client that trusts this authority and no other.
    pub(crate) fn trusted(&self) -> ClientTls {
        ClientTls::builder().only_ca_pem(self.issuer.pem()).build().expect("settings")
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        Arc::new(roots)
    }
}

impl Identity {
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server_with(None, false, b"http/1.1")
    }

    /// A server that requires certificates of `clients`, if given, speaks TLS 1.2 alone if `old`, and
    /// the protocol `alpn` within.
    pub(crate) fn server_with(
        &self,
        clients: Option<&Authority>,
        old: bool,
        alpn: &[u8],
    ) -> Arc<ServerConfig> {
        let versions = if old { &[&TLS12][..] } else { &[&TLS12, &TLS13][..] };
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(versions).expect("versions of the provider");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider());
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = builder.with_single_cert(vec![self.certificate.clone()], key).expect("a key");
        config.alpn_protocols = vec![alpn.to_vec()];
        Arc::new(config)
    }
}

/// A server that plays `script` on each connection after the TLS handshake.
pub(crate) async fn secured<F, P>(config: Arc<ServerConfig>, script: F) -> Server
where
    F: Fn(TlsStream<TcpStream>) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = io::Result<()>> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    Server::playing(move |stream| {
        let (acceptor, script) = (acceptor.clone(), script.clone());
        async move { script(acceptor.accept(stream).await?).await }
    })
    .await
}
