//! The addresses of listening sockets.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// A TCP socket.
    Ip(SocketAddr),
    /// A Unix socket at this path; `None` for one without a name.
    #[cfg(unix)]
    Unix(Option<PathBuf>),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Ip(addr) => fmt::Display::fmt(addr, f),
            #[cfg(unix)]
            ListenAddr::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            #[cfg(unix)]
            ListenAddr::Unix(None) => f.write_str("unix"),
        }
    }
}
