//! The TLS settings of a client (RFC 6455, section 10.6; RFC 8446): whom to trust, and how to
//! identify this end. Where TLS begins is the opening handshake's business, and the TLS of a
//! connection itself is the driver's.
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
//! | `session` | what every session begins with, and what its errors say |
//! | `absent` | the error of a build without the feature `client-tls` |

#[cfg(not(feature = "client-tls"))]
mod absent;
#[cfg(feature = "client-tls")]
mod builder;
#[cfg(feature = "client-tls")]
mod certificate;
#[cfg(feature = "client-tls")]
mod config;
#[cfg(feature = "client-tls")]
mod error;
#[cfg(feature = "client-tls")]
mod info;
#[cfg(feature = "client-tls")]
mod session;
mod settings;
#[cfg(feature = "client-tls")]
mod trust;

#[cfg(not(feature = "client-tls"))]
pub use absent::TlsError;
#[cfg(feature = "client-tls")]
pub use builder::ClientTlsBuilder;
#[cfg(feature = "client-tls")]
pub(super) use error::Told;
#[cfg(feature = "client-tls")]
pub use error::{CertificateFault, TlsError};
#[cfg(feature = "client-tls")]
pub use info::TlsInfo;
#[cfg(feature = "client-tls")]
pub use session::{Session, check_protocol, handshake_error, session_info, tls_error};
pub(super) use settings::With;
pub use settings::{ClientTls, Peer};
