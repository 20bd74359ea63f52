//! The client's side (RFC 6455, section 4.1), which starts in [`ClientHandshake`].
//!
//! | file | decides |
//! |---|---|
//! | `uri`, `redirect` | what a WebSocket URI is, and where a redirect leads |
//! | `request` | what is asked for, and the octets of it |
//! | `handshake` | which responses are skipped; the deadline |
//! | `answer`, `error` | what RFC 6455 demands of the answer, and how an application sees it |
//! | `proxy` | how a proxy is asked for a tunnel |

mod answer;
mod error;
mod handshake;
mod proxy;
mod redirect;
mod request;
mod uri;

pub use answer::{Answer, ResponseHead, ServerResponse};
pub use error::ResponseError;
pub use handshake::ClientHandshake;
pub use proxy::{BasicCredentials, CredentialsError, ProxyAnswer, ProxyHandshake};
pub use redirect::RedirectError;
pub use request::{ClientRequest, RequestError};
pub use uri::{UriError, WsUri};
