//! The server's side (RFC 6455, section 4.2), which starts in [`ServerHandshake`].
//!
//! | file | decides |
//! |---|---|
//! | `handshake` | the deadline, the 101 |
//! | `checks` | what HTTP demands of any request: target, Host, Content-Length, Transfer-Encoding |
//! | `request` | how an application sees a request |
//! | `upgrade` | what RFC 6455 demands of an opening handshake |
//! | `origin` | which origins and hosts are served |
//! | `refusal`, `response` | every other answer |

mod checks;
mod handshake;
mod origin;
mod refusal;
mod request;
mod response;
mod upgrade;

pub use handshake::{Accept, AcceptError, ServerHandshake, choose_subprotocol};
pub use origin::{AllowedHosts, AllowedOrigins, HostError, OriginError};
pub use refusal::Refusal;
pub use request::{OwnedRequest, Request};
pub use response::{Body, Response, StatusCode};
pub use upgrade::Upgrade;
