//! The TLS settings of a client, which exist in every build.

#[cfg(feature = "client-tls")]
use super::error::TlsError;
#[cfg(feature = "client-tls")]
use super::{config, trust};
#[cfg(feature = "client-tls")]
use rustls::ClientConfig;
use std::fmt;
#[cfg(feature = "client-tls")]
use std::sync::Arc;

/// The TLS settings of a client, for `wss:` URIs and for `https:` proxies.
///
/// The default trusts the certificate authorities of the platform, and identifies this end by
/// nothing. It is made once in the process, when a connection first needs it, and shared by all:
/// the authorities are in memory once, and a later connection to a server resumes the session of an
/// earlier one (RFC 8446, section 2.2). Sharing holds for clones of other settings too: build them
/// once, and clone them.
///
/// On Linux the platform's authorities are in files. The environment may name others, on every
/// system: the file `SSL_CERT_FILE`, and the folder `SSL_CERT_DIR`. **The thread that first needs
/// the default settings reads them**: some 4 ms on Linux, and more if the file system is slow. An
/// event loop that must not wait so long builds its settings before it begins, with
/// `ClientTls::builder().build()`, and gives clones of them to its clients.
///
/// | wanted | with TLS in the build |
/// |---|---|
/// | the platform's authorities | `ClientTls::default()` |
/// | another authority, a client certificate | `ClientTls::builder()` |
/// | anything else that rustls can do | `ClientTls::from(Arc::new(client_config))` |
/// | TLS is done by the stream that the application brings | [`ClientTls::of_the_stream`] |
///
/// The certificate of this end is for the origin of the request: it is shown neither to an `https:`
/// proxy, nor to another origin to which a redirect leads. A proxy has settings of its own with
/// [`Proxy::with_tls`](crate::opening::Proxy::with_tls).
///
/// Without the feature `tls` a `wss:` URI is refused
/// ([`ConnectError::TlsNotSupported`](crate::opening::ConnectError::TlsNotSupported)).
#[derive(Clone, Default)]
pub struct ClientTls {
    kind: Kind,
}

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Platform,
    OfTheStream,
    #[cfg(feature = "client-tls")]
    Config(Arc<Configs>),
}

/// The settings for an origin, and those for others.
#[cfg(feature = "client-tls")]
struct Configs {
    origin: Arc<ClientConfig>,
    /// Without the certificate of this end, and otherwise like `origin`.
    others: Arc<ClientConfig>,
}

impl ClientTls {
    /// No TLS of the client's own: the stream that the application brings does it already. Nothing else can use these settings:
    /// [`ConnectError::TlsNotSupported`](crate::opening::ConnectError::TlsNotSupported).
    #[must_use]
    pub fn of_the_stream() -> Self {
        ClientTls { kind: Kind::OfTheStream }
    }

    pub(in super::super) fn is_of_the_stream(&self) -> bool {
        matches!(self.kind, Kind::OfTheStream)
    }
}

#[cfg(feature = "client-tls")]
impl ClientTls {
    /// The configuration for a session; `None` if the stream does TLS.
    ///
    /// # Errors
    /// If the platform's authorities cannot be read, or if there is no provider of cryptography.
    pub(in super::super) fn config(&self, with: With) -> Result<Option<Arc<ClientConfig>>, TlsError> {
        Ok(Some(match &self.kind {
            Kind::Platform => config::shared()?,
            Kind::OfTheStream => return Ok(None),
            Kind::Config(configs) => Arc::clone(match with {
                With::Origin => &configs.origin,
                With::Others => &configs.others,
            }),
        }))
    }
}

/// Whether the other end of a session may see the certificate of this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum With {
    /// It may: the server of the URI that the application has asked for, or a proxy that has
    /// settings of its own.
    Origin,
    /// It may not: any other proxy, and a server to which a redirect leads.
    Others,
}

/// The other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is nobody else")]
pub enum Peer {
    /// The server of the URI.
    Server,
    /// The `https:` proxy on the way to it.
    Proxy,
}

/// Uses a configuration of the application's own: its trust, its certificate, its protocol
/// versions. Its ALPN protocols should be `http/1.1` or none: if the server selects another one,
/// there is no connection. Nothing is sent as early data, whatever it allows: anybody could repeat
/// a request in it (RFC 8446, section 8).
///
/// Its clone without the certificate of this end serves proxies and other origins.
#[cfg(feature = "client-tls")]
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
            #[cfg(feature = "client-tls")]
            Kind::Config(_) => "ClientTls(config)",
        })
    }
}
