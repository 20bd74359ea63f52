//! The TLS settings of a client (RFC 6455, section 10.6; RFC 8446): whom to trust, and how to
//! identify this end. The TLS of a connection itself is [`framewright_driver::tls`], and where it
//! begins is the opening handshake's business.
//!
//! | file | topic |
//! |---|---|
//! | `settings` | [`ClientTls`], in every build |
//! | `builder` | settings from files and memory |
//! | `config` | the authorities of the platform, and the configuration of rustls |
//! | `trust` | the verifiers: one that remembers what it refused, and one that refuses nothing |
//! | `certificate` | what an error tells of a certificate: names, dates |
//! | `error` | why there is no TLS |
//! | `info` | what the two ends have agreed on |
//! | `layer` | one session over a stream of the client |
//! | `absent` | the error of a build without the feature `tls` |

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod builder;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod config;
#[cfg(feature = "tls")]
pub(crate) mod error;
#[cfg(feature = "tls")]
mod info;
#[cfg(feature = "tls")]
pub(crate) mod layer;
mod settings;
#[cfg(feature = "tls")]
mod trust;

#[cfg(not(feature = "tls"))]
pub use absent::TlsError;
#[cfg(feature = "tls")]
pub use builder::ClientTlsBuilder;
#[cfg(feature = "tls")]
pub use error::{CertificateFault, TlsError};
#[cfg(feature = "tls")]
pub use info::TlsInfo;
pub use settings::ClientTls;
pub(crate) use settings::{Peer, With};
