//! The TLS settings of a client (RFC 6455, section 10.6; RFC 8446): whom to trust, and how to
//! identify this end. The TLS of a connection itself is [`framewright_driver::tls`], and where it
//! begins is the opening handshake's business.
//!
//! | file | topic |
//! |---|---|
//! | `builder` | settings from files and memory, to a `rustls::ClientConfig` |
//! | `trust` | the verifiers: one that remembers what it refused, and one that refuses nothing |
//! | `certificate` | what an error tells of a certificate: names, dates |
//! | `error` | why there is no TLS |
//! | `info` | what the two ends have agreed on |
//! | `layer` | one session over a stream of the client |
//!
//! A build without the feature `tls` has [`ClientTls`] and an error without values.

#[cfg(feature = "tls")]
mod builder;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
pub(crate) mod error;
#[cfg(feature = "tls")]
mod info;
#[cfg(feature = "tls")]
pub(crate) mod layer;
#[cfg(feature = "tls")]
mod trust;

#[cfg(feature = "tls")]
pub use builder::ClientTlsBuilder;
#[cfg(feature = "tls")]
pub use error::{CertificateFault, TlsError};
#[cfg(feature = "tls")]
pub use info::TlsInfo;

use crate::ConnectError;
use crate::stream::ClientStream;
use framewright::handshake::WsUri;
#[cfg(feature = "tls")]
use rustls::ClientConfig;
use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;

/// The TLS settings of a client, for `wss:` URIs and for `https:` proxies.
///
/// The default trusts the certificate authorities of the platform, and identifies this end by
/// nothing. It is made once in the process, when a connection first needs it, and shared by all:
/// the authorities are in memory once, and a later connection to a server resumes the session of an
/// earlier one (RFC 8446, section 2.2). Sharing holds for clones of other settings too: build them
/// once, and clone them.
///
/// | wanted | with the feature `tls` |
/// |---|---|
/// | the platform's authorities | `ClientTls::default()` |
/// | another authority, a client certificate | `ClientTls::builder()` |
/// | anything else that rustls can do | `ClientTls::from(Arc::new(client_config))` |
/// | TLS is done by the stream of `Client::over` | [`ClientTls::of_the_stream`] |
///
/// The certificate of this end is for the origin of the request: it is shown neither to an `https:`
/// proxy, nor to another origin to which a redirect leads. A proxy has settings of its own with
/// [`Proxy::with_tls`](crate::Proxy::with_tls).
///
/// Without the feature `tls` a `wss:` URI is refused
/// ([`ConnectError::TlsNotSupported`](crate::ConnectError::TlsNotSupported)).
#[derive(Clone, Default)]
pub struct ClientTls {
    kind: Kind,
}

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Platform,
    OfTheStream,
    #[cfg(feature = "tls")]
    Config(Arc<Configs>),
}

/// The settings for an origin, and those for others.
#[cfg(feature = "tls")]
struct Configs {
    origin: Arc<ClientConfig>,
    /// The same without the certificate of this end.
    others: Arc<ClientConfig>,
}

impl ClientTls {
    /// No TLS of the client's own: the stream that the application brings to `Client::over` does it
    /// already. Nothing else can use these settings:
    /// [`ConnectError::TlsNotSupported`](crate::ConnectError::TlsNotSupported).
    #[must_use]
    pub fn of_the_stream() -> Self {
        ClientTls { kind: Kind::OfTheStream }
    }

    pub(crate) fn is_of_the_stream(&self) -> bool {
        matches!(self.kind, Kind::OfTheStream)
    }
}

#[cfg(feature = "tls")]
impl ClientTls {
    /// Returns a builder of settings that begins with the default: trust in the platform's
    /// authorities, and no certificate of this end.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder::default()
    }

    /// The configuration for a session.
    ///
    /// # Errors
    /// If the stream does TLS; if the platform's authorities cannot be read, or there is no
    /// provider of cryptography.
    fn config(&self, with: With) -> Result<Arc<ClientConfig>, ConnectError> {
        match &self.kind {
            Kind::Platform => builder::shared().map_err(ConnectError::Tls),
            Kind::OfTheStream => Err(ConnectError::TlsNotSupported),
            Kind::Config(configs) => Ok(Arc::clone(match with {
                With::Origin => &configs.origin,
                With::Others => &configs.others,
            })),
        }
    }

    /// Checks that a session with the host of `uri` can be started.
    ///
    /// # Errors
    /// What [`secure`](ClientTls::secure) would return.
    pub(crate) fn check(&self, with: With, uri: &WsUri) -> Result<(), ConnectError> {
        self.config(with)?;
        layer::server_name(uri)?;
        Ok(())
    }

    /// Starts a session with the host of `uri` over `stream`. Nothing is sent before the first read
    /// or write.
    ///
    /// # Errors
    /// If there is no configuration for it, or if no certificate can be for the host.
    pub(crate) fn secure(
        &self,
        with: With,
        peer: Peer,
        uri: &WsUri,
        stream: ClientStream,
    ) -> Result<ClientStream, ConnectError> {
        let layer = layer::Layer::start(self.config(with)?, uri, stream, peer)?;
        Ok(ClientStream::Tls(Box::new(layer)))
    }
}

/// There is no TLS in this build.
#[cfg(not(feature = "tls"))]
#[allow(clippy::unused_self, reason = "as with the feature")]
impl ClientTls {
    pub(crate) fn check(&self, _: With, _: &WsUri) -> Result<(), ConnectError> {
        Err(ConnectError::TlsNotSupported)
    }

    pub(crate) fn secure(
        &self,
        _: With,
        _: Peer,
        _: &WsUri,
        _: ClientStream,
    ) -> Result<ClientStream, ConnectError> {
        Err(ConnectError::TlsNotSupported)
    }
}

/// Whether the other end of a session may see the certificate of this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// It may: the server of the URI that the application has asked for, or a proxy that has
    /// settings of its own.
    Origin,
    /// It may not: any other proxy, and a server to which a redirect leads.
    Others,
}

/// The other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Server,
    Proxy,
}

/// Uses a configuration of the application's own: its trust, its certificate, its protocol
/// versions. Its ALPN protocols should be `http/1.1` or none: if the server selects another one,
/// there is no connection. Nothing is sent as early data, whatever it allows: anybody could repeat
/// a request in it (RFC 8446, section 8).
///
/// Its clone without the certificate of this end serves proxies and other origins.
#[cfg(feature = "tls")]
impl From<Arc<ClientConfig>> for ClientTls {
    fn from(origin: Arc<ClientConfig>) -> Self {
        let others = trust::without_identity(&origin);
        ClientTls { kind: Kind::Config(Arc::new(Configs { origin, others })) }
    }
}

impl fmt::Debug for ClientTls {
    /// Says what kind of settings these are, and shows no key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Platform => "ClientTls(platform)",
            Kind::OfTheStream => "ClientTls(of the stream)",
            #[cfg(feature = "tls")]
            Kind::Config(_) => "ClientTls(config)",
        })
    }
}

/// Why there is no TLS: without the feature `tls` there is no such value, since there is never any.
#[cfg(not(feature = "tls"))]
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {}

#[cfg(not(feature = "tls"))]
impl TlsError {
    pub(crate) fn is_permanent(&self) -> bool {
        match *self {}
    }
}

#[cfg(not(feature = "tls"))]
impl fmt::Display for TlsError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

#[cfg(not(feature = "tls"))]
impl std::error::Error for TlsError {}
