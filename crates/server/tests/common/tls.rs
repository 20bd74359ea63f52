//! TLS clients of the tests, by rustls, and the certificates of both sides.

use crate::common::{Client, DEADLINE};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

/// A CA of the tests.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Ca { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for these DNS names and IP addresses, of a server and of a client.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, &KeyPair::generate().expect("a key"))
    }

    pub(crate) fn issue_for(&self, names: &[&str], key: &KeyPair) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(key, &self.issuer).expect("a certificate");
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("a certificate")
    }
}

/// A stream over TLS.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// How a client connects. Cloning shares its session tickets.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) config: ClientConfig,
    name: ServerName<'static>,
}

impl Connector {
    /// Connects to `localhost`, whose certificate has to be of this CA.
    pub(crate) fn new(ca: &Ca) -> Connector {
        Connector::with(ca, &[&rustls::version::TLS13, &rustls::version::TLS12], None)
    }

    /// With these versions of TLS, and this certificate of its own.
    pub(crate) fn with(
        ca: &Ca,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> Connector {
        Connector::by(provider(), ca, versions, own)
    }

    pub(crate) fn by(
        provider: CryptoProvider,
        ca: &Ca,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> Connector {
        Connector::of(provider, &ca.der, versions, own)
    }

    /// Trusts this certificate alone.
    pub(crate) fn trusting(certificate: &CertificateDer<'static>) -> Connector {
        Connector::of(provider(), certificate, &[&rustls::version::TLS13], None)
    }

    fn of(
        provider: CryptoProvider,
        root: &CertificateDer<'static>,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> Connector {
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).expect("a CA");
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions of the provider")
            .with_webpki_verifier(verifier.expect("a verifier"));
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![own.der()], key).expect("a certificate and its key")
            }
        };
        Connector { config, name: name("localhost") }
    }

    /// Asks for this name, or connects to this address without a name.
    pub(crate) fn named(mut self, server: &str) -> Connector {
        self.name = name(server);
        self
    }

    pub(crate) fn session(&self) -> ClientConnection {
        ClientConnection::new(Arc::new(self.config.clone()), self.name.clone()).expect("settings that fit")
    }

    /// Connects, and completes the handshake.
    #[track_caller]
    pub(crate) fn connect(&self, addr: SocketAddr) -> Client<TlsStream> {
        self.try_connect(addr).unwrap_or_else(|error| panic!("the handshake: {error}"))
    }

    pub(crate) fn try_connect(&self, addr: SocketAddr) -> io::Result<Client<TlsStream>> {
        self.over(Client::connect(addr).into_stream())
    }

    /// Completes the handshake over this socket.
    pub(crate) fn over(&self, stream: TcpStream) -> io::Result<Client<TlsStream>> {
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        let mut stream = StreamOwned::new(self.session(), stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.flush()?;
        Ok(Client::over(stream))
    }

    /// A client whose opening handshake for `path` was accepted.
    #[track_caller]
    pub(crate) fn open(&self, addr: SocketAddr, path: &str) -> Client<TlsStream> {
        let mut client = self.connect(addr);
        client.open(path);
        client
    }
}

/// Has a client accept every certificate, and returns those that it is shown.
pub(crate) fn trust_anybody(connector: &mut Connector) -> Receiver<CertificateDer<'static>> {
    let (tell, seen) = mpsc::channel();
    connector.config.dangerous().set_certificate_verifier(Arc::new(Anybody(tell, provider())));
    seen
}

#[derive(Debug)]
struct Anybody(Sender<CertificateDer<'static>>, CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let _ = self.0.send(certificate.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.1.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.1.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}

/// The provider of the tests' clients.
pub(crate) fn provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    return rustls::crypto::ring::default_provider();
}

fn name(server: &str) -> ServerName<'static> {
    ServerName::try_from(server.to_owned()).expect("a name")
}

impl Client<TlsStream> {
    /// The certificate that the server has shown.
    pub(crate) fn server_certificate(&self) -> CertificateDer<'static> {
        let chain = self.stream().conn.peer_certificates().expect("a certificate");
        chain[0].clone().into_owned()
    }
}
