//! The bodies of the fuzz targets: each has a `check` that takes any bytes, and panics where a law
//! does not hold.
//!
//! | module | target in `fuzz/` | what it checks |
//! |---|---|---|
//! | [`connection`] | `server_connection` | a connection, fed in pieces of any size |
//! | [`frame`] | `frame_decoder` | the frame codec |
//! | [`head`] | `head` | the head of a request |
//! | `inflate` | `inflate` | compressed messages |
//! | `negotiation` | `negotiation` | the negotiation of permessage-deflate |
//! | [`response`] | `client_handshake` | the answer of a server or a proxy to a client |

pub mod connection;
pub mod frame;
pub mod head;
#[cfg(feature = "deflate")]
pub mod inflate;
#[cfg(feature = "deflate")]
pub mod negotiation;
pub mod response;
