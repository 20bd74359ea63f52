//! Cryptography of glass: every record is readable and can be made by hand, every key, signature and
//! random number is the same each time. Only the transcript of a handshake is hashed as usual. The fuzz
//! target `tls` uses this file too.

use framewright_driver::tls::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct, Error,
    NamedGroup, ProtocolVersion, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion, Tls12CipherSuite, Tls13CipherSuite,
};
use std::sync::Arc;

/// The usual provider with one suite for each version, whose keys encrypt `limit` records, and on
/// request with what it encrypts with.
fn with_suites(
    limit: u64,
    tls13: Option<&'static dyn Tls13AeadAlgorithm>,
    tls12: Option<&'static dyn Tls12AeadAlgorithm>,
) -> CryptoProvider {
    let base = provider().expect("a provider");
    let suites = base.cipher_suites.iter().filter_map(|suite| match suite {
        SupportedCipherSuite::Tls13(suite) if suite.common.suite == CipherSuite::TLS13_AES_128_GCM_SHA256 => {
            let common = CipherSuiteCommon { confidentiality_limit: limit, ..suite.common };
            let aead_alg = tls13.unwrap_or(suite.aead_alg);
            let suite = Tls13CipherSuite { common, aead_alg, quic: None, ..**suite };
            Some(SupportedCipherSuite::Tls13(Box::leak(Box::new(suite))))
        }
        SupportedCipherSuite::Tls12(suite)
            if suite.common.suite == CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 =>
        {
            let common = CipherSuiteCommon { confidentiality_limit: limit, ..suite.common };
            let aead_alg = tls12.unwrap_or(suite.aead_alg);
            let suite = Tls12CipherSuite { common, aead_alg, ..**suite };
            Some(SupportedCipherSuite::Tls12(Box::leak(Box::new(suite))))
        }
        _ => None,
    });
    CryptoProvider { cipher_suites: suites.collect(), ..(*base).clone() }
}

/// The usual cryptography, whose keys encrypt `limit` records.
#[allow(dead_code, reason = "not for the fuzz target")]
pub(crate) fn limited(limit: u64) -> Arc<CryptoProvider> {
    Arc::new(with_suites(limit, None, None))
}

fn glass() -> Arc<CryptoProvider> {
    let provider = with_suites(u64::MAX, Some(&Glass), Some(&Glass));
    Arc::new(CryptoProvider { kx_groups: vec![&Glass], secure_random: &Glass, ..provider })
}

pub(crate) fn glass_server(version: &'static SupportedProtocolVersion) -> ServerConfig {
    ServerConfig::builder_with_provider(glass())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Glass))
}

pub(crate) fn glass_client(version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(glass())
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Glass))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// A record as it looks after the handshake. `padding` is for TLS 1.3 (RFC 8446, section 5.4).
#[allow(dead_code, reason = "not for the fuzz target")]
pub(crate) fn record(version: ProtocolVersion, kind: ContentType, payload: &[u8], padding: usize) -> Vec<u8> {
    let mut body = payload.to_vec();
    let outer = if version == ProtocolVersion::TLSv1_3 {
        body.push(kind.into());
        body.resize(body.len() + padding, 0);
        ContentType::ApplicationData
    } else {
        kind
    };
    body.extend_from_slice(&TAG);
    let mut record = vec![outer.into(), 3, 3];
    record.extend_from_slice(&u16::try_from(body.len()).expect("a record").to_be_bytes());
    record.append(&mut body);
    record
}

/// What each record ends with.
const TAG: [u8; 16] = *b"glass glass glas";

/// Everything that is made of glass.
#[derive(Debug)]
struct Glass;

impl SecureRandom for Glass {
    fn fill(&self, target: &mut [u8]) -> Result<(), GetRandomFailed> {
        target.fill(0xA5);
        Ok(())
    }
}

impl SupportedKxGroup for Glass {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Glass))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Glass {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Ok(SharedSecret::from(&[7; 32][..]))
    }

    fn pub_key(&self) -> &[u8] {
        &[9; 32]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ResolvesServerCert for Glass {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificate = CertificateDer::from(b"a certificate of glass".to_vec());
        Some(Arc::new(CertifiedKey::new(vec![certificate], Arc::new(Glass))))
    }
}

impl SigningKey for Glass {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Glass))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Glass {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![5; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl ServerCertVerifier for Glass {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl Tls13AeadAlgorithm for Glass {
    fn encrypter(&self, _: AeadKey, _: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Pane { is_tls13: true })
    }

    fn decrypter(&self, _: AeadKey, _: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Pane { is_tls13: true })
    }

    fn key_len(&self) -> usize {
        16
    }

    fn extract_keys(&self, _: AeadKey, _: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

impl Tls12AeadAlgorithm for Glass {
    fn encrypter(&self, _: AeadKey, _: &[u8], _: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Pane { is_tls13: false })
    }

    fn decrypter(&self, _: AeadKey, _: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Pane { is_tls13: false })
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape { enc_key_len: 16, fixed_iv_len: 4, explicit_nonce_len: 8 }
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// What encrypts nothing.
struct Pane {
    is_tls13: bool,
}

impl MessageEncrypter for Pane {
    fn encrypt(&mut self, msg: OutboundPlainMessage<'_>, _: u64) -> Result<OutboundOpaqueMessage, Error> {
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(msg.payload.len()));
        payload.extend_from_chunks(&msg.payload);
        if !self.is_tls13 {
            payload.extend_from_slice(&TAG);
            return Ok(OutboundOpaqueMessage::new(msg.typ, msg.version, payload));
        }
        payload.extend_from_slice(&[msg.typ.into()]);
        payload.extend_from_slice(&TAG);
        // The version of all records but the first (RFC 8446, section 5.1).
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + usize::from(self.is_tls13) + TAG.len()
    }
}

impl MessageDecrypter for Pane {
    fn decrypt<'a>(
        &mut self,
        mut msg: InboundOpaqueMessage<'a>,
        _: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let Some(len) = msg.payload.len().checked_sub(TAG.len()).filter(|len| msg.payload[*len..] == TAG)
        else {
            return Err(Error::DecryptError);
        };
        // As in place: what was encrypted is not there any more.
        msg.payload[len..].fill(0);
        msg.payload.truncate(len);
        if self.is_tls13 { msg.into_tls13_unpadded_message() } else { Ok(msg.into_plain_message()) }
    }
}
