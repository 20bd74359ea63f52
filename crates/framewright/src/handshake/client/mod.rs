//! The client's side (RFC 6455, section 4.1), which starts in [`ClientHandshake`].
//!
//! | file | decides |
//! |---|---|
//! | `uri`, `redirect` | what a WebSocket URI is, and where a redirect leads |
//! | `request` | what is asked for, and the octets of it |
//! | `handshake`, `error` | what RFC 6455 demands of the answer |
//! | `response_reader` | which responses are skipped; the deadline |
//! | `answer` | how an application sees an answer |
//! | `proxy` | how a proxy is asked for a tunnel |

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod handshake;
pub(crate) mod proxy;
pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod response_reader;
pub(crate) mod uri;

pub use answer::{ResponseHead, ServerResponse};
pub use error::ResponseError;
pub use handshake::{Answer, ClientHandshake};
pub use proxy::{BasicCredentials, CredentialsError, ProxyAnswer, ProxyHandshake};
pub use redirect::RedirectError;
pub use request::{ClientRequest, RequestError};
pub use uri::{UriError, WsUri};
