//! Which certificates of servers are accepted. The verifier of rustls decides; what it refuses is
//! remembered here, so that the error can name the certificate.

use super::certificate::{self, Blame};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// What the verifier of this thread has refused last, until the opening handshake takes it.
    /// rustls calls the verifier within a read or a write of the session, and gives its error no
    /// room for more; an error of one's own would send the server a less exact alert.
    static REFUSED: Cell<Option<Blame>> = const { Cell::new(None) };
}

/// Takes the certificate that the last read or write of this thread has refused.
pub(super) fn take_blame() -> Option<Blame> {
    REFUSED.take()
}

/// A verifier that remembers which certificate it refused.
#[derive(Debug)]
pub(super) struct Explaining {
    inner: Arc<dyn ServerCertVerifier>,
}

impl Explaining {
    pub(super) fn new(inner: Arc<dyn ServerCertVerifier>) -> Self {
        Explaining { inner }
    }
}

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Err(Error::InvalidCertificate(reason)) = &verified {
            REFUSED.set(Some(certificate::blame(end_entity, intermediates, reason)));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        remember_handshake(cert, self.inner.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        remember_handshake(cert, self.inner.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

/// Remembers the certificate if its key has not signed the handshake.
fn remember_handshake(
    cert: &CertificateDer<'_>,
    verified: Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    if let Err(Error::InvalidCertificate(reason)) = &verified {
        REFUSED.set(Some(certificate::blame_handshake(cert, reason)));
    }
    verified
}

/// A verifier that accepts every certificate. The server still has to prove that it has the key of
/// the one that it shows.
#[derive(Debug)]
pub(super) struct AcceptAnything {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AcceptAnything {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        AcceptAnything { algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Returns a copy of `config` without the certificate of this end. Its resolver is replaced even if
/// it has no certificate now, since it may have one later.
pub(super) fn without_identity(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut others = ClientConfig::clone(config);
    others.client_auth_cert_resolver = Arc::new(Nobody);
    Arc::new(others)
}

/// No certificate of this end.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
