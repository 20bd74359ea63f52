//! From a request to an open connection: addresses, TCP, a proxy's tunnel, TLS, the opening
//! handshake, redirects (feature `client`).
//!
//! An [`Opening`] never blocks and knows no sockets. A driver gives it turns, and does with its
//! [`Network`] what the opening asks for. So each client finds its server in the same way, and fails
//! with the same [`ConnectError`].
//!
//! ```text
//!   start ──> Connecting ──────────────> Exchange ──────────> Opened
//!             (connecting.rs:            (exchange.rs:  │
//!              the name, the race,        the tunnel,   └───> ConnectError
//!              the gate)                  TLS, the answer)
//!                 ^                          │
//!                 └────── a redirect ────────┘
//! ```
//!
//! What users of a client see of this is re-exported by the client's crate: the errors, the TLS
//! settings, the proxy, the delays between attempts.

mod backoff;
mod connecting;
mod entropy;
mod error;
mod exchange;
mod gate;
mod machine;
mod network;
mod no_proxy;
mod proxy;
mod race;
mod settings;
mod tls;

pub use backoff::Backoff;
pub use entropy::Csprng;
pub use error::ConnectError;
pub use exchange::Opened;
pub use machine::{Opening, Over, Stage};
pub use network::{Attempted, Network, Stream};
pub use proxy::{Proxy, ProxyError};
pub use settings::Settings;
#[cfg(feature = "client-tls")]
pub use tls::{
    CertificateFault, ClientTlsBuilder, Session, TlsInfo, check_protocol, handshake_error, session_info,
    tls_error,
};
pub use tls::{ClientTls, Peer, TlsError};
