//! Which end of the connection this is (RFC 6455, section 1.2).

/// The role of an endpoint. It decides which endpoint masks (section 5.1), and which one closes the
/// TCP connection first (section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "RFC 6455 knows these two endpoints and no other")]
pub enum Role {
    /// The endpoint that sent the opening handshake. It masks every frame that it sends.
    Client,
    /// The endpoint that answered the opening handshake. It never masks.
    Server,
}

impl Role {
    /// The role at the other end.
    #[must_use]
    pub const fn peer(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
}
