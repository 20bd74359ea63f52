//! Certificates that a test makes, and servers and clients that use them.

use framewright_client::rustls::crypto::CryptoProvider;
use framewright_client::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use framewright_client::rustls::server::WebPkiClientVerifier;
use framewright_client::rustls::sign::CertifiedKey;
use framewright_client::rustls::version::{TLS12, TLS13};
use framewright_client::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use framewright_client::{ClientTls, Options};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use std::net::SocketAddr;
use std::sync::Arc;

/// The versions of TLS, which tests go through.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// One that issues certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates up to one that a client trusts, that one left out.
    chain: Vec<CertificateDer<'static>>,
}

/// A certificate with its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    framewright_driver::tls::provider().expect("one is compiled in")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let issuer = CertifiedIssuer::self_signed(authority_params(name), key()).expect("a certificate");
        Authority { issuer, chain: Vec::new() }
    }

    /// One that is trusted because of this one.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        self.intermediate_with(name, |_| {})
    }

    /// One that is trusted because of this one, with parameters that are changed first.
    pub(crate) fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Authority {
        let mut params = authority_params(name);
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, key(), &self.issuer).expect("a certificate");
        let mut chain = self.chain.clone();
        chain.insert(0, issuer.der().clone());
        Authority { issuer, chain }
    }

    /// Its own certificate, as text.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for these hosts.
    pub(crate) fn issue(&self, hosts: &[&str]) -> Identity {
        self.issue_with(hosts, |_| {})
    }

    /// Issues a certificate for these hosts, with parameters that are changed first.
    pub(crate) fn issue_with(&self, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = key();
        let mut params = params(hosts);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let mut chain = self.chain.clone();
        chain.insert(0, certificate.der().clone());
        Identity { chain, key: key.serialize_der() }
    }

    /// The settings of a client that trusts this authority and no other.
    pub(crate) fn trusted(&self) -> ClientTls {
        ClientTls::builder().only_ca_pem(self.pem()).build().expect("settings")
    }

    /// The certificates that a verifier trusts.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        Arc::new(roots)
    }
}

fn params(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().copied().map(str::to_owned).collect();
    let mut params = CertificateParams::new(hosts.clone()).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "The Tests");
    params.distinguished_name.push(DnType::CommonName, hosts.first().map_or("nobody", String::as_str));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl Identity {
    /// One that nobody has issued.
    pub(crate) fn self_signed(hosts: &[&str]) -> Identity {
        Identity::self_signed_with(hosts, |_| {})
    }

    /// One that nobody has issued, with parameters that are changed first.
    pub(crate) fn self_signed_with(hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = key();
        let mut params = params(hosts);
        change(&mut params);
        let certificate = params.self_signed(&key).expect("a certificate");
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// Keeps the first certificate of the chain alone.
    pub(crate) fn alone(mut self) -> Identity {
        self.chain.truncate(1);
        self
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The chain with its key, as rustls signs with it.
    pub(crate) fn certified_key(&self) -> CertifiedKey {
        let key = provider().key_provider.load_private_key(self.key()).expect("a key");
        CertifiedKey::new(self.chain(), key)
    }

    /// The chain, as text.
    pub(crate) fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    pub(crate) fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// A server with this certificate, which speaks every version.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server_with(&VERSIONS, None)
    }

    /// A server with this certificate, which speaks these versions, and requires certificates of an
    /// authority if one is given.
    pub(crate) fn server_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(versions).expect("versions that the provider has");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider());
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let mut config = builder.with_single_cert(self.chain(), self.key()).expect("a key that fits");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64(der).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("ASCII"));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in octets.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = if at <= three.len() { LETTERS[bits >> (18 - 6 * at) & 63] } else { b'=' };
            text.push(char::from(letter));
        }
    }
    text
}

/// The default settings for a server at `addr`, whatever its name, but for compression, which is
/// not offered.
pub(crate) fn secure(addr: SocketAddr, tls: ClientTls) -> Options {
    Options { addresses: Some(vec![addr]), tls, ..super::plain() }
}

/// A request for the root of `localhost` at the port of `addr`.
#[track_caller]
pub(crate) fn secure_request(addr: SocketAddr) -> framewright_client::ClientRequest {
    format!("wss://localhost:{}/", addr.port()).parse().expect("a URI")
}
