//! The authorities that the platform trusts, and the configuration of rustls.

use super::error::TlsError;
use super::trust::Explaining;
use crate::tls::provider;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, Mutex, PoisonError};

/// The configuration of the default settings, which all connections of the process share.
pub(super) fn shared() -> Result<Arc<ClientConfig>, TlsError> {
    static SHARED: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);
    // Held while the authorities are read: others that need them wait, instead of reading too.
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = &*shared {
        return Ok(Arc::clone(config));
    }
    let provider = provider().map_err(|_| TlsError::NoProvider)?;
    let verifier = verifier(&provider, platform_roots()?)?;
    let config = Arc::new(config(provider, verifier, None)?);
    Ok(Arc::clone(shared.insert(config)))
}

/// Reads the authorities that the platform trusts.
pub(super) fn platform_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A platform's store may hold certificates that no verifier of today takes.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoAuthorities(if errors.is_empty() {
            "the platform has none: install its certificates (ca-certificates), or set SSL_CERT_FILE"
                .to_owned()
        } else {
            errors.join("; ")
        }));
    }
    Ok(roots)
}

/// The verifier that trusts `roots`, and remembers what it refused.
pub(super) fn verifier(
    provider: &Arc<CryptoProvider>,
    roots: RootCertStore,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    let verifier = verifier.map_err(|error| TlsError::NoAuthorities(error.to_string()))?;
    Ok(Arc::new(Explaining::new(verifier)))
}

/// The configuration with a verifier, and the certificate of this end.
pub(super) fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?,
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

/// The protocol in which a WebSocket connection begins (RFC 7301, section 6; RFC 6455, section 4).
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";
