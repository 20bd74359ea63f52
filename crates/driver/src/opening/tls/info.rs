//! What the two ends of a session have agreed on.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// What client and server have agreed on in the TLS handshake.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of TLS.
    pub version: ProtocolVersion,
    /// The cipher suite.
    pub cipher_suite: CipherSuite,
    /// The protocol that the server has selected (ALPN; RFC 7301); `None` if it has selected none.
    pub alpn: Option<Vec<u8>>,
    /// The certificates that the server has shown, its own first. They were accepted; which of them
    /// led to a trusted authority is not told. A resumed session has those of the first one.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// Whether an earlier session was resumed (RFC 8446, section 2.2).
    pub resumed: bool,
}

impl TlsInfo {
    /// `None` before the handshake is complete.
    pub(super) fn of(session: &CommonState) -> Option<Self> {
        Some(TlsInfo {
            version: session.protocol_version()?,
            cipher_suite: session.negotiated_cipher_suite()?.suite(),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: session.peer_certificates().unwrap_or_default().to_vec(),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}
