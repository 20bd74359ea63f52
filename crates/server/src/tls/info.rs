//! What a handler learns of a TLS session.

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion};
use std::fmt;

/// What a client and the server have agreed on in their TLS handshake, and who the client is.
///
/// From [`Incoming::tls`](crate::Incoming::tls), [`Socket::tls`](crate::Socket::tls) and
/// [`Connected::tls`](crate::Connected::tls).
#[derive(Clone, Copy)]
pub struct TlsInfo<'a> {
    agreed: &'a UnbufferedServerConnection,
    server_name: Option<&'a str>,
}

impl fmt::Debug for TlsInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("protocol_version", &self.protocol_version())
            .field("cipher_suite", &self.cipher_suite())
            .field("server_name", &self.server_name())
            .field("alpn", &self.alpn())
            .finish_non_exhaustive()
    }
}

impl<'a> TlsInfo<'a> {
    pub(crate) fn new(agreed: &'a UnbufferedServerConnection, server_name: Option<&'a str>) -> Self {
        TlsInfo { agreed, server_name }
    }

    /// The version of TLS: 1.2 or 1.3.
    #[must_use]
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.agreed.protocol_version().unwrap_or(ProtocolVersion::Unknown(0))
    }

    /// The cipher suite.
    #[must_use]
    pub fn cipher_suite(&self) -> CipherSuite {
        self.agreed.negotiated_cipher_suite().map_or(CipherSuite::Unknown(0), |suite| suite.suite())
    }

    /// The server name that the client has asked for (SNI, RFC 6066, section 3), in small letters.
    /// `None` if it sent none, as clients do that connect to an IP address.
    ///
    /// It need not be the one in `Host`.
    #[doc(alias = "SNI")]
    #[must_use]
    pub fn server_name(&self) -> Option<&'a str> {
        self.server_name
    }

    /// The application protocol that was agreed on (ALPN, RFC 7301): `http/1.1`. `None` if the
    /// client offered none.
    #[must_use]
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.agreed.alpn_protocol()
    }

    /// The client's certificate chain in DER, its own certificate first, as the client has sent it.
    /// It was checked against the CAs of the [`ServerTlsBuilder`](crate::ServerTlsBuilder).
    ///
    /// `None` if the client has sent none, which it may on endpoints that do not ask for one or
    /// where they are [optional](crate::ClientCertificates::Optional). In a resumed session it is
    /// the chain of the first one, and is not checked again.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&'a [CertificateDer<'static>]> {
        self.agreed.peer_certificates().filter(|chain| !chain.is_empty())
    }

    /// Whether an earlier session was resumed by a ticket.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.agreed.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}
