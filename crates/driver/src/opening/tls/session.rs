//! What every session of a client begins with, and what its errors say, whoever runs it: the
//! driver's [`Tls`](crate::tls::Tls), or another user of rustls.

use super::config::HTTP_1_1;
use super::error::{CertificateFault, TlsError};
use super::info::TlsInfo;
use super::settings::{ClientTls, Peer, With};
use super::trust;
use framewright::handshake::WsUri;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, CommonState, InvalidMessage};
use std::sync::Arc;

/// A session that is to be started.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a driver takes it apart")]
pub struct Session {
    /// The configuration: whom to trust, and how to identify this end.
    pub config: Arc<ClientConfig>,
    /// The name that the certificate of the other end has to be for.
    pub name: ServerName<'static>,
    /// Who the other end is.
    pub peer: Peer,
}

impl Session {
    /// A session with the host of `uri`; `None` if the settings leave TLS to the stream.
    ///
    /// # Errors
    /// If there is no configuration for it, or if no certificate can be for the host.
    pub(in super::super) fn with(
        tls: &ClientTls,
        with: With,
        peer: Peer,
        uri: &WsUri,
    ) -> Result<Option<Self>, TlsError> {
        let Some(config) = tls.config(with)? else { return Ok(None) };
        Ok(Some(Session { config, name: server_name(uri)?, peer }))
    }
}

/// The name that the certificate of a host has to be for.
///
/// # Errors
/// [`TlsError::Name`] if no certificate can be for it.
//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# Clients MUST use the Server Name Indication extension in the TLS
//# handshake [RFC6066].
// rustls sends it, unless the host is an address, which that extension does not allow.
fn server_name(uri: &WsUri) -> Result<ServerName<'static>, TlsError> {
    match uri.ip() {
        Some(ip) => Ok(ServerName::IpAddress(ip.into())),
        None => {
            ServerName::try_from(uri.host().to_owned()).map_err(|_| TlsError::Name(uri.host().to_owned()))
        }
    }
}

/// Checks, once a handshake is complete, the protocol that the other end has selected (ALPN).
///
/// # Errors
/// [`TlsError::Alpn`] if that is not HTTP/1.1.
pub fn check_protocol(session: &CommonState) -> Result<(), TlsError> {
    match session.alpn_protocol() {
        Some(protocol) if protocol != HTTP_1_1 => Err(TlsError::Alpn(protocol.to_vec())),
        _ => Ok(()),
    }
}

/// What the two ends have agreed on; `None` before the handshake is complete.
#[must_use]
pub fn session_info(session: &CommonState) -> Option<TlsInfo> {
    TlsInfo::of(session)
}

/// Converts an error of rustls. To be called on the thread that has got it, right after the read or
/// write that failed: the certificate that was refused is remembered there.
#[must_use]
pub fn tls_error(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            TlsError::Certificate(Box::new(CertificateFault::new(reason, trust::take_blame())))
        }
        rustls::Error::AlertReceived(alert) => TlsError::Alert(alert),
        error => TlsError::Protocol(error),
    }
}

/// Converts an error of rustls as [`tls_error`] does, for a handshake that has received nothing but
/// `first` and what follows it: the other end need not speak TLS at all.
#[must_use]
pub fn handshake_error(error: rustls::Error, first: &[u8]) -> TlsError {
    let is_type = matches!(error, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType));
    if is_type && !matches!(first.first(), None | Some(20..=24)) {
        return TlsError::NotTls { is_http: crate::tls::is_http(first) };
    }
    tls_error(error)
}
